"""Greedy selection: the candidate that adds most, then the one that adds most to that, and so on.

Information gain diminishes, so an old gain is an upper bound of the present one. Lazy greedy keeps
candidates in a heap by their last known gain and brings only the top of it up to date: a candidate
whose up-to-date gain is above all other bounds is the best one. It picks exactly what plain greedy
picks. Refs: Minoux, Optimization Techniques, LNCIS 7, 234 (1978); Krause, Singh & Guestrin, JMLR 9, 235
(2008), Algorithm 2.

The paper's entropy has no such property: all candidates are evaluated anew for each pick.
"""

import heapq
from collections.abc import Iterable

import numpy as np
import torch

from entrove.selection.config import SelectionConfig
from entrove.selection.duplicates import NearDuplicates, reject_duplicates
from entrove.selection.gains import GrowingDataset
from entrove.selection.pool import FeaturePool
from entrove.selection.quotas import Quotas
from entrove.selection.result import Filter, Rejection, Selection

FIRST_WIDTH = 32
"""Stale candidates that are brought up to date at first; doubled as long as none of them wins."""

LARGEST_WIDTH = 2048


def select_greedily(
    pool: FeaturePool,
    dataset: GrowingDataset,
    count: int,
    config: SelectionConfig,
    *,
    known: Iterable[str] = (),
) -> Selection:
    """Pick up to `count` candidates; `dataset` grows by them. `known` are hashes of labelled structures.

    Ranked by gain, or by gain per predicted second if the configuration says so. Fewer are picked when
    filters leave fewer; `Selection.rejected` says which.
    """
    run = _Run(pool, dataset, count, config)
    run.reject(reject_duplicates(pool, known))
    if dataset.diminishing:
        _pick_lazily(run)
    else:
        _pick_plainly(run)
    return run.finish()


class _Run:
    """What a selection has decided so far, and the rules by which it decides."""

    def __init__(
        self, pool: FeaturePool, dataset: GrowingDataset, count: int, config: SelectionConfig
    ) -> None:
        self.dataset = dataset
        self.costs = np.array(pool.costs_s) if config.rank_by == "gain_per_second" else np.ones(pool.size)
        self.last_gain = np.full(pool.size, np.inf)
        self._pools = pool.pools or ("",) * pool.size
        self._count = count
        self._bar = -np.inf if config.least_gain is None else config.least_gain
        self._fill_unused = config.fill_unused
        self._quotas = Quotas(config.quotas, count)
        self._near = NearDuplicates(pool, config.duplicate_tolerance)
        self._open = np.ones(pool.size, dtype=bool)
        self._blocked = np.zeros(pool.size, dtype=bool)
        self._picks: list[int] = []
        self._gains: list[float] = []
        self._rejected: list[Rejection] = []

    @property
    def complete(self) -> bool:
        return len(self._picks) == self._count

    @property
    def candidates(self) -> np.ndarray:
        """Indices that are neither picked nor rejected."""
        return np.flatnonzero(self._open)

    def update(self, candidates: np.ndarray) -> None:
        """Bring the gains of some candidates up to date."""
        self.last_gain[candidates] = self.dataset.gains(torch.as_tensor(candidates)).numpy()

    def score(self, candidate: int) -> float:
        return float(self.last_gain[candidate] / self.costs[candidate])

    def reject(self, rejections: Iterable[Rejection]) -> None:
        for rejection in rejections:
            self._rejected.append(rejection)
            self._open[rejection.index] = False

    def passes_bar(self, candidate: int) -> bool:
        return bool(self.last_gain[candidate] >= self._bar)

    def reject_below_bar(self, candidate: int) -> None:
        gain = self.last_gain[candidate]
        detail = f"would add at most {gain:.3g} nats, least gain is {self._bar:g}"
        self.reject([Rejection(candidate, Filter.LEAST_GAIN, detail)])

    def has_place(self, candidate: int) -> bool:
        self._blocked[candidate] = not self._quotas.admits(self._pools[candidate])
        return not self._blocked[candidate]

    def release_places(self) -> bool:
        """Open unused reserved places to all pools, once; whether that changes anything."""
        if not self._fill_unused or self.complete:
            return False
        self._fill_unused = False
        self._quotas.release()
        return True

    def pick(self, candidate: int) -> bool:
        """Pick a candidate unless it is nearly equal to an earlier pick."""
        near = self._near.find(candidate)
        if near is not None:
            detail = f"differs by {near[1]:.2g} from candidate {near[0]}, which was picked"
            self.reject([Rejection(candidate, Filter.NEAR_DUPLICATE, detail)])
            return False
        self._gains.append(self.dataset.include(candidate))
        self._picks.append(candidate)
        self._open[candidate] = False
        self._quotas.take(self._pools[candidate])
        self._near.remember(candidate)
        return True

    def finish(self) -> Selection:
        """Give every candidate that is left its reason, and return the result."""
        for candidate in self.candidates.tolist():
            if self._blocked[candidate]:
                reason, detail = Filter.QUOTA, f"no place was left for pool {self._pools[candidate]!r}"
            else:
                gain = self.last_gain[candidate]
                reason, detail = Filter.COUNT, f"outranked; last known gain {gain:.3g} nats"
            self.reject([Rejection(candidate, reason, detail)])
        return Selection(
            indices=np.array(self._picks, dtype=np.int64),
            gains=np.array(self._gains, dtype=np.float64),
            rejected=tuple(sorted(self._rejected, key=lambda rejection: rejection.index)),
            quotas=self._quotas.report(),
        )


def _pick_lazily(run: _Run) -> None:
    run.update(run.candidates)
    heap = [(-run.score(candidate), candidate) for candidate in run.candidates.tolist()]
    heapq.heapify(heap)
    updated_at = dict.fromkeys(run.candidates.tolist(), 0)
    parked: list[tuple[float, int]] = []
    picks, width = 0, FIRST_WIDTH
    while not run.complete:
        if not heap:
            if not (parked and run.release_places()):
                return
            heap, parked = parked, []
            heapq.heapify(heap)
        stale: list[int] = []
        # The heap ends in the first up-to-date candidate, or when enough stale ones came off it.
        while heap and len(stale) < width:
            entry = heapq.heappop(heap)
            candidate = entry[1]
            if not run.passes_bar(candidate):
                run.reject_below_bar(candidate)
            elif not run.has_place(candidate):
                parked.append(entry)
            elif updated_at[candidate] < picks:
                stale.append(candidate)
            elif stale:
                heapq.heappush(heap, entry)
                break
            else:
                if run.pick(candidate):
                    picks, width = picks + 1, FIRST_WIDTH
                break
        if stale:
            run.update(np.array(stale))
            for candidate in stale:
                updated_at[candidate] = picks
                heapq.heappush(heap, (-run.score(candidate), candidate))
            width = min(2 * width, LARGEST_WIDTH)


def _pick_plainly(run: _Run) -> None:
    while not run.complete and len(run.candidates):
        candidates = run.candidates
        run.update(candidates)
        scores = run.last_gain[candidates] / run.costs[candidates]
        # A stable sort, so that ties go to the lower index, as in lazy greedy.
        ranked = candidates[np.argsort(-scores, kind="stable")].tolist()
        if not run.passes_bar(int(candidates[run.last_gain[candidates].argmax()])):
            for candidate in ranked:
                run.reject_below_bar(candidate)
            return
        placed = any(
            run.passes_bar(candidate) and run.has_place(candidate) and run.pick(candidate)
            for candidate in ranked
        )
        if not placed and not run.release_places():
            return
