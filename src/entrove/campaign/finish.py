"""The end of a campaign: the best model becomes a bundle."""

from dataclasses import replace

from entrove.campaign import learn
from entrove.campaign.check import CheckedCampaign
from entrove.campaign.ledger import Ledger
from entrove.campaign.models import CampaignModels
from entrove.campaign.progress import Silence
from entrove.campaign.read import describe_level
from entrove.campaign.stages import StageOutcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.models.registry import split_modal
from entrove.structures import read_structures, species_of
from entrove.training.bundle import Regime, write_bundle


def finish(campaign: CheckedCampaign, ledger: Ledger, models: CampaignModels, verdict: str) -> StageOutcome:
    """Write the bundle of the last model that was accepted; the summary is the campaign's verdict."""
    last = max(record.round for record in ledger.stages())
    best = models.best_round(before=last + 1)
    if not best:
        return StageOutcome(
            f"{verdict}; no tuned model was better than the foundation model, so there is no model bundle"
        )
    workspace, config = campaign.workspace, campaign.config
    labels = [atoms for atoms in read_structures(workspace.dataset) if atoms.info["entrove_round"] <= best]
    # The training of this round is done: asking for it again returns what came out.
    members = learn.train(
        campaign,
        labels,
        read_structures(workspace.validation),
        workspace.in_round(best, "training"),
        Silence(),
    )
    record = ledger.find(best, "validate")
    assert record is not None
    total = learn.error_table(record.payload).total
    level = LevelOfTheory.of(config.labelling.engine)
    write_bundle(
        workspace.bundle,
        [replace(member, accepted=True) for member in members],
        species=species_of(labels),
        level_of_theory_hash=level.hash,
        level_of_theory=describe_level(level),
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
    return StageOutcome(f"{verdict}; the model is that of round {best}", {"best_round": best})
