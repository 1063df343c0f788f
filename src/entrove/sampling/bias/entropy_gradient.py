"""Gradient of each system's own entropy with respect to positions and strain."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch_sim.state import SimState

from entrove.entropy.functional import Bias, Entropy
from entrove.errors import StructureError
from entrove.features import AtomFeatures, FeatureMap, Features
from entrove.fingerprints.batching import pick_systems
from entrove.sampling.batch import reduce_atoms


@dataclass(frozen=True)
class EntropyGradient:
    """S of each system, dS/dr in 1/A and dS/d(symmetric strain); NaN and 0 without a bias."""

    entropy: Float[Tensor, " systems"]
    positions: Float[Tensor, "atoms 3"]
    strain: Float[Tensor, "systems 3 3"]

    @classmethod
    def nothing(cls, state: SimState) -> "EntropyGradient":
        """The gradient of a batch in which no system has an entropy."""
        unknown = state.positions.new_full((state.cell.shape[0],), torch.nan)
        return cls(unknown, torch.zeros_like(state.positions), torch.zeros_like(state.cell))


def entropy_gradient(
    state: SimState, biases: Sequence[Bias | None], *, leave_out_broken: bool = False
) -> EntropyGradient:
    """Evaluate each system's own entropy.

    The features of all systems that share a feature map are computed together, and so are the
    entropies of all systems that share an entropy. Systems without a bias, or with positions that
    are not finite, are left out. So are, with `leave_out_broken`, systems that have no features
    (two atoms at one place, a cell without volume); otherwise the feature map's `StructureError`
    ends the evaluation.
    """
    result = EntropyGradient.nothing(state)
    finite = reduce_atoms(state.positions.abs().amax(dim=1), state, reduce="amax").isfinite()
    finite &= state.cell.isfinite().all(dim=2).all(dim=1)
    maps = {id(bias.features): bias.features for bias in biases if bias is not None}
    for features in maps.values():
        uses_map = [bias is not None and bias.features is features for bias in biases]
        chosen = finite & torch.tensor(uses_map, device=state.device)
        _add_gradient(result, state, biases, chosen, features, leave_out_broken)
    return result


def _add_gradient(
    result: EntropyGradient,
    state: SimState,
    biases: Sequence[Bias | None],
    chosen: Bool[Tensor, " systems"],
    features: FeatureMap,
    leave_out_broken: bool,
) -> None:
    """Fill in the chosen systems, which share a feature map."""
    if not bool(chosen.any()):
        return
    try:
        part, evaluated = _evaluate(state, features, chosen)
    except StructureError:
        if not leave_out_broken:
            raise
        chosen = chosen & _has_features(state, features, chosen)
        if not bool(chosen.any()):
            return
        part, evaluated = _evaluate(state, features, chosen)
    rows = chosen.nonzero().squeeze(1)
    entropy, gradient = _contract(
        AtomFeatures.of_state(evaluated.values, part),
        [bias.entropy for row in rows.tolist() if (bias := biases[row]) is not None],
    )
    pulled = evaluated.pull_back(gradient)
    # The features may live on another device than the state.
    result.entropy[rows] = entropy.to(result.entropy)
    result.positions[chosen[state.system_idx]] = pulled.positions.to(result.positions)
    result.strain[rows] = pulled.strain.to(result.strain)


def _evaluate(
    state: SimState, features: FeatureMap, chosen: Bool[Tensor, " systems"]
) -> tuple[SimState, Features]:
    part = pick_systems(state, chosen)
    return part, features.evaluate(part)


def _has_features(
    state: SimState, features: FeatureMap, chosen: Bool[Tensor, " systems"]
) -> Bool[Tensor, " systems"]:
    """Which of the chosen systems have features, evaluated one by one after one has failed."""
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
    batch: AtomFeatures, entropies: Sequence[Entropy]
) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms features"]]:
    """Evaluate each distinct entropy once, on all systems that use it."""
    value = batch.values.new_zeros(len(entropies), dtype=torch.float64)
    gradient = torch.zeros_like(batch.values)
    for entropy in {id(entropy): entropy for entropy in entropies}.values():
        members = torch.tensor([other is entropy for other in entropies], device=value.device)
        own_value, own_gradient = entropy.value_and_gradient(batch.of_systems(members))
        value[members] = own_value.to(value)
        gradient[members[batch.system_idx]] = own_gradient.to(gradient)
    return value, gradient
