"""Entries of a menu: learned operators of any kind as objects of one kind, ready to be applied.

An entry holds a network with its certificate, its program, and what stands before it (the planes of
a gray image), so it takes an image as it is read and returns the bool answer. Its program works on
images of any size: all of its planes have the size of the image. Volumes have an axis of slices in
front: `(D, H, W)`.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from morphax import _checks
from morphax.binarization import binarize
from morphax.certificates.network import NetworkCertificate
from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.data.image_lists import Example, Scores, read_pairs, score_answers
from morphax.explain import explain
from morphax.program import Program, build, count, run, simplify
from morphax.program.bands import row_reach, run_in_bands
from morphax.program.resize import resized
from morphax.recipes._judging import certificate_of
from morphax.recipes.menu._networks import SIDE
from morphax.specialized import Specialized, specialize_program

_EXPLAINED = 300  # joins for each pixel up to which an expression is looked for
_SHORT = 60  # letters of a name
_COMPILED = 64  # compiled programs that are kept
_BAND = 1 << 20  # pixels of a band of a large image
_PLAIN = 1 << 26  # bytes of the planes that numpy holds at a time, about
# Compiling takes about so many seconds, and so many for each plane, but not more than the last.
_LEAST, _EACH, _MOST = 0.2, 0.01, 12.0


@dataclass(frozen=True, eq=False)
class MenuEntry:
    """Hold a learned operator; `entry(image)` applies it.

    Entries are frozen, can be pickled, and may be called from several threads.

    Attributes:
        name: what it is, such as "opening by disk(3)".
        apply: the network, `(params, x) -> bits`, x `(N, H, W, planes)`.
        params: params tree of real neurons, with numpy leaves.
        binary: params tree of its binary neurons.
        certificate: proof, from `params`, that `binary` computes the same on every image.
        program: `binary` as a program, simplified, for a small image or volume;
            `morphax.program.resized` gives it for other sizes.
        planes: how planes are made of gray images; None where inputs are bool.
        channels: channels of an image.
        border: what the network sees beyond the frame.
        scores: on the held-out pairs, which it has not seen in training.
        image_scores: the same for each held-out image.
        operations: bit operations for each pixel, without those that make planes of gray values.
        properties: names of properties that hold by construction, such as "increasing".
        options: what was given or chosen, by name.
        seconds: time of learning.
        learned_from: "training pairs", or "all pairs" where it was learned again, with the same
            options, after the scores were taken.
    """

    name: str
    apply: Callable[[Any, jax.Array], jax.Array]
    params: Any
    binary: Any
    certificate: NetworkCertificate
    program: Program
    planes: GrayPlanes | None
    channels: int
    border: str
    scores: Scores
    image_scores: tuple[Scores, ...]
    operations: float
    properties: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    learned_from: str = "training pairs"

    @property
    def expression(self) -> str:
        """Return the operator in terms of morphology; a large one in a sentence."""
        if count(self.program).per_pixel > _EXPLAINED:
            return self.name
        return expression_of(self.program)

    def __call__(self, image: Any) -> Any:
        """Apply the operator to an image, a batch, or a list of images of any sizes.

        Args:
            image: bool, or whole numbers where it was learned from gray images: `(H, W)`, `(H, W,
                    C)`, a batch `(N, H, W)` or `(N, H, W, C)`, or a list of images. Volumes, of an
                entry that was learned from volumes, have an axis of slices in front.

        Returns:
            The answer, bool `(H, W)` or `(N, H, W)`; a list for a list.

        Raises:
            ValueError: images of other axes, channels or kinds.
        """
        if isinstance(image, list | tuple):
            return [self(one) for one in image]
        image = np.asarray(image)
        batch, single = self._as_batch(image)
        if self.planes is not None:
            batch = np.stack([gray_planes(one, self.planes) for one in batch])
        answers = run_on_size(self.program, batch)[..., 0]
        return answers[0] if single else answers

    def _as_batch(self, image: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return images as `(N, H, W, C)`, and whether it is a single one."""
        kinds = "b" if self.planes is None else "ui"
        kind = "bool (threshold it, e.g. image > 127)" if self.planes is None else "whole numbers"
        _checks.require(image.dtype.kind in kinds, "image", kind, image.dtype)
        axes = self.program.axes
        has_channels = image.ndim > axes and image.shape[-1] == self.channels
        if not has_channels and self.channels == 1:
            image, has_channels = image[..., None], True
        size, fits = ", ".join("DHW"[3 - axes :]), image.ndim in (axes + 1, axes + 2)
        expected = f"({size}), ({size}, C) or a batch of these"
        expected = expected if self.channels == 1 else f"(..., {size}, C)"
        expected = f"{expected} of {self.channels} channels"
        _checks.require(has_channels and fits, "image", expected, image.shape)
        return (image[None], True) if image.ndim == axes + 1 else (image, False)


def expression_of(program: Program) -> str:
    """Return what a program computes, without the name of its result.

    Args:
        program: of one output.

    Returns:
        Text such as "opening by disk(3)"; structuring elements without a name follow as pictures.
    """
    return explain(program).text.removeprefix("y = ")


_LOCK = threading.Lock()


@dataclass(eq=False)
class _Use:
    """Hold a program for images of one size: as it is, and compiled if that was worth it."""

    program: Program  # it stays, and with it its id, by which the use is found
    own: Program
    compiled: Specialized | None = None
    is_compiling: bool = False
    seconds: float = 0.0  # that numpy has taken


_USES: OrderedDict[tuple[int, tuple[int, ...]], _Use] = OrderedDict()


def run_on_size(program: Program, x: np.ndarray) -> np.ndarray:
    """Run a program on images of any size, packed and compiled where that is worth it.

    Compilation takes seconds, so numpy runs the images of a size until it has taken about as long;
    then one thread compiles, and the others go on with numpy meanwhile. The compiled programs of
    the last sizes are kept. Large images are cut into bands of rows, so memory does not grow with
    them, and one compiled program serves all heights.

    Args:
        program: a program whose planes have the size of the image.
        x: bool `(N, H, W, C)`, or `(N, D, H, W, C)`: a band of a volume is some slices.

    Returns:
        bool `(N, H, W, outputs)`, or `(N, D, H, W, outputs)`.
    """
    if 0 in x.shape:
        return np.zeros((*x.shape[:-1], program.output_shape[-1]), bool)
    size = x.shape[1:-1]
    rows = max(_BAND // math.prod(size[1:]), 32)
    if size[0] > rows and size[0] > rows + 2 * row_reach(program):
        return run_in_bands(program, x, partial(run_on_size, program), rows=rows)
    with _LOCK:
        name = (id(program), size)
        if name not in _USES:
            _USES[name] = _Use(program, resized(program, size))
        use = _USES[name]
        _USES.move_to_end(name)
        while len(_USES) > _COMPILED:
            _USES.popitem(last=False)
        is_due = use.seconds >= min(_LEAST + _EACH * planes_of(use.own), _MOST)
        compiles = use.compiled is None and is_due and not use.is_compiling
        use.is_compiling |= compiles
    if use.compiled is not None:
        return use.compiled.on_host(x)
    if compiles:
        try:
            compiled = specialize_program(use.own, layout="pixels")
            answers = compiled.on_host(x)  # this compiles it
            use.compiled = compiled
        finally:
            use.is_compiling = False
        return answers
    start = time.thread_time()
    answers = _run_plainly(use.own, x)
    use.seconds += time.thread_time() - start
    return answers


def _run_plainly(program: Program, x: np.ndarray) -> np.ndarray:
    """Run a program by numpy, in bands where the planes, a byte a pixel, would be too large."""
    row = planes_of(program) * len(x) * math.prod(x.shape[2:-1])  # bytes of a row of all planes
    if row * x.shape[1] <= _PLAIN:
        return run(program, x)

    def on_band(band: np.ndarray) -> np.ndarray:
        return run(resized(program, band.shape[1:-1]), band)

    # Bands overlap by the reach of the program: lower ones would repeat more than they save.
    rows = max(_PLAIN // row, 2 * row_reach(program), 1)
    return run_in_bands(program, x, on_band, rows=rows)


def planes_of(program: Program) -> int:
    """Return the number of planes of all steps of a program."""
    return sum(op.shape[0] for op in program.ops)


def menu_entry(
    name: str,
    apply: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    held_out: Any,
    *,
    masks: Any = None,
    planes: GrayPlanes | None = None,
    border: str = "ignore",
    properties: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    seconds: float = 0.0,
) -> MenuEntry:
    """Make an entry of a network of one's own, to be added to a menu by `Menu.with_entry`.

    Args:
        name: what it is; "" takes the expression where it is short.
        apply: the network, `(params, x) -> y`, from x `(N, H, W, planes)` to `(N, H, W, 1)`, or
            from volumes to volumes. An entry can be pickled if this function can.
        params: params tree of `BiSE` nodes.
        held_out: pairs that it has not seen: (inputs, targets), as for `learn`.
        masks: pixels that count, bool; all by default, or `held_out.masks`.
        planes: how planes are made of gray inputs; None where inputs are bool.
        border: what the network sees beyond the frame; stated, not used.
        properties: names of properties that hold by construction; stated, not checked.
        options: what was given or chosen, by name.
        seconds: time of learning.

    Returns:
        `MenuEntry`, scored by its binary network.

    Raises:
        ValueError: pairs that cannot be read, a network with steps that no binary network has, or
            whose answer has not the size of the image.

    Example:
        >>> from morphax import models, realize
        >>> from morphax.morphology import elements
        >>> from morphax.recipes import learn_chain
        >>> x = np.random.default_rng(0).random((8, 16, 16, 1)) < 0.7
        >>> y = x & np.roll(x, 1, 2)
        >>> learned = learn_chain(jax.random.key(0), (x, y), kernel_size=3, depth=1)
        >>> entry = menu_entry("", models.bimonn, learned.params, (x, y))
        >>> entry(x[0, :, :, 0]).shape, bool(entry.certificate.exact)
        ((16, 16), True)
    """
    examples = read_pairs(held_out, masks=masks)
    network = (apply, params, planes, border)
    said = {"properties": tuple(properties), "options": dict(options or {}), "seconds": seconds}
    return certified(entry_of(name, network, examples, **said))


def entry_of(
    name: str,
    network: tuple[Callable[..., Any], Any, GrayPlanes | None, str],
    examples: Sequence[Example],
    *,
    binary: Any = None,
    **said: Any,
) -> MenuEntry:
    """Make an entry without a certificate, and score it on examples.

    Args:
        name: what it is; "" takes the expression where it is short.
        network: apply, params, planes and border, as for `menu_entry`.
        examples: held-out images: input, target, mask.
        binary: bits of the params, where they are known.
        **said: further attributes of the entry.

    Returns:
        `MenuEntry`.
    """
    apply, params, planes, border = network
    *frame, channels = examples[0][0].shape
    seen = gray_planes(examples[0][0][:1, :1], planes) if planes is not None else examples[0][0]
    size = (SIDE,) * len(frame)
    shape = (1, *size, seen.shape[-1])
    binary = binarize(params) if binary is None else binary
    program = simplify(build(apply, binary, shape))
    same = program.output_shape == (*size, 1)
    _checks.require(same, "apply", "an answer (N, H, W, 1)", (1, *program.output_shape))
    if not name:
        text = expression_of(program).split("\n")[0]
        short = len(text) <= _SHORT and "set of" not in text
        name = text if short else f"network of {_neurons(program)} neurons"
    none = Scores(1.0, 0.0, 0.0, 0.0, 0.0, 0)
    entry = MenuEntry(
        name,
        apply,
        jax.tree.map(np.asarray, params),
        jax.tree.map(np.asarray, binary),
        None,  # type: ignore[arg-type]
        program,
        planes,
        channels,
        border,
        none,
        (),
        count(program).per_pixel,
        **said,
    )
    answers = [entry(image) for image, _, _ in examples]
    each = tuple(
        score_answers([answer], [one]) for answer, one in zip(answers, examples, strict=True)
    )
    return replace(entry, scores=score_answers(answers, examples), image_scores=each)


def certified(entry: MenuEntry) -> MenuEntry:
    """Return an entry with its certificate."""
    shape = (1, *entry.program.input_shape)
    certificate = certificate_of(entry.apply, entry.params, shape)
    return replace(entry, certificate=jax.tree.map(np.asarray, certificate))


def _neurons(program: Program) -> int:
    """Return the number of neurons: windows, unions and intersections."""
    return sum(op.shape[0] for op in program.ops if op.kind in ("spatial", "combine"))
