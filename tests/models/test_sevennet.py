"""Laws of the batched SevenNet model, against its own ASE calculator and by differences."""

import numpy as np
import pytest
import torch
import torch_sim
from ase import Atoms
from ase.build import bulk, molecule
from trial_structures import rattled

from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.models.sevennet import model as sevennet_module
from entrove.models.sevennet.model import SevenNetModel

# The network works in float32 (relative 1.2e-7) on energies of -5 to -9 eV per atom; sums run in
# another order in a batch. 2e-6 eV/atom is a few units in the last place. Forces and stresses are
# sums of some 100 terms of up to 100 eV/A (compressed diamond), hence 2e-4 eV/A and 2e-5 eV/A^3.
ENERGY_TOLERANCE_EV_PER_ATOM = 2e-6
FORCE_TOLERANCE_EV_PER_A = 2e-4
STRESS_TOLERANCE_EV_PER_A3 = 2e-5


def assert_same(ours: Atoms, theirs: Atoms) -> None:
    energy = ENERGY_TOLERANCE_EV_PER_ATOM * len(ours)
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=energy)
    np.testing.assert_allclose(
        ours.get_forces(), theirs.get_forces(), atol=FORCE_TOLERANCE_EV_PER_A
    )
    np.testing.assert_allclose(
        ours.get_stress(), theirs.get_stress(), atol=STRESS_TOLERANCE_EV_PER_A3
    )


def test_batch_equals_the_packages_own_calculator(sevennet, mixed_structures):
    calculator = sevennet.calculator()
    for ours, atoms in zip(predict(sevennet, mixed_structures), mixed_structures, strict=True):
        theirs = atoms.copy()
        theirs.calc = calculator
        assert_same(ours, theirs)


def test_the_larger_packaged_model_equals_its_calculator():
    model = load("7net-l3i5", device="cpu")
    calculator = model.calculator()
    structures = [
        rattled(bulk("Si", "diamond", a=5.43), 1),
        rattled(bulk("NaCl", "rocksalt", a=5.6), 2),
    ]
    for ours, atoms in zip(predict(model, structures), structures, strict=True):
        theirs = atoms.copy()
        theirs.calc = calculator
        assert_same(ours, theirs)


def test_fidelities_differ_and_each_equals_its_calculator():
    atoms = rattled(bulk("Si", "diamond", a=5.43), 3)
    energies = []
    for name in ("7net-mf-0@PBE", "7net-mf-0@R2SCAN"):
        model = load(name, device="cpu")
        ours = predict(model, [atoms, atoms])
        theirs = atoms.copy()
        theirs.calc = model.calculator()
        assert_same(ours[1], theirs)
        energies.append(theirs.get_potential_energy())
    assert abs(energies[0] - energies[1]) > 0.1


def test_a_batch_in_pieces_equals_the_whole(monkeypatch, sevennet_in_float64, mixed_structures):
    model = sevennet_in_float64
    state = torch_sim.initialize_state(mixed_structures, torch.device("cpu"), torch.float64)
    pieces, run = [], model._run
    monkeypatch.setattr(model, "_run", lambda graph: pieces.append(graph) or run(graph))
    results = []
    for most_pairs, least_pieces in ((10**9, 1), (200, 5)):
        monkeypatch.setattr(sevennet_module, "PIECE_PAIRS", most_pairs)
        pieces.clear()
        results.append(model(state))
        assert len(pieces) >= least_pieces
    for name in ("energy", "forces", "stress"):
        # Float64: the same terms, some thousand of them summed in another order.
        torch.testing.assert_close(results[1][name], results[0][name], rtol=1e-10, atol=1e-10)


def test_pieces_on_a_gpu_are_as_many_as_its_memory_asks_for(monkeypatch):
    monkeypatch.setattr(sevennet_module, "pairs_that_fit", lambda device: 1000)
    gpu = torch.device("cuda")
    assert [sevennet_module.count_pieces(pairs, gpu) for pairs in (0, 1000, 1001, 5500)] == [
        0,
        1,
        2,
        6,
    ]


def test_order_of_atoms_does_not_matter(sevennet):
    atoms = rattled(bulk("NaCl", "rocksalt", a=5.6, cubic=True), 5)
    order = np.random.default_rng(5).permutation(len(atoms))
    plain, permuted = predict(sevennet, [atoms, atoms[order]])
    assert permuted.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=2e-5)
    np.testing.assert_allclose(
        permuted.get_forces(), plain.get_forces()[order], atol=FORCE_TOLERANCE_EV_PER_A
    )


def test_states_of_either_precision_give_float64(sevennet):
    atoms = rattled(bulk("Si", "diamond", a=5.43), 6)
    for dtype in (torch.float32, torch.float64):
        results = sevennet.model(torch_sim.initialize_state([atoms], torch.device("cpu"), dtype))
        assert {value.dtype for value in results.values()} == {torch.float64}


def test_a_molecule_has_no_stress(sevennet):
    water = predict(sevennet, [molecule("H2O")])[0]
    np.testing.assert_array_equal(water.get_stress(), 0.0)


def test_nan_is_seen_in_its_system_only(sevennet):
    atoms = rattled(bulk("Si", "diamond", a=5.43), 7)
    state = torch_sim.initialize_state([atoms, atoms], torch.device("cpu"), torch.float64)
    state.positions[0, 1] = float("nan")
    results = sevennet.model(state)
    assert torch.isnan(results["energy"]).tolist() == [True, False]
    assert torch.isnan(results["forces"][:2]).all()
    assert torch.isfinite(results["forces"][2:]).all()


def energy(model: SevenNetModel, atoms: Atoms) -> float:
    return float(
        model(torch_sim.initialize_state([atoms], torch.device("cpu"), torch.float64))["energy"]
    )


def test_forces_are_minus_the_gradient(sevennet_in_float64):
    atoms = rattled(bulk("Si", "diamond", a=5.43), 8)
    state = torch_sim.initialize_state([atoms], torch.device("cpu"), torch.float64)
    direction = np.random.default_rng(8).normal(size=atoms.positions.shape)
    # Central difference: error h^2/6 E''' ~ 1e-6 (h = 1e-3 A, E''' ~ 10 eV/A^3), round-off 1e-15 *
    # 10 / h.
    h = 1e-3
    ends = []
    for sign in (1.0, -1.0):
        moved = atoms.copy()
        moved.positions += sign * h * direction
        ends.append(energy(sevennet_in_float64, moved))
    slope = (ends[0] - ends[1]) / (2 * h)
    forces = sevennet_in_float64(state)["forces"].numpy()
    assert -np.sum(forces * direction) == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_stress_is_the_strain_derivative_per_volume(sevennet_in_float64):
    atoms = rattled(bulk("Si", "diamond", a=5.43), 9)
    state = torch_sim.initialize_state([atoms], torch.device("cpu"), torch.float64)
    strain = np.random.default_rng(9).normal(size=(3, 3))
    strain = (strain + strain.T) / 2
    h = 1e-4
    ends = []
    for sign in (1.0, -1.0):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * h * strain), scale_atoms=True)
        ends.append(energy(sevennet_in_float64, strained))
    slope = (ends[0] - ends[1]) / (2 * h) / atoms.get_volume()
    stress = sevennet_in_float64(state)["stress"][0].numpy()
    assert np.sum(stress * strain) == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_float32_energy_follows_its_forces(sevennet):
    # In float32 the energy of 2 atoms resolves 1e-6 eV; with h = 0.02 A a slope is good to 5e-5
    # eV/A plus h^2/6 E''' ~ 7e-4 eV/A.
    atoms = rattled(bulk("Si", "diamond", a=5.43), 10)
    moved = [atoms.copy(), atoms.copy()]
    moved[0].positions[0, 0] += 0.02
    moved[1].positions[0, 0] -= 0.02
    plus, minus, centre = predict(sevennet, [*moved, atoms])
    slope = (plus.get_potential_energy() - minus.get_potential_energy()) / 0.04
    assert -centre.get_forces()[0, 0] == pytest.approx(slope, abs=3e-3)
