"""The validation suite at the end of a campaign: recorded, shown, and made again when it must."""

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from rich.console import Console

from cheap_campaign import Bench, Labels, make_bench
from entrove import provenance
from entrove.campaign.configuration.check import check_campaign
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Checked, Finished
from entrove.campaign.plan import make_plan
from entrove.campaign.results.read import read_results
from entrove.campaign.stages.label_volumes import volume_cells
from entrove.cli.labels import list_labels
from entrove.errors import EntroveError
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.report.page import render_report, report_numbers
from entrove.report.status import summary_text
from entrove.report.summary import label_costs
from entrove.sampling.candidates import read_candidates
from entrove.structures import content_hash
from entrove.training.bundle import read_bundle
from entrove.validation.equation_of_state import equation_of_state
from entrove.validation.suite import result as result_module
from entrove.validation.suite import run as suite_run
from entrove.validation.suite.checks import phonons as phonons_check
from entrove.validation.suite.result import SuiteResult
from entrove.validation.suite.subject import Subject

SUITE: dict[str, Any] = {
    "enabled": True,
    "phonons": {"enabled": False},
    "dynamics": {"steps": 10, "least_atoms": 4},
    "forgetting": {"crystals": 1},
    "elastic": {"least_eigenvalue_GPa": 1e4},
}
"""No crystal is as stiff as that, so that this check fails."""

CHECKS_WITHOUT_LABELS = ("phonons", "dynamics", "forgetting", "elastic", "dimers", "phase_order")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One campaign for all tests of this file, which run in their order."""
    with pytest.MonkeyPatch.context() as patch:
        bench = make_bench(tmp_path_factory.mktemp("checked"), patch)
        bench.run(stopping={"rounds": 1}, suite=SUITE)
        yield bench


def test_a_failed_check_is_named_and_the_campaign_ends(checked: Bench):
    results = read_results(checked.files.folder)
    assert results.finished
    assert results.suite is not None
    assert [check.title for check in results.suite.failed] == ["elastic, fcc"]
    (record,) = [r for r in Ledger(checked.files.ledger).records() if r.stage == "check"]
    assert "elastic, fcc failed" in record.summary
    assert "failed elastic, fcc: stiffness" in summary_text(results, width=200)
    page = render_report(results)
    assert "stiffness against the softest strain" in page
    assert report_numbers(results)["checks"] == json.loads(results.suite.to_json())
    card = (checked.files.bundle / "MODEL_CARD.md").read_text()
    assert "elastic, fcc" in card
    # The labels of the campaign at several volumes are those of the same crystal.
    (curve,) = [c for c in results.suite.checks if c.check == "equation_of_state"]
    names = [quantity.name for quantity in curve.quantities]
    assert "energy error on labelled volumes" in names


def test_the_bundle_says_what_the_suite_found(checked: Bench):
    results = read_results(checked.files.folder)
    assert results.suite is not None
    recorded = {check.name: check.passed for check in read_bundle(checked.files.bundle).checks}
    judged = [check for check in results.suite.checks if check.outcome in ("passed", "failed")]
    assert set(recorded) == {check.title for check in judged}
    assert recorded["elastic, fcc"] is False
    card = (checked.files.bundle / "MODEL_CARD.md").read_text()
    assert "| elastic, fcc | FAILED | " in card


def test_an_interrupted_suite_continues(monkeypatch: pytest.MonkeyPatch, checked: Bench):
    """What was finished is read from the folder of the campaign and not made again."""
    ledger = Ledger(checked.files.ledger)
    (found,) = ledger.each(Checked).values()
    ledger.forget([(1, Checked.stage)])

    def fail(*_: Any) -> None:
        raise AssertionError("a finished check is made again")

    failing = tuple(replace(check, make=fail) for check in suite_run.CHECKS)
    monkeypatch.setattr(suite_run, "CHECKS", failing)
    checked.run(stopping={"rounds": 1}, suite=SUITE)
    (again,) = Ledger(checked.files.ledger).each(Checked).values()
    assert again.suite == found.suite


def test_checks_are_made_again_for_other_settings_only(checked: Bench):
    def finished() -> list[float]:
        return [
            record.finished_utc
            for record in Ledger(checked.files.ledger).records()
            if isinstance(record.outcome, Checked | Finished)
        ]

    before = finished()
    checked.run(stopping={"rounds": 1}, suite=SUITE)
    assert finished() == before
    checked.run(stopping={"rounds": 1}, suite=SUITE | {"elastic": {}})
    assert all(now > earlier for now, earlier in zip(finished(), before, strict=True))
    results = read_results(checked.files.folder)
    assert results.finished
    assert results.suite is not None
    assert results.suite.passed


@pytest.mark.skipif(find_spec("phonopy") is None, reason="phonopy is not installed")
def test_checks_that_wanted_a_package_are_made_once_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, checked: Bench
):
    suite = SUITE | {"phonons": {"supercell_A": 4.0, "mesh": 2, "points_per_line": 3}}

    def outcome() -> str:
        checked.run(stopping={"rounds": 1}, suite=suite)
        results = read_results(checked.files.folder)
        assert results.suite is not None
        (found,) = [check for check in results.suite.checks if check.check == "phonons"]
        return found.outcome

    def missing(*_: object, **__: object) -> None:
        raise EntroveError("the package 'phonopy' is not installed")

    with monkeypatch.context() as patch:
        patch.setattr(phonons_check, "require", missing)
        patch.setattr(result_module, "find_spec", lambda _: None)
        assert outcome() == outcome() == "not applicable"
    assert outcome() in ("passed", "failed")


def test_volumes_are_labelled_for_the_equation_of_state_when_asked(checked: Bench):
    """With the engine of the campaign, once, and not for training."""
    suite = SUITE | {"equation_of_state": {"labels": 6}}
    trained_on = len(checked.files.training_labels())
    checked.run(stopping={"rounds": 1}, suite=suite)
    results = read_results(checked.files.folder)
    assert results.suite is not None
    (curve,) = [c for c in results.suite.checks if c.check == "equation_of_state"]
    assert "from labels at 6 volumes" in curve.sentence
    assert "trained on" not in curve.sentence
    (labels,) = [c for c in curve.panels[0].curves if c.name.startswith("labels")]
    relaxed = read_candidates(checked.files.round(0).relaxed)[0].atoms
    volume = relaxed.get_volume() / len(relaxed)
    assert labels.x == pytest.approx([s**3 * volume for s in np.linspace(0.94, 1.06, 6)])
    # The engine is EMT, whose bulk modulus of copper is known.
    expected = equation_of_state(relaxed, EMT(), scales=(0.96, 0.98, 1.0, 1.02, 1.04))
    (modulus,) = [q for q in curve.quantities if q.name == "bulk modulus on labelled cells"]
    assert modulus.reference == pytest.approx(expected.bulk_modulus_GPa, rel=0.1)
    assert len(checked.files.training_labels()) == trained_on
    # They are in the cost of the labels, and no labels of a round.
    costs = {cost.purpose: cost for cost in label_costs((*results.labels, *results.volumes))}
    assert costs["equation of state"].converged == costs["equation of state"].count == 6
    assert costs["equation of state"].engine_seconds > 0
    assert "equation of state" not in {label.purpose for label in results.labels}

    def when_labelled() -> list[str]:
        campaign = checked.campaign(stopping={"rounds": 1}, suite=suite)
        cells = [cell.atoms for cell in volume_cells(campaign)]
        assert len(cells) == 6
        level = LevelOfTheory.of(campaign.config.labelling.engine)
        with LabelCache(campaign.label_cache) as cache:
            labels = [cache.get(atoms, level) for atoms in cells]
        return [label.started_utc for label in labels if label is not None]

    before = when_labelled()
    assert len(before) == 6
    checked.run(stopping={"rounds": 1}, suite=suite | {"elastic": {}})
    assert when_labelled() == before
    planned = make_plan(checked.campaign(stopping={"rounds": 1}, suite=suite))
    assert "equation of state" not in [row.what for row in planned.rows]


def test_a_volume_in_quarantine_is_released_and_the_check_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where a shared cache has it in quarantine for another campaign."""
    others = {name: {"enabled": False} for name in CHECKS_WITHOUT_LABELS}
    settings: dict[str, Any] = {
        "stopping": {"rounds": 1},
        "suite": {"enabled": True, **others, "equation_of_state": {"labels": 6}},
        "labelling": {"cache": str(tmp_path / "shared.sqlite")},
    }

    def volumes(bench: Bench) -> list[str]:
        bench.run(**settings)
        [found] = Ledger(bench.files.ledger).each(Checked).values()
        [curve] = [c for c in found.suite.checks if c.check == "equation_of_state"]
        good = sum(row.outcome == "converged" for row in found.volumes)
        assert f"from labels at {good} volumes" in curve.sentence
        return [row.outcome for row in found.volumes]

    def retry(bench: Bench) -> str:
        output = io.StringIO()
        list_labels(bench.files.folder, retry=True, console=Console(file=output, width=100))
        return output.getvalue()

    first = make_bench(tmp_path / "first", monkeypatch)
    first.run(stopping={"rounds": 1}, labelling=settings["labelling"])
    cells = [cell.atoms for cell in volume_cells(first.campaign(**settings))]
    Labels.failing = {content_hash(cells[0])}
    assert volumes(first) == ["crashed"] + ["converged"] * 5
    second = make_bench(tmp_path / "second", monkeypatch)
    Labels.failing = {content_hash(cells[0])}
    assert volumes(second) == ["crashed"] + ["converged"] * 5
    Labels.failing = set()
    assert volumes(second) == ["crashed"] + ["converged"] * 5  # it is not tried again by itself
    assert "released 1 labels" in retry(second)
    assert volumes(second) == ["converged"] * 6
    assert len(set(second.computed)) == len(second.computed)
    # The other campaign, whose volume was released by this one, learns of it.
    assert volumes(first) == ["converged"] * 6
    before = len(first.computed)
    assert "released 0 labels" in retry(first)
    assert volumes(first) == ["converged"] * 6
    assert len(first.computed) == before


def test_labels_that_came_after_the_kept_model_are_none_that_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench, judged = make_bench(tmp_path, monkeypatch), []
    bench.scales = {1: 0.99, 2: 0.9}
    checks = {name: {"enabled": False} for name in CHECKS_WITHOUT_LABELS}

    def judge(subject: Subject, *arguments: Any, **keywords: Any) -> SuiteResult:
        judged.append(subject)
        return suite_run.judge(subject, *arguments, **keywords)

    monkeypatch.setattr("entrove.campaign.stages.check.judge", judge)
    bench.run(stopping={"rounds": 2}, suite={"enabled": True, **checks})
    first, second = bench.trained_on
    assert first < second
    [subject] = judged
    assert read_results(bench.files.folder).best_round == 1
    assert len(subject.trained_on) == second
    assert subject.describe_training(subject.trained_on) == f" ({first} trained on)"
    learnt = [atoms for atoms in subject.trained_on if atoms.info[provenance.ROUND] == 1]
    assert subject.describe_training(learnt) == " (all trained on)"
    assert subject.describe_training(subject.labelled) == ""


def test_the_plan_counts_volumes_of_the_equation_of_state(tmp_path: Path):
    atoms = bulk("Cu", cubic=True)
    atoms.write(tmp_path / "fcc.xyz")
    path = tmp_path / "campaign.yaml"
    text = """\
name: copper
seeds: [{phase: fcc, file: fcc.xyz}]
labelling: {engine: {name: ase, calculator: "ase.calculators.emt:EMT"}}
"""
    path.write_text(text)
    before = make_plan(check_campaign(path)).rows
    path.write_text(text + "suite: {equation_of_state: {labels: 6}}\n")
    rows = {row.what: row.labels for row in make_plan(check_campaign(path)).rows}
    assert rows["equation of state"] == 6
    assert rows["together"] == before[-1].labels + 6
    # Labels that were imported without a stress are computed.
    for results, left in (("energy", "forces"), 6), (("energy", "forces", "stress"), None):
        campaign = check_campaign(path)
        labelled = [_with_results(cell.atoms, results) for cell in volume_cells(campaign)]
        write(tmp_path / "labels.xyz", labelled, format="extxyz")
        level = LevelOfTheory.of(campaign.config.labelling.engine)
        with LabelCache(campaign.label_cache) as cache:
            import_labels(tmp_path / "labels.xyz", level, cache)
        rows = {row.what: row.labels for row in make_plan(check_campaign(path)).rows}
        assert rows.get("equation of state") == left
    # A slab has no equation of state, and DFT is not spent on it.
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=True)
    slab.info.clear()
    slab.write(tmp_path / "fcc.xyz")
    path.write_text(path.read_text() + "sampling: {ordered: {perturbed: 0, random: 0}}\n")
    assert volume_cells(check_campaign(path)) == []


def _with_results(atoms: Atoms, names: Iterable[str]) -> Atoms:
    """A copy with these results of EMT."""
    labelled = atoms.copy()
    labelled.calc = EMT()
    results = {
        "energy": labelled.get_potential_energy(),
        "forces": labelled.get_forces(),
        "stress": labelled.get_stress(),
    }
    labelled.calc = SinglePointCalculator(labelled, **{name: results[name] for name in names})
    return labelled
