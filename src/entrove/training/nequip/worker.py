"""The process that tunes a NequIP or Allegro model.

It is run as `python -m entrove.training.nequip.worker FOLDER`.

It writes a configuration, runs NequIP's own training on it, and packages the result, so that the
tuned model no longer needs the package that it came from. NequIP changes torch's defaults for its
whole process, which is why this process does nothing else.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from entrove._optional import require
from entrove.execution.program import only_worker, serve
from entrove.files import replacing
from entrove.models.loaded import LoadedModel
from entrove.models.nequip.loading import load_nequip
from entrove.models.nequip.model import NequIPModel
from entrove.models.prediction import predict
from entrove.structures import (
    copy_structure,
    energy_of,
    has_stress,
    read_structures,
    write_structures,
)
from entrove.training.config import TrainingConfig
from entrove.training.job import (
    Epoch,
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
from entrove.training.nequip.last_interaction import names_of_last_interaction
from entrove.training.nequip.settings import Start, saved_model, settings, shifted_model
from entrove.training.nequip.trainer import NequIPTrainer
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.split import split_for_stopping
from entrove.training.trained_model import LABELS_FILE

LAST_CHECKPOINT = "last.ckpt"


def run_job(folder: Path) -> Result:
    """Train to the end of the job in `folder`, from where an earlier attempt ended."""
    with only_worker(folder, "trains"):
        job = Job.model_validate_json((folder / "job.json").read_text())
        structures = read_structures(folder / LABELS_FILE)
        shifts = write_inputs(folder, job, structures)
        if not stopped_early(read_epochs(folder), job.config):
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


def stopped_early(epochs: Sequence[Epoch], config: TrainingConfig) -> bool:
    """Whether the watched loss has not improved for `stop_patience` epochs.

    NequIP would run another epoch when such a training is continued, and go on from a better one.
    """
    losses = [epoch.watched_loss for epoch in epochs if epoch.watched_loss is not None]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= config.stop_patience


def write_inputs(folder: Path, job: Job, structures: Sequence[Atoms]) -> dict[str, float]:
    """Write NequIP's data and configuration; return what is added to the energy per species.

    An interrupted training continues from the last checkpoint in `folder`.
    """
    trained, watched = (
        [as_target(structures[index]) for index in part]
        for part in split_for_stopping(structures, job.config, job.seed)
    )
    write_structures(folder / "trained.xyz", trained)
    if watched:
        write_structures(folder / "watched.xyz", watched)
    replayed: list[Atoms] = []
    architecture = find_architecture(job.base)
    if architecture is None:
        base = load_nequip(job.base, device="cpu")
        start, shifts = _start_from_model(base, job, structures)
        replayed = _replayed(folder, base, job, shifts)
    else:
        model = build_description(read_architecture(architecture), structures, job.seed)
        shifts = model["per_type_energy_shifts"]
        start = Start(model, model["type_names"], float(model["r_max"]))
    if replayed:
        write_structures(folder / "seen.xyz", [*trained, *replayed])
    configuration = settings(
        job,
        folder,
        start,
        watched=bool(watched),
        with_stress=any(has_stress(atoms) for atoms in [*structures, *replayed]),
        replayed_with=len(trained) if replayed else 0,
    )
    if (folder / LAST_CHECKPOINT).exists():
        # In the file and not on the command line, where Hydra has a grammar for paths, too.
        configuration["ckpt_path"] = str(folder / LAST_CHECKPOINT)
    (folder / "nequip.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    return shifts


def as_target(atoms: Atoms) -> Atoms:
    """Copy a labelled structure as NequIP learns from it: a stress is that of a crystal only.

    Directions that are not periodic get a cell vector where they have none. It changes nothing,
    but networks divide a virial by the volume, and the gradient of 0 / 0 spoils all weights, even
    where the stress is not counted.
    """
    target = copy_structure(atoms)
    target.cell = atoms.cell.complete()
    # As they are labelled, whatever constraints the structure has.
    results = {"energy": energy_of(atoms), "forces": atoms.get_forces(apply_constraint=False)}
    if has_stress(atoms):
        results["stress"] = atoms.get_stress(apply_constraint=False)
    target.calc = SinglePointCalculator(target, **results)
    return target


def _start_from_model(
    base: LoadedModel, job: Job, structures: Sequence[Atoms]
) -> tuple[Start, dict[str, float]]:
    """Start from a package or checkpoint; return also what its energies per species change by."""
    base.check_species(structures)
    assert isinstance(base.model, NequIPModel)
    network = base.model.network
    if job.config.strategy == "frozen":
        names_of_last_interaction(name for name, _ in network.module.named_parameters())
    model, shifts = saved_model(job.base), {}
    if job.config.refit_reference_energies:
        old = network.energies_per_species()
        predicted = [energy_of(atoms) for atoms in predict(base, structures)]
        shifts = fit_reference_shifts(structures, predicted)
        new = {symbol: old[symbol] + shift for symbol, shift in shifts.items()}
        model = shifted_model(job.base, new)
    return Start(model, network.type_names, network.cutoff_A), shifts


def _replayed(
    folder: Path, base: LoadedModel, job: Job, shifts_eV: Mapping[str, float]
) -> list[Atoms]:
    """Structures with the labels of the untuned model, whose energies per species are shifted."""
    if job.replay_hash is None:
        return []
    labelled = [
        as_target(atoms) for atoms in predict(base, read_structures(folder / "replay.xyz"))
    ]
    for atoms in labelled:
        assert atoms.calc is not None
        atoms.calc.results["energy"] += sum(shifts_eV.get(symbol, 0.0) for symbol in atoms.symbols)
    return labelled


def _train(folder: Path) -> None:
    """Run NequIP's training, from the checkpoint that its configuration names, if any."""
    train = require("nequip.scripts.train", extra="nequip")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print an error and end the process
    sys.argv = ["nequip-train", f"--config-path={folder}", "--config-name=nequip.yaml"]
    train.main()


def _package(folder: Path) -> None:
    """Make the best checkpoint a package of its own."""
    package = require("nequip.scripts.package", extra="nequip")
    with replacing(folder / NequIPTrainer.checkpoint) as unfinished:
        package.main(["build", str(folder / "state-best.ckpt"), str(unfinished)])


if __name__ == "__main__":
    sys.exit(serve(run_job, torch.set_num_threads))
