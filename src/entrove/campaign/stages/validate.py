"""Compute the errors of a model on the validation set, and compare them with the untuned one's."""

import math

from entrove.campaign.journal.imports import withdrawn_labels_learnt
from entrove.campaign.journal.outcomes import Validated
from entrove.campaign.journal.records import best_round, is_better
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.train import labels_to_learn
from entrove.models.prediction import predict
from entrove.structures import energy_of, read_structures, write_structures
from entrove.training.reference_energies import fit_reference_shifts
from entrove.validation.comparison import compare
from entrove.validation.errors_by_kind import ErrorTable, errors_by_kind
from entrove.validation.intervals import Interval
from entrove.validation.measure import validate as measure


def validate(run: CampaignRun, round_index: int) -> Validated:
    """Predict the validation set, write the predictions, and compare them with the labels.

    Round 0 validates the foundation model. A tuned model is accepted when it is better than the
    foundation model whose energies per species are fitted to the same training labels: what a
    mere change of the zero of energy would give is no merit of the tuning.
    """
    models, labels = run.models, run.files.validation_labels()
    model = models.tuned(round_index) if round_index else models.foundation
    shifts = untuned_shifts(run, round_index)
    measured = measure(model, labels, reference_shifts_eV={} if round_index else shifts)
    write_structures(run.files.round(round_index).validation_predictions, measured.predictions)
    table = measured.errors
    if round_index == 0:
        return Validated(
            summary=describe_errors(table),
            errors=table.rows,
            structures=table.structures,
            reference_shifts_eV=shifts,
        )
    untuned = errors_by_kind(
        labels, read_structures(run.files.round(0).validation_predictions), shifts
    )
    comparison = compare(untuned, table, run.config.validation)
    validated = Validated(
        summary=f"{describe_errors(table)}; {comparison.reason}",
        errors=table.rows,
        structures=table.structures,
        reference_shifts_eV={},
        untuned=untuned,
        accepted=comparison.accepted,
    )
    if withdrawn := withdrawn_labels_learnt(run.files, run.ledger, round_index):
        return _refused(validated, withdrawn)
    earlier = {
        index: found for index, found in run.ledger.each(Validated).items() if index < round_index
    }
    best = best_round(earlier, run.config.validation)
    replaces = not best or is_better(earlier[best], validated, run.config.validation)
    if comparison.accepted and not replaces:
        summary = f"{validated.summary}, but the model of round {best} stays the best"
        return validated.model_copy(update={"summary": summary})
    return validated


def refuse_models_of_withdrawn(run: CampaignRun) -> bool:
    """Accept no model any more that has learnt imported labels that were withdrawn since.

    Returns whether there was one.
    """
    is_any = False
    for round_index, validated in run.ledger.each(Validated).items():
        if not validated.accepted:
            continue
        if withdrawn := withdrawn_labels_learnt(run.files, run.ledger, round_index):
            run.ledger.amend(round_index, _refused(validated, withdrawn))
            is_any = True
    return is_any


def _refused(validated: Validated, withdrawn: int) -> Validated:
    summary = (
        f"{validated.summary}; not accepted: {withdrawn} of the labels that it has learnt were "
        "withdrawn or corrected since"
    )
    return validated.model_copy(update={"accepted": False, "summary": summary})


def complete_validations(run: CampaignRun) -> None:
    """Measure the models of a campaign again that an older version validated.

    Release 0.1 kept no errors of single structures, and counted force components that vanish by
    symmetry. What it decided stays; the errors are computed from the predictions that it stored,
    so that those of all rounds can be compared.
    """
    for round_index, validated in run.ledger.each(Validated).items():
        path = run.files.round(round_index).validation_predictions
        untuned_path = run.files.round(0).validation_predictions
        if validated.structures or not (path.is_file() and untuned_path.is_file()):
            continue
        labels, shifts = run.files.validation_labels(), untuned_shifts(run, round_index)
        tables = [
            errors_by_kind(labels, read_structures(predicted), added)
            for predicted, added in ((path, {} if round_index else shifts), (untuned_path, shifts))
        ]
        completed = {
            "errors": tables[0].rows,
            "structures": tables[0].structures,
            "reference_shifts_eV": tables[0].reference_shifts_eV,
            "untuned": tables[1] if round_index else None,
        }
        run.ledger.amend(round_index, validated.model_copy(update=completed))


def untuned_shifts(run: CampaignRun, round_index: int) -> dict[str, float] | None:
    """Fit the reference energies of the foundation model to the labels that a round learns.

    Returns eV per atom of each species, or None when there are no such labels: before the
    first round these are imported ones.
    """
    labels, _ = labels_to_learn(run, round_index)
    if not labels:
        return None
    predictions = predict(run.models.foundation, labels)
    return fit_reference_shifts(labels, [energy_of(atoms) for atoms in predictions])


def describe_errors(table: ErrorTable) -> str:
    """Return the total errors with their intervals, in one line.

    A model whose zero of energy is not that of the labels has no energy error but a centred one.
    """
    total = table.total
    energy = (
        "energy: reference not fitted yet (centred "
        f"{total.energy_centred_mae_meV_per_atom:.1f} meV/atom)"
        if table.reference_shifts_eV is None
        else "energy "
        + _describe(
            total.energy_mae_meV_per_atom, total.energy_interval_meV_per_atom, 1, "meV/atom"
        )
    )
    force = _describe(total.force_mae_meV_per_A, total.force_interval_meV_per_A, 0, "meV/A")
    stress = _describe(total.stress_mae_meV_per_A3, total.stress_interval_meV_per_A3, 2, "meV/A^3")
    return f"{energy}, forces {force}, stress {stress}"


def _describe(value: float, interval: Interval | None, decimals: int, unit: str) -> str:
    if math.isnan(value):
        return "not measured"
    between = (
        "" if interval is None else f" ({interval[0]:.{decimals}f} to {interval[1]:.{decimals}f})"
    )
    return f"{value:.{decimals}f}{between} {unit}"
