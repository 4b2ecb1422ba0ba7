"""Results of recipes: `Learned`, the same for all, with a `Verdict` on held-out pairs."""

from typing import Any, NamedTuple

from morphax.certificates.network import NetworkCertificate
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
    """

    params: Any
    binary: Any
    certificate: NetworkCertificate
    history: list[Record]
    verdict: Verdict
    warning: str | None = None
    method: str = "projection"
    runs: int = 1
