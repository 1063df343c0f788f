"""What must not change the fingerprint, and what must go with it."""

from threading import Thread

import crystals
import numpy as np
import pytest
import torch

from entrove import threads
from entrove.fingerprints import gom
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.from_structures import fingerprint
from entrove.fingerprints.gom import GaussianOverlap

# Eigenvalues are of order one; sums of some hundred rounded terms.
ATOL = 1e-12


def evaluate(structures, orbitals):
    prints = fingerprint(structures, length=60, orbitals=orbitals)
    gradient = np.random.default_rng(0).normal(size=60) * np.ones_like(prints.values)
    return prints.values, prints.pull_back(gradient)


@pytest.mark.parametrize("orbitals", ["s", "sp"])
@pytest.mark.parametrize("make", crystals.ALL)
def test_rotation_and_translation(make, orbitals):
    atoms, rotation = make(), crystals.random_rotation(5)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T)
    turned.positions = (atoms.positions + np.array([0.3, -7.1, 2.2])) @ rotation.T
    (values, gradient), (new_values, new_gradient) = (
        evaluate([atoms], orbitals),
        evaluate([turned], orbitals),
    )
    np.testing.assert_allclose(new_values, values, atol=ATOL)
    # Eigenvectors of close eigenvalues lose digits, so gradients are good to fewer.
    np.testing.assert_allclose(new_gradient.positions, gradient.positions @ rotation.T, atol=1e-9)
    np.testing.assert_allclose(
        new_gradient.strain[0], rotation @ gradient.strain[0] @ rotation.T, atol=1e-9
    )


def test_order_of_atoms():
    atoms = crystals.skewed_salt()
    order = np.random.default_rng(1).permutation(len(atoms))
    values, gradient = evaluate([atoms], "s")
    new_values, new_gradient = evaluate([atoms[order]], "s")
    np.testing.assert_allclose(new_values, values[order], atol=ATOL)
    np.testing.assert_allclose(new_gradient.positions, gradient.positions[order], atol=1e-9)


@pytest.mark.parametrize("repeats", [(2, 1, 1), (1, 2, 3), (3, 3, 3)])
def test_choice_of_supercell(repeats):
    atoms = crystals.skewed_silicon()
    values, gradient = evaluate([atoms], "s")
    copies = int(np.prod(repeats))
    new_values, new_gradient = evaluate([atoms.repeat(repeats)], "s")
    np.testing.assert_allclose(new_values, np.tile(values, (copies, 1)), atol=ATOL)
    np.testing.assert_allclose(
        new_gradient.positions, np.tile(gradient.positions, (copies, 1)), atol=1e-9
    )
    np.testing.assert_allclose(new_gradient.strain, copies * gradient.strain, atol=1e-9 * copies)


def test_choice_of_cell_vectors():
    atoms = crystals.skewed_salt()
    other = atoms.copy()
    other.set_cell(np.array([[1, 0, 0], [3, 1, 0], [-2, 4, 1]]) @ atoms.cell.array)
    np.testing.assert_allclose(evaluate([other], "s")[0], evaluate([atoms], "s")[0], atol=ATOL)


@pytest.mark.parametrize(
    "make", [crystals.skewed_salt, crystals.rattled_slab, crystals.rattled_wire]
)
def test_images_far_outside_the_cell(make):
    atoms = make()
    far = atoms.copy()
    images = np.random.default_rng(3).integers(-500, 500, size=(len(atoms), 3)) * atoms.pbc
    far.positions += images @ atoms.cell.array
    values, gradient = evaluate([atoms], "s")
    new_values, new_gradient = evaluate([far], "s")
    # A position 5000 Angstrom away is itself known to 1e-12.
    np.testing.assert_allclose(new_values, values, atol=1e-10)
    np.testing.assert_allclose(new_gradient.positions, gradient.positions, atol=1e-8)


@pytest.mark.parametrize("orbitals", ["s", "sp"])
def test_batches_equal_one_by_one(orbitals):
    structures = [make(seed) for seed in (0, 1) for make in crystals.ALL]
    values, gradient = evaluate(structures, orbitals)
    alone = [evaluate([atoms], orbitals) for atoms in structures]
    np.testing.assert_allclose(values, np.concatenate([single[0] for single in alone]), atol=ATOL)
    positions = np.concatenate([single[1].positions for single in alone])
    np.testing.assert_allclose(gradient.positions, positions, atol=1e-9)
    np.testing.assert_allclose(
        gradient.strain, np.concatenate([single[1].strain for single in alone]), atol=1e-9
    )


def test_threads_and_memory_budget_change_nothing(monkeypatch):
    atoms = crystals.skewed_silicon().repeat((3, 2, 2))
    features = GaussianOverlap(FingerprintConfig())
    state = to_state([atoms])
    g = torch.randn(
        len(atoms), 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    usual = features.evaluate(state).pull_back(g)
    values_only = features.evaluate(state, pull_back=False)
    torch.testing.assert_close(
        values_only.values, features.evaluate(state).values, atol=ATOL, rtol=0
    )
    with pytest.raises(RuntimeError, match="pull_back=False"):
        values_only.pull_back(g)

    monkeypatch.setattr(gom, "STORED_BYTES", 0)  # everything is computed again in the pull-back
    monkeypatch.setattr(gom, "CHUNK_BYTES_CPU", 2**16)
    torch.set_num_threads(2)
    try:
        unusual = features.evaluate(state).pull_back(g)
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(unusual.positions, usual.positions, atol=1e-9, rtol=0)
    torch.testing.assert_close(unusual.strain, usual.strain, atol=1e-9, rtol=0)


def test_workers_have_one_thread_and_the_caller_keeps_its_own():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        cpu = torch.device("cpu")
        with threads.claim_threads(cpu):
            inside = threads.map_over_threads(lambda _: torch.get_num_threads(), range(12), cpu)
            assert torch.get_num_threads() == 1
        assert set(inside) == {1}
        assert torch.get_num_threads() == 3
        seen_by_others = []
        other = Thread(target=lambda: seen_by_others.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert seen_by_others == [3]
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_equals_cpu():
    structures = [crystals.skewed_salt(), crystals.skewed_silicon()]
    values, gradient = evaluate(structures, "sp")
    on_gpu = fingerprint(structures, length=60, orbitals="sp", device="cuda")
    g = np.random.default_rng(0).normal(size=60) * np.ones_like(values)
    np.testing.assert_allclose(on_gpu.values, values, atol=1e-11)
    np.testing.assert_allclose(on_gpu.pull_back(g).positions, gradient.positions, atol=1e-8)
