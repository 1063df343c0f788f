"""Energy, forces and stress of one frame, from whatever its file calls them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.cell import Cell
from jaxtyping import Float

from entrove.formats.frame import LabelKeys
from entrove.formats.label_keys import meaning_of, resembling
from entrove.units import gpa_to_ev_per_a3

# Two values of one label that differ by more than rounding are two labels.
_SAME_RELATIVE = 1e-5
_SAME_ABSOLUTE = {"energy": 1e-4, "free_energy": 1e-4, "forces": 1e-4, "stress": 1e-6}
_STRESS_UNIT_EV_PER_A3 = {"": 1.0, "GPa": gpa_to_ev_per_a3(1.0), "kbar": gpa_to_ev_per_a3(0.1)}


RESEMBLES = "which may be something else"
"""What is said of names that resemble that of a label, and are not taken."""


class BrokenFrameError(Exception):
    """One frame cannot be used; its message is the `problem` of the frame."""


@dataclass
class FoundLabels:
    """Labels of one frame in eV, eV/A and eV/A^3, and what was done to obtain them."""

    results: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def take_labels(
    info: dict[str, Any],
    arrays: dict[str, np.ndarray],
    cell: Cell,
    n_atoms: int,
    keys: LabelKeys,
) -> FoundLabels:
    """Take the labels out of the keys of a frame.

    Args:
        info: Values of the whole frame; what is taken as a label is removed.
        arrays: Values per atom, each of shape (atoms, ...); forces are removed when taken.
        cell: The cell in A, for virials.
        n_atoms: Number of atoms.
        keys: Names given by the user; a quantity with a name is taken from there only.

    Returns the labels, the stress of shape (6,) in ASE's sign and Voigt order.
    Raises `BrokenFrameError` when a label is no number, has a wrong shape, is not finite, or when
    two keys contradict each other.
    """
    found = FoundLabels()
    # A named energy is the only one: a free energy beside it may be that of another calculator.
    for quantity in ("energy",) if keys.energy else ("energy", "free_energy"):
        _take(found, info, quantity, keys, lambda name: _number(name, info[name]))
    if "energy" not in found.results and "free_energy" in found.results:
        found.results["energy"] = found.results["free_energy"]
        found.notes.append("energy is the free energy, the only one in the file")
    _take(found, arrays, "forces", keys, lambda name: _forces(name, arrays[name], n_atoms))
    _take_stress(found, info, cell, keys)
    _set_aside_untaken(found, info, arrays)
    for quantity, source in (("energy", info), ("forces", arrays)):
        if quantity not in found.results and (others := resembling(quantity, source)):
            found.notes.append(f"no {quantity}; the file has {', '.join(others)}, {RESEMBLES}")
    return found


def _take(
    found: FoundLabels,
    source: dict[str, Any],
    quantity: str,
    keys: LabelKeys,
    value_of: Callable[[str], Any],
    stored_as: str = "",
) -> None:
    """Move one quantity from `source` to the results."""
    stored_as = stored_as or quantity
    named = keys.named().get(quantity)
    if named is not None:
        names = [named] if named in source else []
        if not names:
            found.notes.append(f"no {quantity}: the frame has no key {named}")
    else:
        names = [
            name for name in source if (known := meaning_of(name)) and known.quantity == quantity
        ]
    if not names:
        return
    names.sort(key=lambda name: name != quantity)  # the usual name first
    values = {name: value_of(name) for name in names}
    first = values[names[0]]
    for name in names[1:]:
        if not same_label(stored_as, first, values[name]):
            raise BrokenFrameError(
                f"{quantity} is in doubt: {names[0]} is {_short(first)} and {name} is "
                f"{_short(values[name])}; say which one with --{quantity}-key"
            )
    del source[names[0]]
    found.results[stored_as] = first
    if names[0] != quantity:
        verb = "are" if quantity == "forces" else "is"
        found.notes.append(f"{quantity} {verb} {names[0]}")


def _take_stress(found: FoundLabels, info: dict[str, Any], cell: Cell, keys: LabelKeys) -> None:
    named = keys.named()
    wanted = {"stress", "virial"}
    if len(wanted & named.keys()) == 1:  # a name for one of them says that the other is not meant
        wanted &= named.keys()
    of_stress, of_virial = FoundLabels(), FoundLabels()
    if "stress" in wanted:
        _take(of_stress, info, "stress", keys, lambda name: _stress(name, info[name], of_stress))
        found.notes += of_stress.notes
        found.results |= of_stress.results
    virials = [key for key in info if (known := meaning_of(key)) and known.quantity == "virial"]
    if "virial" not in wanted or not (virials or keys.virial):
        return
    volume_A3 = abs(float(np.linalg.det(cell.array)))
    if not volume_A3 > 0:
        names = [keys.virial] if keys.virial else virials
        found.notes.append(f"no stress from {names[0]}: the cell has no volume")
        return
    _take(
        of_virial,
        info,
        "virial",
        keys,
        lambda name: -_tensor(name, info[name], of_virial) / volume_A3,
        stored_as="stress",
    )
    if "stress" not in of_virial.results:
        found.notes += of_virial.notes
        return
    from_virial = of_virial.results["stress"]
    found.notes += of_virial.notes
    if "stress" not in found.results:
        found.results["stress"] = from_virial
        found.notes.append("stress from virial in eV")
    elif same_label("stress", found.results["stress"], from_virial, relative=1e-3):
        found.notes.append("stress and virial agree")
    else:
        ratio = np.linalg.norm(found.results["stress"]) / max(np.linalg.norm(from_virial), 1e-30)
        raise BrokenFrameError(
            f"stress and virial contradict each other: stress is "
            f"{_short(found.results['stress'])}, -virial/volume is {_short(from_virial)} eV/A^3, "
            f"ratio {ratio:.4g} (160.2 is GPa, 1602 is kbar); correct the file, or name one of "
            "them with --stress-key or --virial-key"
        )


def _set_aside_untaken(
    found: FoundLabels, info: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Rename what has the usual name of a label but was not taken, so that nobody takes it."""
    for source, names in ((info, ("energy", "free_energy", "stress")), (arrays, ("forces",))):
        for name in names:
            if name in source:
                source[f"other_{name}"] = source.pop(name)
                found.notes.append(f"'{name}' of the file is kept as 'other_{name}'")


def same_label(quantity: str, one: Any, other: Any, relative: float = _SAME_RELATIVE) -> bool:
    """Whether two values of a label agree within rounding, the largest entry as the scale."""
    scale = float(np.max(np.abs(one)))
    difference = float(np.max(np.abs(np.asarray(one) - np.asarray(other))))
    # Energies have no natural zero, so that a relative difference of them means nothing.
    share = 0.0 if "energy" in quantity else relative * scale
    return difference <= _SAME_ABSOLUTE[quantity] + share


def _number(name: str, value: Any) -> float:
    if np.ndim(value) != 0 or np.asarray(value).dtype.kind not in "fiu":
        raise BrokenFrameError(f"{name} is {_short(value)}, but one number is needed")
    number = float(value)
    if not np.isfinite(number):
        raise BrokenFrameError(f"{name} is not finite ({number})")
    return number


def _forces(name: str, value: np.ndarray, n_atoms: int) -> Float[np.ndarray, "atoms 3"]:
    if value.shape != (n_atoms, 3) or value.dtype.kind not in "fiu":
        raise BrokenFrameError(
            f"{name} has shape {value.shape} and type {value.dtype}, but three numbers per atom "
            f"are needed, ({n_atoms}, 3)"
        )
    return finite(name, np.asarray(value, dtype=float))


def finite(name: str, value: np.ndarray) -> np.ndarray:
    """Return `value`; raise `BrokenFrameError` that names the first entry that is not finite."""
    if not np.isfinite(value).all():
        index = tuple(int(number) for number in np.argwhere(~np.isfinite(value))[0])
        where = f" of atom {index[0]}" if len(index) == 2 and len(value) != 3 else ""
        raise BrokenFrameError(f"{name}{where} is not finite ({value[index]})")
    return value


def _stress(name: str, value: Any, found: FoundLabels) -> Float[np.ndarray, "6"]:
    stress = _tensor(name, value, found)
    known = meaning_of(name)
    if known is not None and known.unit:
        stress = stress * _STRESS_UNIT_EV_PER_A3[known.unit]
        found.notes.append(f"{name} converted from {known.unit}, its sign left as it is")
    return stress


def _tensor(name: str, value: Any, found: FoundLabels) -> Float[np.ndarray, "6"]:
    """Read 6 numbers, 9 numbers or a matrix as xx yy zz yz xz xy."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.size not in (6, 9):
        raise BrokenFrameError(
            f"{name} is {_short(value)}, but 9 numbers or 6 (xx yy zz yz xz xy) are needed"
        )
    array = finite(name, array.astype(float).ravel())
    if array.size == 6:
        found.notes.append(f"six numbers of {name} read as xx yy zz yz xz xy")
        return array
    matrix = array.reshape(3, 3)
    asymmetry = float(np.abs(matrix - matrix.T).max())
    if asymmetry > 1e-3 * max(float(np.abs(matrix).max()), 1e-30) and asymmetry > 1e-6:
        found.notes.append(f"{name} is not symmetric (by {asymmetry:.3g}); its symmetric part")
    if asymmetry:
        matrix = (matrix + matrix.T) / 2
    return matrix.ravel()[[0, 4, 8, 5, 2, 1]]


def _short(value: Any) -> str:
    text = np.array2string(np.asarray(value), precision=6, separator=" ").replace("\n", "")
    return text if len(text) < 80 else text[:77] + "..."
