"""What an audit finds: each finding with file, frames, evidence and remedy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

MOST_FRAMES_NAMED = 200
"""A finding names at most so many frames; it says how many there are."""


class Severity(StrEnum):
    """How much a finding matters. The order is that of importance."""

    BLOCKER = "blocker"
    """Training on it fails or is poisoned: correct or remove it."""
    WARNING = "warning"
    """The evidence says that something is wrong: look, then decide."""
    NOTE = "note"
    """Worth knowing; nothing has to be done."""


@dataclass(frozen=True)
class FrameRef:
    """A frame: its file as given, and its position in it, counted from 0."""

    file: str
    index: int

    def __str__(self) -> str:
        return f"{self.file}: frame {self.index}"


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    `kind` is its name for programs, such as "stress_convention"; `title` says what it is in a
    line, `evidence` how it is known, `remedy` what to do. `count` frames are concerned, of which
    `frames` names the first `MOST_FRAMES_NAMED`; a finding of whole files names none, and lists
    them in `files`.
    """

    kind: str
    severity: Severity
    title: str
    evidence: str
    remedy: str
    frames: tuple[FrameRef, ...] = ()
    count: int = 0
    files: tuple[str, ...] = ()


@dataclass
class FindingsByKind:
    """Collects frames with the same thing wrong, with bounded memory."""

    _open: dict[tuple[str, str], "_Open"] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        severity: Severity,
        title: str,
        remedy: str,
        frame: FrameRef,
        evidence: str,
    ) -> None:
        """Add a frame to the finding of this kind, with what shows it."""
        entry = self._open.setdefault((kind, title), _Open(severity, remedy))
        entry.count += 1
        if frame.file not in entry.files:
            entry.files.append(frame.file)
        if len(entry.frames) < MOST_FRAMES_NAMED:
            entry.frames.append(frame)
        if len(entry.evidence) < 3:
            entry.evidence.append(f"{frame}: {evidence}")

    def findings(self) -> list[Finding]:
        """All findings, in the order in which the first frame of each came."""
        return [
            Finding(
                kind,
                entry.severity,
                title,
                "; ".join(entry.evidence) + ("; ..." if entry.count > 3 else ""),
                entry.remedy,
                tuple(entry.frames),
                entry.count,
                tuple(entry.files),
            )
            for (kind, title), entry in self._open.items()
        ]


@dataclass
class _Open:
    severity: Severity
    remedy: str
    count: int = 0
    files: list[str] = field(default_factory=list)
    frames: list[FrameRef] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)


def sort_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Blockers first, then warnings, then notes; otherwise in the given order."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))
