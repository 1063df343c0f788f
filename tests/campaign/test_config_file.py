"""Wrong configurations: each message has file, line, key path, what is allowed and what to do."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.build import bulk, molecule

from entrove.campaign.configuration.changes import with_changes
from entrove.campaign.configuration.check import check_campaign, read_campaign
from entrove.campaign.configuration.check_models import resolve_model
from entrove.campaign.configuration.config import RESERVED_PHASES, CampaignConfig
from entrove.campaign.configuration.config_file import load_yaml, read_config_file
from entrove.campaign.configuration.settled import settle_config
from entrove.campaign.configuration.template import write_starting_point
from entrove.campaign.workspace import Workspace
from entrove.errors import ConfigError, ModelError
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.models.registry import split_modal
from entrove.provenance import IMPORTED
from entrove.structures import read_structures
from entrove.validation.errors_by_kind import ALL

GOOD = """\
name: silicon
seeds:
  - {phase: diamond, file: diamond.xyz}
regime:
  pressures_GPa: [0, 10]
  temperatures_K: [300]
labelling:
  engine:
    name: gpaw
    cutoff_eV: 300
"""

WRONG = {
    "unknown key": (
        "regime:",
        "regimes:",
        r"c\.yaml:4: regimes: unknown key; did you mean 'regime'\? Allowed here: .*seeds",
    ),
    "unknown key inside": (
        "  temperatures_K: [300]",
        "  temperature_K: [300]",
        r"c\.yaml:6: regime\.temperature_K: unknown key; did you mean 'temperatures_K'\?",
    ),
    "unknown key of an engine": (
        "cutoff_eV: 300",
        "cutof_eV: 300",
        r"c\.yaml:10: labelling\.engine\.cutof_eV: unknown key; did you mean 'cutoff_eV'\?",
    ),
    "a key of another section": (
        "  temperatures_K: [300]",
        "  temperatures_K: [300]\n  count: 12",
        r"c\.yaml:7: regime\.count: unknown key; it belongs in selection, not here\. Allowed here",
    ),
    "a key of the top level": (
        "  temperatures_K: [300]",
        "  temperatures_K: [300]\n  random_seed: 12",
        r"regime\.random_seed: unknown key; it belongs in the top level or suite",
    ),
    "a key of no section": (
        "  temperatures_K: [300]",
        "  temperatures_K: [300]\n  brightness: 12",
        r"regime\.brightness: unknown key; remove it",
    ),
    "wrong type": (
        "temperatures_K: [300]",
        "temperatures_K: [hot]",
        r"c\.yaml:6: regime\.temperatures_K\[0\]: got 'hot'; input should be a valid number",
    ),
    "a unit where a number belongs": (
        "cutoff_eV: 300",
        "cutoff_eV: 300 Ry",
        r"c\.yaml:10: labelling\.engine\.cutoff_eV: got '300 Ry'; input should be a valid number",
    ),
    "yes where a number belongs": (
        "cutoff_eV: 300",
        "cutoff_eV: yes",
        r"c\.yaml:10: labelling\.engine\.cutoff_eV: got true; a number belongs here$",
    ),
    "no in a list of numbers": (
        "temperatures_K: [300]",
        "temperatures_K:\n  - 300\n  - no",
        r"c\.yaml:8: regime\.temperatures_K\[1\]: got false; a number belongs here$",
    ),
    "out of range": (
        "temperatures_K: [300]",
        "temperatures_K: [-5]",
        r"c\.yaml:6: regime\.temperatures_K\[0\]: got -5; input should be greater than 0",
    ),
    "missing": ("name: silicon\n", "", r"c\.yaml:1: name: this key is missing; add it"),
    "repeated value": (
        "pressures_GPa: [0, 10]",
        "pressures_GPa: [0, 0]",
        r"c\.yaml:4: regime: pressures_GPa names a value twice",
    ),
    "repeated key": (
        "name: silicon",
        "name: silicon\nname: carbon",
        r"c\.yaml:2: .*the key 'name' is given twice",
    ),
    "unknown engine": (
        "name: gpaw",
        "name: gpau",
        r"c\.yaml:8: labelling\.engine: .*'gpaw'",
    ),
    "not YAML": ("seeds:\n", "seeds: [\n", r"c\.yaml:\d+: not valid YAML"),
    "an entropy that cannot select": (
        "regime:",
        "entropy: {kind: local}\nregime:",
        r"c\.yaml:4: entropy: kind 'local' knows no dataset, so it cannot select; "
        r"give 'information' or 'paper'",
    ),
    "no name where one decides": (
        "    name: gpaw\n",
        "",
        r"c\.yaml:8: labelling\.engine: this section needs a name: "
        r"gpaw, espresso, vasp, cp2k, ase, mlip$",
    ),
    "one value where a list belongs": (
        "pressures_GPa: [0, 10]",
        "pressures_GPa: 5",
        r"c\.yaml:5: regime\.pressures_GPa: got 5; a list belongs here: \[a, b\]$",
    ),
    "one value where a section belongs": (
        "regime:",
        "training: 3\nregime:",
        r"c\.yaml:4: training: got 3; keys and values belong here, indented below this key$",
    ),
    "days in a wall time": (
        "labelling:",
        "labelling:\n  executor: {name: slurm, walltime: 1-00:00:00}",
        r"c\.yaml:8: labelling\.executor\.walltime: got '1-00:00:00'; "
        r"this does not fit: Time limit .* hh:mm:ss",
    ),
    "a wall time without quotes": (
        "labelling:",
        "labelling:\n  executor: {name: slurm, walltime: 12:00:00}",
        r'c\.yaml:8: .*walltime: got 43200; text belongs here; put it in quotes: "12:00:00"$',
    ),
    "a list as a key": (
        "regime:",
        "? [0]\n: 3\nregime:",
        r"c\.yaml:4: not valid YAML: a key must be a plain word",
    ),
    "a number as a key": (
        "regime:",
        "3: x\nregime:",
        r"c\.yaml:4: \[3\]: got 3; a key must be a plain word$",
    ),
    "a blank in a name": (
        "name: silicon",
        "name: my silicon",
        r"c\.yaml:1: name: got 'my silicon'; "
        r"this does not fit: Name of the campaign: letters, digits and",
    ),
    "a phase twice": (
        "diamond.xyz}",
        "diamond.xyz}\n  - {phase: diamond, file: b.xyz}",
        r"c\.yaml:1: seeds: the phase name diamond is used twice",
    ),
    "the phase of total rows": (
        "phase: diamond",
        "phase: all",
        r"c\.yaml:3: seeds\[0\]\.phase: got 'all'; no phase can be called all: .* give it any",
    ),
    "the phase of imported labels": (
        "phase: diamond",
        "phase: imported",
        r"c\.yaml:3: seeds\[0\]\.phase: got 'imported'; no phase can be called imported: ",
    ),
    "a validation set of nothing": (
        "regime:",
        "sampling: {hold_out: {volume_strains: [], shears: [], md_snapshots: 0}}\nregime:",
        r"c\.yaml:4: sampling\.hold_out: the validation set would be empty; "
        r"give volume_strains, shears or md_sn",
    ),
    "the name of a section commented out": (
        "regime:",
        "# regime:",
        r"c\.yaml:5: not valid YAML: the indentation of this line does not fit .*commented out",
    ),
    "the keys of a section commented out": (
        "regime:",
        "selection:\n#  count: 4\nregime:",
        r"c\.yaml:4: selection: got nothing; keys and values belong here, indented below this",
    ),
    "words where a number belongs": (
        "regime:",
        "selection: {count: 4 3}\nregime:",
        r"c\.yaml:4: selection\.count: got '4 3'; a whole number belongs here$",
    ),
    "tabs": (
        "  temperatures_K",
        "\ttemperatures_K",
        r"c\.yaml:6: not valid YAML: a tab stands here; .* replace the tabs by blanks$",
    ),
    "one problem, not a second that follows from it": (
        "temperatures_K: [300]",
        "temperatures_K: [-5]",
        r"^[^\n]*: got -5; input should be greater than 0$",
    ),
    "a number or a word, in one line": (
        "regime:",
        "training: {epochs: -1}\nregime:",
        r"^[^\n]*: got -1; input should be [^\n]* equal to 1, or input should be 'auto'$",
    ),
    "empty list": (
        "temperatures_K: [300]",
        "temperatures_K: []",
        r"regime\.temperatures_K: .*at least 1 item",
    ),
}


def write(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "value",
    [
        "2026-30-11",
        "2026-11-30",
        "2026-01-01 99:00:00",
        "0b_",
        "!!int x",
        "!!bool x",
        "!!timestamp x",
    ],
)
def test_what_looks_like_a_date_or_a_number_is_a_problem_of_its_line(tmp_path: Path, value: str):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("name: silicon", f"# a comment\nname: {value}"))
    with pytest.raises(ConfigError, match=r"c\.yaml:2: .*quotes"):
        read_config_file(path, CampaignConfig)
    path.write_text(GOOD.replace("name: silicon", 'name: "2026-30-11"'))
    assert read_config_file(path, CampaignConfig).name == "2026-30-11"


MERGED = """\
name: silicon
seeds:
  - {phase: diamond, file: diamond.xyz}
labelling:
  executor: &jobs {name: slurm, partition: cpu, max_jobs: 3}
training:
  executor: {<<: *jobs, partition: gpu}
sampling:
  executor: {<<: [{max_jobs: 9}, *jobs]}
"""
EXPANDED = """\
name: silicon
seeds:
  - {phase: diamond, file: diamond.xyz}
labelling:
  executor: {name: slurm, partition: cpu, max_jobs: 3}
training:
  executor: {name: slurm, partition: gpu, max_jobs: 3}
sampling:
  executor: {name: slurm, partition: cpu, max_jobs: 9}
"""


def test_a_file_with_merge_keys_is_its_expanded_form(tmp_path: Path):
    for name, text in (("merged", MERGED), ("expanded", EXPANDED)):
        (tmp_path / name).write_text(text)
    merged, expanded = (
        read_config_file(tmp_path / name, CampaignConfig) for name in ("merged", "expanded")
    )
    assert merged == expanded


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("gpu}", "gpu, partition: cpu}", r":7: .*the key 'partition' is given twice"),
        ("gpu}", "gpu, max_jobs: many}", r":7: training\.executor\.max_jobs: got 'many'"),
        ("max_jobs: 3", "max_job: 3", r":5: training\.executor\.max_job: unknown key; did you"),
    ],
)
def test_problems_beside_a_merge_key_and_in_it_are_named(tmp_path: Path, before, after, problem):
    path = tmp_path / "c.yaml"
    path.write_text(MERGED.replace(before, after))
    with pytest.raises(ConfigError, match=problem):
        read_config_file(path, CampaignConfig)


def test_what_is_merged_may_merge_and_override_itself():
    """YAML's own expansion changes what is merged in place; keys are compared before."""
    text = "base: &base {x: 1}\nother: &other {<<: *base, x: 2}\n"
    assert load_yaml(f"{text}<<: *other\n")["x"] == 2
    assert load_yaml(f"{text}both: {{<<: [*other, *base], y: 3}}\n")["both"] == {"x": 2, "y": 3}
    with pytest.raises(yaml.YAMLError, match="the key 'x' is given twice"):
        load_yaml("base: &base {x: 1, x: 2}\nother: {<<: *base}\n")


def test_a_correct_configuration_is_read(tmp_path):
    config = read_config_file(write(tmp_path, GOOD), CampaignConfig)
    assert config.regime.pressures_GPa == (0.0, 10.0)
    assert config.labelling.engine.kind == "gpaw"


def test_no_phase_has_a_name_that_tables_or_imported_labels_have():
    assert set(RESERVED_PHASES) == {ALL, IMPORTED}


@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_values_are_explained(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        read_config_file(write(tmp_path, GOOD.replace(old, new)), CampaignConfig)


def test_all_problems_are_listed_at_once(tmp_path):
    text = GOOD.replace("regime:", "regimes:").replace("name: silicon\n", "")
    with pytest.raises(ConfigError) as caught:
        read_config_file(write(tmp_path, text), CampaignConfig)
    assert len(str(caught.value).splitlines()) == 2


def test_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file; 'entrove init FOLDER' writes one"):
        read_config_file(tmp_path / "c.yaml", CampaignConfig)


def test_a_list_is_no_configuration(tmp_path):
    with pytest.raises(
        ConfigError, match="keys and values, got a list; 'entrove init FOLDER' writes"
    ):
        read_config_file(write(tmp_path, "- 1\n"), CampaignConfig)
    with pytest.raises(ConfigError, match="expected keys and values, got an empty file"):
        read_config_file(write(tmp_path, "# nothing yet\n"), CampaignConfig)


EMT = "ase\n    calculator: ase.calculators.emt:EMT"
ESPRESSO = """espresso
    command: no-such-pw.x
    pseudopotential_folder: .
    pseudopotentials: {Si: Si.upf}
    cutoff_eV: 300"""

MISSING_HERE = {
    "missing seed file": (
        GOOD.replace("diamond.xyz", "nowhere.xyz"),
        r"c.yaml:3: seeds[0].file: ",
        "nowhere.xyz: no such file",
    ),
    "element without data": (
        GOOD.replace("diamond.xyz", "plutonium.xyz"),
        "c.yaml:9: labelling.engine.name: ",
        "has no data for Pu; choose another engine",
    ),
    "unknown model": (
        GOOD + "model: {name: 7nat-0}\n",
        "c.yaml:11: model.name: ",
        "Did you mean '7net-0'",
    ),
    "missing model file": (
        GOOD + "model:\n  name: models/tuned.pth\n",
        "c.yaml:12: model.name: ",
        "models/tuned.pth: no such file; check the path, which is relative to this configuration",
    ),
    "a calculator cannot be tuned": (
        GOOD + "model: {name: 'ase.calculators.lj:LennardJones'}\n",
        "c.yaml:11: model.name: ",
        "cannot be tuned: only SevenNet models, and NequIP or Allegro packages",
    ),
    "a model that only explores cannot be tuned": (
        GOOD + "model: {name: chgnet}\n",
        "c.yaml:11: model.name: ",
        "chgnet cannot be tuned: Entrove does not drive CHGNet's own training; only SevenNet "
        "models, and NequIP or Allegro packages and checkpoints can; name the model that is tuned "
        "here, and give chgnet as model.explore_with",
    ),
    "a compiled file cannot be tuned": (
        GOOD + "model: {name: allegro-oam-l}\ntraining: {framework: nequip}\n",
        "c.yaml:11: model.name: ",
        "its package allegro-oam-l*.nequip.zip must be in ",
    ),
    "framework of another model": (
        GOOD + "training: {framework: nequip}\n",
        "c.yaml:11: training.framework: ",
        "set training.framework to 'sevennet'",
    ),
    "an explorer that does not know the elements": (
        GOOD + "model:\n  explore_with: ase.calculators.emt:EMT\n",
        "c.yaml:12: model.explore_with: ",
        "ase.calculators.emt:EMT cannot evaluate Si8 (NotImplementedError",
    ),
    "a member that does not exist": (
        GOOD + "model:\n  explore_with:\n  - 7net-0\n  - other.pth\n",
        "c.yaml:14: model.explore_with[1]: ",
        "other.pth: no such file",
    ),
    "misspelt pool": (
        GOOD + "selection:\n  quotas: {anchors: 0.1, entropymd: 0.5}\n",
        "c.yaml:12: selection.quotas.entropymd: ",
        "no such pool; did you mean 'entropy_md'? "
        "Pools of this campaign: entropy_md, anchors, ordered",
    ),
    "places for a pool that is switched off": (
        GOOD
        + "sampling: {ordered: {perturbed: 0, random: 0}}\nselection: {quotas: {ordered: 0.5}}\n",
        "c.yaml:12: selection.quotas.ordered: ",
        "switched off by sampling.ordered; set perturbed or random there",
    ),
    "phase order of a phase that does not exist": (
        GOOD + "suite:\n  phase_order: {expected: [diamond, betatin]}\n",
        "c.yaml:12: suite.phase_order.expected: ",
        "no phase is called 'betatin'. The phases are diamond",
    ),
    "known constants of a misspelt phase": (
        GOOD + "suite:\n  elastic:\n    reference_GPa: {diamnd: {C11: 166}}\n",
        "c.yaml:13: suite.elastic.reference_GPa.diamnd: ",
        "no phase is called 'diamnd'; did you mean 'diamond'? The phases are diamond",
    ),
    "model without an element": (
        GOOD.replace("diamond.xyz", "polonium.xyz").replace(
            "gpaw\n    cutoff_eV: 300", "mlip\n    model: 7net-0"
        ),
        "c.yaml:9: labelling.engine.name: ",
        "no data for Po",
    ),
    "element that the foundation model does not know": (
        GOOD.replace("diamond.xyz", "polonium.xyz").replace("gpaw\n    cutoff_eV: 300", EMT),
        "c.yaml: model.name: ",
        "7net-0 does not know Po",
    ),
    "engine that is not installed": (
        GOOD.replace("gpaw\n    cutoff_eV: 300", ESPRESSO),
        "c.yaml:9: labelling.engine.name: ",
        "no-such-pw.x",
    ),
    "molecule as a seed": (
        GOOD.replace("diamond.xyz", "water.xyz"),
        "c.yaml:3: seeds[0].file: ",
        "a seed must be periodic in three dimensions",
    ),
}


def fill(folder: Path, text: str) -> Path:
    bulk("Si", cubic=True).write(folder / "diamond.xyz")
    bulk("Pu", "fcc", a=4.6).write(folder / "plutonium.xyz")
    bulk("Po", "sc", a=3.35).write(folder / "polonium.xyz")
    molecule("H2O").write(folder / "water.xyz")
    return write(folder, text)


@pytest.mark.parametrize(("text", "where", "what"), MISSING_HERE.values(), ids=MISSING_HERE.keys())
def test_what_is_missing_on_the_machine_is_reported(tmp_path, monkeypatch, text, where, what):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "allegro-oam-l.nequip.pt2").touch()
    monkeypatch.setenv("ENTROVE_MODELS", str(tmp_path / "models"))
    with pytest.raises(ConfigError) as caught:
        check_campaign(fill(tmp_path, text))
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_files_of_models_are_relative_to_the_configuration(tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "me@home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "tuned.pth").touch()
    (home / "7net-0").mkdir()  # a folder of this name does not hide the packaged model
    monkeypatch.chdir(elsewhere)
    config = Path("../me@home/c.yaml")
    assert Path(resolve_model(config, "tuned.pth")).resolve() == home / "tuned.pth"
    named = resolve_model(config, "tuned.pth@PBE")
    assert split_modal(named) == (named.removesuffix("@PBE"), "PBE")
    assert Path(split_modal(named)[0]).resolve() == home / "tuned.pth"
    for name in ("7net-0", "7net-mf-0@PBE", "package.module:factory"):
        assert resolve_model(config, name) == name
    with pytest.raises(ModelError, match=r"no bundle\.json"):
        resolve_model(config, "../elsewhere")


def test_a_committee_has_two_members(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.explore_with: .*at least two members, got 1"):
        read_config_file(
            write(tmp_path, GOOD + "model: {explore_with: [7net-0]}\n"), CampaignConfig
        )


def test_the_command_line_ends_with_the_message_and_writes_nothing(tmp_path):
    path = fill(tmp_path, GOOD.replace("regime:", "regimes:"))
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-m", "entrove.cli.main", "run", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"entrove: {path}:4: regimes: unknown key")
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_the_starting_point_is_valid_and_shows_what_is_usually_changed(tmp_path):
    path = write_starting_point(tmp_path / "new", [])
    assert read_config_file(path, CampaignConfig).seeds[0].phase == "diamond"
    text = path.read_text()
    for section in ("seeds", "regime", "model", "selection", "labelling", "stopping"):
        assert f"\n{section}:" in text


def test_the_starting_point_is_valid_whatever_its_files_are_called(tmp_path):
    bulk("Si", cubic=True).write(tmp_path / "Si (A4).cif")
    path = write_starting_point(tmp_path / "my project", [tmp_path / "Si (A4).cif"])
    config = read_config_file(path, CampaignConfig)
    assert (config.name, config.seeds[0].phase) == ("my_project", "Si_A4")
    assert len(read_structures(path.parent / config.seeds[0].file)[0]) == 8


def test_the_starting_point_never_overwrites(tmp_path):
    write_starting_point(tmp_path, [])
    with pytest.raises(ConfigError, match="exists already; choose another folder"):
        write_starting_point(tmp_path, [])


ELSEWHERE = """\
name: silicon
seeds:
  - {phase: diamond, file: diamond.xyz}
labelling:
  engine:
    name: espresso
    command: "true"
    pseudopotential_folder: pseudo
    pseudopotentials: {Si: Si.upf}
    cutoff_eV: 300
  cache: ../shared.db
"""


def test_paths_are_taken_from_the_folder_of_the_configuration(tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "pseudo").mkdir(parents=True)
    elsewhere.mkdir()
    (home / "pseudo" / "Si.upf").write_text("pseudopotential")
    bulk("Si", cubic=True).write(home / "diamond.xyz")
    (home / "c.yaml").write_text(ELSEWHERE)
    monkeypatch.chdir(elsewhere)
    labelling = check_campaign(Path("../home/c.yaml")).config.labelling
    assert labelling.engine.pseudopotential_folder.resolve() == home / "pseudo"
    assert labelling.cache.resolve() == tmp_path / "shared.db"
    # The level of theory does not depend on where the files are.
    moved = labelling.engine.model_copy(update={"pseudopotential_folder": home / "pseudo"})
    assert LevelOfTheory.of(labelling.engine) == LevelOfTheory.of(moved)


SHORT_BAROSTAT = {"ensemble": "npt", "barostat_time_fs": 30, "timestep_fs": 2}


def write_npt(folder: Path, **sampling: Any) -> Path:
    path = folder / "c.yaml"
    bulk("Cu", cubic=True).write(folder / "fcc.xyz")
    settings = {
        "name": "copper",
        "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
        "sampling": SHORT_BAROSTAT | sampling,
        "labelling": {"engine": {"name": "ase", "calculator": "ase.calculators.emt:EMT"}},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.mark.parametrize(
    "begun",
    [None, {"ensemble": "nvt"}, {"barostat_time_fs": 300}, {"timestep_fs": 1}],
    ids=str,
)
def test_a_barostat_that_steps_cannot_follow_is_refused(tmp_path: Path, begun):
    """In a new campaign, and in one that was begun with another barostat."""
    campaign = Workspace(tmp_path / "campaign")
    if begun is not None:
        campaign.folder.mkdir()
        settle_config(campaign.config, read_campaign(write_npt(tmp_path, **begun))[0])
    path = write_npt(tmp_path)
    with pytest.raises(ConfigError, match=r"barostat_time_fs: 30 fs are fewer than 20 time steps"):
        check_campaign(path, campaign.folder)


def test_a_campaign_that_was_begun_with_its_barostat_goes_on(tmp_path: Path):
    campaign, path = Workspace(tmp_path / "campaign"), write_npt(tmp_path)
    campaign.folder.mkdir()
    settle_config(campaign.config, read_campaign(path)[0])
    config = check_campaign(path, campaign.folder).config
    assert config.sampling.barostat_time_fs == SHORT_BAROSTAT["barostat_time_fs"]


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*/campaign.yaml")), ids=lambda path: path.parent.name
)
def test_the_examples_are_valid(path, tmp_path):
    config = read_config_file(path, CampaignConfig)
    for seed in config.seeds:
        read_structures(path.parent / seed.file)
    if config.labelling.engine.kind == "gpaw":  # the other engines need files of the user
        campaign = check_campaign(path, tmp_path / "campaign")
        assert [seed.phase for seed in campaign.seeds] == [seed.phase for seed in config.seeds]
        assert not campaign.workspace.folder.exists()


def test_changes_that_do_not_fit_the_rest_of_a_file_are_named():
    """The problem is of no single key, but the changes have caused it."""
    config = CampaignConfig.model_validate(
        {
            "name": "silicon",
            "seeds": [{"phase": "diamond", "file": "diamond.xyz"}],
            "stopping": {"least_predicted_improvement": 0.1},
        }
    )
    changes = {"selection": {"method": "random", "features": "fingerprint"}, "random_seed": 2}
    with pytest.raises(
        ConfigError,
        match=r"^c\.yaml: with selection\.method, selection\.features, random_seed changed: .*"
        "least_predicted_improvement",
    ):
        with_changes(Path("c.yaml"), config, changes)
    with pytest.raises(
        ConfigError, match=r"^c\.yaml: with selection\.count changed: Input should"
    ):
        with_changes(Path("c.yaml"), config, {"selection": {"count": 0}, "random_seed": 2})
