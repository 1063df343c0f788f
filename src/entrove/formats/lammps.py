"""Files of LAMMPS, which may number the types of their atoms without naming an element."""

from pathlib import Path

from entrove.formats.xyz_blocks import READ_ERRORS, open_text

NO_ELEMENTS = (
    "this file numbers its atom types and names no elements, and type 1 would be "
    "read as hydrogen; write the elements into it (dump_modify ... element, or the "
    "section Masses of a data file), or convert it to extended XYZ"
)
"""Problem of a file whose elements would have to be guessed."""
_SECTIONS_WITH_ELEMENTS = ("Masses", "Atom Type Labels")
_COLUMNS_WITH_ELEMENTS = frozenset({"element", "mass"})


def lacks_elements(path: Path, ase_format: str) -> bool:
    """Whether a file of LAMMPS has neither elements nor masses from which they follow.

    Args:
        path: The file.
        ase_format: ASE's name of its format; no file of another program lacks elements.
    """
    if not ase_format.startswith("lammps"):
        return False
    if ase_format == "lammps-dump-binary":
        return True
    try:
        with open_text(path) as lines:
            for line in lines:
                if line.startswith("ITEM: ATOMS"):
                    return not _COLUMNS_WITH_ELEMENTS & set(line.split())
                # A dump has no sections; all else is a data file, whatever its ending.
                if line.strip().startswith(_SECTIONS_WITH_ELEMENTS):
                    return False
    except READ_ERRORS:  # damage is explained when the file is read
        return False
    return True
