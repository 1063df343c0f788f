"""Read files into the spool, and check each frame by itself."""

from collections.abc import Callable, Sequence

from entrove.curation.auditing.findings import FindingsByKind, FrameRef, Severity
from entrove.curation.auditing.frame_checks import (
    Problem,
    check_frame,
    check_unreadable,
    is_isolated,
    source_of,
    temperature_of,
)
from entrove.curation.auditing.spool import Spool
from entrove.formats import LabelKeys, read_frames

Progress = Callable[[str, int, int | None], None]
"""Called with what is done, how many frames are done and, where it is known, of how many."""


def read_into(
    path: str,
    against: bool,
    spool: Spool,
    problems: FindingsByKind,
    keys: LabelKeys,
    counts: list[int],
    progress: Progress,
) -> None:
    """Read one file; `counts` are all frames so far, and those that were left out."""
    for frame in read_frames(path, keys):
        counts[0] += 1
        reference = FrameRef(frame.source, frame.index)
        atoms = frame.atoms
        if atoms is None or len(atoms) == 0:
            found = [check_unreadable(frame)]
        else:
            found = list(check_frame(frame, atoms))
        for problem in found:
            problems.add(
                problem.kind,
                problem.severity,
                problem.title,
                problem.remedy,
                reference,
                problem.evidence,
            )
        blocked = any(problem.severity is Severity.BLOCKER for problem in found)
        counts[1] += blocked
        if atoms is not None and len(atoms) and not _breaks(found):
            spool.append(
                atoms,
                file=frame.source,
                index=frame.index,
                source=source_of(frame, atoms),
                formula=atoms.get_chemical_formula(empirical=True),
                temperature_K=temperature_of(atoms),
                isolated=is_isolated(atoms),
                usable=not blocked,
                against=against,
            )
        if counts[0] % 500 == 0:
            progress("reading", counts[0], None)


def _breaks(found: Sequence[Problem]) -> bool:
    """Whether a frame cannot even be described."""
    return any(problem.kind in {"not_finite", "zero_cell", "flat_cell"} for problem in found)
