"""Labels of each phase at several volumes, for the check of the equation of state."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.outcomes import LabelRow
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.label import Request, label_row
from entrove.campaign.stages.moments import with_seed_moments
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.moments import key_of
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.sampling.vacuum import describe_vacuum
from entrove.structures import copy_structure, write_structures

logger = logging.getLogger(__name__)

PURPOSE = "equation of state"
"""What these labels are for, in reports."""


def volume_cells(campaign: CheckedCampaign) -> list[Candidate]:
    """Return the cells that the check of the equation of state wants labelled.

    They are the relaxed cell of each phase, that of the pressure nearest to zero, with its vectors
    scaled evenly between the first and the last of `equation_of_state.scales`. Before it is
    relaxed, the seed stands for it. What is no bulk crystal has no equation of state.
    """
    config, path = campaign.config.suite, campaign.workspace.round(0).relaxed
    settings = config.equation_of_state
    if not (config.enabled and settings.enabled and settings.labels):
        return []
    relaxed = (
        read_candidates(path)
        if path.is_file()
        else [Candidate(s.atoms, "anchors", "relaxed", s.phase, 0.0) for s in campaign.seeds]
    )
    nearest: dict[str, Candidate] = {}
    for candidate in relaxed:
        if not candidate.atoms.pbc.all() or describe_vacuum(candidate.atoms):
            continue
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


def label_volumes(run: CampaignRun, round_index: int) -> tuple[LabelRow, ...]:
    """Label these cells with the engine, and leave them in the file `Workspace.volumes`.

    What was labelled before comes from the cache, what fails is left out. There is no file where
    no cell is wanted, or none could be labelled. Returns the outcome of each cell.
    """
    campaign, path = run.campaign, run.files.volumes
    cells = volume_cells(campaign)
    found, rows = _label(run, cells, round_index) if cells else ([], ())
    if found:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_structures(path, found)
    else:
        path.unlink(missing_ok=True)
    return rows


def _label(
    run: CampaignRun, cells: Sequence[Candidate], round_index: int
) -> tuple[list[Atoms], tuple[LabelRow, ...]]:
    campaign = run.campaign
    atoms = with_seed_moments(campaign, cells)
    found: dict[int, Atoms] = {}
    rows: dict[int, LabelRow] = {}
    with (
        LabelCache(campaign.label_cache) as cache,
        Labeller(campaign.config.labelling, cache, campaign.workspace.label_work) as labeller,
    ):
        for done, (index, label) in enumerate(labeller.label(atoms), start=1):
            run.listener.advanced(done, len(atoms), "volumes for the equation of state")
            request, key = Request(cells[index]), key_of(atoms[index])
            row = label_row(run, request, label, round_index, key)
            rows[index] = replace(row, purpose=PURPOSE)
            if label.converged:
                found[index] = label.attach(cells[index].to_atoms())
            else:
                logger.warning(
                    "equation of state: the label of %s at %.3f A^3/atom failed (%s)",
                    cells[index].phase,
                    atoms[index].get_volume() / len(atoms[index]),
                    label.cause,
                )
    return [found[index] for index in sorted(found)], tuple(rows[index] for index in sorted(rows))


def volumes_changed(campaign: CheckedCampaign, rows: Sequence[LabelRow]) -> bool:
    """Whether a label that failed has been released from quarantine since, or is good now.

    Args:
        campaign: The campaign.
        rows: What the ledger has of the labels of these cells.
    """
    failed = {row.key for row in rows if row.outcome != Outcome.CONVERGED}
    if not failed:
        return False
    level = LevelOfTheory.of(campaign.config.labelling.engine)
    atoms = with_seed_moments(campaign, volume_cells(campaign))
    with LabelCache(campaign.label_cache) as cache:
        labels = [cache.get(one, level) for one in atoms if key_of(one) in failed]
    return any(label is None or label.converged for label in labels)


def unlabelled_volumes(campaign: CheckedCampaign) -> list[Atoms]:
    """Those of these cells whose label is not known yet, for an estimate of the cost."""
    cells = volume_cells(campaign)
    atoms = with_seed_moments(campaign, cells)
    if not (cells and campaign.label_cache.exists()):
        return atoms
    level = LevelOfTheory.of(campaign.config.labelling.engine)
    with LabelCache(campaign.label_cache, read_only=True) as cache:
        return [one for one in atoms if not cache.is_labelled(one, level)]
