"""The validation suite: named checks of a potential, each with a threshold and a verdict.

Read in this order:

    config.py    `SuiteConfig`: which checks run, their parameters and thresholds
    result.py    `SuiteResult`, `CheckResult`: verdict, numbers, and the data of the plots
    subject.py   `Subject`: the model, the crystals it is judged on, labels, the model it came from
    crystals.py  the crystals of a labelled data set, reduced by symmetry
    distortion.py  whether a structure is a crystal with its atoms displaced
    sources.py   a model by name, file, import path or bundle, and what a bundle brings
    checks/      one file for each check
    store.py     results in a folder, from which an interrupted suite continues
    run.py       `run_suite`: all checks, one after the other

A check is a function of a subject and its settings that returns results; it draws nothing and
writes nothing. Adding one takes a file in checks/, its settings in config.py and a line in run.py.
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
