"""Measure the model that is kept on the test set, which no decision has used."""

from collections.abc import Mapping
from dataclasses import dataclass

from entrove.campaign.journal.outcomes import Validated
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.validate import describe_errors, untuned_shifts
from entrove.files import hash_of_file
from entrove.models.prediction import predict
from entrove.structures import write_structures
from entrove.validation.comparison import compare
from entrove.validation.errors_by_kind import ErrorTable, errors_by_kind
from entrove.validation.intervals import Interval

INTERVALS: Mapping[str, str] = {
    "energy_mae_meV_per_atom": "energy_interval_meV_per_atom",
    "force_mae_meV_per_A": "force_interval_meV_per_A",
    "stress_mae_meV_per_A3": "stress_interval_meV_per_A3",
}


@dataclass(frozen=True)
class OpenedTest:
    """Errors on the test set, of the tuned model and of the untuned one.

    `opened_before` are rounds whose models were measured on the test set earlier: in a campaign
    that was continued, or given other labels, after its end. The round of `tuned` is among them
    where an earlier model of it was.
    """

    tuned: ErrorTable
    untuned: ErrorTable
    opened_before: tuple[int, ...] = ()

    def describe(self, verdict: str) -> str:
        """Return the errors in one line, with what got worse."""
        again = ", ".join(f"round {index}" for index in self.opened_before)
        seen = f" (used before, for the model of {again})" if again else ""
        return (
            f"on {self.tuned.total.structures} test structures{seen}: "
            f"{describe_errors(self.tuned)}; untuned: {describe_errors(self.untuned)}{verdict}"
        )

    def metrics(self) -> dict[str, float]:
        """Return the total errors with their intervals, by names that carry the unit."""
        found = {"test_structures": float(self.tuned.total.structures)}
        for prefix, table in (("test", self.tuned), ("untuned_test", self.untuned)):
            for column, interval_column in INTERVALS.items():
                found[f"{prefix}_{column}"] = getattr(table.total, column)
                interval: Interval | None = getattr(table.total, interval_column)
                for end, value in zip(("low", "high"), interval or (), strict=False):
                    found[f"{prefix}_{column.replace('_mae_', f'_mae_{end}_')}"] = value
        return found


def open_test(run: CampaignRun, round_index: int, validated: Validated) -> OpenedTest | None:
    """Measure the model of a round on the test set; None in a campaign without one.

    The ledger keeps for which models the test set was used. The predictions are in the folders of
    the rounds.
    """
    labels = run.files.test_labels()
    if not labels:
        return None
    weights = _hash_of_weights(run, round_index)
    before = _opened_before(run, round_index, weights)
    run.ledger.enter_test_opening(round_index, weights)
    shifts = (
        untuned_shifts(run, round_index)
        if validated.untuned is None
        else validated.untuned.reference_shifts_eV
    )
    tables = []
    for index, model, added in (
        (round_index, run.models.tuned(round_index), {}),
        (0, run.models.foundation, shifts),
    ):
        predictions = predict(model, labels)
        write_structures(run.files.round(index).test_predictions, predictions)
        tables.append(errors_by_kind(labels, predictions, added))
    return OpenedTest(tables[0], tables[1], before)


def _hash_of_weights(run: CampaignRun, round_index: int) -> str:
    members = run.models.members(round_index)
    return " ".join(hash_of_file(member.checkpoint) for member in members)


def _opened_before(run: CampaignRun, round_index: int, weights: str) -> tuple[int, ...]:
    """Rounds of other models that saw the test set."""
    recorded = {index for index, seen in run.ledger.test_openings() if seen != weights}
    # Campaigns of Entrove 0.1 recorded nothing, and left their predictions.
    left = {
        files.number for files in run.files.existing_rounds() if files.test_predictions.exists()
    }
    return tuple(sorted(recorded | (left - {0, round_index})))


def name_worse(run: CampaignRun, errors: OpenedTest) -> str:
    """Name what is worse than the untuned model's, or may be; empty if nothing is."""
    worse = compare(errors.untuned, errors.tuned, run.config.validation).describe_worse()
    return f"; {worse}" if worse else ""
