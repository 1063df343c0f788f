"""Python, the packages of the core, and the extras."""

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from entrove._optional import install_command
from entrove._version import __version__
from entrove.doctor.findings import Finding, State

SECTION = "packages"

PURPOSES = {
    "sevennet": "SevenNet: models that explore and are tuned, the default",
    "nequip": "NequIP and Allegro: models that explore and are tuned",
    "chgnet": "CHGNet: models that explore",
    "gpaw": "DFT labels in Python",
    "report": "the page of a campaign, without which 'entrove run' does not start",
    "phonons": "phonons in the checks of a model",
}
"""What each extra is for."""

NEEDED = ("report",)
"""Extras without which no campaign runs."""


def examine_packages() -> Iterator[Finding]:
    """Compare what is installed with the requirements of Entrove and of each extra."""
    place = Path(sys.prefix)
    yield Finding(
        SECTION,
        "Python",
        State.WORKS,
        f"{platform.python_version()} in {place}, Entrove {__version__}",
    )
    requirements = _requirements()
    if requirements is None:
        yield Finding(
            SECTION,
            "installation",
            State.WARNING,
            "Entrove is imported without being installed, so that versions cannot be compared",
            "pip install -e FOLDER_OF_THE_SOURCE",
        )
        return
    wrong = [text for need in requirements.get("", []) if (text := _complaint(need))]
    yield Finding(
        SECTION,
        "core",
        State.PROBLEM if wrong else State.WORKS,
        "; ".join(wrong) or f"all {len(requirements.get('', []))} packages have their versions",
        "pip install --upgrade entrove" if wrong else "",
    )
    for extra in PURPOSES:
        yield _examine_extra(extra, requirements.get(extra, []))


def _examine_extra(extra: str, needs: list[Requirement]) -> Finding:
    found = [(need, _installed(need)) for need in needs]
    missing = [need.name for need, version in found if version is None]
    absent = State.PROBLEM if extra in NEEDED else State.ABSENT
    if missing:
        return Finding(
            SECTION,
            extra,
            absent,
            f"{', '.join(missing)} not installed ({PURPOSES[extra]})",
            install_command(extra),
        )
    wrong = [text for need, _ in found if (text := _complaint(need))]
    if wrong:
        upgrade = install_command(extra).replace("install ", "install --upgrade ", 1)
        return Finding(SECTION, extra, State.WARNING, "; ".join(wrong), upgrade)
    versions = ", ".join(f"{need.name} {version}" for need, version in found)
    return Finding(SECTION, extra, State.WORKS, versions)


def _requirements() -> dict[str, list[Requirement]] | None:
    """Requirements of each extra, those of the core under an empty name; None if not installed."""
    try:
        lines = importlib.metadata.requires("entrove") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found: dict[str, list[Requirement]] = {}
    for need in map(Requirement, lines):
        for extra in ("", *PURPOSES):
            environment = {**default_environment(), "extra": extra}
            in_core = need.marker is None or need.marker.evaluate({**environment, "extra": ""})
            if in_core != (extra == "") or canonicalize_name(need.name) == "entrove":
                continue
            if need.marker is None or need.marker.evaluate(environment):
                found.setdefault(extra, []).append(need)
    return found


def _installed(need: Requirement) -> str | None:
    try:
        return importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _complaint(need: Requirement) -> str:
    """Say what is wrong with an installed package; empty when nothing is."""
    version = _installed(need)
    if version is None:
        return f"{need.name} is not installed"
    if not need.specifier.contains(version, prereleases=True):
        return f"{need.name} {version} is installed, {need.name}{need.specifier} is needed"
    return ""
