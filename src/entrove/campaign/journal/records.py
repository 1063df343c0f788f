"""What the stages wrote into the ledger, read back; nothing here needs a model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from entrove.campaign.journal.ledger import StageRecord
from entrove.campaign.results.results import ErrorRow, LabelRow
from entrove.labelling.label import Outcome
from entrove.validation.comparison import compare
from entrove.validation.errors_by_kind import ALL, ErrorTable
from entrove.validation.errors_by_kind import ErrorRow as ValidationRow


def error_table(payload: dict[str, Any]) -> ErrorTable:
    """Errors of a model, from the record of its validation."""
    return ErrorTable(tuple(ValidationRow(**row) for row in payload["errors"]))


def error_rows(payload: dict[str, Any], round: int, model: str) -> list[ErrorRow]:
    """The same errors as rows of the report.

    Energy errors are those without the mean error of each composition: the zero of energy is no merit. Where
    there is one phase only, what is said of it is not said again of all.
    """
    one_phase = len({row["phase"] for row in payload["errors"]} - {ALL}) == 1
    return [
        ErrorRow(
            round=round,
            model=model,
            phase=row["phase"],
            kind=row["kind"],
            structures=row["structures"],
            energy_mae_meV_per_atom=row["energy_centred_mae_meV_per_atom"],
            force_mae_meV_per_A=row["force_mae_meV_per_A"],
            stress_mae_meV_per_A3=row["stress_mae_meV_per_A3"],
        )
        for row in payload["errors"]
        if not (one_phase and (row["phase"] == ALL) != (row["kind"] == ALL))
    ]


def best_round(stages: Sequence[StageRecord]) -> int:
    """The round of the best tuned model that was accepted; 0, the foundation model, when there is none.

    A later model takes the place of the best one by the rule by which it was accepted against the untuned
    one, see `entrove.validation.comparison.compare`.
    """
    best: StageRecord | None = None
    for record in sorted(stages, key=lambda one: one.round):
        if record.stage != "validate" or not record.payload.get("accepted"):
            continue
        if (
            best is None
            or compare(error_table(best.payload), error_table(record.payload)).accepted
        ):
            best = record
    return 0 if best is None else best.round


def label_rows(stages: Sequence[StageRecord]) -> list[LabelRow]:
    """What became of every structure that was sent to the engine, oldest first.

    A structure that was released from quarantine and asked for again stays in the round that selected it, with
    what became of it the last time; a label that a later round withdrew is rejected.
    """
    rows: dict[str, LabelRow] = {}
    for record in sorted(stages, key=lambda one: one.round):
        for structure_hash, cause in record.payload.get("withdrawn", {}).items():
            if structure_hash in rows:
                rows[structure_hash] = replace(
                    rows[structure_hash], outcome=Outcome.REJECTED.value, cause=cause
                )
        for values in record.payload.get("labels", ()):
            row = LabelRow(**values)
            if before := rows.get(row.structure_hash):
                row = replace(row, round=before.round, gain_nats=before.gain_nats)
            rows[row.structure_hash] = row
    return list(rows.values())


def quarantined(stages: Sequence[StageRecord]) -> set[str]:
    """Content hashes of the structures that have no good label for all that the ledger knows."""
    return {row.structure_hash for row in label_rows(stages) if row.outcome != Outcome.CONVERGED}
