"""Which outputs of a folder are read: through links, and the whole ones before broken ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from test_codes import OUTCAR, vasprun
from test_round_trips import periodic_frames

from entrove.errors import StructureError
from entrove.formats import read_frames, write_frames

WHOLE = vasprun(bulk("Si"), [[-1.0, -2.0], [-1.0, -3.0]])
ONLY_FORCE_FIELD = vasprun(bulk("Si"), [[], []])


def run_folder(folder: Path, text: str | None, outcars: tuple[str, ...] = ()) -> Path:
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "vasprun.xml").write_text(text)
    for name in outcars:
        shutil.copy(OUTCAR, folder / name)
    return folder


def names_read(folder: Path) -> list[str]:
    frames = list(read_frames(folder))
    return list(dict.fromkeys(Path(frame.source).name for frame in frames if not frame.problem))


def test_linked_runs_are_read_once_and_loops_end(tmp_path):
    run_folder(tmp_path / "elsewhere" / "a", WHOLE)
    run_folder(tmp_path / "elsewhere" / "b", None, ("OUTCAR",))
    pool = tmp_path / "pool"
    pool.mkdir()
    for name in ("a", "b"):
        (pool / name).symlink_to(tmp_path / "elsewhere" / name)
    (pool / "again").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "elsewhere" / "a" / "loop").symlink_to(pool)
    (pool / "nowhere").symlink_to(tmp_path / "missing")
    sources = [Path(frame.source).relative_to(pool) for frame in read_frames(pool)]
    assert list(dict.fromkeys(sources)) == [Path("a/vasprun.xml"), Path("b/OUTCAR")]
    assert len(sources) == len(set(sources)) + 1  # two steps of vasprun.xml


def test_a_linked_system_of_deepmd_is_read(tmp_path):
    write_frames(tmp_path / "out", periodic_frames(2)[:1])
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "link").symlink_to(tmp_path / "out")
    assert len(list(read_frames(tmp_path / "pool"))) == 1


CUT = WHOLE[: WHOLE.index("<calculation>") + 40]


@pytest.mark.parametrize("text", ["", CUT, "no XML\n"])
def test_a_vasprun_without_a_whole_step_hides_no_outcar(tmp_path, text):
    run_folder(tmp_path / "run", text, ("OUTCAR",))
    frames = list(read_frames(tmp_path / "run"))
    assert {Path(frame.source).name for frame in frames} == {"OUTCAR"}
    assert "not read beside it: vasprun.xml, without a whole step" in frames[0].notes


@pytest.mark.parametrize("text", ["", CUT])
def test_a_vasprun_without_a_whole_step_is_named_where_it_is_alone(tmp_path, text):
    (frame,) = read_frames(run_folder(tmp_path / "run", text))
    assert "the file ends" in frame.problem


@pytest.mark.parametrize("text", [WHOLE, ONLY_FORCE_FIELD, WHOLE[:-200]])
def test_a_vasprun_with_a_step_is_read_and_not_the_outcar(tmp_path, text):
    """A step of a machine-learned force field is whole, and its OUTCAR holds no label either."""
    run_folder(tmp_path / "run", text, ("OUTCAR",))
    frames = list(read_frames(tmp_path / "run"))
    assert {Path(frame.source).name for frame in frames} == {"vasprun.xml"}
    assert not any("not read" in note for frame in frames for note in frame.notes)


def test_outcars_of_earlier_runs_are_named_where_they_are_not_read(tmp_path):
    run_folder(tmp_path / "run", WHOLE, ("OUTCAR", "OUTCAR.1", "OUTCAR.2"))
    first, second = read_frames(tmp_path / "run")
    assert "not read beside it: OUTCAR.1, OUTCAR.2; give it by name" in first.notes
    assert not second.notes
    run_folder(tmp_path / "no-xml", None, ("OUTCAR", "OUTCAR.1"))
    assert names_read(tmp_path / "no-xml") == ["OUTCAR", "OUTCAR.1"]


def test_links_to_missing_outputs_leave_the_others(tmp_path):
    run_folder(tmp_path / "a", None)
    for name in ("OUTCAR", "vasprun.xml"):
        run_folder(tmp_path / name[:3], None)
        (tmp_path / name[:3] / name).symlink_to(tmp_path / "missing" / name)
    run_folder(tmp_path / "z", WHOLE)
    frames = list(read_frames(tmp_path))
    assert [bool(frame.problem) for frame in frames] == [True, True, False, False]


def test_a_folder_without_outputs_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    with pytest.raises(StructureError, match="neither vasprun"):
        list(read_frames(tmp_path))


def system_of(folder: Path, sets: tuple[int, ...], **arrays: np.ndarray) -> Path:
    """A DeePMD system of one silicon atom; the energy of each frame is the number of its set."""
    for number in sets:
        part = folder / f"set.{number}"
        part.mkdir(parents=True)
        values = {
            "coord": np.zeros((1, 3)),
            "box": 4 * np.eye(3).reshape(1, 9),
            "energy": np.array([[float(number)]]),
            **arrays,
        }
        for name, array in values.items():
            np.save(part / f"{name}.npy", array)
    (folder / "type.raw").write_text("0\n")
    (folder / "type_map.raw").write_text("Si\n")
    return folder


def test_sets_are_read_in_the_order_of_their_numbers(tmp_path):
    frames = list(read_frames(system_of(tmp_path / "system", (0, 1, 2, 10, 11))))
    assert [frame.atoms.get_potential_energy() for frame in frames] == [0, 1, 2, 10, 11]


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        (np.full((1, 9), np.nan), "box.*not finite"),
        (np.full((1, 9), np.inf), "box.*not finite"),
        (np.zeros((1, 9)), "box has no volume"),
        (np.diag([4.0, 4.0, 0.0]).reshape(1, 9), "box has no volume"),
    ],
)
def test_a_box_that_is_no_cell_is_named(tmp_path, box, problem):
    system = system_of(tmp_path / "system", (0,), box=box, virial=np.ones((1, 9)))
    (frame,) = read_frames(system)
    with pytest.raises(StructureError, match=problem):
        raise StructureError(frame.problem)


def test_a_box_of_zeros_of_a_molecule_is_no_cell(tmp_path):
    system = system_of(tmp_path / "system", (0,), box=np.zeros((1, 9)))
    (system / "nopbc").touch()
    (frame,) = read_frames(system)
    assert frame.problem == ""
    assert not frame.atoms.pbc.any()


@pytest.mark.parametrize("text", ["", "\n", "Si\n", "-1\n"])
def test_types_that_are_none_are_named(tmp_path, text):
    system = system_of(tmp_path / "system", (0,))
    (system / "type.raw").write_text(text)
    (frame,) = read_frames(system)
    assert "type.raw" in frame.problem
