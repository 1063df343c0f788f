"""Which magnetic moments an engine starts from, and which it would silently drop."""

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from entrove.errors import LabelError
from entrove.labelling.engines.base import Engine
from entrove.labelling.store.moments import whole_moments

SPIN_KEYS = {
    "gpaw": "spin_polarised: true, magnetic_moments: {moments}",
    "vasp": "magnetic_moments: {moments}",
    "espresso": "starting_magnetization: {moments}, in fractions of the valence electrons",
}
"""What an engine takes so that it computes two spin channels."""

PER_ATOM = ("gpaw", "vasp")
"""Engines that start each atom from a moment of its own; the others have one per element."""

OF_THE_USER = ("ase", "mlip")
"""Engines that are what the user makes of them: nothing is known of their spin."""


def find_dropped(engine: Engine, structures: Mapping[str, Atoms]) -> str:
    """Say why the engine would drop moments of structures, and what helps; "" where it does not.

    Args:
        engine: The engine.
        structures: By the name that they have in the message. Those without moments are ignored.
    """
    if engine.kind in OF_THE_USER:
        return ""
    moments = largest_moments(list(structures.values()))
    if moments and not computes_spin(engine):
        return without_spin(engine.kind, moments)
    uneven = [name for name, atoms in structures.items() if _differs_within_an_element(atoms)]
    if uneven and engine.kind not in PER_ATOM:
        return (
            f"moments of {uneven[0]} differ among atoms of an element, as in an antiferromagnet, "
            f"but {engine.kind} starts from one per element; engines with one per atom are "
            f"{', '.join(PER_ATOM)}"
        )
    return ""


def require_moments(engine: Engine, structures: Sequence[Atoms]) -> None:
    """Raise `LabelError` for structures with initial moments that the engine would drop.

    Their labels would be stored as those of a state that was not computed.
    """
    dropped = find_dropped(engine, by_number(structures))
    if dropped:
        raise LabelError(f"{dropped}; or remove the moments of the structures")


def by_number(structures: Sequence[Atoms]) -> dict[str, Atoms]:
    """Name structures by their place, for a message."""
    return {f"structure {index}, counted from 0,": atoms for index, atoms in enumerate(structures)}


def largest_moments(structures: Sequence[Atoms]) -> dict[str, float]:
    """The largest initial moment in Bohr magnetons of each element that has one."""
    given: dict[str, float] = {}
    for atoms in structures:
        sizes = np.abs(atoms.get_initial_magnetic_moments())
        if sizes.ndim > 1:  # not collinear
            sizes = np.linalg.norm(sizes, axis=1)
        for number, size in zip(atoms.numbers, sizes, strict=True):
            name = chemical_symbols[number]
            given[name] = max(given.get(name, 0.0), float(size))
    return {name: size for name, size in given.items() if size}


def computes_spin(engine: Engine) -> bool:
    """Whether an engine of known spin computes two channels."""
    settings = engine.model_dump()
    return any(settings.get(key) for key in ("magnetic_moments", "starting_magnetization"))


def without_spin(kind: str, moments: Mapping[str, float]) -> str:
    """Say that labels of elements with moments would have no spin, and what the engine needs."""
    listing = "{" + ", ".join(f"{name}: {moment:g}" for name, moment in moments.items()) + "}"
    remedy = (
        f"give the engine {SPIN_KEYS[kind].format(moments=listing)}"
        if kind in SPIN_KEYS
        else f"engine {kind} has no key for spin; choose another one"
    )
    return (
        f"{', '.join(moments)} can be magnetic, and these labels would have no spin "
        f"polarisation; {remedy}"
    )


def _differs_within_an_element(atoms: Atoms) -> bool:
    # As states are told apart: computed moments are never quite equal.
    moments = whole_moments(atoms.get_initial_magnetic_moments())
    return any(
        np.ptp(moments[atoms.numbers == number], axis=0).any() for number in set(atoms.numbers)
    )
