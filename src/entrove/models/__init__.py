"""Machine-learned potentials: load them by name, evaluate batches, and check the batches.

Read in this order:

    loaded.py         what a loaded model offers: batches, its own ASE calculator, its elements
    frameworks.py     what is known of a framework: its models, files, what can be tuned
    registry.py       one entry per framework; `load` by name, file or import path
    licence.py        under which licence a model's weights are, as far as that is known
    failures.py       structures that a model could not evaluate, and what it raised
    prediction.py     energy, forces and stress of a list of structures
    verify.py         batches against the model's own ASE calculator
    committee.py      several models as one: mean and spread
    ase.py            any ASE calculator as a model, and any model as an ASE calculator
    sevennet/ nequip/ chgnet/
                      one folder per framework, with its entry in its loading.py

Below them: batches.py and neighbours.py (memory, cuts, neighbour lists), edge_features.py
(per-atom features with gradients), weight_sketch.py (gradients of all weights), torch_settings.py
(torch as each framework needs it).

A framework is added as a folder with a `Framework` in its loading.py and a line in registry.py.
One that can be tuned also gets a folder and a line in `entrove.training`.
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
