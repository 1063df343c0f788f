"""Compute the errors of a model on labelled structures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.validation.errors_by_kind import ErrorTable, errors_by_kind


@dataclass(frozen=True)
class Validation:
    """Predictions of a model for labelled structures, and their errors.

    Attributes:
        predictions: Copies of the structures, in the same order, with the model's energy (eV),
            forces (eV/A) and stress (eV/A^3).
        errors: Errors by phase and kind, the total first.
    """

    predictions: list[Atoms]
    errors: ErrorTable


def validate(
    model: LoadedModel | str | Path,
    labelled: Sequence[Atoms],
    *,
    device: str = "auto",
    reference_shifts_eV: Mapping[str, float] | None = None,
) -> Validation:
    """Predict labelled structures with a model and compare the predictions with the labels.

    Args:
        model: A loaded model, or what `entrove.models.load` takes: a name or a file.
        labelled: Structures with energy (eV), forces (eV/A) and, when they are periodic in all
            three directions, stress (eV/A^3). Their `info` may name phase and kind
            (`entrove_phase`, `entrove_kind`), by which the errors are grouped.
        device: Where a model that is given by name runs: "auto", "cpu" or "cuda".
        reference_shifts_eV: Energy in eV per atom of each species that is added to the predicted
            energies, see `errors_by_kind`.

    Returns predictions and errors. `errors.total` is the row over all structures; its energy
    errors are given both as they are and centred, without the mean error of each composition. The
    predictions themselves are not shifted.

    Raises `ModelError` when the model cannot be loaded or does not know an element, and
    `StructureError` when there is no structure.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model, device=device)
    predictions = predict(loaded, labelled)
    return Validation(predictions, errors_by_kind(labelled, predictions, reference_shifts_eV))
