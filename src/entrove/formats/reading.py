"""Read labelled structures from any file, one after the other."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from entrove.errors import StructureError
from entrove.formats.addresses import database_address
from entrove.formats.ase_files import ase_format_of, read_by_ase, read_database
from entrove.formats.cif import read_cif
from entrove.formats.codes.aims import is_aims, read_aims
from entrove.formats.codes.cp2k import is_cp2k, read_cp2k
from entrove.formats.codes.espresso import is_espresso, read_espresso
from entrove.formats.codes.gpaw import is_gpaw, read_gpaw_text
from entrove.formats.codes.vasp import read_outcar
from entrove.formats.codes.vasprun import holds_a_step, read_vasprun
from entrove.formats.deepmd import is_deepmd, read_deepmd
from entrove.formats.extxyz import read_extxyz
from entrove.formats.frame import Frame, LabelKeys
from entrove.formats.lammps import NO_ELEMENTS, lacks_elements
from entrove.formats.xyz_blocks import READ_ERRORS, open_text, without_compression
from entrove.structures import StructureSource, iterate_file

CONVERGENCE_UNKNOWN = "the output does not say whether the electronic steps converged"
"""Note of a frame with labels of a program whose verdict on convergence is not found."""
_HEAD_CHARACTERS = 20_000
_ENDINGS = ("", ".gz", ".bz2", ".xz")


def read_frames(path: str | Path, keys: LabelKeys | None = None) -> Iterator[Frame]:
    """Yield the frames of a file, one at a time, so that it need not fit in memory.

    Args:
        path: A file, whose format is told by its name and content: extended XYZ (with the keys of
            MACE, GAP and NEP), an ASE database or trajectory, OUTCAR, vasprun.xml, the output of
            pw.x, FHI-aims, CP2K or GPAW, .gpw, CIF (see `entrove.formats.cif`), whatever else ASE
            reads, but no file of LAMMPS that names no elements. A folder is a system of
            DeePMD-kit, or is searched for systems, vasprun.xml and OUTCAR, also through links (the
            latter only where no vasprun.xml, which has more digits, holds a whole step; a note of
            the first frame names what is left out). Or the address of a database server,
            postgresql://user:password@host:port/name; mysql and mariadb likewise.
        keys: Names of labels to take instead of the usual ones.

    Yields a `Frame` for each structure, in order. A broken one carries its `problem`, and reading
    continues after it.
    Raises `StructureError` when there is no such file, or nothing to read in a folder.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.xyz"
    >>> _ = path.write_text("1\\nREF_energy=-1.5\\nSi 0 0 0\\n1\\nREF_energy=?\\nSi 0 0 0\\n")
    >>> good, broken = read_frames(path)
    >>> good.atoms.get_potential_energy(), good.notes, broken.index
    (-1.5, ('energy is REF_energy',), 1)
    """
    keys = keys or LabelKeys()
    if (address := database_address(path)) is not None:
        yield from read_database(address, keys)
        return
    path = Path(path)
    if not path.exists():
        raise StructureError(f"{path}: no such file; check the path")
    if path.is_dir() and not is_deepmd(path):
        for source, note in _sources_of_folder(path):
            for index, frame in enumerate(_frames_of(source, keys)):
                more = (note,) if note and index == 0 else ()
                yield replace(frame, notes=(*frame.notes, *more))
        return
    yield from _frames_of(path, keys)


def is_xyz(path: str | Path) -> bool:
    """Whether a file is extended XYZ by its name."""
    return _name(Path(path)).endswith((".xyz", ".extxyz"))


def _sources_of_folder(folder: Path) -> list[tuple[Path, str]]:
    """The systems of DeePMD-kit and the outputs of VASP below a folder, each once, sorted.

    With each comes a note on what is not read beside it, or an empty text.
    Raises `StructureError` when there are none.
    """
    found: list[tuple[Path, str]] = []
    seen: set[Path] = set()  # a link may lead to a folder that was searched, or above it
    for name, folders, names in os.walk(folder, followlinks=True):
        place = Path(name)
        if place.resolve() in seen:
            folders.clear()
            continue
        seen.add(place.resolve())
        folders.sort()
        if is_deepmd(place):
            found.append((place, ""))
            folders.clear()
            continue
        outputs, note = _outputs_of_vasp(place, sorted(names))
        found += [(place / output, "" if index else note) for index, output in enumerate(outputs)]
    if not found:
        raise StructureError(
            f"{folder}: the folder holds neither vasprun.xml nor OUTCAR nor a DeePMD system "
            "(type.raw); give the files themselves"
        )
    return found


def iterate_structures(source: StructureSource) -> Iterator[Atoms]:
    """Yield one structure at a time from a structure, a list, an iterator, or a file.

    Files are those that ASE reads; elements and symmetry of CIF files, and elements of LAMMPS, are
    taken care of as by `read_frames`.

    Raises `StructureError` when the file does not exist, and, with its number, for a structure of
    the file that cannot be read; those before it have been yielded.
    """
    if isinstance(source, Atoms):
        yield source  # iterating over an `Atoms` would yield its atoms
        return
    if not isinstance(source, str | Path):
        yield from source
        return
    path = Path(source)
    ase_format = ase_format_of(path)
    if lacks_elements(path, ase_format):
        raise StructureError(f"{path}: {NO_ELEMENTS}")
    if ase_format != "cif":
        yield from iterate_file(path)
        return
    for frame in read_cif(path):
        if frame.atoms is None:
            raise StructureError(f"{path}: structure {frame.index}: {frame.problem}")
        yield frame.atoms


def _outputs_of_vasp(place: Path, names: list[str]) -> tuple[list[str], str]:
    """The outputs in a folder that are read, and a note that names others, or an empty text."""
    vaspruns = [name for name in names if name.startswith("vasprun")]
    outcars = [name for name in names if name.startswith("OUTCAR")]
    if not vaspruns or not outcars:
        return vaspruns or outcars, ""
    if not any(holds_a_step(place / name) for name in vaspruns):
        return outcars, f"not read beside it: {', '.join(vaspruns)}, without a whole step"
    read = {name.removeprefix("vasprun").replace(".xml", "") for name in vaspruns}
    others = [name for name in outcars if name.removeprefix("OUTCAR") not in {*read, *_ENDINGS}]
    return vaspruns, f"not read beside it: {', '.join(others)}; give it by name" if others else ""


def _name(path: Path) -> str:
    return without_compression(path).name.lower()


def _frames_of(path: Path, keys: LabelKeys) -> Iterator[Frame]:
    name = _name(path)
    if path.is_dir():
        return read_deepmd(path)
    if name.endswith((".xyz", ".extxyz")):
        return read_extxyz(path, keys)
    if name.endswith(".db"):
        return read_database(path, keys)
    if name.endswith((".traj", ".json")):  # of ASE, which keep no verdict on convergence
        return read_by_ase(path, keys)
    if name.endswith(".gpw"):  # GPAW writes its state after convergence; ASE keeps all results
        return read_by_ase(path, keys, "gpw")
    return map(_say_what_is_open, _outputs_of(path, name, keys))


def _outputs_of(path: Path, name: str, keys: LabelKeys) -> Iterator[Frame]:
    """The frames of the output of a program, which should tell whether they converged."""
    if name.startswith("outcar") or name.endswith(".outcar"):
        return read_outcar(path, keys)
    if "vasprun" in name and name.endswith(".xml"):
        return read_vasprun(path)
    head = _head(path)
    if is_espresso(head):
        return read_espresso(path, keys)
    if is_cp2k(head):
        return read_cp2k(path, keys)
    if is_gpaw(head):
        return read_gpaw_text(path, keys)
    if is_aims(head):
        return read_aims(path, keys)
    ase_format = ase_format_of(path)
    if ase_format == "cif":
        return iter(read_cif(path))
    if lacks_elements(path, ase_format):
        return iter([Frame(str(path), 0, problem=NO_ELEMENTS)])
    return read_by_ase(path, keys)


def _say_what_is_open(frame: Frame) -> Frame:
    if frame.converged is not None or "energy" not in frame.labels:
        return frame
    return replace(frame, notes=(*frame.notes, CONVERGENCE_UNKNOWN))


def _head(path: Path) -> str:
    """The beginning of a file, as far as it can be read."""
    head = ""
    with contextlib.suppress(*READ_ERRORS), open_text(path) as handle:
        # In pieces: one that cannot be read must not take those before it.
        while len(head) < _HEAD_CHARACTERS and (piece := handle.read(1000)):
            head += piece
    return head
