"""What denser k-points change in labels, and which engines have denser ones."""

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from entrove.errors import LabelError
from entrove.labelling.engines import AseCalculator, Cp2k, Espresso, Gpaw, Vasp
from entrove.labelling.engines.base import Engine
from entrove.labelling.engines.mlip import Mlip
from entrove.labelling.kpoint_check import (
    KpointCheckSettings,
    KpointComparison,
    KpointDifference,
    compare_kpoints,
)
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.structures import content_hash


def rattled() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, rng=np.random.default_rng(3))
    return atoms


def label_of(atoms: Atoms, seconds: float = 0.0, **arguments: bool) -> Label:
    copy = atoms.copy()
    copy.calc = EMT(**arguments)
    return Label(
        content_hash(atoms),
        "level",
        Outcome.CONVERGED,
        energy_eV=copy.get_potential_energy(),
        forces_eV_per_A=copy.get_forces(),
        stress_eV_per_A3=copy.get_stress(voigt=False),
        engine_seconds=seconds,
    )


def test_differences_are_those_of_ase():
    atoms = rattled()
    one, other = atoms.copy(), atoms.copy()
    one.calc, other.calc = EMT(), EMT(asap_cutoff=True)
    found = compare_kpoints(
        "fcc", 900.0, (label_of(atoms, 2.0), label_of(atoms, 5.0, asap_cutoff=True)), (14, 63)
    )
    energies = [each.get_potential_energy() for each in (one, other)]
    assert found.energy_meV_per_atom == pytest.approx(1e3 * (energies[1] - energies[0]) / 4)
    assert found.force_meV_per_A == pytest.approx(
        1e3 * np.mean(np.abs(other.get_forces() - one.get_forces()))
    )
    assert found.stress_meV_per_A3 == pytest.approx(
        1e3 * np.mean(np.abs(other.get_stress() - one.get_stress()))
    )
    assert found.times_as_long == pytest.approx(2.5)
    assert min(abs(found.energy_meV_per_atom), found.force_meV_per_A) > 0  # not all zeros


def test_labels_of_two_structures_or_without_numbers_are_refused():
    atoms, other = rattled(), bulk("Cu", cubic=True)
    with pytest.raises(LabelError, match="not of one structure"):
        compare_kpoints("fcc", None, (label_of(atoms), label_of(other)), (1, 2))
    failed = Label(content_hash(atoms), "level", Outcome.CRASHED, "out of memory")
    with pytest.raises(LabelError, match=r"has no energy \(out of memory\)"):
        compare_kpoints("fcc", None, (label_of(atoms), failed), (1, 2))


def difference(energy: float = 0.0, force: float = 0.0, stress: float | None = 0.0):
    return KpointDifference(
        phase="beta-tin",
        temperature_K=900.0,
        kpoints=32,
        denser_kpoints=63,
        energy_meV_per_atom=energy,
        force_meV_per_A=force,
        stress_meV_per_A3=stress,
        times_as_long=2.5,
    )


@pytest.mark.parametrize(
    ("numbers", "beyond"),
    [
        ((2.0, 20.0, 3.0), False),
        ((-2.0, 20.0, None), False),
        ((2.1, 0.0, 0.0), True),
        ((-2.1, 0.0, 0.0), True),
        ((0.0, 20.1, 0.0), True),
        ((0.0, 0.0, 3.1), True),
        ((math.nan, 0.0, 0.0), True),
        ((0.0, math.nan, 0.0), True),
    ],
)
def test_each_quantity_has_its_limit(numbers: tuple[float, float, float | None], beyond: bool):
    found = KpointComparison(
        settings=KpointCheckSettings(), differences=(difference(), difference(*numbers))
    )
    assert len(found.beyond) == beyond
    assert ("not converged" in found.describe()) == beyond


def test_it_is_stored_as_json():
    found = KpointComparison(
        settings=KpointCheckSettings(), differences=(difference(3.0, 1.0, None), difference())
    )
    assert KpointComparison.model_validate_json(found.model_dump_json()) == found


def test_the_warning_names_what_is_beyond_its_price_and_the_limits():
    found = KpointComparison(
        settings=KpointCheckSettings(),
        differences=(
            difference(energy=4.2, force=40.1, stress=8.6),
            difference().model_copy(update={"phase": "diamond"}),
        ),
    )
    text = found.describe()
    assert "beta-tin: 4.2 meV/atom, 40 meV/A, 8.6 meV/A^3" in text
    assert "up to 2.5 times as long" in text
    assert "limits 2 meV/atom, 20 meV/A, 3 meV/A^3" in text
    assert "diamond" not in text


ENGINES = [
    Gpaw(kpoint_spacing_per_A=0.35),
    Espresso(
        command="pw.x",
        pseudopotential_folder="data",
        pseudopotentials={"Si": "Si.UPF"},
        cutoff_eV=400,
        kpoint_spacing_per_A=0.35,
    ),
    Vasp(command="vasp", potential_folder="data", kpoint_spacing_per_A=0.35),
    Cp2k(command="cp2k", kpoint_spacing_per_A=0.35),
]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.kind)
def test_only_the_spacing_is_another(engine: Engine, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "Si.UPF").write_text("a pseudopotential")
    engine = engine.resolved_against(tmp_path)
    silicon = bulk("Si", cubic=True)
    denser = engine.with_denser_kpoints(silicon, 0.7)
    assert denser is not None
    changed = {key for key, value in engine if getattr(denser, key) != value}
    assert changed == {"kpoint_spacing_per_A"}
    assert denser.kpoints(silicon) > engine.kpoints(silicon)
    levels = LevelOfTheory.of(engine), LevelOfTheory.of(denser)
    assert levels[0].hash != levels[1].hash
    # One grid is no comparison.
    assert engine.with_denser_kpoints(silicon.repeat(8), 0.99) is None


def test_a_calculator_says_itself_what_is_denser():
    atoms = rattled()
    engine = AseCalculator(calculator="ase.calculators.emt:EMT", arguments={"asap_cutoff": False})
    assert engine.with_denser_kpoints(atoms, 0.7) is None
    level = LevelOfTheory.of(engine).hash
    engine = engine.model_copy(update={"denser_arguments": {"asap_cutoff": True}})
    assert LevelOfTheory.of(engine).hash == level
    denser = engine.with_denser_kpoints(atoms, 0.7)
    assert denser is not None
    assert denser.arguments == {"asap_cutoff": True}
    assert LevelOfTheory.of(denser).hash != level


def test_a_potential_has_no_kpoints():
    assert Mlip(model="7net-0").with_denser_kpoints(rattled(), 0.5) is None
