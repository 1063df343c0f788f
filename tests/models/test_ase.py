import logging

import numpy as np
import pytest
import torch
import torch_sim
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from torch_sim.models.lennard_jones import LennardJonesModel
from trial_structures import rattled

from entrove.errors import ModelError
from entrove.models.ase import OneByOneCalculator, SerialModel, atoms_of, from_calculator
from entrove.models.failures import failures_of
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.sampling.bias.entropy_bias import EntropyBias


def copper_cells() -> list[Atoms]:
    cubic = bulk("Cu", "fcc", a=3.6, cubic=True)
    return [rattled(bulk("Cu", "fcc", a=3.6), 0), rattled(cubic.repeat(2), 1), rattled(cubic, 2)]


class LimitedEMT(EMT):
    """Copper of a calculator that gives up on strong forces, as one with a failing SCF does."""

    def __init__(self, largest_force_eV_per_A: float) -> None:
        super().__init__()
        self.largest_force_eV_per_A = largest_force_eV_per_A

    def calculate(self, *args, **kwargs) -> None:
        super().calculate(*args, **kwargs)
        if np.linalg.norm(self.results["forces"], axis=1).max() > self.largest_force_eV_per_A:
            raise RuntimeError("SCF did not\n converge")


def as_batch(*structures: Atoms) -> torch_sim.SimState:
    return torch_sim.initialize_state(list(structures), torch.device("cpu"), torch.float64)


class LennardJonesWithoutStress(LennardJones):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012


def argon_for_torch_sim() -> LennardJonesModel:
    return LennardJonesModel(
        sigma=3.4,
        epsilon=0.0104,
        cutoff=5.0,
        dtype=torch.float64,
        compute_forces=True,
        compute_stress=True,
    )


class FileEMT(BaseCalculator):
    """EMT as ASE's calculators of programs are made: `Espresso` is no `Calculator` either."""

    implemented_properties = EMT.implemented_properties

    def calculate(self, atoms, properties, system_changes) -> None:
        inner = LimitedEMT(largest_force_eV_per_A=5.0)
        self.results = {"energy": 1e6}  # what a failing calculation leaves behind
        inner.calculate(atoms, properties, system_changes)
        self.results = inner.results


def an_unlucky_factory():
    raise RuntimeError("no licence")


@pytest.mark.parametrize(
    ("make", "structures"),
    [
        (EMT, copper_cells()),
        (lambda: LennardJones(sigma=2.4, epsilon=0.1, rc=6.0), copper_cells()),
        (EMT, [rattled(molecule("CH3CH2OH"), 3), rattled(molecule("H2O"), 4)]),
    ],
    ids=["EMT", "Lennard-Jones", "EMT molecules"],
)
def test_the_door_for_calculators_gives_what_ase_gives(make, structures):
    # The same code evaluates the same doubles: equal to the last digit but for a cell inversion.
    for ours, atoms in zip(predict(from_calculator(make()), structures), structures, strict=True):
        theirs = atoms.copy()
        theirs.calc = make()
        assert ours.get_potential_energy() == pytest.approx(
            theirs.get_potential_energy(), abs=1e-10
        )
        np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-10)
        if atoms.pbc.all():
            np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-10)


def test_it_says_that_it_is_serial(caplog):
    with caplog.at_level(logging.WARNING):
        model = load("ase.calculators.emt:EMT")
    assert not model.batched
    assert (
        "ase.calculators.emt:EMT is an ASE calculator: systems are evaluated one after the other"
        in caplog.text
    )


def test_a_calculator_without_stress_gives_none():
    model = from_calculator(LennardJonesWithoutStress(sigma=2.4, epsilon=0.1))
    assert not model.model.compute_stress
    labelled = predict(model, copper_cells())[0]
    assert set(labelled.calc.results) == {"energy", "forces"}


def test_what_a_calculator_raises_names_the_model_and_the_structure():
    model = from_calculator(EMT(), name="ase.calculators.emt:EMT")
    with pytest.raises(
        ModelError, match=r"emt:EMT cannot evaluate Si2 \(NotImplementedError: .*Si"
    ):
        predict(model, [bulk("Si")])
    assert predict(model, [bulk("Cu")])


@pytest.mark.parametrize("make", [lambda: LimitedEMT(5.0), FileEMT])
def test_a_structure_that_fails_is_not_finite_and_changes_nothing_of_the_others(make):
    calm, wild = rattled(bulk("Cu", a=3.6), 0, 0.02), rattled(bulk("Cu", a=2.2, cubic=True), 0)
    broken = calm.copy()
    broken.positions[0, 0] = np.nan
    model = SerialModel(make())
    alone = model(as_batch(calm))
    assert model.failures == {}
    results = model(as_batch(wild, calm, broken))
    assert (
        model.failures
        == failures_of(EntropyBias.unbiased(model, 3))
        == {0: "RuntimeError: SCF did not converge"}
    )
    for name, value in results.items():
        system = torch.arange(3) if name != "forces" else as_batch(wild, calm, broken).system_idx
        assert value[system != 1].isnan().all(), name
        torch.testing.assert_close(value[system == 1], alone[name], rtol=0, atol=0)
    model(as_batch(calm))
    assert model.failures == {}


def test_a_calculator_of_a_program_is_loaded_as_any_other():
    (found,) = predict(load(f"{__name__}:FileEMT", device="cpu"), [copper_cells()[0]])
    (known,) = predict(from_calculator(EMT()), [copper_cells()[0]])
    assert found.get_potential_energy() == known.get_potential_energy()


def test_what_fails_for_every_structure_or_at_first_is_an_error_with_its_cause():
    calm, wild = rattled(bulk("Cu", a=3.6), 0, 0.02), rattled(bulk("Cu", a=2.2, cubic=True), 0)
    model = SerialModel(LimitedEMT(5.0), "lazy")
    message = r"lazy cannot evaluate Cu4 \(RuntimeError: SCF did not converge\); evaluate this"
    with pytest.raises(ModelError, match=message):
        model(as_batch(calm, wild))
    model(as_batch(calm))
    with pytest.raises(ModelError, match=message):
        model(as_batch(wild, wild))
    # Silicon was never evaluated: the calculator does not know it.
    with pytest.raises(ModelError, match="cannot evaluate Si2"):
        model(as_batch(calm, bulk("Si")))
    # A prediction that is missing is an error, wherever it is in the list.
    with pytest.raises(ModelError, match=message):
        predict(from_calculator(model.calculator, name="lazy"), [calm, calm, wild])
    lenient = from_calculator(model.calculator, name="lazy")
    predict(lenient, [calm])
    with pytest.raises(ModelError, match=message):
        predict(lenient, [calm, calm, wild])


def test_a_batch_survives_the_way_to_ase_and_back():
    slab = bulk("Cu", "fcc", a=3.6, cubic=True)
    slab.pbc = (True, True, False)
    structures = [rattled(slab, 5), rattled(slab.repeat((2, 1, 1)), 6)]
    for back, atoms in zip(
        atoms_of(torch_sim.initialize_state(structures, torch.device("cpu"), torch.float64)),
        structures,
        strict=True,
    ):
        assert back == atoms


def test_a_torch_sim_model_by_import_path_and_as_a_calculator():
    model = load("test_ase:argon_for_torch_sim")
    assert model.batched
    crystal = rattled(bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2), 7)
    ours = predict(model, [crystal])[0]
    crystal.calc = model.calculator()
    assert isinstance(crystal.calc, OneByOneCalculator)
    assert ours.get_potential_energy() == pytest.approx(crystal.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(ours.get_stress(), crystal.get_stress(), atol=1e-12)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no.such.module:EMT", "ModuleNotFoundError"),
        ("ase.calculators.emt:Nothing", "AttributeError"),
        ("test_ase:an_unlucky_factory", "RuntimeError: no licence"),
        ("builtins:dict", "gives dict; an ASE calculator, a torch-sim model"),
    ],
)
def test_what_is_no_calculator_is_refused(path, message):
    with pytest.raises(ModelError, match=message):
        load(path)
