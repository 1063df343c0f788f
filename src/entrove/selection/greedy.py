"""Greedy selection: the candidate that adds most, then the one that adds most to that, and so on.

Information gain diminishes, so an old gain is an upper bound of the present one. Lazy greedy
updates only the candidates with the largest bounds, many at once: as soon as one of them has an
up-to-date gain above all other bounds, it is the best of all. So it picks what plain greedy picks
(among gains that are equal up to rounding, the two may differ). Most picks need only the front,
some thousands of candidates with the largest bounds: all others are below its ceiling.

The paper's entropy has no such property: all candidates are evaluated again for each pick. The
variance of a target lies in between: its falls diminish but for rare exceptions. Old ones are
taken as bounds, and a share of all candidates, in turn, is evaluated again before each pick.

Refs: Minoux, Optimization Techniques, LNCIS 7, 234 (1978); Krause, Singh & Guestrin, JMLR 9, 235
(2008), Algorithm 2.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from entrove.errors import SelectionError
from entrove.selection.config import SelectionConfig
from entrove.selection.duplicates import NearDuplicates, reject_duplicates
from entrove.selection.gains import GrowingDataset
from entrove.selection.pool import FeaturePool
from entrove.selection.quotas import Places, share_evenly
from entrove.selection.result import Filter, Rejection, Selection
from entrove.threads import claim_threads

FIRST_WIDTH = 32
"""Candidates that are updated first for a pick; their best gain decides which others must be."""

LARGEST_WIDTH = 2048
"""Most candidates that are updated at once, so that each batch raises the bound for the next."""

FRONT = 8192
"""Candidates considered for a pick, as long as the best of them is above all others' bounds."""

SIZE_EXPONENT = 1.5
"""Power of the number of atoms by which a label is taken to cost when no seconds are predicted.

It is that of plane-wave DFT for small cells in `labelling.cost` before any label is timed.
"""


def select_greedily(
    pool: FeaturePool,
    dataset: GrowingDataset,
    count: int,
    config: SelectionConfig,
    *,
    known: Iterable[str] = (),
    labelled: FeaturePool | None = None,
    unit: str = "nats",
) -> Selection:
    """Pick up to `count` candidates; `dataset` grows by them.

    `known` are hashes of labelled structures, `labelled` their rows where these are available.
    Candidates are ranked by gain, or by gain per cost (`rank_by`, see `ranking_costs`). Fewer are
    picked when filters leave fewer; `Selection.rejected` has the filter of each. After `count`
    picks up to `config.lookahead` more follow.
    """
    run = _Run(pool, dataset, count, config, labelled, unit)
    run.reject(reject_duplicates(pool, known))
    with claim_threads(torch.device("cpu")):
        if dataset.diminishing:
            _pick_lazily(run)
        else:
            _pick_plainly(run)
    return run.finish()


def ranking_costs(pool: FeaturePool, rank_by: str) -> np.ndarray | None:
    """What the gain of each candidate is divided by; None: candidates are ranked by gain alone.

    These are the predicted seconds where the pool has them. Without any, "auto" takes the number
    of atoms to the power of `SIZE_EXPONENT`.
    """
    if rank_by == "gain" or (rank_by == "auto" and len(set(pool.sizes)) < 2):
        return None
    if pool.costs_s:
        return np.array(pool.costs_s)
    return np.array(pool.sizes, dtype=float) ** SIZE_EXPONENT if rank_by == "auto" else None


class _Run:
    """What a selection has decided so far, and the rules by which it decides.

    It holds arrays over all candidates, so that a pick is a few vector operations and no Python
    loop over candidates.
    """

    def __init__(
        self,
        pool: FeaturePool,
        dataset: GrowingDataset,
        count: int,
        config: SelectionConfig,
        labelled: FeaturePool | None,
        unit: str,
    ) -> None:
        self.dataset = dataset
        self.gain = np.full(pool.size, np.inf)
        self._unit = unit
        self._costs = np.array(pool.costs_s) if pool.costs_s else None
        self._price = ranking_costs(pool, config.rank_by)
        self._left_s = np.inf if config.budget_s is None else config.budget_s
        self._count = count
        self._lookahead = config.lookahead
        self._bar = -np.inf if config.least_gain is None else config.least_gain
        self._fill_unused = config.fill_unused
        unnamed = ("",) * pool.size
        phases = pool.phases or unnamed
        self._pools = Places("pool", pool.pools or unnamed, config.quotas, count)
        even = share_evenly(phases, config.phase_share, count)
        self._phases = Places("phase", phases, even, count)
        self._near = NearDuplicates(pool, config.duplicate_tolerance, labelled)
        self._open = np.ones(pool.size, dtype=bool)
        self.picks: list[int] = []
        self._gains: list[float] = []
        self._rejected: list[Rejection] = []

    @property
    def complete(self) -> bool:
        return len(self.picks) == self._count + self._lookahead

    @property
    def candidates(self) -> np.ndarray:
        """Indices that are neither picked nor rejected."""
        return np.flatnonzero(self._open)

    def update(self, candidates: np.ndarray) -> None:
        """Compute the present gains of some candidates.

        Raises `SelectionError` for a gain that is not finite, which has no place in any ranking.
        """
        gains = self.dataset.gains(torch.as_tensor(candidates)).numpy()
        if not np.isfinite(gains).all():
            first = candidates[~np.isfinite(gains)][0]
            raise SelectionError(
                f"the gain of candidate {first} is not a finite number: its features are too "
                "far from those that the dataset was calibrated on; calibrate on a thermal run, "
                "or remove the candidate"
            )
        self.gain[candidates] = gains

    def scores(self, candidates: np.ndarray) -> np.ndarray:
        """Rank candidates by their last known gains (per second); -inf where no place is left."""
        self._pools.update()
        self._phases.update()
        scores = self.gain[candidates]
        if self._price is not None:
            price = self._price[candidates]
            scores = np.where(scores > 0, scores / price, scores * price)
        has_place = self._has_place()[candidates]
        if self._costs is not None:
            has_place &= self._costs[candidates] <= self._left_s
        return np.where(self._open[candidates] & has_place, scores, -np.inf)

    def _has_place(self) -> np.ndarray:
        return ~(self._pools.full() | self._phases.full())

    def reject(self, rejections: Iterable[Rejection]) -> None:
        for rejection in rejections:
            self._rejected.append(rejection)
            self._open[rejection.index] = False

    def passes_bar(self, candidate: int) -> bool:
        return bool(self.gain[candidate] >= self._bar)

    def reject_below_bar(self) -> None:
        """Reject the candidates that have a place but whose last known gain is too small."""
        has_place = self._has_place()
        for candidate in np.flatnonzero(self._open & has_place & (self.gain < self._bar)).tolist():
            detail = (
                f"would add {self.gain[candidate]:.3g} {self._unit} or less, "
                f"least gain is {self._bar:g}"
            )
            self.reject([Rejection(candidate, Filter.LEAST_GAIN, detail)])

    def release_places(self) -> bool:
        """Give unused reserved places to all; return whether that was possible.

        Those of phases go first, those of pools once and only where the settings allow it. When
        all places are taken, those of the lookahead follow.
        """
        if self.complete:
            return False
        if len(self.picks) == self._count:
            self._count, self._lookahead = self._count + self._lookahead, 0
            for places in (self._pools, self._phases):
                places.quotas.extend(self._count - len(self.picks))
            return True
        if self._phases.quotas.reserved_left:
            self._phases.quotas.release()
            return True
        if not self._fill_unused:
            return False
        self._fill_unused = False
        self._pools.quotas.release()
        return True

    def pick(self, candidate: int) -> bool:
        """Pick a candidate, unless it nearly equals an earlier pick or a labelled structure."""
        near = self._near.find(candidate)
        if near is not None:
            detail = f"differs by {near[1]:.2g} from candidate {near[0]}, which was picked"
            self.reject([Rejection(candidate, Filter.NEAR_DUPLICATE, detail)])
            return False
        near = self._near.find_labelled(candidate)
        if near is not None:
            detail = (
                f"differs by {near[1]:.2g} from structure {near[0]} of those that are labelled"
            )
            self.reject([Rejection(candidate, Filter.NEAR_DUPLICATE, detail)])
            return False
        self._gains.append(self.dataset.include(candidate))
        self.picks.append(candidate)
        self._open[candidate] = False
        self._pools.take(candidate)
        self._phases.take(candidate)
        if self._costs is not None:
            self._left_s -= float(self._costs[candidate])
        self._near.remember(candidate)
        return True

    def finish(self) -> Selection:
        """Give every candidate that is left its reason, and return the result."""
        full = [(places, places.full()) for places in (self._pools, self._phases)]
        for candidate in self.candidates.tolist():
            without = [places for places, is_full in full if is_full[candidate]]
            if without:
                category = f"{without[0].what} {without[0].name(candidate)!r}"
                reason, detail = Filter.QUOTA, f"no place was left for {category}"
            elif self._costs is not None and self._costs[candidate] > self._left_s:
                reason, detail = (
                    Filter.BUDGET,
                    f"would take {self._costs[candidate]:.3g} s, {self._left_s:.3g} s are left",
                )
            else:
                reason, detail = (
                    Filter.COUNT,
                    f"outranked; last known gain {self.gain[candidate]:.3g} {self._unit}",
                )
            self.reject([Rejection(candidate, reason, detail)])
        return Selection(
            indices=np.array(self.picks, dtype=np.int64),
            gains=np.array(self._gains, dtype=np.float64),
            rejected=tuple(sorted(self._rejected, key=lambda rejection: rejection.index)),
            quotas=self._pools.quotas.report(),
            phases=self._phases.quotas.report(),
        )


@dataclass(frozen=True)
class _Front:
    """The candidates with the largest scores, and the ceiling: the largest score of all others."""

    candidates: np.ndarray
    ceiling: float

    @classmethod
    def of(cls, run: _Run) -> "_Front":
        """The front by the last known gains."""
        candidates = run.candidates
        if len(candidates) <= FRONT:
            return cls(candidates, -np.inf)
        scores = run.scores(candidates)
        order = np.argpartition(-scores, FRONT)
        return cls(candidates[order[:FRONT]], float(scores[order[FRONT]]))


def _pick_lazily(run: _Run) -> None:
    run.update(run.candidates)
    stale = np.zeros(len(run.gain), dtype=bool)
    front = _Front.of(run)
    sweep = run.dataset.sweep
    while not run.complete:
        if sweep and stale.any():
            candidates = run.candidates
            turn = candidates[candidates % sweep == len(run.picks) % sweep]
            run.update(turn)
            stale[turn] = False
            front = _Front.of(run)
        best, front = _settle_best(run, stale, front)
        if best is None:
            if not run.release_places():
                return
            front = _Front.of(run)
        elif not run.passes_bar(best):
            # Gains only fall: a candidate below the least gain stays below it.
            run.reject_below_bar()
        elif run.pick(best):
            stale[:] = True


def _settle_best(run: _Run, stale: np.ndarray, front: _Front) -> tuple[int | None, _Front]:
    """Update gains until no stale one can be the best, which is returned; None without a place."""
    width = FIRST_WIDTH
    while True:
        scores, is_stale = run.scores(front.candidates), stale[front.candidates]
        bar = scores.max(where=~is_stale, initial=-np.inf)
        possible = np.flatnonzero(is_stale & (scores > bar))
        if len(possible) == 0:
            if bar >= front.ceiling:
                break
            front = _Front.of(run)
            continue
        if len(possible) > width:
            possible = possible[np.argpartition(-scores[possible], width)[:width]]
        updated = front.candidates[possible]
        run.update(updated)
        stale[updated] = False
        width = LARGEST_WIDTH
    if bar == -np.inf:
        return None, front
    return int(front.candidates[np.where(is_stale, -np.inf, scores).argmax()]), front


def _pick_plainly(run: _Run) -> None:
    while not run.complete:
        candidates = run.candidates
        run.update(candidates)
        scores = run.scores(candidates)
        # A stable sort, so that of equal gains the lower index wins.
        order = np.argsort(-scores, kind="stable")
        ranked = candidates[order[scores[order] > -np.inf]].tolist()
        if any(run.passes_bar(candidate) and run.pick(candidate) for candidate in ranked):
            continue
        if not run.release_places():
            run.reject_below_bar()
            return
