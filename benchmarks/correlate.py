"""Banded matrix product or convolution: which correlates few-channel images faster on this device?

    python benchmarks/correlate.py [--smoke] [--out DIR]

Value and gradient with respect to images and windows, batch 64, kernel 7; `ratio` is to the banded
product, `error` the largest relative difference between the two.
"""

import jax
import jax.numpy as jnp
from _lib import common

from morphax.neurons import _correlate

FORMS = {"banded": _correlate._correlate_banded, "conv": _correlate._correlate_conv}


def main() -> None:
    """Time both forms on several sizes and channel counts."""
    options = common.options_parser(__doc__, smoke="one small case").parse_args()
    about = common.metadata("correlate", unit="step", reference="banded", smoke=options.smoke)
    cases = [(50, 1, 1), (50, 1, 3), (50, 3, 3), (28, 1, 16), (256, 1, 1)]
    rows = []
    for side, n_in, n_out in cases[:1] if options.smoke else cases:
        keys = jax.random.split(jax.random.key(0))
        batch = 4 if options.smoke or side > 100 else 64
        x = jax.random.uniform(keys[0], (batch, side + 6, side + 6, n_in))
        w = jax.random.uniform(keys[1], (7, 7, n_in, n_out))
        outputs = {name: form(x, w) for name, form in FORMS.items()}
        error = jnp.abs(outputs["banded"] / outputs["conv"] - 1).max()
        for name, form in FORMS.items():
            step = jax.jit(jax.value_and_grad(lambda x, w, f=form: (f(x, w) ** 2).mean(), (0, 1)))
            case = {"side": side, "in": n_in, "out": n_out, "batch": batch}
            rows.append(
                common.result(name, case, common.measure(step, x, w, repeats=9), error=error)
            )
    common.add_ratios(rows, "banded")
    common.write(options.out / "correlate.json", about, rows)
    print(
        common.table(
            rows, ("contender", "side", "in", "out", "batch", "median_s", "ratio", "error")
        )
    )


if __name__ == "__main__":
    main()
