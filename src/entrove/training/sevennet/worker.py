"""The process that tunes a SevenNet model: `python -m entrove.training.sevennet.worker FOLDER`.

It has a process of its own because it sets torch's threads and determinism for the whole process,
and because a NequIP model loaded beside it changes torch's default dtype. It ends with the
campaign that started it; the next start continues after the last epoch.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms

from entrove.execution.program import only_worker, serve
from entrove.models.torch_settings import resolve_device
from entrove.structures import read_structures
from entrove.training.job import Job, Result, append_epoch, keep_epochs, write_json
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.sevennet.fitting import (
    FitState,
    Problem,
    evaluate,
    init_fit,
    is_finished,
    restore_state,
    run_epoch,
    save_state,
)
from entrove.training.sevennet.trainee import Sample, SevenNetTrainee, check_species, load_trainee
from entrove.training.sevennet.trainer import SevenNetTrainer
from entrove.training.split import split_for_stopping
from entrove.training.trained_model import LABELS_FILE


def run_job(folder: Path) -> Result:
    """Train to the end of the job in `folder`, from where an earlier attempt ended."""
    with only_worker(folder, "trains"):
        job = Job.model_validate_json((folder / "job.json").read_text())
        problem, shifts = make_problem(folder, job)
        trainee, watched = problem.trainee, problem.watched
        state = init_fit(problem)
        seconds = _resume(folder, state, trainee)
        start = time.monotonic() - seconds
        while not is_finished(state, job.config):
            record = run_epoch(problem, state)
            save_state(folder / "state.pt", state, trainee)
            append_epoch(folder, record, time.monotonic() - start)
        trainee.save(folder / SevenNetTrainer.checkpoint, state.best, state.best_epoch)
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


def make_problem(folder: Path, job: Job) -> tuple[Problem, dict[str, float]]:
    """Load the model and what it learns from; return how its energies per species moved, in eV."""
    structures = read_structures(folder / LABELS_FILE)
    trainee = load_trainee(job.base, resolve_device(job.device), job.modal)
    check_species(trainee, job.base, structures)
    samples = [trainee.sample(atoms) for atoms in structures]
    shifts = _refit_reference_energies(trainee, structures, samples, job)
    replayed = _replayed(folder, trainee, job)
    if job.head_noise > 0:
        # After the replay, which has the labels of the untuned model for every member.
        trainee.perturb_head(job.head_noise, job.seed)
        more = _refit_reference_energies(trainee, structures, samples, job)
        shifts = {species: shifts[species] + more[species] for species in more}
    trainee.prepare(job.config, job.seed)
    trained, watched = split_for_stopping(structures, job.config, job.seed)
    problem = Problem(
        trainee=trainee,
        training=[samples[i] for i in trained],
        watched=[samples[i] for i in watched],
        replayed=replayed,
        config=job.config,
        seed=job.seed,
    )
    return problem, shifts


def _refit_reference_energies(
    trainee: SevenNetTrainee, structures: Sequence[Atoms], samples: Sequence[Sample], job: Job
) -> dict[str, float]:
    """Move the energies per species to the zero of the labels; return by how much, in eV."""
    if not job.config.refit_reference_energies:
        return {}
    energies = _energies(trainee, samples, job.config.batch_size)
    shifts = fit_reference_shifts(structures, energies)
    trainee.shift_reference_energies(shifts)
    return shifts


def _replayed(folder: Path, trainee: SevenNetTrainee, job: Job) -> list[Sample]:
    """Structures with the labels of the model as it is now: not tuned, with shifted energies."""
    if job.replay_hash is None:
        return []
    structures, size = read_structures(folder / "replay.xyz"), job.config.batch_size
    batches = [structures[start : start + size] for start in range(0, len(structures), size)]
    return [sample for batch in batches for sample in trainee.label(batch)]


def _energies(trainee: SevenNetTrainee, samples: Sequence[Sample], batch_size: int) -> list[float]:
    return [
        float(energy)
        for batch in evaluate(trainee, samples, batch_size)
        for energy in batch.energy_eV
    ]


def _resume(folder: Path, state: FitState, trainee: SevenNetTrainee) -> float:
    """Restore a saved state if there is one; return the seconds of earlier attempts."""
    if (folder / "state.pt").exists():
        restore_state(folder / "state.pt", state, trainee)
    # Killed between the state and its line: the state counts.
    return keep_epochs(folder, len(state.history))


def configure_torch(threads: int) -> None:
    """Set torch up for a process that does nothing but tune a SevenNet model."""
    torch.set_num_threads(threads)
    # On CUDA some sums of SevenNet have no deterministic form: torch then warns in the log.
    # Not torch.use_deterministic_algorithms, which loads torch's compiler first: seconds.
    torch.set_deterministic_debug_mode("warn")
    # Fusing kernels costs 20 s of compilation and gains nothing on the graphs of small cells.
    torch.jit.set_fusion_strategy([])


if __name__ == "__main__":
    sys.exit(serve(run_job, configure_torch))
