import pytest
from pydantic import ValidationError

from entrove.campaign.configuration.config import CampaignConfig, StoppingConfig
from entrove.campaign.journal.outcomes import Selected
from entrove.campaign.stopping import (
    stop_after_validation,
    stop_before_labels,
    stop_without_labels,
)


def selected(picked: int, gain_nats: float, **rejected: int) -> Selected:
    return Selected(summary="", picked=picked, gain_nats=gain_nats, rejected=rejected)


def test_rounds_end_a_campaign():
    stopping = StoppingConfig(rounds=2)
    assert stop_after_validation(stopping, 1, [80.0, 50.0]) is None
    assert stop_after_validation(stopping, 2, [80.0, 60.0, 50.0]) == "all 2 rounds are done"


def test_a_force_error_that_is_small_enough_ends_it_earlier():
    stopping = StoppingConfig(rounds=9, force_mae_meV_per_A=30.0)
    assert stop_after_validation(stopping, 1, [80.0, 30.1]) is None
    assert "below force_mae_meV_per_A=30" in str(stop_after_validation(stopping, 1, [80.0, 30.0]))


@pytest.mark.parametrize(
    ("force_maes", "stops"),
    [
        ([80.0, 71.9], False),
        ([80.0, 72.1], True),
        ([80.0, 50.0, 44.0], False),
        ([80.0, 50.0, 46.0], True),
        # A round that was worse does not make the next one look like progress.
        ([80.0, 50.0, 70.0, 46.0], True),
    ],
)
def test_a_model_that_no_longer_improves_ends_it(force_maes, stops):
    stopping = StoppingConfig(rounds=9, least_improvement=0.1)
    reason = stop_after_validation(stopping, len(force_maes) - 1, force_maes)
    assert (reason is not None) == stops


@pytest.mark.parametrize(
    ("interval", "stops"), [((20.0, 29.9), True), ((20.0, 31.0), False), (None, True)]
)
def test_an_error_is_small_enough_when_the_upper_end_of_its_interval_is(interval, stops):
    stopping = StoppingConfig(rounds=9, force_mae_meV_per_A=30.0)
    reason = stop_after_validation(stopping, 1, [80.0, 25.0], interval=interval)
    assert (reason is not None) == stops


@pytest.mark.parametrize(
    ("ratio", "stops"), [((0.4, 0.8), False), ((0.4, 1.02), True), (None, False)]
)
def test_an_improvement_within_noise_is_none(ratio, stops):
    stopping = StoppingConfig(rounds=9, least_improvement=0.1)
    reason = stop_after_validation(stopping, 1, [80.0, 50.0], ratio_to_best=ratio)
    assert (reason is not None) == stops
    if stops:
        assert "not beyond noise (ratio 0.40 to 1.02; least_improvement=0.1)" in str(reason)
    # Who did not ask for a least improvement gets all rounds.
    assert stop_after_validation(StoppingConfig(), 1, [80.0, 50.0], ratio_to_best=ratio) is None


@pytest.mark.parametrize(("gain", "stops"), [(23.9, True), (24.1, False)])
def test_labels_that_add_too_little_are_not_computed(gain, stops):
    stopping = StoppingConfig(least_gain_nats=2.0)
    assert (stop_before_labels(stopping, 1, 12, selected(12, gain)) is not None) == stops


def test_the_first_round_is_always_labelled():
    assert stop_before_labels(StoppingConfig(least_gain_nats=1e9), 0, 0, selected(12, 1.0)) is None


def test_a_spent_budget_and_an_empty_pool_end_it():
    spent = stop_before_labels(StoppingConfig(labels=24), 2, 24, selected(12, 10.0))
    assert "budget of 24" in str(spent)
    assert stop_before_labels(StoppingConfig(), 2, 24, selected(0, 0.0)) == (
        "no candidate is left that is new to the dataset"
    )
    rejected = selected(0, 0.0, near_duplicate=3, quota=0, least_gain=2)
    assert str(stop_before_labels(StoppingConfig(), 2, 24, rejected)).endswith(
        "(rejected: 3 by near duplicate, 2 by least gain)"
    )


@pytest.mark.parametrize(
    ("rounds_done", "predicted", "stops"),
    [(1, 0.049, True), (1, 0.051, False), (0, 0.049, False), (1, None, False)],
)
def test_labels_that_are_predicted_to_teach_too_little_are_not_computed(
    rounds_done, predicted, stops
):
    stopping = StoppingConfig(least_predicted_improvement=0.05)
    offered = Selected(summary="", picked=9, gain_nats=90.0, predicted_improvement=predicted)
    reason = stop_before_labels(stopping, rounds_done, 12, offered)
    assert (reason is not None) == stops
    if stops:
        assert "by 4.9 %, less than least_predicted_improvement=0.05" in str(reason)


@pytest.mark.parametrize(
    "other", [{"entropy": {"kind": "information"}}, {"selection": {"method": "random"}}]
)
def test_a_predicted_improvement_needs_a_target(other):
    settings = {
        "name": "copper",
        "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
        "stopping": {"least_predicted_improvement": 0.05},
    }
    CampaignConfig.model_validate(settings)
    with pytest.raises(ValidationError, match="needs a selection for a target"):
        CampaignConfig.model_validate(settings | other)


@pytest.mark.parametrize(
    ("good_labels", "stops"),
    [([0], False), ([3, 0], False), ([0, 3, 0], False), ([3, 0, 0], True), ([0, 0, 1], False)],
)
def test_two_rounds_in_a_row_without_a_label_end_it(good_labels, stops):
    reason = stop_without_labels(good_labels)
    assert (reason is not None) == stops
    if stops:
        assert "no structure that rounds 2 and 3 picked could be labelled" in str(reason)
