"""Entropy-driven training data for machine-learned interatomic potentials, and the potentials.

The packages follow the method; imports point one way, from the top of this picture to its bottom::

    cli
     |
    report
     |
    campaign                     the loop, its ledger, its configuration
     |
    sampling | selection | labelling | training | validation
     |
    entropy                      how much a configuration adds
     |
    fingerprints | models        the surroundings of an atom | energy, forces, stress in batches
     |
    features                     per-atom features, from either of these
     |
    structures, files, provenance, threads, units, settings, errors
"""

import importlib
from typing import Any

from entrove._version import __version__

_PUBLIC = {
    "EntropyBias": "entrove.sampling.bias.entropy_bias",
    "EntropyCalculator": "entrove.sampling.bias.calculator",
    "EntropyDataset": "entrove.entropy.dataset",
    "EntroveError": "entrove.errors",
    "fingerprint": "entrove.fingerprints.from_structures",
    "load_model": "entrove.training.bundle",
    "select": "entrove.selection.from_structures",
}

__all__ = [  # loaded on first use, see below
    "EntropyBias",
    "EntropyCalculator",
    "EntropyDataset",
    "EntroveError",
    "__version__",
    "fingerprint",
    "load_model",
    "select",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import entrove` must not wait for torch.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'entrove' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
