"""Ask about magnetism: labels without spin polarisation would silently be of another state."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import problem_at
from entrove.campaign.configuration.seeds import Seed
from entrove.labelling.spin import (
    OF_THE_USER,
    by_number,
    computes_spin,
    find_dropped,
    largest_moments,
    without_spin,
)
from entrove.structures import content_hash, species_of

USUAL_MOMENTS = {"Cr": 3.0, "Mn": 4.0, "Fe": 3.0, "Co": 2.0, "Ni": 2.0}
"""Moments in Bohr magnetons to start from: of high spin, since small ones fall to zero."""


def check_magnetism(config_path: Path, config: CampaignConfig, seeds: Sequence[Seed]) -> None:
    """Refuse labels without spin where seeds have magnetic elements or moments.

    `regime.non_magnetic: true` allows them. Raises `ConfigError`, also for moments that the engine
    cannot start from.
    """
    engine = config.labelling.engine
    _refuse_one_crystal_twice(config_path, seeds)
    if engine.kind in OF_THE_USER or config.regime.non_magnetic:
        return
    moments = moments_to_start_from(seeds)
    if moments and not computes_spin(engine):
        problem = without_spin(engine.kind, moments)
    else:
        problem = find_dropped(engine, {f"the seed {seed.phase}": seed.atoms for seed in seeds})
    _refuse(config_path, problem)


def check_moments(config_path: Path, config: CampaignConfig, structures: Sequence[Atoms]) -> None:
    """Refuse to label structures with moments that the engine would drop, as with seeds.

    Raises `ConfigError`.
    """
    if not config.regime.non_magnetic:
        _refuse(config_path, find_dropped(config.labelling.engine, by_number(structures)))


def _refuse(config_path: Path, problem: str) -> None:
    if problem:
        remedy = f"{problem}; or say 'non_magnetic: true' in the section regime"
        raise problem_at(config_path, ("labelling", "engine"), remedy)


def moments_to_start_from(seeds: Sequence[Seed]) -> dict[str, float]:
    """Return a moment in Bohr magnetons for each magnetic element; empty when there is none.

    It is the largest of the seeds for an element that has one, otherwise a usual one.
    """
    species = species_of([seed.atoms for seed in seeds])
    found = {name: USUAL_MOMENTS[name] for name in species if name in USUAL_MOMENTS}
    found |= largest_moments([seed.atoms for seed in seeds])
    return dict(sorted(found.items(), key=lambda item: atomic_numbers[item[0]]))


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
