import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from entrove.errors import ModelError
from entrove.structures import attach_results
from entrove.training.reference_energies import fit_reference_shifts


def with_energy(formula: str, energy_eV: float) -> Atoms:
    atoms = Atoms(formula)
    return attach_results(atoms, energy_eV, np.zeros((len(atoms), 3)), np.zeros((3, 3)))


def test_a_constant_per_species_is_removed_exactly():
    shift = {"Na": -3.25, "Cl": 7.5}
    predicted = {"Na2": 1.0, "NaCl": 2.5, "Cl2": -0.125, "Na3Cl": 4.0}
    labels = [
        with_energy(formula, energy + sum(shift[symbol] for symbol in Atoms(formula).symbols))
        for formula, energy in predicted.items()
    ]
    assert fit_reference_shifts(labels, list(predicted.values())) == pytest.approx(
        shift, abs=1e-12
    )


def test_one_stoichiometry_gives_the_solution_of_least_norm():
    # Only s_Na + s_Cl = 3 is known; the shortest (s_Na, s_Cl) on that line is (1.5, 1.5).
    labels = [with_energy("NaCl", 3.0), with_energy("Na4Cl4", 12.0)]
    assert fit_reference_shifts(labels, [0.0, 0.0]) == pytest.approx(
        {"Na": 1.5, "Cl": 1.5}, abs=1e-12
    )


def test_large_cells_count_no_more_than_small_ones():
    # Per-atom errors of 0 and 1 eV: the least-squares constant is their mean, whatever the sizes.
    labels = [with_energy("Si2", 0.0), with_energy("Si64", 64.0)]
    assert fit_reference_shifts(labels, [0.0, 0.0])["Si"] == pytest.approx(0.5, abs=1e-12)


def test_residual_is_orthogonal_to_the_compositions():
    rng = np.random.default_rng(3)
    labels = [
        with_energy(formula, rng.normal()) for formula in ("Na2", "NaCl", "Cl3", "Na2Cl", "NaCl4")
    ]
    predicted = rng.normal(size=len(labels))
    shifts = fit_reference_shifts(labels, predicted.tolist())
    sizes = np.array([len(atoms) for atoms in labels])
    counts = (
        np.array([[atoms.symbols.count(s) for s in shifts] for atoms in labels]) / sizes[:, None]
    )
    errors = np.array([atoms.get_potential_energy() for atoms in labels]) - predicted
    residual = errors / sizes - counts @ np.array(list(shifts.values()))
    np.testing.assert_allclose(counts.T @ residual, 0.0, atol=1e-12)


def test_bad_input_is_named():
    with pytest.raises(ModelError, match="got 1 labels and 2 predictions"):
        fit_reference_shifts([with_energy("Si", 1.0)], [0.0, 0.0])
    with pytest.raises(
        ModelError, match="structure 1: its labelled or predicted energy is not finite"
    ):
        fit_reference_shifts([with_energy("Si", 1.0), with_energy("Si", np.nan)], [0.0, 0.0])
    with pytest.raises(ModelError, match="at least one label"):
        fit_reference_shifts([], [])


def test_shifted_checkpoint_predicts_shifted_energies(small_checkpoint, tmp_path):
    """The shift lives in the checkpoint: SevenNet's own calculator needs no wrapper."""
    import torch

    from entrove.models.registry import load
    from entrove.training.sevennet.trainee import load_trainee

    trainee = load_trainee(str(small_checkpoint), torch.device("cpu"))
    trainee.shift_reference_energies({"Si": -107.25, "Cl": 2.0})
    trainee.save(tmp_path / "shifted.pth", {}, epoch=0)
    before, after = (
        load(str(path), device="cpu").calculator()
        for path in (small_checkpoint, tmp_path / "shifted.pth")
    )
    silicon, salt = bulk("Si"), bulk("NaCl", "rocksalt", a=5.6)
    for atoms, expected in ((silicon, -214.5), (salt, 2.0)):
        difference = after.get_potential_energy(atoms) - before.get_potential_energy(atoms)
        # Single precision: 214 eV is held to 2e-5 eV.
        assert difference == pytest.approx(expected, abs=5e-5)
        np.testing.assert_array_equal(after.get_forces(atoms), before.get_forces(atoms))
