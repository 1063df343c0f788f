"""Learning curves: how far the same students get with the labels that different arms choose.

The same study for any system, from one file (`entrove curves study.yaml`). Read in this order:

    config.py       the settings of a study
    study.py        `run_study`: all steps in their order, each kept by what it depends on
    exploring.py    explorations: campaigns that end at their pools
    choosing.py     what each arm picks, count by count
    labels.py       the labels of all picks and tests, each computed once
    test_sets.py    hold-outs of the arms, their mixture, the independent set, files
    learning.py     students, from labels to the errors on every test set
    results.py      errors, ratios to the control arm with intervals, labels needed

The tables and the page with the curves are in `entrove.report.curves`.

A step writes one file or folder whose name has a hash of everything that it depends on. So a
study can be stopped at any time, and arms, counts, draws or students may be added later.
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
