"""How much a configuration adds: entropies of features, their gradients, and a growing dataset.

Read in this order:

    config.py       settings
    dataset.py      `EntropyDataset`: add, remove, gain, bias
    views.py        `DatasetViews`: one dataset, as each of several entropies sees it
    functional.py   what every entropy offers; `Bias`: an entropy with its feature map
    information.py  the information gain, never negative and submodular
    covariance.py   the paper's ln det of the normalised covariance
    local.py        nearest-neighbour entropy of one configuration, without a dataset

What these are made of:

    batches.py      structures, streamed, to batches of features
    rows.py         features to rows per species: one per atom, or per configuration
    moments.py      count, sum and sum of outer products of rows: all that a dataset remembers
    whitening.py    frozen mean and scale per species, from an unbiased reference run
    logdet.py       ln det(1 + W W^T) of many configurations at once, with its gradient
    storage.py      the file of a dataset
    typed_torch.py  functions of torch.linalg, with types
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entrove.entropy.config import EntropyConfig
    from entrove.entropy.dataset import EntropyDataset
    from entrove.entropy.functional import Bias, Entropy
    from entrove.entropy.local import LocalEntropy

_PUBLIC = {
    "Bias": "entrove.entropy.functional",
    "Entropy": "entrove.entropy.functional",
    "EntropyConfig": "entrove.entropy.config",
    "EntropyDataset": "entrove.entropy.dataset",
    "LocalEntropy": "entrove.entropy.local",
}

__all__ = ["Bias", "Entropy", "EntropyConfig", "EntropyDataset", "LocalEntropy"]
# loaded on first use, below


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'entrove.entropy' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
