"""What computes labels. An engine is its settings: a frozen value that can be sent as JSON.

Read in this order::

    base.py      Engine: what each of them offers, and its retry ladder
    kpoints.py   k-point grids from a spacing
    external.py  commands and data files of engines that are programs of their own
    gpaw.py espresso.py vasp.py cp2k.py ase.py mlip.py
                 one engine each
    registry.py  all of them by their `name` in a configuration

A new engine is one file with a class derived from `Engine`, and one line in registry.py.
"""

from entrove.labelling.engines.ase import AseCalculator
from entrove.labelling.engines.base import Computation, Engine, NotConvergedError
from entrove.labelling.engines.cp2k import Cp2k
from entrove.labelling.engines.espresso import Espresso
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.mlip import Mlip
from entrove.labelling.engines.registry import AnyEngine, engine_from_json
from entrove.labelling.engines.vasp import Vasp

__all__ = [
    "AnyEngine",
    "AseCalculator",
    "Computation",
    "Cp2k",
    "Engine",
    "Espresso",
    "Gpaw",
    "Mlip",
    "NotConvergedError",
    "Vasp",
    "engine_from_json",
]
