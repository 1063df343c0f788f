import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from entrove.errors import StructureError
from entrove.structures import attach_results
from entrove.validation.errors_by_kind import ALL, errors_by_kind

KINDS = [("diamond", "strain"), ("diamond", "md"), ("beta-tin", "md"), ("diamond", "strain")]


def labelled(rng: np.random.Generator, atoms: Atoms) -> Atoms:
    return attach_results(
        atoms,
        rng.normal(scale=5),
        rng.normal(size=(len(atoms), 3)),
        rng.normal(scale=0.01, size=6),
    )


@pytest.fixture
def pair() -> tuple[list[Atoms], list[Atoms]]:
    """Labels and predictions of four cells of different sizes and two compositions."""
    rng = np.random.default_rng(1)
    cells = [
        bulk("Si"),
        bulk("Si", cubic=True),
        bulk("SiC", "zincblende", a=4.4),
        bulk("Si").repeat((2, 1, 1)),
    ]
    reference, predicted = [], []
    for atoms, (phase, kind) in zip(cells, KINDS, strict=True):
        atoms.info.update(entrove_phase=phase, entrove_kind=kind)
        reference.append(labelled(rng, atoms))
        predicted.append(labelled(rng, atoms))
    return reference, predicted


def test_total_equals_numpy(pair):
    reference, predicted = pair
    total = errors_by_kind(reference, predicted).total
    energy = np.array(
        [
            (p.calc.results["energy"] - r.calc.results["energy"]) / len(r)
            for r, p in zip(reference, predicted, strict=True)
        ]
    )
    forces = np.concatenate(
        [
            (p.calc.results["forces"] - r.calc.results["forces"]).ravel()
            for r, p in zip(reference, predicted, strict=True)
        ]
    )
    stress = np.concatenate(
        [
            p.calc.results["stress"] - r.calc.results["stress"]
            for r, p in zip(reference, predicted, strict=True)
        ]
    )
    assert (total.structures, total.atoms) == (4, 2 + 8 + 2 + 4)
    assert total.energy_mae_meV_per_atom == pytest.approx(1e3 * np.abs(energy).mean())
    assert total.energy_rmse_meV_per_atom == pytest.approx(1e3 * np.sqrt((energy**2).mean()))
    assert total.force_mae_meV_per_A == pytest.approx(1e3 * np.abs(forces).mean())
    assert total.force_rmse_meV_per_A == pytest.approx(1e3 * np.sqrt((forces**2).mean()))
    assert total.stress_mae_meV_per_A3 == pytest.approx(1e3 * np.abs(stress).mean())
    assert total.stress_rmse_meV_per_A3 == pytest.approx(1e3 * np.sqrt((stress**2).mean()))
    # Three structures are silicon; the error of the only one of SiC is its own mean.
    silicon = energy[[0, 1, 3]] - energy[[0, 1, 3]].mean()
    assert total.energy_centred_mae_meV_per_atom == pytest.approx(1e3 * np.abs(silicon).sum() / 4)


def test_groups_are_the_errors_of_their_members(pair):
    reference, predicted = pair
    table = errors_by_kind(reference, predicted)
    assert [(row.phase, row.kind) for row in table.rows] == [
        (ALL, ALL),
        ("diamond", ALL),
        ("beta-tin", ALL),
        (ALL, "strain"),
        (ALL, "md"),
        ("diamond", "strain"),
        ("diamond", "md"),
        ("beta-tin", "md"),
    ]
    chosen = [0, 3]
    alone = errors_by_kind([reference[i] for i in chosen], [predicted[i] for i in chosen]).total
    grouped = table.row("diamond", "strain")
    assert grouped.force_mae_meV_per_A == pytest.approx(alone.force_mae_meV_per_A)
    assert grouped.stress_rmse_meV_per_A3 == pytest.approx(alone.stress_rmse_meV_per_A3)
    assert grouped.energy_mae_meV_per_atom == pytest.approx(alone.energy_mae_meV_per_atom)
    with pytest.raises(KeyError, match="no errors for phase 'beta-tin' and kind 'strain'"):
        table.row("beta-tin", "strain")


def test_another_zero_of_energy_changes_only_the_plain_energy_error(pair):
    reference, predicted = pair
    moved = [
        attach_results(
            atoms,
            atoms.get_potential_energy()
            + atoms.symbols.count("Si") * 3.0
            - atoms.symbols.count("C") * 7.0,
            atoms.get_forces(),
            atoms.get_stress(),
        )
        for atoms in predicted
    ]
    before, after = (
        errors_by_kind(reference, predicted).total,
        errors_by_kind(reference, moved).total,
    )
    assert after.energy_centred_mae_meV_per_atom == pytest.approx(
        before.energy_centred_mae_meV_per_atom
    )
    assert after.energy_centred_rmse_meV_per_atom == pytest.approx(
        before.energy_centred_rmse_meV_per_atom
    )
    assert after.force_mae_meV_per_A == before.force_mae_meV_per_A
    assert abs(after.energy_mae_meV_per_atom - before.energy_mae_meV_per_atom) > 100


def test_molecules_have_no_stress_error():
    rng = np.random.default_rng(0)
    molecule = Atoms("N2", [(0, 0, 0), (0, 0, 1.1)])
    row = errors_by_kind([labelled(rng, molecule)], [labelled(rng, molecule)]).total
    assert np.isnan(row.stress_mae_meV_per_A3)
    assert row.force_mae_meV_per_A > 0


def test_the_stress_is_that_of_the_labels_that_have_one(pair):
    """Public sets of crystals often have none; their energies and forces count all the same."""
    reference, predicted = pair
    without = [atoms.copy() for atoms in reference[1:]]
    for bare, atoms in zip(without, reference[1:], strict=True):
        bare.calc = SinglePointCalculator(
            bare, energy=atoms.get_potential_energy(), forces=atoms.get_forces()
        )
    found = errors_by_kind([reference[0], *without], predicted).total
    everything = errors_by_kind(reference, predicted).total
    alone = errors_by_kind(reference[:1], predicted[:1]).total
    assert found.force_mae_meV_per_A == everything.force_mae_meV_per_A
    assert found.energy_mae_meV_per_atom == everything.energy_mae_meV_per_atom
    assert found.stress_mae_meV_per_A3 == alone.stress_mae_meV_per_A3


def test_lists_that_do_not_match_are_refused(pair):
    reference, predicted = pair
    with pytest.raises(StructureError, match="4 labels and 3 predictions"):
        errors_by_kind(reference, predicted[:3])
    with pytest.raises(
        StructureError, match="structure 0: label and prediction are not of the same structure"
    ):
        errors_by_kind(reference, predicted[::-1])
    with pytest.raises(StructureError, match="0 labels"):
        errors_by_kind([], [])


def test_an_error_at_one_temperature_is_seen(pair):
    """Forces that are wrong at 300 K alone show at 300 K, and nowhere else."""
    reference = [atoms.copy() for atoms in pair[0] * 2]
    predicted = []
    rng = np.random.default_rng(2)
    for index, atoms in enumerate(reference):
        atoms.info.update(entrove_phase="diamond", entrove_kind="md")
        atoms.info["entrove_temperature_K"] = 300.0 if index < 4 else 1000
        forces = rng.normal(size=(len(atoms), 3))
        reference[index] = attach_results(atoms, 0.0, forces, np.zeros(6))
        wrong = forces + (0.1 if index < 4 else 0.0)
        predicted.append(attach_results(atoms, 0.0, wrong, np.zeros(6)))
    table = errors_by_kind(reference, predicted)
    assert table.row(ALL, "md_300_K").force_mae_meV_per_A == pytest.approx(100.0)
    assert table.row(ALL, "md_1000_K").force_mae_meV_per_A == 0.0
