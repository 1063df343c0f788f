"""What the students are tested on: nothing in it was learnt from in the same draw."""

from collections.abc import Mapping, Sequence

import numpy as np

from entrove.sampling.candidates import Candidate
from entrove.structures import content_hash

HOLD_OUT_STREAM = 7


def hold_outs(
    picks: Mapping[str, Sequence[Sequence[Candidate]]], draw: int, count: int, seed: int
) -> dict[str, list[Candidate]]:
    """Take the hold-out of each arm: a random sample of what it picked in the next draw.

    Args:
        picks: What each arm picked in each draw.
        draw: The draw that is tested.
        count: Structures per arm.
        seed: Seed of the sample.

    Walkers of another draw have other seeds, so no trajectory is both learnt from and tested on.
    Structures that any arm picked in this draw too (anchors are the same in all draws) are left
    out. With a single draw, or none wanted, the result is empty.
    """
    draws = len(next(iter(picks.values())))
    if draws < 2 or not count:
        return {}
    known = {content_hash(pick.atoms) for of_arm in picks.values() for pick in of_arm[draw]}
    found: dict[str, list[Candidate]] = {}
    for number, (arm, of_arm) in enumerate(picks.items()):
        others = of_arm[(draw + 1) % draws]
        fresh = [pick for pick in others if content_hash(pick.atoms) not in known]
        rng = np.random.default_rng([seed, draw, number, HOLD_OUT_STREAM])
        chosen = rng.permutation(len(fresh))[:count]
        found[arm] = [fresh[index] for index in sorted(chosen.tolist())]
    return found


def mix(hold_outs: Mapping[str, Sequence[Candidate]], arms: Sequence[str]) -> list[Candidate]:
    """Join the hold-outs of some arms in equal parts; a structure of two arms counts once.

    Of a larger hold-out those with the smallest hashes are taken: its order is that of the picks,
    and the first of them would be no random sample.
    """
    if not hold_outs:
        return []
    size = min(len(hold_outs[arm]) for arm in arms)
    joined: list[Candidate] = []
    for arm in arms:
        of_arm = hold_outs[arm]
        chosen = sorted(range(len(of_arm)), key=lambda index: content_hash(of_arm[index].atoms))
        joined += [of_arm[index] for index in sorted(chosen[:size])]
    return list({content_hash(candidate.atoms): candidate for candidate in joined}.values())


def never_picked(
    structures: Sequence[Candidate], picks: Mapping[str, Sequence[Sequence[Candidate]]]
) -> list[Candidate]:
    """Leave out what any arm picked in any draw."""
    known = {
        content_hash(pick.atoms)
        for of_arm in picks.values()
        for of_draw in of_arm
        for pick in of_draw
    }
    return [c for c in structures if content_hash(c.atoms) not in known]
