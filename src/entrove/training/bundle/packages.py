"""Versions of the packages that a training used."""

import platform
from importlib.metadata import PackageNotFoundError, version

from entrove._version import __version__
from entrove.models.registry import framework_named

COMMON = ("torch", "torch-sim-atomistic", "ase", "numpy")


def packages_of(framework: str) -> dict[str, str]:
    """Return the versions of Entrove, Python and the packages that a framework trains with."""
    found = {"entrove": __version__, "python": platform.python_version()}
    for name in (*framework_named(framework).distributions, *COMMON):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # Allegro is an optional part of NequIP
            continue
    return found
