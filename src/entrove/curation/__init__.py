"""Data that exists: what is in it, which part of it carries the information, other formats.

None of it needs a configuration or a campaign. Read in this order::

    sources.py      frames of one or several files that can be used, and those that cannot
    convert.py      convert(): any format to any format, unconverged frames refused
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
