"""Is the tuned model better than the model that it came from?"""

import math
from dataclasses import dataclass

from entrove.validation.errors_by_kind import ErrorTable


@dataclass(frozen=True)
class Comparison:
    """A verdict on a tuned model, with its reason in one line.

    Each ratio is tuned over untuned mean absolute error on the same validation labels: below 1 is
    better. Energies are compared after the mean signed error of each composition has been taken
    away; otherwise a mere change of the zero of energy would make every tuned model look a
    thousand times better."""

    accepted: bool
    reason: str
    energy_ratio: float
    force_ratio: float
    stress_ratio: float


def compare(untuned: ErrorTable, tuned: ErrorTable) -> Comparison:
    """Accept a tuned model whose force error is not higher and whose three ratios multiply to at most 1.

    Forces drive the exploration, so they have a veto; a gain there may cost a little energy or
    stress accuracy, but not more than it brings. Errors that are not finite are refused. A stress
    that is not known on both sides does not count."""
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
