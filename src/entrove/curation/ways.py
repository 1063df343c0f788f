"""Which way to pick frames: the best one that is predicted to take minutes and no more.

Representative picks, in features of the model that learns, have the smallest errors of a tuned
network (docs/entropies.md has what was measured). They need one evaluation of the features, and
the frames in memory; picks for a target need one for each direction in which the atoms of a frame
can move. The information of fingerprints needs one evaluation, and no frame in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from ase import Atoms

from entrove.curation.methods import AUTO, FEATURES, METHODS, Method
from entrove.entropy.config import LabelsConfig
from entrove.errors import EntroveError, SelectionError
from entrove.features import FeatureMap
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import look_ahead
from entrove.models.loaded import LoadedModel

MOST_SECONDS = 1200.0
"""Processor time that a way may be predicted to take before another one is chosen."""

SECONDS_TO_MENTION = 40.0

DIRECTIONS = 30
LEAST_DIRECTIONS = 6
"""Fewer random directions of a frame say too little of its forces."""

SECONDS_PER_ATOM = {"fingerprint": 9e-5, "model": 2e-3, "gradients": 7.5e-3}
"""Processor time of one evaluation: 8 to 16 atoms, SevenNet-0 where it is a model's."""

SECONDS_PER_FRAME_AND_PICK = 8e-5
"""Of the greedy selection for a target, in 512 features."""


@dataclass(frozen=True, eq=False)
class Way:
    """How frames are picked.

    Attributes:
        method: One of `METHODS`.
        features: Features of the frames, and their name.
        directions: Most directions in which a frame is moved, for "target".
        model: The model behind the features, if there is one.
        reason: Why this way was chosen; empty where it was asked for.
        seconds: Processor time that it is predicted to take; None where nothing is predicted.
    """

    method: Method
    features: FeatureMap
    features_name: str
    directions: int = DIRECTIONS
    model: LoadedModel | None = None
    reason: str = ""
    seconds: float | None = None

    def __str__(self) -> str:
        """The way and its time, for people who wait."""
        text = f"method {self.method}, features {self.features_name}"
        if self.seconds is None or self.seconds < SECONDS_TO_MENTION:
            return text
        return f"{text}: about {max(1, round(self.seconds / 60))} minutes on one core"


@dataclass
class PoolSize:
    """What the time of a selection depends on, frame by frame."""

    frames: int = 0
    atom_evaluations: int = 0
    """Sum over frames of atoms times evaluations with all `DIRECTIONS`."""
    atoms: int = 0

    def add(self, atoms: Atoms) -> None:
        """Count one more frame."""
        directions = 3 * (len(atoms) - 1) + (6 if atoms.pbc.all() else 0)
        self.frames += 1
        self.atoms += len(atoms)
        self.atom_evaluations += len(atoms) * (1 + min(directions, DIRECTIONS))

    def seconds(self, features: str, count: int, directions: int = DIRECTIONS) -> float:
        """Predicted processor time of picks for a target."""
        evaluations = min(self.atom_evaluations, self.atoms * (1 + directions))
        picking = SECONDS_PER_FRAME_AND_PICK * self.frames * min(count, self.frames)
        return SECONDS_PER_ATOM[features] * evaluations + picking

    def directions_within(self, seconds: float, features: str, count: int) -> int:
        """Most directions, up to `DIRECTIONS`, whose time is within some seconds; 0: none."""
        fitting = (
            directions
            for directions in range(DIRECTIONS, LEAST_DIRECTIONS - 1, -1)
            if self.seconds(features, count, directions) <= seconds
        )
        return next(fitting, 0)


def best_way(
    pool: Iterable[Atoms], count: int, method: str, features: str, model: str
) -> tuple[Iterable[Atoms], Way]:
    """Decide how to pick, looking at as much of the pool as that needs.

    Args:
        pool: The frames, as a stream.
        count: Frames to pick.
        method: One of `METHODS`, or "auto": "representative" where it is predicted to take at
            most `MOST_SECONDS`, otherwise "information".
        features: "fingerprint", "model", "gradients", or "auto": for "target" the weight gradients
            of the model, for "representative" its last layer, where it has them, knows all
            elements and is fast enough; otherwise fingerprints.
        model: A name or file that `entrove.models.load` knows.

    Returns the pool, of which nothing is lost, and the way. Raises `SelectionError` for another
    name, and `ModelError` for a model that cannot be used where it was asked for.
    """
    if method not in (AUTO, *METHODS):
        raise SelectionError(
            f"method '{method}' is unknown; choose from {', '.join((AUTO, *METHODS))}"
        )
    if features not in (AUTO, *FEATURES):
        raise SelectionError(
            f"features '{features}' are unknown; choose from {', '.join((AUTO, *FEATURES))}"
        )
    if features == "gradients" and method == AUTO:
        method = "target"  # which is what they are for
    if method == AUTO:
        return _automatic(iter(pool), features, model)
    if method not in ("target", "representative"):
        seen, pool = look_ahead(pool)
        wanted = "fingerprint" if features == AUTO else features
        way = _way(_known(method), wanted, model, seen)
        return _known_elements(pool, way.model), way
    frames = list(pool)
    if method == "representative":
        return frames, _representative(frames, features, model)
    size = PoolSize()
    for atoms in frames:
        size.add(atoms)
    if features != AUTO:
        way = _way("target", features, model, frames)
        if way.model is not None:
            way.model.check_species(frames)
    else:
        way = _target(frames, size, count, model)
    seconds = size.seconds(way.features_name.split()[0], count, way.directions)
    return frames, replace(way, seconds=seconds)


def _automatic(stream: Iterator[Atoms], features: str, model: str) -> tuple[Iterable[Atoms], Way]:
    """Representative picks where they take minutes, otherwise information, which streams."""
    seen, seconds = list[Atoms](), 0.0
    for atoms in stream:
        seen.append(atoms)
        seconds += SECONDS_PER_ATOM["model"] * len(atoms)
        if seconds > MOST_SECONDS:
            break
    else:
        return seen, _representative(seen, features, model)
    reason = (
        f"the pool has more than the {len(seen) - 1} frames for which method representative is "
        f"predicted to take at most {MOST_SECONDS / 60:.0f} minutes"
    )
    wanted = "fingerprint" if features == AUTO else features
    way = _way("information", wanted, model, seen, reason=reason)
    return _known_elements(chain(seen, stream), way.model), way


def _known_elements(pool: Iterable[Atoms], model: LoadedModel | None) -> Iterable[Atoms]:
    """The frames, refused one by one where the model lacks an element."""
    for atoms in pool:
        if model is not None:
            model.check_species([atoms])
        yield atoms


def _known(method: str) -> Method:
    return next(known for known in METHODS if known == method)


def _target(frames: Sequence[Atoms], size: PoolSize, count: int, model: str) -> Way:
    """Return the best features for a target, with fewer directions where all take long."""
    directions = size.directions_within(MOST_SECONDS, "gradients", count) or LEAST_DIRECTIONS
    try:
        way = _way("target", "gradients", model, frames, directions=directions)
        assert way.model is not None  # gradients are those of a model
        way.model.check_species(frames)
    except EntroveError as error:  # not installed, without gradients, or without an element
        return _way("target", "fingerprint", model, frames, reason=str(error))
    return way


def _representative(frames: Sequence[Atoms], features: str, model: str) -> Way:
    """Return the best features for representative picks: those of the model's atoms."""
    if features != AUTO:
        way = _way("representative", features, model, frames)
        if way.model is not None:
            way.model.check_species(frames)
        return way
    seconds = SECONDS_PER_ATOM["model"] * sum(len(atoms) for atoms in frames)
    if seconds > MOST_SECONDS:
        reason = f"features of {model} are predicted to take {seconds / 60:.0f} minutes"
        return _way("representative", "fingerprint", model, frames, reason=reason)
    try:
        way = _way("representative", "model", model, frames)
        assert way.model is not None  # its features are asked for
        way.model.check_species(frames)
    except EntroveError as error:  # not installed, without features, or without an element
        return _way("representative", "fingerprint", model, frames, reason=str(error))
    return replace(way, seconds=seconds)


def _way(
    method: Method,
    features: str,
    model: str,
    seen: Iterable[Atoms],
    *,
    directions: int = DIRECTIONS,
    reason: str = "",
) -> Way:
    """Load the features; `seen` are frames with the elements of the pool."""
    if features == "fingerprint":
        made = GaussianOverlap.of_system(seen)
        return Way(method, made, features, directions, None, reason)
    from entrove.models import load

    loaded = load(model)
    made = loaded.features() if features == "model" else loaded.weight_gradients()
    name = f"{features} of {model}"
    return Way(method, made, name, directions, loaded, reason)


def labels_of(frames: Sequence[Atoms], directions: int) -> LabelsConfig:
    """Return what a label of these frames brings: what they have, or would get without any."""
    held = {name for atoms in frames for name in getattr(atoms.calc, "results", {})}
    kinds = [name for name in ("energy", "forces", "stress") if name in held]
    settings = {"directions": directions} | ({"labels": kinds} if kinds else {})
    return LabelsConfig.model_validate(settings)
