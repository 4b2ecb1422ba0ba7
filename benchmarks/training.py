"""What does a training step cost, against the same network written plainly in PyTorch?

    python benchmarks/training.py [--smoke] [--out DIR]

Two networks: "opening", two BiSE neurons of 7x7 on 64 images of 50x50, MSE; and "classifier",
DenseLUI 784-4096-10, batch 64, cross-entropy on the outputs. Adam, float32, softplus weights and
biases, tanh thresholds, scales learned. The PyTorch twins do the same arithmetic with `conv2d` and
`linear` (zero padding instead of the frame rule, which saves them work). `ratio` is to morphax on
the same network; morphax runs whole turns of steps in one program, PyTorch one step a call, as each
is used, on one thread and on all. PyTorch is optional: `pip install torch`. XLA takes all cores
that it is given: `taskset -c 0` for one.

The classifier again with 256 hidden neurons, alone and as 16 members of one program, each with
parameters and batches of its own, all at once (vmapped) and four at a time (`lax.map`): the `ratio`
of those rows is the cost of 16 members over the cost of one.

Where the time of the classifier's step goes, and what was tried: docs/notes/classification.md.

    taskset -c 0 python benchmarks/training.py --images [--smoke] [--out DIR]

How many images a second does one core train on? The classifier that is binary to the end, as
`learn_classifier` trains it, augmentation included, with products of float32 and of bfloat16, in
two sizes (256 clauses, and 1024 of nine planes as in `examples/classify.py`), beside a small CNN
(two convolutions of 3x3, 16 and 32 channels, a rectifier and a maximum of 2x2 after each, a linear
layer, no augmentation), in plain JAX and in PyTorch; 100 random images of 28x28 a step.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _lib import common

from morphax.classification import ClauseConfig
from morphax.classification import train as classifiers
from morphax.classification.latent import init_latent
from morphax.neurons import models, reparam
from morphax.neurons.forward import apply
from morphax.training import TrainState, make_chunk, make_step

OURS = "morphax"


def classifier(params, x):
    """784-4096-10."""
    return apply(params[1], apply(params[0], x))


MEMBERS = 16


def networks(smoke: bool) -> dict[str, dict]:
    """Name -> model, params, batch and loss."""
    keys = jax.random.split(jax.random.key(0), 4)
    width = 64 if smoke else 4096
    images = jax.random.uniform(keys[0], (64, 50, 50, 1)) < 0.4
    digits = jax.random.uniform(keys[1], (64, 784)) < 0.2
    labels = jax.nn.one_hot(jax.random.randint(keys[2], (64,), 0, 10), 10)
    bank = [
        models.init_dense_lui(keys[3], 784, width),
        models.init_dense_lui(keys[3], width, 10),
    ]
    opening = {
        "apply": models.bimonn,
        "params": models.init_bimonn(keys[3], (1, 1, 1)),
        "data": (images, images),
        "loss": "mse",
    }
    dense = {"apply": classifier, "params": bank, "data": (digits, labels), "loss": "bce"}
    few = 32 if smoke else 256
    narrow = [models.init_dense_lui(keys[3], 784, few), models.init_dense_lui(keys[3], few, 10)]
    return {"opening": opening, "classifier": dense, f"784-{few}-10": {**dense, "params": narrow}}


def ours(network: dict, turn: int, members: int | None = None, at_once: int = MEMBERS):
    """A turn of steps in one program; of so many members, vmapped, so many at once."""
    optimizer = optax.adam(1e-2)
    step = make_step(network["apply"], optimizer, loss=network["loss"])
    chunk = make_chunk(step, batch_size=64, length=turn)
    params = network["params"]
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    key = jax.random.key(1)
    if members is None:
        return lambda: chunk(key, state, network["data"])
    keys = jax.random.split(key, members)
    stacked = jax.tree.map(lambda a: jnp.repeat(a[None], members, 0), state)

    @jax.jit
    def every(keys, states, data):
        return jax.lax.map(lambda a: chunk(*a, data), (keys, states), batch_size=at_once)

    return lambda: every(keys, stacked, network["data"])


def banked(mapped):
    """A weight map applied to a bank (neurons, inputs) instead of the weights as stored."""
    return lambda weight: mapped(weight.T).T


# What makes the step of the classifier fast: each of these undoes or leaves out one thing.
ABLATIONS = {
    "plain JAX": (reparam.softplus, optax.adam),
    "plain JAX, jax.nn.softplus": (jax.nn.softplus, optax.adam),
    "plain JAX, jax.nn.softplus of the bank": (banked(jax.nn.softplus), optax.adam),
    "plain JAX, no weight map": (lambda weight: weight, optax.adam),
    "plain JAX, no weight map, no moments": (lambda weight: weight, optax.sgd),
}


def plain_jax(network: dict, turn: int, softplus, optimizer):
    """The classifier written out, a turn in one program."""
    x, y = (part.astype(jnp.float32) for part in network["data"])
    params = [(node.weight, node.bias, node.scale) for node in network["params"]]
    optimizer = optimizer(1e-2)

    def loss(params):
        out = x
        for weight, bias, scale in params:
            total = jnp.matmul(out, softplus(weight), precision=jax.lax.Precision.HIGHEST)
            out = jnp.tanh(scale[None] * (total - jax.nn.softplus(bias)[None])) / 2 + 0.5
        out = jnp.clip(out, 1e-6, 1 - 1e-6)
        return -(y * jnp.log(out) + (1 - y) * jnp.log1p(-out)).mean()

    @jax.jit
    def run(state):
        def step(state, _):
            value, gradient = jax.value_and_grad(loss)(state[0])
            updates, opt_state = optimizer.update(gradient, state[1])
            return (optax.apply_updates(state[0], updates), opt_state), value

        return jax.lax.scan(step, state, length=turn)

    state = params, optimizer.init(params)
    return lambda: run(state)


def plain_torch(name: str, network: dict):
    """The same network in PyTorch; one step a call."""
    import torch
    from torch.nn.functional import conv2d, linear, softplus

    x, y = (torch.tensor(np.asarray(part, np.float32)) for part in network["data"])
    if name == "opening":
        x, y = x.permute(0, 3, 1, 2), y.permute(0, 3, 1, 2)
    nodes = jax.tree.leaves(network["params"], is_leaf=lambda leaf: hasattr(leaf, "spec"))
    parameters = [
        [torch.tensor(np.asarray(leaf)).requires_grad_() for leaf in (n.weight, n.bias, n.scale)]
        for n in nodes
    ]
    optimizer = torch.optim.Adam([p for group in parameters for p in group], lr=1e-2)

    def forward(x):
        for weight, bias, scale in parameters:
            w, b = softplus(weight), softplus(bias)
            if name == "opening":
                total, b, scale = conv2d(x, w.permute(3, 2, 0, 1), padding=3), b[0, 0], scale[0, 0]
            else:
                total = linear(x, w.T)
            x = torch.tanh(scale * (total - b)) / 2 + 0.5
        return x

    def step():
        optimizer.zero_grad()
        out = forward(x)
        if name == "opening":
            loss = ((out - y) ** 2).mean()
        else:
            loss = torch.nn.functional.binary_cross_entropy(out.clamp(1e-6, 1 - 1e-6), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


BATCH = 100


def clause_steps(images, labels, turn: int, config: ClauseConfig):
    """Steps of the classifier of clauses, straight through; a threshold for each channel."""
    key, thresholds = jax.random.key(0), [[128.0], *[[1.0]] * 8][: 9 if config.channels else 1]
    optimizer, step = classifiers.make_step(config, thresholds, steps=1000)
    latent = init_latent(key, images, thresholds, classes=10, config=config)

    def run():
        state = latent, optimizer.init(latent)
        for number in range(turn):
            *state, loss, _ = step(*state, images, labels, key, np.float32(number))
        return loss

    return run


def cnn_jax(images, labels, turn: int):
    """Steps of a small CNN in plain JAX, one step a call."""
    keys, x = jax.random.split(jax.random.key(0), 3), jnp.asarray(images, jnp.float32) / 255
    shapes = ((3, 3, 1, 16), (3, 3, 16, 32), (7 * 7 * 32, 10))
    params = [
        (jax.random.normal(key, shape) * (2 / np.prod(shape[:-1])) ** 0.5, jnp.zeros(shape[-1]))
        for key, shape in zip(keys, shapes, strict=True)
    ]
    optimizer, around = optax.adam(1e-3), ("NHWC", "HWIO", "NHWC")

    def loss(params):
        out = x
        for weight, bias in params[:2]:
            out = jax.lax.conv_general_dilated(
                out, weight, (1, 1), "SAME", dimension_numbers=around
            )
            out = jax.nn.relu(out + bias)
            pool = (1, 2, 2, 1)
            out = jax.lax.reduce_window(out, -jnp.inf, jax.lax.max, pool, pool, "VALID")
        scores = out.reshape(len(out), -1) @ params[2][0] + params[2][1]
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    @jax.jit
    def step(state):
        value, gradient = jax.value_and_grad(loss)(state[0])
        updates, opt_state = optimizer.update(gradient, state[1])
        return (optax.apply_updates(state[0], updates), opt_state), value

    # One step a call: inside a loop XLA:CPU convolves by a path that is many times slower.
    def run():
        state = params, optimizer.init(params)
        for _ in range(turn):
            state, value = step(state)
        return value

    return run


def cnn_torch(images, labels):
    """The same CNN in PyTorch; one step a call."""
    import torch
    from torch import nn

    x = torch.tensor(np.asarray(images, np.float32)).permute(0, 3, 1, 2) / 255
    y = torch.tensor(np.asarray(labels, np.int64))
    blocks = []
    for inputs, outputs in ((1, 16), (16, 32)):
        blocks += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(7 * 7 * 32, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def images_a_second(options, turn: int, repeats: int) -> None:
    """Time steps of the classifier of clauses and of a small CNN; write training_images.json."""
    cores = len(os.sched_getaffinity(0))
    about = common.metadata("training", unit="step", reference=OURS, smoke=options.smoke)
    about["command"] = "taskset -c 0 python benchmarks/training.py --images"
    rng, rows, skipped = np.random.default_rng(0), [], []
    images = rng.integers(0, 256, (BATCH, 28, 28, 1)).astype(np.uint8)
    labels = rng.integers(0, 10, BATCH).astype(np.int32)
    count = 16 if options.smoke else 256
    small = ClauseConfig(banks=((7, count // 2), (11, count // 2)))
    large = ClauseConfig(
        banks=((5, 2 * count), (7, 2 * count)), regions=4, channels=("gray", "directions")
    )
    names = f"{count} clauses", f"{4 * count} clauses of nine planes"
    runs = {
        (network, name): clause_steps(images, labels, turn, config._replace(precision=precision))
        for network, config in zip(names, (small, large), strict=True)
        for name, precision in ((OURS, "float32"), ("morphax, bfloat16", "bfloat16"))
    }
    runs[names[0], "small CNN, plain JAX"] = cnn_jax(images, labels, turn)
    try:
        import torch

        torch.set_num_threads(cores)
        step = cnn_torch(images, labels)
        runs[names[0], "small CNN, PyTorch"] = lambda: [step() for _ in range(turn)]
    except ImportError:
        common.skip(skipped, "small CNN, PyTorch: pip install torch")
    for (network, name), run in runs.items():
        case = {"network": network, "batch": BATCH, "cores": cores}
        timing = common.measure(run, repeats=repeats, warmup=2, units=turn)
        rows.append(common.result(name, case, timing))
    common.add_ratios(rows, OURS)
    common.write(options.out / "training_images.json", about, rows, skipped)
    print(common.table(rows, ("network", "contender", "median_s", "iqr_s", "ratio")))
    for row in rows:
        speed = BATCH / row["median_s"] / cores
        print(f"{row['case']['network']}, {row['contender']}: {speed:,.0f} images a second, a core")


def main() -> None:
    """Time both networks in both libraries."""
    parser = common.options_parser(__doc__, smoke="a narrow classifier, short turns")
    words = "measure images a second of a classifier of clauses and of a small CNN instead"
    parser.add_argument("--images", action="store_true", help=words)
    options = parser.parse_args()
    turn, repeats = (5, 2) if options.smoke else (50, 7)
    if options.images:
        return images_a_second(options, turn, repeats)
    about = common.metadata("training", unit="step", reference=OURS, smoke=options.smoke)
    rows, skipped = [], []
    for name, network in networks(options.smoke).items():
        case = {"network": name, "batch": 64}
        # The first turns of a process run slower, whatever they compute.
        timing = common.measure(ours(network, turn), repeats=repeats, warmup=3, units=turn)
        rows.append(common.result(OURS, case, timing))
        if name.startswith("784"):
            for at_once in (MEMBERS, 4):
                many = ours(network, turn, MEMBERS, at_once)
                timing = common.measure(many, repeats=repeats, units=turn)
                rows.append(common.result(f"{MEMBERS} members, {at_once} at once", case, timing))
            continue
        for ablation, (softplus, optimizer) in ABLATIONS.items() if name == "classifier" else ():
            turns = plain_jax(network, turn, softplus, optimizer)
            timing = common.measure(turns, repeats=repeats, units=turn)
            rows.append(common.result(ablation, case, timing))
        try:
            import torch
        except ImportError:
            common.skip(skipped, "plain PyTorch: pip install torch")
            continue
        step = plain_torch(name, network)
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            torch.set_num_threads(threads)
            timing = common.measure(
                lambda step=step: [step() for _ in range(turn)], repeats=repeats, units=turn
            )
            named = f"plain PyTorch, {threads} thread" + "s" * (threads > 1)
            rows.append(common.result(named, case, timing))
    common.add_ratios(rows, OURS)
    common.write(options.out / "training.json", about, rows, skipped)
    print(common.table(rows, ("network", "contender", "median_s", "iqr_s", "ratio")))


if __name__ == "__main__":
    main()
