"""Labels against themselves: stress with -dE/dV of two volumes, forces with energy differences."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ase import Atoms

from entrove.errors import CampaignError
from entrove.labelling.config import LabellingConfig
from entrove.labelling.consistency import (
    compare_forces_with_energies,
    compare_stress_with_energies,
    is_scaled,
)
from entrove.labelling.labels import Label
from entrove.sampling.candidates import Candidate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VolumePair:
    """Two volumes of a phase, as indices into the structures that are to be labelled."""

    phase: str
    first: int
    second: int


def find_volume_pairs(candidates: Sequence[Candidate]) -> list[VolumePair]:
    """Return the two most different volumes of one cell of each phase, at its lowest pressure.

    A phase of which no two volumes are labelled has none.
    """
    best: dict[str, tuple[float, float, VolumePair]] = {}
    strained = [
        (index, candidate)
        for index, candidate in enumerate(candidates)
        if candidate.kind in ("strain", "relaxed")
    ]
    for (first, one), (second, other) in combinations(strained, 2):
        same_cell = one.phase == other.phase and one.pressure_GPa == other.pressure_GPa
        if not same_cell or not is_scaled(one.atoms, other.atoms):
            continue
        apart = abs(one.atoms.get_volume() - other.atoms.get_volume())
        rank = (abs(one.pressure_GPa), -apart)
        if one.phase not in best or rank < best[one.phase][:2]:
            best[one.phase] = (*rank, VolumePair(one.phase, first, second))
    return [pair for _, _, pair in best.values()]


def check_stress(
    config: LabellingConfig,
    candidates: Sequence[Candidate],
    pairs: Sequence[VolumePair],
    labels: Mapping[int, Label],
) -> str:
    """Compare the stress of each pair with -dE/dV.

    Args:
        config: Its `stress_check` says what to do on a mismatch.
        candidates: The structures that are to be labelled.
        pairs: What `find_volume_pairs` found among them.
        labels: The labels of both structures of each pair, by index.

    Returns a phrase for the summary of the stage, which may be empty.
    Raises `CampaignError` on a mismatch, unless the campaign is to go on with a warning.
    """
    agreed, wrong = [], []
    for pair in pairs:
        found = [labels[index] for index in (pair.first, pair.second)]
        atoms = [candidates[index].atoms for index in (pair.first, pair.second)]
        if not all(label.converged and label.stress_eV_per_A3 is not None for label in found):
            logger.warning("phase %s: stress not compared, its labels failed", pair.phase)
            continue
        first, second = (label.attach(cell) for label, cell in zip(found, atoms, strict=True))
        kpoints = {config.engine.kpoints(cell) for cell in atoms}
        comparison = compare_stress_with_energies(
            first, second, config.stress_check, same_kpoints=len(kpoints) == 1
        )
        logger.info("phase %s: %s", pair.phase, comparison)
        if comparison.cause:
            wrong.append(f"phase {pair.phase}: {comparison.cause}")
        else:
            difference = abs(comparison.from_stress_GPa - comparison.from_energies_GPa)
            agreed.append(f"{difference:.2g} GPa of {comparison.bulk_modulus_GPa:.3g} GPa")
    if not wrong:
        return f"stress and -dE/dV differ by {', '.join(agreed)} (bulk modulus)" if agreed else ""
    listing = "; ".join(wrong)
    if config.stress_check.on_mismatch == "warn":
        return f"warning: stress contradicts energy: {listing}"
    raise CampaignError(
        f"the stress of engine {config.engine.kind} contradicts its energies. {listing}. Nothing "
        "else was labelled; correct the engine's settings (and start a new folder), or set "
        "labelling: stress_check: on_mismatch to 'warn'"
    )


def check_forces(config: LabellingConfig, labelled: Sequence[Atoms]) -> str:
    """Compare forces with the energy differences of structures that differ by displacements.

    Args:
        config: Its `stress_check` says what to do on a mismatch.
        labelled: Structures with good labels.

    Returns a phrase for the summary of the stage, which may be empty.
    Raises `CampaignError` on a mismatch, unless the campaign is to go on with a warning.
    """
    works = compare_forces_with_energies(labelled)
    if works is None:
        return ""
    logger.info("forces: %s", works)
    if not works.cause:
        return f"energies follow the forces in {works.pairs} pairs"
    if config.stress_check.on_mismatch == "warn":
        return f"warning: forces contradict energy: {works.cause}"
    raise CampaignError(
        f"the forces of engine {config.engine.kind} contradict its energies: {works.cause}. "
        "Nothing else was labelled; correct the engine (and start a new folder), or set "
        "labelling: stress_check: on_mismatch to 'warn'"
    )
