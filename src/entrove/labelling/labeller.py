"""Structures in, labels out: from the cache, from finished work found on disk, or from the engine."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
from ase import Atoms

from entrove.errors import LabelError
from entrove.labelling.attempt import Attempt, AttemptEnd, AttemptFolder, describe_atoms
from entrove.labelling.config import LabellingConfig
from entrove.labelling.execution.executor import AttemptExecutor, worker_was_lost
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory, claim_folder
from entrove.labelling.retries import NextAttempt, plan_next_attempt
from entrove.labelling.sanity import find_absurdity
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.claims import HEARTBEAT_S
from entrove.structures import canonical_order, content_hash, copy_structure

logger = logging.getLogger(__name__)

PARSL_FOLDER = "runinfo"
LEAST_IN_FLIGHT = 256
"""Attempts handed to Parsl at once, or two per worker if that is more: none idles, and stopping is quick."""
POLL_CLAIMS_S = 2.0
"""How often to look for labels that another process computes."""
MAX_LOSSES = 3
"""How often a structure may lose its worker (job cancelled, node failed) before that counts as a crash."""


@dataclass
class _Job:
    """A structure that is being labelled; its atoms are in the order of the first who asked."""

    structure_hash: str
    atoms: Atoms
    folder: AttemptFolder
    losses: int = 0


class Labeller:
    """Labels structures at one level of theory; a context manager that starts and stops the workers.

    Each label is in the cache before it is handed on. A process that was killed at any moment starts
    again with the same arguments: finished labels come from the cache, finished attempts from
    `work_folder`, and only what was running is computed again.

    With an `executor` that is given, and started and stopped by its owner, several labellers can
    share workers; without one, workers start with the first label that is not cached.
    """

    def __init__(
        self,
        config: LabellingConfig,
        cache: LabelCache,
        work_folder: str | Path,
        executor: AttemptExecutor | None = None,
    ):
        self.config = config.resolved_against(Path.cwd())
        self.cache = cache
        self.work_folder = Path(work_folder).absolute()
        self.level = LevelOfTheory.of(config.engine)
        self._owns_executor = executor is None
        self._executor = executor or AttemptExecutor(
            config.executor, self.work_folder / PARSL_FOLDER
        )
        self._running: dict[str, _Job] = {}
        self._claimed: set[str] = set()
        self._last_heartbeat = time.monotonic()
        self._finished: SimpleQueue[tuple[Attempt, _Job, Future[AttemptEnd]]] = SimpleQueue()

    def __enter__(self) -> "Labeller":
        try:
            self.work_folder.mkdir(parents=True, exist_ok=True)
            claim_folder(self.work_folder, self.level)
        except OSError as error:
            raise LabelError(
                f"{self.work_folder}: cannot be written ({error}); check permissions and free space"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._owns_executor:
            self._executor.stop()
        with contextlib.suppress(LabelError):  # they end with this process anyway
            self.cache.release_claims(self._claimed, self.level)

    def label(self, structures: Sequence[Atoms]) -> Iterator[tuple[int, Label]]:
        """Yield (index into `structures`, label) of every structure, cached ones first.

        The others follow as they finish. Equal structures are computed once, also when another process
        that shares the cache wants them at the same time: what that one computes is waited for, after all
        others. Quarantined labels are yielded like all others: look at `Label.outcome`. Raises `LabelError`
        when the machine fails and not a calculation (disk full, engine missing); everything finished until
        then is kept.
        """
        wanted: dict[str, list[int]] = {}
        for index, atoms in enumerate(structures):
            wanted.setdefault(content_hash(atoms), []).append(index)
        waiting = []
        for structure_hash, indices in list(wanted.items()):
            if self.cache.get_by_hash(structure_hash, structures[indices[0]], self.level) is None:
                waiting.append(structure_hash)
            else:
                yield from self._hand_on(structure_hash, structures, wanted)
        waiting.reverse()
        elsewhere: list[str] = []
        looked = time.monotonic()
        while wanted:
            while waiting and len(self._running) < self._most_in_flight():
                structure_hash = waiting.pop()
                if structure_hash not in self._running:
                    if not self._claim(structure_hash):
                        elsewhere.append(structure_hash)
                        continue
                    self._begin(structure_hash, structures[wanted[structure_hash][0]])
                if structure_hash not in self._running:
                    yield from self._hand_on(structure_hash, structures, wanted)
            if wanted:
                finished = self._wait_for_one(POLL_CLAIMS_S if elsewhere else HEARTBEAT_S)
                if finished in wanted and finished not in self._running:
                    yield from self._hand_on(finished, structures, wanted)
            if elsewhere and time.monotonic() - looked > POLL_CLAIMS_S:
                waiting[:0] = reversed(elsewhere)
                elsewhere.clear()
                looked = time.monotonic()

    def _hand_on(
        self, structure_hash: str, structures: Sequence[Atoms], wanted: dict[str, list[int]]
    ) -> Iterator[tuple[int, Label]]:
        for index in wanted.pop(structure_hash):
            label = self.cache.get_by_hash(structure_hash, structures[index], self.level)
            if label is None:
                raise LabelError(
                    f"label cache {self.cache.path}: structure {structure_hash} was there and is gone; "
                    "another program deletes labels: let only Entrove write this file"
                )
            yield index, label

    def _most_in_flight(self) -> int:
        return max(LEAST_IN_FLIGHT, 2 * self._executor.capacity)

    def _claim(self, structure_hash: str) -> bool:
        if not self.cache.claim(structure_hash, self.level):
            return False
        self._claimed.add(structure_hash)
        return True

    def _begin(self, structure_hash: str, atoms: Atoms) -> None:
        """Start the first attempt, unless the cache or the folder holds the final end already."""
        if self.cache.get_by_hash(structure_hash, atoms, self.level) is not None:
            # Another campaign finished it while this one was busy.
            self.cache.release_claims([structure_hash], self.level)
            self._claimed.discard(structure_hash)
            return
        folder = AttemptFolder.of(self.work_folder, structure_hash)
        self._advance(_Job(structure_hash, copy_structure(atoms), folder))

    def _advance(self, job: _Job) -> None:
        """Submit the next attempt, or store the end of the last one."""
        ends = [(folder, self._judge(end, len(job.atoms))) for folder, end in job.folder.ends()]
        plan = plan_next_attempt(
            [end for _, end in ends],
            rungs=self.config.engine.rungs,
            max_attempts=self.config.max_attempts,
            time_limit_s=self.config.time_limit_s,
            longer_try_factor=self.config.longer_try_factor,
        )
        if plan is None:
            self._store(job, ends)
            self._running.pop(job.structure_hash, None)
        else:
            self._submit(job, plan)

    def _judge(self, end: AttemptEnd, atom_count: int) -> AttemptEnd:
        if end.outcome is not Outcome.CONVERGED:
            return end
        absurdity = find_absurdity(end, atom_count, self.config.sanity)
        return replace(end, outcome=Outcome.REJECTED, cause=absurdity) if absurdity else end

    def _submit(self, job: _Job, plan: NextAttempt) -> None:
        if not self._executor.running:
            # Started by the first attempt: a campaign whose labels are all cached needs no workers.
            self._executor.start()
        attempt = Attempt(
            folder=str(job.folder.next_folder()),
            engine=self.config.engine.model_dump_json(),
            rung=plan.rung,
            time_limit_s=plan.time_limit_s,
            labels_per_process=self.config.engine.labels_per_process,
            **describe_atoms(job.atoms, canonical_order(job.atoms)),
        )
        future = self._executor.submit(attempt)
        self._running[job.structure_hash] = job
        future.add_done_callback(lambda done: self._finished.put((attempt, job, done)))

    def _wait_for_one(self, timeout_s: float) -> str:
        """Wait until a running attempt ends and go on with its structure; return the structure's hash.

        Returns an empty string when none ended within `timeout_s`.
        """
        if time.monotonic() - self._last_heartbeat > HEARTBEAT_S:
            self.cache.renew_claims()
            self._last_heartbeat = time.monotonic()
        try:
            attempt, job, future = self._finished.get(timeout=timeout_s)
        except Empty:
            return ""
        error = future.exception()
        trouble = "" if error is not None else future.result().trouble
        if error is not None and not worker_was_lost(error):
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            del self._running[job.structure_hash]
            raise LabelError(
                f"labelling stopped: {trouble}; put that right and start again: finished labels are kept"
            )
        if error is not None:
            self._count_loss(job, attempt, str(error))
        self._advance(job)
        return job.structure_hash

    def _count_loss(self, job: _Job, attempt: Attempt, cause: str) -> None:
        job.losses += 1
        logger.warning("structure %s lost its worker: %s", job.structure_hash, cause)
        if job.losses % MAX_LOSSES == 0 and AttemptEnd.read(attempt.folder) is None:
            cause = f"its worker was lost {MAX_LOSSES} times, last: {cause}"
            Path(attempt.folder).mkdir(parents=True, exist_ok=True)
            AttemptEnd(Outcome.CRASHED, cause, rung=attempt.rung).write(attempt.folder)

    def _store(self, job: _Job, ends: Sequence[tuple[Path, AttemptEnd]]) -> None:
        folder, end = ends[-1]
        engine = self.config.engine
        order = canonical_order(job.atoms)
        forces = np.array(end.forces_eV_per_A or [], dtype=float)
        stress = np.array(end.stress_eV_per_A3 or [], dtype=float)
        label = Label(
            structure_hash=job.structure_hash,
            level_of_theory=self.level.hash,
            outcome=end.outcome,
            cause=end.cause,
            folder=str(folder),
            energy_eV=end.energy_eV,
            # A rejected label may hold anything: only what has the right shape is kept.
            forces_eV_per_A=forces[np.argsort(order)] if forces.shape == (len(order), 3) else None,
            stress_eV_per_A3=stress if stress.shape == (3, 3) else None,
            attempts=len(ends),
            engine_seconds=sum(end.engine_seconds for _, end in ends),
            engine=engine.kind,
            engine_version=end.engine_version,
            host_class=end.host_class,
            started_utc=ends[0][1].started_utc,
        )
        self.cache.put(
            job.atoms,
            label,
            self.level,
            electrons=engine.electrons(job.atoms),
            kpoints=engine.kpoints(job.atoms),
        )
        self._claimed.discard(job.structure_hash)
        if label.converged and self.config.keep_folders == "failed":
            job.folder.remove()
