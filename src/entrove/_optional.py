"""Import optional packages where they are needed, and say how to install them."""

import importlib
from types import ModuleType

from entrove.errors import EntroveError


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
            f"the package '{error.name}' is not installed; install it with: pip install "
            f"'entrove[{extra}]'"
        ) from error
