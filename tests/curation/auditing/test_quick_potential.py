"""The basis is invariant; forces and virial of the quick potential are those of its energy."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from copper_sets import copper

from entrove.curation import audit
from entrove.curation.auditing.predictions import quick_potential
from entrove.curation.auditing.predictions.basis import Basis
from entrove.curation.auditing.predictions.quick_potential import (
    ENERGY_SCALE_EV_PER_ATOM,
    make_rows,
    solve_rows,
)
from entrove.fingerprints.batching import to_batches

BASIS = Basis((1, 6, 8), 4.0, 0.7)


def features(basis, atoms):
    (batch,) = to_batches([atoms])
    around = basis.surroundings(batch)
    return basis.sums(around, basis.of_atoms(around)).numpy()[0]


def crystal():
    atoms = bulk("C", "diamond", a=3.6, cubic=True)
    atoms.numbers[[1, 4]] = 8
    atoms.rattle(0.2, seed=2)
    return atoms


@pytest.mark.parametrize("atoms", [crystal(), molecule("CH3CH2OH")], ids=["crystal", "molecule"])
def test_features_do_not_change_under_symmetries(atoms):
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(atoms))
    moved = atoms[order]
    moved.set_cell(atoms.cell.array @ rotation.T)
    moved.positions = atoms.positions[order] @ rotation.T + rng.normal(size=3)
    np.testing.assert_allclose(features(BASIS, moved), features(BASIS, atoms), atol=1e-9)


def test_features_of_a_supercell_are_multiples():
    atoms = crystal()
    np.testing.assert_allclose(
        features(BASIS, atoms.repeat((2, 1, 3))), 6 * features(BASIS, atoms), rtol=1e-9, atol=1e-9
    )


def test_many_elements_share_a_block():
    wide = Basis(tuple(range(3, 15)), 4.0, 0.7)
    atoms = crystal()
    found = features(wide, atoms)
    assert len(found) == wide.width == 12 + wide.per_atom
    counts = {z: int(count) for z, count in zip(wide.species, found, strict=False) if count}
    assert counts == {6: 6, 8: 2}


def fitted_to(frames, energies):
    basis = Basis((29,), 4.5, 2.0)
    forces = [atoms.get_forces() for atoms in frames]
    return solve_rows(basis, make_rows(basis, frames, energies, forces))


@pytest.fixture(scope="module")
def potential():
    frames = copper(30)
    return frames, fitted_to(frames, np.array([atoms.get_potential_energy() for atoms in frames]))


def test_it_learns_the_forces_of_copper(potential):
    frames, fitted = potential
    assert fitted.force_error < 0.1
    folds = [place % 5 for place in range(len(frames))]
    predicted = fitted.predict(frames, folds)
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    per_atom = (predicted.energies_eV - energies) / [len(atoms) for atoms in frames]
    assert np.median(np.abs(per_atom)) < 0.003


def test_forces_and_virial_are_derivatives_of_the_energy(potential):
    frames, fitted = potential
    atoms = frames[0]
    predicted = fitted.predict([atoms])
    step = 1e-4  # central differences: an error of step^2, and 1e-12 of rounding over the step
    for axis in range(3):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[1, axis] += sign * step
            energies.append(fitted.predict([moved]).energies_eV[0])
        slope = (energies[0] - energies[1]) / (2 * step)
        assert predicted.forces_eV_per_A[0][1, axis] == pytest.approx(-slope, abs=1e-5)
    for a, b in [(0, 0), (1, 2)]:
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(fitted.predict([moved]).energies_eV[0])
        slope = (energies[0] - energies[1]) / (2 * step)
        assert predicted.virials_eV[0, a, b] == pytest.approx(slope, abs=1e-4)


def test_a_frame_of_the_fit_is_predicted_without_itself(potential):
    frames, _ = potential
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    energies[7] += 5.0
    fitted = fitted_to(frames, energies)
    left = energies[7] - fitted.predict([frames[7]], [7 % 5]).energies_eV[0]
    assert left == pytest.approx(5.0, abs=0.1)


def test_too_few_labels_give_no_potential():
    assert fitted_to(copper(3), np.zeros(3)) is None


def plain_fit(rows, width):
    """Iteratively reweighted least squares, every normal matrix from all of its rows."""
    scale = np.sqrt((rows.features**2).mean(axis=0))
    scale[scale < 1e-12 * scale.max()] = np.inf
    x = rows.features / scale

    def normal(chosen):
        full = x[chosen].T @ (trust[chosen, None] * x[chosen])
        return full + 1e-8 * np.trace(full) / width * np.eye(width)

    def solved(chosen):
        return np.linalg.solve(normal(chosen), x[chosen].T @ (trust[chosen] * rows.values[chosen]))

    trust = np.ones(len(x))
    everything = np.ones(len(x), dtype=bool)
    weights = np.zeros(width)
    for _ in range(6):
        weights = solved(everything)
        miss = np.abs(rows.values - x @ weights)
        for kind in (rows.is_energy, ~rows.is_energy):
            limit = 2 * 1.4826 * np.median(miss[kind])
            trust[kind] = np.minimum(1.0, limit / miss[kind])
    fits = [rows.owner % 5 != fold for fold in range(5)]
    return (
        np.array([*(solved(chosen) for chosen in fits), weights]) / scale,
        np.array([np.linalg.inv(normal(chosen)) for chosen in [*fits, everything]])
        / np.outer(scale, scale),
    )


def test_sums_of_folds_give_the_numbers_of_the_plain_formula():
    frames = copper(20)
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    energies[4] += 1.0
    basis = Basis((29,), 4.5, 2.0)
    rows = make_rows(basis, frames, energies, [atoms.get_forces() for atoms in frames])
    fitted = solve_rows(basis, rows)
    table, spreads = plain_fit(rows, basis.width)
    # Rounding, times the condition of normal matrices with a ridge of 1e-8.
    np.testing.assert_allclose(
        rows.features @ fitted.table.T, rows.features @ table.T, rtol=1e-6, atol=1e-6
    )
    for fit, spread in zip(fitted.spreads, spreads, strict=True):
        leverages = [
            np.einsum("rw,wv,rv->r", rows.features, s, rows.features) for s in (fit, spread)
        ]
        np.testing.assert_allclose(*leverages, rtol=1e-5, atol=1e-9)


def of_molecules(count: int, names, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        atoms = molecule(names[index % len(names)])
        atoms.rattle(rng.uniform(0.02, 0.12), rng=rng)
        frames.append(labelled(atoms))
    return frames


def labelled(atoms: Atoms, factor: float = 1.0) -> Atoms:
    copy = atoms.copy()
    copy.calc = EMT()
    energy, forces = copy.get_potential_energy(), copy.get_forces()
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=factor * forces)
    return copy


def test_leverages_of_forces_are_those_of_rows_of_forces(monkeypatch):
    """The mean of x . (X^T W X)^-1 x over all rows of the forces of a dimer along its axis."""
    frames = of_molecules(24, ["CO"], 1)
    basis = Basis((6, 8), 4.5, 0.5)
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    rows = make_rows(basis, frames, energies, [atoms.get_forces() for atoms in frames])
    potential = solve_rows(basis, rows)
    atoms, fold = frames[3], 3
    axis = atoms.positions[1] - atoms.positions[0]
    axis /= np.linalg.norm(axis)
    features = []
    for step in (1e-4, -1e-4):
        moved = atoms.copy()
        moved.positions[1] += step * axis
        of_one = make_rows(basis, [moved], np.zeros(1), [None])
        features.append(of_one.features[0] * ENERGY_SCALE_EV_PER_ATOM * len(atoms))
    slope = (features[0] - features[1]) / 2e-4 / rows.force_scale_eV_per_A
    along = slope @ potential.spreads[fold] @ slope
    # A direction has the square 1/3 along the axis, on average.
    monkeypatch.setattr(quick_potential, "FORCE_DIRECTIONS", 2000)
    found = potential.force_leverages([atoms], [fold])[0]
    assert found == pytest.approx(along / 3, rel=4 * np.sqrt(4 / 5 / 2000))


def test_forces_that_others_leave_open_are_no_outliers(tmp_path):
    """Five molecules of 24 frames: each is predicted by few of its kind."""
    names = ["CH3CH2OH", "C6H6", "CH3COCH3", "CH3CHO", "C2H6"]
    write(tmp_path / "set.xyz", of_molecules(24, names, 9), format="extxyz")
    assert "force_outlier" not in {each.kind for each in audit(tmp_path / "set.xyz").findings}


@pytest.mark.parametrize("name", ["C6H6", "CH3COCH3", "C2H6"])
def test_forces_of_the_wrong_sign_are_found_in_a_small_set(name: str, tmp_path):
    frames = of_molecules(24, [name], 2)
    frames[20] = labelled(frames[20], -1.0)
    write(tmp_path / "set.xyz", frames, format="extxyz")
    (found,) = (f for f in audit(tmp_path / "set.xyz").findings if f.kind == "force_outlier")
    assert [frame.index for frame in found.frames] == [20]
