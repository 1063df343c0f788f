"""An exploration is run again when something changes that it depends on, and only then."""

from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk

from entrove.campaign.configuration.config import CampaignConfig
from entrove.curves.exploring import NOT_EXPLORED_WITH, exploration_key
from entrove.curves.hashing import digest
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
