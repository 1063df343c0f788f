import io
import json
import os
from pathlib import Path

import pytest
from ase.calculators.emt import EMT
from ase.io import write
from command_line import Command
from label_campaign import copper, make_campaign, store
from rich.console import Console

from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.journal.outcomes import Labelled, LabelRow
from entrove.cli.labels import list_imports, list_labels
from entrove.errors import CampaignError
from entrove.labelling.labels import Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.labelling.store.moments import short_key
from entrove.structures import content_hash, write_structures
from unchanged import unchanged


def listing(folder: Path, *, retry: bool = False, width: int = 100) -> str:
    output = io.StringIO()
    list_labels(folder, retry=retry, console=Console(file=output, width=width))
    return output.getvalue()


def failed(path: Path) -> set[str]:
    with LabelCache(path) as cache:
        return {
            state.structure_hash
            for state in cache.states()
            if state.outcome is not Outcome.CONVERGED
        }


def test_labels_are_found_by_every_path_to_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config, workspace = make_campaign(tmp_path / "campaign")
    store(config, workspace.label_cache, workspace.label_work, 0, Outcome.CONVERGED)
    attempt = store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED)
    (tmp_path / "link").symlink_to(workspace.folder)
    monkeypatch.chdir(workspace.label_work)
    paths = (workspace.folder, tmp_path / "link", Path(os.path.relpath(workspace.folder)))
    for path in paths:
        text = listing(path)
        assert "2 labels, 1 in quarantine" in text
        assert f"{content_hash(copper(1))[:10]} in quarantine: {attempt}\n" in text
    monkeypatch.chdir(tmp_path)
    moved = workspace.folder.rename(tmp_path / "moved")
    assert f"in quarantine: {moved / attempt.relative_to(workspace.folder)}\n" in listing(moved)
    assert "released 1 labels" in listing(moved, retry=True)
    assert not failed(moved / "labels.sqlite")
    assert [path.name for path in moved.glob("labels/*/*/released-*")] == ["released-1-attempt-1"]


def test_finished_labels_that_the_cache_has_lost_are_not_called_unfinished(tmp_path: Path):
    config, workspace = make_campaign(tmp_path / "campaign")
    for seed in range(2):
        store(config, workspace.label_cache, workspace.label_work, seed, Outcome.CONVERGED)
    finished = LabelRow(
        *("training", 1, content_hash(copper(0)), "fcc", "md", "entropy_md", 0.0, 900.0, None),
        *(str(Outcome.CONVERGED), "", 1.0, False),
    )
    Ledger(workspace.ledger).enter(1, Labelled(summary="1 label", labels=(finished,)), 1.0)
    write_structures(workspace.dataset, [copper(0)])
    assert "2 labels, 0 in quarantine" in listing(workspace.folder)
    workspace.label_cache.unlink()
    text = " ".join(listing(workspace.folder, width=300).split())
    assert text.count("unfinished") == 1
    assert f"{short_key(content_hash(copper(1)))} unfinished" in text
    assert f"1 finished labels are missing in {workspace.label_cache}" in text


def test_a_released_label_that_is_tried_again_is_unfinished_and_not_lost(tmp_path: Path):
    config, workspace = make_campaign(tmp_path / "campaign")
    attempt = store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED)
    crashed = LabelRow(
        *("training", 1, content_hash(copper(1)), "fcc", "md", "entropy_md", 0.0, 900.0, None),
        *(str(Outcome.CRASHED), "", 1.0, False),
    )
    Ledger(workspace.ledger).enter(1, Labelled(summary="1 label", labels=(crashed,)), 1.0)
    listing(workspace.folder, retry=True)
    attempt.mkdir(parents=True)  # the next run has begun
    text = " ".join(listing(workspace.folder, width=300).split())
    assert f"{short_key(content_hash(copper(1)))} unfinished" in text
    assert "missing" not in text


@pytest.mark.parametrize(
    "options",
    [("--imports", "--retry"), ("--withdraw", "1", "--retry"), ("--imports", "--withdraw", "1")],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, options, entrove: Command):
    config, workspace = make_campaign(tmp_path / "campaign")
    store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED)
    code, output, errors = entrove("labels", workspace.folder, *options)
    assert (code, output) == (2, "")
    assert "give one of --retry, --imports and --withdraw" in errors
    assert failed(workspace.label_cache) == {content_hash(copper(1))}


def test_labels_and_imports_are_listed_in_a_folder_that_may_not_be_written(tmp_path: Path):
    config, workspace = make_campaign(tmp_path / "campaign")
    store(config, workspace.label_cache, workspace.label_work, 0, Outcome.CONVERGED)
    store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED)
    console = Console(file=io.StringIO())
    with unchanged(workspace.folder):
        assert "2 labels, 1 in quarantine" in listing(workspace.folder)
        list_imports(workspace.folder, console)


@pytest.mark.parametrize("width", [40, 200])
def test_a_cause_with_brackets_is_printed_as_it_is(tmp_path: Path, width: int):
    config, workspace = make_campaign(tmp_path / "campaign")
    store(config, workspace.label_cache, workspace.label_work, 0, Outcome.CONVERGED)
    cause = "[/scratch/job] [red] is full"
    with LabelCache(workspace.label_cache) as cache:
        [state] = cache.states()
        cache.reject(state.structure_hash, state.level_of_theory, cause)
    assert cause in listing(workspace.folder, width=width)


def test_a_narrow_terminal_has_lines_in_place_of_a_table(tmp_path: Path):
    config, workspace = make_campaign(tmp_path / "campaign")
    store(config, workspace.label_cache, workspace.label_work, 0, Outcome.CONVERGED)
    store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED)
    lines = listing(workspace.folder, width=40).splitlines()
    listed = lines[: next(i for i, line in enumerate(lines) if "in quarantine" in line)]
    assert max(map(len, listed)) <= 40
    for seed, outcome in ((0, Outcome.CONVERGED), (1, Outcome.CRASHED)):
        place = listed.index(f"{content_hash(copper(seed))[:10]} Cu4")
        assert listed[place + 1].startswith(f"  {outcome}, ")


@pytest.mark.parametrize("name", ["dataset.xyz", "validation.xyz", "test.xyz"])
def test_labels_are_listed_and_released_beside_a_damaged_file(
    tmp_path: Path, name: str, entrove: Command
):
    config, workspace = make_campaign(tmp_path / "campaign")
    store(config, workspace.label_cache, workspace.label_work, 0, Outcome.CONVERGED)
    store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED)
    path = workspace.folder / name
    write_structures(path, [copper(0)])
    path.write_text(path.read_text()[:-40])
    assert "2 labels, 1 in quarantine" in listing(workspace.folder)
    code, output, errors = entrove("labels", workspace.folder, "--json")
    assert (code, errors, len(json.loads(output)["labels"])) == (0, "", 2)
    assert "released 1 labels" in listing(workspace.folder, retry=True)


def test_a_failed_label_of_another_campaign_is_listed_and_released(tmp_path: Path):
    config, _ = make_campaign(tmp_path / "campaign", cache=tmp_path / "shared.sqlite")
    theirs = store(
        config, tmp_path / "shared.sqlite", tmp_path / "theirs", 1, Outcome.NOT_CONVERGED
    )
    # A structure that this campaign never asked for.
    store(config, tmp_path / "shared.sqlite", tmp_path / "theirs", 9, Outcome.NOT_CONVERGED)
    text = listing(tmp_path / "campaign")
    assert "1 labels, 1 in quarantine" in text
    assert str(theirs) in text.replace("\n", "")
    assert "released 1 labels" in listing(tmp_path / "campaign", retry=True)
    assert failed(tmp_path / "shared.sqlite") == {content_hash(copper(9))}


@pytest.mark.parametrize("moments", [None, [1.0, 1.0, -1.0, -1.0]])
def test_a_failure_with_an_imported_label_is_not_in_quarantine(tmp_path: Path, moments):
    """Until the import is withdrawn: then it is listed, and released, as before."""
    config, workspace = make_campaign(tmp_path / "campaign")
    atoms, level = copper(1), LevelOfTheory.of(config.labelling.engine)
    store(config, workspace.label_cache, workspace.label_work, 0, Outcome.CRASHED)
    store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED, moments=moments)
    assert "2 labels, 2 in quarantine" in listing(workspace.folder)
    atoms.calc = EMT()
    atoms.get_stress()
    write(tmp_path / "labels.xyz", atoms)
    with LabelCache(workspace.label_cache) as cache:
        report = import_labels(tmp_path / "labels.xyz", level, cache)
    text = listing(workspace.folder)
    assert "2 labels, 1 in quarantine" in text
    assert "unfinished" not in text
    assert "released 1 labels" in listing(workspace.folder, retry=True)
    with LabelCache(workspace.label_cache) as cache:
        cache.withdraw_import(report.import_id)
    assert "1 labels, 1 in quarantine" in listing(workspace.folder)
    assert "released 1 labels" in listing(workspace.folder, retry=True)


def test_picks_and_validation_structures_are_released(tmp_path: Path):
    config, workspace = make_campaign(tmp_path / "campaign")
    for seed in (1, 2):
        store(config, workspace.label_cache, workspace.label_work, seed, Outcome.TIMED_OUT)
    assert "released 2 labels" in listing(workspace.folder, retry=True)
    assert not failed(workspace.label_cache)


def test_nothing_is_released_while_the_campaign_runs(tmp_path: Path):
    config, workspace = make_campaign(tmp_path / "campaign")
    store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED)
    with (
        hold_campaign(workspace.folder),
        pytest.raises(CampaignError, match="this campaign is running already"),
    ):
        listing(workspace.folder, retry=True)
    assert failed(workspace.label_cache) == {content_hash(copper(1))}
