"""Labels: energy, forces and stress of structures, from an engine, each computed once and checked.

Read in this order; each file imports only from those above it::

    labels.py            Label and Outcome: what comes out
    engines/             GPAW, Quantum ESPRESSO, VASP, CP2K, any ASE calculator, another model
    level_of_theory.py   the settings of an engine that define energies, as one hash
    attempt.py           one attempt at one label, as files of a folder
    sanity.py            numbers that cannot be right
    consistency.py       a stress that is not the derivative of the energy
    kpoint_check.py      what denser k-points would change
    outliers.py          energies that disagree with a model
    retries.py           what follows after an attempt that failed
    cost.py              what labels will cost, learnt from those there are
    config.py            the key `labelling` of a configuration
    execution/           Parsl, its workers, and the processes in which engines run
    store/               the label cache, labels from elsewhere, lists of labels
    checks.py            what can be checked before anything runs
    labeller.py          Labeller: puts all of this together and yields labels as they arrive
    label_structures.py  label(): the same for a list of structures, without a campaign

To label structures::

    from entrove.labelling import label
    from entrove.labelling.engines import Gpaw

    labels = label(structures, Gpaw(cutoff_eV=600), folder="labels")
    labelled = [
        label.attach(atoms) for label, atoms in zip(labels, structures) if label.converged
    ]
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
