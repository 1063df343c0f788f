"""Pick frames by the selections of `entrove.selection`, and look a little beyond the last pick."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from ase import Atoms

from entrove.curation.methods import LOOKAHEAD
from entrove.curation.ways import Way, labels_of
from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.labels.rows import is_of_structure
from entrove.errors import SelectionError
from entrove.features import FeatureMap
from entrove.fingerprints.gom import GaussianOverlap
from entrove.selection.by_labels import Energies
from entrove.selection.config import SelectionConfig
from entrove.selection.duplicates import NearDuplicates
from entrove.selection.from_structures import select
from entrove.selection.gains import growing_dataset
from entrove.selection.greedy import select_greedily
from entrove.selection.pool import collect_pool
from entrove.selection.result import Filter, Rejection, Selection
from entrove.structures import energy_of

_ARMS = ("lcmd", "farthest_point", "random")
"""Methods that refuse only equal structures by themselves."""


class LookingAhead(SelectionConfig):
    """A selection that goes on beyond its places."""

    lookahead: ClassVar[int] = LOOKAHEAD


def feature_map(features: str, model: str, seen: Iterable[Atoms]) -> FeatureMap:
    """Return the features "fingerprint", or the last layer of a model for "model".

    `seen` are structures with the elements that the features will meet.
    Raises `SelectionError` for another name.
    """
    if features == "fingerprint":
        return GaussianOverlap.of_system(seen)
    if features == "model":
        from entrove.models import load

        return load(model).features()
    raise SelectionError(f"features '{features}' are unknown; choose 'fingerprint' or 'model'")


def pick(
    pool: Iterable[Atoms],
    count: int,
    given: Sequence[Atoms],
    way: Way,
    *,
    cost_s: Callable[[Atoms], float] | None = None,
    budget_s: float | None = None,
    seed: int = 0,
) -> Selection:
    """Pick `count` structures and up to `LOOKAHEAD` more, best first.

    Args:
        pool: Candidates; "information" streams them, the other methods keep them in memory.
        count: Structures to pick. With a budget, none is picked beyond them.
        given: Structures that are there already.
        way: Method and features.
        cost_s: Predicted seconds of a label.
        budget_s: Most seconds that all labels may take.
        seed: Of the method "random".

    Raises `SelectionError` when `count` is above the number of candidates.
    """
    settings_of = SelectionConfig if budget_s is not None else LookingAhead
    # Rows of 100,000 structures take half a gigabyte in single precision.
    settings = settings_of(budget_s=budget_s, storage="float32")
    method, features = way.method, way.features
    if method == "information":
        return _by_information(pool, count, given, features, settings, cost_s)
    candidates = list(pool)
    _check_count(count, len(candidates))
    settings = settings.model_copy(update={"method": "gain" if method == "target" else method})
    if method in _ARMS and given:
        return _beside(candidates, count, given, features, settings, cost_s=cost_s, seed=seed)
    by_labels = method == "target"
    # Methods without gains share out no places: their first picks are the same for any count.
    beyond = 0 if by_labels else settings.lookahead
    return select(
        candidates,
        min(count + beyond, len(candidates)),
        given,
        entropy="labels" if by_labels else None,
        features=features,
        config=settings,
        cost_s=cost_s,
        labels=labels_of(candidates, way.directions) if by_labels else None,
        energies_eV=_energies_of([*candidates, *given], way) if by_labels else None,
        seed=seed,
    )


def _beside(
    candidates: Sequence[Atoms],
    count: int,
    given: Sequence[Atoms],
    features: FeatureMap,
    settings: SelectionConfig,
    *,
    cost_s: Callable[[Atoms], float] | None,
    seed: int,
) -> Selection:
    """Pick by a control arm among the candidates that are no near-duplicates of what is given.

    In a campaign these arms label near-duplicates of labelled structures, to be fair in studies;
    in a set that exists nobody wants them.
    """
    dataset = _dataset_of(features)
    pool = collect_pool(candidates, dataset, settings)
    of_given = collect_pool(list(given), dataset, settings)
    filters = NearDuplicates(pool, settings.duplicate_tolerance, of_given)
    equal = set(of_given.hashes)  # which the arm itself refuses, and calls equal
    near = {
        index: f"nearly equal to a given structure, at {found[1]:.2g} of the spread of the pool"
        for index, digest in enumerate(pool.hashes)
        if digest not in equal and (found := filters.find_labelled(index)) is not None
    }
    left = [index for index in range(len(candidates)) if index not in near]
    rejected = [Rejection(index, Filter.NEAR_DUPLICATE, said) for index, said in near.items()]
    if not left:
        return Selection(np.zeros(0, dtype=np.int64), np.zeros(0), tuple(rejected))
    found = select(
        [candidates[index] for index in left],
        min(count + settings.lookahead, len(left)),
        given,
        features=features,
        config=settings,
        cost_s=cost_s,
        seed=seed,
    )
    rejected += [replace(one, index=left[one.index]) for one in found.rejected]
    return replace(
        found,
        indices=np.array(left, dtype=np.int64)[found.indices],
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.index)),
    )


def _dataset_of(features: FeatureMap) -> EntropyDataset:
    return EntropyDataset(
        "information",
        "per_atom",
        features=features,
        species_blocks=not is_of_structure(features),
    )


def _by_information(
    pool: Iterable[Atoms],
    count: int,
    given: Sequence[Atoms],
    features: FeatureMap,
    settings: SelectionConfig,
    cost_s: Callable[[Atoms], float] | None,
) -> Selection:
    """As `entrove.select`, which needs to know the number of candidates before it streams them."""
    dataset = _dataset_of(features)
    candidates = collect_pool(iter(pool), dataset, settings, cost_s=cost_s)
    _check_count(count, candidates.size)
    labelled = None
    if given:
        dataset.add(list(given))
        labelled = collect_pool(list(given), dataset, settings)
    growing = growing_dataset(dataset.config, dataset.moments, candidates)
    return select_greedily(
        candidates,
        growing,
        count,
        settings,
        known=dataset.hashes,
        labelled=labelled,
    )


def _check_count(count: int, candidates: int) -> None:
    if not 0 < count <= candidates:
        raise SelectionError(
            f"count={count}, but between 1 and {candidates} can be picked, the number of frames "
            "that can be used"
        )


def _energies_of(structures: Sequence[Atoms], way: Way) -> Energies | None:
    """Energies by which the noise of labels grows: those of the labels, or of the model."""
    if all("energy" in getattr(atoms.calc, "results", {}) for atoms in structures):
        return _energies
    if way.model is None:
        return None
    from entrove.models import predict

    model = way.model
    return lambda asked: _energies(predict(model, asked))


def _energies(structures: Sequence[Atoms]) -> list[float]:
    return [energy_of(atoms) for atoms in structures]
