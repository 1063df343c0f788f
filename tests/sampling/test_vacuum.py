"""Vacuum is recognised in any cell, and a relaxation does not close it."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bcc110, bulk, fcc111, graphene, hcp0001, molecule, nanotube
from ase.calculators.emt import EMT

from entrove.models.ase import from_calculator
from entrove.sampling.config import RelaxationSettings
from entrove.sampling.relax import relax_at_pressure
from entrove.sampling.relax_layers import relax_crystals_and_layers
from entrove.sampling.vacuum import describe_vacuum, empty_lengths_A, vacuum_axes


def in_cell(atoms: Atoms, **vacuum) -> Atoms:
    atoms.center(**vacuum)
    atoms.pbc = True
    return atoms


LAYERED = Atoms(  # graphite: 3.35 A between the layers
    "C4",
    scaled_positions=[(0, 0, 0), (1 / 3, 2 / 3, 0), (0, 0, 0.5), (2 / 3, 1 / 3, 0.5)],
    cell=[(2.46, 0, 0), (-1.23, 2.13, 0), (0, 0, 6.70)],
    pbc=True,
)
KINDS = {
    "slab": (in_cell(fcc111("Cu", (2, 2, 4)), vacuum=8.0, axis=2), (False, False, True)),
    "layer": (in_cell(graphene(vacuum=8.0), vacuum=8.0, axis=2), (False, False, True)),
    "wire": (in_cell(nanotube(4, 0, length=1), vacuum=5.0, axis=(0, 1)), (True, True, False)),
    "molecule": (in_cell(molecule("H2O"), vacuum=5.0), (True, True, True)),
    "one atom": (in_cell(Atoms("Ar"), vacuum=5.0), (True, True, True)),
    "graphite": (LAYERED, (False, False, False)),
    "fcc, primitive": (bulk("Cu"), (False, False, False)),
    "caesium": (bulk("Cs", cubic=True), (False, False, False)),
    "caesium, simple cubic": (bulk("Cs", "sc", a=6.5), (False, False, False)),
    "rubidium, simple cubic": (bulk("Rb", "sc", a=6.1), (False, False, False)),
    "potassium, simple cubic": (bulk("K", "sc", a=6.05), (False, False, False)),
    "caesium chloride, stretched": (bulk("CsCl", "cesiumchloride", a=6.5), (False, False, False)),
    "caesium atom": (in_cell(Atoms("Cs"), vacuum=5.0), (True, True, True)),
    "caesium slab": (in_cell(bcc110("Cs", (1, 1, 3)), vacuum=5.0, axis=2), (False, False, True)),
    "xenon": (bulk("Xe", "fcc", a=6.2, cubic=True), (False, False, False)),
    "salt": (bulk("NaCl", "rocksalt", a=5.64), (False, False, False)),
}


@pytest.mark.parametrize(("atoms", "expected"), KINDS.values(), ids=KINDS)
def test_vacuum_is_found_where_it_is(atoms, expected):
    assert vacuum_axes(atoms) == expected
    assert bool(describe_vacuum(atoms)) == any(expected)


def test_without_a_cell_there_is_no_vacuum():
    assert vacuum_axes(molecule("H2O")) == (False, False, False)
    assert describe_vacuum(molecule("H2O")) == ""


@pytest.mark.parametrize("name", KINDS)
def test_neither_origin_nor_images_nor_supercells_matter(name):
    atoms, expected = KINDS[name]
    rng = np.random.default_rng(1)
    moved = atoms.copy()
    moved.positions += rng.uniform(-9, 9, 3)
    moved.positions += rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    np.testing.assert_allclose(empty_lengths_A(moved), empty_lengths_A(atoms), atol=1e-9)
    along = [1 if is_empty else 2 for is_empty in expected]
    assert vacuum_axes(atoms.repeat(along)) == expected


def test_a_tilted_cell_has_the_same_vacuum():
    """Another choice of the vector across the vacuum, and cell vectors in another order."""
    slab = KINDS["slab"][0]
    tilted = slab.copy()
    tilted.set_cell([slab.cell[0], slab.cell[1], slab.cell[2] + slab.cell[0]], scale_atoms=False)
    np.testing.assert_allclose(empty_lengths_A(tilted)[2], empty_lengths_A(slab)[2], atol=1e-9)
    turned = slab.copy()
    turned.set_cell(slab.cell.array[[2, 0, 1]], scale_atoms=False)
    assert vacuum_axes(turned) == (True, False, False)


@pytest.fixture(scope="module")
def model():
    return from_calculator(EMT(), name="emt").model


SETTINGS = RelaxationSettings(force_tolerance_eV_per_A=0.02, largest_steps=400)


def test_a_slab_relaxes_along_its_directions_and_keeps_its_vacuum(model):
    slab = in_cell(fcc111("Cu", (1, 1, 4), a=3.75), vacuum=6.0, axis=2)
    slab.rattle(0.05, seed=2)
    (relaxed,) = relax_crystals_and_layers(model, [slab], [0.0], SETTINGS)
    assert relaxed.converged
    np.testing.assert_allclose(relaxed.atoms.cell[2], slab.cell[2], atol=1e-9)
    # The lattice was stretched by 4 %, and contracts in the plane.
    before, after = (np.linalg.norm(np.cross(*a.cell[:2])) for a in (slab, relaxed.atoms))
    assert after < 0.97 * before
    relaxed.atoms.calc = EMT()
    stress = relaxed.atoms.get_stress(voigt=False)[:2, :2] * 160.2
    assert np.abs(stress).max() < SETTINGS.stress_tolerance_GPa
    assert np.abs(relaxed.atoms.get_forces()).max() < SETTINGS.force_tolerance_eV_per_A


def test_a_molecule_relaxes_without_its_box(model):
    dimer = in_cell(Atoms("Cu2", positions=[(0, 0, 0), (0, 0, 2.6)]), vacuum=6.0)
    (relaxed,) = relax_crystals_and_layers(model, [dimer], [0.0], SETTINGS)
    assert relaxed.converged
    np.testing.assert_allclose(relaxed.atoms.cell.array, dimer.cell.array, atol=1e-12)
    assert relaxed.atoms.get_distance(0, 1) < 2.5


def test_crystals_among_them_are_relaxed_as_alone(model):
    slab = in_cell(hcp0001("Cu", (1, 1, 3), a=2.6, c=4.2), vacuum=6.0, axis=2)
    crystals = [bulk("Cu", a=3.5, cubic=True), bulk("Al", a=4.2, cubic=True)]
    mixed = relax_crystals_and_layers(
        model, [crystals[0], slab, crystals[1]], [5.0, 0.0, 0.0], SETTINGS
    )
    alone = relax_at_pressure(model, crystals, [5.0, 0.0], SETTINGS)
    for found, expected in zip([mixed[0], mixed[2]], alone, strict=True):
        torch.testing.assert_close(found.atoms.cell.array, expected.atoms.cell.array)
        assert found.pressure_GPa == expected.pressure_GPa
