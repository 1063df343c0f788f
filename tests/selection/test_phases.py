"""Places of a round are reserved evenly for the phases, so that labels do not pile up in one."""

from collections import Counter
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
from candidate_pools import dataset_for, random_pool, silicon
from test_greedy import log_det

from entrove.entropy.config import EntropyConfig
from entrove.selection.config import SelectionConfig
from entrove.selection.from_structures import select
from entrove.selection.greedy import select_greedily


def by_the_rules(pool, count: int, share: float, quotas: dict[str, int]) -> list[int]:
    """Every candidate again for every pick; a pick needs a place of its pool and of its phase."""
    phases = sorted(set(pool.phases) - {""})
    of_phase = dict.fromkeys(phases, int(share * count / len(phases) + 1e-9))
    of_pool = dict(quotas)
    free = {"phase": count - sum(of_phase.values()), "pool": count - sum(of_pool.values())}
    picks: list[int] = []
    while len(picks) < count:
        base = log_det(pool, picks) if picks else 0.0
        gains = {
            c: log_det(pool, [*picks, c]) - base
            for c in range(pool.size)
            if c not in picks
            and of_phase.get(pool.phases[c], 0) + free["phase"] > 0
            and of_pool.get(pool.pools[c], 0) + free["pool"] > 0
        }
        if gains:
            picks.append(max(gains, key=lambda c: gains[c]))
            for reserved, name, kind in (
                (of_phase, pool.phases[picks[-1]], "phase"),
                (of_pool, pool.pools[picks[-1]], "pool"),
            ):
                if reserved.get(name, 0) > 0:
                    reserved[name] -= 1
                else:
                    free[kind] -= 1
        elif sum(of_phase.values()):
            free["phase"] += sum(of_phase.values())
            of_phase = {}
        elif sum(of_pool.values()):
            free["pool"] += sum(of_pool.values())
            of_pool = {}
        else:
            break
    return picks


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("with_quotas", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_lazy_greedy_keeps_the_places_of_phases_and_pools(share, with_quotas, seed):
    rng = np.random.default_rng(seed)
    phases = tuple(rng.choice(["bcc", "fcc", "hcp", ""], p=[0.7, 0.15, 0.1, 0.05], size=40))
    pools = tuple(rng.choice(["md", "anchors"], size=40))
    pool = random_pool(seed, 40, largest=3, pools=pools, phases=phases)
    shares = {"anchors": 0.5} if with_quotas else {}
    config = SelectionConfig(
        quotas=shares, phase_share=share, duplicate_tolerance=0.0, rank_by="gain"
    )
    selection = select_greedily(pool, dataset_for(pool), 12, config)
    expected = by_the_rules(pool, 12, share, {"anchors": 6} if with_quotas else {})
    assert selection.indices.tolist() == expected
    assert len(selection) + len(selection.rejected) == 40


class LookingAhead(SelectionConfig):
    lookahead: ClassVar[int] = 9


@pytest.mark.parametrize("kind", ["information", "paper"])
@pytest.mark.parametrize("count", [1, 12, 35, 40])
def test_a_look_ahead_leaves_the_picks_as_they_are(kind, count):
    """It goes on by gain alone, to the end of the pool at most."""
    rng = np.random.default_rng(0)
    phases = tuple(rng.choice(["bcc", "fcc", ""], p=[0.8, 0.15, 0.05], size=40))
    pool = random_pool(0, 40, largest=3, pools=("md", "anchors") * 20, phases=phases)
    settings = {"quotas": {"anchors": 0.7}, "duplicate_tolerance": 0.0, "rank_by": "gain"}
    dataset = partial(dataset_for, pool, EntropyConfig(kind=kind))
    expected = select_greedily(pool, dataset(), count, SelectionConfig(**settings))
    found = select_greedily(pool, dataset(), count, LookingAhead(**settings))
    assert found.indices[:count].tolist() == expected.indices.tolist()
    assert len(found) == min(count + 9, 40)
    assert len(found) + len(found.rejected) == 40
    if count < 40 and kind == "information":
        base = log_det(pool, found.indices[:count].tolist())
        left = set(range(40)) - set(expected.indices.tolist())
        gains = {c: log_det(pool, [*expected.indices.tolist(), c]) - base for c in left}
        assert found.indices[count] == max(gains, key=lambda c: gains[c])


@pytest.mark.parametrize("count", [4, 10, 24])
@pytest.mark.parametrize("share", [0.5, 0.75, 1.0])
def test_every_phase_gets_its_places_whatever_the_gains_are(count, share):
    """One phase would take all places by gain; each of the others gets what is reserved."""
    quiet = [silicon(seed, 0.02) for seed in range(60)]
    loud = [silicon(seed, 0.4) for seed in range(60, 120)]
    for atoms in quiet:
        atoms.info["entrove_phase"] = "quiet"
    for atoms in loud:
        atoms.info["entrove_phase"] = "loud"

    def picked(**settings) -> Counter[str]:
        config = SelectionConfig(duplicate_tolerance=0.0, **settings)
        chosen = select([*quiet, *loud], count, entropy="information", config=config)
        assert len(chosen) == count
        return Counter("quiet" if index < 60 else "loud" for index in chosen.indices)

    assert picked(phase_share=0.0)["quiet"] == 0
    reserved = int(share * count / 2 + 1e-9)
    assert picked(phase_share=share)["quiet"] == reserved
    assert picked()["quiet"] == int(0.75 * count / 2)  # the default


def test_places_of_a_phase_that_runs_dry_go_to_the_others():
    cells = [silicon(seed) for seed in range(30)]
    for index, atoms in enumerate(cells):
        atoms.info["entrove_phase"] = "rare" if index < 2 else "common"
    chosen = select(cells, 16, config=SelectionConfig(phase_share=1.0, duplicate_tolerance=0.0))
    assert len(chosen) == 16
    assert {use.pool: (use.reserved, use.picked) for use in chosen.phases} == {
        "rare": (8, 2),
        "common": (8, 14),
    }


def test_structures_without_a_phase_are_picked_by_gain_alone():
    cells = [silicon(seed, 0.05 * (1 + seed % 4)) for seed in range(30)]
    free = select(cells, 10, config=SelectionConfig(phase_share=0.0))
    shared = select(cells, 10, entropy="information")
    assert shared.indices.tolist() == free.indices.tolist()
