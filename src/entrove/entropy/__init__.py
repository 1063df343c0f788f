"""How much a configuration adds: entropies of features, their gradients, and a growing dataset.

Read in this order:

    config.py       settings
    dataset.py      `EntropyDataset`: add, remove, gain, bias
    views.py        `DatasetViews`: one dataset, as each of several entropies sees it
    functional.py   what every entropy offers; `Bias`: an entropy with its feature map
    information.py  the information gain, never negative and submodular
    covariance.py   the paper's ln det of the normalised covariance
    local.py        nearest-neighbour entropy of one configuration, without a dataset
    labels/         rows of energy, forces and stress: what a label teaches a linear model

What these are made of:

    batches.py      structures, streamed, to batches of features
    rows.py         features to rows per species: one per atom, or per configuration
    moments.py      count, sum and sum of outer products of rows: all that a dataset remembers
    whitening.py    frozen mean and scale per species, from an unbiased reference run
    logdet.py       ln det(1 + W W^T) of many configurations at once, with its gradient
    storage.py      the file of a dataset
    typed_torch.py  functions of torch.linalg, with types
"""

# lazy_loader has no types:
# pyright: basic
import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
