"""Picks are those of the greedy selection, and their text is that of their file."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

import entrove
from entrove.cli.main import app
from entrove.curation import curate
from entrove.errors import SelectionError, StructureError
from entrove.formats import read_frames, write_frames
from entrove.formats.xyz_blocks import iterate_xyz_blocks

METHODS = ("information", "target", "lcmd", "farthest_point", "random")


def rattled(count: int, seed: int = 0, *, labelled: bool = True) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = bulk("Si", cubic=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.3), size=atoms.positions.shape)
        if labelled:
            atoms.calc = SinglePointCalculator(
                atoms, energy=rng.normal() - 40, forces=rng.normal(size=(8, 3))
            )
        structures.append(atoms)
    return structures


def pool_file(folder: Path, count: int = 12, name: str = "pool.xyz", **kwargs) -> Path:
    write(folder / name, rattled(count, **kwargs), format="extxyz")
    return folder / name


def blocks(path: Path) -> list[str]:
    return ["".join(block.lines) for block in iterate_xyz_blocks(path)]


def test_picks_are_those_of_the_selection(tmp_path):
    pool = pool_file(tmp_path)
    picked = curate(pool, 5)
    expected = entrove.select([frame.atoms for frame in read_frames(pool)], 5)
    assert [pick.index for pick in picked.picks] == expected.indices.tolist()
    # Rows in single precision.
    assert [pick.gain for pick in picked.picks] == pytest.approx(expected.gains, rel=1e-3)
    assert picked.gain_curve[-1] == pytest.approx(expected.gains.sum(), rel=1e-3)
    assert len(picked.next_gains) == 7
    assert picked.next_gains[0] <= picked.picks[-1].gain


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("labelled", [True, False])
def test_every_method_takes_labelled_and_unlabelled_pools(tmp_path, method, labelled):
    picked = curate(pool_file(tmp_path, labelled=labelled), 4, method=method)
    assert len({pick.index for pick in picked.picks}) == 4
    assert len(picked.left_out) == 8
    assert picked._repr_html_().startswith("<table>")


def test_the_picks_and_the_rest_are_the_pool_byte_for_byte(tmp_path):
    """Numbers that no float has, keys, foreign line ends and encodings stay as they are."""
    pool = tmp_path / "pool.xyz"
    write(pool, rattled(9), format="extxyz")
    texts = blocks(pool)
    texts = [text.replace("energy=", f"note=Å{i} REF_energy=", 1) for i, text in enumerate(texts)]
    texts[2] = texts[2].replace("\n", "\r\n")
    texts[4] = texts[4].replace("0.", "0.00000000000000000000", 1)
    content = "".join(texts).encode().replace("Å5".encode(), b"\xc5")[:-1]
    pool.write_bytes(content)
    picked = curate(pool, 4)
    files = picked.write(tmp_path / "picked.xyz")
    kept, rest = blocks(files[0]), blocks(tmp_path / "picked.rest.xyz")
    original = blocks(pool)
    original[-1] += "\n"  # the last line end that the file lacks
    assert kept == [original[pick.index] for pick in picked.picks]
    assert rest == [original[frame.index] for frame in picked.left_out]
    assert sorted(kept + rest) == sorted(original)
    assert b"\xc5" in files[0].read_bytes() + (tmp_path / "picked.rest.xyz").read_bytes()


def test_frames_of_other_formats_keep_every_digit_and_key(tmp_path):
    structures = rattled(6)
    for number, atoms in enumerate(structures):
        atoms.info["number"] = number
    write_frames(tmp_path / "pool.db", structures)
    picked = curate(tmp_path / "pool.db", 3)
    picked.write(tmp_path / "picked.xyz")
    for pick, frame in zip(picked.picks, read_frames(tmp_path / "picked.xyz"), strict=True):
        expected = structures[pick.index]
        assert frame.atoms.info["number"] == pick.index
        assert (frame.atoms.positions == expected.positions).all()
        assert (frame.atoms.get_forces() == expected.get_forces()).all()
        assert frame.atoms.get_potential_energy() == expected.get_potential_energy()


def test_what_is_given_is_not_picked_again(tmp_path):
    """Equal, rotated and permuted copies of given structures add nothing."""
    structures = rattled(6, labelled=False)
    copies = [structures[0].copy(), structures[1].copy()]
    copies[0].rotate(35, (1, 2, 3), rotate_cell=True)
    copies[1] = copies[1][[3, 1, 2, 0, 7, 6, 5, 4]]
    write(tmp_path / "pool.xyz", [*copies, *structures[2:]])
    write(tmp_path / "given.xyz", structures[:2])
    picked = curate(tmp_path / "pool.xyz", 4, given=tmp_path / "given.xyz")
    assert sorted(pick.index for pick in picked.picks) == [2, 3, 4, 5]
    assert {frame.filter for frame in picked.left_out} <= {"duplicate", "near_duplicate"}


def test_broken_frames_are_named_and_the_rest_is_picked_from(tmp_path):
    pool = pool_file(tmp_path, 6)
    texts = blocks(pool)
    texts[1] = texts[1].replace("\n", "\nbroken ", 2)
    texts[4] = texts[4].replace("energy=", "converged=F energy=", 1)
    pool.write_text("".join(texts))
    picked = curate(pool, 3)
    assert [frame.index for frame in picked.refused] == [1, 4]
    assert len(picked.picks) + len(picked.left_out) == 4
    picked.write(tmp_path / "picked.xyz")
    assert len(blocks(tmp_path / "picked.rest.xyz")) == 1


def test_frames_without_fingerprints_are_named_and_the_rest_is_picked_from(tmp_path):
    """Atoms at one place, also through the boundary, and cells denser than any matter."""
    structures = rattled(8, labelled=False)
    structures[1].positions[3] = structures[1].positions[0]
    structures[2].positions[3] = structures[2].positions[0] + structures[2].cell[1] * 1.00005
    structures[4].set_cell(structures[4].cell * 0.1, scale_atoms=True)
    structures[5].pbc = False
    structures[5].positions[7] = structures[5].positions[6]
    structures[6].positions[3] = structures[6].positions[0] + [0.3, 0, 0]  # close, but apart
    write(tmp_path / "pool.xyz", structures)
    picked = curate(tmp_path / "pool.xyz", 4)
    assert [frame.index for frame in picked.refused] == [1, 2, 4, 5]
    reasons = [frame.reason for frame in picked.refused]
    assert [("one place" in reason, "denser" in reason) for reason in reasons] == [
        (True, False),
        (True, False),
        (False, True),
        (True, False),
    ]


def test_atoms_at_one_place_are_found_in_large_cells_too(tmp_path):
    large = bulk("Si", cubic=True).repeat(3)
    large.rattle(0.05, seed=1)
    overlapping = large.copy()
    overlapping.positions[200] = overlapping.positions[7] - overlapping.cell[2]
    write(tmp_path / "pool.xyz", [large, overlapping])
    picked = curate(tmp_path / "pool.xyz", 1)
    assert [str(frame).split(": ")[-1] for frame in picked.refused] == [
        "atoms 7 and 200 are at one place"
    ]


def test_several_files_are_one_pool(tmp_path):
    first = pool_file(tmp_path, 4, "a.xyz", seed=1)
    second = pool_file(tmp_path, 4, "b.xyz", seed=2)
    picked = curate([first, second], 6)
    assert {pick.source for pick in picked.picks} == {str(first), str(second)}
    with pytest.raises(SelectionError, match="given twice"):
        curate([first, first], 6)


def test_too_many_picks_and_empty_pools_are_refused(tmp_path):
    with pytest.raises(SelectionError, match="between 1 and 4 can be picked"):
        curate(pool_file(tmp_path, 4), 5)
    (tmp_path / "bad.xyz").write_text("2\n\nSi 0 0 0\n")
    with pytest.raises(StructureError, match="none of 1 frames can be used"):
        curate(tmp_path / "bad.xyz", 1)


def test_a_budget_limits_the_picks_by_their_seconds(tmp_path):
    pool = pool_file(tmp_path, 8)
    picked = curate(pool, 8, cost_s=lambda atoms: 10.0, budget_s=35.0)
    assert len(picked) == 3
    assert {frame.filter for frame in picked.left_out} == {"budget"}
    with pytest.raises(SelectionError, match="budget"):
        curate(pool, 2, budget_s=1.0)


def test_command_writes_picks_rest_reasons_and_gains(tmp_path):
    pool = pool_file(tmp_path, 8)
    out = tmp_path / "picked.xyz"
    arguments = ["curate", str(pool), "--count", "3", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "picked 3 of 8 frames" in result.output
    assert "no frame left out adds more than" in result.output
    told = json.loads((tmp_path / "picked.json").read_text())
    assert len(told["gains"]) == len(told["picked"]) == len(blocks(out)) == 3
    rows = list(csv.DictReader((tmp_path / "picked.csv").read_text().splitlines()))
    assert [row["picked"] for row in rows] == ["1", "2", "3", "", "", "", "", ""]
    assert all(row["reason"] for row in rows)
    for option in (["--method", "magic"], ["--features", "magic"], ["--budget", "3"]):
        refused = CliRunner().invoke(app, [*arguments, *option])
        assert refused.exit_code == 1
        assert option[0] in str(refused.exception)
