"""Files that ASE's readers read: databases, trajectories and the outputs of DFT codes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from entrove.formats.addresses import without_password
from entrove.formats.frame import OTHER_RESULTS, OTHER_RESULTS_OF_ATOMS, Frame, LabelKeys
from entrove.formats.label_keys import convergence_in, meaning_of
from entrove.formats.labels_of_frame import BrokenFrameError, finite, take_labels

DATABASE_ARRAYS = "arrays"
"""Key in the data of a row under which `write_frames` puts arrays that a row has no place for."""
_KEPT = (*OTHER_RESULTS[1:], *OTHER_RESULTS_OF_ATOMS)  # the free energy is taken as a label


def read_database(path: str | Path, keys: LabelKeys) -> Iterator[Frame]:
    """Yield the rows of an ASE database, a file or an address, in the order of their ids."""
    source = without_password(str(path))
    index = 0
    try:
        for row in _rows(path):
            yield _frame_of_row(row, source, index, keys)
            index += 1
    except Exception as error:  # the drivers of databases have exceptions of their own
        why = without_password(str(error))
        problem = f"the database cannot be read on ({why}); the rest is not read"
        yield Frame(source, index, problem=problem)


def _rows(path: str | Path) -> Iterator[Any]:
    from ase.db import connect

    database: Any = connect(path)
    yield from database.select(sort="id")


def _frame_of_row(row: Any, source: str, index: int, keys: LabelKeys) -> Frame:
    try:
        atoms = row.toatoms(add_additional_information=False)
        _restore_moments(getattr(atoms.calc, "results", {}), len(atoms))
        atoms.info.update(row.key_value_pairs)
        data = dict(row.data or {})
        for name, values in data.pop(DATABASE_ARRAYS, {}).items():
            atoms.set_array(name, np.asarray(values))
        for name in [name for name in data if _is_forces(name, data[name], len(atoms), keys)]:
            atoms.set_array(name, np.asarray(data.pop(name)))
        atoms.info.update(data)
    except Exception as error:  # a damaged row raises errors of any kind
        return Frame(source, index, problem=f"ASE cannot read the row: {error}")
    return frame_of(atoms, source, index, keys)


def _restore_moments(results: dict[str, Any], n_atoms: int) -> None:
    """Give moments of three numbers, which a database returns as bytes or flat, their shape."""
    moment = results.get("magmom")
    if isinstance(moment, bytes):
        results["magmom"] = np.frombuffer(moment)
    moments = results.get("magmoms")
    if moments is not None and np.size(moments) == 3 * n_atoms:
        results["magmoms"] = np.reshape(moments, (n_atoms, 3))


def _is_forces(name: str, value: Any, n_atoms: int, keys: LabelKeys) -> bool:
    """Whether a value in the data of a row is forces by its name, three numbers per atom."""
    known = meaning_of(name)
    if name != keys.forces and (known is None or known.quantity != "forces"):
        return False
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return False
    return array.shape == (n_atoms, 3) and array.dtype.kind in "fiu"


def ase_format_of(path: Path) -> str:
    """Return ASE's name of a file's format; empty when it has none."""
    from ase.io.formats import filetype

    try:
        return filetype(str(path))
    except Exception:  # an unknown or missing file is explained when it is read
        return ""


def read_by_ase(
    path: str | Path, keys: LabelKeys, ase_format: str | None = None
) -> Iterator[Frame]:
    """Yield the frames that ASE's reader of this format finds.

    Where the reader stops at damage, the last frame says so: what follows cannot be found.
    """
    from ase.io import iread

    index = 0
    try:
        # "@" is part of a name here, not the beginning of ASE's index of frames.
        for atoms in iread(path, ":", format=ase_format, do_not_split_by_at_sign=True):
            yield frame_of(atoms, str(path), index, keys)
            index += 1
    except Exception as error:  # ASE's readers raise exceptions of any kind on a damaged file
        problem = f"ASE cannot read on ({type(error).__name__}: {error}); the rest is not read"
        if not index:
            problem = f"no reader understands this file (ASE: {type(error).__name__}: {error})"
        yield Frame(str(path), index, problem=problem)


def frame_of(
    atoms: Atoms,
    source: str,
    index: int,
    keys: LabelKeys,
    converged: bool | None = None,
) -> Frame:
    """Bring what ASE has read into the internal form.

    Args:
        atoms: The structure with its calculator; its `info` and arrays may hold labels, too.
        source: The file.
        index: Position in it.
        keys: Names of labels given by the user.
        converged: What the reader knows about the electronic steps.
    """
    results: dict[str, Any] = dict(getattr(atoms.calc, "results", {}))
    info = {**atoms.info}
    arrays = dict(atoms.arrays)
    for name in ("energy", "free_energy", "stress"):
        if results.get(name) is not None:
            info[name] = results[name]
    if results.get("forces") is not None:
        arrays["forces"] = np.asarray(results["forces"])
    try:
        if (atoms.numbers < 1).any():
            atom = int(np.flatnonzero(atoms.numbers < 1)[0])
            raise BrokenFrameError(f"atom {atom} is X, no chemical element")
        finite("positions", atoms.positions)
        finite("cell", atoms.cell.array)
        found = take_labels(info, arrays, atoms.cell, len(atoms), keys)
    except BrokenFrameError as error:
        return Frame(source, index, problem=str(error), converged=converged)
    said = [value for value in (converged, convergence_in(info)) if value is not None]
    read = Atoms(
        numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info
    )
    for name, values in arrays.items():
        if name not in ("numbers", "positions"):
            read.set_array(name, values)
    read.set_constraint(atoms.constraints)
    kept = {name: results[name] for name in _KEPT if results.get(name) is not None}
    if found.results or kept:
        read.calc = SinglePointCalculator(read, **kept, **found.results)
    return Frame(
        source,
        index,
        read,
        converged=all(said) if said else None,
        notes=tuple(note for note in found.notes if not note.startswith("six numbers of")),
    )
