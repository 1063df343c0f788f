"""Judge a model on labels by the loss, in this process or as a program of its own.

The program is `python -m entrove.training.cross_validation.judging FOLDER`, where FOLDER has

judgement.json   what is judged
labels.xyz       on which labels
losses.json      the result
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from pydantic import Field

from entrove.errors import ModelError
from entrove.execution.program import Program, explain_end, only_worker, serve
from entrove.execution.running import Programs, run_programs
from entrove.files import replace_text
from entrove.settings import Settings
from entrove.structures import energy_of, read_structures, write_structures
from entrove.training.config import LossConfig
from entrove.training.reference_energies import fit_reference_shifts

LOSSES_FILE = "losses.json"


class Judgement(Settings):
    """What is judged."""

    model: str = Field(description="The model, as `entrove.models.registry.load` takes it.")
    device: str = Field(description="cpu, cuda, or auto.")
    threads: int = Field(ge=0, description="CPU threads; 0: all that the process may use.")
    loss: LossConfig = Field(description="By what.")
    folds: tuple[tuple[int, ...], ...] = Field(description="Labels of each fold, by index.")
    refit_reference_energies: bool = Field(
        description="Fit the model's energies per species to the labels outside of a fold first."
    )


def judge(judgement: Judgement, labels: Sequence[Atoms]) -> list[float | None]:
    """Return the loss on each fold; None where it is not finite."""
    # These load torch-sim, which a training that compares nothing need not wait for.
    from entrove.models.prediction import predict
    from entrove.models.registry import load
    from entrove.training.loss import loss_of_predictions

    predicted = predict(load(judgement.model, device=judgement.device), labels)
    losses: list[float | None] = []
    for held_out in judgement.folds:
        (others, fold), (of_others, of_fold) = split(labels, held_out), split(predicted, held_out)
        shifts = (
            fit_reference_shifts(others, [energy_of(atoms) for atoms in of_others])
            if judgement.refit_reference_energies
            else {}
        )
        loss = loss_of_predictions(of_fold, fold, judgement.loss, shifts_eV=shifts)
        losses.append(loss if math.isfinite(loss) else None)
    return losses


def judge_all(
    wanted: Sequence[tuple[Judgement, Sequence[Atoms], Path]], where: Programs
) -> list[list[float | None]]:
    """Judge several models: here one after the other in this process, elsewhere in programs.

    Args:
        wanted: Each judgement with its labels and a folder, which is used elsewhere only.
        where: Where models are evaluated.

    Raises `ModelError` with the program's own message when it fails.
    """
    if not where.elsewhere:
        return [judge(judgement, labels) for judgement, labels, _ in wanted]
    programs = []
    for judgement, labels, folder in wanted:
        folder.mkdir(parents=True, exist_ok=True)
        write_structures(folder / "labels.xyz", labels)
        replace_text(folder / "judgement.json", judgement.model_dump_json(indent=2))
        programs.append(Program(__name__, str(folder), judgement.threads, LOSSES_FILE))
    for index, code in run_programs(programs, where, lambda: None):
        if code != 0:
            raise ModelError(explain_end(wanted[index][2], code, "judging a training"))
    return [json.loads((folder / LOSSES_FILE).read_text()) for _, _, folder in wanted]


def split(structures: Sequence[Atoms], held_out: Sequence[int]) -> tuple[list[Atoms], list[Atoms]]:
    """Return the structures that are not held out, and those that are."""
    inside = set(held_out)
    return (
        [atoms for index, atoms in enumerate(structures) if index not in inside],
        [structures[index] for index in held_out],
    )


def run_judgement(folder: Path) -> None:
    """Judge what a folder asks for."""
    with only_worker(folder, "judges"):
        judgement = Judgement.model_validate_json((folder / "judgement.json").read_text())
        losses = judge(judgement, read_structures(folder / "labels.xyz"))
        replace_text(folder / LOSSES_FILE, json.dumps(losses) + "\n")


if __name__ == "__main__":
    import torch

    sys.exit(serve(run_judgement, torch.set_num_threads))
