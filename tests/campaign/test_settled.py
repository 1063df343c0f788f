import json
import shutil

import pytest
import yaml
from ase.build import bulk

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.reference import write_reference_page
from entrove.campaign.configuration.settled import (
    as_started,
    find_changes,
    read_settled,
    require_allowed,
    settle_config,
    with_settled_version,
)
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.labelling.level_of_theory import LevelOfTheory, claim_folder
from entrove.provenance import LEVEL_OF_THEORY
from entrove.structures import write_structures

GIVEN = {"name": "silicon", "seeds": [{"phase": "diamond", "file": "diamond.xyz"}]}


def config(**changes) -> CampaignConfig:
    return CampaignConfig.model_validate(GIVEN | changes)


def test_what_is_written_is_what_was_resolved(tmp_path):
    settle_config(tmp_path / "config.yaml", config())
    text = (tmp_path / "config.yaml").read_text()
    assert CampaignConfig.model_validate(yaml.safe_load(text)) == config()


def test_a_campaign_keeps_its_settings(tmp_path):
    settle_config(tmp_path / "config.yaml", config())
    with pytest.raises(
        CampaignError, match=r"random_seed: 1 before, 2 now\); put the old values back"
    ):
        settle_config(tmp_path / "config.yaml", config(random_seed=2))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["random_seed"] == 1


def test_keys_that_a_later_version_added_have_their_defaults(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    stored = yaml.safe_load(path.read_text())
    del stored["selection"]["storage"], stored["training"]["loss"], stored["labelling"]["outliers"]
    path.write_text(yaml.safe_dump(stored))
    assert read_settled(path) == config()
    settle_config(path, config())
    assert yaml.safe_load(path.read_text())["selection"]["storage"] == config().selection.storage
    del stored["random_seed"]
    path.write_text(yaml.safe_dump(stored))
    with pytest.raises(CampaignError, match=r"random_seed: 1 before, 2 now"):
        settle_config(path, config(random_seed=2))


def test_a_key_of_a_later_version_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    path.write_text(path.read_text() + "teleport: true\n")
    with pytest.raises(CampaignError, match=r"teleport: .*; use the version that started it"):
        settle_config(path, config())


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a: 1\nseeds: [1, 2\nb: {", "line 3 is not valid YAML"),
        (b"a: 1\n\tb: 2\n", "line 2 is not valid YAML"),
        (b"name: \x00\x00", "it is no text"),
        (b"name: \xff", "it is no text"),
        (b"", "it is empty"),
        (b"garbage", "it has no keys"),
    ],
)
@pytest.mark.parametrize("read", [read_settled, lambda path: as_started(path, config())])
def test_a_damaged_file_is_no_other_version(tmp_path, content, what, read):
    """In one line: a parser says several, which name no remedy."""
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(CampaignError, match=rf"damaged \({what}\); restore it") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_where_and_how_long_may_change(tmp_path):
    settle_config(tmp_path / "config.yaml", config())
    more = config(stopping={"rounds": 9}, labelling={"executor": {"name": "local", "workers": 8}})
    settle_config(tmp_path / "config.yaml", more)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["stopping"]["rounds"] == 9


def test_a_key_that_a_later_version_added_is_no_change(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    before = yaml.safe_load(path.read_text())
    del before["selection"]["admissions_per_label"]
    path.write_text(yaml.safe_dump(before))
    with pytest.raises(CampaignError, match=r"admissions_per_label: 2.0 before, 5.0 now"):
        settle_config(path, config(selection={"admissions_per_label": 5}))
    settle_config(path, config())
    assert yaml.safe_load(path.read_text())["selection"]["admissions_per_label"] == 2


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        ({"training": {"epochs": 7}}, "train"),
        ({"selection": {"count": 5}}, "select"),
        ({"selection": {"phase_share": 0.0}}, "select"),
        ({"regime": {"temperatures_K": [500.0]}}, "explore"),
        ({"training": {"executor": {"name": "slurm", "partition": "gpu"}}}, None),
        ({"sampling": {"executor": {"name": "slurm", "partition": "gpu"}}}, None),
        ({"sampling": {"chunks": 3}}, "explore"),
        ({"sampling": {"biases": [{"entropy": "none"}]}}, "explore"),
        ({"labelling": {"time_limit_s": 60.0}}, None),
        ({"stopping": {"rounds": 9}}, None),
    ],
)
def test_what_the_next_stages_can_take_is_taken(tmp_path, change, stage):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    found = find_changes(path, config(**change))
    assert found
    assert {(one.allowed, one.stage) for one in found} == {(True, stage)}
    settle_config(path, config(**change))
    assert read_settled(path) == config(**change)
    assert find_changes(path, config(**change)) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"regime": {"pressures_GPa": [0.0, 5.0]}}, "phases were relaxed at the start"),
        ({"sampling": {"hold_out": {"md_steps": 20}}}, "validation set was made at the start"),
        ({"sampling": {"anchors": {"md_steps": 20}}}, "anchors were made at the start"),
        ({"labelling": {"engine": {"name": "gpaw", "cutoff_eV": 555.0}}}, "two levels of theory"),
        ({"seeds": [{"phase": "new", "file": "new.xyz"}]}, "phases were relaxed at the start"),
        ({"model": {"name": "7net-l3i5"}}, "put the old values back"),
    ],
)
def test_what_would_contradict_earlier_results_is_refused_with_the_reason(
    tmp_path, change, reason
):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    before = path.read_text()
    with pytest.raises(CampaignError, match=rf"before, .* now.*{reason}.*What may change: stop"):
        settle_config(path, config(**change))
    assert path.read_text() == before


def taught_by(model) -> CampaignConfig:
    return config(labelling={"engine": {"name": "mlip", "model": str(model)}})


@pytest.mark.parametrize("labelled", [True, False])
def test_a_campaign_with_a_teacher_of_its_own_can_be_moved(tmp_path, labelled):
    """The level of theory has the content of the weights, not their path."""
    (tmp_path / "old/campaign").mkdir(parents=True)
    (tmp_path / "old/teacher.pth").write_bytes(b"weights")
    there = taught_by(tmp_path / "old/teacher.pth")
    settle_config(Workspace(tmp_path / "old/campaign").config, there)
    if labelled:
        level = LevelOfTheory.of(there.labelling.engine)
        Workspace(tmp_path / "old/campaign").label_work.mkdir()
        claim_folder(Workspace(tmp_path / "old/campaign").label_work, level)
    (tmp_path / "old").rename(tmp_path / "new")
    here = taught_by(tmp_path / "new/teacher.pth")
    moved = Workspace(tmp_path / "new/campaign").config
    assert [change for change in find_changes(moved, here) if not change.allowed] == []
    settle_config(moved, here)
    assert read_settled(moved) == here


def test_other_weights_of_the_same_name_are_another_level_of_theory(tmp_path):
    files = Workspace(tmp_path / "campaign")
    files.label_work.mkdir(parents=True)
    for place in ("old", "new"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "teacher.pth").write_text(f"{place} weights")
    there = taught_by(tmp_path / "old/teacher.pth")
    settle_config(files.config, there)
    claim_folder(files.label_work, LevelOfTheory.of(there.labelling.engine))
    label = bulk("Cu")
    label.info[LEVEL_OF_THEORY] = LevelOfTheory.of(there.labelling.engine).hash
    write_structures(files.validation, [label])
    for other in (tmp_path / "new/teacher.pth", "7net-l3i5"):
        with pytest.raises(CampaignError, match=r"engine\.model: .*two levels of theory"):
            settle_config(files.config, taught_by(other))
    shutil.rmtree(files.label_work)  # the labels themselves say it, too
    with pytest.raises(CampaignError, match=r"engine\.model: .*two levels of theory"):
        settle_config(files.config, taught_by(tmp_path / "new/teacher.pth"))


def test_other_weights_under_the_same_path_are_refused_before_anything_runs(tmp_path):
    files, teacher = Workspace(tmp_path / "campaign"), tmp_path / "teacher.pth"
    files.label_work.mkdir(parents=True)
    teacher.write_text("weights")
    settle_config(files.config, taught_by(teacher))
    claim_folder(files.label_work, LevelOfTheory.of(taught_by(teacher).labelling.engine))
    settle_config(files.config, taught_by(teacher))
    teacher.write_text("other weights")
    with pytest.raises(CampaignError, match=r"engine\.model: .*put the old file back"):
        require_allowed(files.config, taught_by(teacher))


def test_a_teacher_that_was_recorded_by_its_path_is_refused_before_anything_runs(tmp_path):
    """Earlier versions did so where the path has an at sign; labels say the content today."""
    files, teacher = Workspace(tmp_path / "campaign"), tmp_path / "x@y" / "teacher.pth"
    teacher.parent.mkdir()
    teacher.write_text("weights")
    files.label_work.mkdir(parents=True)
    settle_config(files.config, taught_by(teacher))
    settings = {"model": str(teacher), "name": "mlip"}
    by_path = LevelOfTheory("mlip", json.dumps(settings, separators=(",", ":")))
    claim_folder(files.label_work, by_path)
    with pytest.raises(CampaignError, match=r"at sign.* choose another folder with --folder"):
        require_allowed(files.config, taught_by(teacher))


def test_a_campaign_with_a_barostat_of_an_earlier_version_is_read(tmp_path):
    """New ones refuse a period that their steps cannot follow; this one has what it began with."""
    short = {"ensemble": "npt", "barostat_time_fs": 30, "timestep_fs": 2}
    settle_config(tmp_path / "config.yaml", config(sampling=short))
    assert read_settled(tmp_path / "config.yaml") == config(sampling=short)


def test_a_stage_that_was_interrupted_keeps_its_values(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    unfinished = {"train": tmp_path / "round-02" / "training"}
    with pytest.raises(CampaignError, match=r"epochs: .* until it is finished, or remove .*-02"):
        settle_config(path, config(training={"epochs": 7}), unfinished)
    settle_config(path, config(selection={"count": 7}), unfinished)
    # Where it continues is free.
    settle_config(path, config(training={"executor": {"name": "slurm"}}), unfinished)


@pytest.mark.parametrize(
    "changed",
    [{"count": 7}, {"least_gain": 0.1}, {"duplicate_tolerance": 0.5}, {"storage": "float32"}],
)
def test_an_interrupted_exploration_keeps_what_its_admissions_depend_on(tmp_path, changed):
    """The selection of its round takes the new value once it has ended."""

    def selecting(**selection) -> CampaignConfig:
        return config(entropy={"kind": "information"}, selection=selection)

    path, name = tmp_path / "config.yaml", next(iter(changed))
    settle_config(path, selecting())
    unfinished = {"explore": tmp_path / "walkers.pt"}
    with pytest.raises(
        CampaignError, match=rf"'explore' was interrupted .*selection.{name}: .* remove .*walkers"
    ):
        settle_config(path, selecting(**changed), unfinished)
    settle_config(path, selecting(phase_share=0.0), unfinished)
    settle_config(path, selecting(**changed))
    assert read_settled(path) == selecting(**changed)


@pytest.mark.parametrize(
    "changes",
    [
        {"stopping": {"least_predicted_improvement": 0.1}},
        {"stopping": {"least_gain_nats": 0.1, "least_improvement": 0.1}},
        {"selection": {"quotas": {"ordered": 0.5}, "rank_by": "gain_per_second"}},
        {"selection": {"objective": "information", "least_gain": 0.1}},
        {"entropy": {"kind": "paper"}, "selection": {"least_gain": 0.1}},
    ],
    ids=str,
)
def test_a_control_arm_reads_its_own_configuration(tmp_path, changes):
    path = tmp_path / "config.yaml"
    control = config(control="random_md", **changes).resolve_control()
    settle_config(path, control)
    assert read_settled(path) == as_started(path, control) == control
    assert find_changes(path, control) == []


def test_a_control_arm_that_was_stored_with_a_stop_of_gains_goes_on_without_it(tmp_path):
    path = tmp_path / "config.yaml"
    control = config(control="random_md").resolve_control()
    settle_config(path, control)
    stored = yaml.safe_load(path.read_text())
    stored["stopping"]["least_predicted_improvement"] = 0.1
    path.write_text(yaml.safe_dump(stored))
    assert read_settled(path) == control
    settle_config(path, control)
    assert yaml.safe_load(path.read_text())["stopping"]["least_predicted_improvement"] is None


def test_a_campaign_from_before_phases_had_places_learns_of_them(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    stored = yaml.safe_load(path.read_text())
    del stored["selection"]["phase_share"]
    path.write_text(yaml.safe_dump(stored))
    [change] = find_changes(path, config())
    assert str(change) == "selection.phase_share: 0.0 before, 0.75 now"
    settle_config(path, config())


def test_the_reference_page_is_up_to_date():
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text() == write_reference_page(CampaignConfig), "run `make docs`"


def test_every_key_of_the_reference_has_a_meaning():
    for line in write_reference_page(CampaignConfig).splitlines():
        if line.startswith("| `") and not line.startswith("| `name`"):
            assert line.rstrip(" |").count("|") >= 4, line


def test_a_campaign_from_before_versions_counted_goes_on_without_one(tmp_path):
    def with_version(version: str) -> CampaignConfig:
        engine = {"name": "ase", "calculator": "a:B", "program_version": version}
        return config(labelling={"engine": engine})

    path = tmp_path / "config.yaml"
    assert with_settled_version(with_version("2"), path) == with_version("2")  # a new campaign
    settle_config(path, with_version(""))
    stored = yaml.safe_load(path.read_text())
    del stored["labelling"]["engine"]["program_version"]  # as release 0.1 wrote it
    path.write_text(yaml.safe_dump(stored))
    resolved = with_settled_version(with_version("2"), path)
    assert resolved == with_version("")
    settle_config(path, resolved)
    # One that has a version keeps it, and another one is refused.
    other = tmp_path / "other.yaml"
    settle_config(other, with_version("1"))
    newer = with_settled_version(with_version("2"), other)
    with pytest.raises(CampaignError, match=r"program_version: '1' before, '2' now"):
        settle_config(other, newer)
