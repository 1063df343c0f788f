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
