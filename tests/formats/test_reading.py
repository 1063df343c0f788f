"""Which reader a file gets, and what happens where none fits."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write
from needed import needs_gpaw

from entrove.errors import StructureError
from entrove.formats import LabelKeys, read_frames, write_frames
from entrove.structures import read_structures

OUTPUTS = Path(__file__).parent / "outputs"


@pytest.mark.parametrize(
    "output", ["espresso_md.out", pytest.param("gpaw_md.txt", marks=needs_gpaw), "cp2k_md.out"]
)
def test_compressed_outputs_are_recognised_by_their_content(tmp_path, output):
    with gzip.open(tmp_path / f"{output}.gz", "wb") as handle:
        handle.write((OUTPUTS / output).read_bytes())
    (tmp_path / "md-pos-1.xyz").write_bytes((OUTPUTS / "md-pos-1.xyz").read_bytes())
    given, found = (
        list(read_frames(path)) for path in (OUTPUTS / output, tmp_path / f"{output}.gz")
    )
    assert [frame.converged for frame in found] == [frame.converged for frame in given]
    for one, other in zip(given, found, strict=True):
        assert np.array_equal(one.atoms.get_forces(), other.atoms.get_forces())


def test_whatever_else_ase_reads_is_read(tmp_path):
    atoms = bulk("Si")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=np.zeros((2, 3)))
    write(tmp_path / "a.traj", [atoms, atoms])
    assert [frame.labels for frame in read_frames(tmp_path / "a.traj")] == [
        ("energy", "forces")
    ] * 2
    write(tmp_path / "a.cif", bulk("Si", cubic=True))
    (frame,) = read_frames(tmp_path / "a.cif")
    write_frames(tmp_path / "a.xyz", [frame])
    (again,) = read_frames(tmp_path / "a.xyz")
    assert again.atoms.info["spacegroup"] == "P 1"


def test_labels_under_other_names_in_a_database_are_taken(tmp_path):
    with connect(tmp_path / "a.db") as database:
        database.write(bulk("Si"), dft_energy=-2.5, data={"REF_forces": np.ones((2, 3)).tolist()})
    (frame,) = read_frames(tmp_path / "a.db", LabelKeys(energy="dft_energy"))
    assert frame.atoms.get_potential_energy() == -2.5


@pytest.mark.parametrize("store", [np.array, np.ndarray.tolist])
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("REF_forces", LabelKeys()),
        ("forces", LabelKeys()),
        ("REF_forces", LabelKeys(forces="REF_forces")),
        ("my_vectors", LabelKeys(forces="my_vectors")),
    ],
)
def test_forces_in_the_data_of_a_row_are_taken(tmp_path, store, name, keys):
    forces = np.arange(6.0).reshape(2, 3)
    with connect(tmp_path / "a.db") as database:
        database.write(bulk("Si"), data={name: store(forces), "note": "x"})
    (frame,) = read_frames(tmp_path / "a.db", keys)
    assert np.array_equal(frame.atoms.get_forces(), forces)
    assert set(frame.atoms.info) == {"note"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MACE_forces", np.ones((2, 3))),  # may be predictions
        ("REF_forces", np.ones((3, 3))),
        ("REF_forces", [[1.0, 2.0], [3.0]]),
        ("REF_forces", "in another file"),
    ],
)
def test_what_is_no_forces_in_the_data_of_a_row_stays_there(tmp_path, name, value):
    with connect(tmp_path / "a.db") as database:
        database.write(bulk("Si"), data={name: value})
    (frame,) = read_frames(tmp_path / "a.db")
    assert not frame.problem
    assert frame.labels == ()
    assert set(frame.atoms.info) == {name}


@pytest.mark.parametrize("name", ["a.db", "a.dat", "a.traj", "OUTCAR", "vasprun.xml"])
def test_a_file_that_no_reader_understands_is_named(tmp_path, name):
    (tmp_path / name).write_text("no structures here\n")
    (frame,) = read_frames(tmp_path / name)
    assert frame.problem


@pytest.mark.parametrize("name", ["run@0.traj", "run@300K.traj", "0@1.json", "@.cif"])
def test_a_name_with_an_at_sign_is_a_name(tmp_path, name):
    structures = [bulk("Si")] if name.endswith("cif") else [bulk("Si"), bulk("Ge")]
    write(tmp_path / name, structures)
    assert [len(frame.atoms) for frame in read_frames(tmp_path / name)] == [2] * len(structures)
    assert len(read_structures(tmp_path / name)) == len(structures)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(StructureError, match="no such file"):
        list(read_frames(tmp_path / "missing.xyz"))
    with pytest.raises(StructureError, match="neither vasprun"):
        list(read_frames(tmp_path))
