"""Which candidates are worth a label: greedy selection against everything the dataset holds already.

The files in the order of the method::

    config          settings
    result          Selection, Rejection: what comes out
    pool            candidates as feature rows, streamed in
    gains           what candidates would add, many at once, while the dataset grows pick by pick
    duplicates      equal structures by content, near-equal ones by features
    quotas          places reserved for each pool
    greedy          lazy greedy (information gain) and plain greedy (paper)
    farthest_point  the control arm: farthest-point sampling
    front_door      select()
"""
