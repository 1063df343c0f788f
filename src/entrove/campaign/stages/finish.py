"""The end of a campaign: the best accepted model becomes a bundle."""

from dataclasses import replace

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.records import best_round, error_table
from entrove.campaign.journal.runner import StageOutcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.models.registry import split_modal
from entrove.structures import read_structures, species_of
from entrove.training.bundle import Regime, write_bundle
from entrove.training.committee import read_committee


def finish(campaign: CheckedCampaign, ledger: Ledger, reason: str) -> StageOutcome:
    """Write the bundle of the best model that was accepted; the summary is the campaign's verdict."""
    stages, workspace, config = ledger.stages(), campaign.workspace, campaign.config
    best = best_round(stages)
    if not best:
        return StageOutcome(
            f"{reason}; no tuned model was better than the foundation model, so there is no model bundle",
            {"reason": reason},
        )
    records = {(record.round, record.stage): record for record in stages}
    checkpoint = workspace.folder / records[best, "train"].payload["checkpoint"]
    members = read_committee(checkpoint.parent.parent)
    total = error_table(records[best, "validate"].payload).total
    level = LevelOfTheory.of(config.labelling.engine)
    write_bundle(
        workspace.bundle,
        [replace(member, accepted=True) for member in members],
        species=species_of(read_structures(members[0].folder / "labels.xyz")),
        level_of_theory_hash=level.hash,
        level_of_theory=level.describe(),
        metrics={
            "energy_centred_mae_meV_per_atom": total.energy_centred_mae_meV_per_atom,
            "energy_mae_meV_per_atom": total.energy_mae_meV_per_atom,
            "force_mae_meV_per_A": total.force_mae_meV_per_A,
            "stress_mae_meV_per_A3": total.stress_mae_meV_per_A3,
        },
        regime=Regime(
            phases=tuple(seed.phase for seed in config.seeds),
            pressures_GPa=config.regime.pressures_GPa,
            temperatures_K=config.regime.temperatures_K,
        ),
        modal=split_modal(campaign.model_name)[1],
    )
    accepted = [
        one.round for one in stages if one.stage == "validate" and one.payload.get("accepted")
    ]
    better = (
        f", better on the validation set than that of round {max(accepted)}"
        if best < max(accepted)
        else ""
    )
    return StageOutcome(
        f"{reason}; the model is that of round {best}{better}",
        {"reason": reason, "best_round": best},
    )
