"""Files of a model bundle for other programs, each checked against the bundle itself.

Read in this order:

    export.py       `export`: a folder for LAMMPS, ASE or torch-sim, or the dataset
    source.py       what is exported: a bundle, and the campaign that it comes from
    agreement.py    how far the exported potential is from the one in the bundle
    lammps/         potential, input, data file and README for LAMMPS
    scripts.py      scripts for ASE and torch-sim
    dataset.py      labels with their provenance
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
