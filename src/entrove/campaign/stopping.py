"""When a campaign has enough."""

from entrove.campaign.configuration.config import StoppingConfig


def budget_spent(stopping: StoppingConfig, labels_spent: int) -> str | None:
    """Say that the budget of training labels is spent, or None; `labels_spent` counts good labels."""
    if stopping.labels is not None and labels_spent >= stopping.labels:
        return f"the budget of {stopping.labels} training labels is spent"
    return None


def stop_before_labels(
    stopping: StoppingConfig,
    rounds_done: int,
    labels_spent: int,
    next_gain_nats: float,
    next_labels: int,
) -> str | None:
    """Say why no more labels should be bought, or None to go on.

    `labels_spent` counts the good labels of the rounds before; `next_gain_nats` is what the `next_labels`
    labels that were selected would add together.
    """
    if spent := budget_spent(stopping, labels_spent):
        return spent
    if next_labels == 0:
        return "no candidate is left that is new to the dataset"
    if (
        stopping.least_gain_nats is not None
        and rounds_done
        and next_gain_nats / next_labels < stopping.least_gain_nats
    ):
        return (
            f"the next {next_labels} labels would add {next_gain_nats / next_labels:.3g} nats each, "
            f"less than least_gain_nats={stopping.least_gain_nats:g}"
        )
    return None


def stop_after_validation(
    stopping: StoppingConfig, rounds_done: int, force_mae_meV_per_A: float
) -> str | None:
    """Say why no other round should begin, or None to go on."""
    wanted = stopping.force_mae_meV_per_A
    if wanted is not None and force_mae_meV_per_A <= wanted:
        return f"the force error of {force_mae_meV_per_A:.1f} meV/A is below force_mae_meV_per_A={wanted:g}"
    if rounds_done >= stopping.rounds:
        return f"all {stopping.rounds} rounds are done"
    return None
