"""Find pseudopotentials of Quantum ESPRESSO where they usually are."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

FOLDERS = ("$ESPRESSO_PSEUDO", "~/espresso/pseudo", "/usr/share/espresso/pseudo")
"""Where UPF files usually are; the first is the variable that pw.x itself reads."""


def pseudopotential_folders() -> dict[Path, list[Path]]:
    """Return the usual folders that hold UPF files, with their files."""
    found: dict[Path, list[Path]] = {}
    for text in FOLDERS:
        expanded = os.path.expandvars(text)
        if expanded.startswith("$"):
            continue
        folder = Path(expanded).expanduser()
        files = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".upf")
        if files:
            found[folder] = files
    return found


def find_pseudopotentials(species: Iterable[str]) -> tuple[Path, dict[str, str]] | None:
    """Find a folder with a pseudopotential of each element, for PBE where names tell.

    Args:
        species: Chemical symbols.

    Returns the folder and a file name for each symbol, or None where no folder has them all. The
    user has to confirm the choice: which one is good is not in a name.
    """
    wanted = list(species)
    for folder, files in pseudopotential_folders().items():
        chosen: dict[str, str] = {}
        for symbol in wanted:
            named = [path.name for path in files if element_of(path.name) == symbol]
            named.sort(key=lambda name: ("pbe" not in name.lower(), name))
            if named:
                chosen[symbol] = named[0]
        if len(chosen) == len(wanted):
            return folder, chosen
    return None


def element_of(name: str) -> str:
    """Return the element in the name of a UPF file.

    >>> element_of("Si.pbe-n-rrkjus_psl.1.0.0.UPF"), element_of("mg_pbe_v1.4.uspp.F.UPF")
    ('Si', 'Mg')
    """
    first = re.split(r"[._-]", name, maxsplit=1)[0]
    return first[:1].upper() + first[1:].lower()
