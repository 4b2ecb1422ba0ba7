"""Parts of the recipe for operators, for a training loop and a model of one's own.

The four functions work on any params tree whose nodes have weight map "identity" and bias map
"centred" (a Linen dict, an NNX state, a list): `spread_start` before the loop, `operator_optimizer`
and `operator_loss` in it, `finish` after it. `examples/own_model.py` uses them with NNX and Linen.
docs/notes/learning.md says why each of them is needed.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from morphax.neurons.nodes import is_node
from morphax.recipes._judging import learned_from
from morphax.recipes._pairs import Data, require_pairs
from morphax.recipes.gradients import operators
from morphax.recipes.gradients._search import make_activable
from morphax.recipes.gradients._starts import ONE_MAP, Start, widened
from morphax.recipes.results import Learned
from morphax.training.steps import Apply

STARTS = ONE_MAP
"""Starts of networks with one map a layer, in the order in which `learn_operator` tries them."""


def spread_start(key: jax.Array, params: Any, *, start: Start = STARTS[1]) -> Any:
    """Return params with weights of mean 1/2, soft scales, and biases of a known start.

    Args:
        key: PRNG key of starts that draw their biases.
        params: Params tree; its spatial banks are taken for layers in the order of the tree.
        start: Initial b / sum(w) of odd and of even layers. 0.8 begins as an erosion, 0.2 as a
            dilation, 0.5 undecided.

    Returns:
        The same tree with other values; |p| is 2.

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(key := jax.random.key(0), [1, 1], kernel_size=3,
        ...                             weight_map="identity", bias_map="centred")
        >>> round(float(spread_start(key, params)[0]["bise"].weight.mean()), 3)
        0.5
    """
    leaves, tree = jax.tree.flatten(params, is_leaf=is_node)
    spread, depth = [], -1
    for number, leaf in enumerate(leaves):
        if not is_node(leaf):
            spread.append(leaf)
            continue
        depth += leaf.spec.role == "spatial" or depth < 0  # a LUI belongs to its layer
        node_key = jax.random.fold_in(key, number)
        spread.append(widened(leaf, start, depth, node_key, scale=operators.SCALES[0]))
    return jax.tree.unflatten(tree, spread)


def operator_optimizer(
    steps: int, *, learning_rate: float = 1e-2, symmetric: bool = False
) -> optax.GradientTransformation:
    """Return the optimizer of the recipe: Adam, weights kept in [0, 1], the scale annealed.

    Args:
        steps: Steps of the whole run; |p| grows from 2 to 20 in them.
        learning_rate: Initial rate, decayed by a cosine.
        symmetric: Whether neurons work on {-1, 1}.

    Returns:
        An Optax transformation.

    Example:
        >>> sorted(operator_optimizer(100)._fields)
        ['init', 'update']
    """
    return operators._optimizer(steps, learning_rate, symmetric)


def operator_loss(
    steps: int, *, frame: tuple[int, ...] = (0, 0), by_kind: bool = False
) -> Callable[..., jax.Array]:
    """Return the loss of the recipe, with its pull towards constant sets.

    Args:
        steps: Steps of the whole run.
        frame: Rows and columns along the frame of the images that do not count.
        by_kind: Balance the four pairs of (image, target) instead of pixels that change and stay.

    Returns:
        `(params, prediction, target, image, step) -> loss`, floats in [0, 1] of `(N, H, W, C)`.

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> x = jax.numpy.zeros((1, 5, 5, 1))
        >>> operator_loss(100)(params, x, x, x, jax.numpy.asarray(0)).shape
        ()
    """
    loss, pull = operators._loss(steps, frame, by_kind=by_kind), operators._pull(steps)

    def total(
        params: Any, prediction: jax.Array, target: jax.Array, x: jax.Array, step: jax.Array
    ) -> jax.Array:
        return loss(prediction, target, x, step) + pull(params, step)

    return total


def finish(apply: Apply, params: Any, train: Data, valid: Data) -> Learned:
    """Certify a trained network, choose its binary network by held-out pairs, and judge it.

    Args:
        apply: `(params, x) -> prediction`, for real and binary params alike.
        params: Trained params tree.
        train: (images, targets), bool.
        valid: The same, held out.

    Returns:
        `Learned`. Where the network is not certified, its neurons are put onto activable ones,
        if the binary network is no worse for it on the held-out pairs.

    Example:
        >>> from morphax import models
        >>> params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
        >>> x = jax.random.bernoulli(jax.random.key(1), 0.5, (4, 8, 8, 1))
        >>> pairs = x, x & jax.numpy.roll(x, 1, 1)
        >>> finish(models.bimonn, params, pairs, pairs).history
        []
    """
    require_pairs(train, valid, volumes=True)
    learned = learned_from(params, apply, train, valid, history=[], runs=1)
    if bool(learned.certificate.exact):
        return learned
    activable = learned_from(make_activable(params), apply, train, valid, history=[], runs=1)
    is_better = activable.verdict.error <= learned.verdict.error
    return activable if is_better and bool(activable.certificate.exact) else learned
