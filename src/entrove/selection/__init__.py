"""Which candidates are worth a label: greedy selection, given what the dataset holds already.

Read in this order:

    config.py           settings
    from_structures.py  `select`: structures in, a `Selection` out
    result.py           `Selection`: picks, gains, and why the others were left out
    greedy.py           lazy greedy (information gain) and plain greedy (paper)
    gains.py            what many candidates would add, while the dataset grows
    by_labels.py        selection by rows of labels, for information or for a target
    label_gains.py      what the labels of many candidates would teach, while the dataset grows
    duplicates.py       equal structures by content, near-equal ones by features
    quotas.py           places reserved for each pool, and for each phase
    pool.py             candidates as feature rows, streamed
    ranked.py           methods without gains: representative picks, and arms to compare with
    representative.py   environments distributed like those of the target
    farthest_point.py   farthest-point sampling
    lcmd.py             largest cluster, maximum distance
"""

# lazy_loader has no types:
# pyright: basic
import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
