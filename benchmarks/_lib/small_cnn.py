"""A small convolutional network, a baseline for masks, with as many parameters as what it is
compared to."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from morphax.objectives.metrics import dice
from morphax.training import fit


class CNN(nn.Module):
    """Convolutions 3x3 with ReLU (dilated by 1, 2, 4, so that it sees 15x15), then a
    probability."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`(N, H, W, C)` to `(N, H, W, 1)`."""
        for width, dilation in zip(self.widths, (1, 2, 4), strict=True):
            x = nn.relu(nn.Conv(width, (3, 3), kernel_dilation=dilation)(x))
        return nn.sigmoid(nn.Conv(1, (1, 1))(x))


def parameters(inputs: int, widths: tuple[int, ...]) -> int:
    """Of a `CNN`: nine weights a pair of channels, and the biases."""
    pairs = zip((inputs, *widths), widths, strict=False)
    return sum(9 * i * o + o for i, o in pairs) + widths[-1] + 1


def train(count: int, cut: tuple, valid: tuple, *, most: int) -> dict[str, Any]:
    """A `CNN` of about `count` parameters, trained until the held-out Dice no longer rises.

    `cut` and `valid` are (images, masks); `most` steps at most. Of the dict, "run" makes masks of
    images; the rest is what to report: where "step", the best one, is the last of "steps", it still
    rose.
    """
    inputs = cut[0].shape[-1]
    choices = [(a, b, c) for a in range(2, 30) for b in (a, a + 1) for c in (b, b + 1)]
    widths = min(choices, key=lambda w: abs(parameters(inputs, w) - count))
    model, best = CNN(widths), [-1.0, None, 0, 0]
    forward: Any = jax.jit(model.apply)

    def masks(params: Any, x: np.ndarray) -> np.ndarray:
        parts = (x[i : i + 4].astype(np.float32) for i in range(0, len(x), 4))
        return np.concatenate([np.asarray(forward(params, part)) > 0.5 for part in parts])

    def judge(params: Any, _: Any) -> dict[str, Any]:
        found, best[3] = float(dice(masks(params, valid[0]), valid[1])), best[3] + 1
        if found > best[0]:
            best[:3] = [found, params, best[3]]
        return {"valid": found}

    every = max(1, most // 16)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, inputs)))
    done = fit(
        jax.random.key(0),
        forward,
        params,
        cut,
        valid=(cut[0][:1], cut[1][:1]),
        evaluate=judge,
        optimizer=optax.adam(5e-3),
        steps=most,
        loss="dice",
        batch_size=4,
        log_every=every,
        until=lambda _: best[3] >= best[2] + 4,
    )
    step, steps = best[2] * every, int(done.state.step)
    print(f"  CNN {widths}, {inputs} channels: held-out Dice {best[0]:.4f}, step {step} of {steps}")
    return {
        "run": lambda x: masks(best[1], x),
        "valid": best[0],
        "widths": list(widths),
        "step": step,
        "steps": steps,
        "parameters": parameters(inputs, widths),
    }
