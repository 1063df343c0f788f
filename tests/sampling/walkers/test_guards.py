"""Each guard fires for its own reason, and for nothing else."""

import pytest
import torch
from ase import Atoms
from cheap_models import IdealGas, argon, lennard_jones

from entrove.sampling.batch import gather_batch
from entrove.sampling.config import GuardSettings
from entrove.sampling.walkers.dynamics import Dynamics, kinetic_temperature_K
from entrove.sampling.walkers.guards import (
    GuardReason,
    Reference,
    find_violations,
    shortest_bond_ratio,
)

LIMITS = GuardSettings()


@pytest.fixture
def healthy():
    """Three argon crystals at 50 K, and what they are compared with."""
    model = lennard_jones()
    state = gather_batch([argon(5.3, rattle_A=0.05, seed=seed) for seed in range(3)], model)
    state.rng = torch.Generator().manual_seed(0)
    temperature = torch.full((3,), 50.0, dtype=torch.float64)
    dynamics = Dynamics(
        temperature, torch.zeros_like(temperature), timestep_fs=1.0, friction_per_fs=0.01
    )
    return dynamics.start(state, model), Reference(temperature, torch.det(state.cell))


def nan_position(md):
    md.positions[4, 1] = torch.nan


def infinite_energy(md):
    md.energy[1] = torch.inf


def nan_force(md):
    md.forces[5, 0] = torch.nan


def overlap(md):
    md.positions[4] = md.positions[5] + torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


def overlap_through_the_cell_wall(md):
    md.positions[4] = md.positions[5] + 2 * md.cell[1, :, 0] + 0.2 * md.cell[1, :, 1]


def strong_force(md):
    md.forces[6] = torch.tensor([0.0, 31.0, 0.0], dtype=torch.float64)


def heat(md):
    md.momenta[4:8] *= 4.0


def squeeze(md):
    md.cell[1] *= 0.8
    md.positions[4:8] *= 0.8


def inflate(md):
    md.cell[1] *= 1.25
    md.positions[4:8] *= 1.25


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (nan_position, GuardReason.NOT_FINITE),
        (infinite_energy, GuardReason.NOT_FINITE),
        (nan_force, GuardReason.NOT_FINITE),
        (overlap, GuardReason.DISTANCE),
        (overlap_through_the_cell_wall, GuardReason.DISTANCE),
        (strong_force, GuardReason.FORCE),
        (heat, GuardReason.TEMPERATURE),
        (squeeze, GuardReason.VOLUME),
        (inflate, GuardReason.VOLUME),
    ],
)
def test_a_spoilt_system_is_found_with_its_reason_and_the_others_are_left_alone(
    healthy, spoil, reason
):
    md, reference = healthy
    assert find_violations(md, reference, LIMITS) == []
    spoil(md)
    found = find_violations(md, reference, LIMITS)
    assert [(violation.row, violation.reason) for violation in found] == [(1, reason)]
    if reason in (GuardReason.FORCE, GuardReason.TEMPERATURE):
        assert found[0].value > found[0].limit
    if reason is GuardReason.DISTANCE:
        assert found[0].value < found[0].limit == LIMITS.shortest_distance


def test_a_strong_bias_force_is_no_reason_as_long_as_the_model_is_calm(healthy):
    md, reference = healthy
    md.store_model_extras({"base_forces": md.forces.clone()})
    strong_force(md)
    assert find_violations(md, reference, LIMITS) == []


def test_distances_can_be_skipped(healthy):
    md, reference = healthy
    overlap(md)
    assert find_violations(md, reference, LIMITS, distances=False) == []


def test_shortest_bond_is_over_the_sum_of_covalent_radii():
    model = lennard_jones()
    near, far = argon(2.9), argon(6.5)
    ratio = shortest_bond_ratio(gather_batch([near, far], model))
    assert float(ratio[0]) == pytest.approx(
        2.9 / 2**0.5 / (2 * 1.06)
    )  # Cordero et al. (2008): Ar 1.06 A
    assert ratio[1] == torch.inf


def test_few_hot_atoms_are_not_mistaken_for_an_explosion():
    """At equilibrium the guard reacts in fewer than one of 100,000 checks of two atoms."""
    model, systems, looks = IdealGas(), 4000, 25
    pair = Atoms("Ar2", positions=[[0, 0, 0], [4, 4, 4]], cell=[9, 9, 9], pbc=True)
    temperature = torch.full((systems,), 300.0, dtype=torch.float64)
    dynamics = Dynamics(
        temperature, torch.zeros_like(temperature), timestep_fs=1.0, friction_per_fs=0.01
    )
    state = gather_batch([pair] * systems, model)
    state.rng = torch.Generator().manual_seed(0)
    md = dynamics.start(state, model)
    reference = Reference(temperature, torch.det(md.cell))
    width = (md.masses * dynamics.kT_eV[md.system_idx]).sqrt()[:, None]
    found, unallowed = [], 0
    for _ in range(looks):
        md.momenta = width * torch.randn(
            md.momenta.shape, dtype=torch.float64, generator=state.rng
        )
        found += find_violations(md, reference, LIMITS, distances=False)
        hot = kinetic_temperature_K(md) > 300.0 * LIMITS.largest_temperature_ratio
        unallowed += int(hot.sum())
    assert len(found) <= 1
    # Without the room for few atoms it would fire once in twenty looks.
    assert unallowed > 1000


def test_a_reference_is_heated_for_some_systems_alone(healthy):
    md, reference = healthy
    heat(md)
    heated = reference.heated(torch.tensor([False, True, False]), 30.0)
    assert find_violations(md, heated, LIMITS) == []
    others = reference.heated(torch.tensor([True, False, True]), 30.0)
    assert [violation.reason for violation in find_violations(md, others, LIMITS)] == [
        GuardReason.TEMPERATURE
    ]
