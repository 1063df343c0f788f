"""Where structures are written to: every name works or is refused in a sentence."""

import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from entrove.errors import EntroveError, StructureError
from entrove.files import replace_text
from entrove.formats import FORMATS, read_frames, write_frames
from entrove.formats.writing import XYZ_NAMES


def labelled_crystal():
    atoms = bulk("Si")
    atoms.calc = SinglePointCalculator(
        atoms, energy=-1.5, forces=np.zeros((2, 3)), stress=np.full(6, 0.5)
    )
    atoms.info["config_type"] = "bulk"
    return atoms


NAMES = [".", "..", "x", "x.data", "x.db", "x.xyz", "x.json", "a-folder", "x.xyz.gz", "full", "/"]


@pytest.mark.parametrize("format_name", [None, *FORMATS])
@pytest.mark.parametrize("name", NAMES)
def test_a_target_is_written_and_read_back_or_refused(tmp_path, monkeypatch, format_name, name):
    for folder in ("work", "work/a-folder", "work/full"):
        (tmp_path / folder).mkdir()
    (tmp_path / "work" / "full" / "file").touch()
    monkeypatch.chdir(tmp_path / "work")
    if name == ".":
        monkeypatch.chdir("a-folder")
    before = sorted(tmp_path.rglob("*"))
    try:
        write_frames(name, [labelled_crystal()], format_name)
    except EntroveError:
        assert sorted(tmp_path.rglob("*")) == before
        return
    path = Path(name)
    if path.is_file() and format_name in XYZ_NAMES:  # may be asked for under any name
        path = path.rename("y.xyz.gz" if name.endswith("gz") else "y.xyz")
    (frame,) = read_frames(path)
    assert frame.problem == ""
    assert set(frame.labels) == {"energy", "forces", "stress"}


@pytest.mark.parametrize("name", ["x.xyz", "x.db", "x"])
def test_the_file_that_a_link_names_is_replaced(tmp_path, name):
    target = tmp_path / "real" / name
    target.parent.mkdir()
    if name == "x":
        target.mkdir()
    elif name == "x.xyz":  # a database is not replaced
        target.write_text("old")
    link = tmp_path / name
    link.symlink_to(target)
    write_frames(link, [labelled_crystal()])
    assert link.is_symlink()
    assert len(list(read_frames(target))) == 1
    assert sorted(tmp_path.iterdir()) == sorted([link, target.parent])


def test_a_text_is_written_through_a_chain_of_links(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b.txt").symlink_to("a.txt")
    (tmp_path / "c.txt").symlink_to("b.txt")
    replace_text(tmp_path / "c.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert (tmp_path / "c.txt").is_symlink()


def test_an_unfinished_folder_of_another_process_stays(tmp_path):
    other = tmp_path / f".partial-{os.getpid() + 1}-out"
    other.mkdir()
    (other / "type.raw").touch()
    write_frames(tmp_path / "out", [labelled_crystal()])
    assert (other / "type.raw").exists()
    seen: list[str] = []

    def structures():
        yield labelled_crystal()
        seen.extend(path.name for path in tmp_path.iterdir())

    write_frames(tmp_path / "more", structures(), "deepmd-npy")
    assert f".partial-{os.getpid()}-more" in seen


def test_a_database_without_structures_leaves_no_file(tmp_path):
    with pytest.raises(StructureError, match="nothing to write"):
        write_frames(tmp_path / "a.db", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.db", "x.json", "x"])
def test_databases_and_folders_that_exist_are_not_replaced(tmp_path, name):
    """They hold what others have put there: ASE's own programs add rows."""
    path, format_name = tmp_path / name, "ase-db" if name == "x.json" else None
    write_frames(path, [labelled_crystal()], format_name)
    files = [path] if path.is_file() else sorted(path.rglob("*.*"))
    before = [file.read_bytes() for file in files if file.is_file()]
    with pytest.raises(StructureError, match=r"exists.* remove this"):
        write_frames(path, [labelled_crystal(), labelled_crystal()], format_name)
    assert [file.read_bytes() for file in files if file.is_file()] == before
