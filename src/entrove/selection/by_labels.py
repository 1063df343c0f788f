"""Select by rows of labels: structures in, rows, what is labelled, the target, then greedy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from entrove.entropy.config import LabelsConfig
from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.labels.posterior import LabelPosterior
from entrove.entropy.labels.rows import (
    ExcessEnergy,
    LabelRowMap,
    LabelRows,
    excess_energies,
    is_of_structure,
)
from entrove.entropy.typed_torch import split
from entrove.errors import SelectionError
from entrove.features import FeatureMap
from entrove.selection.config import SelectionConfig
from entrove.selection.greedy import select_greedily
from entrove.selection.label_gains import GrowingTarget, as_pool, growing_labels
from entrove.selection.pool import FeaturePool, collect_pool
from entrove.selection.result import Selection
from entrove.structures import content_hash

Energies = Callable[[Sequence[Atoms]], Sequence[float]]
"""Total energies of some structures in eV, of one model for all."""


Spreads = Callable[[Sequence[Atoms]], Sequence[float]]
"""How far the members of a committee disagree about some structures, in any unit."""


@dataclass(frozen=True)
class LabelTask:
    """What a selection by labels is given, beside the candidates.

    Attributes:
        features: Turns atoms into features: those of the model that learns, best of all.
        labelled: Structures that are labelled already, in the same features. Where they carry
            results, only these count.
        target: A sample of what is to be predicted; empty: the candidates themselves.
        energies_eV: Energies by which the noise grows; None: it does not.
        spreads: How far a committee disagrees, for the control arm "committee_spread" only.
    """

    features: FeatureMap
    settings: LabelsConfig
    labelled: Sequence[Atoms] = ()
    target: Sequence[Atoms] = ()
    energies_eV: Energies | None = None
    spreads: Spreads | None = None


def select_by_labels(
    candidates: Sequence[Atoms],
    count: int,
    task: LabelTask,
    config: SelectionConfig,
    *,
    cost_s: Callable[[Atoms], float] | None = None,
) -> Selection:
    """Pick the candidates whose labels teach most, one after the other.

    Features are whitened on candidates, labelled structures and target together, and the prior of
    the weights is scaled so that rows of the candidates have the signal of the settings. `config`
    decides the objective, and holds quotas, duplicates, cost and precision.

    Raises `SelectionError` for `least_gain` with the objective "target", whose unit it lacks.
    """
    if config.objective == "target" and config.least_gain is not None:
        raise SelectionError(
            f"least_gain={config.least_gain:g} is in nats, but the objective 'target' is no "
            "information; remove it, or set objective to 'information'"
        )
    everything = [*candidates, *task.labelled, *task.target]
    dataset = EntropyDataset(
        "information",
        "per_atom",
        features=task.features,
        species_blocks=not is_of_structure(task.features),
    )
    dataset.calibrate(everything)
    atoms_pool = collect_pool(candidates, dataset, config, cost_s=cost_s)
    labelled_pool = (
        collect_pool(task.labelled, dataset, config)
        if task.labelled and config.duplicate_tolerance > 0
        else None
    )
    rows_of = LabelRowMap(
        task.features, dataset.whitening, task.settings, excess=_excess(everything, task)
    )
    rows = _rows(rows_of, candidates, getattr(torch, config.storage))
    factor = _prior_deviation(rows, task.settings)
    posterior = LabelPosterior.prior(rows_of.width)
    for known in rows_of.stream(task.labelled, labelled=True):
        posterior = posterior.with_labels(known.scaled(factor))
    rows.values.mul_(factor)
    pool = as_pool(rows, rows.values.dtype)
    target = (
        _target(rows_of, pool, task.target, config, factor)
        if config.objective == "target"
        else None
    )
    growing = growing_labels(posterior, pool, target)
    before = growing.variance() if isinstance(growing, GrowingTarget) else None
    selection = select_greedily(
        atoms_pool,
        growing,
        count,
        config,
        known=labelled_pool.hashes if labelled_pool else _hashes(task.labelled),
        labelled=labelled_pool,
        unit="nats" if target is None else "of variance",
    )
    if before is None:
        return selection
    after = before - float(selection.gains.sum())
    return replace(selection, target_variance=(before, after))


def _rows(rows_of: LabelRowMap, candidates: Sequence[Atoms], dtype: torch.dtype) -> LabelRows:
    parts = [replace(rows, values=rows.values.to(dtype)) for rows in rows_of.stream(candidates)]
    return LabelRows.join(parts, rows_of.width)


def _prior_deviation(rows: LabelRows, settings: LabelsConfig) -> float:
    """Standard deviation of the weights by which rows get the signal that settings ask for."""
    if settings.signal_to_noise is None or not rows.mean_square():
        return 1.0
    return (settings.signal_to_noise / rows.mean_square()) ** 0.5


def _target(
    rows_of: LabelRowMap,
    pool: FeaturePool,
    sample: Sequence[Atoms],
    config: SelectionConfig,
    factor: float,
) -> torch.Tensor:
    """Q: the mean of R^T R over the sample and, with its share, over the candidates."""
    (block,) = pool.blocks.values()
    of_pool = torch.zeros(rows_of.width, rows_of.width, dtype=torch.float64)
    for piece in split(block.rows, 2**14):
        of_pool += piece.mT.to(torch.float64) @ piece.to(torch.float64)
    of_pool /= pool.size
    if not sample:
        return of_pool
    of_sample = torch.zeros_like(of_pool)
    for rows in rows_of.stream(sample):
        of_sample += rows.scaled(factor).gram()
    of_sample /= len(sample)
    share = config.pool_share_or_default
    return share * of_pool + (1 - share) * of_sample


def _excess(structures: Sequence[Atoms], task: LabelTask) -> ExcessEnergy | None:
    """Energies above the ground state of each of these structures, by identity."""
    growth = task.settings.noise_doubles_at_eV_per_atom
    if task.energies_eV is None or growth is None:
        return None
    energies = one_for_each(task.energies_eV(structures), structures, "energies_eV")
    for index in np.flatnonzero(~np.isfinite(energies)).tolist():
        raise SelectionError(
            f"the energy of structure {index} ({structures[index].get_chemical_formula()}) is "
            "not finite; remove it"
        )
    per_atom = energies / np.array([len(atoms) for atoms in structures])
    excess = excess_energies(per_atom.tolist(), structures)
    known = {id(atoms): value for atoms, value in zip(structures, excess.tolist(), strict=True)}
    return lambda batch: [known[id(atoms)] for atoms in batch]


def one_for_each(
    values: Any, structures: Sequence[Atoms], name: str
) -> Float[np.ndarray, " structures"]:
    """The values as an array; raises `SelectionError` unless there is one for each structure."""
    found = np.asarray(values, dtype=float)
    if found.shape != (len(structures),):
        raise SelectionError(
            f"{name} returned numbers of shape {found.shape} for {len(structures)} structures; "
            "return one number for each"
        )
    return found


def _hashes(structures: Sequence[Atoms]) -> list[str]:
    return [content_hash(atoms) for atoms in structures]
