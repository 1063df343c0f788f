from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from entrove.errors import LabelError
from entrove.labelling.attempt import AttemptResult
from entrove.labelling.labels import Outcome
from entrove.labelling.outliers import OutlierLimits, find_energy_outliers
from entrove.labelling.sanity import (
    SanityLimits,
    find_implausible_value,
    find_impossible_structure,
)
from entrove.structures import attach_results

GOOD = AttemptResult(
    Outcome.CONVERGED,
    energy_eV=-10.0,
    forces_eV_per_A=[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]],
    stress_eV_per_A3=[[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.1]],
)
NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, ""),
        ({"stress_eV_per_A3": None}, ""),
        ({"energy_eV": NAN}, "the energy is nan"),
        ({"energy_eV": None}, "the energy is None"),
        ({"forces_eV_per_A": [[0.0, NAN, 0.0]] * 2}, "a force is not a finite number"),
        ({"forces_eV_per_A": [[0.0, 0.0, 1.0], [0.0, 0.0, -0.97]]}, ""),
        (
            {"forces_eV_per_A": [[0.0, 0.0, 1.0], [0.0, 0.0, -0.9]]},
            "the forces do not sum to zero: their mean is 0.05 eV/A, more than 0.02 eV/A; fixed "
            "atoms, an external field, or forces of another structure do that",
        ),
        # Of large forces a small fraction may be left.
        ({"forces_eV_per_A": [[0.0, 0.0, 20.0], [0.0, 0.0, -19.8]]}, ""),
        ({"forces_eV_per_A": [[0.0, 0.0, 0.0]]}, "forces have shape (1, 3) for 2 atoms"),
        (
            {"forces_eV_per_A": [[0.0, 80.0, 80.0]] * 2},
            "a force of 113.1 eV/A is above the limit of 100 eV/A",
        ),
        ({"stress_eV_per_A3": [[NAN] * 3] * 3}, "a stress is not a finite number"),
        ({"stress_eV_per_A3": [[0.0] * 3] * 2}, "the stress has shape (2, 3)"),
        (
            {"stress_eV_per_A3": [[-9.0] * 3] * 3},
            "a stress of 9 eV/A^3 is above the limit of 5 eV/A^3",
        ),
    ],
)
def test_what_cannot_be_true_is_named(changes: dict, complaint: str):
    assert find_implausible_value(replace(GOOD, **changes), 2, SanityLimits()) == complaint


COPPER = {"cell": [3.6] * 3, "pbc": True}


@pytest.mark.parametrize(
    ("atoms", "complaint"),
    [
        (Atoms("Cu2", positions=[[0, 0, 0], [1.8, 1.8, 0]], **COPPER), ""),
        (Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]]), ""),
        (Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0]], **COPPER), "atoms 0 and 1 are 0 A apart"),
        # Across a face of the cell, and an image of the atom itself.
        (Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 3.2]], **COPPER), "atoms 0 and 1 are 0.4 A"),
        (Atoms("Cu", cell=[3.6, 3.6, 0.5], pbc=True), "atoms 0 and 0 are 0.5 A apart"),
        (Atoms("XCu3", positions=np.diag([1.8] * 4)[:, :3], **COPPER), "that is no chemical"),
        (Atoms("Cu", positions=[[NAN, 0, 0]], **COPPER), "is not a finite number"),
        (Atoms("Cu", cell=[3.6, 3.6, 0], pbc=True), "its cell has no volume"),
        (Atoms("Cu", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True), "its cell has no volume"),
        (Atoms(), "it has no atoms"),
    ],
)
def test_structures_that_can_have_no_label_are_named(atoms: Atoms, complaint: str):
    found = find_impossible_structure(atoms, SanityLimits())
    assert found.startswith(complaint) or (complaint and complaint in found)
    assert bool(found) == bool(complaint)


def labels_and_predictions(count: int, seed: int) -> tuple[list[Atoms], list[Atoms]]:
    """Salt of varying composition.

    Labels differ from predictions by 7 and -31 eV per element, and noise.
    """
    rng = np.random.default_rng(seed)
    labelled, predicted = [], []
    for _ in range(count):
        sodium, chlorine = rng.integers(1, 9, 2)
        atoms = Atoms(
            f"Na{sodium}Cl{chlorine}", positions=rng.uniform(0, 9, (sodium + chlorine, 3))
        )
        energy = rng.normal(-3.0, 0.5) * len(atoms)
        shift = 7.0 * sodium - 31.0 * chlorine + rng.normal(0, 0.02) * len(atoms)
        zero = np.zeros((len(atoms), 3))
        predicted.append(attach_results(atoms, energy, zero, np.zeros(6)))
        labelled.append(attach_results(atoms, energy + shift, zero, np.zeros(6)))
    return labelled, predicted


@pytest.mark.parametrize("seed", range(3))
def test_wrong_energies_are_found_whatever_the_reference_energies(seed: int):
    """A third of the labels may be wrong by anything; none of the good ones is accused."""
    labelled, predicted = labels_and_predictions(60, seed)
    assert find_energy_outliers(labelled, predicted) == []
    rng = np.random.default_rng(seed)
    wrong = sorted(rng.choice(60, 20, replace=False).tolist())
    for index in wrong:
        error = rng.choice([-1, 1]) * 10 ** rng.uniform(0.5, 6) * len(labelled[index])
        labelled[index].calc.results["energy"] += error
    found = find_energy_outliers(labelled, predicted)
    assert [outlier.index for outlier in found] == wrong
    assert "eV/atom away from the model's" in found[0].cause


def test_a_poor_model_accuses_nobody():
    labelled, predicted = labels_and_predictions(60, 0)
    rng = np.random.default_rng(0)
    for atoms in predicted:
        atoms.calc.results["energy"] += rng.normal(0, 0.4) * len(atoms)
    assert find_energy_outliers(labelled, predicted) == []


def test_few_labels_are_not_judged_and_lists_must_match():
    labelled, predicted = labels_and_predictions(9, 0)
    labelled[0].calc.results["energy"] += 1e6
    assert find_energy_outliers(labelled, predicted) == []
    assert len(find_energy_outliers(labelled, predicted, OutlierLimits(min_labels=5))) == 1
    with pytest.raises(LabelError, match="9 labels but 8 predictions"):
        find_energy_outliers(labelled, predicted[1:])
