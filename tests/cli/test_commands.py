"""The commands on a finished campaign, and their exit codes."""

import contextlib
import importlib
import io
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ase.build import bulk
from command_line import Command
from rich.console import Console

from cheap_campaign import Bench, make_bench
from entrove.campaign.configuration.check import check_campaign
from entrove.campaign.configuration.settled import settle_config
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.plan import make_plan
from entrove.cli import plan, run
from entrove.cli.main import PANELS, _Command
from entrove.errors import CampaignError
from entrove.structures import content_hash, read_structures, write_structures

COPPER = """\
name: copper
seeds:
  - {phase: fcc, file: fcc.xyz}
labelling:
  engine: {name: ase, calculator: "ase.calculators.emt:EMT"}
  executor: {name: local, workers: 3}
selection: {count: 5}
sampling:
  hold_out: {volume_strains: [0.92, 1.08], shears: [0.05], md_snapshots: 2, interval: null}
stopping: {rounds: 3, labels: 12}
"""

SEED = "seed fcc: Cu4, Fm-3m (225), 11.76 A^3/atom, shortest distance 2.55 A (Cu-Cu)"


@pytest.fixture(scope="module")
def one_round(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        bench = make_bench(tmp_path_factory.mktemp("one round"), patch)
        bench.run(stopping={"rounds": 1})
    return bench.files.folder


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that can run on this machine, which has a core for each of its workers."""
    for command in ("run", "plan"):
        monkeypatch.setattr(f"entrove.cli.{command}.usable_threads", lambda _: 3)
    bulk("Cu", cubic=True).write(tmp_path / "fcc.xyz")
    (tmp_path / "copper.yaml").write_text(COPPER)
    return tmp_path / "copper.yaml"


def test_status_needs_neither_torch_nor_anything_outside_the_folder(
    one_round: Path, tmp_path: Path
):
    folder = tmp_path / "copy"
    shutil.copytree(one_round, folder)
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    engine = {
        "name": "espresso",
        "command": "pw.x",
        "cutoff_eV": 400,
        "pseudopotentials": {"Cu": "Cu.upf"},
    }
    stored["labelling"]["engine"] = engine | {"pseudopotential_folder": "/was/on/the/cluster"}
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    code = (
        "import sys; from entrove.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "names = ('torch', 'torch_sim', 'plotly', 'sevenn'); "
        "print([name for name in names if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "status", str(folder)]
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert as_json.stdout.splitlines()[-1] == "[]"
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "copper: finished" in result.stdout
    assert "the one round is done; the model is that of round 1" in result.stdout
    assert "cheap_campaign:Labels" in result.stdout  # the level of theory that the labels have
    assert result.stdout.splitlines()[-1] == "[]"


def test_report_and_labels_of_a_finished_campaign(
    one_round: Path, tmp_path: Path, entrove: Command
):
    folder = tmp_path / "copy"
    shutil.copytree(one_round, folder)
    code, output, _ = entrove("report", folder)
    assert (code, output) == (0, f"wrote {folder / 'report.html'} and report.json\n")
    code, printed, _ = entrove("report", folder, "--json")
    assert code == 0
    assert json.loads(printed) == json.loads((folder / "report.json").read_text())
    assert "Map of the fingerprint space" in (folder / "report.html").read_text()
    code, output, _ = entrove("labels", one_round)
    assert code == 0
    assert output.count("Cu4") == 7
    assert "7 labels, 0 in quarantine" in output


def test_a_change_that_no_round_takes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = make_bench(tmp_path / "bench", monkeypatch)
    bench.run(stopping={"rounds": 1})
    texts: list[io.StringIO] = []
    for rounds in (1, 2):
        changed = bench.campaign(
            stopping={"rounds": rounds}, training={"learning_rate": 0.1 / rounds}
        )
        monkeypatch.setattr(run, "check_campaign", lambda *_, changed=changed: changed)
        texts.append(io.StringIO())
        console = Console(file=texts[-1], width=200)
        run.run_campaign(bench.folder / "campaign.yaml", None, check_only=False, console=console)
    waits = "not used yet: training.learning_rate; no round was left that takes them: raise"
    assert [waits in text.getvalue() for text in texts] == [True, False]


def test_the_check_refuses_what_the_run_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = make_bench(tmp_path / "bench", monkeypatch)
    started = bench.campaign()
    started.workspace.folder.mkdir()
    settle_config(started.workspace.config, started.config)
    refused = bench.campaign(regime={"pressures_GPa": [0, 5]})
    allowed = bench.campaign(selection={"count": 2})
    console = Console(file=io.StringIO(), width=200)
    for campaign in (refused, allowed):
        monkeypatch.setattr(run, "check_campaign", lambda *_, campaign=campaign: campaign)
        ends = (
            pytest.raises(CampaignError, match=r"regime.pressures_GPa: .*; put the old values")
            if campaign is refused
            else contextlib.nullcontext()
        )
        with ends:
            run.run_campaign(tmp_path / "c.yaml", None, check_only=True, console=console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "taken by the next stage 'select': selection.count: 3 before, 2 now" in said
    assert said.count("can run here") == 1


def test_what_is_refused_is_not_said_to_be_taken_and_the_plan_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = make_bench(tmp_path / "bench", monkeypatch)
    started = bench.campaign()
    started.workspace.folder.mkdir()
    settle_config(started.workspace.config, started.config)
    refused = bench.campaign(regime={"pressures_GPa": [0, 5]}, stopping={"labels": 9})
    for module in (run, plan):
        monkeypatch.setattr(module, "check_campaign", lambda *_, **__: refused)
    text = io.StringIO()
    console = Console(file=text, width=400)
    with pytest.raises(CampaignError, match="put the old values back"):
        run.run_campaign(tmp_path / "c.yaml", None, check_only=False, console=console)
    assert "taken at once" not in text.getvalue()
    plan.show_plan(tmp_path / "c.yaml", console)
    assert "'entrove run' will refuse to continue" in text.getvalue()
    assert "regime.pressures_GPa: [0.0] before, [0.0, 5.0] now" in text.getvalue()


@pytest.mark.parametrize("check_only", [True, False])
def test_checks_refuse_what_an_interrupted_exploration_does_not_take(
    check_only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = make_bench(tmp_path / "bench", monkeypatch)
    started = bench.campaign()
    files = started.workspace
    files.folder.mkdir()
    Ledger(files.ledger)
    settle_config(files.config, started.config)
    files.round(1).walkers.parent.mkdir(parents=True)
    files.round(1).walkers.touch()
    changed = bench.campaign(sampling={"chunks": started.config.sampling.chunks + 1})
    for module in (run, plan):
        monkeypatch.setattr(module, "check_campaign", lambda *_, **__: changed)
    text = io.StringIO()
    console = Console(file=text, width=400)
    with pytest.raises(CampaignError, match="'explore' was interrupted"):
        run.run_campaign(tmp_path / "c.yaml", None, check_only=check_only, console=console)
    assert "taken by the next stage" not in text.getvalue()
    plan.show_plan(tmp_path / "c.yaml", console)
    assert "'entrove run' will refuse to continue" in text.getvalue()
    assert "'explore' was interrupted" in text.getvalue()


def test_status_as_json_is_the_part_of_the_report_that_needs_no_figures(
    one_round: Path, tmp_path: Path, entrove: Command
):
    folder = tmp_path / "copy"
    shutil.copytree(one_round, folder)
    code, output, _ = entrove("status", folder, "--json")
    assert code == 0
    status = json.loads(output)
    code, output, _ = entrove("report", folder, "--json")
    report = json.loads(output)
    assert {key: report[key] for key in status} == status
    assert {"verdict", "headline", "labels_by_phase", "stages", "refused"} <= set(status)


def test_run_as_json_prints_what_status_prints_and_progress_goes_to_stderr(
    one_round: Path, tmp_path: Path, entrove: Command, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(one_round, tmp_path / "campaign")
    checked = Bench(tmp_path).campaign(stopping={"rounds": 1})
    monkeypatch.setattr("entrove.cli.run.check_campaign", lambda *_: checked)
    bulk("Cu", cubic=True).write(tmp_path / "fcc.xyz")
    (tmp_path / "campaign.yaml").write_text(COPPER)
    code, output, errors = entrove("run", tmp_path, "--json")
    assert (code, output) == entrove("status", tmp_path, "--json")[:2]
    assert "prepare: relax: done before" in errors


def test_labels_as_json_are_those_of_the_table(one_round: Path, entrove: Command):
    code, output, _ = entrove("labels", one_round, "--json")
    assert code == 0
    found = json.loads(output)
    assert len(found["labels"]) == 7
    assert {label["outcome"] for label in found["labels"]} == {"converged"}
    assert found["unfinished"] == []
    table = entrove("labels", one_round)[1]
    for label in found["labels"]:
        assert label["structure_hash"][:10] in table


def test_a_folder_without_a_campaign_is_reported_in_one_line(tmp_path: Path, entrove: Command):
    for command in ("status", "report", "labels"):
        code, _, errors = entrove(command, tmp_path)
        assert code == 1
        assert "holds no campaign" in errors


def test_plan_counts_the_labels_of_a_campaign(campaign: Path, entrove: Command):
    plan = make_plan(check_campaign(campaign))
    assert [(row.what, row.labels) for row in plan.rows] == [
        # Two strains, a shear, and two snapshots at each of two temperatures.
        ("validation", 7),
        ("test", 7),
        ("training", 12),
        ("together", 26),
    ]
    assert plan.observations == 0
    gpaw = campaign.with_name("gpaw.yaml")
    gpaw.write_text(COPPER.replace('ase, calculator: "ase.calculators.emt:EMT"', "gpaw"))
    timed = make_plan(check_campaign(gpaw)).rows
    assert timed[-1].core_hours == pytest.approx(sum(row.core_hours for row in timed[:-1]))
    # Three workers at the same time.
    assert timed[3].wall_hours == pytest.approx(timed[3].core_hours / 3, rel=0.01)
    # A label of the one phase checks the k-points, and takes longer than those of the test set.
    assert (timed[2].what, timed[2].labels) == ("k-points", 1)
    assert timed[2].core_hours > 1.5 * timed[1].core_hours / timed[1].labels
    code, output, _ = entrove("plan", campaign)
    assert code == 0
    assert [line.split()[:2] for line in output.splitlines()[1:5]] == [
        ["validation", "7"],
        ["test", "7"],
        ["training", "12"],
        ["together", "26"],
    ]
    # Two strains, a shear, and two trajectories are independent: 1.96 * 0.756 / sqrt(5).
    assert "Energy errors will be known to about 66 %" in output
    assert output.splitlines()[-1] == SEED
    code, output, _ = entrove("plan", campaign, "--json")
    assert code == 0
    assert [(row["what"], row["labels"]) for row in json.loads(output)["rows"]] == [
        (row.what, row.labels) for row in plan.rows
    ]
    assert not (campaign.parent / "campaign").exists()


@pytest.mark.parametrize(("labels", "of_each_round"), [(2.5, 2), (0.5, 0), (9.0, 5)])
def test_plan_counts_the_labels_that_fit_the_budget_of_a_round(
    campaign: Path, entrove: Command, labels: float, of_each_round: int
):
    """By the time that the seed takes; five labels are those of a round without it."""
    plan = make_plan(check_campaign(campaign))
    label_s = math.sqrt(plan.shortest_s * plan.longest_s)  # estimate / factor, estimate * factor
    text = f"selection: {{count: 5, budget_s: {labels * label_s}}}"
    campaign.write_text(COPPER.replace("selection: {count: 5}", text))
    rows = {row.what: row.labels for row in make_plan(check_campaign(campaign)).rows}
    assert rows["training"] == min(3 * of_each_round, 12)
    output = entrove("plan", campaign)[1]
    said = f"A round has about {of_each_round} labels instead of 5: more would take longer than"
    assert (said in " ".join(output.split())) == (of_each_round < 5)


def test_plan_has_lines_in_place_of_a_table_on_a_narrow_terminal(
    campaign: Path, entrove: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "40")
    code, output, _ = entrove("plan", campaign)
    assert code == 0
    assert "validation: labels 7, core hours" in output
    assert "together: labels 26" in output


def test_plan_knows_no_time_of_an_engine_that_can_be_anything(campaign: Path, entrove: Command):
    """Before its first label an ASE calculator may be a potential or a DFT code."""
    plan = make_plan(check_campaign(campaign))
    assert not plan.is_timed
    assert {(row.core_hours, row.wall_hours) for row in plan.rows} == {(None, None)}
    code, output, _ = entrove("plan", campaign)
    assert code == 0
    assert "this engine can take any time" in output


def test_plan_does_not_count_labels_that_exist(one_round: Path, campaign: Path, entrove: Command):
    shutil.copytree(one_round, campaign.parent / "campaign")
    (campaign.parent / "cheap_labels.yaml").write_text(
        COPPER.replace("ase.calculators.emt:EMT", "cheap_campaign:Labels")
    )
    plan = make_plan(check_campaign(campaign.parent / "cheap_labels.yaml"))
    rows = {row.what: row for row in plan.rows}
    # All four of the validation set, and three of the 12 labels of the training set. The campaign
    # was started without a test set.
    assert "test" not in rows
    assert (rows["validation"].known, rows["training"].known) == (4, 3)
    assert (rows["validation"].labels, rows["training"].labels) == (0, 9)
    assert (rows["together"].known, rows["together"].labels) == (7, 9)
    assert plan.is_timed
    assert rows["together"].core_hours is not None


def test_plan_needs_no_scheduler(campaign: Path, entrove: Command, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    text = COPPER.replace("{name: local, workers: 3}", "{name: slurm}")
    campaign.write_text(text)
    code, output, _ = entrove("plan", campaign)
    assert code == 0
    assert "training" in output
    code, _, errors = entrove("run", "--check", campaign)
    assert code == 2
    assert "there is no 'sbatch' on PATH" in errors


def test_a_login_node_is_told_what_runs_on_it(campaign: Path, entrove: Command, monkeypatch):
    for name in ("sbatch", "squeue"):
        (campaign.parent / name).write_text("#!/bin/sh\n")
        (campaign.parent / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(campaign.parent))
    text = COPPER.replace("{name: local, workers: 3}", "{name: slurm}")
    campaign.write_text(text)
    told = "exploration and training run on this machine"
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert told in entrove("run", "--check", campaign)[1]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    code, output, _ = entrove("run", "--check", campaign)
    assert code == 0
    assert told not in output


def test_check_asks_slurm_and_tries_to_write(campaign: Path, entrove: Command, monkeypatch):
    """Slurm whose controller does not answer, and a place where not even root can write."""
    for name, answer in (("sbatch", "exit 0"), ("squeue", "echo no contact; exit 1")):
        (campaign.parent / name).write_text(f"#!/bin/sh\n{answer}\n")
        (campaign.parent / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{campaign.parent}:/bin:/usr/bin")
    campaign.write_text(COPPER.replace("{name: local, workers: 3}", "{name: slurm}"))
    code, _, errors = entrove("run", "--check", campaign)
    assert code == 2
    assert "squeue does not answer (no contact); run on a login node" in errors
    campaign.write_text(COPPER)
    code, _, errors = entrove("run", "--check", campaign, "--folder", "/proc/copper")
    assert code == 2
    assert "/proc/copper: nothing can be written there (" in errors


LOCKED = ("init {0}/new", "run {1}", "run --check {1}", "export {0}/model --to ase")


@pytest.mark.parametrize("command", LOCKED)
def test_a_folder_that_may_not_be_written_is_named_before_any_work(
    campaign: Path, entrove: Command, tmp_path: Path, monkeypatch, command
):
    """`os.access` is replaced: root may write everywhere but on a read-only file system."""
    from entrove.training.bundle import Bundle

    bundle = Bundle.model_construct(name="copper", species=("Cu",))
    monkeypatch.setattr("entrove.export.source.read_bundle", lambda _: bundle)
    monkeypatch.setattr("entrove.files.os.access", lambda _, mode: not mode & os.W_OK)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, output, errors = entrove(*command.format(tmp_path, campaign).split())
    assert (code, output) == (2, "")
    assert f"you may not write into the folder {tmp_path}; give another path" in errors
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["init /proc/new", "run {0} --folder /proc/new"])
def test_a_place_where_nobody_can_write_is_named(campaign: Path, entrove: Command, command):
    code, output, errors = entrove(*command.format(campaign).split())
    assert (code, output) == (2, "")
    assert "/proc/new: nothing can be written there (" in errors


def test_what_a_choice_of_the_learning_rate_costs_is_said_beforehand(
    campaign: Path, entrove: Command
):
    settings = yaml.safe_load(campaign.read_text())
    settings["training"] = settings.get("training", {}) | {"learning_rate": "auto"}
    campaign.write_text(yaml.safe_dump(settings))
    said = "compares 4 recipes in 3 folds: 12 trainings on 2 of 3 parts of the labels"
    assert said in entrove("run", "--check", campaign)[1]
    assert said in entrove("plan", campaign)[1]
    _, output, _ = entrove("plan", campaign, "--json")
    assert json.loads(output)["trainings_per_round"] == 13


@pytest.mark.parametrize("command", ["run --check", "plan", "plan --json"])
def test_more_workers_than_cores_are_said_and_allowed(campaign: Path, entrove: Command, command):
    said = "labelling.executor wants 3 workers with 2 cores each, and 3 cores can be used here"
    code, output, errors = entrove(*command.split(), campaign)
    assert (code, "wants" in output + errors) == (0, False)
    campaign.write_text(COPPER.replace("workers: 3", "workers: 3, cores_per_worker: 2"))
    code, output, errors = entrove(*command.split(), campaign)
    assert code == 0
    assert (output + errors).count(said) == 1
    campaign.write_text(COPPER.replace("{name: local, workers: 3}", "{name: slurm, max_jobs: 99}"))
    if command == "plan":
        assert "wants" not in entrove("plan", campaign)[1]


def test_check_runs_nothing(campaign: Path, entrove: Command):
    code, output, errors = entrove("run", "--check", campaign, "--json")
    assert (code, json.loads(output)["seeds"], errors) == (0, [SEED], f"{SEED}\n")
    code, output, _ = entrove("run", "--check", campaign)
    before, said, command = output.rstrip("\n").rpartition("to label a seed with it: ")
    assert (code, said != "") == (0, True)
    assert before.startswith(f"{SEED}\n{campaign}: this configuration can run here\n")
    assert not (campaign.parent / "campaign").exists()
    program, *arguments = shlex.split(command)
    trial = campaign.parent / arguments.pop()
    code, output, _ = entrove(*arguments, trial)
    assert (program, code, len(read_structures(trial))) == ("entrove", 0, 1)


def test_the_command_that_is_recommended_labels_the_seed(campaign: Path, entrove: Command):
    """Not its file: the structure of its index, repeated.

    It does so in files of this campaign with these settings, where no others have been.
    """
    frames = [bulk("Cu", cubic=True, a=edge) for edge in (3.5, 3.7, 3.6)]
    write_structures(campaign.parent / "fcc.xyz", frames)
    other = campaign.with_name("other one.yaml")
    commands: list[list[str]] = []
    for path, engine in ((campaign, "EMT"), (campaign, "LennardJones"), (other, "EMT")):
        seeds = [
            {"phase": "big", "file": "fcc.xyz", "repeat": [2, 2, 2]},
            {"phase": "fcc", "file": "fcc.xyz", "index": 1, "repeat": [1, 1, 2]},
        ]
        values = yaml.safe_load(COPPER) | {"seeds": seeds}
        module = {"EMT": "emt", "LennardJones": "lj"}[engine]
        calculator = f"ase.calculators.{module}:{engine}"
        values["labelling"]["engine"] = {"name": "ase", "calculator": calculator}
        path.write_text(yaml.safe_dump(values))
        code, output, errors = entrove("run", "--check", path)
        assert code == 0, errors
        commands.append(shlex.split(output.rpartition("to label a seed with it: ")[2]))
    files = {Path(command[-1]) for command in commands}
    assert len(files) == 3
    assert {file.parent for file in files} == {campaign.parent}
    program, *arguments = commands[-1]
    code, _, errors = entrove(*arguments)
    assert (program, code) == ("entrove", 0), errors
    [labelled] = read_structures(arguments[-1])
    assert content_hash(labelled) == content_hash(frames[1].repeat((1, 1, 2)))


@pytest.mark.parametrize("command", ["run --check", "plan"])
def test_the_method_of_the_selection_and_what_decides_it_are_said(
    campaign: Path, entrove: Command, command
):
    said = "selection.method auto is representative here"
    assert entrove(*command.split(), campaign)[1].count(said) == 1
    campaign.write_text(COPPER.replace("{count: 5}", "{count: 5, quotas: {anchors: 0.5}}"))
    said = "selection.method auto is gain here, because of selection.quotas; without it"
    assert entrove(*command.split(), campaign)[1].count(said) == 1


def test_a_second_run_is_refused(campaign: Path, entrove: Command):
    folder = campaign.parent / "campaign"
    folder.mkdir()
    # At once: before the configuration is checked, and models are loaded.
    campaign.write_text(COPPER.replace("fcc.xyz", "nowhere.xyz"))
    with hold_campaign(folder):
        code, output, errors = entrove("run", campaign)
    assert (code, output) == (1, "")
    assert "this campaign is running already" in errors


def test_what_the_check_finds_ends_with_exit_code_2_and_writes_nothing(
    campaign: Path, entrove: Command
):
    campaign.write_text(COPPER.replace("fcc.xyz", "nowhere.xyz"))
    before = sorted(campaign.parent.iterdir())
    code, output, errors = entrove("run", campaign)
    assert (code, output) == (2, "")
    assert errors.startswith(f"entrove: {campaign}:3: seeds[0].file: ")
    assert sorted(campaign.parent.iterdir()) == before


@pytest.mark.parametrize("command", sorted(name for names in PANELS.values() for name in names))
def test_ctrl_c_says_what_is_kept(entrove: Command, monkeypatch: pytest.MonkeyPatch, command: str):
    """Also while a command still loads: what `docs/reference/exit-codes.md` promises."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_Command, "make_context", interrupt)
    code, _, errors = entrove(command)
    message = (
        "what is finished is kept, and the same command continues from here"
        if command in ("run", "label", "labels", "train", "import", "curves")
        else "nothing was written"
    )
    assert (code, errors) == (130, f"entrove: stopped; {message}\n")


@pytest.mark.parametrize(
    ("work", "arguments"),
    [
        ("curation.curate:curate", ("curate", "pool.xyz", "--count", "2", "--out", "out.xyz")),
        ("export.export:find_source", ("export", "pool.xyz", "--to", "ase", "--out", "out")),
    ],
)
def test_ctrl_c_says_where_nothing_was_written(
    tmp_path: Path,
    entrove: Command,
    monkeypatch: pytest.MonkeyPatch,
    work: str,
    arguments: tuple[str, ...],
):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    module, _, name = work.partition(":")
    monkeypatch.setattr(importlib.import_module(f"entrove.{module}"), name, interrupt)
    pool = tmp_path / "pool.xyz"
    pool.touch()
    code, _, errors = entrove(*arguments)
    assert (code, errors) == (130, "entrove: stopped; nothing was written\n")
    assert list(tmp_path.iterdir()) == [pool]
