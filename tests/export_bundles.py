"""Bundles of small networks with random weights, and structures that show every mistake."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from entrove import provenance
from entrove.structures import attach_results
from entrove.training.bundle import Regime, write_bundle
from entrove.training.trained_model import TrainedModel


def periodic_structures() -> list[Atoms]:
    """Several species, a primitive cell with many images, a left-handed and a skewed cell."""
    salt = bulk("NaCl", "rocksalt", a=5.5)
    skewed = bulk("NaCl", "rocksalt", a=5.4, cubic=True)
    skewed.set_cell(
        skewed.cell.array @ np.array([[1.0, 0.2, 0.1], [0.0, 1.05, 0.3], [0.1, 0.0, 0.95]]),
        scale_atoms=True,
    )
    left_handed = bulk("Si", "diamond", a=5.43, cubic=True)
    left_handed.set_cell(left_handed.cell.array[[1, 0, 2]] * [1.0, 1.02, 0.97])
    structures = [salt, skewed, left_handed]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.08, seed=seed)
    return structures


def labelled(structures: list[Atoms]) -> list[Atoms]:
    """The same with labels; what they say does not matter to an export."""
    rng = np.random.default_rng(6)
    found = []
    for atoms in structures:
        label = attach_results(
            atoms, float(rng.normal()), rng.normal(size=(len(atoms), 3)), rng.normal(size=6)
        )
        label.info |= {provenance.PHASE: "salt", provenance.KIND: "md", provenance.ROUND: 0}
        found.append(label)
    return found


def put_bundle(
    folder: Path,
    checkpoint: Path,
    framework: str,
    species: list[str],
    structures: list[Atoms] | None = None,
) -> Path:
    """A bundle of this checkpoint, with structures in it."""
    known = periodic_structures() if structures is None else structures
    member = TrainedModel(
        folder=checkpoint.parent,
        checkpoint=checkpoint,
        framework=framework,
        base="small",
        base_hash="0" * 64,
        seed=1,
        epochs_run=1,
        best_epoch=1,
        training_loss=0.1,
        watched_loss=None,
        reference_shifts_eV={},
        training_labels=3,
        training_set_hash="0123",
        seconds=1.0,
        accepted=True,
    )
    write_bundle(
        folder,
        [member],
        species=species,
        level_of_theory_hash="abcd",
        level_of_theory="Lennard-Jones",
        metrics={},
        regime=Regime(phases=("salt",), pressures_GPa=(0.0,), temperatures_K=(450.0,)),
        name="salt",
        validation=labelled(known),
        examples=known[:1],
    )
    return folder
