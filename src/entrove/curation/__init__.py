"""Data that exists: what is in it, which part of it carries the information, other formats.

None of it needs a configuration or a campaign. Read in this order::

    sources.py      frames of one or several files that can be used, and those that cannot
    auditing/       audit(): what is wrong in labelled files, and what they cover
    convert.py      convert(): any format to any format, unconverged frames refused
    methods.py      the names of the ways to pick
    ways.py         which of them is the best that takes minutes
    picking.py      the selections of `entrove.selection`, and what the next picks would add
    copying.py      frames as they are in their files, byte for byte
    drawing.py      small pictures
    curate.py       curate(): the frames of a pool that carry the information
    novelty.py      information of two sets, and of each frame given a set
    compare.py      compare(): what two sets add to each other and have in common
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
