import numpy as np
import pytest
from ase.build import bulk

from entrove.labelling.cost import CostModel
from entrove.labelling.engines.gpaw import Gpaw

SILICON = [bulk("Si", cubic=True) * (1, 1, repeat) for repeat in (1, 2, 3, 4)]


def test_electrons_are_counted_outside_noble_gas_cores():
    engine = Gpaw()
    assert engine.electrons(bulk("Si", cubic=True)) == 32
    assert engine.electrons(bulk("NaCl", "rocksalt", a=5.64)) == 8
    assert engine.electrons(bulk("Cu")) == 11


def test_without_labels_the_guess_is_the_reference_and_is_said_to_be_rough():
    engine = Gpaw(cutoff_eV=300.0, kpoint_spacing_per_A=0.35)
    estimate = CostModel(engine).predict(SILICON[0])
    assert engine.kpoints(SILICON[0]) == 32
    # Measured: 21 s on one core.
    assert estimate.seconds == pytest.approx(20.0)
    assert estimate.factor > 3


def test_the_law_that_made_the_times_is_learnt():
    """Times with 20 % scatter around 3e-3 electrons^2 kpoints^0.8 are predicted within 10 %."""
    engine = Gpaw(kpoint_spacing_per_A=0.35)
    rng = np.random.default_rng(0)

    def law(electrons: int, kpoints: int) -> float:
        return 3e-3 * electrons**2 * kpoints**0.8

    costs = []
    for _ in range(200):
        electrons, kpoints = int(rng.integers(8, 200)), int(rng.integers(1, 60))
        costs.append(
            (1, electrons, kpoints, law(electrons, kpoints) * float(np.exp(rng.normal(0, 0.2))))
        )
    model = CostModel(engine, costs)
    for atoms in SILICON:
        estimate = model.predict(atoms)
        assert estimate.seconds == pytest.approx(
            law(engine.electrons(atoms), engine.kpoints(atoms)), rel=0.1
        )
        assert 1.2 < estimate.factor < 1.3


def test_a_few_labels_of_one_size_set_the_scale():
    engine = Gpaw(kpoint_spacing_per_A=0.35)
    model = CostModel(engine, [(8, 32, 32, 60.0)] * 5)
    assert model.predict(SILICON[0]).seconds == pytest.approx(60.0, rel=0.05)
    # Four times the electrons and a quarter of the k-points.
    assert model.predict(SILICON[3]).seconds > 2 * model.predict(SILICON[0]).seconds


def test_a_budget_adds_up_and_no_worker_can_split_a_label():
    model = CostModel(Gpaw(kpoint_spacing_per_A=0.35), [(8, 32, 32, 36.0)] * 50)
    budget = model.budget([SILICON[0]] * 100, workers=4, cores_per_worker=2)
    assert budget.core_hours == pytest.approx(2.0, rel=0.02)
    assert budget.wall_hours == pytest.approx(0.25, rel=0.02)
    assert budget.disk_MB == pytest.approx(20.0)
    assert model.budget([SILICON[0]], workers=100).wall_hours == pytest.approx(0.01, rel=0.02)
