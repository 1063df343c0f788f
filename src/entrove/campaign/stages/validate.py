"""Compute the errors of a model on the validation set, and compare them with the untuned one's."""

from entrove.campaign.journal.outcomes import Validated
from entrove.campaign.journal.records import best_round
from entrove.campaign.stages.context import CampaignRun
from entrove.structures import write_structures
from entrove.validation.comparison import compare
from entrove.validation.measure import validate as measure


def validate(run: CampaignRun, round_index: int) -> Validated:
    """Predict the validation set, write the predictions, and compare them with the labels.

    Round 0 validates the foundation model; a tuned model is accepted when it is better.
    """
    models, labels = run.models, run.files.validation_labels()
    model = models.tuned(round_index) if round_index else models.foundation
    measured = measure(model, labels)
    write_structures(run.files.round(round_index).validation_predictions, measured.predictions)
    table = measured.errors
    total = table.total
    summary = (
        f"centred energy {total.energy_centred_mae_meV_per_atom:.1f} meV/atom, "
        f"forces {total.force_mae_meV_per_A:.0f} meV/A, "
        f"stress {total.stress_mae_meV_per_A3:.2f} meV/A^3"
    )
    validations = run.ledger.each(Validated)
    untuned = validations.get(0)
    if untuned is None:
        return Validated(summary=summary, errors=table.rows)
    comparison = compare(untuned.table, table)
    summary += f"; {comparison.reason}"
    best = best_round(
        {index: found for index, found in validations.items() if index < round_index}
    )
    if comparison.accepted and best and not compare(validations[best].table, table).accepted:
        summary += f", but the model of round {best} stays the best"
    return Validated(summary=summary, errors=table.rows, accepted=comparison.accepted)
