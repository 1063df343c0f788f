"""Pool of ordered cells: what is kept, what is dropped and why, and the model that orders."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from cheap_models import ARGON_SIGMA_A, argon, lennard_jones
from torch_sim.models.lennard_jones import LennardJonesModel

from entrove.features import AtomFeatures
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.batch import gather_batch
from entrove.sampling.bias.ordering import FingerprintOrder, OrderingModel
from entrove.sampling.config import OrderedSettings, RelaxationSettings, SamplingConfig
from entrove.sampling.pools.ordered import (
    generate_ordered,
    perturb,
    place_at_random,
    share_out,
)
from entrove.sampling.relax import relax_at_pressure
from entrove.sampling.walkers.grid import Start
from entrove.units import gpa_to_ev_per_a3

FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=24))
CONFIG = SamplingConfig(
    relaxation=RelaxationSettings(
        force_tolerance_eV_per_A=2e-3, stress_tolerance_GPa=5e-3, largest_steps=500
    ),
    ordered=OrderedSettings(perturbed=2, random=3, biased_steps=60, variance_weight_eV=2.0),
    guards={"shortest_distance": 0.9},
)


def test_order_is_the_negative_variance_of_each_species():
    values = torch.tensor(np.random.default_rng(0).normal(size=(7, 5)))
    numbers = torch.tensor([11, 17, 11, 17, 11, 11, 17])
    system = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    batch = AtomFeatures(values, numbers, system, 2)
    order, gradient = FingerprintOrder().value_and_gradient(batch)
    for row in range(2):
        own = [values[(system == row) & (numbers == n)].numpy() for n in (11, 17)]
        expected = -sum(((x - x.mean(axis=0)) ** 2).sum() for x in own) / int(
            (system == row).sum()
        )
        assert float(order[row]) == pytest.approx(expected, rel=1e-12)
    h = 1e-6
    for atom, feature in ((0, 0), (3, 2), (6, 4)):
        moved = values.clone()
        moved[atom, feature] += h
        up = FingerprintOrder().value_and_gradient(replace(batch, values=moved))[0].sum()
        moved[atom, feature] -= 2 * h
        down = FingerprintOrder().value_and_gradient(replace(batch, values=moved))[0].sum()
        assert float(gradient[atom, feature]) == pytest.approx(
            float(up - down) / (2 * h), rel=1e-6, abs=1e-9
        )


def test_a_perfect_crystal_has_full_order_and_feels_no_force_from_it():
    model = OrderingModel(lennard_jones(), FEATURES, 5.0)
    result = model(gather_batch([argon(5.2)], model))
    assert float(result["entropy"][0]) == pytest.approx(0.0, abs=1e-20)
    torch.testing.assert_close(result["forces"], result["base_forces"], rtol=0, atol=1e-9)


def test_the_variance_term_orders_what_the_model_alone_leaves_disordered():
    """With next to no energy, the term alone brings a rattled cell to equal surroundings."""
    flat = lennard_jones(epsilon_eV=1e-9)
    model = OrderingModel(flat, FEATURES, 5.0)
    rattled = argon(5.2, rattle_A=0.3, seed=3)
    settings = RelaxationSettings(
        force_tolerance_eV_per_A=1e-5, stress_tolerance_GPa=1e-4, largest_steps=60
    )
    before = float(model(gather_batch([rattled], model))["entropy"][0])
    relaxed = relax_at_pressure(model, [rattled], [0.0], settings)[0].atoms
    after = float(model(gather_batch([relaxed], model))["entropy"][0])
    assert before < -1e-3
    assert after > before / 10


STARTS = [Start("fcc", 1.0, argon(5.2))]
MODEL = lennard_jones(epsilon_eV=0.05)


def ordered_with(settings, starts=STARTS, model=MODEL, guards=CONFIG.guards, **relaxation):
    config = CONFIG.model_copy(
        update={
            "ordered": CONFIG.ordered.model_copy(update=settings),
            "guards": guards,
            "relaxation": CONFIG.relaxation.model_copy(update=relaxation),
        }
    )
    return generate_ordered(starts, model, FEATURES, config, 7)


@pytest.fixture(scope="module")
def cells():
    return generate_ordered(STARTS, MODEL, FEATURES, CONFIG, 7)


def test_every_start_is_accounted_for_with_symmetry_and_reason(cells):
    """Lennard-Jones has two close packings: fcc, the seed, and hcp, which is kept once."""
    assert [cell.candidate.kind for cell in cells] == ["perturbed"] * 2 + ["random"] * 3
    assert {(cell.candidate.pool, cell.candidate.pressure_GPa) for cell in cells} == {
        ("ordered", 1.0)
    }
    assert [cell.space_group for cell in cells if cell.kept] == ["P6_3/mmc (194)"]
    copies = [cell for cell in cells if not cell.kept]
    assert {cell.space_group for cell in copies} == {"Fm-3m (225)", "P6_3/mmc (194)"}
    for cell in copies:
        assert (
            cell.dropped_because == f"a copy of a seed or of an earlier cell ({cell.space_group})"
        )


def test_kept_cells_are_at_rest_and_at_their_pressure(cells):
    kept = [cell.candidate.atoms for cell in cells if cell.kept]
    assert kept
    # Evaluated from outside; the relaxation's own tolerances.
    final = MODEL(gather_batch(kept, MODEL))
    assert float(final["forces"].norm(dim=1).max()) <= 2.001e-3
    deviation = final["stress"] + gpa_to_ev_per_a3(1.0) * torch.eye(3, dtype=torch.float64)
    assert float(deviation.abs().max()) <= gpa_to_ev_per_a3(5.001e-3)


def test_a_perturbed_seed_that_falls_back_is_dropped_as_a_copy(cells):
    # Lennard-Jones has one basin around its fcc crystal: a small perturbation ends where it began.
    perturbed = [cell for cell in cells if cell.candidate.kind == "perturbed"]
    assert ["copy of a seed" in str(cell.dropped_because) for cell in perturbed] == [True, True]
    assert {cell.space_group for cell in perturbed} == {"Fm-3m (225)"}


ANYTHING = {
    "biased_steps": 0,
    "largest_force_eV_per_A": 1e9,
    "largest_stress_deviation_GPa": 1e9,
    "random": 0,
    "perturbed": 4,
}
AT_ONCE = {"force_tolerance_eV_per_A": 1e9, "stress_tolerance_GPa": 1e9}
LAX = CONFIG.guards.model_copy(update={"shortest_distance": 0.01})


def test_a_cell_without_symmetry_is_not_ordered():
    found = ordered_with(ANYTHING, guards=LAX, **AT_ONCE)
    assert [cell.dropped_because for cell in found] == ["not ordered: space group P1 (1)"] * 4


def test_a_cell_that_is_not_at_its_pressure_is_dropped():
    found = ordered_with(
        ANYTHING | {"largest_stress_deviation_GPa": 1e-3}, largest_steps=5, guards=LAX
    )
    assert all("stress off its pressure by" in str(cell.dropped_because) for cell in found)


def test_a_cell_that_is_not_at_rest_is_dropped():
    found = ordered_with(ANYTHING | {"largest_force_eV_per_A": 1e-5}, largest_steps=5, guards=LAX)
    assert all("largest force" in str(cell.dropped_because) for cell in found)


@pytest.mark.parametrize(
    ("a_A", "limits", "reason"),
    [
        (6.0, {"smallest_volume_ratio": 0.9}, "collapsed: 0."),
        (4.6, {"largest_volume_ratio": 1.1}, "fell apart: 1."),
    ],
)
def test_a_cell_whose_volume_left_its_range_is_dropped(a_A, limits, reason):
    # The phase is given far from its volume at this pressure, 5.1 A, to which every cell goes.
    guards = CONFIG.guards.model_copy(update=limits)
    found = ordered_with({}, [Start("fcc", 1.0, argon(a_A))], guards=guards)
    assert all(str(cell.dropped_because).startswith(reason) for cell in found)


class WithoutLargeCells(LennardJonesModel):
    """Lennard-Jones that fails, as networks do far from their data: NaN for roomy cells."""

    def forward(self, state, **kwargs):
        results = super().forward(state, **kwargs)
        lost = state.volume.abs() > 1.2 * 5.2**3
        return results | {"energy": torch.where(lost, torch.nan, results["energy"])}


def test_a_relaxation_that_is_not_finite_ends_there_and_spares_the_others():
    model = WithoutLargeCells(
        sigma=ARGON_SIGMA_A, epsilon=0.05, cutoff=2.2 * ARGON_SIGMA_A, compute_stress=True
    )
    found = ordered_with({}, model=model)
    lost = [
        cell for cell in found if cell.dropped_because and "not finite" in cell.dropped_because
    ]
    assert 0 < len(lost) < len(found)
    assert all(np.isnan(cell.enthalpy_eV_per_atom) for cell in lost)
    assert any("Fm-3m (225)" in str(cell.dropped_because) for cell in found)


def test_random_crystals_are_shared_out_by_composition_and_pressure():
    phases = [
        Start(f"{symbol}{number}", pressure, argon(5.2, symbol=symbol).repeat((number, 1, 1)))
        for symbol, numbers in (("Ar", (1, 2, 3)), ("Ne", (1,)))
        for number in numbers
        for pressure in (0.0, 10.0)
    ]
    drawn = share_out(phases, 5, np.random.default_rng(0))
    counts = Counter((start.phase[:2], start.pressure_GPa) for start in drawn)
    assert counts == {(symbol, pressure): 5 for symbol in ("Ar", "Ne") for pressure in (0.0, 10.0)}
    of_phases = Counter(
        (start.phase, start.pressure_GPa) for start in drawn if start.phase.startswith("Ar")
    )
    assert len(of_phases) == 6
    assert max(of_phases.values()) == 2


def test_the_same_seed_gives_the_same_pool(cells):
    again = generate_ordered(STARTS, MODEL, FEATURES, CONFIG, 7)
    for cell, other in zip(cells, again, strict=True):
        np.testing.assert_array_equal(
            cell.candidate.atoms.positions, other.candidate.atoms.positions
        )
        assert cell.dropped_because == other.dropped_because


def test_nothing_asked_for_gives_nothing():
    config = CONFIG.model_copy(update={"ordered": OrderedSettings(perturbed=0, random=0)})
    assert (
        generate_ordered([Start("fcc", 0.0, argon())], lennard_jones(), FEATURES, config, 0) == []
    )


@pytest.mark.parametrize("seed", range(5))
def test_random_crystals_keep_composition_and_density_and_leave_room(seed):
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    crystal = place_at_random(salt, np.random.default_rng(seed))
    assert crystal.get_chemical_formula() == salt.get_chemical_formula()
    assert 0.9 <= crystal.get_volume() / salt.get_volume() <= 1.3
    distances = crystal.get_all_distances(mic=True) + 99 * np.eye(len(crystal))
    # Spheres of this diameter fill a fifth of the cell: far from touching, far from overlapping.
    assert distances.min() > 0.7 * (crystal.get_volume() / len(crystal)) ** (1 / 3)


def test_perturbation_moves_atoms_and_cell_and_not_the_original():
    atoms = argon(5.2)
    moved = perturb(atoms, OrderedSettings(rattle_A=0.2, strain=0.05), np.random.default_rng(0))
    assert not np.allclose(moved.cell.array, atoms.cell.array)
    assert not np.allclose(moved.get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-3)
    np.testing.assert_array_equal(atoms.positions, argon(5.2).positions)
