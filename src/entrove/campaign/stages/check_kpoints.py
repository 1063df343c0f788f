"""A hot snapshot of each phase with denser k-points than its label."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.errors import CampaignError
from entrove.labelling.engines.base import Engine
from entrove.labelling.kpoint_check import KpointComparison, compare_kpoints
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Label
from entrove.sampling.candidates import Candidate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HotSnapshot:
    """A structure of a phase, and the engine that computes it with denser k-points.

    `index` is one of the structures that are to be labelled.
    """

    index: int
    denser: Engine


def find_hot_snapshots(
    labeller: Labeller, candidates: Sequence[Candidate], atoms: Sequence[Atoms]
) -> list[HotSnapshot]:
    """Return the hottest snapshot of each phase, that at the lowest pressure of several.

    Args:
        labeller: Its configuration says how much denser, and whether at all.
        candidates, atoms: The structures that are to be labelled.

    A phase without MD has none, because the forces of its cells may vanish by symmetry; nor has
    one whose grid would be the same, or an engine without a spacing of k-points.
    """
    settings, engine = labeller.config.kpoint_check, labeller.config.engine
    if settings.on_difference == "off":
        return []
    hottest: dict[str, tuple[tuple[float, float], int]] = {}
    for index, candidate in enumerate(candidates):
        if candidate.temperature_K is None:
            continue
        rank = (-candidate.temperature_K, abs(candidate.pressure_GPa))
        if candidate.phase not in hottest or rank < hottest[candidate.phase][0]:
            hottest[candidate.phase] = (rank, index)
    found = []
    for phase, (_, index) in hottest.items():
        denser = engine.with_denser_kpoints(atoms[index], settings.spacing_factor)
        if denser is None:
            logger.info("phase %s: engine and cell have no denser k-points to compare with", phase)
        else:
            found.append(HotSnapshot(index, denser))
    return found


def check_kpoints(
    labeller: Labeller,
    candidates: Sequence[Candidate],
    atoms: Sequence[Atoms],
    snapshots: Sequence[HotSnapshot],
    labels: Mapping[int, Label],
    work_folder: Path,
) -> KpointComparison | None:
    """Label snapshots with denser k-points and compare them with their labels.

    Args:
        labeller: What has computed the labels; its configuration has the limits.
        candidates, atoms: The structures that are to be labelled.
        snapshots: What `find_hot_snapshots` found among them.
        labels: The labels of these, by index.
        work_folder: For files of the engine.

    Returns None where no snapshot has both labels. Raises `CampaignError` for differences beyond a
    limit where the campaign is to stop.
    """
    usable = []
    for snapshot in snapshots:
        if labels[snapshot.index].converged:
            usable.append(snapshot)
        else:
            phase = candidates[snapshot.index].phase
            logger.warning("phase %s: k-points not compared, its label failed", phase)
    if not usable:
        return None
    # All have one spacing, so they are of one level of theory.
    with labeller.with_engine(usable[0].denser, work_folder) as denser_labeller:
        denser_labels = dict(denser_labeller.label([atoms[each.index] for each in usable]))
    found = []
    for position, snapshot in enumerate(usable):
        candidate, denser = candidates[snapshot.index], denser_labels[position]
        if not denser.converged:
            logger.warning(
                "phase %s: k-points not compared, the label with denser ones failed (%s)",
                candidate.phase,
                denser.cause,
            )
            continue
        structure = atoms[snapshot.index]
        found.append(
            compare_kpoints(
                candidate.phase,
                candidate.temperature_K,
                (labels[snapshot.index], denser),
                (labeller.config.engine.kpoints(structure), snapshot.denser.kpoints(structure)),
            )
        )
    if not found:
        return None
    settings = labeller.config.kpoint_check
    comparison = KpointComparison(settings=settings, differences=tuple(found))
    text = comparison.describe()
    logger.log(logging.WARNING if comparison.beyond else logging.INFO, "%s", text)
    if comparison.beyond and settings.on_difference == "stop":
        raise CampaignError(
            f"{text}. Nothing else was labelled; set a smaller spacing of k-points and start a "
            "new folder, or set labelling: kpoint_check: on_difference to 'warn', or wider limits"
        )
    return comparison
