"""Structures and labels that tests of the cache store, also from processes of their own."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.structures import content_hash

LEVEL = LevelOfTheory("test", '{"setting":1}')
OTHER_LEVEL = LevelOfTheory("test", '{"setting":2}')


def salt(seed: int, repeat: int = 1) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (repeat, 1, 1)
    atoms.rattle(0.2, rng=np.random.default_rng(seed))
    return atoms


def label_of(
    atoms: Atoms, level: LevelOfTheory = LEVEL, outcome: Outcome = Outcome.CONVERGED
) -> Label:
    """A label whose force on each atom says which atom it is."""
    converged = outcome is Outcome.CONVERGED
    return Label(
        structure_hash=content_hash(atoms),
        level_of_theory=level.hash,
        outcome=outcome,
        cause="" if converged else "on purpose",
        energy_eV=-1.0 if converged else None,
        forces_eV_per_A=atoms.get_scaled_positions(wrap=True) if converged else None,
        stress_eV_per_A3=np.arange(9.0).reshape(3, 3) if converged else None,
        engine_seconds=2.0,
    )


def store_many(path: Path, seeds: range) -> None:
    with LabelCache(path) as cache:
        for seed in seeds:
            atoms = salt(seed)
            cache.put(atoms, label_of(atoms), LEVEL)
