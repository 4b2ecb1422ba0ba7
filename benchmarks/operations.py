"""How many bit operations run for an image, over those that a binary network has on paper?

    python benchmarks/operations.py [--smoke] [--network FILE ...] [--dense FILE] [--out DIR]

The networks of `inference.py`, with its options. On paper: ANDs, ORs and NOTs of
`morphax.program.cost`, of the network as it is (`plain`) and simplified, without the additions of a
head. Run: the operations on words in the jaxpr of a form, heads included, one for each word and
bitwise operation (and, or, xor, not, shifts, population counts, joins of reductions), divided by
the words of the batch: one on a word does for 32 images what one on paper does for one. Moves,
gathers and arithmetic on indices are not counted, but cost time: compare `inference.json`. Not a
timing benchmark.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from _lib import common
from _lib.inference_networks import Net, networks
from jax.extend import core

import morphax
from morphax import program
from morphax.program import cost, simplify
from morphax.specialized.compiler import specialize_program

BITWISE = {"and", "or", "xor", "not", "shift_left", "shift_right_logical", "population_count"}
JOINS = {"reduce_and", "reduce_or", "reduce_xor", "reduce"}
COLUMNS = ("network", "form", "operations", "over_plain", "over_simplified")


def executed(jaxpr: Any) -> int:
    """Bitwise operations on words that a jaxpr executes."""
    total = 0
    for eqn in jaxpr.eqns:
        name, out = eqn.primitive.name, eqn.outvars[0].aval
        inner = [
            x.jaxpr if isinstance(x, core.ClosedJaxpr) else x
            for value in eqn.params.values()
            for x in (value if isinstance(value, tuple) else (value,))
            if isinstance(x, core.ClosedJaxpr | core.Jaxpr)
        ]
        words = jnp.issubdtype(getattr(out, "dtype", float), jnp.unsignedinteger)
        if name in BITWISE and words:
            total += math.prod(out.shape)
        elif name in JOINS and words:
            total += math.prod(eqn.invars[0].aval.shape) - math.prod(out.shape)
        elif name.startswith("reduce_window") and words:
            total += math.prod(out.shape) * (math.prod(eqn.params["window_dimensions"]) - 1)
        elif name == "scan":
            total += eqn.params["length"] * sum(map(executed, inner))
        elif name == "cond":
            total += max(map(executed, inner))
        elif name == "while":
            raise ValueError("a loop of unknown length")
        else:
            total += sum(map(executed, inner))
    return total


def forms(net: Net, simple: program.Program) -> dict[str, float]:
    """Operations for a word of the batch, of the network on words and of the specialised one."""
    words = jax.eval_shape(morphax.pack, jax.ShapeDtypeStruct(net.x.shape, bool))
    special = specialize_program(simple)
    found = {
        "packed words": jax.make_jaxpr(net.apply)(net.binary, words),
        "specialised": jax.make_jaxpr(special.wiring.run)(special.tables, words),
    }
    return {name: executed(jaxpr.jaxpr) / words.shape[0] for name, jaxpr in found.items()}


def main() -> None:
    """Count, write `operations.json`, print a table."""
    parser = common.options_parser(__doc__, smoke="narrow networks")
    parser.add_argument("--network", type=Path, nargs="+", help="npz of a trained classifier")
    parser.add_argument("--dense", type=Path, help="npz of a dense bank")
    options = parser.parse_args()
    about = common.metadata(
        "operations", unit="bit operations an image", reference="on paper", smoke=options.smoke
    )
    about["command"] = common.command("operations", options.network)
    rows = []
    for net in networks(options):
        built = program.build(net.apply, net.binary, (1, *net.x.shape[1:]))
        simple = simplify(built)
        plain, small = cost.count(built).total, cost.count(simple).total
        found = {"on paper, plain": plain, "on paper, simplified": small, **forms(net, simple)}
        for form, count in found.items():
            rows.append(
                {
                    "network": net.name,
                    "form": form,
                    "operations": round(count),
                    "over_plain": count / plain,
                    "over_simplified": count / small,
                }
            )
    common.write_rows(options.out / "operations.json", about, rows)
    print(common.table([{"extrapolated": False, "case": {}} | row for row in rows], COLUMNS))


if __name__ == "__main__":
    main()
