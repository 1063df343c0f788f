"""The first labels of each phase tell whether stress is the derivative of the energy."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from cheap_campaign import Bench, Labels, make_bench
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Labelled
from entrove.campaign.stages.check_stress import VolumePair, check_forces, find_volume_pairs
from entrove.errors import CampaignError
from entrove.labelling.config import LabellingConfig
from entrove.sampling.candidates import Candidate, Kind
from entrove.sampling.pools.strained import shear, strain_volume
from entrove.structures import content_hash, read_structures

STOP = {"stress_check": {"on_mismatch": "stop"}}


@pytest.fixture
def bench(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path, monkeypatch)


def summary_of_validation_labels(bench: Bench) -> str:
    labelled = Ledger(bench.files.ledger).find(0, Labelled)
    assert labelled is not None
    return labelled.summary


def test_a_stress_of_the_wrong_sign_stops_after_two_labels(bench: Bench, monkeypatch):
    monkeypatch.setattr(Labels, "stress_factor", -1.0)
    for _ in range(2):  # it stops again, and computes nothing more
        with pytest.raises(CampaignError, match=r"phase fcc: .* the stress has the opposite sign"):
            bench.run(stopping={"rounds": 1}, labelling=STOP)
        assert len(bench.computed) == 2
    strained = read_structures(bench.files.round(0).hold_out)[:2]
    assert sorted(bench.computed) == sorted(content_hash(atoms) for atoms in strained)
    # The user may know better.
    bench.run(stopping={"rounds": 1})
    assert "warning: stress contradicts energy: phase fcc" in summary_of_validation_labels(bench)
    assert len(set(bench.computed)) == len(bench.computed)


def test_labels_that_agree_say_so_and_are_computed_once(bench: Bench):
    bench.run(stopping={"rounds": 1}, labelling=STOP)
    assert "stress and -dE/dV differ by 0.0" in summary_of_validation_labels(bench)
    assert len(set(bench.computed)) == len(bench.computed)


def test_the_pair_is_of_one_cell_at_the_lowest_pressure_and_far_apart():
    copper, gold = bulk("Cu", cubic=True), bulk("Au", cubic=True)

    def candidate(atoms, phase: str, pressure_GPa: float, kind: Kind = "strain") -> Candidate:
        return Candidate(atoms, "validation", kind, phase, pressure_GPa)

    rattled = copper.copy()
    rattled.rattle(0.1, rng=np.random.default_rng(0))
    candidates = [
        candidate(strain_volume(copper, 0.92), "fcc", 10.0),
        candidate(strain_volume(copper, 1.30), "fcc", 10.0),
        candidate(shear(copper, 0.05, (0, 1)), "fcc", 0.0, "shear"),
        candidate(strain_volume(copper, 1.08), "fcc", 0.0),
        candidate(strain_volume(copper, 1.02), "fcc", 0.0),
        candidate(strain_volume(copper, 0.92), "fcc", 0.0),
        candidate(rattled, "fcc", 0.0, "hot_md"),
        candidate(strain_volume(gold, 0.92), "gold", 0.0),
        candidate(strain_volume(rattled, 1.08), "gold", 0.0),
    ]
    assert find_volume_pairs(candidates) == [VolumePair("fcc", 3, 5)]
    assert find_volume_pairs(candidates[2:4]) == []


def snapshots(force_factor: float = 1.0) -> list[Atoms]:
    """Thermal cells of copper, whose forces are multiplied by a factor."""
    labelled = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.06, rng=np.random.default_rng(seed))
        atoms.calc = EMT()
        forces = force_factor * atoms.get_forces()
        energy = atoms.get_potential_energy()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        labelled.append(atoms)
    return labelled


def test_forces_of_the_wrong_sign_or_unit_stop_a_campaign():
    engine = {"name": "ase", "calculator": "ase.calculators.emt:EMT"}
    config = LabellingConfig.model_validate({"engine": engine})
    assert check_forces(config, snapshots()) == "energies follow the forces in 6 pairs"
    assert check_forces(config, snapshots()[:1]) == ""
    for factor, slope in ((-1.0, "-0.9"), (1 / 51.422, "49")):
        with pytest.raises(CampaignError, match=f"energies change by {slope}.* times the work"):
            check_forces(config, snapshots(factor))
    warned = LabellingConfig.model_validate(
        {"engine": engine, "stress_check": {"on_mismatch": "warn"}}
    )
    assert "warning: forces contradict energy" in check_forces(warned, snapshots(-1.0))
