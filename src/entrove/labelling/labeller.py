"""Structures in, labels out: from the cache, from attempts on disk, or from the engine."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
from ase import Atoms

from entrove.errors import LabelError
from entrove.execution.pool import worker_was_lost
from entrove.execution.settings import SlurmExecution
from entrove.labelling.attempt import Attempt, AttemptFolder, AttemptResult, attempt_number
from entrove.labelling.config import LabellingConfig
from entrove.labelling.engines.base import Engine
from entrove.labelling.execution.executor import AttemptExecutor
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory, claim_folder
from entrove.labelling.retries import NextAttempt, plan_next_attempt
from entrove.labelling.sanity import find_implausible_value, find_uncomputable_structure
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.claims import HEARTBEAT_S
from entrove.labelling.store.contradictions import describe_differences
from entrove.labelling.store.moments import copy_moments, key_of
from entrove.structures import canonical_order, content_hash, copy_structure

logger = logging.getLogger(__name__)

PARSL_FOLDER = "runinfo"
LEAST_IN_FLIGHT = 256
"""Attempts that Parsl has at once, or two per worker if that is more.

So no worker waits for its next label, and few attempts have to be cancelled at the end.
"""
POLL_CLAIMS_S = 2.0
"""How often to look for labels that another process computes."""
MAX_LOSSES = 3
"""A structure that lost its worker so often is tried again alone, after all others.

A job that is cancelled or preempted, or a node that fails, takes several structures with it, and
none of them has to be the cause. A structure that loses its worker when it runs alone has crashed.
"""


@dataclass
class _Job:
    """A structure that is being labelled; its atoms are in the order of the first one.

    `results` are those of its attempts so far, with their folders. Since it began they come from
    the workers and not from the disk: a network file system may show a file of another machine
    seconds after it was written.
    """

    key: str
    atoms: Atoms
    folder: AttemptFolder
    results: list[tuple[Path, AttemptResult]] = field(default_factory=list)
    last_number: int = 0
    losses: int = 0

    def next_folder(self) -> Path:
        """A folder that no attempt has used."""
        folder = self.folder.next_folder(after=self.last_number)
        self.last_number = attempt_number(folder)
        return folder


def _as_asked(atoms: Atoms) -> Atoms:
    """The structure and its initial moments; results that it may carry are those of another."""
    asked = copy_structure(atoms)
    copy_moments(atoms, asked)
    return asked


def _indices_by_key(structures: Sequence[Atoms]) -> dict[str, list[int]]:
    """Where each structure that an engine can compute is in the list."""
    found: dict[str, list[int]] = {}
    for index, atoms in enumerate(structures):
        if not find_uncomputable_structure(atoms):
            found.setdefault(key_of(atoms), []).append(index)
    return found


class Labeller:
    """Labels structures at one level of theory; a context manager that starts and stops workers.

    Each label is in the cache before it is yielded. A process that was killed at any moment starts
    again with the same arguments: finished labels come from the cache, finished attempts from
    `work_folder`, and only what was running is computed again.

    Args:
        config: Engine, executor and limits.
        cache: Where labels are looked up and stored.
        work_folder: The engine's files, in a folder per attempt.
        executor: Workers that several labellers share; who passes them starts and stops them. By
            default workers start with the first label that is not cached.
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
            config.executor, self.work_folder / PARSL_FOLDER, config.longest_attempt_s
        )
        self._running: dict[str, _Job] = {}
        self._waiting_alone: dict[str, NextAttempt] = {}
        self._claimed: set[str] = set()
        self._last_heartbeat = time.monotonic()
        self._finished: SimpleQueue[tuple[Attempt, _Job, Future[AttemptResult]]] = SimpleQueue()

    def with_engine(self, engine: Engine, work_folder: str | Path) -> "Labeller":
        """A labeller of another level of theory with the same cache and the same workers.

        Args:
            engine: What computes its labels.
            work_folder: Folder of its calculations, another one than that of this labeller.

        Use it while this labeller is open.
        """
        config = self.config.model_copy(update={"engine": engine})
        return Labeller(config, self.cache, work_folder, self._executor)

    def __enter__(self) -> "Labeller":
        try:
            self.work_folder.mkdir(parents=True, exist_ok=True)
            claim_folder(self.work_folder, self.level)
        except OSError as error:
            raise LabelError(
                f"{self.work_folder}: cannot be written ({error}); check permissions and free "
                "space"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._owns_executor:
            self._executor.stop()
        with contextlib.suppress(LabelError):  # claims end with this process anyway
            self.cache.release_claims(self._claimed, self.level)

    def label(self, structures: Sequence[Atoms]) -> Iterator[tuple[int, Label]]:
        """Yield (index into `structures`, label) of every structure, cached ones first.

        A crystal whose label was imported without a stress is computed; the imported label counts
        where that fails. The others follow as they finish. Equal structures are computed once,
        also when another process that shares the cache wants them at the same time: its label is
        waited for, after all others. Quarantined labels are yielded like all others: look at
        `Label.outcome`. A structure that no engine can compute (no atoms, numbers that are not
        finite, elements that do not exist, a periodic cell without volume) has a REJECTED one that
        is stored nowhere and has no hash. Raises `LabelError` when the machine fails and not a
        calculation (disk full, engine missing); everything that was finished until then is kept.
        """
        structures = [_as_asked(atoms) for atoms in structures]
        yield from self._reject(structures)
        wanted = _indices_by_key(structures)
        waiting: list[str] = []
        for key, indices in list(wanted.items()):
            if not self.cache.is_labelled(structures[indices[0]], self.level):
                waiting.append(key)
            else:
                yield from self._yield_labels(key, structures, wanted)
        waiting.reverse()  # the next one is at the end
        elsewhere: list[str] = []  # claimed by another process
        last_poll = time.monotonic()
        while wanted:
            while waiting and len(self._running) < self._most_in_flight():
                key = waiting.pop()
                if key not in self._running:
                    if not self._claim(key):
                        elsewhere.append(key)
                        continue
                    self._begin(key, structures[wanted[key][0]])
                if key not in self._running:
                    yield from self._yield_labels(key, structures, wanted)
            if wanted:
                finished = self._wait_for_attempt(POLL_CLAIMS_S if elsewhere else HEARTBEAT_S)
                if finished in wanted and finished not in self._running:
                    yield from self._yield_labels(finished, structures, wanted)
            if elsewhere and time.monotonic() - last_poll > POLL_CLAIMS_S:
                waiting[:0] = reversed(elsewhere)
                elsewhere.clear()
                last_poll = time.monotonic()

    def _reject(self, structures: Sequence[Atoms]) -> Iterator[tuple[int, Label]]:
        """Labels of the structures that no engine can compute."""
        for index, atoms in enumerate(structures):
            if cause := find_uncomputable_structure(atoms):
                yield index, Label("", self.level.hash, Outcome.REJECTED, cause, attempts=0)

    def _yield_labels(
        self, key: str, structures: Sequence[Atoms], wanted: dict[str, list[int]]
    ) -> Iterator[tuple[int, Label]]:
        for index in wanted.pop(key):
            label = self.cache.get(structures[index], self.level)
            if label is None:
                raise LabelError(
                    f"label cache {self.cache.path}: structure {key} was there and is "
                    "gone; another program deletes labels: let only Entrove write this file"
                )
            yield index, label

    def _most_in_flight(self) -> int:
        return max(LEAST_IN_FLIGHT, 2 * self._executor.capacity)

    def _claim(self, key: str) -> bool:
        if not self.cache.claim(key, self.level):
            return False
        self._claimed.add(key)
        return True

    def _begin(self, key: str, atoms: Atoms) -> None:
        """Start the first attempt, unless the cache or the folder holds a final result."""
        if self.cache.is_labelled(atoms, self.level):
            # Another campaign finished it while this one was busy.
            self.cache.release_claims([key], self.level)
            self._claimed.discard(key)
            return
        folder = AttemptFolder.of(self.work_folder, key)
        job = _Job(key, atoms, folder)
        for attempted, result in folder.results():
            self._add_result(job, attempted, result)
        self._advance(job)

    def _add_result(self, job: _Job, folder: Path, result: AttemptResult) -> None:
        job.results.append((folder, self._check_values(result, len(job.atoms))))

    def _advance(self, job: _Job) -> None:
        """Submit the next attempt, or store the result of the last one."""
        plan = plan_next_attempt(
            [result for _, result in job.results],
            rungs=self.config.engine.rungs,
            max_attempts=self.config.max_attempts,
            time_limit_s=self.config.time_limit_s,
            longer_try_factor=self.config.longer_try_factor,
        )
        if plan is None:
            self._store(job)
            self._running.pop(job.key, None)
        elif job.losses < MAX_LOSSES:
            self._submit(job, plan)
        else:
            self._running[job.key] = job
            self._waiting_alone[job.key] = plan

    def _submit_alone(self) -> None:
        """Submit the next structure that is to run alone, when no other one runs."""
        if self._waiting_alone and len(self._waiting_alone) == len(self._running):
            key = next(iter(self._waiting_alone))
            self._submit(self._running[key], self._waiting_alone.pop(key))

    def _check_values(self, result: AttemptResult, atom_count: int) -> AttemptResult:
        if result.outcome is not Outcome.CONVERGED:
            return result
        cause = find_implausible_value(result, atom_count, self.config.sanity)
        return replace(result, outcome=Outcome.REJECTED, cause=cause) if cause else result

    def _submit(self, job: _Job, plan: NextAttempt) -> None:
        if not self._executor.running:
            # Not earlier: a campaign whose labels are all cached needs no workers.
            self._executor.start()
        attempt = Attempt.of(
            job.atoms,
            canonical_order(job.atoms),
            folder=job.next_folder(),
            engine=self.config.engine.model_dump_json(),
            rung=plan.rung,
            time_limit_s=plan.time_limit_s,
            labels_per_process=self.config.engine.labels_per_process,
        )
        future = self._executor.submit(attempt)
        self._running[job.key] = job
        future.add_done_callback(lambda done: self._finished.put((attempt, job, done)))

    def _wait_for_attempt(self, timeout_s: float) -> str:
        """Wait until a running attempt ends, then plan the next one or store the label.

        Returns the hash of the structure, or an empty string when none ended within `timeout_s`.
        """
        self._submit_alone()
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
            del self._running[job.key]
            raise LabelError(
                f"labelling stopped: {trouble}; correct that and start again: finished labels are "
                f"kept; logs: {attempt.folder} and, with what `prepare` and the workers printed, "
                f"{self._executor.log.parent}"
            )
        if error is None:
            self._add_result(job, Path(attempt.folder), future.result())
        else:
            self._count_loss(job, attempt, str(error))
        self._advance(job)
        return job.key

    def _count_loss(self, job: _Job, attempt: Attempt, cause: str) -> None:
        job.losses += 1
        logger.warning("structure %s lost its worker: %s", job.key, cause)
        # It may have finished just before.
        result = AttemptResult.read(attempt.folder)
        if result is None and job.losses > MAX_LOSSES:
            cause = (
                f"its worker was lost {job.losses} times, at last while no other structure was "
                f"labelled: {cause}; {self._describe_possible_causes()}"
            )
            Path(attempt.folder).mkdir(parents=True, exist_ok=True)
            result = AttemptResult(Outcome.CRASHED, cause, rung=attempt.rung)
            result.write(attempt.folder)
        if result is not None:
            self._add_result(job, Path(attempt.folder), result)

    def _describe_possible_causes(self) -> str:
        executor = self.config.executor
        if not isinstance(executor, SlurmExecution):
            return "it may need more memory than there is"
        return (
            "it may need more memory than its job has, or the job was cancelled, preempted or "
            f"reached its walltime of {executor.walltime}"
        )

    def _require_one_version(self, label: Label) -> None:
        """Raise `LabelError` for a label of another version of the program than the others."""
        if not (label.converged and label.engine_version and self.config.engine.version_counts):
            return
        version = self.level.version
        known = {version} if version else self.cache.engine_versions(self.level)
        if known and label.engine_version not in known:
            raise LabelError(
                f"engine {label.engine}: structure {label.structure_hash} was computed by version "
                f"{label.engine_version}, and the labels of this level of theory are of "
                f"{', '.join(sorted(known))}; energies of two versions cannot be one dataset. Use "
                "that version again; or set labelling: engine: program_version to the new one and "
                "start a new campaign folder, which labels all structures with it"
            )

    def _store(self, job: _Job) -> None:
        label = self._to_label(job)
        self._require_one_version(label)
        known = self.cache.get(job.atoms, self.level)
        if label.converged and known is not None and known.import_id is not None:
            _warn_of_differences(label, known)
        self.cache.put(
            job.atoms,
            label,
            self.level,
            electrons=self.config.engine.electrons(job.atoms),
            kpoints=self.config.engine.kpoints(job.atoms),
            replacing=label.converged,  # an imported label without stress
        )
        self._claimed.discard(job.key)
        if label.converged and self.config.keep_folders == "failed":
            job.folder.remove()

    def _to_label(self, job: _Job) -> Label:
        """The last result as a label whose atoms are in the order of the job's."""
        folder, last = job.results[-1]
        order = canonical_order(job.atoms)
        forces = np.array(last.forces_eV_per_A or [], dtype=float)
        stress = np.array(last.stress_eV_per_A3 or [], dtype=float)
        return Label(
            structure_hash=content_hash(job.atoms),
            level_of_theory=self.level.hash,
            outcome=last.outcome,
            cause=last.cause,
            folder=str(folder),
            energy_eV=last.energy_eV,
            # A rejected label may hold anything: only what has the right shape is kept.
            forces_eV_per_A=forces[np.argsort(order)] if forces.shape == (len(order), 3) else None,
            stress_eV_per_A3=stress if stress.shape == (3, 3) else None,
            attempts=len(job.results),
            engine_seconds=sum(result.engine_seconds for _, result in job.results),
            engine=self.config.engine.kind,
            engine_version=last.engine_version,
            host_class=last.host_class,
            started_utc=job.results[0][1].started_utc,
        )


def _warn_of_differences(label: Label, imported: Label) -> None:
    """Warn where a computed label shows that the file of the imported one was of another level."""
    if imported.converged and (differences := describe_differences(label, imported)):
        logger.warning(
            "structure %s: its computed label differs from the one of import %s, whose place it "
            "takes (%s); were the labels of that file computed with these settings?",
            label.structure_hash,
            imported.import_id,
            differences,
        )
