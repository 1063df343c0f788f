"""The card of a bundle: what bundle.json records, for people."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from test_bundle import trained

from entrove.models.licence import licence_of
from entrove.structures import attach_results, read_structures, write_structures
from entrove.training.bundle import (
    CheckResult,
    PartErrors,
    Regime,
    read_bundle,
    write_bundle,
    write_card,
)
from entrove.training.choice import decide
from entrove.training.config import Recipe
from entrove.training.trained_model import training_set_hash
from entrove.validation.bundle_errors import paired_errors
from entrove.validation.config import ValidationConfig
from entrove.validation.errors_by_kind import ErrorTable, errors_by_kind

ERRORS = (
    PartErrors(
        phase="all",
        kind="all",
        structures=19,
        untuned={"energy_mae_meV_per_atom": 23.4, "force_mae_meV_per_A": 117.0},
        tuned={
            "energy_mae_meV_per_atom": 7.12,
            "force_mae_meV_per_A": 37.3,
            "force_mae_meV_per_A_low": 31.7,
            "force_mae_meV_per_A_high": 44.1,
            "stress_mae_meV_per_A3": None,
        },
    ),
    PartErrors(
        phase="beta-tin",
        kind="all",
        structures=4,
        untuned={"force_mae_meV_per_A": 29.2},
        tuned={"force_mae_meV_per_A": 35.6},
        judged=("force_mae_meV_per_A",),
        worse=("force_mae_meV_per_A",),
    ),
    PartErrors(
        phase="all",
        kind="strain",
        structures=4,
        untuned={"force_mae_meV_per_A": 29.2, "energy_mae_meV_per_atom": 3.0},
        tuned={"force_mae_meV_per_A": 29.3, "energy_mae_meV_per_atom": 4.0},
        judged=("force_mae_meV_per_A", "energy_mae_meV_per_atom"),
        larger=("energy_mae_meV_per_atom",),
    ),
    PartErrors(
        phase="beta-tin",
        kind="shear",
        structures=2,
        untuned={"force_mae_meV_per_A": 100.0},
        tuned={"force_mae_meV_per_A": 2000.0},
    ),
)


@pytest.fixture(scope="module")
def folder(small_checkpoint, labelled_silicon, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("card") / "model"
    write_bundle(
        folder,
        [trained(small_checkpoint, base="7net-0")],
        species=["Si"],
        level_of_theory_hash="22705ff615a148d5",
        level_of_theory="GPAW 26.7.0, PBE, 300 eV",
        metrics={"force_mae_meV_per_A": 37.3},
        regime=Regime(
            phases=("diamond", "beta-tin"), pressures_GPa=(0.0, 12.5), temperatures_K=(290.0,)
        ),
        name="silicon",
        training_structures={"diamond, md": 5, "beta-tin, strain": 3},
        training_settings={"epochs": 25},
        errors=ERRORS,
        checks=[CheckResult(name="phonons", passed=False, result="imaginary at X: -1.3 THz")],
        validation=labelled_silicon[:3],
        examples=labelled_silicon[3:4],
    )
    return folder


def card(folder: Path) -> str:
    return (folder / "MODEL_CARD.md").read_text()


def test_a_card_has_what_a_reviewer_asks_for(folder):
    text, record = card(folder), read_bundle(folder)
    for wanted in (
        record.level_of_theory,
        record.level_of_theory_hash,
        record.training_set_hash,
        record.validation_set_hash,
        record.foundation_licence,
        *record.packages.values(),
        "diamond, beta-tin",
        "0, 12.5 GPa",
        "290 K",
        "diamond, md | 5",
        "phonons | FAILED | imaginary at X: -1.3 THz",
        "arXiv:2605.20384",
        "entrove.load_model",
        "--to lammps",
    ):
        assert wanted in text, wanted


def test_errors_are_those_of_the_record_with_their_intervals(folder):
    rows = [line.split(" | ") for line in card(folder).splitlines() if "→" in line and "|" in line]
    assert rows[0][3:5] == ["23.4 → 7.12", "117 → 37.3 [31.7, 44.1]"]
    assert rows[1][0] == "| beta-tin"
    assert rows[1][4] == "29.2 → 35.6"


def test_what_got_worse_is_named_among_the_limits(folder):
    limits = card(folder).split("## Limits")[1].split("##")[0]
    assert (
        "Worse than the untuned model beyond the confidence interval: beta-tin, forces." in limits
    )
    assert "larger than the untuned model's, within noise: strain, energy." in limits
    # Two structures have no interval, which is no reason to call twenty times as much noise.
    assert "without a known interval: beta-tin shear, forces." in limits
    better = read_bundle(folder).model_copy(update={"validation": ERRORS[:1]})
    assert "larger than" not in write_card(better)
    assert "Worse" not in write_card(better)


def test_what_is_larger_in_a_bundle_of_release_0_1_is_named_without_a_verdict(folder):
    of_0_1 = tuple(
        row.model_copy(update={"judged": (), "worse": (), "larger": ()}) for row in ERRORS
    )
    limits = write_card(read_bundle(folder).model_copy(update={"validation": of_0_1}))
    assert (
        "without a known interval: beta-tin, forces; strain, energy; strain, forces; "
        "beta-tin shear, forces." in limits
    )


def test_a_card_says_worse_where_the_comparison_does():
    """An error three times as large in every structure, and one that is larger in one of five."""
    rng = np.random.default_rng(0)
    labels = []
    for seed in range(8):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.info |= {"entrove_phase": "fcc", "entrove_kind": "shear"}
        atoms.info["entrove_walker"] = seed
        labels.append(attach_results(atoms, 0.0, rng.normal(size=(4, 3)), np.zeros(6)))

    def predicted_of(errors: np.ndarray) -> list[Atoms]:
        return [
            attach_results(atoms, 0.1 * error, atoms.get_forces() + error, np.zeros(6))
            for atoms, error in zip(labels, errors, strict=True)
        ]

    def predicted(errors: np.ndarray) -> ErrorTable:
        return errors_by_kind(labels, predicted_of(errors), {})

    noise = 0.1 * (1 + 0.3 * rng.random(8))
    settings = ValidationConfig()
    (row, *_) = paired_errors(predicted(noise), predicted(3 * noise), settings)
    assert row.worse == ("energy_mae_meV_per_atom", "force_mae_meV_per_A")
    once = noise.copy()
    once[0] *= 2
    (row, *_) = paired_errors(predicted(noise), predicted(once), settings)
    assert row.worse == ()
    assert "force_mae_meV_per_A" in row.larger
    few = [errors_by_kind(labels[:2], predicted_of(e)[:2], {}) for e in (noise, 20 * noise)]
    (row, *_) = paired_errors(*few, settings)
    assert (row.judged, row.worse, row.larger) == ((), (), ())


def test_a_card_of_a_single_phase_says_each_error_once():
    """Rows of the phase, and of each kind in any phase, are those of the same structures."""
    rng = np.random.default_rng(0)
    labels = []
    for seed in range(24):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.info |= {"entrove_phase": "diamond", "entrove_kind": ("shear", "strain")[seed % 2]}
        labels.append(attach_results(atoms, -40.0, rng.normal(size=(8, 3)), np.zeros(6)))

    def predicted(error: float, shear: float) -> ErrorTable:
        scales = [shear if atoms.info["entrove_kind"] == "shear" else 1.0 for atoms in labels]
        return errors_by_kind(
            labels,
            [
                attach_results(
                    atoms,
                    -40.0 + error * rng.normal(),
                    atoms.get_forces() + scale * error * rng.normal(size=(8, 3)),
                    np.full(6, error),
                )
                for atoms, scale in zip(labels, scales, strict=True)
            ],
            {},
        )

    rows = paired_errors(predicted(0.05, 1.0), predicted(0.03, 5.0), ValidationConfig())
    parts = [(row.phase, row.kind) for row in rows]
    assert parts == [("all", "all"), ("diamond", "shear"), ("diamond", "strain")]
    forces = "force_mae_meV_per_A"
    assert [forces in row.worse for row in rows] == [True, True, False]
    assert all(forces in row.judged for row in rows)


def test_every_table_of_the_card_is_well_formed(folder):
    """Equal numbers of cells in all lines of a table, also when a text holds a bar."""
    hostile = read_bundle(folder).model_copy(update={"level_of_theory": "a | b\nc"})
    for text in (card(folder), write_card(hostile)):
        for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(cells) == 1, table


def test_the_validation_labels_are_in_the_bundle_with_their_hash(folder, labelled_silicon):
    inside = read_structures(folder / "validation.xyz")
    assert read_bundle(folder).validation_set_hash == training_set_hash(inside)
    assert training_set_hash(inside) == training_set_hash(labelled_silicon[:3])
    assert len(read_structures(folder / "examples.xyz")) == 1


def test_labels_have_one_hash_before_and_after_their_file(tmp_path):
    """Eight decimals move some of many coordinates across the edges of the hash's bins."""
    cells = [bulk("Si", cubic=True).repeat(2) for _ in range(20)]
    labels = []
    for seed, cell in enumerate(cells):
        cell.rattle(0.1, seed=seed)
        labels.append(attach_results(cell, float(seed), np.zeros((64, 3)), np.zeros((3, 3))))
    write_structures(tmp_path / "labels.xyz", labels)
    again = read_structures(tmp_path / "labels.xyz")
    assert training_set_hash(again) == training_set_hash(labels)
    cells[3].positions[5, 0] += 1e-3
    labels[3] = attach_results(cells[3], 3.0, np.zeros((64, 3)), np.zeros((3, 3)))
    assert training_set_hash(again) != training_set_hash(labels)


def test_bundles_of_release_0_1_are_read_and_get_a_card(folder):
    """They have none of the keys that were added since."""
    path = folder / "bundle.json"
    values = json.loads(path.read_text())
    added = ("name", "training_structures", "training_settings", "validation", "checks")
    added += ("validation_set_hash", "packages", "foundation_licence")
    old = {key: value for key, value in values.items() if key not in added} | {"version": 1}
    assert len(old) == len(values) - len(added)
    try:
        path.write_text(json.dumps(old))
        record = read_bundle(folder)
        text = write_card(record)
    finally:
        path.write_text(json.dumps(values))
    assert record.foundation_licence == "unknown"
    assert "Licence of the foundation model: unknown." in text
    assert "force_mae_meV_per_A | 37.3" in text


def test_a_licence_is_that_of_the_package_that_carries_the_weights(small_checkpoint):
    assert re.fullmatch(r"MIT License \(the package sevenn [\d.]+, .*\)", licence_of("7net-0"))
    assert licence_of("7net-mf-0@PBE") == licence_of("7net-0")
    assert licence_of("chgnet").startswith("Modified BSD (the package chgnet")
    assert licence_of("7net-omni").startswith("unknown: the weights were downloaded")
    assert licence_of("allegro-oam-l").startswith("unknown: the weights were downloaded")
    assert licence_of(str(small_checkpoint)) == "unknown: the weights were given as a file"


def test_a_card_has_the_recipes_that_were_compared(small_checkpoint, tmp_path):
    recipes = (Recipe(learning_rate=1e-3), Recipe(strategy="frozen", learning_rate=3e-3))
    choice = decide(
        recipes, [[0.0031, 0.0042], [0.0024, None]], [0.0093, 0.0121], labels=24, groups=20
    )
    folder = tmp_path / "model"
    write_bundle(
        folder,
        [trained(small_checkpoint, base="7net-0", choice=choice)],
        species=["Si"],
        level_of_theory_hash="",
        level_of_theory="PBE",
        metrics={},
        regime=Regime(phases=(), pressures_GPa=(), temperatures_K=()),
        training_settings={"strategy": "lora", "learning_rate": 0.001, "epochs": 25, "lora": None},
    )
    assert read_bundle(folder).learning_rate_choice == choice
    text = card(folder)
    assert "| learning rate | 0.001 |" in text
    assert "| low-rank updates | rank 4, alpha 4 |" in text
    assert "How these were chosen: learning rate 0.001, naive: chosen by 2 folds" in text
    assert "| naive | 0.001 | 0.0031, 0.0042 | 0.00365 | 0.00055 |" in text
    assert "| frozen | 0.003 | 0.0024, diverged | diverged | - |" in text
    assert "| untuned | - | 0.0093, 0.0121 | 0.0107 | 0.0014 |" in text


@pytest.mark.parametrize("errors", [(), ERRORS])
def test_a_card_says_of_a_single_training_what_is_known(small_checkpoint, tmp_path, errors):
    """Labels without provenance name no phase, and one training has no rounds to choose among."""
    folder = tmp_path / "model"
    write_bundle(
        folder,
        [trained(small_checkpoint, base="7net-0", accepted=None)],
        species=["Si"],
        level_of_theory_hash="",
        level_of_theory="unknown: the labels do not say",
        metrics={},
        regime=Regime(phases=(), pressures_GPa=(), temperatures_K=()),
        errors=errors,
    )
    text = card(folder)
    for name in ("phases", "pressures", "temperatures", "its hash"):
        assert f"| {name} | not recorded |" in text
    assert ("trained and validated" in text) is bool(errors)
    assert ("On validation labels, which took no part in training.\n" in text) is bool(errors)
    assert "rounds" not in text


def test_a_card_of_random_weights_names_no_foundation_model(small_checkpoint, tmp_path):
    folder = tmp_path / "model"
    architecture = {"base": "allegro-small.yaml", "random_weights": True, "accepted": None}
    write_bundle(
        folder,
        [trained(small_checkpoint, **architecture)],
        species=["Si"],
        level_of_theory_hash="",
        level_of_theory="PBE",
        metrics={},
        regime=Regime(phases=(), pressures_GPa=(), temperatures_K=()),
        name="silicon",
    )
    record, text = read_bundle(folder), card(folder)
    assert record.random_weights
    assert text.startswith("# silicon: allegro-small.yaml, trained from random weights\n")
    assert "trained from random weights on 8 labels" in text
    assert "There is no foundation model" in text
    for wrong in ("tuned", "Licence of the foundation", "The foundation model"):
        assert wrong not in text
