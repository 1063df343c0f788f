"""Gradient of an entropy with respect to positions and strain; each system of a batch has its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_sim.state import SimState

from entrove.entropy.functional import Entropy
from entrove.errors import StructureError
from entrove.features import FeatureMap, Features
from entrove.sampling.batch import pick_systems, reduce_atoms


@dataclass(frozen=True)
class EntropyGradient:
    """S of each system, dS/dr in 1/A and dS/d(symmetric strain); NaN and 0 where nothing biases."""

    entropy: Float[Tensor, " systems"]
    positions: Float[Tensor, "atoms 3"]
    strain: Float[Tensor, "systems 3 3"]

    @classmethod
    def nothing(cls, state: SimState) -> "EntropyGradient":
        """The gradient of a batch in which no system has an entropy."""
        unknown = state.positions.new_full((state.cell.shape[0],), torch.nan)
        return cls(unknown, torch.zeros_like(state.positions), torch.zeros_like(state.cell))


def entropy_gradient(
    state: SimState,
    features: FeatureMap,
    functionals: Sequence[Entropy | None],
    *,
    leave_out_broken: bool = False,
) -> EntropyGradient:
    """Evaluate each system's own entropy; the features of all systems are computed together.

    Systems without a functional, or with positions that are not finite, are left out. So are, with
    `leave_out_broken`, systems that have no features (two atoms at one place, a cell without volume); otherwise
    the feature map's `StructureError` ends the evaluation.
    """
    result = EntropyGradient.nothing(state)
    finite = reduce_atoms(state.positions.abs().amax(dim=1), state, reduce="amax").isfinite()
    wanted = torch.tensor(
        [functional is not None for functional in functionals], device=state.device
    )
    chosen = finite & wanted & state.cell.isfinite().all(dim=2).all(dim=1)
    if not bool(chosen.any()):
        return result
    try:
        part, evaluated = _evaluate(state, features, chosen)
    except StructureError:
        if not leave_out_broken:
            raise
        chosen = chosen & _has_features(state, features, chosen)
        if not bool(chosen.any()):
            return result
        part, evaluated = _evaluate(state, features, chosen)
    rows = chosen.nonzero().squeeze(1)
    # The features may live on another device than the state.
    device = evaluated.values.device
    entropy, gradient = _contract(
        evaluated.values,
        part.atomic_numbers.to(device, torch.int64),
        part.system_idx.to(device),
        [functional for row in rows.tolist() if (functional := functionals[row]) is not None],
    )
    pulled = evaluated.pull_back(gradient)
    result.entropy[rows] = entropy.to(result.entropy)
    result.positions[chosen[state.system_idx]] = pulled.positions.to(result.positions)
    result.strain[rows] = pulled.strain.to(result.strain)
    return result


def _evaluate(
    state: SimState, features: FeatureMap, chosen: Bool[Tensor, " systems"]
) -> tuple[SimState, Features]:
    part = state if bool(chosen.all()) else pick_systems(state, chosen)
    return part, features.evaluate(part)


def _has_features(
    state: SimState, features: FeatureMap, chosen: Bool[Tensor, " systems"]
) -> Bool[Tensor, " systems"]:
    """Which of the chosen systems have features; each is asked alone, once one of them has failed."""
    good = torch.zeros_like(chosen)
    for row in chosen.nonzero().squeeze(1).tolist():
        alone = torch.zeros_like(chosen)
        alone[row] = True
        try:
            features.evaluate(pick_systems(state, alone), pull_back=False)
        except StructureError:
            continue
        good[row] = True
    return good


def _contract(
    values: Float[Tensor, "atoms features"],
    numbers: Int[Tensor, " atoms"],
    system_idx: Int[Tensor, " atoms"],
    functionals: Sequence[Entropy],
) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms features"]]:
    """Evaluate each distinct functional once, on all systems that use it."""
    entropy = values.new_zeros(len(functionals), dtype=torch.float64)
    gradient = torch.zeros_like(values)
    for functional in {id(one): one for one in functionals}.values():
        members = torch.tensor([one is functional for one in functionals], device=values.device)
        of_atoms = members[system_idx]
        renumbered = (members.cumsum(0) - 1)[system_idx[of_atoms]]
        value, slope = functional.value_and_gradient(
            values[of_atoms], numbers[of_atoms], renumbered, int(members.sum())
        )
        entropy[members] = value.to(entropy)
        gradient[of_atoms] = slope.to(gradient)
    return entropy, gradient
