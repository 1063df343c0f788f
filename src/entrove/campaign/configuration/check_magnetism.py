"""Ask about magnetism: labels without spin polarisation would silently be of another state."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import problem_at
from entrove.campaign.configuration.seeds import MOMENTS, Seed
from entrove.labelling.store.moments import whole_moments
from entrove.structures import content_hash, species_of

USUAL_MOMENTS = {"Cr": 3.0, "Mn": 4.0, "Fe": 3.0, "Co": 2.0, "Ni": 2.0}
"""Moments in Bohr magnetons to start from: of high spin, since small ones fall to zero."""

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


def check_magnetism(config_path: Path, config: CampaignConfig, seeds: Sequence[Seed]) -> None:
    """Refuse labels without spin where seeds have magnetic elements or moments.

    `regime.non_magnetic: true` allows them. Raises `ConfigError`, also for moments that the engine
    cannot start from.
    """
    engine = config.labelling.engine
    _refuse_one_crystal_twice(config_path, seeds)
    if engine.kind in OF_THE_USER or config.regime.non_magnetic:
        return
    key_path = ("labelling", "engine")
    moments = moments_to_start_from(seeds)
    if moments and not _computes_spin(config):
        raise problem_at(config_path, key_path, _without_spin(engine.kind, moments))
    uneven = [seed.phase for seed in seeds if _differs_within_an_element(seed.atoms)]
    if uneven and engine.kind not in PER_ATOM:
        named = f"the seed {', '.join(uneven)}"
        raise problem_at(config_path, key_path, _not_per_atom(engine.kind, named))


def check_moments(config_path: Path, config: CampaignConfig, structures: Sequence[Atoms]) -> None:
    """Refuse to label structures with moments that the engine would drop, as with seeds.

    Raises `ConfigError`.
    """
    kind = config.labelling.engine.kind
    if kind in OF_THE_USER or config.regime.non_magnetic:
        return
    key_path = ("labelling", "engine")
    moments = _largest_moments(structures)
    if moments and not _computes_spin(config):
        raise problem_at(config_path, key_path, _without_spin(kind, moments))
    uneven = [index for index, atoms in enumerate(structures) if _differs_within_an_element(atoms)]
    if uneven and kind not in PER_ATOM:
        named = f"structure {uneven[0]}, counted from 0,"
        raise problem_at(config_path, key_path, _not_per_atom(kind, named))


def _without_spin(kind: str, moments: Mapping[str, float]) -> str:
    listing = "{" + ", ".join(f"{name}: {moment:g}" for name, moment in moments.items()) + "}"
    remedy = (
        f"give the engine {SPIN_KEYS[kind].format(moments=listing)}"
        if kind in SPIN_KEYS
        else f"engine {kind} has no key for spin; choose another one"
    )
    return (
        f"{', '.join(moments)} can be magnetic, and these labels would have no spin "
        f"polarisation; {remedy}, or say 'non_magnetic: true' in the section regime"
    )


def _not_per_atom(kind: str, named: str) -> str:
    return (
        f"moments of {named} differ among atoms of an element, as in an antiferromagnet, but "
        f"{kind} starts from one per element; engines with one per atom are {', '.join(PER_ATOM)}"
    )


def moments_to_start_from(seeds: Sequence[Seed]) -> dict[str, float]:
    """Return a moment in Bohr magnetons for each magnetic element; empty when there is none.

    It is the largest of the seeds for an element that has one, otherwise a usual one.
    """
    species = species_of([seed.atoms for seed in seeds])
    found = {name: USUAL_MOMENTS[name] for name in species if name in USUAL_MOMENTS}
    found |= _largest_moments([seed.atoms for seed in seeds])
    return dict(sorted(found.items(), key=lambda item: atomic_numbers[item[0]]))


def _largest_moments(structures: Sequence[Atoms]) -> dict[str, float]:
    """The largest initial moment of each element that has one."""
    given: dict[str, float] = {}
    for atoms in structures:
        if atoms.has(MOMENTS):
            sizes = np.abs(atoms.get_initial_magnetic_moments())
            for number, size in zip(atoms.numbers, sizes, strict=True):
                name = chemical_symbols[number]
                given[name] = max(given.get(name, 0.0), float(size))
    return {name: size for name, size in given.items() if size}


def _computes_spin(config: CampaignConfig) -> bool:
    settings = config.labelling.engine.model_dump()
    return any(settings.get(key) for key in ("magnetic_moments", "starting_magnetization"))


def _differs_within_an_element(atoms: Atoms) -> bool:
    # As states are told apart: computed moments are never quite equal.
    moments = whole_moments(atoms.get_initial_magnetic_moments())
    return any(np.ptp(moments[atoms.numbers == number]) > 0 for number in set(atoms.numbers))


def _refuse_one_crystal_twice(config_path: Path, seeds: Sequence[Seed]) -> None:
    """A potential has no moments among its inputs: it cannot learn two energies of a crystal."""
    phases: dict[str, Seed] = {}
    for number, seed in enumerate(seeds):
        other = phases.setdefault(content_hash(seed.atoms), seed)
        if other is not seed and not np.array_equal(
            other.atoms.get_initial_magnetic_moments(), seed.atoms.get_initial_magnetic_moments()
        ):
            raise problem_at(
                config_path,
                ("seeds", number),
                f"{other.phase} and {seed.phase} are one crystal with different magnetic moments, "
                "between which a potential without moments cannot tell; run a campaign for each",
            )
