"""Entropy-driven training data for machine-learned interatomic potentials, and the potentials.

The packages follow the method; imports point one way, from the top of this picture to its bottom::

    cli
     |
    doctor                       what works on this machine
     |
    report | export              what a campaign found | its potential for other programs
     |
    campaign                     the loop, its ledger, its configuration
     |
    curation                     data that exists: convert, curate, compare
     |
    sampling | selection | labelling | training | validation
     |
    entropy                      how much a configuration adds
     |
    fingerprints | models        the surroundings of an atom | energy, forces, stress in batches
     |
    features | cells             per-atom features, from either of these | cells of slabs
     |
    formats                      labelled structures from and to files
     |
    structures                   reading and hashing them
     |
    execution                    processes here, and jobs elsewhere
     |
    counts, database_errors, file_locks, files, json_values, provenance, symmetry, threads, units,
    settings, errors
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
