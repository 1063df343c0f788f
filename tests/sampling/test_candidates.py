from dataclasses import replace

import numpy as np
import pytest
from ase.io import read, write
from cheap_models import argon

from entrove.errors import StructureError
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates

FULL = Candidate(
    atoms=argon(rattle_A=0.1),
    pool="entropy_md",
    kind="md",
    phase="fcc",
    pressure_GPa=2.5,
    temperature_K=300.0,
    walker=3,
    step=150,
    kappa_eV=0.25,
    bias_fraction=0.5,
    entropy="information",
    mode="per_config",
)
SPARSE = Candidate(atoms=argon(), pool="anchors", kind="strain", phase="1", pressure_GPa=0.0)


@pytest.mark.parametrize("candidate", [FULL, SPARSE], ids=["full", "sparse"])
def test_provenance_survives_extended_xyz(candidate, tmp_path):
    write(tmp_path / "one.xyz", candidate.to_atoms(), format="extxyz")
    back = Candidate.from_atoms(read(tmp_path / "one.xyz"))
    for name in Candidate.__dataclass_fields__:
        if name != "atoms":
            assert getattr(back, name) == getattr(candidate, name), name
    np.testing.assert_allclose(back.atoms.positions, candidate.atoms.positions, atol=1e-7)
    np.testing.assert_allclose(back.atoms.cell.array, candidate.atoms.cell.array, atol=1e-7)


@pytest.mark.parametrize(
    "phase", ["T", "F", "true", "01", "1e3", "1.50", "1_0", "1.", "fcc", "2H"]
)
def test_a_phase_keeps_its_name_in_a_file(phase, tmp_path):
    """ASE reads T as True and 01 as 1: labels would not find the moments of their seed."""
    write_candidates(tmp_path / "pool.xyz", [FULL, replace(SPARSE, phase=phase)])
    found = read_candidates(tmp_path / "pool.xyz")
    assert [candidate.phase for candidate in found] == ["fcc", phase]


def test_to_atoms_leaves_the_candidate_alone():
    atoms = FULL.to_atoms()
    atoms.positions += 1.0
    assert "entrove_pool" not in FULL.atoms.info
    assert not np.allclose(atoms.positions, FULL.atoms.positions)


def test_a_structure_without_provenance_is_refused():
    with pytest.raises(StructureError, match="lacks the keys entrove_pool, entrove_kind"):
        Candidate.from_atoms(argon())


def test_an_unknown_kind_is_refused():
    atoms = FULL.to_atoms()
    atoms.info["entrove_kind"] = "melt"
    with pytest.raises(
        StructureError, match="entrove_kind='melt' is unknown; allowed are md, relaxed"
    ):
        Candidate.from_atoms(atoms)
