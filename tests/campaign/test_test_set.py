"""The test set: set aside at the start, used once at the end, and quoted."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from cheap_campaign import FOUNDATION_SCALE, SETTINGS, Bench, Scaled, make_bench
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Finished, HeldOut, Trained, Validated
from entrove.campaign.journal.progress import Silence
from entrove.campaign.results.read import read_results
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.imported import enter_imported, to_train_on
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.train import labels_to_learn, train
from entrove.campaign.stages.validate import untuned_shifts
from entrove.campaign.workspace import Workspace
from entrove.labelling.labels import Label
from entrove.labelling.store.cache import LabelCache
from entrove.models.ase import from_calculator
from entrove.models.prediction import predict
from entrove.provenance import trajectory_of
from entrove.report.formatting import format_interval, format_number
from entrove.report.page import render_report
from entrove.report.status import summary_text
from entrove.structures import (
    attach_results,
    content_hash,
    energy_of,
    read_structures,
    write_structures,
)
from entrove.training.bundle import read_bundle
from entrove.training.reference_energies import fit_reference_shifts
from entrove.validation.intervals import structures_for
from entrove.validation.site_symmetry import allowed_components
from entrove.validation.splits import check_disjoint

SAMPLING = SETTINGS["sampling"] | {
    "hold_out": {"md_steps": 4, "md_snapshots": 2, "interval": 0.5, "test": True}
}
SCALE = 0.97
EACH = structures_for(0.5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """A campaign of one round with a test set, and whether that was used before the end."""
    with pytest.MonkeyPatch.context() as patch:
        bench = make_bench(tmp_path_factory.mktemp("tested"), patch)
        bench.scales = {1: SCALE}
        early: list[Path] = []
        bench.on_train = lambda _: early.extend(bench.folder.rglob("test_predictions.xyz"))
        bench.run(sampling=SAMPLING, stopping={"rounds": 1})
        assert bench.trained_on
        assert not early
        yield bench


def test_both_sets_hold_every_kind_and_share_nothing(finished: Bench):
    validation, test = finished.files.validation_labels(), finished.files.test_labels()
    assert (len(validation), len(test)) == (EACH, EACH)
    for labels in (validation, test):
        assert {atoms.info["entrove_kind"] for atoms in labels} == {"strain", "shear", "md"}
    # Runs of four steps from one cell have gone nowhere yet: they are nearly equal.
    check_disjoint(validation, test, near=0.0)
    training = read_structures(finished.files.dataset)
    check_disjoint(training, validation + test)
    runs = [trajectory_of(atoms) for atoms in validation + test]
    thermal = [run for run in runs if run is not None]
    assert len(set(thermal)) == len(thermal)  # runs are cheaper than labels
    held_out = Ledger(finished.files.ledger).find(0, HeldOut)
    assert held_out is not None
    assert held_out.summary.count("energy errors to about") == 2


def test_what_is_quoted_is_the_error_on_the_test_set(finished: Bench):
    """Forces of the tuned model are `SCALE` times the labels', so that errors are known."""
    test = finished.files.test_labels()
    errors = 1000 * (1 - SCALE) * np.abs(np.concatenate([atoms.get_forces() for atoms in test]))
    counts = np.concatenate([allowed_components(atoms) for atoms in test])
    assert np.abs(np.concatenate([atoms.get_forces() for atoms in test])[~counts]).max() < 1e-3
    expected = errors[counts].mean()
    end = Ledger(finished.files.ledger).find(1, Finished)
    assert end is not None
    assert end.test is not None
    assert end.test.total.force_mae_meV_per_A == pytest.approx(expected, rel=1e-6)
    assert end.test.total.force_components == counts.sum()
    metrics = read_bundle(finished.files.bundle).metrics
    assert metrics["test_force_mae_meV_per_A"] == pytest.approx(expected, rel=1e-6)
    assert metrics["test_structures"] == EACH
    low, high = metrics["test_force_mae_low_meV_per_A"], metrics["test_force_mae_high_meV_per_A"]
    assert low < expected < high
    assert metrics["force_mae_meV_per_A"] != pytest.approx(expected, rel=1e-3)  # validation
    results = read_results(finished.files.folder, figures=True)
    assert f"on {EACH} test structures: energy" in results.verdict
    text, page = summary_text(results, 100), render_report(results)
    assert "Test errors (MAE), on structures that no decision has used" in text
    assert f"on {EACH} test structures, which no decision has used" in page
    assert format_number(expected) in page
    assert format_interval((low, high)) in page
    assert any(f"{low:.{digits}f}-{high:.{digits}f}" in text for digits in range(3))


def test_a_held_out_label_without_stress_is_left_out_of_the_plot_of_stress(
    finished: Bench, tmp_path: Path
):
    """It was imported, and the engine has failed to compute it."""
    files = Workspace(Path(shutil.copytree(finished.files.folder, tmp_path / "campaign")))
    validation = files.validation_labels()
    bare = validation[0]
    energy, forces = bare.get_potential_energy(), bare.get_forces()
    bare.calc = SinglePointCalculator(bare, energy=energy, forces=forces)
    write_structures(files.validation, validation)
    results = read_results(files.folder, figures=True)
    for parity in results.parity:
        assert np.isnan(parity.reference_stress_GPa).tolist() == 6 * [True] + 6 * (EACH - 1) * [
            False
        ]
    assert "Stress components" in render_report(results)


def test_the_untuned_model_gets_reference_energies_of_training_labels(finished: Bench):
    """An oracle of one element: the shift is the mean difference per atom of the training set."""
    training = read_structures(finished.files.dataset)
    per_atom = np.array([atoms.get_potential_energy() / len(atoms) for atoms in training])
    shift = float(((1 - FOUNDATION_SCALE) * per_atom).mean())
    validated = Ledger(finished.files.ledger).find(1, Validated)
    untuned = Ledger(finished.files.ledger).find(0, Validated)
    assert validated is not None
    assert validated.untuned is not None
    assert validated.untuned.reference_shifts_eV == pytest.approx({"Cu": shift}, rel=1e-6)
    labels = finished.files.validation_labels()
    energies = np.array([atoms.get_potential_energy() / len(atoms) for atoms in labels])
    expected = 1000 * np.abs((FOUNDATION_SCALE - 1) * energies + shift).mean()
    assert validated.untuned.total.energy_mae_meV_per_atom == pytest.approx(expected, rel=1e-6)
    # Before there are training labels, there is no energy error.
    assert untuned is not None
    assert untuned.reference_shifts_eV is None
    assert "energy: reference not fitted yet" in untuned.summary
    raw = 1000 * np.abs((SCALE - 1) * energies).mean()
    assert validated.table.total.energy_mae_meV_per_atom == pytest.approx(raw, rel=1e-6)


def test_a_campaign_that_goes_on_says_that_the_test_set_was_used(finished: Bench):
    finished.scales[2] = 0.99
    assert "used before" not in finished.verdict()
    finished.run(sampling=SAMPLING, stopping={"rounds": 2})
    assert "the model is that of round 2" in finished.verdict()
    assert "(used before, for the model of round 1)" in finished.verdict()


def test_the_test_set_stays_closed_without_a_model(tmp_path: Path, monkeypatch):
    bench = make_bench(tmp_path / "worse", monkeypatch)
    bench.scales = {1: 0.7}
    bench.run(sampling=SAMPLING, stopping={"rounds": 1})
    assert "no tuned model was better" in bench.verdict()
    assert not list(bench.folder.rglob("test_predictions.xyz"))
    assert read_results(bench.files.folder).test == ()


class Offset(Scaled):
    """A tuned model with good forces and stresses whose zero of energy is 0.1 eV/atom off."""

    def calculate(self, *arguments: Any, **keywords: Any) -> None:
        super().calculate(*arguments, **keywords)
        for name in ("energy", "free_energy"):
            self.results[name] += 0.1 * len(self.atoms)


def test_a_constant_energy_error_is_refused_until_the_user_allows_it(tmp_path: Path, monkeypatch):
    """Centred by composition it would read zero. Judging again needs no label and no training."""
    bench = make_bench(tmp_path / "again", monkeypatch)
    monkeypatch.setattr(
        "entrove.campaign.stages.models.load",
        lambda path, **_: from_calculator(Offset(0.999), name=path),
    )
    bench.run(stopping={"rounds": 1})
    refused = Ledger(bench.files.ledger).find(1, Validated)
    assert refused is not None
    assert refused.accepted is False
    assert "energy worse than the untuned model's beyond the interval" in refused.summary
    assert refused.table.total.energy_mae_meV_per_atom == pytest.approx(100, abs=10)
    text = summary_text(read_results(bench.files.folder), 200)
    assert "worse: energy " in text
    trained, computed = list(bench.trained_on), list(bench.computed)
    bench.run(validation={"negligible_energy_meV_per_atom": 1000.0}, stopping={"rounds": 1})
    assert (bench.trained_on, bench.computed) == (trained, computed)
    results = read_results(bench.files.folder)
    assert results.finished
    assert results.best_round == 1


def test_labels_that_nearly_equal_held_out_ones_are_not_trained_on(finished: Bench):
    """An import from elsewhere: a cell of the test set, moved by less than anyone would see."""
    copy = finished.files.test_labels()[-1].copy()
    copy.rattle(1e-4, seed=1)
    known = len(finished.files.training_labels())
    assert content_hash(copy) not in {content_hash(a) for a in finished.files.held_out_labels()}
    labelled = attach_results(copy, 0.1, np.zeros((4, 3)), np.zeros(6))
    label = Label.from_atoms(labelled)
    with LabelCache(finished.files.label_cache) as cache:
        enter_imported(finished.files, [to_train_on(labelled, label)], cache)
    assert len(finished.files.training_labels()) == known + 1
    finished.run(sampling=SAMPLING, stopping={"rounds": 2})
    ledger = Ledger(finished.files.ledger)
    assert "1 left out that nearly equal held-out structures" in ledger.each(Trained)[2].summary
    # Nor are the reference energies of the untuned model fitted to it, which has other energies.
    campaign = finished.campaign(sampling=SAMPLING, stopping={"rounds": 2})
    run = CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), Silence())
    learnt, _ = labels_to_learn(run, 2)
    predicted = predict(run.models.foundation, learnt)
    expected = fit_reference_shifts(learnt, [energy_of(atoms) for atoms in predicted])
    assert untuned_shifts(run, 2) == expected
    assert ledger.each(Validated)[2].untuned.reference_shifts_eV == expected


def test_a_label_that_is_not_left_out_is_trained_on_however_many_are(tmp_path: Path, monkeypatch):
    """Without the near ones labels spread more, and would be nearer in units of that spread."""

    def moved(atoms: Atoms, by_A: float, seed: int) -> Atoms:
        copy = atoms.copy()
        copy.info["entrove_round"] = 1
        copy.positions += by_A * np.random.default_rng(seed).normal(size=(len(copy), 3))
        return attach_results(copy, 0.1, np.zeros((len(copy), 3)), np.zeros(6))

    bench = make_bench(tmp_path / "near", monkeypatch)
    campaign, ledger = bench.campaign(), Ledger(tmp_path / "ledger.sqlite")
    run = CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), Silence())
    held_out = [moved(bulk("Cu", a=a_A, cubic=True), 0.05, 1) for a_A in (3.5, 3.72)]
    near = [moved(held_out[0], 0.0005, seed) for seed in range(40)]
    others = [moved(bulk("Cu", cubic=True), 0.1, seed) for seed in range(10, 16)]
    bench.files.folder.mkdir()
    write_structures(bench.files.validation, held_out)
    labels = [*near, moved(held_out[0], 0.0115, 100), *others]
    write_structures(bench.files.dataset, labels)
    assert "40 left out that nearly equal held-out" in train(run, 1).summary
    assert bench.trained_on == [1 + len(others)]
