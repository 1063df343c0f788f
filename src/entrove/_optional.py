"""Import optional packages where they are needed, and say how to install them."""

import importlib
from pathlib import Path
from types import ModuleType

from entrove.errors import EntroveError

GPAW_SETTINGS = Path(__file__).parent / "labelling" / "engines" / "gpaw_siteconfig.py"
"""Settings of the build of GPAW, without which it cannot be installed."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra.

    >>> install_command("sevennet")
    "pip install 'entrove[sevennet]'"
    """
    command = f"pip install 'entrove[{extra}]'"
    return f"GPAW_CONFIG={GPAW_SETTINGS} {command}" if extra == "gpaw" else command


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module.

    Raises `EntroveError`, with the command that installs the extra, when the module is missing.

    >>> require("math", extra="all").sqrt(4.0)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise
        raise EntroveError(
            f"the package '{error.name}' is not installed; install it with: "
            f"{install_command(extra)}"
        ) from error
