from pathlib import Path

import numpy as np
import pytest

from entrove.errors import LabelError
from entrove.labelling.engines.base import Engine
from entrove.labelling.engines.cp2k import Cp2k
from entrove.labelling.engines.espresso import Espresso
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.mlip import Teacher
from entrove.labelling.engines.union import engine_from_json
from entrove.labelling.engines.vasp import Vasp
from entrove.labelling.label import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory, require_one_level

ROAD = {"max_scf_steps", "command", "pseudopotential_folder", "potential_folder", "device"}
"""Settings that change how a result is reached, and not the result."""

OTHER_VALUE = {
    "functional": "PW91",
    "setups": {"Si": "other"},
    "pseudopotentials": {"Si": "other.upf"},
    "basis_set": "TZVP-MOLOPT-GTH",
    "input": {"system": {"nspin": 2}},
    "basis_set_file": "BASIS_MOLOPT_UZH",
    "pseudopotential": "GTH-PBE-q4",
    "potential_file": "POTENTIAL_UZH",
    "command": "mpirun -np {cores} program",
    "device": "cuda",
    "model": "7net-l3i5",
    "density_cutoff_eV": 5000.0,
}


def engines(folder: Path) -> list[Engine]:
    for name in ("Si.upf", "other.upf"):
        (folder / name).write_text(f"pseudopotential {name}")
    (folder / "elsewhere").mkdir(exist_ok=True)
    (folder / "elsewhere" / "Si.upf").write_text("pseudopotential Si.upf")
    return [
        Gpaw(),
        Cp2k(),
        Teacher(model="7net-0"),
        Espresso(pseudopotential_folder=folder, pseudopotentials={"Si": "Si.upf"}, cutoff_eV=300.0),
        Vasp(potential_folder=folder),
    ]


def change(engine: Engine, setting: str, folder: Path) -> Engine:
    value = getattr(engine, setting)
    if setting in OTHER_VALUE:
        other = OTHER_VALUE[setting]
    elif isinstance(value, bool):
        other = not value
    elif isinstance(value, Path):
        other = folder / "elsewhere"
    else:
        other = value * 2
    return engine.model_copy(update={setting: other})


def test_every_setting_is_either_theory_or_road(tmp_path: Path):
    for engine in engines(tmp_path):
        level = LevelOfTheory.of(engine)
        for setting in type(engine).model_fields:
            if setting == "name":
                continue
            changed = LevelOfTheory.of(change(engine, setting, tmp_path))
            assert (changed.hash == level.hash) == (setting in ROAD), (engine.kind, setting)


def test_the_content_of_a_pseudopotential_counts_and_not_its_folder(tmp_path: Path):
    espresso = engines(tmp_path)[3]
    before = LevelOfTheory.of(espresso)
    (tmp_path / "Si.upf").write_text("another pseudopotential of the same name")
    assert LevelOfTheory.of(espresso).hash != before.hash


def test_the_content_of_a_teacher_file_counts_and_not_its_path(tmp_path: Path):
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(b"weights")
    first, second = (
        LevelOfTheory.of(Teacher(model=str(path))) for path in (tmp_path / "a.pth", tmp_path / "b.pth")
    )
    assert first.settings.count("sha256") == 1
    (tmp_path / "a.pth").write_bytes(b"other weights")
    assert LevelOfTheory.of(Teacher(model=str(tmp_path / "a.pth"))).hash != first.hash
    assert second.hash == LevelOfTheory.of(Teacher(model=str(tmp_path / "b.pth"))).hash


def test_engines_survive_the_trip_to_the_worker(tmp_path: Path):
    for engine in engines(tmp_path):
        copy = engine_from_json(engine.model_dump_json())
        assert type(copy) is type(engine)
        assert LevelOfTheory.of(copy) == LevelOfTheory.of(engine)


def test_one_dataset_has_one_level():
    level, other = LevelOfTheory.of(Gpaw()), LevelOfTheory.of(Gpaw(cutoff_eV=500.0))
    label = Label("hash", other.hash, Outcome.CONVERGED, energy_eV=0.0, forces_eV_per_A=np.zeros((1, 3)))
    require_one_level([label], other)
    with pytest.raises(LabelError, match="labels of different levels of theory cannot be one dataset"):
        require_one_level([label], level)
    assert level.differences(other) == "cutoff_eV: 400.0 against 500.0"


def test_a_declared_level_needs_words():
    assert LevelOfTheory.declared("VASP  PBE 520 eV").hash == LevelOfTheory.declared("VASP PBE 520 eV").hash
    with pytest.raises(LabelError, match="the description is empty"):
        LevelOfTheory.declared("  ")
