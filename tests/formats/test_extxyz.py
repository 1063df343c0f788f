"""Extended XYZ: equal to ASE's reader without damage, and one broken frame never takes others."""

import bz2
import gzip
import lzma
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.io import read, write

from entrove.formats import LabelKeys, read_frames

HEAD = 'Lattice="4 0 0 0 4 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T"'
ROWS = ["Si 0 0 0 0.1 0 0", "Si 1 1 1 -0.1 0 0", "O 2 2 2 0 0 0"]


def frame_text(energy="-1.5", *, head=HEAD, rows=ROWS, count=None, more="") -> str:
    count = len(rows) if count is None else count
    return f"{count}\n{head} energy={energy} {more}\n" + "".join(f"{row}\n" for row in rows)


def written(folder: Path, text: str, name: str = "frames.xyz") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def labelled(seed: int) -> Atoms:
    """A structure with labels, keys of every type, columns and constraints."""
    rng = np.random.default_rng(seed)
    cells = [bulk("NaCl", "rocksalt", 5.6), bulk("Si", cubic=True), molecule("CH3OH", vacuum=3.0)]
    atoms = cells[seed % 3]
    atoms.rattle(0.1, rng=rng)
    n_atoms = len(atoms)
    results = {"energy": rng.normal(), "forces": rng.normal(size=(n_atoms, 3))}
    if seed % 3 < 2:
        results["stress"] = rng.normal(size=6)
        results["free_energy"] = results["energy"] - 0.1
        atoms.set_constraint(FixAtoms([0]) if seed % 2 else FixCartesian([1], [True, False, True]))
    if seed % 2:
        results |= {"magmoms": rng.normal(size=n_atoms), "dipole": rng.normal(size=3)}
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.info |= {
        "config_type": "rattled",
        "name with blanks": 'says "yes" = {maybe} [1]',
        "step": seed,
        "temperature_K": 300.5,
        "flag": bool(seed % 2),
        "weights": rng.normal(size=4),
        "matrix": rng.integers(0, 9, size=(2, 2)),
        "nested": {"a": [1, 2], "b": "x"},
    }
    atoms.set_tags(rng.integers(0, 3, size=n_atoms))
    atoms.set_array("extra", rng.normal(size=(n_atoms, 2)))
    atoms.set_array("used", rng.integers(0, 2, size=n_atoms).astype(bool))
    atoms.set_array("site", np.array([f"s{index}" for index in range(n_atoms)]))
    return atoms


def same_value(one, other) -> bool:
    if isinstance(one, dict):
        return one == other
    one, other = np.asarray(one), np.asarray(other)
    return one.shape == other.shape and (one == other).all()


def fixed_directions(atoms: Atoms) -> list[list[bool]]:
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        mask = getattr(constraint, "mask", np.ones(3, dtype=bool))
        fixed[constraint.index] |= np.asarray(mask, dtype=bool)
    return fixed.tolist()


def assert_same(one: Atoms, other: Atoms) -> None:
    assert one.info.keys() == other.info.keys()
    assert all(same_value(one.info[key], other.info[key]) for key in one.info)
    assert one.arrays.keys() == other.arrays.keys()
    assert all(same_value(one.arrays[key], other.arrays[key]) for key in one.arrays)
    assert (one.cell == other.cell).all()
    assert (one.pbc == other.pbc).all()
    assert fixed_directions(one) == fixed_directions(other)
    results, others = (getattr(a.calc, "results", {}) for a in (one, other))
    assert results.keys() == others.keys()
    assert all(same_value(results[key], others[key]) for key in results)


def test_what_ase_writes_is_read_as_ase_reads_it(tmp_path):
    path = tmp_path / "ase.xyz"
    write(path, [labelled(seed) for seed in range(12)], format="extxyz")
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(12))
    assert not any(frame.problem for frame in frames)
    for frame, expected in zip(frames, read(path, ":"), strict=True):
        assert_same(frame.atoms, expected)


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_keys_of_the_format_are_known_in_any_case(tmp_path, change):
    """GPUMD and its tools write `lattice` and `properties`."""
    usual = frame_text()
    other = re.sub(r"(Lattice|Properties|pbc)=", lambda key: change(key[0]), usual)
    assert other != usual
    (expected,), (frame,) = (
        read_frames(written(tmp_path, text, name))
        for text, name in ((usual, "usual.xyz"), (other, "other.xyz"))
    )
    assert_same(frame.atoms, expected.atoms)
    assert frame.labels == ("energy", "forces")


def test_a_word_or_a_second_key_in_another_case_is_a_key_like_others(tmp_path):
    more = 'lattice="1 0 0 0 1 0 0 0 1" PBC="F F F" properties=a:b'
    (frame,) = read_frames(written(tmp_path, frame_text(more=more)))
    assert (frame.atoms.cell.lengths() == [4, 4, 5]).all()
    assert frame.atoms.pbc.all()
    assert set(frame.atoms.info) == {"lattice", "PBC", "properties"}
    (molecule_frame,) = read_frames(
        written(tmp_path, frame_text(head="lattice=fcc properties=hard Pbc=no", rows=["Si 0 0 0"]))
    )
    assert not molecule_frame.problem
    assert set(molecule_frame.atoms.info) == {"lattice", "properties", "Pbc"}


@pytest.mark.parametrize("broken", ["3\nSi 0 0 0\n", "Si 0 0 0 0\nSi 1 1 1 0\n"])
def test_a_frame_of_keys_in_another_case_follows_a_broken_one(tmp_path, broken):
    lower = frame_text().replace("Lattice", "lattice").replace("Properties", "properties")
    *_, last = read_frames(written(tmp_path, broken + lower + lower))
    assert not last.problem
    assert last.labels == ("energy", "forces")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_compressed_files_are_read(tmp_path, suffix):
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[suffix]
    path = tmp_path / f"frames.xyz{suffix}"
    with opener(path, "wt") as handle:
        handle.write(frame_text("-1") + frame_text("-2"))
    assert [frame.atoms.get_potential_energy() for frame in read_frames(path)] == [-1, -2]


def test_a_compressed_file_that_ends_early_gives_its_frames_and_says_so(tmp_path):
    path = tmp_path / "frames.xyz.gz"
    rng = np.random.default_rng(0)
    rows = [f"Si {' '.join(str(number) for number in rng.normal(size=6))}" for _ in range(40)]
    content = gzip.compress("".join(frame_text("-1", rows=rows) for _ in range(60)).encode())
    path.write_bytes(content[: len(content) // 2])
    *good, last = read_frames(path)
    assert not any(frame.problem for frame in good[:-1])
    assert "reading stopped" in last.problem


BROKEN = {
    "text in a number": (frame_text(rows=[ROWS[0], "Si 1 1x 1 0 0 0", ROWS[2]]), "'1x' in pos"),
    "too few values": (frame_text(rows=[ROWS[0], "Si 1 1 1 0 0", ROWS[2]]), "atom 1 has 6 values"),
    "too many values": (frame_text(rows=[ROWS[0] + " 7", *ROWS[1:]]), "atom 0 has 8 values"),
    "too few atoms": (frame_text(count=4), "the next frame begins after 3 of 4 atoms"),
    "too many atoms": (frame_text(count=2), "2 atoms are announced"),
    "no number of atoms": ("three\n" + frame_text().split("\n", 1)[1], "number of atoms should"),
    "only a number of atoms": ("3\n", "ends after the number of atoms"),
    "no atoms": (f"0\n{HEAD}\n", "without atoms"),
    "energy is no number": (frame_text("None"), "energy is 'None'"),
    "energy with unit": (frame_text('"-0.02eV"'), "energy is '-0.02eV'"),
    "energy is nan": (frame_text("nan"), "energy is not finite"),
    "force is nan": (frame_text(rows=["Si 0 0 0 nan 0 0", *ROWS[1:]]), "forces .*not finite"),
    "position is inf": (frame_text(rows=["Si inf 0 0 0 0 0", *ROWS[1:]]), "pos .*not finite"),
    "dummy atom": (frame_text(rows=["X 0 0 0 0 0 0", *ROWS[1:]]), "'X' of atom 0"),
    "numbered type": (frame_text(rows=["1 0 0 0 0 0 0", *ROWS[1:]]), "'1' of atom 0"),
    "lattice": (frame_text(head=HEAD.replace("0 0 5", "0 5")), "Lattice"),
    "properties": (frame_text(head=HEAD.replace("forces:R:3", "forces:R")), "Properties"),
    "stress of five": (frame_text(more='stress="1 2 3 4 5"'), "stress is"),
    "open quote": (frame_text(more='name="never closed'), "comment cannot be read"),
    "energy is null": (frame_text('"_JSON null"'), "energy is None"),
    "ragged stress": (frame_text(more='stress="_JSON [[1, 2], [3]]"'), "cannot be read"),
    "text as positions": (
        frame_text(head=HEAD.replace("pos:R:3", "pos:S:3")),
        "cannot be read",
    ),
    "short vector": (frame_text(rows=[*ROWS, "VEC1 5.0"], count=3), "VEC1 5.0"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_broken_frame_is_named_and_the_others_are_read(tmp_path, kind, place):
    broken, problem = BROKEN[kind]
    texts = [frame_text("-1.25"), frame_text("-2.5")]
    texts.insert(place, broken)
    frames = list(read_frames(written(tmp_path, "".join(texts))))
    if kind == "too few atoms" and place == 2:
        problem = "the file ends after 3 of 4 atoms"
    assert [bool(frame.problem) for frame in frames] == [index == place for index in range(3)]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert re.search(problem, frames[place].problem)
    assert frames[place].atoms is None
    good = [frame.atoms.get_potential_energy() for frame in frames if frame.atoms]
    assert good == [-1.25, -2.5]


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_file_cut_anywhere_gives_its_whole_frames(tmp_path, cut):
    """Whatever a job has written when it was killed, what was whole before is read."""
    text = frame_text("-1.25") + frame_text("-2.5", rows=[f"{row}.00000000" for row in ROWS])
    frames = list(read_frames(written(tmp_path, text[:-cut])))
    assert frames[0].atoms.get_potential_energy() == -1.25
    assert not frames[0].problem
    if cut > 1:  # without the last line end nothing is missing
        assert frames[1].problem


def test_windows_line_ends_byte_order_marks_and_other_encodings_are_read(tmp_path):
    path = tmp_path / "frames.xyz"
    text = "\ufeff" + frame_text(more="name=Ångström").replace("\n", "\r\n")
    path.write_bytes(text.encode() + frame_text("-2", more="name=Å").encode("latin-1"))
    first, second = read_frames(path)
    assert first.atoms.info["name"] == "Ångström"
    assert second.atoms.get_potential_energy() == -2


def test_deuterium_is_hydrogen_of_its_mass(tmp_path):
    (frame,) = read_frames(written(tmp_path, frame_text(rows=["D 0 0 0 0 0 0", *ROWS[1:]])))
    assert list(frame.atoms.symbols) == ["H", "Si", "O"]
    assert frame.atoms.get_masses()[0] == pytest.approx(2.014)
    assert "D read as hydrogen" in frame.notes[0]


def test_atomic_numbers_instead_of_symbols(tmp_path):
    text = '1\nProperties=Z:I:1:pos:R:3 Lattice="4 0 0 0 4 0 0 0 4"\n14 0 0 0\n'
    (frame,) = read_frames(written(tmp_path, text))
    assert list(frame.atoms.numbers) == [14]


def test_a_frame_says_of_itself_that_it_did_not_converge(tmp_path):
    texts = [frame_text(more=more) for more in ("converged=F", "scf_converged=T", "")]
    frames = list(read_frames(written(tmp_path, "".join(texts))))
    assert [frame.converged for frame in frames] == [False, True, None]


@pytest.mark.parametrize("more", ["dipole=None", "magmom=ferro"])
def test_a_result_that_is_no_number_stays_a_key(tmp_path, more):
    (frame,) = read_frames(written(tmp_path, frame_text("-1.5", more=more)))
    key, value = more.split("=")
    assert frame.problem == ""
    assert frame.atoms.get_potential_energy() == -1.5
    assert frame.atoms.info[key] == value


def test_a_column_of_text_under_the_name_of_a_result_stays_a_column(tmp_path):
    head = HEAD.replace("forces:R:3", "charges:S:1:forces:R:3")
    (frame,) = read_frames(written(tmp_path, frame_text(head=head, rows=["Si 1 2 3 yes 0 0 0"])))
    assert frame.problem == ""
    assert frame.atoms.arrays["charges"].tolist() == ["yes"]


def test_keys_that_do_not_exist_are_said(tmp_path):
    (frame,) = read_frames(written(tmp_path, frame_text()), LabelKeys(energy="my_energy"))
    assert frame.labels == ("forces",)
    assert any("no key my_energy" in note for note in frame.notes)
    assert frame.atoms.info["other_energy"] == -1.5


def test_reading_needs_no_more_memory_for_a_longer_file(tmp_path):
    peaks = []
    for count in (200, 4000):
        path = written(tmp_path, frame_text() * count)
        tracemalloc.start()
        assert sum(1 for _ in read_frames(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000  # 3,800 frames more are 1.2 MB of text
