"""What the first labels of an engine say about it, before it computes the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.campaign.stages.check_kpoints import check_kpoints, find_hot_snapshots
from entrove.campaign.stages.check_stress import check_stress, find_volume_pairs
from entrove.labelling.kpoint_check import KpointComparison
from entrove.labelling.labeller import Labeller
from entrove.sampling.candidates import Candidate


@dataclass(frozen=True)
class FirstLabels:
    """What the first labels say of the engine.

    Attributes:
        checked: In a sentence; empty where nothing could be checked.
        kpoints: Whether they are converged in their k-points; None where that was not compared.
    """

    checked: str = ""
    kpoints: KpointComparison | None = None


def label_first(
    labeller: Labeller, candidates: Sequence[Candidate], atoms: Sequence[Atoms], denser: Path
) -> FirstLabels:
    """Label two volumes and a hot snapshot of each phase before anything else, and check them.

    Args:
        labeller: Computes the labels; its configuration says what is checked.
        candidates, atoms: The structures that are to be labelled.
        denser: For files of the engine with denser k-points.

    Raises `CampaignError` for labels that are not to be trusted, where the configuration says so.
    """
    pairs = find_volume_pairs(candidates)
    snapshots = find_hot_snapshots(labeller, candidates, atoms)
    indices = [index for pair in pairs for index in (pair.first, pair.second)]
    indices += [snapshot.index for snapshot in snapshots]
    if not indices:
        return FirstLabels()
    found = labeller.label([atoms[index] for index in indices])
    labels = {indices[position]: label for position, label in found}
    checked = check_stress(labeller.config, candidates, pairs, labels)
    kpoints = check_kpoints(labeller, candidates, atoms, snapshots, labels, denser)
    doubt = f"warning: {kpoints.describe()}" if kpoints and kpoints.beyond else ""
    return FirstLabels("; ".join(filter(None, (checked, doubt))), kpoints)
