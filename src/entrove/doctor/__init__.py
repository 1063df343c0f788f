"""What is installed and works on this machine, and what to do about the rest.

Nothing is changed. Read in this order:

    findings.py   `Finding` and `Examination`: what was found, and its remedy
    programs.py   ask a program for its version without waiting for ever
    packages.py   Python, the core, and the extras with their versions
    models.py     frameworks and packaged models; which of them load and evaluate a crystal
    engines.py    GPAW, Quantum ESPRESSO, VASP, CP2K and their data; what labels without DFT
    machine.py    cores, threads, load, memory, GPU, disk, file locks, terminal
    executors.py  Slurm, Parsl, and LAMMPS with its pair styles
    examine.py    `examine()`: all of it
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
