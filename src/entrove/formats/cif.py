"""Crystals of CIF files: what the file says of itself against what a reading makes of it.

A CIF file can be read in several ways: labels in capitals ("NA1") as other elements, a space group
in another setting (origin choice 2, rhombohedral axes). ASE reads it in one way, whatever comes
out. Here every reading is compared with the formula sum of the file, and atoms must not overlap;
the first reading that passes is taken, and said.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.cif import CIFBlock, parse_cif

from entrove.formats.ase_files import frame_of
from entrove.formats.frame import Frame, LabelKeys
from entrove.formats.labels_of_frame import BrokenFrameError
from entrove.formats.xyz_blocks import open_text
from entrove.structures import closest_atoms

LEAST_RATIO = 0.6
"""Atoms closer than this many sums of their covalent radii overlap, unless a caller says less.

It is the default of `sampling.guards.shortest_distance`, so that seeds and frames are read alike.
"""

OCCUPANCY_TOLERANCE = 5e-3
"""Occupancies and shares of elements that differ by less are the same: files give few digits."""

_NAME_TAGS = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m")
_OPERATION_TAGS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_SETTING_TAG = "_symmetry_space_group_setting"
_GROUP_TAGS = (
    *_NAME_TAGS,
    _SETTING_TAG,
    "_space_group_it_number",
    "_space_group.it_number",
    "_symmetry_int_tables_number",
    "_space_group_crystal_system",
    "_symmetry_cell_setting",
)
_SETTING_NAMES = {"1": 1, "2": 2, "s": 1, "z": 2, "h": 1, "r": 2}
"""Settings as they are appended to a Hermann-Mauguin symbol: ':2', ' Z', ':R'."""


@dataclass(frozen=True)
class _Reading:
    """One way to read a block; `note` says how, after "read"."""

    symbols: tuple[str, ...]
    setting: int | None
    note: str


def read_cif(path: Path, least_ratio: float = LEAST_RATIO) -> list[Frame]:
    """Read every crystal of a CIF file, compressed where its name says so.

    Args:
        path: The file.
        least_ratio: Shortest distance over the sum of the two covalent radii that is no overlap.

    A frame has a problem where sites are not fully occupied by one element, and where no reading
    agrees with the formula sum of the file, or several could be meant. Its notes say how it was
    read where that is not as it stands. A file that cannot be read at all is one such frame.
    """
    try:
        with open_text(path) as handle:
            blocks = [block for block in parse_cif(handle.buffer) if _has_sites(block)]
    except Exception as error:  # ASE's reader raises exceptions of any kind on a damaged file
        detail = f" ({error})" if str(error) else ""
        problem = (
            f"ASE cannot read this file{detail}; check its format, and whether it is complete"
        )
        return [Frame(str(path), 0, problem=problem)]
    if not blocks:
        problem = "the file holds no structure; give one with at least one structure"
        return [Frame(str(path), 0, problem=problem)]
    return [_frame(path, index, block, least_ratio) for index, block in enumerate(blocks)]


def _frame(path: Path, index: int, block: CIFBlock, least_ratio: float) -> Frame:
    try:
        atoms, notes = _read_block(block, least_ratio)
    except BrokenFrameError as error:
        return Frame(str(path), index, problem=str(error))
    return replace(frame_of(atoms, str(path), index, LabelKeys()), notes=notes)


def _read_block(block: CIFBlock, least_ratio: float) -> tuple[Atoms, tuple[str, ...]]:
    _refuse_disorder(block)
    formula = _formula_sum(block)
    failures: list[str] = []
    found: list[tuple[_Reading, Atoms]] = []
    readings = list(_readings(block))
    for reading in readings:
        try:
            atoms = _atoms(block, reading)
        except Exception as error:  # as above; most space groups have no second setting
            if reading == readings[0]:
                failures.append(f"read {reading.note}: {error}")
            continue
        problem = _problem(atoms, formula, least_ratio)
        if problem:
            failures.append(f"read {reading.note}: {problem}")
        else:
            found.append((reading, atoms))
    if not found:
        raise BrokenFrameError(
            "no reading of this crystal agrees with what the file says of itself "
            f"({'; '.join(failures)}); give the file with all symmetry operations and the symbol "
            "of each site, or the full cell as extended XYZ or POSCAR"
        )
    compositions = {atoms.symbols.formula.reduce()[0].format("hill") for _, atoms in found}
    if len(compositions) > 1:
        raise BrokenFrameError(
            f"the labels of the sites can be read as {' or '.join(sorted(compositions))}, "
            "and the file has no formula sum to decide; add _atom_site_type_symbol"
        )
    reading, atoms = _best(found, block, formula)
    notes: tuple[str, ...] = ()
    if reading != readings[0]:
        reason = "as its formula sum tells" if formula else "without which atoms would overlap"
        notes = (f"read {reading.note}, {reason}",)
    if any(tag.startswith("_atom_site_moment") for tag in block):
        notes += (
            "magnetic moments of the file are not read; give them in extended XYZ as "
            "initial_magmoms",
        )
    return atoms, notes


def _refuse_disorder(block: CIFBlock) -> None:
    """Raise `BrokenFrameError` unless every site is fully occupied by one element."""
    labels = _texts(block, "_atom_site_label") or _texts(block, "_atom_site_type_symbol")
    partial = [
        f"{label} {occupancy:g}"
        for label, occupancy in zip(labels, _numbers(block, "_atom_site_occupancy"), strict=False)
        if abs(occupancy - 1) > OCCUPANCY_TOLERANCE
    ]
    if partial:
        listing = ", ".join(partial[:6]) + (", ..." if len(partial) > 6 else "")
        raise BrokenFrameError(
            f"sites are partially occupied (occupancies: {listing}), and a calculation "
            "needs whole atoms; give an ordered cell of this composition, such as a special "
            "quasirandom structure, or an end member"
        )


def _readings(block: CIFBlock) -> Iterator[_Reading]:
    """Yield the ways to read a block, as it stands first."""
    texts = _texts(block, "_atom_site_type_symbol") or _texts(block, "_atom_site_label")
    spellings: list[tuple[tuple[str, ...], str]] = []
    for capitals, note in ((False, "as written"), (True, "with element symbols in capitals")):
        symbols = tuple(_symbol(text, capitals=capitals) for text in texts)
        known = all(symbol in atomic_numbers and symbol != "X" for symbol in symbols)
        if known and symbols not in [others for others, _ in spellings]:
            spellings.append((symbols, note))
    given = _given_setting(block)
    has_operations = any(tag in block for tag in _OPERATION_TAGS)
    settings: tuple[tuple[int | None, str], ...]
    if has_operations or given is not None:
        settings = ((given, ""),)
    else:
        settings = ((None, ""), (2, " in the second setting of its space group"))
    for setting, about_setting in settings:
        for symbols, spelling in spellings:
            yield _Reading(symbols, setting, spelling + about_setting)


def _atoms(block: CIFBlock, reading: _Reading) -> Atoms:
    tags: dict[str, Any] = dict(block)
    tags["_atom_site_type_symbol"] = list(reading.symbols)
    if any(tag in tags for tag in _OPERATION_TAGS):
        # The list of operations is complete; with a group besides, ASE fails for names and
        # settings that it does not know.
        tags = {tag: value for tag, value in tags.items() if tag not in _GROUP_TAGS}
        tags[_NAME_TAGS[0]] = "P 1"
    elif reading.setting is not None:
        tags[_SETTING_TAG] = reading.setting
    for tag in _NAME_TAGS:
        if tag in tags:
            tags[tag] = _name_and_setting(str(tags[tag]))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ASE warns of settings, which are all tried here
        atoms = CIFBlock(block.name, tags).get_atoms(fractional_occupancies=False)
    names = [str(block[tag]) for tag in _NAME_TAGS if tag in block]
    return Atoms(
        atoms.numbers,
        atoms.positions,
        cell=atoms.cell,
        pbc=atoms.cell.rank == 3,
        info={"spacegroup": names[0]} if names else {},
    )


def _problem(atoms: Atoms, formula: Mapping[str, float] | None, least_ratio: float) -> str:
    """Say how a reading contradicts the file; empty when it does not."""
    if not len(atoms):
        return "no atoms"
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        return f"{atoms.get_chemical_formula()} with a cell or positions that are not finite"
    if formula is not None and not _same_composition(Counter(atoms.symbols), formula):
        given = " ".join(f"{symbol}{count:g}" for symbol, count in formula.items())
        return (
            f"{atoms.get_chemical_formula()}, which differs from its formula sum {given} (are "
            "atoms missing in the file?)"
        )
    closest = closest_atoms(atoms)
    if closest is not None and closest.ratio < least_ratio:
        return f"{atoms.get_chemical_formula()} with {closest.describe()}"
    return ""


def _best(
    found: list[tuple[_Reading, Atoms]], block: CIFBlock, formula: Mapping[str, float] | None
) -> tuple[_Reading, Atoms]:
    """Return the first reading with the number of atoms that the file tells, or the first one."""
    units = _numbers(block, "_cell_formula_units_z")
    if formula is None or not units:
        return found[0]
    atoms_of_formula = sum(formula.values())
    # Some programs write the content of the whole cell as the formula sum, beside Z.
    expected = {round(units[0] * atoms_of_formula), round(atoms_of_formula)}
    fitting = [(reading, atoms) for reading, atoms in found if len(atoms) in expected]
    return (fitting or found)[0]


def _same_composition(read: Mapping[str, int], formula: Mapping[str, float]) -> bool:
    whole, told = sum(read.values()), sum(formula.values())
    return bool(told) and all(
        abs(read.get(symbol, 0) / whole - formula.get(symbol, 0) / told) < OCCUPANCY_TOLERANCE
        for symbol in read.keys() | formula.keys()
    )


def _formula_sum(block: CIFBlock) -> dict[str, float] | None:
    """Return the counts of the file's formula sum; None without one that can be read."""
    given = block.get("_chemical_formula_sum")
    if not isinstance(given, str):
        return None
    text = given.translate(str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789"))
    counts: dict[str, float] = {}
    for part in re.split(r"[\s,]+", text.strip("'\" ")):
        match = re.fullmatch(r"([A-Z][A-Za-z]?)(\d*\.?\d*)(?:\(\d+\))?", part)
        symbol = match.group(1).title() if match else ""
        symbol = "H" if symbol == "D" else symbol
        if match is None or symbol not in atomic_numbers:
            return None
        counts[symbol] = counts.get(symbol, 0.0) + float(match.group(2) or 1)
    return counts or None


def _given_setting(block: CIFBlock) -> int | None:
    """Return the setting that the file names, by its own key or after its space group."""
    own = _numbers(block, _SETTING_TAG)
    if own:
        return int(own[0])
    for tag in _NAME_TAGS:
        if tag in block and (setting := _name_and_setting(str(block[tag]))[1]) is not None:
            return setting
    return None


def _name_and_setting(name: str) -> tuple[str, int | None]:
    """Take the setting off a Hermann-Mauguin symbol.

    >>> _name_and_setting("F d -3 m :2"), _name_and_setting("R -3 m"), _name_and_setting("R-3m:H")
    (('F d -3 m', 2), ('R -3 m', None), ('R-3m', 1))
    """
    match = re.fullmatch(r"(.+?)\s*(?::\s*([12SZHRszhr])|\s([SZHR]))", name.strip())
    if match is None:
        return name.strip(), None
    return match.group(1), _SETTING_NAMES[(match.group(2) or match.group(3)).lower()]


def _symbol(text: str, *, capitals: bool) -> str:
    """Read the element at the start of a label.

    >>> _symbol("NA1", capitals=False), _symbol("NA1", capitals=True)
    ('N', 'Na')
    >>> _symbol("na2", capitals=False), _symbol("D3", capitals=False)
    ('Na', 'H')
    """
    letters = re.match(r"[A-Za-z]*", text.strip()).group(0)  # type: ignore[union-attr]
    if letters[:1].islower():
        letters = letters.title()
    pair = letters[:2].title() if capitals else letters[:2]
    symbol = pair if len(pair) == 2 and pair in atomic_numbers else letters[:1]
    return "H" if symbol == "D" else symbol


def _has_sites(block: CIFBlock) -> bool:
    named = {"_atom_site_type_symbol", "_atom_site_label"} & set(block)
    return bool(named) and bool({"_atom_site_fract_x", "_atom_site_cartn_x"} & set(block))


def _texts(block: CIFBlock, tag: str) -> list[str]:
    given = block.get(tag)
    values = given if isinstance(given, list) else [] if given is None else [given]
    return [str(value) for value in values]


def _numbers(block: CIFBlock, tag: str) -> list[float]:
    """Return the numbers of a key, 1 for those that are not given ('.' or '?')."""
    numbers: list[float] = []
    for text in _texts(block, tag):
        try:
            numbers.append(float(text))
        except ValueError:
            numbers.append(1.0)
    return numbers
