"""Results of checks in a folder, from which an interrupted suite continues.

Each check is one JSON file, written when the check has ended. It is taken again only for the same
model, crystals, labels, settings and version of Entrove; otherwise the check is made again and the
file replaced.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from entrove._version import __version__
from entrove.files import replace_text
from entrove.settings import Settings
from entrove.validation.suite.result import CheckResult

FORMAT = 1
"""Version of the files; another one is not read."""

_RESULTS = TypeAdapter(tuple[CheckResult, ...])


@dataclass(frozen=True)
class Stored:
    """The results of a check, and how long it took in s."""

    results: tuple[CheckResult, ...]
    seconds: float


def key_of(settings: Settings, fingerprint: str, more: str) -> str:
    """Hash what determines the results of a check.

    Args:
        settings: The settings of the check.
        fingerprint: What `Subject.fingerprint` returns.
        more: Everything else that counts, such as pressures and temperatures.
    """
    known = [FORMAT, __version__, settings.model_dump(mode="json"), fingerprint, more]
    text = json.dumps(known)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_stored(folder: Path | None, check: str, key: str) -> Stored | None:
    """Read the results of a check; None when there are none for this key.

    Those that only wanted a package are not read once it is installed.
    """
    if folder is None:
        return None
    try:
        content = json.loads((folder / f"{check}.json").read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        results = _RESULTS.validate_python(content["results"])
        if any(result.can_be_made_now for result in results):
            return None
        return Stored(results, float(content["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None  # missing or damaged: the check is made again


def write_stored(
    folder: Path | None, check: str, key: str, results: Sequence[CheckResult], seconds: float
) -> None:
    """Write the results of a check, in one step."""
    if folder is None:
        return
    content = {"key": key, "seconds": seconds, "results": [asdict(result) for result in results]}
    replace_text(folder / f"{check}.json", json.dumps(content, indent=1, allow_nan=False))
