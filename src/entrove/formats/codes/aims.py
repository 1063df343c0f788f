"""FHI-aims by ASE's reader, with the convergence of each structure.

ASE's reader takes the numbers of every structure as if it had converged. FHI-aims ends a structure
with a verdict on its self-consistency; a mixer that is started again, and the strained cells of a
numerical stress, belong to the same structure.
"""

from collections.abc import Iterator
from pathlib import Path

from entrove.formats.ase_files import read_by_ase
from entrove.formats.codes.scanned import ScannedStep, beside, scanned_steps
from entrove.formats.frame import Frame, LabelKeys

_CONVERGED = "Self-consistency cycle converged."
_NOT_CONVERGED = ("SELF-CONSISTENCY CYCLE DID NOT CONVERGE", "SCF cycle not converged")
_NEXT_STRUCTURE = (  # of relaxations, molecular dynamics, and programs that call FHI-aims
    "Geometry optimization: Attempting to predict improved coordinates",
    "Atomic structure (and velocities) as used in the preceding time step",
    "Atomic structure that was used in the preceding time step of the wrapper",
)


def is_aims(head: str) -> bool:
    """Whether the beginning of a file is that of an output of FHI-aims."""
    return "Invoking FHI-aims" in head


def read_aims(path: Path, keys: LabelKeys) -> Iterator[Frame]:
    """Yield the structures of an output of FHI-aims."""
    yield from beside(
        read_by_ase(path, keys, "aims-output"),
        scanned_steps(path, _scan),
        path,
        "ASE does not read this structure; the job may have been stopped",
    )


def _scan(lines: Iterator[str]) -> list[ScannedStep]:
    """One entry for each structure that has a verdict."""
    steps: list[ScannedStep] = []
    ended = True
    for line in lines:
        if any(phrase in line for phrase in _NEXT_STRUCTURE):
            ended = True
            continue
        failed = any(phrase in line for phrase in _NOT_CONVERGED)
        if not failed and _CONVERGED not in line:
            continue
        if ended:
            steps.append(ScannedStep(converged=True))
            ended = False
        if failed:
            steps[-1].converged = False
            steps[-1].reason = "not converged: FHI-aims says so"
    return steps
