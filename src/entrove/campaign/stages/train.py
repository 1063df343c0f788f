"""Tune the foundation model to all labels so far."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ase import Atoms

from entrove.campaign.journal.outcomes import Trained
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.workspace import RoundFiles
from entrove.models.registry import split_modal
from entrove.sampling.candidates import read_candidates
from entrove.structures import content_hash, read_structures
from entrove.training.committee import epochs_done, labels_learnt_in, train_committee
from entrove.training.job import OtherTrainingError
from entrove.training.trained_model import (
    LABELS_FILE,
    TrainedModel,
    same_labels,
    training_set_hash,
)
from entrove.validation.splits import check_disjoint, without_hold_out

MAY_DIFFER = frozenset({"config", "head_noise", "labels_hash", "replay_hash"})
"""What may have changed since an earlier training of a round; its foundation model may not."""


def train(run: CampaignRun, round_index: int) -> Trained:
    """Tune the foundation model to the labels of all rounds; the first member is the potential.

    An interrupted training continues after its last epoch, and a finished one returns at once.
    Every round starts from the foundation model, so that labels of early rounds do not count more
    than those of late ones.
    """
    config, listener = run.config, run.listener
    labels, left_out = labels_to_learn(run, round_index)
    base, modal = split_modal(run.campaign.model_name)
    training = config.training.for_labels(len(labels))
    where = run.programs(training.executor)
    snapshots = _snapshots(run, round_index) if training.replay else ()
    for folder in _folders(run.files.round(round_index), labels):
        done = epochs_done(folder, training.committee_size)
        try:
            if done:
                listener.resumed(done)
            if where.elsewhere:
                listener.advanced(done, note="waiting for a worker")
            trained = train_committee(
                labels,
                base,
                folder,
                training,
                seed=config.random_seed,
                snapshots=snapshots,
                modal=modal,
                device=config.model.device,
                threads=config.model.threads,
                advanced=listener.advanced,
                where=where,
            )
        except OtherTrainingError as error:
            if not error.different <= MAY_DIFFER:
                raise
            listener.resumed(0)
            continue
        return _outcome(trained, run.files.folder.resolve(), left_out)
    raise AssertionError("the folders have no end")


def labels_to_learn(run: CampaignRun, round_index: int) -> tuple[list[Atoms], int]:
    """Return the training labels so far, and the number of those left out as too near to held-out.

    The selection picks none of these, but labels can be imported, and older versions compared
    hashes only.
    """
    labels, held_out = (
        run.files.training_labels(before=round_index + 1),
        run.files.held_out_labels(),
    )
    kept = [labels[index] for index in without_hold_out(labels, held_out)]
    # Nearness is relative to the spread of the labels, which grows where near ones are left out.
    check_disjoint(kept, held_out, near=0.0)
    return kept, len(labels) - len(kept)


def _snapshots(run: CampaignRun, round_index: int) -> list[Atoms]:
    """Snapshots of all rounds so far that are neither labelled nor held out."""
    known = {
        content_hash(atoms)
        for atoms in (
            *run.files.training_labels(before=round_index + 1),
            *run.files.held_out_labels(),
        )
    }
    snapshots = [
        candidate.atoms
        for number in range(1, round_index + 1)
        for candidate in read_candidates(run.files.round(number).candidates)
    ]
    return [atoms for atoms in snapshots if content_hash(atoms) not in known]


def _folders(files: RoundFiles, labels: Sequence[Atoms]) -> Iterator[Path]:
    """Yield the folders that a training on these labels may be in.

    A round trains again when labels are released, imported or corrected; the earlier model stays
    readable until then. The training that is in a folder may have had other settings.
    """
    wanted = training_set_hash(labels)
    for own in files.trainings():
        learnt = read_structures(own / "member-0" / LABELS_FILE, may_be_empty=True)
        if labels_learnt_in(own) in (None, wanted) and (not learnt or same_labels(learnt, labels)):
            yield own


def _outcome(members: Sequence[TrainedModel], campaign_folder: Path, left_out: int) -> Trained:
    """Return what the ledger keeps of a training; paths are relative to the campaign's folder."""
    trained = members[0]
    shifts = ", ".join(
        f"{symbol} {shift:+.3f} eV" for symbol, shift in trained.reference_shifts_eV.items()
    )
    committee = f", committee of {len(members)}" if len(members) > 1 else ""
    epochs = "1 epoch" if trained.epochs_run == 1 else f"{trained.epochs_run} epochs"
    chosen = "" if trained.choice is None else f"; {trained.choice.describe()}"
    return Trained(
        summary=f"{epochs} on {trained.training_labels} labels, reference energies "
        f"{shifts}{committee}"
        + (f"; {left_out} left out that nearly equal held-out structures" if left_out else "")
        + chosen,
        checkpoint=str(trained.checkpoint.relative_to(campaign_folder)),
        labels=trained.training_labels,
        choice=trained.choice,
    )
