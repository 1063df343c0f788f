"""The biased energy, its forces and its stress in batches; energy conservation."""

import numpy as np
import pytest
import torch
from argon_datasets import FEATURES, dataset_of
from ase import Atoms
from ase.calculators.emt import EMT
from cheap_models import ARGON_SIGMA_A, IdealGas, argon, lennard_jones
from torch_sim.integrators.nve import nve_init, nve_step
from torch_sim.models.lennard_jones import LennardJonesModel
from torch_sim.models.soft_sphere import SoftSphereModel
from torch_sim.units import MetalUnits

from entrove.entropy.functional import Bias
from entrove.entropy.local import LocalEntropy
from entrove.errors import ConfigError, StructureError
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.batch import gather_batch, reduce_atoms
from entrove.sampling.bias.calculator import EntropyCalculator
from entrove.sampling.bias.entropy_bias import EntropyBias
from entrove.units import BOLTZMANN_EV_PER_K

BIASES = {
    "information": dataset_of("information", "per_atom").bias(),
    "information of means": dataset_of("information", "per_config").bias(),
    "paper": dataset_of("paper", "per_atom").bias(),
    "local": Bias(FEATURES, LocalEntropy()),
}


@pytest.fixture(scope="module")
def base():
    return lennard_jones(epsilon_eV=0.05)


def biased(base, biases, kappas, **options):
    return EntropyBias(base, biases, torch.tensor(kappas, dtype=torch.float64), **options)


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return moved


@pytest.mark.parametrize("name", BIASES)
def test_forces_and_stress_are_derivatives_of_the_biased_energy(base, name):
    atoms = argon(5.1, rattle_A=0.2, skew=0.05, seed=1)
    model = biased(base, [BIASES[name]], [0.3])
    result = model(gather_batch([atoms], model))

    def energy(structure):
        return float(model(gather_batch([structure], model))["energy"][0])

    # Central differences in float64: near-degenerate eigenvalues make third derivatives of 1e4
    # eV/A^3, so that h^2 f''' / 6 is 1e-7 eV/A at h = 1e-5 A, where rounding, eps E / h, is 1e-10
    # eV/A.
    h = 1e-5
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * h
            ends.append(energy(moved))
        slope = -(ends[0] - ends[1]) / (2 * h)
        assert float(result["forces"][atom, axis]) == pytest.approx(slope, rel=1e-5, abs=1e-6)
    for i, j in ((0, 0), (1, 1), (0, 1), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] += h / 2
        strain[j, i] += h / 2
        slope = (energy(strained(atoms, strain)) - energy(strained(atoms, -strain))) / (2 * h)
        expected = float(result["stress"][0, i, j]) * atoms.get_volume()
        assert expected == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_energy_is_base_minus_kappa_times_entropy(base):
    atoms = [argon(5.1, rattle_A=0.2, seed=seed) for seed in range(3)]
    model = biased(base, [BIASES["paper"]] * 3, [0.1, 0.5, 2.0])
    result = model(gather_batch(atoms, model))
    plain = base(gather_batch(atoms, base))
    torch.testing.assert_close(result["base_energy"], plain["energy"], rtol=0, atol=0)
    torch.testing.assert_close(result["base_forces"], plain["forces"], rtol=0, atol=0)
    kappas = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    expected = plain["energy"] - kappas * result["entropy"]
    torch.testing.assert_close(result["energy"], expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("bias", [None, BIASES["information"]])
def test_without_strength_the_model_is_the_base_to_the_last_bit(base, bias):
    atoms = [argon(5.1, rattle_A=0.2, seed=seed) for seed in range(2)]
    model = biased(base, [bias] * 2, [0.0, 0.0])
    result, plain = model(gather_batch(atoms, model)), base(gather_batch(atoms, base))
    for key in ("energy", "forces", "stress"):
        assert torch.equal(result[key], plain[key])
    assert result["entropy"].isnan().all()


def test_each_system_has_its_own_entropy_and_strength(base):
    """A batch of unlike systems equals each of them alone."""
    atoms = [
        argon(5.1, rattle_A=0.2, seed=1),
        argon(5.3, seed=2).repeat((2, 1, 1)),
        argon(5.0, rattle_A=0.1),
        argon(),
    ]
    atoms[1].rattle(0.1, seed=5)
    biases = [BIASES["paper"], BIASES["local"], None, BIASES["paper"]]
    kappas = [0.5, 0.1, 0.0, 1.0]
    model = biased(base, biases, kappas)
    together = model(gather_batch(atoms, model))
    first = 0
    for row, structure in enumerate(atoms):
        single = biased(base, biases[row : row + 1], kappas[row : row + 1])
        alone = single(gather_batch([structure], single))
        rows = slice(first, first + len(structure))
        first += len(structure)
        torch.testing.assert_close(
            together["forces"][rows], alone["forces"], rtol=1e-9, atol=1e-11
        )
        for key in ("energy", "stress", "entropy", "entropy_slope"):
            torch.testing.assert_close(
                together[key][row], alone[key][0], rtol=1e-9, atol=1e-11, equal_nan=True, msg=key
            )


def test_the_bound_holds_for_every_atom_and_keeps_force_and_stress_together(base):
    atoms = [argon(5.1, rattle_A=0.2, seed=1), argon(5.1, rattle_A=0.2, seed=2)]
    bound = torch.tensor([0.01, torch.inf], dtype=torch.float64)
    free = biased(base, [BIASES["information"]] * 2, [0.5, 0.5])
    model = biased(
        base, [BIASES["information"]] * 2, [0.5, 0.5], largest_bias_force_eV_per_A=bound
    )
    state = gather_batch(atoms, model)
    result, unbounded = model(state), free(state)
    bias = result["forces"] - result["base_forces"]
    assert float(bias[:4].norm(dim=1).max()) == pytest.approx(0.01, rel=1e-9)
    assert float(bias[:4].sum(dim=0).norm()) < 1e-12
    scale = result["kappa_eV"] / unbounded["kappa_eV"]
    assert float(scale[0]) < 1
    assert float(scale[1]) == 1
    plain = base(state)
    for key in ("stress", "energy"):
        change, full = result[key] - plain[key], unbounded[key] - plain[key]
        torch.testing.assert_close(change[0], full[0] * scale[0], rtol=1e-9, atol=1e-12)


def test_the_bound_on_the_virial_holds_and_keeps_force_and_stress_together(base):
    atoms = [argon(5.1, rattle_A=0.2, seed=1), argon(5.1, rattle_A=0.2, seed=2)]
    bound = torch.tensor([0.05, 1e6], dtype=torch.float64)
    free = biased(base, [BIASES["information"]] * 2, [0.5, 0.5])
    model = biased(base, [BIASES["information"]] * 2, [0.5, 0.5], largest_bias_virial_eV=bound)
    state = gather_batch(atoms, model)
    result, unbounded, plain = model(state), free(state), base(state)
    virial = (result["stress"] - plain["stress"]) * state.volume[:, None, None]
    assert float(virial[0].norm()) == pytest.approx(0.05, rel=1e-9)
    scale = float(result["kappa_eV"][0] / unbounded["kappa_eV"][0])
    assert 0 < scale < 1
    for key in ("forces", "stress", "energy"):
        change, full = result[key] - plain[key], unbounded[key] - plain[key]
        rows = 4 if key == "forces" else 1
        torch.testing.assert_close(change[:rows], full[:rows] * scale, rtol=1e-9, atol=1e-12)
        # A bound that is not reached changes no bit.
        assert torch.equal(result[key][rows:], unbounded[key][rows:])


def test_a_system_that_is_not_finite_does_not_take_the_others_down(base):
    model = biased(base, [BIASES["paper"]] * 2, [0.5, 0.5])
    state = gather_batch(
        [argon(5.1, rattle_A=0.2, seed=1), argon(5.1, rattle_A=0.2, seed=2)], model
    )
    good = model(state)
    state.positions[5] = torch.nan
    result = model(state)
    torch.testing.assert_close(result["forces"][:4], good["forces"][:4], rtol=1e-9, atol=1e-11)
    assert result["energy"][1].isnan()


@pytest.mark.parametrize("broken", ["coincident", "flat"])
def test_a_system_without_features_does_not_take_the_others_down(base, broken):
    """What has no features has no bias, and an energy by which the guards end it."""
    model = biased(base, [BIASES["paper"], None, BIASES["paper"]], [0.5, 0.0, 0.5])
    state = gather_batch([argon(5.1, rattle_A=0.2, seed=seed) for seed in range(3)], model)
    good = model(state)
    if broken == "coincident":
        state.positions[9] = state.positions[8]
    else:
        state.cell[2, :, 2] = state.cell[2, :, 1]
    with pytest.raises(StructureError, match=r"at one place|no volume"):
        FEATURES.evaluate(state)
    slope = model._slope(state)
    assert slope.entropy.isnan().tolist() == [False, True, True]
    assert float(slope.positions[8:].abs().max()) == 0.0
    torch.testing.assert_close(slope.entropy[0], good["entropy"][0], rtol=1e-9, atol=0)
    if broken == "coincident":
        result = model(state)
        torch.testing.assert_close(result["forces"][:8], good["forces"][:8], rtol=1e-9, atol=1e-11)
        assert result["energy"].isnan().tolist() == [False, False, True]
    alone = biased(base, [BIASES["paper"]], [0.5])
    assert alone._slope(state[2]).entropy.isnan().all()


def test_a_molecule_without_a_cell_has_finite_results(base):
    atoms = argon(5.1, rattle_A=0.2, seed=1)
    atoms.pbc, atoms.cell = False, None
    for kappa in (0.0, 0.5):
        model = biased(base, [BIASES["paper"]], [kappa])
        slope = model._slope(gather_batch([atoms], model))
        assert bool(slope.positions.isfinite().all())
        stressed = biased(IdealGas(), [BIASES["paper"]], [kappa])
        result = stressed(gather_batch([atoms], stressed))
        for key in ("energy", "forces", "stress"):
            assert bool(result[key].isfinite().all()), key


def test_for_dataset_is_the_dataset_with_its_own_features(base):
    dataset = dataset_of("information", "per_atom")
    atoms = [argon(5.1, rattle_A=0.2, seed=seed) for seed in range(2)]
    for kappa in (0.3, [0.3, 0.0]):
        model = EntropyBias.for_dataset(base, dataset, kappa, systems=2)
        expected = biased(base, [dataset.bias()] * 2, [0.3, 0.3] if kappa == 0.3 else kappa)
        state = gather_batch(atoms, model)
        for key in ("energy", "forces", "stress"):
            assert torch.equal(model(state)[key], expected(state)[key])
    for number in (np.float32(0.5), np.int64(1), np.array(0.5)):
        one = EntropyBias.for_dataset(base, dataset, number, systems=2)
        assert one.kappa_eV.tolist() == [float(number)] * 2
    with pytest.raises(ConfigError, match="2 biases but 1 strengths"):
        EntropyBias.for_dataset(base, dataset, [0.3], systems=2)
    with pytest.raises(ConfigError, match="give a finite strength of zero or more"):
        EntropyBias.for_dataset(base, dataset, -0.3, systems=2)


@pytest.mark.parametrize("entropy", ["information", "paper"])
def test_features_of_another_kind_are_refused(entropy):
    dataset = dataset_of(entropy, "per_atom")
    other = GaussianOverlap(FingerprintConfig(cutoff_A=3.5, length=24))
    for source in (dataset, dataset.bias()):
        with pytest.raises(ConfigError, match=r"features \(cutoff_A: stored 5.0, given 3.5\)"):
            EntropyCalculator(EMT(), source, features=other)
        EntropyCalculator(EMT(), source, features=GaussianOverlap(FEATURES.config))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_features_on_another_device_than_the_model(where):
    """Fingerprints on the CPU under a model on the GPU, and the other way round."""
    other = "cuda" if where == "cpu" else "cpu"
    dataset = dataset_of("information", "per_atom")
    features = GaussianOverlap(FEATURES.config, device=where)
    atoms = [argon(5.1, rattle_A=0.2, seed=seed) for seed in range(3)]
    results = []
    for base_device, map_ in ((other, features), ("cpu", FEATURES)):
        model = EntropyBias(
            LennardJonesModel(
                sigma=ARGON_SIGMA_A,
                epsilon=0.05,
                cutoff=2.2 * ARGON_SIGMA_A,
                compute_stress=True,
                dtype=torch.float64,
                device=torch.device(base_device),
            ),
            [Bias(map_, dataset.bias().entropy), None, Bias(map_, LocalEntropy())],
            torch.tensor([0.3, 0.0, 0.1]).double(),
        )
        results.append(model(gather_batch(atoms, model)))
    for key in ("energy", "forces", "stress"):
        torch.testing.assert_close(results[0][key].cpu(), results[1][key], rtol=1e-9, atol=1e-10)


def test_wrong_shapes_are_refused(base):
    with pytest.raises(ConfigError, match="1 biases but 2 strengths"):
        biased(base, [None], [0.0, 1.0])
    model = biased(base, [None], [0.0])
    with pytest.raises(ConfigError, match="a batch of 2 systems but 1 biases"):
        model(gather_batch([argon(), argon()], model))


# --- energy conservation with kappa and dataset frozen ---


def total_energies(model, atoms, timestep_fs, duration_fs):
    """Kinetic plus biased potential energy of each system along an NVE run, in eV."""
    state = gather_batch(atoms, model)
    state.rng = torch.Generator().manual_seed(0)
    md = nve_init(state, model, kT=60.0 * BOLTZMANN_EV_PER_K)
    totals = []
    for _ in range(round(duration_fs / timestep_fs)):
        md = nve_step(md, model, dt=timestep_fs * 1e-3 * MetalUnits.time)
        kinetic = md.momenta.square().sum(dim=1) / (2 * md.masses)
        totals.append(md.energy + reduce_atoms(kinetic, md, reduce="sum"))
    return torch.stack(totals)


def test_batched_nve_conserves_the_biased_energy():
    # Smooth up to the second derivative at its cutoff; a truncated Lennard-Jones well jumps there.
    base = SoftSphereModel(
        sigma=4.6, epsilon=3.0, alpha=3.0, compute_stress=True, dtype=torch.float64
    )
    atoms = [argon(5.1, rattle_A=0.1, seed=seed) for seed in range(4)]
    biases = [BIASES["information"], BIASES["paper"], BIASES["local"], None]
    model = biased(base, biases, [0.01, 0.5, 0.005, 0.0])
    coarse = total_energies(model, atoms, 1.0, 100.0)
    fine = total_energies(model, atoms, 0.5, 100.0)
    # Velocity Verlet is of second order: half the step, a quarter of the fluctuation.
    ratio = coarse.std(dim=0) / fine.std(dim=0)
    assert float(ratio.min()) > 3, ratio
    # Drift: between the means of the first and the last half, which are 0.05 ps apart.
    half = len(fine) // 2
    drift = (fine[half:].mean(dim=0) - fine[:half].mean(dim=0)).abs() / 4 / 0.05
    # 0.1 meV/atom/ps, a tenth of what sampling promises for a model in float32 at 1 fs.
    assert float(drift.max()) < 1e-4, drift
