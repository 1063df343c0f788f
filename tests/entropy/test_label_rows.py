"""Rows of labels against the definition, in NumPy, and against what must not change them."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from structures_of_test import salt, silicon

from entrove.entropy.config import LabelsConfig
from entrove.entropy.labels.remembered import RememberedDerivatives, remembered_energies
from entrove.entropy.labels.rows import LabelRowMap, LabelRows, excess_energies
from entrove.errors import SelectionError
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap

FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=4.0, length=16))
CONFIG = LabelsConfig(step_A=1e-7, noise_doubles_at_eV_per_atom=0.5, directions=None)
"""A short step, in float64: eigenvalues that come close bend within 1e-3 A. Rounding and curvature
leave about 1e-6 of the largest row."""


def row_map(reference, config=CONFIG, **more) -> LabelRowMap:
    return LabelRowMap.calibrated(FEATURES, reference, config, **more)


def sums(atoms: Atoms, species) -> np.ndarray:
    values = FEATURES.evaluate(to_state([atoms]), pull_back=False).values.numpy()
    return np.concatenate([values[atoms.numbers == number].sum(0) for number in species])


def slow_rows(atoms: Atoms, reference: list[Atoms], config: LabelsConfig) -> np.ndarray:
    """R of one structure: energy, 3N forces and 9 stresses, by pull-backs of each feature."""
    species = sorted({int(number) for cell in reference for number in cell.numbers})
    length = FEATURES.length
    mean, scale = [], []
    for number in species:
        rows = np.concatenate(
            [
                FEATURES.evaluate(to_state([cell]), pull_back=False).values.numpy()[
                    cell.numbers == number
                ]
                for cell in reference
            ]
        )
        deviation = rows.std(0)
        floor = 1e-2 * np.sqrt(np.mean(deviation**2))
        mean.append(rows.mean(0))
        scale.append(np.sqrt(deviation**2 + floor**2))
    scale = np.concatenate(scale)
    counts = [int((atoms.numbers == number).sum()) for number in species]
    centre = np.concatenate([count * m for count, m in zip(counts, mean, strict=True)])
    energy = (sums(atoms, species) - centre) / scale / len(atoms)
    forces = np.zeros((3 * len(atoms), len(scale)))
    stress = np.zeros((9, len(scale)))
    features = FEATURES.evaluate(to_state([atoms]))
    for place, number in enumerate(species):
        for k in range(length):
            gradient = torch.zeros_like(features.values)
            gradient[torch.as_tensor(atoms.numbers == number), k] = 1.0
            pulled = features.pull_back(gradient)
            forces[:, place * length + k] = -pulled.positions.numpy().ravel()
            stress[:, place * length + k] = pulled.strain.numpy().ravel() / atoms.cell.volume
    return np.concatenate(
        [
            energy[None] / config.energy_noise_eV_per_atom,
            forces / scale / config.force_noise_eV_per_A,
            stress / scale / config.stress_noise_eV_per_A3,
        ]
    )


def gram(rows) -> np.ndarray:
    rows = np.asarray(rows)
    return rows.T @ rows


def assert_close(found, expected, rel=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(found), expected, atol=rel * np.abs(expected).max())


@pytest.mark.parametrize("make", [silicon, salt])
def test_rows_are_those_of_the_definition(make):
    reference = [make(seed) for seed in range(4)]
    atoms = make(10)
    rows = row_map(reference).of([atoms])
    slow = slow_rows(atoms, reference, CONFIG)
    # One row per energy, three fewer than 3N forces (all atoms moving together) and six strains.
    assert rows.count.tolist() == [min(1 + 3 * 7 + 6, slow.shape[1])]
    assert_close(rows.gram(), gram(slow))


def test_derivatives_of_the_energy_row_are_the_force_rows():
    """An independent check of signs: w . rows predicts energy and forces of one linear model."""
    reference = [silicon(seed) for seed in range(4)]
    atoms, rng = silicon(10), np.random.default_rng(0)
    slow = slow_rows(atoms, reference, CONFIG)
    weights = rng.normal(size=slow.shape[1])
    step, move = 1e-5, rng.normal(size=atoms.positions.shape)
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * move
        row = slow_rows(moved, reference, CONFIG)[0]
        energies.append(row @ weights * CONFIG.energy_noise_eV_per_atom * len(atoms))
    forces = slow[1:25] @ weights * CONFIG.force_noise_eV_per_A
    slope = (energies[0] - energies[1]) / (2 * step)
    assert slope == pytest.approx(-(forces @ move.ravel()), rel=1e-6)


def test_rows_of_a_batch_are_those_of_each_structure():
    structures = [silicon(seed, 0.05 + 0.02 * seed) for seed in range(5)]
    structures.insert(2, silicon(7)[:3])  # fewer directions than the others
    rows_of = row_map(structures)
    rows = rows_of.of(structures)
    for index, atoms in enumerate(structures):
        alone = rows_of.of([atoms]).of(0)
        assert_close(rows.of(index), alone)
    in_pieces = row_map(structures, batch_atoms=8).of(structures)
    assert_close(rows.values, in_pieces.values)


@pytest.mark.parametrize("change", ["permuted", "translated", "rotated", "mirrored"])
def test_symmetries_leave_the_gram_matrix(change):
    reference = [salt(seed) for seed in range(3)]
    atoms = salt(10)
    changed = atoms.copy()
    if change == "permuted":
        changed = atoms[np.random.default_rng(1).permutation(len(atoms))]
    elif change == "translated":
        changed.positions += [0.3, -1.1, 2.0]
        changed.wrap()
    elif change == "rotated":
        changed.rotate(37.0, (1.0, 2.0, 3.0), rotate_cell=True)
    else:
        changed.set_cell(atoms.cell.array * [1, 1, -1], scale_atoms=False)
        changed.positions *= [1, 1, -1]
    rows = row_map(reference)
    assert_close(rows.of([changed]).gram(), rows.of([atoms]).gram())


def test_a_supercell_repeats_the_forces_and_keeps_energy_and_stress():
    reference = [silicon(seed) for seed in range(4)]
    atoms = silicon(10)
    for labels, factor in ((("energy",), 1), (("forces",), 2), (("stress",), 1)):
        rows = row_map(reference, CONFIG.model_copy(update={"labels": labels}))
        of_supercell = rows.of([atoms.repeat((2, 1, 1))]).gram()
        assert_close(of_supercell, factor * rows.of([atoms]).gram())


def test_labels_that_are_missing_have_no_row():
    atoms = silicon(10)
    rows = row_map([silicon(seed) for seed in range(4)])
    slow = slow_rows(atoms, [silicon(seed) for seed in range(4)], CONFIG)
    labelled = atoms.copy()
    labelled.calc = SinglePointCalculator(labelled, energy=0.0, forces=np.zeros((8, 3)))
    assert_close(rows.of([labelled], labelled=True).gram(), gram(slow[:25]))
    assert_close(rows.of([labelled]).gram(), gram(slow))  # what a label of it would bring
    energy_only = atoms.copy()
    energy_only.calc = SinglePointCalculator(energy_only, energy=0.0)
    assert rows.of([energy_only], labelled=True).count.tolist() == [1]
    for pbc in ((True, True, False), (False, False, False)):
        slab = atoms.copy()
        slab.pbc = pbc
        without = row_map([slab], CONFIG.model_copy(update={"labels": ("stress",)}))
        assert without.of([slab]).count.tolist() == [0]


def test_noise_grows_with_energy():
    structures = [silicon(seed) for seed in range(4)]
    excess = [0.0, 0.25, 0.5, -1.0]
    rows = row_map(structures).of(structures)
    grown = row_map(structures, excess=lambda batch: excess[: len(batch)]).of(structures)
    for index, factor in enumerate((1.0, 1.5, 2.0, 1.0)):
        torch.testing.assert_close(grown.of(index), rows.of(index) / factor)
    never = row_map(
        structures,
        CONFIG.model_copy(update={"noise_doubles_at_eV_per_atom": None}),
        excess=lambda batch: excess[: len(batch)],
    ).of(structures)
    torch.testing.assert_close(never.values, rows.values)


def test_excess_energies_are_counted_within_a_composition():
    structures = [silicon(0), silicon(1), salt(0), silicon(0).repeat((2, 1, 1)), salt(1)]
    excess = excess_energies([-5.0, -5.2, -3.0, -5.1, -3.5], structures)
    np.testing.assert_allclose(excess, [0.2, 0.0, 0.5, 0.1, 0.0], atol=1e-12)


def test_a_sketch_has_the_right_gram_matrix_on_average():
    reference = [silicon(seed) for seed in range(4)]
    exact, sketch = (
        row_map(reference),
        row_map(reference, CONFIG.model_copy(update={"directions": 9})),
    )
    # Equal up to a shift of all atoms, which is a new draw: 400 draws of 9 of 27 directions.
    atoms, draws = silicon(10), []
    for draw in range(400):
        draws.append(atoms.copy())
        draws[-1].positions += 1e-4 * (draw + 1)
    rows = sketch.of(draws)
    assert set(rows.count.tolist()) == {10}
    total = rows.gram().numpy() / len(draws)
    expected = exact.of([atoms]).gram().numpy()
    # Each draw scatters by about its own size over sqrt(9); the mean by a twentieth of that.
    assert np.linalg.norm(total - expected) < 0.1 * np.linalg.norm(expected)
    assert np.trace(total) == pytest.approx(np.trace(expected), rel=0.03)


def test_a_sketch_belongs_to_the_structure():
    """Order of atoms, of structures and batches do not change it."""
    structures = [salt(seed) for seed in range(4)]
    sketch = row_map(structures, CONFIG.model_copy(update={"directions": 5}))
    rows = sketch.of(structures)
    shuffled = [atoms[np.random.default_rng(2).permutation(8)] for atoms in structures[::-1]]
    for index, atoms in enumerate(shuffled):
        found = sketch.of([atoms]).of(0)
        assert_close(found, rows.of(3 - index))


def test_more_labels_than_features_are_kept_as_a_square_factor():
    reference = [silicon(seed) for seed in range(4)]
    atoms = silicon(10).repeat((2, 1, 1))
    rows = row_map(reference).of([atoms])
    assert rows.values.shape == (16, 16)
    assert_close(rows.gram(), gram(slow_rows(atoms, reference, CONFIG)))


def test_padding_is_zero_and_joining_keeps_the_order():
    structures = [silicon(0), silicon(1)[:2], silicon(2)[:5]]
    rows = row_map(structures).of(structures)
    padded = rows.padded()
    for index in range(3):
        count = int(rows.count[index])
        torch.testing.assert_close(padded[index, :count], rows.of(index))
        assert not padded[index, count:].any()
    assert len(LabelRows.join([], 7)) == 0
    assert LabelRows.join([], 7).gram().shape == (7, 7)


def test_what_cannot_be_used_is_refused():
    rows = row_map([silicon(0)])
    with pytest.raises(SelectionError, match="Na has no calibration"):
        rows.of([salt(0)])
    with pytest.raises(SelectionError, match="no structure to calibrate"):
        row_map([])
    bad = row_map([silicon(0)], excess=lambda batch: [np.nan] * len(batch))
    with pytest.raises(SelectionError, match=r"energy of structure 0 .Si8. is not finite"):
        bad.of([silicon(1)])


def test_remembered_derivatives_are_the_same_and_computed_once(monkeypatch):
    """Also for structures of several kinds, in another order, and with other noise levels."""
    cells = [silicon(1), salt(2), silicon(3)]
    remembered = RememberedDerivatives(FEATURES)
    evaluated: list[int] = []
    evaluate = GaussianOverlap.evaluate

    def counted(self, state, **options):
        evaluated.append(int(state.n_systems))
        return evaluate(self, state, **options)

    # Sums over a batch round with its order; a short step would magnify that.
    config = CONFIG.model_copy(update={"step_A": 1e-3})

    def rows(features, structures, config=config):
        made = LabelRowMap(features, row_map(cells).whitening, config)
        return made.of(structures)

    other = config.model_copy(update={"force_noise_eV_per_A": 0.3})
    expected = [rows(FEATURES, cells), rows(FEATURES, cells[::-1]), rows(FEATURES, cells, other)]
    monkeypatch.setattr(GaussianOverlap, "evaluate", counted)
    found = [rows(remembered, cells)]
    first, evaluated[:] = sum(evaluated), []
    found.append(rows(remembered, cells[::-1]))
    second, evaluated[:] = sum(evaluated), []
    found.append(rows(remembered, cells, other))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.values, theirs.values, rtol=1e-8, atol=1e-8)
    calibration = len(cells)  # which does not remember
    assert second == calibration
    assert sum(evaluated) + len(cells) == first > 10 * second
    state = to_state(cells)
    values = remembered.evaluate(state, pull_back=False).values
    torch.testing.assert_close(values, evaluate(FEATURES, state).values, rtol=0, atol=1e-12)
    assert sum(evaluated) + len(cells) == first


def test_an_energy_is_computed_once_for_each_structure():
    asked: list[int] = []

    def energies(structures):
        asked.append(len(structures))
        return [float(atoms.positions.sum()) for atoms in structures]

    cells = [silicon(1), salt(2), silicon(3)]
    remembered = remembered_energies(energies)
    assert remembered([*cells, cells[0]]) == energies([*cells, cells[0]])
    assert remembered([cells[2], silicon(4)]) == energies([cells[2], silicon(4)])
    assert asked == [3, 4, 1, 2]


def test_remembered_features_know_the_boundaries():
    """A cell and the molecule with the same atoms have other neighbours."""
    remembered = RememberedDerivatives(FEATURES)
    for periodic in (True, False):
        atoms = silicon(3)
        atoms.pbc = periodic
        found = remembered.evaluate(to_state([atoms]), pull_back=False).values
        expected = FEATURES.evaluate(to_state([atoms]), pull_back=False).values
        torch.testing.assert_close(found, expected)
