"""Files of LAMMPS: whether they say which elements their atoms are."""

from pathlib import Path

import pytest

from entrove.formats.ase_files import ase_format_of
from entrove.formats.lammps import lacks_elements

DATA = """LAMMPS data

2 atoms
1 atom types

0.0 5.64 xlo xhi
0.0 5.64 ylo yhi
0.0 5.64 zlo zhi

{section}Atoms # atomic

1 1 0.0 0.0 0.0
2 1 2.8 2.8 2.8
"""

SECTIONS = {
    "Masses\n\n1 63.546\n\n": False,
    "Atom Type Labels\n\n1 Cu\n\n": False,
    "": True,
}


@pytest.mark.parametrize("name", ["cell.lammps", "cell.lammps-data"])
@pytest.mark.parametrize(("section", "lacks"), SECTIONS.items())
def test_a_data_file_has_its_elements_under_every_name(
    tmp_path: Path, name: str, section: str, *, lacks: bool
):
    path = tmp_path / name
    path.write_text(DATA.format(section=section))
    assert lacks_elements(path, ase_format_of(path)) is lacks
