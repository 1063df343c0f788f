"""Farthest-point sampling against its definition."""

import numpy as np
import pytest
from candidate_pools import silicon

from entrove.errors import SelectionError
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.gom import GaussianOverlap
from entrove.selection.farthest_point import select_farthest

POOL = [silicon(seed, rattle_A=0.01 * seed) for seed in range(1, 21)]


def mean_features(structures) -> np.ndarray:
    features = GaussianOverlap()
    return np.stack(
        [features.evaluate(to_state([a])).values.numpy().mean(axis=0) for a in structures]
    )


@pytest.mark.parametrize("given", [None, [silicon(90, 0.3), silicon(91, 0.3)]])
def test_each_pick_is_the_farthest(given):
    selection = select_farthest(POOL, 6, given=given)
    points = mean_features(POOL)
    anchors = mean_features(given) if given else points.mean(axis=0, keepdims=True)
    for step, (index, distance) in enumerate(zip(selection.indices, selection.gains, strict=True)):
        distances = np.linalg.norm(points[:, None] - anchors[None], axis=2).min(axis=1)
        assert distances.argmax() == index
        assert distances[index] == pytest.approx(distance, rel=1e-9)
        # The mean of the pool is only where to start.
        anchors = (
            points[[index]]
            if given is None and step == 0
            else np.concatenate([anchors, points[[index]]])
        )


def test_equal_structures_are_picked_once_and_all_others_have_a_reason():
    selection = select_farthest([POOL[0], POOL[0], *POOL[1:4]], 5)
    assert sorted(selection.indices.tolist()) == [0, 2, 3, 4]
    assert [(rejection.index, rejection.filter.value) for rejection in selection.rejected] == [
        (1, "duplicate")
    ]


def test_count_is_checked():
    with pytest.raises(SelectionError, match="count=21 but there are 20 candidates"):
        select_farthest(POOL, 21)


def test_missing_species_count_as_zero():
    carbon = silicon(0)
    carbon.numbers[:] = 6
    selection = select_farthest([*POOL[:5], carbon], 2)
    assert 5 in selection.indices
