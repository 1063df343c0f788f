"""Conventions of the labels of each file, from a sample: energies, forces and stress.

Read in this order::

    energy_units.py  what energies and forces can be, relative to each other
    parts.py         parts of a set that are judged on their own, and what was decided
    slopes.py        how large energy differences are against those that forces give
    energies.py      which units energies and forces have
    stresses.py      unit, sign and order of the stress
"""
