"""`entrove run`: check, then run or continue a campaign, then write its report."""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from entrove.campaign.configuration.check import CheckedCampaign, check_campaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import format_key_path
from entrove.campaign.configuration.locate import folder_of
from entrove.campaign.configuration.places import (
    HERE,
    describe_overload,
    describe_places,
    executors_of,
    places_of,
)
from entrove.campaign.configuration.settled import Change, find_changes, require_allowed
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.lock import hold_campaign, is_held
from entrove.campaign.stages.moments import require_same_moments
from entrove.campaign.stages.unfinished import unfinished_stages
from entrove.campaign.workspace import Workspace
from entrove.cli.commands.options import print_json, say
from entrove.cli.progress import open_progress, spinner_of
from entrove.doctor.findings import State
from entrove.errors import ConfigError
from entrove.execution.settings import SlurmExecution
from entrove.files import require_writable
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.threads import usable_threads


def in_job() -> bool:
    """Whether this process runs inside a job of Slurm."""
    return "SLURM_JOB_ID" in os.environ


def run_campaign(
    config_path: Path,
    folder: Path | None,
    *,
    check_only: bool,
    console: Console,
    as_json: bool = False,
) -> None:
    """Run a campaign until it stops, and write the report; see `entrove.campaign.loop`.

    With `as_json` the document is that of `entrove status`, and the console is for progress.
    """
    if not check_only:
        _require_not_running(folder or folder_of(config_path))
    loading = Text(f"checking {config_path}, loading models")
    with console.status(loading, spinner=spinner_of(console)):
        campaign = check_campaign(config_path, folder)
    require_writable(str(campaign.workspace.folder), campaign.workspace.folder)
    for seed in campaign.seeds:
        say(seed.describe(), to=console)
    if overload := describe_overload(campaign.config, usable_threads(0)):
        say(overload, to=console)
    if not in_job():
        _say_what_runs_here(campaign, console)
    if trials := campaign.config.training.describe_trials():
        say(f"in each round, {trials}", to=console)
    if check_only:
        _show_check(campaign, config_path, console, as_json=as_json)
        return
    from entrove.campaign.loop import run_campaign as run_loop
    from entrove.campaign.results.read import read_results
    from entrove.report.page import write_report
    from entrove.report.record import results_record
    from entrove.report.status import status as render_status

    workspace = campaign.workspace
    say(f"campaign '{campaign.config.name}' in {workspace.folder}", to=console)
    require_allowed(workspace.config, campaign.config, unfinished_stages(workspace))
    changes = _show_changes(campaign, console)
    done_before = _finished_stages(workspace)
    with open_progress(console) as progress:
        run_loop(campaign, progress)
    results = read_results(workspace.folder, figures=True)
    report = write_report(results, workspace.folder / "report.html")
    if as_json:
        print_json(results_record(results))
        return
    console.print(render_status(results))
    _say_what_no_stage_took(changes, _finished_stages(workspace) - done_before, console)
    _show_files(config_path, workspace, report, console)


def _require_not_running(folder: Path | None) -> None:
    """Raise `CampaignError` at once for a campaign that runs: to load its models takes seconds."""
    if folder is not None and is_held(folder):
        with hold_campaign(folder):
            pass


def _show_check(
    campaign: CheckedCampaign, config_path: Path, console: Console, *, as_json: bool
) -> None:
    """Say that a campaign can run, or continue with what was changed since its start."""
    workspace = campaign.workspace
    require_allowed(workspace.config, campaign.config, unfinished_stages(workspace))
    require_same_moments(campaign)
    _check_slurm(campaign.config)
    if as_json:
        seeds = [seed.describe() for seed in campaign.seeds]
        print_json({"config": config_path, "folder": campaign.workspace.folder, "seeds": seeds})
        return
    _show_changes(campaign, console)
    say(f"{config_path}: this configuration can run here", to=console)
    say(campaign.config.describe_selection(), to=console)
    if not campaign.workspace.holds_campaign():
        say(
            f"the engine was not tried; to label a seed with it: {_label_a_seed(campaign)}",
            to=console,
        )


def _label_a_seed(campaign: CheckedCampaign) -> str:
    """The command that labels the smallest seed as the campaign would."""
    config_path = campaign.config_path
    # By the level: with corrected settings, the same folder would hold labels of another one.
    level = LevelOfTheory.of(campaign.config.labelling.engine).hash[:6]
    out = config_path.with_name(f"{config_path.stem}-trial-{level}.xyz")
    return shlex.join(["entrove", "label", "--config", str(config_path), "--out", str(out)])


def _check_slurm(config: CampaignConfig) -> None:
    """Raise `ConfigError` when jobs are wanted, and Slurm does not answer."""
    if not any(isinstance(executor, SlurmExecution) for executor in executors_of(config).values()):
        return
    # Not at the top of the file: it loads what looks for engines and programs.
    from entrove.doctor.executors import examine_slurm

    found = examine_slurm()
    if found.state is not State.WORKS:
        raise ConfigError(f"executor slurm: {found.what}; {found.remedy}")


def _say_what_runs_here(campaign: CheckedCampaign, console: Console) -> None:
    """Where some stages run in jobs: which do, and whether the rest is too much for this node."""
    places = places_of(campaign.config)
    if not any("Slurm" in place for place in places.values()):
        return
    hint = (
        ": start this command in a job, too, where this is a login node"
        if HERE in (places["exploration"], places["training"])
        else ""
    )
    say(f"{describe_places(campaign.config)}{hint}", to=console)


def _show_changes(campaign: CheckedCampaign, console: Console) -> list[Change]:
    """Say which settings were changed since the start, and when they are taken; return them."""
    changes = find_changes(campaign.workspace.config, campaign.config)
    allowed = [change for change in changes if change.allowed]
    for change in allowed:
        when = "at once" if change.stage is None else f"by the next stage '{change.stage}'"
        say(f"changed since the start, taken {when}: {change}", to=console)
    return allowed


def _finished_stages(workspace: Workspace) -> set[tuple[int, str, float]]:
    """Round, name and end of each stage that is finished."""
    if not workspace.holds_campaign():
        return set()
    records = Ledger(workspace.ledger, read_only=True).records()
    return {(record.round, record.stage, record.finished_utc) for record in records}


def _say_what_no_stage_took(
    changes: Iterable[Change], finished: set[tuple[int, str, float]], console: Console
) -> None:
    """Name the changes that wait for a round that the campaign does not have."""
    ran = {stage for _, stage, _ in finished}
    waiting = [
        format_key_path(change.key)
        for change in changes
        if change.stage is not None and change.stage not in ran
    ]
    if waiting:
        say(
            f"not used yet: {', '.join(waiting)}; no round was left that takes them: raise "
            "stopping.rounds and run again",
            to=console,
        )


def _show_files(config_path: Path, workspace: Workspace, report: Path, console: Console) -> None:
    """Say where everything is, and what can follow."""
    say(f"report:  {report}", to=console)
    say(f"dataset: {workspace.dataset}", to=console)
    if not workspace.bundle.exists():
        return
    config = shlex.quote(str(config_path))
    model = shlex.quote(str(workspace.bundle))
    for line in (
        f"model:   {workspace.bundle}",
        "what can follow:",
        f"  entrove export {model} --to lammps    the potential for LAMMPS (or ase, torch-sim)",
        f"  entrove validate {model} --seeds FILE    named checks, also of other crystals",
        f"  entrove run {config}    more labels, after raising stopping.rounds",
    ):
        say(line, to=console)
