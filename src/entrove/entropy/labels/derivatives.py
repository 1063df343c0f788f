"""Features summed per species, and their derivatives along directions of each structure.

The derivatives are one-sided differences of the values of moved structures. That needs no more of
a feature map than its values, and is the cheapest way for the networks: SevenNet-0 gives 128
features, whose pull-backs cost 128 backward passes, while a cell of eight atoms has 27 directions,
each of which costs one evaluation. In single precision, steps of 1e-3 A leave 0.6 % of a row on
average and 1.5 % at most in 8 atoms of silicon that are rattled by 0.1 A: half of it rounding,
half of it curvature. A selection cannot tell; see `benchmarks/selection/cost_of_rows.py`. Rounding
stays where rows are short: with SevenNet-0, 3 to 4 % on average and 9 % at most at 0.02 A, 1.1 and
2.6 % for 64 atoms at 0.1 A, and 21 to 220 % in perfect cells, whose rows nearly vanish.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState

from entrove.entropy.labels.directions import Directions
from entrove.entropy.rows import SHARED
from entrove.entropy.typed_torch import integers
from entrove.features import AtomFeatures, FeatureMap
from entrove.fingerprints.batching import naming_structures, pick_systems

LEVER_A = 3.0
"""Distance at which a strain counts as a displacement, when the length of a step is chosen."""


def sum_over_species(
    batch: AtomFeatures, species: Sequence[int]
) -> Float[Tensor, "systems width"]:
    """X_c of every system, in float64: sums of features, one block per species side by side.

    `species` are atomic numbers in order; without any of its atoms a block is zero. With `SHARED`
    alone, all atoms form one block.
    """
    features = batch.values.shape[1]
    if tuple(species) == (SHARED,):
        batch = replace(batch, numbers=torch.full_like(batch.numbers, SHARED))
    place = torch.zeros(max(*species, int(batch.numbers.max())) + 1, dtype=torch.int64)
    place[list(species)] = torch.arange(len(species))
    block = batch.system_idx * len(species) + place.to(batch.numbers.device)[batch.numbers]
    sums = torch.zeros(
        batch.n_systems * len(species), features, dtype=torch.float64, device=batch.values.device
    )
    sums.index_add_(0, block, batch.values.detach().to(torch.float64))
    return sums.view(batch.n_systems, len(species) * features)


def derivatives(
    features: FeatureMap,
    state: SimState,
    directions: Sequence[Directions],
    species: Sequence[int],
    *,
    sums: Float[Tensor, "systems width"],
    step_A: float,
) -> list[Float[Tensor, "directions width"]]:
    """dX_c along each direction of each system of a batch.

    `sums` are X_c where the systems are. An atom moves by about `step_A`, whatever the length of a
    direction.
    """
    counts = torch.tensor([len(of_one.strains) for of_one in directions])
    rows = [torch.zeros(0) for _ in directions]
    found: list[list[Tensor]] = [[] for _ in directions]
    for k in range(int(counts.max()) if len(counts) else 0):
        active = counts > k
        part = pick_systems(state, active)
        chosen = [
            of_one for of_one, is_active in zip(directions, active, strict=True) if is_active
        ]
        displacement = torch.cat([of_one.displacements[k] for of_one in chosen]).to(state.device)
        strain = torch.stack([of_one.strains[k] for of_one in chosen]).to(state.device)
        length = step_A / _size(displacement, strain, part)
        systems = integers(torch.nonzero(active).flatten())
        with naming_structures(systems):
            moved = _sums(features, part, displacement, strain, length, species)
        slope = (moved - sums[active]) / length[:, None].to(sums)
        for index, row in zip(systems, slope, strict=True):
            found[index].append(row)
    width = len(species) * features.length
    for index, of_one in enumerate(found):
        rows[index] = torch.stack(of_one) if of_one else torch.zeros(0, width, dtype=torch.float64)
    return rows


def _size(
    displacement: Float[Tensor, "atoms 3"], strain: Float[Tensor, "systems 3 3"], state: SimState
) -> Float[Tensor, " systems"]:
    """Length of a direction, per unit of t: no atom moves further relative to its neighbours."""
    squares = torch.zeros(len(strain), dtype=displacement.dtype, device=displacement.device)
    squares.index_add_(0, state.system_idx, displacement.square().sum(1))
    return (squares + LEVER_A**2 * strain.square().sum((1, 2))).sqrt()


def _sums(
    features: FeatureMap,
    state: SimState,
    displacement: Float[Tensor, "atoms 3"],
    strain: Float[Tensor, "systems 3 3"],
    length: Float[Tensor, " systems"],
    species: Sequence[int],
) -> Float[Tensor, "systems width"]:
    of_atom = state.system_idx
    strained = length[:, None, None] * strain
    moved = state.positions + length[of_atom, None] * displacement
    moved = moved + torch.einsum("nab,nb->na", strained[of_atom], state.positions)
    # torch-sim stores cell vectors as columns.
    moved_state = _with(state, moved, state.cell + strained @ state.cell)
    values = features.evaluate(moved_state, pull_back=False).values.detach()
    return sum_over_species(AtomFeatures.of_state(values, moved_state), species).to("cpu")


def _with(
    state: SimState, positions: Float[Tensor, "atoms 3"], cell: Float[Tensor, "systems 3 3"]
) -> SimState:
    return SimState(
        positions=positions,
        masses=state.masses,
        cell=cell,
        pbc=state.pbc,
        atomic_numbers=state.atomic_numbers,
        system_idx=state.system_idx,
    )
