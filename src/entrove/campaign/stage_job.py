"""Run a stage in a worker elsewhere: `python -m entrove.campaign.stage_job FOLDER`.

FOLDER, in that of the round, has what goes there and comes back::

    request.json     what to run
    ledger.sqlite    the ledger as it was when the stage began
    progress.json    how far the stage is
    outcome.json     what it found, written last

The stage's own files are where they are when it runs here, and an interrupted stage continues from
them. Only this process enters anything in the ledger of the campaign.
"""

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.check_models import check_explorer
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.seeds import read_seeds
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import StageOutcome
from entrove.campaign.journal.progress import ProgressListener, Silence
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.execution.program import Program, explain_end, only_worker, serve
from entrove.execution.running import Programs, run_programs
from entrove.files import replace_text
from entrove.models.registry import load
from entrove.settings import Settings

REQUEST_FILE, LEDGER_FILE = "request.json", "ledger.sqlite"
PROGRESS_FILE, OUTCOME_FILE = "progress.json", "outcome.json"
WRITE_INTERVAL_S = 1.0
"""Progress is written at most once in this time, in s."""


class StageRequest(Settings):
    """A stage to run."""

    work: str = Field(description="The function, as 'module:name'.")
    round: int = Field(description="Its round.")
    campaign_folder: Path = Field(description="Folder of the campaign.")
    config_path: Path = Field(description="The configuration file; seeds are relative to it.")
    model_name: str = Field(description="The model that is tuned, as it is loaded.")
    config: CampaignConfig = Field(description="The configuration.")


class Progress(BaseModel):
    """How far a stage is; what a `ProgressListener` was told last."""

    model_config = ConfigDict(frozen=True)

    resumed: int | None = None
    done: int = 0
    total: int | None = None
    note: str = ""


class ProgressFile(Silence):
    """A listener that keeps the progress in a file, for the process that waits for the stage."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic):
        self._path, self._clock = path, clock
        self._now, self._written = Progress(), -WRITE_INTERVAL_S

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """Write it, when the last time is `WRITE_INTERVAL_S` ago."""
        update = {"done": done, "total": total or self._now.total, "note": note}
        self._now = self._now.model_copy(update=update)
        if self._clock() - self._written >= WRITE_INTERVAL_S:
            self._write()

    def resumed(self, done: int) -> None:
        """Write it."""
        self._now = self._now.model_copy(update={"resumed": done, "done": done})
        self._write()

    def _write(self) -> None:
        replace_text(self._path, self._now.model_dump_json() + "\n")
        self._written = self._clock()


def run_elsewhere[Outcome: StageOutcome](
    run: CampaignRun,
    work: Callable[[CampaignRun, int], StageOutcome],
    outcome: type[Outcome],
    round_index: int,
    where: Programs,
) -> Outcome:
    """Run a stage in a worker, follow its progress, and return what it found.

    Args:
        run: The campaign; its listener gets the progress.
        work: The function of the stage, which the worker imports by its name.
        outcome: Model of what it finds.
        round_index: The round.
        where: The workers.

    Raises `CampaignError` with the stage's own message when it fails.
    """
    folder = (run.files.round(round_index).folder / f"{outcome.stage.value}-job").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (PROGRESS_FILE, OUTCOME_FILE):
        (folder / name).unlink(missing_ok=True)
    request = StageRequest(
        work=f"{work.__module__}:{work.__name__}",
        round=round_index,
        campaign_folder=run.files.folder.absolute(),
        config_path=run.campaign.config_path.absolute(),
        model_name=run.campaign.model_name,
        config=run.config,
    )
    replace_text(folder / REQUEST_FILE, request.model_dump_json(indent=2))
    run.ledger.copy_to(folder / LEDGER_FILE)
    program = Program(
        __name__, str(folder), where.threads(run.config.model.threads), PROGRESS_FILE
    )
    run.listener.advanced(0, note="waiting for a worker")
    follow = _Follower(folder / PROGRESS_FILE, run.listener)
    for _, code in run_programs([program], where, follow):
        if code != 0:
            raise CampaignError(explain_end(folder, code, f"the stage '{outcome.stage}'"))
    (folder / LEDGER_FILE).unlink()
    return outcome.model_validate_json((folder / OUTCOME_FILE).read_text())


class _Follower:
    """Tells a listener what is new in a file of progress."""

    def __init__(self, path: Path, listener: ProgressListener):
        self._path, self._listener = path, listener
        self._told = Progress()

    def __call__(self) -> None:
        try:
            now = Progress.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return  # not there yet; a network file system may show a part of it
        if now.resumed is not None and now.resumed != self._told.resumed:
            self._listener.resumed(now.resumed)
        if now != self._told and now.done != now.resumed:
            self._listener.advanced(now.done, now.total, now.note)
        self._told = now


def run_stage(folder: Path) -> None:
    """Run the stage that a folder asks for, in this process."""
    with only_worker(folder, "runs this stage"):
        request = StageRequest.model_validate_json((folder / REQUEST_FILE).read_text())
        config = request.config
        seeds = read_seeds(request.config_path, config)
        campaign = CheckedCampaign(
            config,
            request.config_path,
            Workspace(request.campaign_folder),
            seeds,
            request.model_name,
            load(request.model_name, device=config.model.device),
            check_explorer(request.config_path, config, [seed.atoms for seed in seeds]),
        )
        ledger = Ledger(folder / LEDGER_FILE, read_only=True)
        listener = ProgressFile(folder / PROGRESS_FILE)
        run = CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), listener)
        module, _, name = request.work.partition(":")
        found: StageOutcome = getattr(importlib.import_module(module), name)(run, request.round)
        replace_text(folder / OUTCOME_FILE, found.model_dump_json() + "\n")


if __name__ == "__main__":
    sys.exit(serve(run_stage, torch.set_num_threads))
