"""What happened to the labels of a campaign folder, and how to try quarantined ones again."""

import json
from collections.abc import Iterable
from pathlib import Path

from entrove.errors import LabelError
from entrove.labelling.attempt import AttemptFolder
from entrove.labelling.cache import LabelCache, LabelState
from entrove.labelling.label import Outcome
from entrove.labelling.level_of_theory import LEVEL_FILE, LevelOfTheory


def read_level(work_folder: str | Path) -> LevelOfTheory:
    """The level of theory of the labels in a work folder. Raises `LabelError` when there is none."""
    path = Path(work_folder) / LEVEL_FILE
    if not path.is_file():
        raise LabelError(
            f"{work_folder}: nothing was labelled here yet (no {LEVEL_FILE}); run the campaign first"
        )
    return LevelOfTheory(**json.loads(path.read_text()))


def list_states(
    work_folder: str | Path, cache: LabelCache, structure_hashes: Iterable[str] | None = None
) -> list[LabelState]:
    """State of every label that was computed in this folder, or of the structures that are named.

    Naming them also shows labels that a shared cache brought from another campaign.
    """
    states = cache.states(read_level(work_folder), structure_hashes)
    if structure_hashes is not None:
        return states
    root = Path(work_folder).absolute()
    return [state for state in states if Path(state.folder).is_relative_to(root)]


def unfinished_structures(work_folder: str | Path, cache: LabelCache) -> list[str]:
    """Content hashes of structures with attempts in this folder and no label yet: running or interrupted."""
    finished = {state.structure_hash for state in cache.states(read_level(work_folder))}
    folders = {folder.parent.name for folder in Path(work_folder).glob("*/*/attempt-*")}
    return sorted(folders - finished)


def release_quarantined(
    work_folder: str | Path, cache: LabelCache, structure_hashes: Iterable[str] | None = None
) -> list[LabelState]:
    """Let quarantined labels be tried again from the start; return what was released.

    Their attempts stay in the folder under another name.
    """
    level = read_level(work_folder)
    failed = [
        state
        for state in list_states(work_folder, cache, structure_hashes)
        if state.outcome is not Outcome.CONVERGED
    ]
    for state in failed:
        # The folder first: were the process killed in between, the label would still be listed.
        AttemptFolder.of(Path(work_folder).absolute(), state.structure_hash).release()
        cache.forget_failure(state.structure_hash, level)
    return failed
