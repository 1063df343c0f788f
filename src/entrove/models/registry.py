"""Models by name, file or import path."""

import difflib
from pathlib import Path

from entrove.errors import ModelError
from entrove.models.loaded import LoadedModel

SEVENNET_NAMES = ("7net-0", "7net-l3i5", "7net-mf-0", "7net-mf-ompa", "7net-omat", "7net-omni")
ALLEGRO_NAMES = ("allegro-oam-l",)
NAMES = SEVENNET_NAMES + ALLEGRO_NAMES
"""Names that `load` knows beside files and import paths."""

FILE_SUFFIXES = (".pth", ".ckpt", ".nequip.zip", ".nequip.pt2")
"""Files that `load` knows."""


def load(name_or_path: str, *, device: str = "auto") -> LoadedModel:
    """Load a model for batched evaluation.

    `name_or_path` is a name of `NAMES`, the path of a SevenNet checkpoint (`*.pth`), of a
    NequIP or Allegro model (`*.nequip.pt2`, `*.nequip.zip`, `*.ckpt`), or
    "module:factory", which is called without arguments and gives an ASE calculator or a torch-sim model. A
    multi-fidelity model takes its fidelity after an at sign: `7net-mf-ompa@mpa`. `device` is "auto",
    "cpu" or "cuda". torch's default dtype is left as it was. Raises `ModelError` for anything else.
    """
    if Path(name_or_path).is_dir():
        raise ModelError(
            f"{name_or_path} is a folder; a model bundle is loaded by entrove.load_model, "
            "here give a model's name or file"
        )
    base, modal = split_modal(name_or_path)
    if base in SEVENNET_NAMES:
        from entrove.models.sevennet.model import load_sevennet, pretrained_checkpoint

        return load_sevennet(
            base, checkpoint=pretrained_checkpoint(base), modal=modal, device=device
        )
    if Path(base).suffix == ".pth":
        from entrove.models.sevennet.model import load_sevennet

        path = _existing(base)
        return load_sevennet(path.name, checkpoint=path, modal=modal, device=device)
    if base in ALLEGRO_NAMES:
        from entrove.models.nequip.model import find_foundation_model, load_nequip

        if modal is not None:
            raise ModelError(
                f"{base} has a single fidelity but '{modal}' is asked for; leave out '@{modal}'"
            )
        return load_nequip(find_foundation_model(base), name=base, device=device)
    if name_or_path.endswith((".nequip.pt2", ".nequip.zip", ".ckpt")):
        from entrove.models.nequip.model import load_nequip

        return load_nequip(_existing(name_or_path), device=device)
    if ":" in name_or_path:
        from entrove.models.ase import load_import_path

        return load_import_path(name_or_path)
    raise ModelError(_unknown(name_or_path))


def split_modal(name_or_path: str) -> tuple[str, str | None]:
    """Take "model@fidelity" apart; a path may hold at signs of its own.

    >>> split_modal("7net-mf-0@PBE"), split_modal("7net-0")
    (('7net-mf-0', 'PBE'), ('7net-0', None))
    """
    if "@" not in name_or_path or Path(name_or_path).exists():
        return name_or_path, None
    base, _, modal = name_or_path.rpartition("@")
    return base, modal


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise ModelError(f"{path}: no such model file; check the path")
    return Path(path)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), NAMES, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return (
        f"unknown model '{name}'.{hint} Known names: {', '.join(NAMES)}; or give a file "
        f"({', '.join('*' + suffix for suffix in FILE_SUFFIXES)}), or 'module:factory' of an ASE calculator"
    )
