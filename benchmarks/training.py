"""What does a training step cost, against the same network written plainly in PyTorch?

    python benchmarks/training.py [--smoke] [--out DIR]

Two networks: "opening", two BiSE neurons of 7x7 on 64 images of 50x50, MSE; and "classifier", DenseLUI
784-4096-10, batch 64, cross-entropy on the outputs. Adam, float32, softplus weights and biases, tanh
thresholds, scales learned. The PyTorch twins do the same arithmetic with `conv2d` and `linear` (zero
padding instead of the frame rule, which saves them work). `ratio` is to morphax on the same network;
morphax runs whole turns of steps in one program, PyTorch one step a call, as each is used. PyTorch is
optional: `pip install torch`.
"""

import argparse
from pathlib import Path

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax

from morphax import models
from morphax.neurons import apply
from morphax.training import TrainState, make_chunk, make_step

OURS = "morphax"


def classifier(params, x):
    """784-4096-10."""
    return apply(params[1], apply(params[0], x))


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
    opening = {"apply": models.bimonn, "params": models.init_bimonn(keys[3], (1, 1, 1)),
               "data": (images, images), "loss": "mse"}  # fmt: skip
    dense = {"apply": classifier, "params": bank, "data": (digits, labels), "loss": "bce"}
    return {"opening": opening, "classifier": dense}


def ours(network: dict, turn: int):
    """A turn of steps in one program."""
    optimizer = optax.adam(1e-2)
    step = make_step(network["apply"], optimizer, loss=network["loss"])
    chunk = make_chunk(step, batch_size=64, length=turn)
    params = network["params"]
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    return lambda: chunk(jax.random.key(1), state, network["data"])


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


def main() -> None:
    """Time both networks in both libraries."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    parser.add_argument("--smoke", action="store_true", help="a narrow classifier, short turns")
    options = parser.parse_args()
    turn, repeats = (5, 2) if options.smoke else (50, 7)
    about = common.metadata("training", unit="step", reference=OURS, smoke=options.smoke)
    rows, skipped = [], []
    for name, network in networks(options.smoke).items():
        case = {"network": name, "batch": 64}
        timing = common.measure(ours(network, turn), repeats=repeats, units=turn)
        rows.append(common.result(OURS, case, timing))
        try:
            step = plain_torch(name, network)
        except ImportError:
            common.skip(skipped, "plain PyTorch: pip install torch")
            continue
        timing = common.measure(
            lambda step=step: [step() for _ in range(turn)], repeats=repeats, units=turn
        )
        rows.append(common.result("plain PyTorch", case, timing))
    common.add_ratios(rows, OURS)
    common.write(options.out / "training.json", about, rows, skipped)
    print(common.table(rows, ("network", "contender", "median_s", "iqr_s", "ratio")))


if __name__ == "__main__":
    main()
