"""Labels of each phase at several volumes, for the check of the equation of state."""

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.moments import with_seed_moments
from entrove.campaign.workspace import Workspace
from entrove.labelling.labeller import Labeller
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.structures import copy_structure
from entrove.validation.suite.config import SuiteConfig

logger = logging.getLogger(__name__)


def volume_cells(config: SuiteConfig, files: Workspace) -> list[Candidate]:
    """Return the cells that the check of the equation of state wants labelled.

    They are the relaxed cell of each phase, that of the pressure nearest to zero, with its vectors
    scaled evenly between the first and the last of `equation_of_state.scales`.
    """
    settings, path = config.equation_of_state, files.round(0).relaxed
    if not (config.enabled and settings.enabled and settings.labels and path.is_file()):
        return []
    nearest: dict[str, Candidate] = {}
    for candidate in read_candidates(path):
        known = nearest.get(candidate.phase)
        if known is None or abs(candidate.pressure_GPa) < abs(known.pressure_GPa):
            nearest[candidate.phase] = candidate
    cells = []
    for candidate in nearest.values():
        scales = np.linspace(min(settings.scales), max(settings.scales), settings.labels)
        for scale in scales:
            atoms = copy_structure(candidate.atoms)
            atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
            pressure = candidate.pressure_GPa
            cells.append(Candidate(atoms, "validation", "strain", candidate.phase, pressure))
    return cells


def label_volumes(run: CampaignRun) -> list[Atoms]:
    """Label these cells; what was labelled before comes from the cache, what fails is left out."""
    campaign = run.campaign
    cells = volume_cells(campaign.config.suite, run.files)
    if not cells:
        return []
    atoms = with_seed_moments(campaign, cells)
    found: dict[int, Atoms] = {}
    with (
        LabelCache(campaign.label_cache) as cache,
        Labeller(campaign.config.labelling, cache, campaign.workspace.label_work) as labeller,
    ):
        for done, (index, label) in enumerate(labeller.label(atoms), start=1):
            run.listener.advanced(done, len(atoms), "volumes for the equation of state")
            if label.converged:
                found[index] = label.attach(cells[index].to_atoms())
            else:
                logger.warning(
                    "equation of state: the label of %s at %.3f A^3/atom failed (%s)",
                    cells[index].phase,
                    atoms[index].get_volume() / len(atoms[index]),
                    label.cause,
                )
    return [found[index] for index in sorted(found)]


def unlabelled_volumes(campaign: CheckedCampaign) -> Sequence[Atoms]:
    """Cells of the seeds in place of those that would be labelled, for an estimate of the cost."""
    settings = campaign.config.suite.equation_of_state
    wanted = campaign.config.suite.enabled and settings.enabled
    return [seed.atoms for seed in campaign.seeds for _ in range(settings.labels if wanted else 0)]
