"""The process that tunes a NequIP or Allegro model.

It is run as `python -m entrove.training.nequip.worker FOLDER`.

It writes a configuration, runs NequIP's own training on it, and packages the result, so that the
tuned model no longer needs the package that it came from. NequIP changes torch's defaults for its
whole process, which is why this process does nothing else.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from ase import Atoms

from entrove._optional import require
from entrove.execution.program import only_worker, serve
from entrove.files import replacing
from entrove.models.nequip.loading import load_nequip
from entrove.models.nequip.model import NequIPModel
from entrove.models.prediction import predict
from entrove.structures import read_structures, write_structures
from entrove.training.job import (
    Job,
    Result,
    progress_seconds,
    read_epochs,
    write_json,
)
from entrove.training.nequip.from_scratch import (
    build_description,
    find_architecture,
    read_architecture,
)
from entrove.training.nequip.settings import Start, settings, shifted_model
from entrove.training.nequip.trainer import NequIPTrainer
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.split import split_for_stopping
from entrove.training.trained_model import LABELS_FILE


def run_job(folder: Path) -> Result:
    """Train to the end of the job in `folder`, from where an earlier attempt ended."""
    with only_worker(folder, "trains"):
        job = Job.model_validate_json((folder / "job.json").read_text())
        structures = read_structures(folder / LABELS_FILE)
        trained, watched = split_for_stopping(structures, job.config, job.seed)
        write_structures(folder / "trained.xyz", [structures[i] for i in trained])
        if watched:
            write_structures(folder / "watched.xyz", [structures[i] for i in watched])
        shifts = _write_settings(folder, job, structures, bool(watched))
        _train(folder)
        epochs = read_epochs(folder)
        _package(folder)
        losses = [epoch.watched_loss for epoch in epochs if epoch.watched_loss is not None]
        best = epochs[losses.index(min(losses))] if losses else epochs[-1]
        result = Result(
            epochs_run=len(epochs),
            best_epoch=best.number,
            training_loss=epochs[-1].training_loss,
            watched_loss=best.watched_loss,
            reference_shifts_eV=shifts,
            seconds=progress_seconds(folder),
        )
        write_json(folder / "result.json", result)
        return result


def _write_settings(
    folder: Path, job: Job, structures: Sequence[Atoms], watched: bool
) -> dict[str, float]:
    """Write NequIP's configuration; return what it adds to the energy per species."""
    architecture = find_architecture(job.base)
    if architecture is None:
        start, shifts = _start_from_model(job, structures)
    else:
        model = build_description(read_architecture(architecture), structures, job.seed)
        shifts = model["per_type_energy_shifts"]
        start = Start(model, model["type_names"], float(model["r_max"]))
    configuration = settings(
        job,
        folder,
        start,
        watched=watched,
        with_stress=all(
            "stress" in atoms.calc.results for atoms in structures if atoms.calc is not None
        ),
    )
    (folder / "nequip.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    return shifts


def _start_from_model(job: Job, structures: Sequence[Atoms]) -> tuple[Start, dict[str, float]]:
    """Start from a package or checkpoint; return also what its energies per species change by."""
    base = load_nequip(job.base, device="cpu")
    base.check_species(structures)
    assert isinstance(base.model, NequIPModel)
    network = base.model.network
    old = network.energies_per_species()
    shifts: dict[str, float] = {}
    if job.config.refit_reference_energies:
        predicted = [atoms.get_potential_energy() for atoms in predict(base, structures)]
        shifts = fit_reference_shifts(structures, predicted)
    new = {symbol: old[symbol] + shift for symbol, shift in shifts.items()}
    return Start(shifted_model(job.base, new), network.type_names, network.cutoff_A), shifts


def _train(folder: Path) -> None:
    """Run NequIP's training, from its last checkpoint if there is one."""
    train = require("nequip.scripts.train", extra="nequip")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print an error and end the process
    sys.argv = ["nequip-train", f"--config-path={folder}", "--config-name=nequip.yaml"]
    if (folder / "last.ckpt").exists():
        sys.argv.append(f"++ckpt_path={folder / 'last.ckpt'}")
    train.main()


def _package(folder: Path) -> None:
    """Make the best checkpoint a package of its own."""
    package = require("nequip.scripts.package", extra="nequip")
    with replacing(folder / NequIPTrainer.checkpoint) as unfinished:
        package.main(["build", str(folder / "state-best.ckpt"), str(unfinished)])


if __name__ == "__main__":
    sys.exit(serve(run_job, torch.set_num_threads))
