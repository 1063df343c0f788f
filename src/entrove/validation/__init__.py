"""Validation: how good a potential is, on labelled structures and on properties of crystals.

On labelled structures:

    measure.py         `validate`: predictions of a model, and their errors
    errors_by_kind.py  `errors_by_kind`: errors by phase and kind of structure
    comparison.py      `compare`: whether a tuned model is better than the untuned one
    splits.py          `check_disjoint`: no structure is in both training and validation set
    structure_errors.py  errors structure by structure, from which the others are made
    site_symmetry.py   force components that vanish by symmetry, which are not counted
    intervals.py       confidence intervals of errors and of their ratios
    config.py          what counts as worse, and what is refused
    bundle_errors.py   errors in the form that a model bundle keeps

On properties:

    equation_of_state.py  `equation_of_state`: energy against volume (Birch-Murnaghan)
    elastic.py            `elastic_constants`: from the stresses of strained cells
    phonons.py            `phonons`: by finite displacements, with phonopy
    stability.py          `nve_stability`, `nvt_stability`: MD with and without a thermostat
    strained_cell.py      a crystal in another cell, its atoms relaxed (used by the first two)
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
