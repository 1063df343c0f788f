"""Largest cluster, maximum distance: against a literal transcription, and its edge cases."""

import numpy as np
import pytest
import torch

from entrove.selection.lcmd import pick_by_clusters


def literal(points, centres, count):
    centres = list(centres)
    picks = []
    while len(picks) < count:
        rest = [c for c in range(len(points)) if c not in picks]
        if not centres:
            chosen = max(rest, key=lambda c: points[c] @ points[c])
        else:
            near = {
                c: int(np.argmin([np.sum((points[c] - z) ** 2) for z in centres])) for c in rest
            }
            square = {c: np.sum((points[c] - centres[near[c]]) ** 2) for c in rest}
            sizes = {k: sum(square[c] for c in rest if near[c] == k) for k in set(near.values())}
            largest = max(sizes, key=sizes.__getitem__)
            chosen = max((c for c in rest if near[c] == largest), key=square.__getitem__)
        picks.append(chosen)
        centres.append(points[chosen])
    return picks


@pytest.mark.parametrize("labelled", [0, 3])
@pytest.mark.parametrize("seed", range(4))
def test_picks_are_those_of_the_definition(seed, labelled):
    rng = np.random.default_rng(seed)
    points, centres = rng.normal(size=(40, 3)), rng.normal(size=(labelled, 3))
    picks, distances = pick_by_clusters(
        torch.as_tensor(points), torch.as_tensor(centres), torch.ones(40, dtype=torch.bool), 12
    )
    assert picks == literal(points, centres, 12)
    assert all(distance > 0 for distance in distances)


def test_points_that_are_all_equal_are_still_picked():
    points = torch.zeros(5, 2, dtype=torch.float64)
    available = torch.tensor([True, False, True, True, True])
    picks, distances = pick_by_clusters(points, points[:1], available, 10)
    assert sorted(picks) == [0, 2, 3, 4]
    assert distances == [0.0] * 4


def test_dense_regions_get_more_picks_than_by_farthest_points():
    """What sets LCMD apart: a cluster counts by its sum, not by its farthest point alone."""
    rng = np.random.default_rng(0)
    dense, sparse = rng.normal(size=(300, 2)), rng.normal(size=(10, 2))
    sparse[:, 0] += 20
    points = torch.as_tensor(np.concatenate([dense, sparse]))
    picks, _ = pick_by_clusters(points, points[:0], torch.ones(310, dtype=torch.bool), 20)
    assert sum(pick < 300 for pick in picks) >= 15
