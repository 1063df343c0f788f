from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.stress import voigt_6_to_full_3x3_stress

from entrove.labelling.engines.mlip import Mlip
from entrove.models.registry import load


def test_an_engine_labels_as_the_model_of_its_own_package(tmp_path: Path):
    """SevenNet's own calculator shares no batching with the engine; both compute in float32."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.1, rng=np.random.default_rng(3))
    label = Mlip(model="7net-0").compute(atoms, tmp_path, 0)
    atoms.calc = load("7net-0", device="cpu").calculator()
    assert label.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
    np.testing.assert_allclose(label.forces_eV_per_A, atoms.get_forces(), atol=1e-4)
    stress = voigt_6_to_full_3x3_stress(atoms.get_stress())
    np.testing.assert_allclose(label.stress_eV_per_A3, stress, atol=1e-5)


@pytest.mark.parametrize("name", ["student.pth", "student@v2.pth", "group@host/student.pth"])
@pytest.mark.parametrize("fidelity", ["", "@PBE"])
def test_a_model_that_is_a_file_counts_by_its_content(tmp_path: Path, name: str, fidelity: str):
    """Also where its path has an at sign of its own."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"old weights")
    engine = Mlip(model=name + fidelity).resolved_against(tmp_path)
    old = engine.theory()
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / file.name
    moved.write_bytes(b"old weights")
    assert Mlip(model=f"{moved}{fidelity}").theory() == old
    file.write_bytes(b"new weights")
    assert engine.theory() != old


def test_a_named_model_stays_it_beside_a_folder_of_its_name(tmp_path: Path, monkeypatch):
    named = Mlip(model="7net-0").theory()
    (tmp_path / "7net-0").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Mlip(model="7net-0").theory() == named
    assert Mlip(model="7net-0").resolved_against(tmp_path).theory() == named
