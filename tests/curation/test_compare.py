"""What two sets add to each other: against determinants written out, and planted copies."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from entrove.cli.main import app
from entrove.curation import compare
from entrove.entropy.dataset import EntropyDataset
from entrove.errors import StructureError


def rattled(count: int, seed: int, scale: float = 0.1, symbol: str = "Si") -> list[Atoms]:
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = bulk(symbol, cubic=True)
        atoms.positions += rng.normal(scale=scale, size=atoms.positions.shape)
        atoms.calc = SinglePointCalculator(atoms, energy=rng.normal())
        structures.append(atoms)
    return structures


def sets(folder: Path, a: list[Atoms], b: list[Atoms]) -> tuple[Path, Path]:
    write(folder / "a.xyz", a, format="extxyz")
    write(folder / "b.xyz", b, format="extxyz")
    return folder / "a.xyz", folder / "b.xyz"


def test_nats_are_those_of_a_dataset_that_grows_by_one_set_and_then_the_other(tmp_path):
    a, b = rattled(8, 0), rattled(6, 1, scale=0.25)
    compared = compare(*sets(tmp_path, a, b))
    for side, first, second in ((compared.b, a, b), (compared.a, b, a)):
        dataset = EntropyDataset("information", "per_atom")
        dataset.calibrate([*a, *b])
        dataset.add(first)
        before = dataset.entropy()
        gains = dataset.gain(second)
        dataset.add(second)
        # Rows in single precision, positions with eight decimals.
        assert side.adds == pytest.approx(dataset.entropy() - before, rel=1e-3)
        expected = sorted(np.asarray(gains).tolist(), reverse=True)
        assert [frame.gain for frame in side.new] == pytest.approx(expected, rel=1e-3)


def test_files_of_an_iterator_are_compared_as_those_of_a_list(tmp_path):
    a, b = sets(tmp_path, rattled(4, 0), rattled(3, 1))
    assert compare(iter([a]), iter([b])).to_dict() == compare([a], [b]).to_dict()


def test_what_a_frame_adds_to_the_rest_of_its_set_is_that_of_a_set_without_it(tmp_path):
    from entrove.curation.novelty import WhitenedSets
    from entrove.selection.config import SelectionConfig
    from entrove.selection.pool import collect_pool

    a = rattled(5, 3)
    dataset = EntropyDataset("information", "per_atom")
    pool = collect_pool([*a, *rattled(2, 4)], dataset, SelectionConfig())
    gains = WhitenedSets(pool, 5, dataset.config.ridge).leave_one_out_gains(of_first=True)
    for left_out in range(5):
        rest = dataset.copy()
        rest.add([atoms for row, atoms in enumerate(a) if row != left_out])
        assert gains[left_out] == pytest.approx(float(rest.gain([a[left_out]])[0]), rel=1e-6)


def test_a_set_covers_itself_and_not_what_lies_beyond(tmp_path):
    narrow, wide = rattled(60, 5, scale=0.05), rattled(60, 6, scale=0.3)
    compared = compare(*sets(tmp_path, narrow, wide))
    assert compared.b.covered < 0.1
    assert compared.a.covered > compared.b.covered + 0.5
    assert compared.b.adds > compared.a.adds
    # 95 % by definition; of 60 frames, 8 beyond the bound are 3 standard deviations too many.
    same = compare(*sets(tmp_path, narrow, rattled(60, 7, scale=0.05)))
    assert same.b.covered > 1 - 0.05 - 8 / 60


def test_common_structures_are_found_in_disguise_with_the_offset_of_their_energies(tmp_path):
    a, b = rattled(6, 8), rattled(6, 9)
    for row, energy_eV in ((1, 3.2), (4, 3.2)):
        copy = a[row].copy()
        copy.rotate(50, (1, 2, 3), rotate_cell=True)
        copy = copy[[5, 2, 1, 0, 7, 6, 4, 3]]
        copy.calc = SinglePointCalculator(copy, energy=a[row].get_potential_energy() + energy_eV)
        b.append(copy)
    compared = compare(*sets(tmp_path, a, b))
    assert [(frame.in_a[1], frame.in_b[1]) for frame in compared.common] == [(1, 6), (4, 7)]
    assert compared.offsets_eV_per_atom == pytest.approx([0.4, 0.4])
    assert "+400 meV/atom" in "\n".join(compared.summary())


def test_an_element_of_one_set_only_is_new_to_the_other(tmp_path):
    compared = compare(*sets(tmp_path, rattled(5, 1), rattled(5, 2, symbol="C")))
    assert compared.b.adds == pytest.approx(compared.b.nats)
    assert compared.a.adds == pytest.approx(compared.a.nats)


def test_command_writes_a_page_and_numbers(tmp_path):
    a, b = sets(tmp_path, rattled(5, 1), rattled(5, 2))
    page = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["compare", str(a), str(b), "--html", str(page)])
    assert result.exit_code == 0, result.output
    assert "adds" in result.output
    assert page.read_text().count("<circle") == 10
    result = CliRunner().invoke(app, ["compare", str(a), str(b), "--json"])
    assert json.loads(result.output)["a"]["frames"] == 5


def test_a_set_without_frames_is_refused(tmp_path):
    a, b = sets(tmp_path, rattled(3, 1), rattled(3, 2))
    b.write_text("1\n\nX 0 0 0\n")
    with pytest.raises(StructureError, match=r"none of 1 frames can be used"):
        compare(a, b)
