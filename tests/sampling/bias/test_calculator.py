"""The biased energy as an ASE calculator: equal to the torch-sim model, and never outdated."""

import numpy as np
import pytest
import torch
from argon_datasets import FEATURES, dataset_of
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet
from cheap_models import ARGON_SIGMA_A, argon, lennard_jones

from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.functional import Bias
from entrove.entropy.local import LocalEntropy
from entrove.errors import ConfigError, StructureError
from entrove.sampling.batch import gather_batch
from entrove.sampling.bias.calculator import EntropyCalculator
from entrove.sampling.bias.entropy_bias import EntropyBias


def ase_lennard_jones() -> LennardJones:
    # ASE shifts its potential to zero at the cutoff; forces and stress are those of torch-sim.
    return LennardJones(sigma=ARGON_SIGMA_A, epsilon=0.05, rc=2.2 * ARGON_SIGMA_A)


SHAPES = {
    "bulk": (True, True, True),
    "slab": (True, True, False),
    "wire": (False, False, True),
    "molecule": (False, False, False),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("symbols", ["Ar4", "ArNeAr2"])
@pytest.mark.parametrize(
    ("entropy", "mode"),
    [
        (entropy, mode)
        for entropy in ("information", "paper")
        for mode in ("per_atom", "per_config")
    ]
    + [("local", "per_atom")],
)
def test_calculator_and_batched_model_agree(entropy, mode, shape, symbols):
    base = lennard_jones(epsilon_eV=0.05)
    atoms = argon(5.1, rattle_A=0.2, skew=0.05, seed=1)
    atoms.symbols, atoms.pbc = symbols, SHAPES[shape]
    if entropy == "local":
        calculator = EntropyCalculator(
            ase_lennard_jones(), LocalEntropy(), kappa_eV=0.7, features=FEATURES
        )
        bias = Bias(FEATURES, LocalEntropy())
        model = EntropyBias(base, [bias], torch.tensor([0.7], dtype=torch.float64))
    else:
        dataset = dataset_of(entropy, mode)
        neon = argon(5.3, rattle_A=0.2, seed=40)
        neon.symbols = "Ne2Ar2"
        if symbols != "Ar4":
            dataset.calibrate([neon, argon(5.2, rattle_A=0.2, seed=41)])
            dataset.add([neon])
        calculator = EntropyCalculator(ase_lennard_jones(), dataset, kappa_eV=0.7)
        model = EntropyBias.for_dataset(base, dataset, 0.7, systems=1)
    atoms.calc = calculator
    batch = model(gather_batch([atoms], model))
    np.testing.assert_allclose(atoms.get_forces(), batch["forces"], atol=1e-10)
    if shape != "molecule":
        np.testing.assert_allclose(atoms.get_stress(voigt=False), batch["stress"][0], atol=1e-11)
    bias = atoms.get_potential_energy() - atoms.calc.results["base_energy"]
    assert bias == pytest.approx(float(batch["energy"][0] - batch["base_energy"][0]), abs=1e-10)
    assert atoms.calc.results["entropy"] == pytest.approx(float(batch["entropy"][0]), abs=1e-10)


QUESTIONS = {
    "energy": lambda atoms: atoms.get_potential_energy(),
    "free energy": lambda atoms: atoms.get_potential_energy(force_consistent=True),
    "forces": lambda atoms: atoms.get_forces(),
    "stress": lambda atoms: atoms.get_stress(),
    "entropy": lambda atoms: atoms.calc.get_property("entropy", atoms),
}


@pytest.mark.parametrize(
    "order", [list(QUESTIONS), list(QUESTIONS)[::-1], ["stress", "energy", "forces"]]
)
def test_no_order_of_questions_gets_an_unbiased_or_an_old_value(order):
    dataset = dataset_of("information", "per_atom")
    base = ase_lennard_jones()
    atoms = argon(5.1, rattle_A=0.2, seed=1)
    atoms.calc = EntropyCalculator(base, dataset, kappa_eV=0.7)
    base.get_potential_energy(atoms)  # the base has cached unbiased values of these very atoms

    def expect(name):
        fresh = atoms.copy()
        fresh.calc = EntropyCalculator(ase_lennard_jones(), dataset, kappa_eV=atoms.calc.kappa_eV)
        np.testing.assert_array_equal(QUESTIONS[name](atoms), QUESTIONS[name](fresh), err_msg=name)
        plain = fresh.copy()
        plain.calc = ase_lennard_jones()
        if name != "entropy":
            assert not np.allclose(QUESTIONS[name](atoms), QUESTIONS[name](plain), rtol=1e-6), name

    for name in order:
        expect(name)
    atoms.calc.kappa_eV = 1.9
    for name in order:
        expect(name)
    dataset.add([argon(5.2, rattle_A=0.3, seed=77)])
    for name in order:
        expect(name)
    atoms.positions[0, 0] += 0.05
    for name in order:
        expect(name)


CHANGES = {
    "kappa": lambda calc: setattr(calc, "kappa_eV", 1.9),
    "members": lambda calc: calc.dataset.add([argon(5.2, rattle_A=0.3, seed=77)]),
    "dataset": lambda calc: setattr(calc, "dataset", dataset_of("paper", "per_atom")),
    "entropy": lambda calc: setattr(calc, "dataset", dataset_of("paper", "per_atom").bias()),
    "parameters": lambda calc: calc.base.set(epsilon=0.08),
    "base": lambda calc: setattr(calc, "base", LennardJones(sigma=3.0, epsilon=0.05, rc=7.0)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("with_atoms", [True, False])
def test_no_change_is_missed_with_or_without_atoms(change, with_atoms):
    atoms = argon(5.1, rattle_A=0.2, seed=1)
    calc = EntropyCalculator(
        ase_lennard_jones(), dataset_of("information", "per_atom"), kappa_eV=0.7
    )
    asked = atoms if with_atoms else None
    before = calc.get_potential_energy(atoms)
    assert calc.get_potential_energy(asked) == before
    CHANGES[change](calc)
    fresh = EntropyCalculator(calc.base, calc.dataset, kappa_eV=calc.kappa_eV)
    assert calc.get_potential_energy(asked) == fresh.get_potential_energy(atoms) != before
    np.testing.assert_array_equal(calc.get_forces(asked), fresh.get_forces(atoms))
    np.testing.assert_array_equal(calc.get_stress(asked), fresh.get_stress(atoms))


def test_a_question_without_any_structure_is_refused():
    calc = EntropyCalculator(EMT(), EntropyDataset("paper", features=FEATURES))
    with pytest.raises(StructureError, match="no structure is known yet; ask an"):
        calc.get_potential_energy()


def test_an_entropy_without_a_dataset_needs_features():
    with pytest.raises(ConfigError, match="an entropy needs a feature map; pass features="):
        EntropyCalculator(EMT(), LocalEntropy())


def test_the_calculator_refuses_atoms_at_one_place():
    atoms = argon(5.1)
    atoms.positions[1] = atoms.positions[0] + (5e-5, 0.0, 0.0)
    atoms.calc = EntropyCalculator(ase_lennard_jones(), dataset_of("paper", "per_atom"))
    with pytest.raises(StructureError, match="at one place"):
        atoms.get_potential_energy()


def test_results_of_the_base_are_not_changed():
    atoms = argon(5.1, rattle_A=0.2, seed=1)
    base = ase_lennard_jones()
    alone = base.get_forces(atoms).copy()
    atoms.calc = EntropyCalculator(base, dataset_of("paper", "per_atom"), kappa_eV=2.0)
    atoms.get_forces()
    np.testing.assert_array_equal(base.results["forces"], alone)
    np.testing.assert_array_equal(atoms.calc.results["base_forces"], alone)


def test_zero_strength_is_the_base():
    atoms = argon(3.7, rattle_A=0.1, seed=1, symbol="Cu")
    dataset = EntropyDataset("paper", features=FEATURES)
    atoms.calc = EntropyCalculator(EMT(), dataset, kappa_eV=0.0)
    plain = atoms.copy()
    plain.calc = EMT()
    assert atoms.get_potential_energy() == plain.get_potential_energy()
    np.testing.assert_array_equal(atoms.get_forces(), plain.get_forces())


def test_a_molecule_has_no_stress():
    atoms = argon(5.1, rattle_A=0.2, seed=1)
    atoms.pbc = False
    atoms.calc = EntropyCalculator(ase_lennard_jones(), dataset_of("paper", "per_atom"))
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError, match="stress"):
        atoms.get_stress()


@pytest.mark.parametrize("kappa", [-1.0, float("nan"), float("inf")])
def test_a_strength_must_be_finite_and_not_negative(kappa):
    with pytest.raises(ConfigError, match="give a finite strength of zero or more"):
        EntropyCalculator(EMT(), EntropyDataset("paper", features=FEATURES), kappa_eV=kappa)


def test_ase_nve_conserves_the_biased_energy():
    spans = []
    for timestep_fs in (2.0, 1.0):
        atoms = argon(5.1, rattle_A=0.15, seed=1)
        dataset = dataset_of("paper", "per_atom")
        atoms.calc = EntropyCalculator(ase_lennard_jones(), dataset, kappa_eV=0.5)
        totals = []
        dynamics = VelocityVerlet(atoms, timestep=timestep_fs * units.fs)
        for _ in range(round(80 / timestep_fs)):
            dynamics.run(1)
            totals.append(atoms.get_total_energy())
        spans.append(np.ptp(totals))
    assert spans[1] < spans[0] / 3
    assert spans[1] < 1e-3
