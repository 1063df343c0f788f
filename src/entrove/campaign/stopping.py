"""The conditions under which a campaign stops."""

from collections.abc import Sequence

from entrove.campaign.configuration.config import StoppingConfig
from entrove.campaign.journal.outcomes import Selected
from entrove.selection.result import Filter
from entrove.validation.intervals import Interval


def budget_spent(stopping: StoppingConfig, labels_spent: int) -> str | None:
    """Return the reason to stop when the budget of training labels is spent, otherwise None.

    `labels_spent` counts the good labels.
    """
    if stopping.labels is not None and labels_spent >= stopping.labels:
        return f"the budget of {stopping.labels} training labels is spent"
    return None


def stop_before_labels(
    stopping: StoppingConfig, rounds_done: int, labels_spent: int, selected: Selected
) -> str | None:
    """Return the reason to label no more structures, or None to continue.

    `labels_spent` counts the good labels of the rounds before; `selected` is what would be
    labelled next.
    """
    if spent := budget_spent(stopping, labels_spent):
        return spent
    if selected.picked == 0:
        counts = ", ".join(
            f"{count} by {name.replace('_', ' ')}"
            for name, count in selected.rejected.items()
            if count
        )
        rejected = f" (rejected: {counts})" if counts else ""
        if selected.rejected.get(Filter.BUDGET.value):
            return f"no candidate that is new to the dataset fits selection.budget_s{rejected}"
        return f"no candidate is left that is new to the dataset{rejected}"
    gain_nats = selected.gain_nats / selected.picked
    least = stopping.least_gain_nats
    # The first round is always labelled: without it there would be no tuned model at all.
    if least is not None and rounds_done and gain_nats < least:
        return (
            f"the next {selected.picked} labels would add {gain_nats:.3g} nats each, "
            f"less than least_gain_nats={least:g}"
        )
    predicted, wanted = selected.predicted_improvement, stopping.least_predicted_improvement
    if wanted is not None and predicted is not None and rounds_done and predicted < wanted:
        return (
            f"the next {selected.picked} labels are predicted to lower the error of the regime by "
            f"{100 * predicted:.2g} %, less than least_predicted_improvement={wanted:g}"
        )
    error, allowed = (
        selected.predicted_force_rmse_meV_per_A,
        stopping.predicted_force_rmse_meV_per_A,
    )
    if allowed is not None and error is not None and error <= allowed:
        return (
            f"the committee predicts a force error (RMSE) of {error:.1f} meV/A on unbiased "
            f"snapshots, at most predicted_force_rmse_meV_per_A={allowed:g}"
        )
    return None


def stop_without_labels(good_labels: Sequence[int]) -> str | None:
    """Return the reason to stop when two rounds in a row got no label, otherwise None.

    One such round stops nothing: the next one picks other structures. Two are rarely chance, and
    more would explore and train for nothing.

    Args:
        good_labels: Number of good labels of each round so far.
    """
    if len(good_labels) < 2 or any(good_labels[-2:]):
        return None
    last = len(good_labels)
    return (
        f"no structure that rounds {last - 1} and {last} picked could be labelled, and all are in "
        "quarantine: correct what fails and release them with 'entrove labels FOLDER --retry'"
    )


def stop_after_validation(
    stopping: StoppingConfig,
    rounds_done: int,
    force_maes_meV_per_A: Sequence[float],
    *,
    interval: Interval | None = None,
    ratio_to_best: Interval | None = None,
) -> str | None:
    """Return the reason to begin no further round, or None to continue.

    Args:
        stopping: The conditions.
        rounds_done: Number of finished rounds.
        force_maes_meV_per_A: Force errors of the untuned model and of each round so far.
        interval: Confidence interval of the last of them, where it is known.
        ratio_to_best: Confidence interval of the last over the smallest before it.
    """
    now, before = force_maes_meV_per_A[-1], force_maes_meV_per_A[:-1]
    wanted, least = stopping.force_mae_meV_per_A, stopping.least_improvement
    highest = now if interval is None else interval[1]
    if wanted is not None and highest <= wanted:
        upper = "" if interval is None else f" (at most {highest:.1f})"
        return f"the force error of {now:.1f} meV/A{upper} is below force_mae_meV_per_A={wanted:g}"
    if least is not None and before and now > (1 - least) * min(before):
        return (
            f"the force error of {now:.1f} meV/A is not {100 * least:g} % below the "
            f"{min(before):.1f} meV/A reached before (least_improvement={least:g})"
        )
    if least is not None and before and ratio_to_best is not None and ratio_to_best[1] >= 1.0:
        low, high = ratio_to_best
        return (
            f"the force error of {now:.1f} meV/A is below the {min(before):.1f} meV/A reached "
            f"before, but not beyond noise (ratio {low:.2f} to {high:.2f}; least_improvement="
            f"{least:g})"
        )
    if rounds_done >= stopping.rounds:
        return (
            "the one round is done"
            if stopping.rounds == 1
            else f"all {stopping.rounds} rounds are done"
        )
    return None
