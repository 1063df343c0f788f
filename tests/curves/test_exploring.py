"""An exploration is run again when something changes that it depends on, and only then."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.build import bulk
from ase.io import write

from cheap_campaign import SETTINGS, make_bench
from entrove.campaign.configuration.check import CheckedCampaign, read_campaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.models import CampaignModels
from entrove.curves import exploring
from entrove.curves.config import StudyConfig
from entrove.curves.exploring import NOT_EXPLORED_WITH, Explorer, exploration_key
from entrove.curves.hashing import digest, hashes_of_modules
from entrove.errors import ConfigError
from entrove.selection.config import SelectionConfig

SEEDS = [bulk("Cu", cubic=True)]
FILTERS = {"least_gain": 0.1, "duplicate_tolerance": 0.2, "storage": "float32"}


def config(**changes: Any) -> CampaignConfig:
    given = {"seeds": [{"phase": "fcc", "file": "fcc.xyz"}], "entropy": {"kind": "information"}}
    return CampaignConfig.model_validate({"name": "copper", **given, **changes})


def key(changed: CampaignConfig, folder: Path = Path(), *, walkers: bool = True) -> str:
    return exploration_key(folder / "campaign.yaml", changed, SEEDS, walkers=walkers)


def test_keys_of_a_named_model_with_the_usual_filters_stay_what_they_were():
    """They are in the names of the folders of studies that are finished."""
    usual = config()
    selection = usual.selection
    assert key(usual) == digest(
        usual.model_dump(mode="json", exclude=NOT_EXPLORED_WITH),
        selection.admissions_per_label * selection.count,
        usual.sampling.independent_per_label * selection.count,
        SEEDS,
    )
    given = {name: SelectionConfig.model_fields[name].default for name in FILTERS}
    assert key(config(selection=given)) == key(usual)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_of_admissions_change_what_walkers_explore_and_no_anchors(name: str):
    changed = config(selection={name: FILTERS[name]})
    assert key(changed) != key(config())
    assert key(changed, walkers=False) == key(config(), walkers=False)


@pytest.mark.parametrize("explorer", [None, "other.pth", ["model.pth", "other.pth"]])
def test_a_model_of_a_file_counts_by_its_content_where_it_explores(tmp_path: Path, explorer):
    changed = config(model={"name": "model.pth", "explore_with": explorer})
    files = [tmp_path / "model.pth", tmp_path / "other.pth"]
    explores = [explorer is None or isinstance(explorer, list), explorer is not None]
    for file in files:
        file.write_text("before")
    before = key(changed, tmp_path)
    for file, counts in zip(files, explores, strict=True):
        file.write_text("after")
        assert (key(changed, tmp_path) != before) == counts
        file.write_text("before")
    assert key(changed, tmp_path) == before


def test_a_module_of_ones_own_counts_by_its_content(tmp_path: Path, monkeypatch):
    """One of an installed package is known by its version, as a named model is."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "explorer_of_mine.py").write_text("FACTOR = 1\n")
    mine = config(model={"name": "7net-0", "explore_with": "explorer_of_mine:Mine"})
    before = key(mine)
    assert key(mine) == before
    (tmp_path / "explorer_of_mine.py").write_text("FACTOR = 2\n")
    assert key(mine) != before
    assert hashes_of_modules(["7net-0", "ase.calculators.emt:EMT", "nowhere:Mine"]) == []


STUDY = StudyConfig.model_validate(
    {
        "name": "copper",
        "campaign": "campaign.yaml",
        "explorations": {"campaign": {}},
        "arms": {"a": {"exploration": "campaign"}},
        "control": "a",
        "students": {"s": {"base": "7net-0"}},
    }
)


def test_where_a_model_runs_changes_no_exploration(tmp_path: Path, monkeypatch):
    """One that was begun when it counted is found all the same."""
    checked = make_bench(tmp_path, monkeypatch).campaign()
    write(tmp_path / "fcc.xyz", SEEDS[0])
    explored = tmp_path / "explored"

    def explore_nothing(campaign: CheckedCampaign, listener: Silence, **_: Any) -> CampaignRun:
        campaign.workspace.folder.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(tmp_path / "ledger.sqlite")
        return CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), listener)

    def read_only(path: Path, changes: dict[str, Any]) -> CheckedCampaign:
        config, seeds = read_campaign(path, changes=changes)
        return replace(checked, config=config, seeds=seeds)

    def explore(**model: Any) -> list[str]:
        (tmp_path / "campaign.yaml").write_text(yaml.safe_dump({**SETTINGS, "model": model}))
        Explorer(STUDY, checked, explored, Silence()).explore("campaign", 0)
        return sorted(folder.name for folder in explored.iterdir())

    monkeypatch.setattr(exploring, "explore_only", explore_nothing)
    monkeypatch.setattr(exploring, "check_campaign", read_only)
    [first] = explore()
    assert explore(device="cpu", threads=3, verify_batching="fall_back") == [first]
    (explored / first).rmdir()
    given = read_only(tmp_path / "campaign.yaml", {"random_seed": STUDY.random_seed})
    seeds = [seed.atoms for seed in given.seeds]
    before = exploration_key(given.config_path, given.config, seeds, walkers=True)
    begun = f"campaign-0-{before[:10]}"
    assert begun != first
    (explored / begun).mkdir()
    assert explore(device="cpu", threads=3, verify_batching="fall_back") == [begun]


class StopAfter(Silence):
    """Interrupts an exploration after so many steps of its walkers."""

    def __init__(self, steps: int | None = None):
        self.steps = steps
        self.resumed_at: list[int] = []
        self.stage = ""

    def stage_started(self, round_index: int, stage: str, *_: Any) -> None:
        self.stage = stage

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        if self.stage == "explore" and self.steps is not None and done >= self.steps:
            raise KeyboardInterrupt

    def resumed(self, done: int) -> None:
        self.resumed_at.append(done)


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"sampling": {"hold_out": {"md_steps": 8, "md_snapshots": 1}}},
        {"training": {"framework": "nequip"}},
        {"selection": {"count": 6, "admissions_per_label": 1.0}},
        {"selection": {"phase_share": 0.0}, "labelling": {"max_attempts": 3}},
    ],
    ids=str,
)
def test_an_exploration_goes_on_after_changes_that_it_does_not_depend_on(
    changes: dict[str, Any], interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checked = make_bench(tmp_path, monkeypatch).campaign()
    write(tmp_path / "fcc.xyz", SEEDS[0])

    def explore(changes: dict[str, Any], listener: StopAfter):
        settings = {**SETTINGS, "sampling": SETTINGS["sampling"] | {"chunks": 2}}
        for name, values in changes.items():
            is_section = isinstance(values, dict)
            settings[name] = settings.get(name, {}) | values if is_section else values
        (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(settings))
        return Explorer(STUDY, checked, tmp_path / "explored", listener).explore("campaign", 0)

    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            explore({}, StopAfter(12))
    else:
        explore({}, StopAfter())
    folders = list((tmp_path / "explored").iterdir())
    listener = StopAfter()
    found = explore(changes, listener)
    assert list((tmp_path / "explored").iterdir()) == folders
    assert listener.resumed_at == ([8] if interrupted else [])
    # What is picked, labelled and trained follows the new values.
    dumped = found.run.config.model_dump(mode="json")
    for name, values in changes.items():
        if not isinstance(values, dict):
            assert dumped[name] == values
        else:
            for key, value in values.items():
                given = dumped[name][key]
                assert (given if not isinstance(value, dict) else given | value) == given


def test_a_study_refuses_a_barostat_that_steps_cannot_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checked = make_bench(tmp_path, monkeypatch).campaign()
    write(tmp_path / "fcc.xyz", SEEDS[0])
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(SETTINGS))

    def check(**sampling: Any) -> None:
        study = STUDY.model_copy(update={"explorations": {"npt": {"sampling": sampling}}})
        Explorer(study, checked, tmp_path / "explored", Silence()).check()

    check(ensemble="npt")
    check(ensemble="nvt", barostat_time_fs=5)
    with pytest.raises(ConfigError, match=r"^explorations\.npt: .* 5 fs are fewer than 20 time"):
        check(ensemble="npt", barostat_time_fs=5)
    # One that was begun before this was checked goes on.
    (tmp_path / "explored" / "npt-0-0123456789").mkdir(parents=True)
    check(ensemble="npt", barostat_time_fs=5)
