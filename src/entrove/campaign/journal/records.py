"""What follows from all finished stages together: the best model, and the state of each label."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from entrove.campaign.journal.ledger import StageRecord
from entrove.campaign.journal.outcomes import Checked, Labelled, LabelRow, Validated
from entrove.campaign.workspace import Workspace
from entrove.labelling.labels import Outcome
from entrove.labelling.store.moments import key_of
from entrove.structures import is_readable, read_structures
from entrove.validation.comparison import compare
from entrove.validation.config import ValidationConfig


def best_round(
    validations: Mapping[int, Validated], config: ValidationConfig | None = None
) -> int:
    """Return the round of the best accepted model; 0, the foundation model, when there is none.

    `validations` are by round. A later model replaces the best one by the rule by which it was
    accepted against the untuned one, see `entrove.validation.comparison.compare`, except that it
    need not be better beyond noise: it has learnt from more labels.
    """
    best = 0
    for round_index, validated in sorted(validations.items()):
        if not validated.accepted:
            continue
        if not best or is_better(validations[best], validated, config):
            best = round_index
    return best


def checks_of(records: Iterable[StageRecord], model_round: int) -> Checked | None:
    """Return the checks of the model of a round that were made last; None without any."""
    found = [
        record.outcome
        for record in records
        if isinstance(record.outcome, Checked) and record.outcome.model_round == model_round
    ]
    return found[-1] if found else None


def is_better(
    earlier: Validated, later: Validated, config: ValidationConfig | None = None
) -> bool:
    """Whether a tuned model takes the place of an earlier one."""
    return compare(earlier.table, later.table, config, beyond_noise=False).accepted


def label_rows(labellings: Mapping[int, Labelled]) -> list[LabelRow]:
    """Return the last outcome of every structure that was sent to the engine, oldest first.

    Two magnetic states of one structure are two. A structure that was released from quarantine
    and requested again stays in the round that selected it, with its last outcome; a label that a
    later round withdrew is rejected.
    """
    rows: dict[str, LabelRow] = {}
    for _, labelled in sorted(labellings.items()):
        for key, cause in labelled.withdrawn.items():
            if key in rows:
                rows[key] = replace(rows[key], outcome=Outcome.REJECTED.value, cause=cause)
        for row in labelled.labels:
            if earlier := rows.get(row.key):
                row = replace(row, round=earlier.round, gain_nats=earlier.gain_nats)  # noqa: PLW2901
            rows[row.key] = row
    return list(rows.values())


def quarantined(labellings: Mapping[int, Labelled]) -> set[str]:
    """Return what the labels are known by that are not good in the ledger, see `LabelRow.key`."""
    return {row.key for row in label_rows(labellings) if row.outcome != Outcome.CONVERGED}


def lost_labels(files: Workspace, labellings: Mapping[int, Labelled]) -> list[LabelRow]:
    """Return the labels that a campaign has finished and no file of it holds.

    Args:
        files: The campaign. A file that cannot be read holds nothing.
        labellings: What each round has labelled; round 0 are validation and test set.

    Labels of an import that was withdrawn since are among them.
    """
    held_out = label_keys_in(files.validation, files.test)
    trained_on = label_keys_in(files.dataset)
    return [
        row
        for row in label_rows(labellings)
        if row.outcome == Outcome.CONVERGED
        and row.key not in (trained_on if row.round else held_out)
    ]


def label_keys_in(*paths: Path) -> set[str]:
    """Return what the labels in files are known by, see `LabelRow.key`.

    Args:
        paths: Files of a campaign. One that is missing or cannot be read holds nothing.
    """
    return {
        key_of(atoms)
        for path in paths
        if is_readable(path)
        for atoms in read_structures(path, may_be_empty=True)
    }
