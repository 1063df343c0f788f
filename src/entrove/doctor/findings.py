"""What was found on a machine, one line each, and the remedy where something is wrong."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a finding is to be taken."""

    WORKS = "works"
    ABSENT = "absent"
    """Optional, and not there."""
    WARNING = "warning"
    """Campaigns run, slower or with less than this machine could give."""
    PROBLEM = "problem"
    """No campaign can run here before it is solved."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        section: The part of the examination, such as "engines".
        name: What was looked for.
        state: Whether it works.
        what: What was found, in a line.
        remedy: What to do, in a line; empty where nothing is to be done.
    """

    section: str
    name: str
    state: State
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Examination:
    """All findings, in the order in which they are shown."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What keeps campaigns from running on this machine."""
        return tuple(found for found in self.findings if found.state is State.PROBLEM)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What makes campaigns slower, or less certain, than they could be."""
        return tuple(found for found in self.findings if found.state is State.WARNING)

    @property
    def exit_status(self) -> int:
        """1 with a problem, otherwise 0."""
        return 1 if self.problems else 0

    @property
    def verdict(self) -> str:
        """Return the result in one line."""
        if self.problems:
            names = ", ".join(found.name for found in self.problems)
            return f"no campaign can run here yet: {names}"
        warned = ", ".join(found.name for found in self.warnings)
        return "campaigns can run here" + (f"; look at: {warned}" if warned else "")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "verdict": self.verdict,
            "problems": len(self.problems),
            "warnings": len(self.warnings),
            "findings": [asdict(found) for found in self.findings],
        }
