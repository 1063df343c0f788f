"""What a campaign trains on after an import was corrected."""

import sqlite3
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from cheap_campaign import SETTINGS, Bench, make_bench
from entrove import provenance
from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Validated
from entrove.campaign.results.read import read_results
from entrove.campaign.stages.explore import shared_dataset
from entrove.campaign.stages.imported import (
    corrected_held_out,
    enter_imported,
    take_corrections,
    to_train_on,
    withdraw_import,
)
from entrove.campaign.workspace import Workspace
from entrove.formats import write_frames
from entrove.labelling.labels import Label
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import ImportReport, import_labels
from entrove.labelling.store.moments import key_of
from entrove.structures import attach_results, copy_structure, has_stress, read_structures

LEVEL = LevelOfTheory.of(CampaignConfig.model_validate(SETTINGS).labelling.engine)
WRONG_EV, RIGHT_EV = -10.0, -12.0


def copper(decimals: int, seed: int, energy_eV: float, moment: float | None = None) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, rng=np.random.default_rng(seed))
    atoms.positions = atoms.positions.round(decimals)
    results = {"energy": energy_eV, "forces": np.zeros((4, 3)), "stress": np.zeros(6)}
    if moment is not None:
        results["magmoms"] = np.full(4, moment)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def import_to_train(
    files: Workspace,
    frames: list[Atoms],
    *,
    replacing: bool = False,
    train: bool = True,
    interrupted_after: int = 0,
) -> ImportReport:
    """What `entrove import` does, with or without --train."""
    files.folder.mkdir(parents=True, exist_ok=True)
    path = files.folder / f"{len(list(files.folder.glob('ours-*')))}.xyz"
    path = path.with_name(f"ours-{path.name}")
    write_frames(path, frames)
    labelled: list[Atoms] = []

    def keep(atoms: Atoms, label: Label) -> None:
        labelled.append(to_train_on(atoms, label))
        if len(labelled) == interrupted_after:
            raise KeyboardInterrupt

    with LabelCache(files.label_cache) as cache:
        report = import_labels(path, LEVEL, cache, replacing=replacing, on_label=keep)
        if train:
            enter_imported(files, labelled, cache)
    return report


def trained_on(files: Workspace) -> list[float]:
    return [atoms.get_potential_energy() for atoms in files.training_labels()]


@pytest.mark.parametrize(("wrong", "right"), [*product((5, 8), (5, 8))])
def test_a_campaign_trains_on_the_corrected_label_alone(tmp_path: Path, wrong: int, right: int):
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [copper(wrong, seed, WRONG_EV) for seed in range(3)])
    assert trained_on(files) == [WRONG_EV] * 3
    frames = [copper(right, seed, RIGHT_EV) for seed in range(2)]
    report = import_to_train(files, frames, replacing=True)
    assert (report.stored, report.replaced) == (0, 2)
    assert sorted(trained_on(files)) == [RIGHT_EV] * 2 + [WRONG_EV]
    # A file with other decimals brings no second copy, and all go with their import.
    again = [copper(13 - right, seed, RIGHT_EV) for seed in range(2)]
    assert import_to_train(files, again).known == 2
    assert len(trained_on(files)) == 3
    assert report.import_id is not None
    with LabelCache(files.label_cache) as cache:
        assert withdraw_import(files, cache, report.import_id).trained_on == 2
    assert trained_on(files) == [WRONG_EV]


def written(files: Workspace) -> list[tuple[str, float]]:
    return [
        (key_of(atoms), atoms.get_potential_energy()) for atoms in read_structures(files.imported)
    ]


def corrected(folder: Path, wrong: int, right: int) -> list[tuple[str, float]]:
    """What a campaign trains on after a correction that nothing interrupted."""
    files = Workspace(folder)
    import_to_train(files, [copper(wrong, seed, WRONG_EV) for seed in range(3)])
    import_to_train(files, [copper(right, seed, RIGHT_EV) for seed in range(3)], replacing=True)
    return written(files)


@pytest.mark.parametrize(("wrong", "right"), [*product((5, 8), (5, 8))])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_an_interrupted_correction_is_completed_by_the_same_command(
    tmp_path: Path, wrong: int, right: int, done: int
):
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [copper(wrong, seed, WRONG_EV) for seed in range(3)])
    frames = [copper(right, seed, RIGHT_EV) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        import_to_train(files, frames, replacing=True, interrupted_after=done)
    import_to_train(files, frames, replacing=True)
    assert written(files) == corrected(tmp_path / "other", wrong, right)


@pytest.mark.parametrize(("wrong", "right"), [*product((5, 8), (5, 8))])
def test_a_correction_without_training_is_completed_by_one_with_it(
    tmp_path: Path, wrong: int, right: int
):
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [copper(wrong, seed, WRONG_EV) for seed in range(3)])
    frames = [copper(right, seed, RIGHT_EV) for seed in range(3)]
    import_to_train(files, frames, replacing=True, train=False)
    import_to_train(files, frames, replacing=True)
    assert written(files) == corrected(tmp_path / "other", wrong, right)


def test_a_run_corrects_what_an_import_without_training_has_replaced(tmp_path: Path):
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [copper(5, seed, WRONG_EV) for seed in range(3)])
    frames = [copper(8, seed, RIGHT_EV) for seed in range(2)]
    import_to_train(files, frames, replacing=True, train=False)
    with LabelCache(files.label_cache) as cache:
        assert take_corrections(files, cache) == 2
        assert take_corrections(files, cache) == 0
    assert sorted(trained_on(files)) == [RIGHT_EV] * 2 + [WRONG_EV]


@pytest.mark.parametrize(("wrong", "right"), [(5, 8), (8, 8)])
def test_what_an_import_has_corrected_is_withdrawn_with_it(tmp_path: Path, wrong: int, right: int):
    """Also where the campaign has not learnt of the correction yet."""
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [copper(wrong, 0, WRONG_EV)])
    report = import_to_train(files, [copper(right, 0, RIGHT_EV)], replacing=True, train=False)
    assert report.import_id is not None
    with LabelCache(files.label_cache) as cache:
        assert withdraw_import(files, cache, report.import_id).trained_on == 1
    assert trained_on(files) == []


def without_stress(atoms: Atoms) -> Atoms:
    del atoms.calc.results["stress"]  # type: ignore[union-attr]
    return atoms


def test_files_of_one_command_are_trained_on_with_the_corrected_label_alone(
    tmp_path: Path,
):
    """As `entrove import wrong.xyz right.xyz --train --replace` does."""
    files = Workspace(tmp_path)
    labelled: list[Atoms] = []
    with LabelCache(files.label_cache) as cache:
        for name, atoms in (("a", copper(5, 0, WRONG_EV)), ("b", copper(8, 0, RIGHT_EV))):
            write_frames(tmp_path / f"{name}.xyz", [atoms])
            import_labels(
                tmp_path / f"{name}.xyz",
                LEVEL,
                cache,
                replacing=True,
                on_label=lambda atoms, label: labelled.append(to_train_on(atoms, label)),
            )
        assert enter_imported(files, labelled, cache) == (1, 0)
    assert written(files) == [(key_of(copper(8, 0, RIGHT_EV)), RIGHT_EV)]


def test_a_later_frame_that_adds_the_stress_is_trained_on_alone(tmp_path: Path):
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [without_stress(copper(5, 0, RIGHT_EV)), copper(8, 0, RIGHT_EV)])
    [atoms] = files.training_labels()
    assert has_stress(atoms)


def test_a_label_without_moments_is_corrected_by_one_that_says_them(tmp_path: Path):
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [copper(8, 0, WRONG_EV)])
    right = [copper(5, 0, RIGHT_EV, 2.0)]
    import_to_train(files, right, replacing=True, train=False)
    import_to_train(files, right, replacing=True)
    assert trained_on(files) == [RIGHT_EV]


@pytest.mark.parametrize("moment", [None, 2.0])
def test_labels_that_the_cache_has_not_got_are_kept(tmp_path: Path, moment: float | None):
    """The cache was lost, or the campaign goes on with another one."""
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [copper(5, seed, WRONG_EV) for seed in range(2)])
    files.label_cache.unlink()
    import_to_train(files, [copper(8, 7, -14.0, moment)])
    assert trained_on(files) == [WRONG_EV, WRONG_EV, -14.0]
    # Another state of the first one; it corrects nothing that this cache ever knew.
    import_to_train(files, [copper(8, 0, -16.0, 3.0)])
    assert trained_on(files) == [WRONG_EV, WRONG_EV, -14.0, -16.0]


def test_a_correction_leaves_the_other_magnetic_state_in_training(tmp_path: Path):
    files = Workspace(tmp_path / "campaign")
    import_to_train(files, [copper(8, 0, WRONG_EV, 0.0), copper(8, 0, -14.0, 2.0)])
    import_to_train(files, [copper(5, 0, RIGHT_EV, 0.0)], replacing=True)
    assert sorted(trained_on(files)) == [-14.0, RIGHT_EV]


def ours(structures: list[Atoms], decimals: int, shift_eV: float) -> list[Atoms]:
    """Labels of a campaign's structures from elsewhere."""
    frames = []
    for structure in structures:
        atoms = structure.copy()
        atoms.positions = atoms.positions.round(decimals)
        atoms.calc = EMT()
        energy_eV = atoms.get_potential_energy() + shift_eV
        frames.append(attach_results(atoms, energy_eV, atoms.get_forces(), atoms.get_stress()))
    return frames


def run_to_picks(bench: Bench, **changes: dict[str, Any]) -> list[Atoms]:
    """Run a campaign until it would compute the first pick; returns what it has picked."""
    files = bench.files

    def stop(_: str) -> None:
        if files.round(1).selected.exists():
            raise KeyboardInterrupt

    bench.on_attempt = stop
    with pytest.raises(KeyboardInterrupt):
        bench.run(**changes)
    bench.on_attempt = lambda _: None
    return [copy_structure(atoms) for atoms in read_structures(files.round(1).selected)]


def interrupt_training(bench: Bench, **changes: dict[str, Any]) -> None:
    """Run a campaign until a training begins."""

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    bench.on_train = stop
    with pytest.raises(KeyboardInterrupt):
        bench.run(**changes)
    bench.on_train = lambda _: None


def errors_eV(structures: list[Atoms]) -> list[float]:
    """Errors of labels, whose engine is EMT."""
    found = []
    for atoms in structures:
        exact = copy_structure(atoms)
        exact.calc = EMT()
        found.append(atoms.get_potential_energy() - exact.get_potential_energy())
    return found


@pytest.mark.parametrize(("train", "decimals"), [(True, 7), (False, 5), (False, 7)])
def test_picks_with_a_wrong_imported_label_are_trained_on_with_the_corrected_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, train: bool, decimals: int
):
    """The campaign has learnt the wrong one for them, as labels of its own picks."""
    bench: Bench = make_bench(tmp_path, monkeypatch)
    files = bench.files
    picked = run_to_picks(bench, stopping={"rounds": 1})
    wrong, right = ours(picked, 5, 0.05), ours(picked, decimals, 0.0)
    import_to_train(files, wrong, train=False)
    bench.run(stopping={"rounds": 1})
    count = len(picked)
    assert bench.trained_on == [count]
    assert import_to_train(files, right, replacing=True, train=train).replaced == count
    computed = len(bench.computed)
    for _ in range(2):  # and not once more
        bench.run(stopping={"rounds": 1})
        assert bench.trained_on == [count] * 2
        assert sorted(trained_on(files)) == pytest.approx(
            sorted(atoms.get_potential_energy() for atoms in right), abs=1e-5
        )
    assert len(bench.computed) == computed


@pytest.mark.parametrize(("decimals", "of_picks"), [*product((5, 7), (2, 3))])
def test_a_round_whose_training_was_interrupted_learns_the_corrected_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decimals: int, of_picks: int
):
    bench: Bench = make_bench(tmp_path, monkeypatch)
    picked = run_to_picks(bench, stopping={"rounds": 2})
    wrong = picked[:of_picks]
    import_to_train(bench.files, ours(wrong, 5, 0.05), train=False)
    interrupt_training(bench, stopping={"rounds": 2})
    import_to_train(bench.files, ours(wrong, decimals, 0.0), replacing=True, train=False)
    computed = len(bench.computed)
    interrupt_training(bench, stopping={"rounds": 2})
    assert len(bench.computed) == computed
    assert errors_eV(bench.files.training_labels()) == pytest.approx([0.0] * 3, abs=1e-3)
    bench.run(stopping={"rounds": 2})
    assert bench.trained_on == [3, 6]
    assert all(atoms.info[provenance.ROUND] == 1 for atoms in bench.files.computed_labels(2))


@pytest.mark.parametrize("decimals", [5, 7])
def test_the_next_round_explores_and_selects_with_the_corrected_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decimals: int
):
    bench: Bench = make_bench(tmp_path, monkeypatch)
    picked = run_to_picks(bench, stopping={"rounds": 1})
    import_to_train(bench.files, ours(picked, 5, 0.05), train=False)
    bench.run(stopping={"rounds": 1})
    import_to_train(bench.files, ours(picked, decimals, 0.0), replacing=True, train=False)
    seen: list[list[Atoms]] = []

    def watch(campaign: CheckedCampaign, *arguments: Any, **keywords: Any) -> Any:
        seen.append(campaign.workspace.training_labels())
        return shared_dataset(campaign, *arguments, **keywords)

    for stage in ("explore", "select"):
        monkeypatch.setattr(f"entrove.campaign.stages.{stage}.shared_dataset", watch)
    bench.run(stopping={"rounds": 2})
    assert len(seen) >= 2
    for labels in seen:
        assert errors_eV(labels) == pytest.approx([0.0] * len(picked), abs=1e-3)


@pytest.mark.parametrize("of_picks", [2, 3])
def test_a_round_whose_training_was_interrupted_computes_picks_whose_import_was_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_picks: int
):
    bench: Bench = make_bench(tmp_path, monkeypatch)
    picked = run_to_picks(bench, stopping={"rounds": 2})
    report = import_to_train(bench.files, ours(picked[:of_picks], 5, 0.05), train=False)
    interrupt_training(bench, stopping={"rounds": 2})
    assert report.import_id is not None
    with LabelCache(bench.files.label_cache) as cache:
        assert withdraw_import(bench.files, cache, report.import_id).trained_on == of_picks
    bench.run(stopping={"rounds": 2})
    assert bench.trained_on == [3, 6]
    assert errors_eV(bench.files.training_labels()) == pytest.approx([0.0] * 6, abs=1e-3)
    bench.run(stopping={"rounds": 2})  # and nothing once more
    assert bench.trained_on == [3, 6]


@pytest.mark.parametrize("is_open", [True, False])
def test_an_earlier_model_that_has_learnt_a_withdrawn_import_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_open: bool
):
    """Whether the next round is open, or begins after it."""
    bench: Bench = make_bench(tmp_path, monkeypatch)
    picked = run_to_picks(bench, stopping={"rounds": 1})
    report = import_to_train(bench.files, ours(picked, 5, 0.05), train=False)
    bench.run(stopping={"rounds": 1})
    assert Ledger(bench.files.ledger).each(Validated)[1].accepted
    if is_open:
        interrupt_training(bench, stopping={"rounds": 2})
    assert report.import_id is not None
    with LabelCache(bench.files.label_cache) as cache:
        withdraw_import(bench.files, cache, report.import_id)
    bench.run(stopping={"rounds": 2})
    assert bench.trained_on == [3, 6]
    assert not Ledger(bench.files.ledger).each(Validated)[1].accepted
    results = read_results(bench.files.folder)
    assert results.best_round != 1
    assert not results.imports_wait


@pytest.mark.parametrize(("decimals", "moment"), [(7, None), (5, 2.0)])
def test_wrong_labels_of_the_validation_set_are_corrected_and_models_validated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decimals: int, moment: float | None
):
    """Where it says magnetic moments, the structures, which say none, are computed."""
    bench: Bench = make_bench(tmp_path, monkeypatch)
    files = bench.files

    def stop(_: str) -> None:
        if files.round(0).hold_out.exists():
            raise KeyboardInterrupt

    bench.on_attempt = stop
    with pytest.raises(KeyboardInterrupt):
        bench.run(stopping={"rounds": 1})
    bench.on_attempt = lambda _: None
    held_out = [copy_structure(atoms) for atoms in read_structures(files.round(0).hold_out)]
    wrong_eV = 0.05
    import_to_train(files, ours(held_out, 5, wrong_eV), train=False)
    bench.run(stopping={"rounds": 1})
    count, computed = len(held_out), len(bench.computed)
    assert errors_eV(files.held_out_labels()) == pytest.approx([wrong_eV] * count, abs=1e-3)
    judged = Ledger(files.ledger).each(Validated)
    right = ours(held_out, decimals, 0.0)
    if moment is not None:
        computed += count
        for atoms in right:
            atoms.calc.results["magmoms"] = np.full(len(atoms), moment)  # type: ignore[union-attr]
    import_to_train(files, right, replacing=True, train=False)
    with LabelCache(files.label_cache) as cache:
        assert corrected_held_out(files, cache) == count
    bench.run(stopping={"rounds": 1})
    assert errors_eV(files.held_out_labels()) == pytest.approx([0.0] * count, abs=1e-3)
    again = Ledger(files.ledger).each(Validated)
    assert judged.keys() == again.keys()
    assert all(judged[index].table != again[index].table for index in judged)
    # And once only; nothing else was computed or trained for it.
    bench.run(stopping={"rounds": 1})
    assert Ledger(files.ledger).each(Validated) == again
    with LabelCache(files.label_cache) as cache:
        assert corrected_held_out(files, cache) == 0
    assert len(bench.computed) == computed
    assert len(bench.trained_on) == 1
    # No imported label has become one that was computed, which nothing corrects.
    with closing(sqlite3.connect(files.label_cache)) as database:
        [(taken_for_computed,)] = database.execute(
            "SELECT count(*) FROM labels WHERE engine || ' ' || engine_version LIKE "
            "'%imported from%' AND import_id IS NULL"
        )
    assert not taken_for_computed
