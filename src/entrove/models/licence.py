"""The licence of a model's weights, as far as the package that carries them says."""

from importlib.metadata import PackageNotFoundError, metadata, version

from entrove.models.registry import framework_of, split_modal

LONGEST = 60
"""A licence field with a longer first line is a text, not a name."""


def licence_of(name_or_path: str) -> str:
    """Say under which licence a model may be used, and how that is known.

    Args:
        name_or_path: What `entrove.models.load` takes.

    Returns the licence of the package that carries the weights, or "unknown" with the reason.
    Weights that were downloaded, or given as a file, carry no licence that a program could read.
    """
    base, _ = split_modal(name_or_path)
    framework = framework_of(base)
    if framework is None or base not in framework.models:
        return "unknown: the weights were given as a file"
    if base not in framework.packaged:
        return "unknown: the weights were downloaded; see the page that they come from"
    try:
        named = _licence_named_by(framework.package)
    except PackageNotFoundError:
        return f"unknown: the package {framework.package} is not installed"
    package = f"{framework.package} {version(framework.package)}"
    where = f"the package {package}, which carries the weights"
    return f"{named} ({where})" if named else f"unknown: {where}, names none"


def _licence_named_by(package: str) -> str:
    """The expression, or the first line of the licence field, or the last part of a classifier."""
    found = metadata(package)
    expression = found.get("License-Expression")
    if expression:
        return expression
    lines = (found.get("License") or "").strip().splitlines()
    if lines and len(lines[0]) <= LONGEST:
        return lines[0].strip()
    for classifier in found.get_all("Classifier") or []:
        if classifier.startswith("License :: ") and not classifier.endswith("OSI Approved"):
            return classifier.rpartition(" :: ")[2]
    return ""
