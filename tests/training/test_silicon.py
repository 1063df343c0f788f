"""Fine-tuning SevenNet-0 on real DFT labels (see data/README.md)."""

from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import attach_results
from entrove.training.config import TrainingConfig
from entrove.training.tuning import fine_tune
from entrove.validation.comparison import compare
from entrove.validation.errors_by_kind import errors_by_kind
from entrove.validation.splits import check_disjoint

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def silicon():
    """24 labels to train on and 12 to test with."""
    train, test = (
        read(DATA / f"silicon-pbe-{split}.xyz.gz", index=":") for split in ("train", "test")
    )
    return train, test


def test_hold_out_is_disjoint_and_tagged(silicon):
    train, test = silicon
    assert (len(train), len(test)) == (24, 12)
    check_disjoint(train, test)
    assert {atoms.info["entrove_phase"] for atoms in test} == {"diamond", "beta-tin"}
    assert {atoms.info["entrove_kind"] for atoms in test} == {"strain", "md"}


def test_labels_are_consistent(silicon):
    """Forces sum to zero, as far as a plane-wave basis keeps translational invariance."""
    for atoms in silicon[0] + silicon[1]:
        assert np.abs(atoms.get_forces().mean(axis=0)).max() < 0.02
        assert -5.6 < atoms.get_potential_energy() / len(atoms) < -4.0


def test_one_real_fine_tuning_improves_unseen_forces(silicon, tmp_path):
    """Six labels and a few steps of the real model: unseen forces of the other phase's
    trajectories improve."""
    train, test = silicon
    labels, unseen = train[::4], test[1::3]
    # Another zero of energy: the labels' code counts 3 eV per atom more.
    moved = [
        attach_results(
            atoms,
            atoms.get_potential_energy() + 3.0 * len(atoms),
            atoms.get_forces(),
            atoms.get_stress(),
        )
        for atoms in labels
    ]
    model = fine_tune(moved, "7net-0", tmp_path, TrainingConfig(epochs=3), seed=1, device="cpu")
    assert model.reference_shifts_eV["Si"] == pytest.approx(3.0, abs=0.1)
    untuned = errors_by_kind(unseen, predict(load("7net-0", device="cpu"), unseen))
    tuned = errors_by_kind(unseen, predict(load(str(model.checkpoint), device="cpu"), unseen))
    assert tuned.total.force_mae_meV_per_A < 0.8 * untuned.total.force_mae_meV_per_A
    # The shift is in the weights: without it the plain energy error would be near 3000 meV/atom.
    assert abs(tuned.total.energy_mae_meV_per_atom - 3000.0) < 100.0


@pytest.mark.slow
def test_defaults_on_twelve_labels_are_accepted_and_halve_the_errors(silicon, tmp_path):
    train, test = silicon
    model = fine_tune(
        train[::2], "7net-0", tmp_path, TrainingConfig(), seed=1, device="cpu", threads=2
    )
    untuned = errors_by_kind(test, predict(load("7net-0", device="cpu"), test))
    tuned = errors_by_kind(test, predict(load(str(model.checkpoint), device="cpu"), test))
    verdict = compare(untuned, tuned)
    assert verdict.accepted
    assert verdict.force_ratio < 0.5
