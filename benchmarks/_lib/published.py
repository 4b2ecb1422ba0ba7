"""Published accuracies of classifiers whose inference is made of bits, as their sources state them.

Gates are the sources' own counts of two-input gates; conventions differ, and none of them includes
the gray values that are turned into bits. Networks that are counted in look-up tables of six inputs
or in parameters are left out, for they cannot be compared.
"""

from typing import NamedTuple

BITLOGIC = "Buehrer et al. 2026 (BitLogic), table 1"
TREES = "Petersen et al. 2024, arXiv 2411.04732"
TTNET = "repository Anonymousijcai2024ttnet/bool_gate_circuit, README"
CTM = "Granmo et al., arXiv 1905.09688; README of cair/convolutional-tsetlin-machine-tutorial"


class Published(NamedTuple):
    """Hold one published result.

    Attributes:
        dataset: name of the data set, as in `docs/results/classify.json`. CIFAR-10 is the official
            set, ours a JPEG copy of it.
        network: name of the network.
        accuracy: percentage of right answers on the test set.
        gates: two-input gates of one image; None where the source does not count them.
        source: where both are stated.
    """

    dataset: str
    network: str
    accuracy: float
    gates: float | None
    source: str


PUBLISHED = (
    Published("mnist", "DiffLogic", 97.69, 48e3, BITLOGIC),
    Published("mnist", "DiffLogic", 98.47, 384e3, BITLOGIC),
    Published("mnist", "LILogicNet", 97.96, 4e3, BITLOGIC),
    Published("mnist", "LILogicNet", 98.45, 8e3, BITLOGIC),
    Published("mnist", "LILogicNet", 98.95, 32e3, BITLOGIC),
    Published("mnist", "LogicTreeNet", 98.46, 147e3, TREES),
    Published("mnist", "LogicTreeNet", 99.23, 566e3, TREES),
    Published("mnist", "LogicTreeNet", 99.35, 1.27e6, TREES),
    Published("mnist", "BitLogic", 99.15, 384e3, BITLOGIC),
    Published("mnist", "TTnet", 97.26, 37e3, TTNET),
    Published("mnist", "TTnet", 98.16, 203e3, TTNET),
    Published("mnist", "convolutional Tsetlin machine", 99.5, None, CTM),
    Published("fashion_mnist", "BitLogic", 93.81, 384e3, BITLOGIC),
    Published("fashion_mnist", "BitLogic", 81.07, 253e3, BITLOGIC),
    Published("fashion_mnist", "convolutional Tsetlin machine", 91.5, None, CTM),
    Published("fashion_mnist", "Tsetlin composites", 93.0, None, "arXiv 2309.04801"),
    Published("cifar10", "DiffLogic", 51.27, 48e3, TREES),
    Published("cifar10", "DiffLogic", 57.39, 512e3, TREES),
    Published("cifar10", "DiffLogic", 60.78, 1.28e6, TREES),
    Published("cifar10", "DiffLogic", 62.14, 5.12e6, TREES),
    Published("cifar10", "LILogicNet", 55.11, 8e3, BITLOGIC),
    Published("cifar10", "LILogicNet", 57.66, 64e3, BITLOGIC),
    Published("cifar10", "LILogicNet", 60.98, 256e3, BITLOGIC),
    Published("cifar10", "LogicTreeNet", 60.38, 0.40e6, TREES),
    Published("cifar10", "LogicTreeNet", 71.01, 3.08e6, TREES),
    Published("cifar10", "LogicTreeNet, teacher", 80.17, 16.0e6, TREES),
    Published("cifar10", "LogicTreeNet, teacher", 84.99, 28.9e6, TREES),
    Published("cifar10", "LogicTreeNet, teacher", 86.29, 61.0e6, TREES),
    Published("cifar10", "BitLogic", 72.36, 384e3, BITLOGIC),
    Published("cifar10", "TTnet", 54.49, 804e3, TTNET),
    Published("cifar10", "TTnet", 70.23, 671e6, TTNET),
    Published("cifar10", "Tsetlin composites", 82.8, None, "arXiv 2406.00704"),
)
