"""Train on all labels so far, measure on the validation set, and keep what is better."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.progress import ProgressListener
from entrove.campaign.journal.runner import StageOutcome
from entrove.models.loaded import LoadedModel
from entrove.models.predict import predict
from entrove.models.registry import split_modal
from entrove.structures import write_structures
from entrove.threads import usable_threads
from entrove.training.committee import epochs_done, labels_learnt_in, train_committee
from entrove.training.job import Epoch
from entrove.training.trained_model import TrainedModel, training_set_hash
from entrove.validation.comparison import compare
from entrove.validation.errors_by_kind import ErrorTable, errors_by_kind
from entrove.validation.splits import check_disjoint


@dataclass(frozen=True)
class Validated:
    """Predictions of a model on the validation set, and its errors."""

    predicted: list[Atoms]
    table: ErrorTable


def train(
    campaign: CheckedCampaign,
    labels: Sequence[Atoms],
    validation: Sequence[Atoms],
    folder: Path,
    listener: ProgressListener,
) -> tuple[TrainedModel, ...]:
    """Tune the foundation model to all training labels; the first of the committee is the potential.

    An interrupted run continues after its last epoch, and one that is done returns at once. Every round
    starts from the foundation model: labels of early rounds are not learnt twice.
    """
    check_disjoint(labels, validation)
    config = campaign.config
    base, modal = split_modal(campaign.model_name)
    epochs, members = config.training.epochs, config.training.committee_size

    def report(member: int, epoch: Epoch) -> None:
        listener.advanced(
            member * epochs + epoch.number, epochs * members, f"loss {epoch.training_loss:.3g}"
        )

    own_folder = _own_folder(folder, labels)
    if done := epochs_done(own_folder, config.training):
        listener.resumed(done)
    return train_committee(
        labels,
        base,
        own_folder,
        config.training,
        seed=config.random_seed,
        modal=modal,
        device=config.model.device,
        threads=usable_threads(config.model.threads),
        on_epoch=report,
    )


def _own_folder(folder: Path, labels: Sequence[Atoms]) -> Path:
    """Where these labels are learnt: `folder`, or its next neighbour where that has learnt others.

    Released labels make a round train again, and what it trained before stays readable until then.
    """
    wanted = training_set_hash(labels)
    for number in itertools.count(1):
        own = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if labels_learnt_in(own) in (None, wanted):
            return own
    raise AssertionError("itertools.count has no end")


def training_outcome(members: Sequence[TrainedModel], campaign_folder: Path) -> StageOutcome:
    """Say how a training went, and where the potential is, relative to the campaign's folder."""
    trained = members[0]
    shifts = ", ".join(
        f"{symbol} {shift:+.3f} eV" for symbol, shift in trained.reference_shifts_eV.items()
    )
    committee = f", committee of {len(members)}" if len(members) > 1 else ""
    epochs = "1 epoch" if trained.epochs_run == 1 else f"{trained.epochs_run} epochs"
    return StageOutcome(
        f"{epochs} on {trained.training_labels} labels, reference energies {shifts}{committee}",
        {
            "checkpoint": str(trained.checkpoint.relative_to(campaign_folder)),
            "training_loss": trained.training_loss,
            "best_epoch": trained.best_epoch,
        },
    )


def validate(model: LoadedModel, validation: Sequence[Atoms], predictions_file: Path) -> Validated:
    """Predict the validation set, keep the predictions, and compare them with the labels."""
    predicted = predict(model, validation)
    write_structures(predictions_file, predicted)
    return Validated(predicted, errors_by_kind(validation, predicted))


def outcome_of(
    validated: Validated, untuned: ErrorTable | None, best: tuple[int, ErrorTable] | None = None
) -> StageOutcome:
    """Say how good a model is.

    `untuned` is None for the foundation model itself; `best` is the round and the errors of the best accepted
    model so far.
    """
    total = validated.table.total
    summary = (
        f"energy {total.energy_centred_mae_meV_per_atom:.1f} meV/atom, forces {total.force_mae_meV_per_A:.0f} meV/A, "
        f"stress {total.stress_mae_meV_per_A3:.2f} meV/A^3"
    )
    payload: dict[str, Any] = {"errors": [asdict(row) for row in validated.table.rows]}
    if untuned is not None:
        comparison = compare(untuned, validated.table)
        payload |= {"accepted": comparison.accepted, "reason": comparison.reason}
        summary += f"; {comparison.reason}"
        if (
            comparison.accepted
            and best is not None
            and not compare(best[1], validated.table).accepted
        ):
            summary += f", but the model of round {best[0]} stays the best"
    return StageOutcome(summary, payload)
