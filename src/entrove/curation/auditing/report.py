"""What an audit returns, and how it is shown."""

from dataclasses import asdict, dataclass, field

import numpy as np
from ase import Atoms

from entrove import __version__
from entrove.curation.auditing.conventions.parts import FileConventions
from entrove.curation.auditing.coverage import Coverage
from entrove.curation.auditing.findings import Finding, FrameRef, Severity
from entrove.curation.drawing import lines_of_text, table

SHOWN_FRAMES = 6
SCHEMA_VERSION = 1
EXIT_STATUS = {Severity.BLOCKER: 4, Severity.WARNING: 3, Severity.NOTE: 0}
"""Exit status of `entrove audit` by the gravest finding; 0 without any."""


@dataclass(frozen=True)
class WorstFrame:
    """A frame to look at: what is odd about it, and its structure.

    `number` is that of the frame among all that were read, as `Coverage.map_frames` has it.
    """

    frame: FrameRef
    number: int
    reason: str
    deviation: float
    atoms: Atoms = field(compare=False, repr=False)


@dataclass(frozen=True)
class AuditReport:
    """Everything that an audit found.

    `predictor` names what labels were compared with, and `force_error` is its own error,
    the root mean square of its forces' error relative to that of the forces (None without forces).
    `findings` are sorted, gravest first. `worst` holds at most twenty frames.
    """

    files: tuple[str, ...]
    against: tuple[str, ...]
    frames: int
    left_out: int
    predictor: str
    force_error: float | None
    findings: tuple[Finding, ...]
    conventions: tuple[FileConventions, ...]
    coverage: Coverage
    worst: tuple[WorstFrame, ...]
    seconds: float

    @property
    def gravest(self) -> Severity | None:
        """The gravest severity that occurs."""
        return self.findings[0].severity if self.findings else None

    @property
    def exit_status(self) -> int:
        """0 without blockers and warnings, 3 with warnings, 4 with blockers."""
        return 0 if self.gravest is None else EXIT_STATUS[self.gravest]

    def of_severity(self, severity: Severity) -> tuple[Finding, ...]:
        """Findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)

    @property
    def verdict(self) -> str:
        """One sentence: how many findings of each severity."""
        counts = [len(self.of_severity(severity)) for severity in Severity]
        frames = f"{self.frames:,} frame{'' if self.frames == 1 else 's'}"
        if not any(counts[:2]):
            notes = f", {counts[2]} to note" if counts[2] else ""
            return f"Nothing wrong was found in {frames}{notes}."
        words = ("blocker", "warning", "note")
        said = [
            f"{count} {word}{'' if count == 1 else 's'}"
            for count, word in zip(counts, words, strict=True)
            if count
        ]
        return f"{', '.join(said)} in {frames}."

    def to_dict(self) -> dict[str, object]:
        """Everything as numbers, texts, lists and dictionaries, for JSON."""
        coverage = asdict(self.coverage)
        for name in ("map_points", "map_frames", "map_sources", "source_names"):
            coverage.pop(name)
        return {
            "schema_version": SCHEMA_VERSION,
            "entrove_version": __version__,
            "files": list(self.files),
            "against": list(self.against),
            "frames": self.frames,
            "left_out": self.left_out,
            "exit_status": self.exit_status,
            "compared_with": self.predictor,
            "force_error": self.force_error,
            "findings": [asdict(finding) for finding in self.findings],
            "conventions": [
                {
                    "file": of_file.file,
                    "part": of_file.part,
                    "frames": of_file.frames,
                    "energy": None if of_file.energy is None else of_file.energy.name,
                    "energy_scores": {
                        name: score if np.isfinite(score) else None
                        for name, score in of_file.energy_scores.items()
                    },
                    "stress": None if of_file.stress is None else str(of_file.stress),
                    "stress_evidence": of_file.stress_evidence,
                }
                for of_file in self.conventions
            ],
            "coverage": coverage,
            "worst": [
                {"frame": asdict(one.frame), "reason": one.reason, "deviation": one.deviation}
                for one in self.worst
            ],
            "seconds": self.seconds,
        }

    def _repr_html_(self) -> str:
        coverage = self.coverage
        labels = ", ".join(f"{name} {count:,}" for name, count in coverage.labels.items())
        contents = ", ".join(
            f"{formula} {count:,}" for formula, count in list(coverage.compositions.items())[:8]
        )
        shown = lines_of_text(
            [
                self.verdict,
                f"Labels were compared with {self.predictor}.",
                f"{self.frames:,} frames, of which {self.left_out:,} could not be used; labels: "
                f"{labels}; compositions: {contents}",
            ]
        )
        if self.findings:
            headings = ("", "finding", "frames", "evidence", "remedy")
            shown += table(headings, [_row(finding) for finding in self.findings])
        if self.conventions:
            shown += table(
                ("part", "frames", "energies and forces", "stress"),
                [
                    (
                        of_file.part,
                        str(of_file.frames),
                        "not decided" if of_file.energy is None else of_file.energy.what,
                        "none, or not decided" if of_file.stress is None else str(of_file.stress),
                    )
                    for of_file in self.conventions
                ],
            )
        return shown


def _row(finding: Finding) -> tuple[str, ...]:
    named = ", ".join(str(frame.index) for frame in finding.frames[:SHOWN_FRAMES])
    more = ", ..." if finding.count > SHOWN_FRAMES and named else ""
    frames = f"{finding.count:,}" + (f" ({named}{more})" if named else "")
    return (str(finding.severity), finding.title, frames, finding.evidence, finding.remedy)
