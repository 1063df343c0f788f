"""End a campaign: write the bundle of the best accepted model."""

import math
from dataclasses import replace

from entrove.campaign.journal.outcomes import Finished, Trained, Validated
from entrove.campaign.journal.records import best_round
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.open_test import name_worse, open_test
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.models.registry import split_modal
from entrove.structures import read_structures, species_of
from entrove.training.bundle import Regime, write_bundle
from entrove.training.committee import read_committee


def finish(run: CampaignRun, reason: str) -> Finished:
    """Write the bundle of the best accepted model, and say why the campaign ends.

    The errors to quote are those on the test set. It stays closed when no model is kept.
    """
    validations = run.ledger.each(Validated)
    best = best_round(validations, run.config.validation)
    if not best:
        return Finished(
            summary=f"{reason}; no tuned model was better than the foundation model, so there is "
            "no model bundle",
            reason=reason,
        )
    test = open_test(run, best, validations[best])
    _write_best(run, best, validations[best], {} if test is None else test.metrics())
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
    run: CampaignRun, round_index: int, validated: Validated, test: dict[str, float]
) -> None:
    trained = run.ledger.find(round_index, Trained)
    assert trained is not None  # validation follows training
    members = read_committee((run.files.folder / trained.checkpoint).parent.parent)
    total, level = validated.table.total, LevelOfTheory.of(run.config.labelling.engine)
    write_bundle(
        run.files.bundle,
        [replace(member, accepted=True) for member in members],
        species=species_of(read_structures(members[0].folder / "labels.xyz")),
        level_of_theory_hash=level.hash,
        level_of_theory=level.describe(),
        metrics={
            # An error is not a number where the labels have none of the quantity.
            name: value
            for name, value in {
                "energy_centred_mae_meV_per_atom": total.energy_centred_mae_meV_per_atom,
                "energy_mae_meV_per_atom": total.energy_mae_meV_per_atom,
                "force_mae_meV_per_A": total.force_mae_meV_per_A,
                "stress_mae_meV_per_A3": total.stress_mae_meV_per_A3,
                **test,
            }.items()
            if math.isfinite(value)
        },
        regime=Regime(
            phases=tuple(seed.phase for seed in run.config.seeds),
            pressures_GPa=run.config.regime.pressures_GPa,
            temperatures_K=run.config.regime.temperatures_K,
        ),
        modal=split_modal(run.campaign.model_name)[1],
    )
