"""Results of recipes: `Learned`, or `LearnedChain` of a descent; each has a `Verdict`."""

from typing import Any, NamedTuple

from morphax.certificates.network import NetworkCertificate
from morphax.data.possible import LabelNoise
from morphax.training.options import Record


class Verdict(NamedTuple):
    """Compare a binary network with trivial answers, on held-out pairs.

    Attributes:
        error: Share of the pixels that the binary network has wrong, in [0, 1].
        dice: Mean Dice coefficient of its outputs, in [0, 1].
        trivial: Errors of answers that need no learning, by name: "copy" of the input, an "empty"
            and a "full" image, and a "3x3 table", the most frequent target of each 3 x 3 window.
            Those that do not apply to the shapes are left out.
    """

    error: float
    dice: float
    trivial: dict[str, float]


class Learned(NamedTuple):
    """Hold what a recipe has learned.

    Attributes:
        params: Trained params tree; `morphax.models.bimonn` runs it, where a recipe says nothing
            else.
        binary: Its binary network, the one that was judged.
        certificate: Verdict of `certify_network` on `params`: if it is exact, `binary` gives the
            outputs of `params` on every binary image.
        history: Records of the training that was kept, as logged.
        verdict: Errors of `binary` and of trivial answers on the held-out pairs.
        warning: One sentence where the result should not be used without a look, else None: it is
            no better than a trivial answer, or the search was cut short.
        method: Method of `morphax.binarize` that made `binary`, chosen by the held-out pairs. All
            methods agree where the network is certified.
        runs: Number of runs that were made.
        found_by: How the network was found: "gradients", or "descent" on bits.
        remarks: Sentences on the result and the data, such as the share of contradictory targets.
    """

    params: Any
    binary: Any
    certificate: NetworkCertificate
    history: list[Record]
    verdict: Verdict
    warning: str | None = None
    method: str = "projection"
    runs: int = 1
    found_by: str = "gradients"
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return what a reader wants to know first, in a few lines."""
        return _text(self, f"found by {self.found_by}, {self.runs} run{'s' * (self.runs != 1)}")


class LearnedChain(NamedTuple):
    """Hold a learned small network.

    Attributes:
        params: Params tree of a BiMoNN (`morphax.models.bimonn` runs it), made by `realize`.
        binary: Its binary network.
        certificate: Verdict of `certify_network` on `params`.
        history: One record for each network that was judged: its form, number of neurons, losses,
            seconds.
        verdict: Errors of `binary` and of trivial answers on the held-out pixels that count; Dice
            coefficients are those of all pixels together, since images may have any sizes.
        warning: One sentence where the result should not be used without a look, else None.
        method: "descent": there is nothing to binarize.
        runs: Number of networks that were judged.
        loss: Loss on the training pairs.
        valid_loss: Loss on the held-out pairs.
        simple_losses: Losses of a copy of the input and of constant answers, on the held-out pairs.
        noise: Contradictions between targets of equal windows, in a window as large as what the
            network sees.
        only_flips: Whether the wrong pixels look like independent flips of the targets.
        stopped: Reason why the search ended: "nothing is wrong", "only flips are left", "nothing
            improves", "time limit" or "interrupted".
        remarks: Sentences that a user should read.
        improvements: Binary networks that were the best one for a time, in the order in which they
            were found: simple ones first, and `binary` last.
    """

    params: Any
    binary: Any
    certificate: NetworkCertificate
    history: list[Record]
    verdict: Verdict
    warning: str | None
    method: str
    runs: int
    loss: float
    valid_loss: float
    simple_losses: dict[str, float]
    noise: LabelNoise
    only_flips: bool
    stopped: str
    remarks: list[str]
    improvements: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        """Return what a reader wants to know first, in a few lines."""
        return _text(self, f"{self.runs} networks judged, stopped because: {self.stopped}")


def _text(learned: Learned | LearnedChain, how: str) -> str:
    """Return a result in a few lines: error, proof, warnings, and the names of its fields."""
    exact = bool(learned.certificate.exact)
    proof = "certified: the binary network equals the trained one" if exact else "not certified"
    error = f"{100 * learned.verdict.error:.3g} % of the held-out pixels wrong"
    lines = [
        f"{type(learned).__name__}: {error}, {how}",
        f"  {proof}",
        *(f"  warning: {text}" for text in filter(None, [learned.warning])),
        *(f"  {remark}" for remark in learned.remarks),
        f"  fields: {', '.join(learned._fields)}",
    ]
    return "\n".join(lines)
