"""End a campaign: write the bundle of the best accepted model."""

from dataclasses import replace

from entrove.campaign.journal.outcomes import Finished, Labelled, Validated
from entrove.campaign.journal.records import best_round, checks_of
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.open_test import OpenedTest, name_worse, open_test
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.models.registry import split_modal
from entrove.structures import read_structures, species_of
from entrove.training.bundle import CheckResult, Regime, remove_bundle, write_bundle
from entrove.training.committee import settings_of
from entrove.training.trained_model import LABELS_FILE
from entrove.validation.bundle_errors import count_parts, metrics_of, paired_errors
from entrove.validation.suite.result import Outcome


def finish(run: CampaignRun, reason: str) -> Finished:
    """Write the bundle of the best accepted model, and say why the campaign ends.

    The errors to quote are those on the test set. It stays closed when no model is kept, and a
    bundle of an earlier end, whose model is no longer accepted, is removed.
    """
    validations = run.ledger.each(Validated)
    best = best_round(validations, run.config.validation)
    if not best:
        removed = remove_bundle(run.files.bundle)
        summary = (
            f"{reason}; no tuned model was better than the foundation model, so there is no model "
            "bundle"
        )
        if removed:
            summary += " (the one of a model that was accepted before is removed)"
        return Finished(summary=summary, reason=reason)
    test = open_test(run, best, validations[best])
    _write_best(run, best, validations[best], test)
    accepted = max(index for index, validated in validations.items() if validated.accepted)
    better = (
        f", better on the validation set than that of round {accepted}" if best < accepted else ""
    )
    summary = f"{reason}; the model is that of round {best}{better}"
    if test is None:
        return Finished(summary=summary, reason=reason, model_round=best)
    return Finished(
        summary=f"{summary}; {test.describe(name_worse(run, test))}",
        reason=reason,
        model_round=best,
        test=test.tuned,
        untuned_test=test.untuned,
    )


def _write_best(
    run: CampaignRun, round_index: int, validated: Validated, test: OpenedTest | None
) -> None:
    members = run.models.members(round_index)
    labels = read_structures(members[0].folder / LABELS_FILE)
    untuned = validated.untuned or run.ledger.each(Validated)[0].table
    level = LevelOfTheory.of(run.config.labelling.engine)
    write_bundle(
        run.files.bundle,
        [replace(member, accepted=True) for member in members],
        species=species_of(labels),
        level_of_theory_hash=level.hash,
        level_of_theory=level.describe(),
        metrics=metrics_of(validated.table, {} if test is None else test.metrics()),
        regime=Regime(
            phases=tuple(seed.phase for seed in run.config.seeds),
            pressures_GPa=run.config.regime.pressures_GPa,
            temperatures_K=run.config.regime.temperatures_K,
        ),
        chosen_on_validation=True,
        modal=split_modal(run.campaign.model_name)[1],
        name=run.config.name,
        training_structures=count_parts(labels),
        training_settings=settings_of(members, run.config.training).model_dump(
            mode="json", exclude={"executor"}
        ),
        errors=paired_errors(untuned, validated.table, run.config.validation),
        test_errors=()
        if test is None
        else paired_errors(test.untuned, test.tuned, run.config.validation),
        checks=_checks(run, round_index),
        validation=run.files.validation_labels(),
        test=run.files.test_labels(),
        examples=read_structures(run.files.round(0).relaxed, may_be_empty=True),
    )


def _checks(run: CampaignRun, round_index: int) -> list[CheckResult]:
    """What is known of the labels and of the model of a round; a check not made is left out."""
    found = []
    held_out = run.ledger.find(0, Labelled)
    kpoints = held_out.kpoints if held_out else None
    if kpoints is not None:
        found.append(
            CheckResult(
                name="k-points of the labels",
                passed=not kpoints.beyond,
                result=kpoints.describe(),
            )
        )
    last = checks_of(run.ledger.records(), round_index)
    if last is None:
        return found
    verdicts = {Outcome.PASSED: True, Outcome.FAILED: False}
    return found + [
        CheckResult(name=check.title, passed=verdicts[check.outcome], result=check.sentence)
        for check in last.suite.checks
        if check.outcome in verdicts
    ]
