"""Which keys of a file are labels, told by their names.

A name is split into words. It names a label when one of its words is a quantity and every other
word says where labels come from (`REF_`, `dft_`, ...) or in which unit they are. Names with any
other word (`MACE_energy`, `energy_per_atom`) are never taken: they may be predictions, or another
quantity.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

QUANTITIES = {
    "energy": "energy",
    "e": "energy",
    "etot": "energy",
    "toten": "energy",
    "force": "forces",
    "forces": "forces",
    "f": "forces",
    "stress": "stress",
    "virial": "virial",
    "virials": "virial",
}

_ORIGINS = {"ref", "reference", "dft", "qm", "abinitio", "target", "true", "label", "labels"}
_ORIGINS |= {"total", "tot", "potential", "scf", "pbe", "pbesol", "lda", "scan", "r2scan"}
_ORIGINS |= {"vasp", "qe", "espresso", "pwscf", "cp2k", "gpaw", "castep", "aims", "abinit"}
_UNITS = {"ev": "", "per": "", "a": "", "a3": "", "ang": "", "angstrom": "", "ang3": ""}
_PRESSURE_UNITS = {"gpa": "GPa", "kbar": "kbar"}
_CONVERGENCE_KEYS = {"converged", "scf_converged", "is_converged", "dft_converged"}
_CONVERGENCE_KEYS |= {"electronic_converged", "electronically_converged", "converged_electronic"}
_FALSE_WORDS = {"f", "false", "no", "0"}
_TRUE_WORDS = {"t", "true", "yes", "1"}


@dataclass(frozen=True)
class Meaning:
    """What a key holds: a quantity ("energy", "free_energy", "forces", "stress", "virial"), and
    the unit of a stress where its name says one other than eV/A^3 ("GPa", "kbar", or "").
    """

    quantity: str
    unit: str = ""


@lru_cache(maxsize=4096)
def meaning_of(key: str) -> Meaning | None:
    """Return what a key means, or None where its name does not say that it is a label.

    >>> meaning_of("REF_energy"), meaning_of("dft_force").quantity
    (Meaning(quantity='energy', unit=''), 'forces')
    >>> meaning_of("stress_GPa").unit, meaning_of("MACE_energy")
    ('GPa', None)
    """
    words = [word for word in re.split(r"[^a-z0-9]+", key.lower()) if word]
    quantities = {QUANTITIES[word] for word in words if word in QUANTITIES}
    units = {_PRESSURE_UNITS[word] for word in words if word in _PRESSURE_UNITS}
    known = (*QUANTITIES, *_ORIGINS, *_UNITS, *_PRESSURE_UNITS, "free")
    if len(quantities) != 1 or len(units) > 1 or any(word not in known for word in words):
        return None
    (quantity,) = quantities
    if "free" in words:
        return Meaning("free_energy") if quantity == "energy" and not units else None
    if units and quantity != "stress":
        return None
    return Meaning(quantity, units.pop() if units else "")


def resembling(quantity: str, keys: Iterable[str]) -> list[str]:
    """Return the keys that name a quantity among other words, and so are not taken."""
    words = {"energy": ("energ",), "forces": ("force",), "stress": ("stress", "virial")}[quantity]
    return [
        key
        for key in keys
        if any(word in key.lower() for word in words) and not key.startswith("entrove_")
    ]


def says_convergence(key: str) -> bool:
    """Whether a key says that the electronic steps converged, or that they did not."""
    return key.lower() in _CONVERGENCE_KEYS


def convergence_in(info: dict[str, Any]) -> bool | None:
    """Return whether a frame says of itself that its electronic steps converged.

    Returns False when any of its keys says so, True when one says so and none denies it, and None
    when no key says anything.
    """
    said: list[bool] = []
    for key, value in info.items():
        if says_convergence(key):
            word = str(value).strip().lower()
            if word in _FALSE_WORDS | _TRUE_WORDS:
                said.append(word in _TRUE_WORDS)
    return all(said) if said else None
