"""Candidates as extended XYZ files."""

from collections.abc import Sequence
from pathlib import Path

from entrove.sampling.candidates import Candidate
from entrove.structures import read_structures, write_structures


def read_candidates(path: Path) -> list[Candidate]:
    """Read candidates; an empty file holds none."""
    return (
        [Candidate.from_atoms(atoms) for atoms in read_structures(path)]
        if path.stat().st_size
        else []
    )


def write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    """Write candidates, replacing `path` in one step."""
    write_structures(path, [candidate.to_atoms() for candidate in candidates])
