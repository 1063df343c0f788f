"""What a label gives to a structure can be read back from it, also after it was in a file."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from stored_labels import LEVEL, label_of, salt

from entrove.errors import LabelError
from entrove.formats import read_frames
from entrove.labelling import Label, Outcome
from entrove.structures import content_hash, read_structures, write_structures


def same(label: Label, other: Label) -> bool:
    stress, other_stress = label.stress_eV_per_A3, other.stress_eV_per_A3
    return (
        label.structure_hash == other.structure_hash
        and label.level_of_theory == other.level_of_theory
        and label.energy_eV == other.energy_eV
        and np.array_equal(label.forces_eV_per_A, other.forces_eV_per_A)
        and (stress is None) == (other_stress is None)
        # ASE keeps six of the nine components.
        and (stress is None or np.allclose(stress + stress.T, 2 * other_stress, atol=1e-12))
        and (label.engine, label.engine_version) == (other.engine, other.engine_version)
        and label.engine_seconds == other.engine_seconds
    )


def labelled_salt() -> tuple[Label, Atoms]:
    atoms = salt(0)
    bare = label_of(atoms)
    symmetric = np.arange(9.0).reshape(3, 3)
    label = Label(
        structure_hash=bare.structure_hash,
        level_of_theory=LEVEL.hash,
        outcome=Outcome.CONVERGED,
        energy_eV=-1.25,
        forces_eV_per_A=bare.forces_eV_per_A,
        stress_eV_per_A3=symmetric + symmetric.T,
        engine_seconds=2.5,
        engine="gpaw",
        engine_version="26.7.0",
    )
    return label, atoms


def test_a_label_is_read_back_from_the_structure_that_carries_it(tmp_path: Path):
    label, atoms = labelled_salt()
    assert same(Label.from_atoms(label.attach(atoms)), label)
    write_structures(tmp_path / "labels.xyz", [label.attach(atoms)])
    (read,) = read_structures(tmp_path / "labels.xyz")
    found = Label.from_atoms(read)
    # Extended XYZ keeps eight digits after the point.
    np.testing.assert_allclose(found.forces_eV_per_A, label.forces_eV_per_A, atol=1e-8)
    assert (
        found.structure_hash,
        found.level_of_theory,
        found.energy_eV,
        found.engine_version,
    ) == (
        label.structure_hash,
        LEVEL.hash,
        -1.25,
        "26.7.0",
    )


def test_a_label_of_a_structure_with_fixed_atoms_is_read_back_whole():
    label, atoms = labelled_salt()
    atoms.set_constraint(FixAtoms([0]))
    assert label.forces_eV_per_A is not None
    assert label.forces_eV_per_A[0].any()
    assert same(Label.from_atoms(label.attach(atoms)), label)


@pytest.mark.parametrize(
    ("info", "arrays"),
    [
        ({"dft_energy": -5.0, "REF_energy": -5.0}, ["dft_forces", "REF_force"]),
        ({"free_energy": -5.0, "virial": np.eye(3), "stress_GPa": np.ones(6)}, ["f"]),
        ({"energy": -5.0, "stress": np.eye(3), "SCF_converged": False}, ["forces"]),
    ],
)
def test_earlier_labels_of_a_structure_do_not_contradict_its_label(tmp_path: Path, info, arrays):
    label, atoms = labelled_salt()
    bare = label.attach(atoms)
    atoms.info |= info
    for name in arrays:
        atoms.set_array(name, np.ones((len(atoms), 3)))
    given = (set(atoms.info), set(atoms.arrays))
    labelled = label.attach(atoms)
    assert (labelled.info, set(labelled.arrays)) == (bare.info, set(bare.arrays))
    assert given == (set(atoms.info), set(atoms.arrays))  # the structure stays as it was
    write_structures(tmp_path / "labels.xyz", [labelled])
    (frame,) = read_frames(tmp_path / "labels.xyz")
    assert frame.problem == ""
    assert frame.converged is None
    assert same(Label.from_atoms(labelled), label)


def test_a_molecule_has_no_stress():
    atoms = molecule("H2O")
    label = Label(
        structure_hash=content_hash(atoms),
        level_of_theory=LEVEL.hash,
        outcome=Outcome.CONVERGED,
        energy_eV=-14.0,
        forces_eV_per_A=np.ones((3, 3)),
    )
    assert same(Label.from_atoms(label.attach(atoms)), label)


def test_a_structure_without_a_label_is_refused():
    atoms = molecule("H2O")
    with pytest.raises(
        LabelError,
        match="H2O: carries no label, it has no energy and no forces and no entrove_level",
    ):
        Label.from_atoms(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.zeros((3, 3)))
    with pytest.raises(LabelError, match="it has no entrove_level_of_theory; pass a structure"):
        Label.from_atoms(atoms)
