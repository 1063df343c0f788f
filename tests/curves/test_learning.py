"""What a student is asked for."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from entrove.curves import learning
from entrove.curves.config import StudentConfig
from entrove.curves.learning import Classroom, _evaluate
from entrove.models.sevennet.files import pretrained_checkpoint
from entrove.structures import attach_results


@pytest.mark.parametrize("atoms", [molecule("N2"), molecule("N2", vacuum=4.0), bulk("Cu")])
def test_a_calculator_of_ones_own_needs_a_stress_of_crystals_only(atoms):
    found, atoms.calc = _evaluate(EMT(), atoms), EMT()
    assert found.get_potential_energy() == atoms.get_potential_energy()
    np.testing.assert_array_equal(found.get_forces(), atoms.get_forces())
    expected = atoms.get_stress() if atoms.pbc.all() else np.zeros(6)
    np.testing.assert_array_equal(found.get_stress(), expected)


@pytest.mark.parametrize("tune", [False, True])
def test_a_base_with_a_fidelity_lies_beside_the_study(tune, tmp_path, monkeypatch):
    """As one without does; the current folder does not matter, and its file belongs to the key."""
    asked = []

    def trained(labelled, base, *_, modal, **__) -> SimpleNamespace:
        asked.append((base, modal))
        return SimpleNamespace(checkpoint=tmp_path / "base.pth")

    monkeypatch.setattr(learning, "fine_tune", trained)
    source = pretrained_checkpoint("7net-mf-0")
    for name in ("base.pth", "at@PBE.pth"):
        shutil.copy(source, tmp_path / name)
    labelled = [attach_results(bulk("Cu"), -4.0, np.zeros((1, 3)), np.zeros(6))]

    def errors_of(base: str):
        classroom = Classroom(tmp_path / "students", tmp_path, "cpu", 1)
        student = StudentConfig(base=base, tune=tune)
        return classroom.teach_and_test(student, labelled, {"test": labelled}, seed=1)["test"]

    ours = errors_of("base.pth@PBE")
    assert errors_of("at@PBE.pth@PBE")[0].energy == pytest.approx(ours[0].energy, abs=1e-6)
    if tune:
        assert asked == [(tmp_path / "base.pth", "PBE"), (tmp_path / "at@PBE.pth", "PBE")]
    keys = {path.name for path in (tmp_path / "students" / "errors").iterdir()}
    with (tmp_path / "base.pth").open("ab") as changed:
        changed.write(b" ")
    errors_of("base.pth@PBE")
    assert {path.name for path in (tmp_path / "students" / "errors").iterdir()} > keys
