"""Models by name, file or import path.

Each framework is one entry of `FRAMEWORKS`, which its folder defines; everything else here follows
from the entries.
"""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from entrove.errors import ModelError
from entrove.models.chgnet.files import CHGNET
from entrove.models.frameworks import Framework
from entrove.models.nequip.files import NEQUIP
from entrove.models.sevennet.files import SEVENNET

if TYPE_CHECKING:
    import entrove.models.loaded

FRAMEWORKS: tuple[Framework, ...] = (
    SEVENNET,
    NEQUIP,
    CHGNET,
)

NAMES = tuple(name for framework in FRAMEWORKS for name in framework.models)
"""Names that `load` knows beside files and import paths."""

FILE_SUFFIXES = tuple(suffix for framework in FRAMEWORKS for suffix in framework.suffixes)
"""Endings of the files that `load` knows."""


def load(name_or_path: str | Path, *, device: str = "auto") -> "entrove.models.loaded.LoadedModel":
    """Load a model that evaluates batches of structures.

    Args:
        name_or_path: A name of `NAMES`, the path of a model file (see `FILE_SUFFIXES`), or
            "module:factory", which is called without arguments and gives an ASE calculator or a
            torch-sim model. A multi-fidelity model takes its fidelity after an at sign:
            `7net-mf-ompa@mpa`. A name of `NAMES` is that model also where a file or folder has the
            same name, so that what lies in the present folder cannot replace a model; "./chgnet"
            is what lies there.
        device: "auto" (CUDA where there is a device), "cpu" or "cuda".

    Returns a `LoadedModel`. torch's default dtype is left as it was, and nothing is downloaded.

    Raises `ModelError` for an unknown name, a missing or unreadable file and a fidelity that does
    not fit, and `EntroveError` with the install command when the model's package is missing.
    """
    name_or_path = str(name_or_path)
    base, modal = split_modal(name_or_path)
    if base not in NAMES and Path(name_or_path).is_dir():
        raise ModelError(
            f"{name_or_path} is a folder; a model bundle is loaded by entrove.load_model, "
            "here give a model's name or file"
        )
    framework = framework_of(base)
    if framework is None:
        if ":" in name_or_path:
            from entrove.models.ase import load_import_path  # loads torch

            return load_import_path(name_or_path)
        raise ModelError(_unknown(name_or_path))
    if base not in framework.models and not Path(base).is_file():
        raise ModelError(f"{base}: no such model file; check the path")
    if modal is not None and not framework.has_fidelities:
        raise ModelError(
            f"{base} has a single fidelity but '{modal}' is asked for; leave out '@{modal}'"
        )
    return framework.load(base, modal=modal, device=device)


def split_modal(name_or_path: str, folder: Path = Path()) -> tuple[str, str | None]:
    """Take "model@fidelity" apart; a path may hold at signs of its own, which no name does.

    Relative paths are looked for in `folder`.

    >>> split_modal("7net-mf-0@PBE"), split_modal("7net-0")
    (('7net-mf-0', 'PBE'), ('7net-0', None))
    """
    base, at, modal = name_or_path.rpartition("@")
    if not at or (base not in NAMES and (folder / name_or_path).exists()):
        return name_or_path, None
    return base, modal


def framework_of(base: str) -> Framework | None:
    """Find the framework of a name or path without fidelity; None for anything else.

    >>> framework_of("tuned.pth").name, framework_of("module:factory")
    ('sevennet', None)
    """
    return next((framework for framework in FRAMEWORKS if framework.evaluates(base)), None)


def framework_named(name: str) -> Framework:
    """Return a framework by its name.

    >>> framework_named("sevennet").package
    'sevenn'
    """
    return next(framework for framework in FRAMEWORKS if framework.name == name)


def explain_untrainable(base: str) -> str:
    """Say why a model that no framework trains cannot be tuned, and which kinds of models can."""
    framework = framework_of(base)
    reason = f"{framework.untrainable_because}; " if framework else ""
    kinds = ", and ".join(known.trainable_kinds for known in FRAMEWORKS if known.trainable)
    return f"{base} cannot be tuned: {reason}only {kinds} can"


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), NAMES, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return (
        f"unknown model '{name}'.{hint} Known names: {', '.join(NAMES)}; or give a file "
        f"({', '.join('*' + suffix for suffix in FILE_SUFFIXES)}), "
        "or 'module:factory' of an ASE calculator"
    )
