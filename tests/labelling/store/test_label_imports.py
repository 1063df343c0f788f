from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from entrove.errors import LabelError
from entrove.labelling.engines.ase import AseCalculator
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.provenance import LEVEL_OF_THEORY

LEVEL = LevelOfTheory.of(AseCalculator(calculator="ase.calculators.emt:EMT"))


def labelled_copper(count: int) -> list[Atoms]:
    structures = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, rng=np.random.default_rng(seed))
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
        structures.append(atoms)
    return structures


def write_database(path: Path, structures: list[Atoms]) -> None:
    with ase.db.connect(path, use_lock_file=False) as database:
        for atoms in structures:
            database.write(atoms)


@pytest.mark.parametrize("name", ["labels.xyz", "labels.db", "labels.json"])
def test_labels_of_a_file_become_labels_of_the_cache(tmp_path: Path, name: str):
    structures = labelled_copper(3)
    if name.endswith("xyz"):
        write(tmp_path / name, structures, format="extxyz")
    else:
        write_database(tmp_path / name, structures)
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / name, LEVEL, cache)
        assert (report.stored, report.known, report.refused) == (3, 0, ())
        assert import_labels(tmp_path / name, LEVEL, cache).known == 3
        for atoms, stored in zip(structures, cache.labelled_structures(LEVEL), strict=True):
            # Extended XYZ keeps eight digits after the point.
            assert stored.get_potential_energy() == pytest.approx(
                atoms.get_potential_energy(), abs=1e-7
            )
            np.testing.assert_allclose(stored.get_stress(), atoms.get_stress(), atol=1e-7)


def test_structures_without_a_usable_label_are_refused_one_by_one(tmp_path: Path):
    good, bare, absurd, stranger, unstressed = labelled_copper(5)
    bare.calc = None
    absurd.calc.results["forces"] = absurd.calc.results["forces"] + 1e6
    stranger.info[LEVEL_OF_THEORY] = "0123456789abcdef"
    del unstressed.calc.results["stress"]
    write(tmp_path / "mixed.xyz", [good, bare, absurd, stranger, unstressed], format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / "mixed.xyz", LEVEL, cache)
    assert report.stored == 1
    assert [index for index, _ in report.refused] == [1, 2, 3, 4]
    assert "it has no energy" in report.refused[0][1]
    assert "is above the limit" in report.refused[1][1]
    assert "its own level of theory is 0123456789abcdef" in report.refused[2][1]
    assert "it has no stress" in report.refused[3][1]


def test_a_file_without_labels_is_an_error(tmp_path: Path):
    write(tmp_path / "bare.xyz", bulk("Cu"), format="extxyz")
    with (
        LabelCache(tmp_path / "cache.db") as cache,
        pytest.raises(LabelError, match="none of 1 structures has"),
    ):
        import_labels(tmp_path / "bare.xyz", LEVEL, cache)
