"""Decide whether a tuned model is better than the model that it was tuned from."""

import math
from dataclasses import dataclass

from entrove.validation.errors_by_kind import ErrorTable


@dataclass(frozen=True)
class Comparison:
    """Whether a tuned model is accepted, and why.

    Attributes:
        accepted: Whether the tuned model is better.
        reason: The decision and the three ratios, in one line.
        energy_ratio, force_ratio, stress_ratio: Tuned over untuned mean absolute error on the same
            validation labels: below 1 is better. Energy errors are centred: the mean signed error
            of each composition is subtracted first. Otherwise a mere change of the zero of energy
            would make every tuned model look a thousand times better.
    """

    accepted: bool
    reason: str
    energy_ratio: float
    force_ratio: float
    stress_ratio: float


def compare(untuned: ErrorTable, tuned: ErrorTable) -> Comparison:
    """Compare the errors of a tuned model with those of the untuned one.

    Args:
        untuned, tuned: Errors of both models on the same labels, from `errors_by_kind`.

    The tuned model is accepted when its force error is not higher and the product of the three
    ratios is at most 1. Forces drive the exploration, so they must not become worse; better forces
    may cost some accuracy of energy or stress, but not more than is gained. A model with errors
    that are not finite is refused. Stress does not count when the untuned model has no stress
    error.
    """
    energy = _ratio(
        tuned.total.energy_centred_mae_meV_per_atom, untuned.total.energy_centred_mae_meV_per_atom
    )
    force = _ratio(tuned.total.force_mae_meV_per_A, untuned.total.force_mae_meV_per_A)
    stress = _ratio(tuned.total.stress_mae_meV_per_A3, untuned.total.stress_mae_meV_per_A3)
    stress_known = not math.isnan(untuned.total.stress_mae_meV_per_A3)
    product = energy * force * (stress if stress_known else 1.0)
    if not math.isfinite(product):
        accepted, verdict = False, "refused: its errors are not finite"
    elif force > 1.0:
        accepted, verdict = False, "refused: its forces are worse than the untuned model's"
    elif product > 1.0:
        accepted, verdict = (
            False,
            "refused: it loses more on energy and stress than it gains on forces",
        )
    else:
        accepted, verdict = True, "accepted"
    reason = (
        f"{verdict} (tuned over untuned error: forces {force:.2f}, centred energy {energy:.2f}, "
        f"stress {stress:.2f})"
    )
    return Comparison(accepted, reason, energy, force, stress)


def _ratio(tuned: float, untuned: float) -> float:
    if untuned == 0.0:
        return 1.0 if tuned == 0.0 else math.inf
    return tuned / untuned
