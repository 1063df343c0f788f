"""Reserved places are kept, whole, and reported."""

import pytest
from candidate_pools import dataset_for, random_pool
from pydantic import ValidationError

from entrove.selection.config import SelectionConfig
from entrove.selection.greedy import select_greedily
from entrove.selection.quotas import Quotas, reserve_places


@pytest.mark.parametrize("count", [1, 2, 7, 10, 24, 100])
@pytest.mark.parametrize(
    "shares", [(0.5, 0.3, 0.2), (1 / 3, 1 / 3, 1 / 3), (0.9, 0.05, 0.05), (1.0, 0.0, 0.0)]
)
def test_shares_of_one_reserve_every_place(count, shares):
    places = reserve_places(dict(zip("abc", shares, strict=True)), count)
    assert sum(places.values()) == count
    for pool, share in zip("abc", shares, strict=True):
        assert abs(places[pool] - share * count) < 1


def test_shares_below_one_leave_places_free():
    assert reserve_places({"a": 0.25, "b": 0.25}, 10) == {"a": 3, "b": 2}
    quotas = Quotas({"a": 0.25, "b": 0.25}, 10)
    for _ in range(3 + 5):
        assert quotas.admits("a")
        quotas.take("a")
    assert not quotas.admits("a")
    assert not quotas.admits("c")
    assert quotas.admits("b")


def selected_pools(config, pools, count):
    pool = random_pool(0, len(pools), pools=pools)
    selection = select_greedily(pool, dataset_for(pool), count, config)
    return selection, [pools[index] for index in selection.indices]


def test_quotas_are_honoured_and_reported():
    config = SelectionConfig(quotas={"md": 0.25, "anchors": 0.75}, duplicate_tolerance=0.0)
    selection, picked = selected_pools(config, ("md",) * 90 + ("anchors",) * 30, 20)
    assert (picked.count("md"), picked.count("anchors")) == (5, 15)
    assert [(use.pool, use.reserved, use.picked) for use in selection.quotas] == [
        ("anchors", 15, 15),
        ("md", 5, 5),
    ]
    assert selection.rejections_by_filter()["quota"] > 0


def test_without_quotas_pools_compete_freely():
    selection, picked = selected_pools(SelectionConfig(), ("md",) * 90 + ("anchors",) * 30, 20)
    assert len(selection) == 20
    assert picked.count("anchors") < 15


@pytest.mark.parametrize(("fill_unused", "expected"), [(True, 20), (False, 13)])
def test_places_of_a_pool_that_runs_dry(fill_unused, expected):
    config = SelectionConfig(
        quotas={"md": 0.5, "ordered": 0.5}, fill_unused=fill_unused, duplicate_tolerance=0.0
    )
    selection, picked = selected_pools(config, ("md",) * 40 + ("ordered",) * 3, 20)
    assert len(selection) == expected
    assert picked.count("ordered") == 3
    left_out = selection.rejections_by_filter()
    assert left_out["quota"] == (0 if fill_unused else 30)
    assert left_out["count"] == (23 if fill_unused else 0)


def test_shares_above_one_are_refused():
    with pytest.raises(ValidationError, match=r"the shares sum to 1.2, at most 1 is allowed"):
        SelectionConfig(quotas={"a": 0.6, "b": 0.6})
