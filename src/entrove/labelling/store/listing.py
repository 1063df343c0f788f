"""List the labels of a work folder, and release quarantined ones to be tried again."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from entrove.labelling.attempt import AttemptFolder
from entrove.labelling.labels import Outcome
from entrove.labelling.level_of_theory import read_level
from entrove.labelling.store.cache import LabelCache, LabelState
from entrove.labelling.store.moments import UNKNOWN
from entrove.structures import content_hash


def list_states(
    work_folder: str | Path, cache: LabelCache, structure_hashes: Iterable[str] = ()
) -> list[LabelState]:
    """State of every label that was computed in this folder, and of the structures that are named.

    A structure is named by its content hash, for all its magnetic states.
    Naming them also shows labels that a shared cache brought from another campaign, and those
    whose folders were not kept. What counts is the structure and not the path that the cache
    remembers: a campaign may be moved, or be looked at through another path. A failure is left
    out where an imported label, whose magnetic state nobody wrote down, is used in its place.
    """
    here = (key.partition("-")[0] for key in _keys_in(Path(work_folder)))
    wanted = {*structure_hashes, *here}
    states = _without_replaced(cache.states(read_level(work_folder), wanted))
    return [replace(state, folder=str(_folder_now(Path(work_folder), state))) for state in states]


def unfinished_structures(work_folder: str | Path, cache: LabelCache) -> list[str]:
    """What the labels of structures with attempts in this folder and no label yet are known by.

    That is `moments.label_key`: the content hash, with the magnetic state where there is one.
    They are being labelled now, or were when the campaign was interrupted.
    """
    finished = {state.key for state in cache.states(read_level(work_folder))}
    return sorted(_keys_in(Path(work_folder), "attempt-*") - finished)


def release_quarantined(
    work_folder: str | Path, cache: LabelCache, structure_hashes: Iterable[str] = ()
) -> list[LabelState]:
    """Let quarantined labels be tried again from the start; return what was released.

    All of this folder, and those of the structures that are named, wherever they were computed.
    Their attempts stay in the folder under another name. No campaign may label in this folder
    meanwhile, which the caller has to ensure.
    """
    return _release(list_states(work_folder, cache, structure_hashes), work_folder, cache)


def release_failures_of(
    structures: Iterable[Atoms], work_folder: str | Path, cache: LabelCache
) -> list[LabelState]:
    """Release those of these structures whose labels failed in this folder, and in no other.

    What another campaign with the same cache has in quarantine stays there, see
    `release_quarantined`.
    """
    wanted = {content_hash(atoms) for atoms in structures}
    states = list_states(work_folder, cache)
    return _release([s for s in states if s.structure_hash in wanted], work_folder, cache)


def _release(
    states: Iterable[LabelState], work_folder: str | Path, cache: LabelCache
) -> list[LabelState]:
    level = read_level(work_folder)
    failed = [state for state in states if state.outcome is not Outcome.CONVERGED]
    for state in failed:
        # The folder first: were the process killed in between, the label would still be listed.
        AttemptFolder.of(Path(work_folder).absolute(), state.key).release()
        cache.forget_failure(state.structure_hash, level, moments=state.moments)
    return failed


def _without_replaced(states: list[LabelState]) -> list[LabelState]:
    """Leave out failures in whose place the cache finds a label, of one level of theory."""
    found = {
        state.structure_hash
        for state in states
        if state.outcome is Outcome.CONVERGED and state.moments == UNKNOWN
    }
    return [
        state
        for state in states
        if state.outcome is Outcome.CONVERGED or state.structure_hash not in found
    ]


def _keys_in(work_folder: Path, pattern: str = "*attempt-*") -> set[str]:
    return {folder.parent.name for folder in work_folder.glob(f"*/*/{pattern}")}


def _folder_now(work_folder: Path, state: LabelState) -> Path:
    """Where the folder of a label is: the campaign that computed it may have been moved since."""
    here = AttemptFolder.of(work_folder, state.key).root / Path(state.folder).name
    return here if here.is_dir() else Path(state.folder)
