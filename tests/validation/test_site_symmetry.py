"""Force components that vanish by symmetry, checked against forces of a calculator."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from entrove.structures import attach_results
from entrove.validation.errors_by_kind import errors_by_kind
from entrove.validation.site_symmetry import allowed_components, counted_components


def rotated(atoms: Atoms, degrees: float, axis: str) -> Atoms:
    turned = atoms.copy()
    turned.rotate(degrees, axis, rotate_cell=True)
    return turned


def sheared_diamond() -> Atoms:
    atoms = bulk("Si", cubic=True)
    shear = np.eye(3)
    shear[1, 2] = shear[2, 1] = 0.025
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


def moved_along_x() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.positions[0, 0] += 0.1
    return atoms


@pytest.mark.parametrize(
    ("atoms", "allowed"),
    [
        (bulk("Si", cubic=True), 0),
        (bulk("Si").repeat((3, 2, 1)), 0),
        (bulk("NaCl", "rocksalt", a=5.6), 0),
        # On the twofold axis along x, every atom may feel a force along it alone.
        (sheared_diamond(), 8),
        (rotated(sheared_diamond(), 90, "z"), 8),
        (molecule("H2O", vacuum=3.0), 9),  # not periodic: its symmetry is not determined
    ],
)
def test_allowed_components_of_known_structures(atoms, allowed):
    assert allowed_components(atoms).sum() == allowed


def test_atoms_without_symmetry_may_feel_any_force():
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=1)
    assert allowed_components(atoms).all()


@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_the_forces_of_a_calculator_vanish_where_they_must_and_only_there(degrees):
    """One atom of copper off its place along x: the others keep mirrors, or axes."""
    atoms = rotated(moved_along_x(), degrees, "z")
    forces = EMT().get_forces(atoms)
    allowed = allowed_components(atoms)
    assert 0 < allowed.sum() < allowed.size
    assert np.abs(forces[~allowed]).max() < 1e-12
    assert np.abs(forces[allowed]).min() > 1e-4


def test_images_and_order_do_not_matter():
    atoms = moved_along_x()
    order = [2, 0, 3, 1]
    other = atoms[order]
    other.positions[1] += other.cell[0] - 2 * other.cell[2]
    np.testing.assert_array_equal(allowed_components(other), allowed_components(atoms)[order])


def test_a_label_that_contradicts_the_symmetry_is_counted_whole(caplog):
    """As magnetic order does: the forces are those of a crystal of lower symmetry."""
    atoms = bulk("Fe", cubic=True)
    forces = np.array([[0.3, 0, 0], [-0.3, 0, 0]])
    with caplog.at_level(logging.WARNING):
        assert counted_components(attach_results(atoms, 0.0, forces, np.zeros(6))).all()
    assert "a labelled force of 0.300 eV/A should vanish" in caplog.text
    small = attach_results(atoms, 0.0, 0.01 * forces, np.zeros(6))
    assert not counted_components(small).any()


def test_strained_cells_do_not_dilute_force_errors():
    """The force error of a mixture is that of its cells with forces."""
    strained, hot = bulk("Cu", cubic=True), bulk("Cu", cubic=True)
    hot.rattle(0.1, seed=3)
    rng = np.random.default_rng(4)
    labels, predictions = [], []
    for atoms in (strained, strained.repeat((2, 1, 1)), hot):
        forces = EMT().get_forces(atoms)
        wrong = forces + (rng.normal(scale=0.05, size=forces.shape) if atoms is hot else 0.0)
        labels.append(attach_results(atoms, 0.0, forces, np.zeros(6)))
        predictions.append(attach_results(atoms, 0.0, wrong, np.zeros(6)))
    mixed = errors_by_kind(labels, predictions).total
    alone = errors_by_kind(labels[2:], predictions[2:]).total
    assert mixed.force_mae_meV_per_A == pytest.approx(alone.force_mae_meV_per_A)
    assert (mixed.force_components, mixed.force_components_by_symmetry) == (12, 36)
    only_strained = errors_by_kind(labels[:2], predictions[:2]).total
    assert np.isnan(only_strained.force_mae_meV_per_A)
