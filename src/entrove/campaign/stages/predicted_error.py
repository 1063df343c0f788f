"""The force error that a calibrated committee predicts where the next labels would be chosen."""

import logging
from collections.abc import Sequence

from ase import Atoms

from entrove import provenance
from entrove.campaign.stages.context import CampaignRun
from entrove.errors import ModelError
from entrove.models.prediction import predict
from entrove.sampling.candidates import Candidate
from entrove.validation.calibration import calibrate_left_out, predicted_force_rmse

logger = logging.getLogger(__name__)

MOST_STRUCTURES = 256
"""Most structures that the committee predicts, evenly spread over all."""


def predict_error(
    run: CampaignRun, round_index: int, offered: Sequence[Candidate]
) -> float | None:
    """Predict the root mean square error of force components in meV/A before a round is labelled.

    It is that of the committee which was tuned with the model of the campaign so far: its spread
    on the unbiased snapshots of the round, or without any on those of the anchors, multiplied by
    the factor that makes spreads errors on the training labels that members left out. `offered`
    are the candidates of the round; none of them is labelled.

    Returns None where `stopping` does not ask for it, before a model was accepted, and where
    nothing unbiased is left.
    """
    best = run.models.best_round(before=round_index)
    if run.config.stopping.predicted_force_rmse_meV_per_A is None or not best:
        return None
    committee, sample = run.models.committee(best), _sample(offered)
    if committee is None or not sample:
        reason = "no unbiased snapshot is left" if committee else f"round {best} tuned one model"
        logger.warning("the force error is not predicted: %s", reason)
        return None
    labels = run.files.training_labels(before=round_index)
    learnt = [member.labels_learnt() for member in run.models.members(best)]
    try:
        found = calibrate_left_out(
            labels, learnt, [predict(member, labels) for member in committee.members]
        )
    except ModelError as error:
        logger.warning("the force error is not predicted: %s", error)
        return None
    (forces,) = (one for one in found if one.quantity == "forces")
    return predicted_force_rmse(forces, predict(committee, sample))


def _sample(offered: Sequence[Candidate]) -> list[Atoms]:
    """Unbiased snapshots of the walkers, of the anchors where all walkers are biased."""
    thermal = [
        candidate
        for candidate in offered
        if candidate.kind == "md" and not provenance.is_biased(candidate.to_atoms())
    ]
    walkers = [candidate for candidate in thermal if candidate.pool != "anchors"]
    chosen = walkers or thermal
    step = -(-len(chosen) // MOST_STRUCTURES) or 1
    return [candidate.atoms for candidate in chosen[::step]]
