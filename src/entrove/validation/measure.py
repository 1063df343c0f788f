"""Measure a model on labelled structures."""

from collections.abc import Sequence
from dataclasses import dataclass

from ase import Atoms

from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.validation.errors_by_kind import ErrorTable, errors_by_kind


@dataclass(frozen=True)
class Validation:
    """What a model predicts for labelled structures, and how far that is from the labels.

    `predictions` are copies of the structures, in their order, that carry the model's energy (eV),
    forces (eV/A) and stress (eV/A^3).
    """

    predictions: list[Atoms]
    errors: ErrorTable


def validate(
    model: LoadedModel | str, labelled: Sequence[Atoms], *, device: str = "auto"
) -> Validation:
    """Predict labelled structures with a model and compare the predictions with the labels.

    model
        A loaded model, or what `entrove.models.load` takes: a name or a file.
    labelled
        Structures that carry energy (eV), forces (eV/A) and, when they are periodic in all three
        directions, stress (eV/A^3). Their `info` may name phase and kind (`entrove_phase`,
        `entrove_kind`), by which the errors are listed.
    device
        Where a model runs that is given by name: "auto", "cpu" or "cuda".

    Returns predictions and mean errors; `errors.total` is the row over all structures, whose energy
    errors are given as they are and, beside, without the mean error of each composition (centred).

    Raises `ModelError` when the model cannot be loaded or does not know an element, and
    `StructureError` when there is no structure.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model, device=device)
    predictions = predict(loaded, labelled)
    return Validation(predictions, errors_by_kind(labelled, predictions))
