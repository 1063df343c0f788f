"""Magnetic moments of a seed start the labels of all structures that come from it."""

from collections.abc import Sequence

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.seeds import MOMENTS
from entrove.campaign.configuration.settled import read_settled
from entrove.errors import CampaignError
from entrove.sampling.candidates import Candidate
from entrove.structures import copy_structure


def require_same_moments(campaign: CheckedCampaign) -> None:
    """Refuse another value of `regime.non_magnetic` once labels have started from it.

    It decides about the moments that labels start from where a seed has moments, and nothing else.
    Raises `CampaignError`.
    """
    files, now = campaign.workspace, campaign.config.regime.non_magnetic
    has_labels = files.label_work.exists() or files.validation.exists()
    if not (has_labels and files.config.exists()):
        return
    before = read_settled(files.config).regime.non_magnetic
    magnetic = [seed.phase for seed in campaign.seeds if seed.atoms.has(MOMENTS)]
    if magnetic and before != now:
        raise CampaignError(
            f"{files.folder}: regime.non_magnetic: {before} before, {now} now. Labels of the seed "
            f"{', '.join(magnetic)} would start from other magnetic moments than those that were "
            "computed, and one dataset cannot hold both; put the old value back, or choose "
            "another folder with --folder"
        )


def with_seed_moments(campaign: CheckedCampaign, candidates: Sequence[Candidate]) -> list[Atoms]:
    """Return the structures with the initial magnetic moments that their phases start with.

    Relaxed, strained and moving cells have the atoms of their seed in its order. Random crystals
    have not: they start from the moments per element of the engine, as do phases without moments.
    """
    magnetic = () if campaign.config.regime.non_magnetic else campaign.seeds
    seeds = {seed.phase: seed.atoms for seed in magnetic if seed.atoms.has(MOMENTS)}
    structures: list[Atoms] = []
    for candidate in candidates:
        atoms, seed = copy_structure(candidate.atoms), seeds.get(candidate.phase)
        same = seed is not None and atoms.numbers.tolist() == seed.numbers.tolist()
        if seed is not None and same and candidate.kind != "random":
            atoms.set_initial_magnetic_moments(seed.get_initial_magnetic_moments())
        structures.append(atoms)
    return structures
