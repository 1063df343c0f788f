"""A model bundle: one folder with a potential and what is known about it.

    bundle.json      identity, errors and limits of the potential; `Bundle` is its schema
    MODEL_CARD.md    the same for people, generated from it
    weights/...      the checkpoints, each with its SHA-256 in bundle.json
    validation.xyz   the labels that chose the model, on which its errors were measured
    test.xyz         those that took no part in any decision, where there are any
    examples.xyz     a structure of each phase

Read in this order:

    record.py   `Bundle`: what bundle.json holds
    folder.py   `write_bundle`, `read_bundle`, `load_model`
    card.py     the text of MODEL_CARD.md
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
