"""Picks are those of the greedy selection, and their text is that of their file."""

import csv
import gzip
import html
import json
import os
import subprocess
import sys
from functools import partial
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
from entrove.curation import curate as curate_by
from entrove.curation.ways import PoolSize, Way, best_way
from entrove.entropy import LabelsConfig
from entrove.errors import ConfigError, ModelError, SelectionError, StructureError
from entrove.formats import read_frames, write_frames
from entrove.formats.xyz_blocks import iterate_xyz_blocks
from entrove.models import load
from entrove.selection import SelectionConfig
from small_sevennet import write_small_sevennet

curate = partial(curate_by, method="information")
"""By the way that needs no model, where the law does not depend on it."""

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


def test_picks_under_a_compressed_name_are_compressed(tmp_path):
    pool = pool_file(tmp_path)
    picked = curate(pool, 3)
    picked.write(tmp_path / "picked.xyz")
    picked.write(tmp_path / "packed.xyz.gz")
    packed = gzip.decompress((tmp_path / "packed.xyz.gz").read_bytes())
    assert packed == (tmp_path / "picked.xyz").read_bytes()


@pytest.mark.parametrize("name", ["p.json", "p.csv", "p.csv.gz", "p.db", "p"])
def test_picks_that_something_else_would_take_the_place_of_are_not_written(tmp_path, name):
    picked = curate(pool_file(tmp_path), 3)
    with pytest.raises(ConfigError, match=f"{name}: structures are written as extended XYZ"):
        picked.write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["pool.xyz"]


@pytest.mark.parametrize("path", ["./pool.xyz", "inside/../pool.xyz", "inside//..//pool.xyz"])
def test_frames_are_written_however_their_file_is_named(tmp_path, monkeypatch, path):
    pool_file(tmp_path)
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path)
    curate(path, 5).write("picked.xyz")
    assert len(blocks(Path("picked.xyz"))) == 5
    written = [*blocks(Path("picked.xyz")), *blocks(Path("picked.rest.xyz"))]
    assert sorted(written) == sorted(blocks(Path("pool.xyz")))


def test_the_table_is_in_utf8_whatever_the_locale(tmp_path):
    pool = pool_file(tmp_path, name="größe ü.xyz")
    code = (
        "import sys; from entrove.curation import curate\n"
        "curate(sys.argv[1], 3, method='information').write('picked.xyz')"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run(
        [sys.executable, "-c", code, pool.name],
        cwd=tmp_path,
        env=os.environ | ascii_only,
        check=True,
    )
    assert "größe ü.xyz,0," in (tmp_path / "picked.csv").read_text(encoding="utf-8")


def test_a_file_that_changed_after_its_frames_were_picked_is_no_empty_result(tmp_path):
    pool = pool_file(tmp_path)
    picked = curate(pool, 5)
    out = tmp_path / "picked.xyz"
    out.write_text("older picks")
    pool.write_text(blocks(pool)[0])
    with pytest.raises(StructureError, match="was picked and cannot be found any more"):
        picked.write(out)
    assert out.read_text() == "older picks"


def test_picks_are_those_of_the_selection(tmp_path):
    pool = pool_file(tmp_path)
    picked = curate(pool, 5)
    expected = entrove.select(
        [frame.atoms for frame in read_frames(pool)], 5, entropy="information"
    )
    assert [pick.index for pick in picked.picks] == expected.indices.tolist()
    # Rows in single precision.
    assert [pick.gain for pick in picked.picks] == pytest.approx(expected.gains, rel=1e-3)
    assert picked.gain_curve[-1] == pytest.approx(expected.gains.sum(), rel=1e-3)
    assert len(picked.next_gains) == 7
    assert picked.next_gains[0] <= picked.picks[-1].gain


@pytest.mark.parametrize("method", ["information", "target"])
def test_phases_have_their_places_among_the_picks_and_not_beyond(tmp_path, method):
    """Hot frames would take all places by gain, and all those of the look ahead do."""
    hot, cold = rattled(40, 1), [bulk("Si", cubic=True) for _ in range(20)]
    rng = np.random.default_rng(2)
    for atoms in cold:
        atoms.rattle(rng.uniform(0.01, 0.05), rng=rng)
        atoms.calc = SinglePointCalculator(atoms, energy=-43.0, forces=np.zeros((8, 3)))
    for atoms in hot:
        atoms.info["entrove_phase"] = "hot"
    for atoms in cold:
        atoms.info["entrove_phase"] = "cold"
    write(tmp_path / "pool.xyz", [*hot, *cold])
    structures = [frame.atoms for frame in read_frames(tmp_path / "pool.xyz")]
    picked = curate(tmp_path / "pool.xyz", 12, method=method, features="fingerprint")
    expected = entrove.select(
        structures,
        12,
        entropy="labels" if method == "target" else "information",
        labels=LabelsConfig(labels=("energy", "forces")) if method == "target" else None,
        energies_eV=(lambda asked: [atoms.get_potential_energy() for atoms in asked])
        if method == "target"
        else None,
        config=SelectionConfig(storage="float32"),
    )
    assert [pick.index for pick in picked.picks] == expected.indices.tolist()
    assert sum(pick.index >= 40 for pick in picked.picks) >= 4
    assert len(picked.next_gains) > 12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("labelled", [True, False])
def test_every_method_takes_labelled_and_unlabelled_pools(tmp_path, method, labelled):
    pool = pool_file(tmp_path, labelled=labelled)
    picked = curate(pool, 4, method=method, features="fingerprint")
    assert len({pick.index for pick in picked.picks}) == 4
    assert len(picked.left_out) == 8
    shown = picked._repr_html_()
    assert f"picked 4 of 12 frames, method {method}" in shown
    assert all(html.escape(pick.reason) in shown for pick in picked.picks)


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


@pytest.mark.parametrize(("count", "rest"), [(6, False), (12, True), (12, False)])
def test_no_frame_is_in_the_picks_and_in_a_rest_of_earlier_ones(tmp_path, count, rest):
    pool, out, beside = pool_file(tmp_path), tmp_path / "s.xyz", tmp_path / "s.rest.xyz"
    curate(pool, 3).write(out)
    assert len(blocks(beside)) == 9
    files = curate(pool, count).write(out, rest=rest)
    assert len(blocks(out)) == count
    assert beside not in files
    assert not beside.exists()


def test_a_rest_that_came_with_no_picks_is_not_removed(tmp_path):
    pool, out = pool_file(tmp_path), tmp_path / "s.xyz"
    beside = pool_file(tmp_path, name="s.rest.xyz", seed=1)
    before = beside.read_bytes()
    for text in (None, "no JSON", '{"mine": 1}'):
        if text is not None:
            out.with_suffix(".json").write_text(text)
        with pytest.raises(ConfigError, match=r"s\.rest\.xyz is there .* move it away"):
            curate(pool, 3).write(out, rest=False)
        assert beside.read_bytes() == before
        assert not out.exists()


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


def test_files_of_an_iterator_are_protected_as_those_of_a_list(tmp_path):
    pool, given = pool_file(tmp_path), pool_file(tmp_path, name="given.xyz", seed=1)
    picked = curate(iter([pool]), 3, given=iter([given]))
    assert picked.to_dict() == curate([pool], 3, given=[given]).to_dict()
    with pytest.raises(ConfigError, match="would be overwritten"):
        picked.write(given)


@pytest.mark.parametrize("method", ["information", "random", "lcmd"])
def test_where_all_is_given_nothing_is_written_and_nothing_lost(tmp_path, method):
    pool, given = pool_file(tmp_path), pool_file(tmp_path, name="given.xyz")
    before = given.read_bytes()
    with pytest.raises(SelectionError, match="nothing can be picked: of 12 frames 12 equal"):
        curate(pool, 3, given=given, method=method)
    picked = curate(pool, 3)
    with pytest.raises(ConfigError, match="would be overwritten"):
        picked.write(pool)
    with pytest.raises(ConfigError, match="would be overwritten"):
        curate(pool, 3, given=pool_file(tmp_path, name="o.xyz", seed=1)).write(tmp_path / "o.xyz")
    assert given.read_bytes() == before


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
    arguments += ["--features", "fingerprint", "--method", "information"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "picked 3 of 8 frames" in result.output
    told = json.loads((tmp_path / "picked.json").read_text())
    assert f"the first of them {told['next_gains'][0]:.3g}" in result.output
    assert len(told["gains"]) == len(told["picked"]) == len(blocks(out)) == 3
    rows = list(csv.DictReader((tmp_path / "picked.csv").read_text().splitlines()))
    assert [row["picked"] for row in rows] == ["1", "2", "3", "", "", "", "", ""]
    assert all(row["reason"] for row in rows)
    for option in (["--method", "magic"], ["--features", "magic"], ["--budget", "3"]):
        refused = CliRunner().invoke(app, [*arguments, *option])
        assert refused.exit_code == 1
        assert option[0] in str(refused.exception)


# Which way is the best.


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> str:
    """A small SevenNet."""
    return str(write_small_sevennet(tmp_path_factory.mktemp("network") / "small.pth"))


def test_by_default_picks_are_representative_in_the_last_layer(tmp_path, network):
    pool = pool_file(tmp_path, 6)
    picked = curate_by(pool, 3, model=network)
    assert (picked.method, picked.features) == ("representative", f"model of {network}")
    expected = entrove.select(
        [frame.atoms for frame in read_frames(pool)],
        3,
        features=load(network).features(),
        config=SelectionConfig(method="representative"),
    )
    assert [pick.index for pick in picked.picks] == expected.indices.tolist()
    assert "nearer to the pool" in picked.picks[0].reason


def test_picks_for_a_target_are_those_of_rows_in_weight_gradients(tmp_path, network):
    """What labels teach the model that learns, by the labels that the frames have."""
    pool = pool_file(tmp_path, 6)  # energies and forces, no stress
    picked = curate_by(pool, 3, method="target", model=network)
    assert (picked.method, picked.features) == ("target", f"gradients of {network}")
    structures = [frame.atoms for frame in read_frames(pool)]
    expected = entrove.select(
        structures,
        3,
        entropy="labels",
        features=load(network).weight_gradients(),
        labels=LabelsConfig(labels=("energy", "forces")),
        energies_eV=lambda asked: [atoms.get_potential_energy() for atoms in asked],
        config=SelectionConfig(storage="float32"),
    )
    assert [pick.index for pick in picked.picks] == expected.indices.tolist()


@pytest.mark.parametrize("features", ["model", "gradients"])
def test_features_of_a_model_are_asked_for(tmp_path, network, features):
    for method in ("information", "target", "lcmd"):
        picked = curate_by(
            pool_file(tmp_path, 3), 2, method=method, features=features, model=network
        )
        assert (picked.method, picked.features) == (method, f"{features} of {network}")
        assert len({pick.index for pick in picked.picks}) == 2


def test_a_model_that_cannot_be_used_leaves_fingerprints_and_the_reason(tmp_path, network):
    copper = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)]
    write(tmp_path / "copper.xyz", copper)
    picked = curate_by(tmp_path / "copper.xyz", 2, model=network)
    assert (picked.method, picked.features) == ("representative", "fingerprint")
    assert "does not know Cu" in picked.reason
    assert any("does not know Cu" in line for line in picked.summary())
    picked = curate_by(tmp_path / "copper.xyz", 2, model=network, method="target")
    assert (picked.method, picked.features) == ("target", "fingerprint")
    assert "does not know Cu" in picked.reason
    for method in ("auto", "lcmd", "information"):
        with pytest.raises(ModelError, match="does not know Cu"):
            curate_by(
                tmp_path / "copper.xyz", 2, model=network, features="gradients", method=method
            )


def test_what_would_take_too_long_is_not_chosen(tmp_path, network, monkeypatch):
    """Information streams larger pools; a target takes fewer directions."""
    pool = [*rattled(6, labelled=False)]
    size = PoolSize()
    for atoms in pool:
        size.add(atoms)

    def way(seconds: float, **choices) -> Way:
        monkeypatch.setattr("entrove.curation.ways.MOST_SECONDS", seconds)
        given = {"method": "auto", "features": "auto", "model": network} | choices
        frames, chosen = best_way(iter(pool), 2, **given)
        assert list(frames) == pool
        return chosen

    atoms = sum(len(one) for one in pool)
    enough = way(2e-3 * atoms)
    assert (enough.method, enough.features_name) == ("representative", f"model of {network}")
    assert way(2e-3 * atoms, features="fingerprint").features_name == "fingerprint"
    streamed = way(1.9e-3 * atoms)
    assert (streamed.method, streamed.features_name) == ("information", "fingerprint")
    assert "more than the 5 frames for which method representative" in streamed.reason
    everything = size.seconds("gradients", 2)
    assert way(everything, method="target").directions == 30
    fewer = way(0.6 * everything, method="target")
    assert (fewer.features_name, 6 < fewer.directions < 30) == (f"gradients of {network}", True)
    # A label of eight atoms has 27 rows, so that more than 26 directions are all of them.
    assert size.seconds("gradients", 2, fewer.directions) <= 0.6 * everything
    # What is asked for is done.
    assert way(0.0, method="target").directions == 6
    assert way(0.0, features="gradients").method == "target"
    assert way(0.0, method="random").method == "random"
    slow = way(0.0, method="representative")
    assert (slow.method, slow.features_name) == ("representative", "fingerprint")
    assert "predicted to take" in slow.reason


@pytest.mark.parametrize("method", [*METHODS, "representative"])
def test_copies_of_what_is_given_are_not_picked(method, tmp_path):
    """Rotated, translated and permuted: the only frame that is none is picked."""
    rng = np.random.default_rng(4)
    frames = rattled(6)
    copies = []
    for atoms in frames[:5]:
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array @ rotation.T)
        copy.positions = atoms.positions @ rotation.T + rng.normal(size=3)
        copies.append(copy[rng.permutation(len(copy))])
        labels = {"energy": -40.0, "forces": np.zeros((8, 3))}
        copies[-1].calc = SinglePointCalculator(copies[-1], **labels)
    write_frames(tmp_path / "pool.xyz", frames)
    write_frames(tmp_path / "given.xyz", copies)
    picked = curate(
        tmp_path / "pool.xyz",
        3,
        given=tmp_path / "given.xyz",
        method=method,
        features="fingerprint",
    )
    assert [pick.index for pick in picked.picks] == [5]
    assert {frame.filter for frame in picked.left_out} == {"near_duplicate"}
    write_frames(tmp_path / "pool.xyz", frames[:5])
    with pytest.raises(SelectionError, match="nothing can be picked"):
        curate(
            tmp_path / "pool.xyz",
            2,
            given=tmp_path / "given.xyz",
            method=method,
            features="fingerprint",
        )
