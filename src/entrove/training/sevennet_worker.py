"""The process that tunes a SevenNet model: `python -m entrove.training.sevennet_worker FOLDER`.

It has a process of its own because it sets torch's threads and determinism for everybody, and because
a NequIP model loaded beside it changes torch's default dtype. It ends when its standard input closes,
so it does not outlive the campaign that started it; the next start continues after the last epoch.
"""

import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from entrove.errors import EntroveError
from entrove.structures import read_structures
from entrove.training.fitting import (
    Epoch,
    FitState,
    Problem,
    evaluate,
    init_fit,
    is_finished,
    restore_state,
    run_epoch,
    save_state,
)
from entrove.training.job import Job, Result, only_worker, write_json
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.sevennet_model import Sample, SevenNetTrainee, check_species, load_trainee
from entrove.training.split import split_for_stopping

logger = logging.getLogger(__name__)

EXIT_USER_ERROR = 2
EXIT_ORPHANED = 3


def run_job(folder: Path) -> Result:
    """Train to the end of the job in `folder`, from wherever an earlier attempt got to."""
    with only_worker(folder):
        job = Job.model_validate_json((folder / "job.json").read_text())
        structures = read_structures(folder / "labels.xyz")
        trainee = load_trainee(job.base, torch.device(job.device), job.modal)
        check_species(trainee, job.base, structures)
        samples = [trainee.sample(atoms) for atoms in structures]
        if job.head_noise > 0:
            trainee.perturb_head(job.head_noise, job.seed)
        shifts: dict[str, float] = {}
        if job.config.refit_reference_energies:
            shifts = fit_reference_shifts(structures, _energies(trainee, samples, job.config.batch_size))
            trainee.shift_reference_energies(shifts)
        trained, watched = split_for_stopping(structures, job.config, job.seed)
        problem = Problem(
            trainee=trainee,
            training=[samples[i] for i in trained],
            watched=[samples[i] for i in watched],
            config=job.config,
            seed=job.seed,
        )
        state = init_fit(problem)
        seconds = _resume(folder, state, trainee)
        start = time.monotonic() - seconds
        while not is_finished(state, job.config):
            record = run_epoch(problem, state)
            save_state(folder / "state.pt", state, trainee)
            _report(folder, record, time.monotonic() - start)
        trainee.save(folder / "model.pth", state.best, state.best_epoch)
        result = Result(
            epochs_run=len(state.history),
            best_epoch=state.best_epoch,
            training_loss=state.history[-1].training_loss,
            watched_loss=state.best_loss if watched else None,
            reference_shifts_eV=shifts,
            seconds=round(time.monotonic() - start, 3),
        )
        write_json(folder / "result.json", result)
        return result


def _energies(trainee: SevenNetTrainee, samples: Sequence[Sample], batch_size: int) -> list[float]:
    return [
        float(energy)
        for batch in evaluate(trainee, samples, batch_size)
        for energy in batch.energy_eV.double()
    ]


def _resume(folder: Path, state: FitState, trainee: SevenNetTrainee) -> float:
    """Restore a saved state if there is one; return the seconds that earlier attempts have used."""
    progress = folder / "progress.jsonl"
    if not (folder / "state.pt").exists():
        progress.unlink(missing_ok=True)
        return 0.0
    restore_state(folder / "state.pt", state, trainee)
    # Killed between the state and its line: the state counts. A torn last line is dropped.
    lines = progress.read_text().splitlines(keepends=True) if progress.exists() else []
    complete = [line for line in lines if line.endswith("\n")][: len(state.history)]
    progress.write_text("".join(complete))
    return json.loads(complete[-1])["seconds"] if complete else 0.0


def _report(folder: Path, record: Epoch, seconds: float) -> None:
    with (folder / "progress.jsonl").open("a") as handle:
        handle.write(json.dumps({**vars(record), "seconds": round(seconds, 3)}) + "\n")


def _configure_torch(threads: int) -> None:
    torch.set_num_threads(threads)
    # On CUDA some sums of SevenNet have no deterministic form: torch then warns in the log.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Fusing kernels costs 20 s of compilation and gains nothing on the graphs of small cells.
    torch.jit.set_fusion_strategy([])


def _end_with_parent() -> None:
    def wait_for_end_of_input() -> None:
        # Below Python's buffers: their lock would be held at the interpreter's own shutdown.
        while os.read(0, 1024):
            pass
        os._exit(EXIT_ORPHANED)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()


def main() -> int:
    """Entry point of the process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*", category=DeprecationWarning)
    folder = Path(sys.argv[1])
    _end_with_parent()
    _configure_torch(json.loads((folder / "job.json").read_text())["threads"])
    try:
        run_job(folder)
    except EntroveError as error:
        (folder / "error.txt").write_text(str(error))
        return EXIT_USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
