"""Features and their derivatives that several selections from one pool share."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState

from entrove.entropy.labels.derivatives import derivatives
from entrove.entropy.labels.directions import Directions
from entrove.entropy.typed_torch import integers
from entrove.features import FeatureMap, Features, PullBack
from entrove.fingerprints.batching import pick_systems, to_state
from entrove.structures import content_hash

Slopes = Float[Tensor, "directions width"]


@dataclass(frozen=True, eq=False)
class Remembered:
    """Features that were computed once, possibly in another batch."""

    values: Float[Tensor, "atoms features"]

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """Values alone are remembered, so this is an error of the caller."""
        raise NotImplementedError("only values were asked for; evaluate with pull_back=True")


@dataclass(frozen=True, eq=False)
class RememberedDerivatives:
    """A feature map whose values and derivatives of a structure are computed once.

    Derivatives cost one evaluation per direction, and do not depend on what is labelled: picks in
    several rounds from one pool need them again. Each structure keeps (directions + atoms) x width
    numbers (8 bytes each), 80 kB for 31 directions of 256 features and 8 atoms.

    Attributes:
        features: The feature map.
    """

    features: FeatureMap
    _known: dict[object, Slopes] = field(default_factory=dict[object, Slopes])
    _values: dict[bytes, Tensor] = field(default_factory=dict[bytes, Tensor])

    @property
    def length(self) -> int:
        """Number of features per atom."""
        return self.features.length

    @property
    def per_structure(self) -> bool:
        """Whether the values belong to whole structures."""
        return bool(getattr(self.features, "per_structure", False))

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> Features:
        """Evaluate the features; values alone only of systems that are not known yet."""
        if pull_back:
            return self.features.evaluate(state)
        keys = _keys(state)
        new = [key not in self._values for key in keys]
        if any(new):
            part = pick_systems(state, torch.tensor(new))
            values = self.features.evaluate(part, pull_back=False).values
            fresh = [key for key, is_new in zip(keys, new, strict=True) if is_new]
            for key, (first, end) in zip(fresh, _atoms_of(part), strict=True):
                self._values[key] = values[first:end]
        return Remembered(torch.cat([self._values[key] for key in keys]))

    def describe(self) -> dict[str, object]:
        """Identity of the feature map."""
        return self.features.describe()

    def derivatives(
        self,
        structures: Sequence[Atoms],
        directions: Sequence[Directions],
        species: Sequence[int],
        *,
        sums: Float[Tensor, "systems width"],
        step_A: float,
    ) -> list[Slopes]:
        """Return what `derivatives` returns, and compute only what is not known yet.

        Directions follow from the structure, its noise levels and their number, so that one pool
        has to be asked with the same settings.
        """
        keys = [
            (content_hash(atoms), of_one.displacements.shape, _length(of_one), step_A, *species)
            for atoms, of_one in zip(structures, directions, strict=True)
        ]
        new = [index for index, key in enumerate(keys) if key not in self._known]
        if new:
            found = derivatives(
                self.features,
                to_state([structures[index] for index in new]),
                [directions[index] for index in new],
                species,
                sums=sums[new],
                step_A=step_A,
            )
            self._known.update({keys[index]: row for index, row in zip(new, found, strict=True)})
        return [self._known[key] for key in keys]


def remembered_energies(
    energies_eV: Callable[[Sequence[Atoms]], Sequence[float]],
) -> Callable[[Sequence[Atoms]], list[float]]:
    """Compute the energy of each structure once, by its content."""
    known: dict[str, float] = {}

    def remembered(structures: Sequence[Atoms]) -> list[float]:
        keys = [content_hash(atoms) for atoms in structures]
        new = {key: atoms for key, atoms in zip(keys, structures, strict=True) if key not in known}
        if new:
            known.update(zip(new, energies_eV(list(new.values())), strict=True))
        return [known[key] for key in keys]

    return remembered


def _keys(state: SimState) -> list[bytes]:
    """What the values of each system follow from, as a hash."""
    positions, numbers, cells = (
        part.detach().cpu().numpy() for part in (state.positions, state.atomic_numbers, state.cell)
    )
    periodic = torch.as_tensor(state.pbc).cpu().numpy().tobytes()
    return [
        hashlib.sha256(
            b"".join(part.tobytes() for part in (positions[a:b], numbers[a:b], cells[system]))
            + periodic
        ).digest()
        for system, (a, b) in enumerate(_atoms_of(state))
    ]


def _atoms_of(state: SimState) -> list[tuple[int, int]]:
    """First atom of each system, and the one after its last; a system's atoms are adjacent."""
    ends = integers(torch.bincount(state.system_idx, minlength=state.cell.shape[0]).cumsum(0))
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _length(directions: Directions) -> tuple[Any, ...]:
    """Tells directions of other noise levels apart."""
    return (
        float(directions.displacements.square().sum()),
        float(directions.strains.square().sum()),
    )
