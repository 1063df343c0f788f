import gzip
from pathlib import Path

import ase
import gpaw
import pytest
from ase import Atoms

from entrove.errors import LabelError
from entrove.labelling.engines.ase import AseCalculator
from entrove.labelling.engines.base import Engine
from entrove.labelling.engines.cp2k import Cp2k
from entrove.labelling.engines.espresso import Espresso
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.mlip import Mlip
from entrove.labelling.engines.registry import engine_from_json
from entrove.labelling.engines.vasp import Vasp
from entrove.labelling.level_of_theory import (
    LevelOfTheory,
    claim_folder,
    read_level,
    require_one_level,
)
from entrove.provenance import LEVEL_OF_THEORY

NOT_THEORY = {
    "max_scf_steps",
    "command",
    "pseudopotential_folder",
    "potential_folder",
    "data_folder",
    "device",
}
"""Settings that change how a result is reached, and not the result.

Folders are among them: the same files may lie elsewhere.
"""

OTHER_VALUE = {
    "functional": "PW91",
    "setups": {"Si": "other"},
    "pseudopotentials": {"Si": "other.upf"},
    "basis_set": "TZVP-MOLOPT-GTH",
    "input": {"system": {"tot_charge": 1}},
    "magnetic_moments": {"Si": 1.0},
    "starting_magnetization": {"Si": 0.5},
    "dataset_hashes": {"Si": "other"},
    "potential_hashes": {"Si": "other"},
    "basis_set_file": "BASIS_MOLOPT_UZH",
    "pseudopotential": "GTH-PBE-q4",
    "potential_file": "POTENTIAL_UZH",
    "command": "mpirun -np {cores} program",
    "device": "cuda",
    "model": "7net-l3i5",
    "density_cutoff_eV": 5000.0,
    "program_version": "other",
}


DATA = (
    "Si.upf",
    "other.upf",
    "BASIS_MOLOPT",
    "BASIS_MOLOPT_UZH",
    "POTENTIAL",
    "POTENTIAL_UZH",
    "potpaw_PBE/Si/POTCAR",
    "potpaw_PBE/Siother/POTCAR",
)


def write_data(folder: Path) -> None:
    for name in DATA:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")


def engines(folder: Path) -> list[Engine]:
    write_data(folder)
    write_data(folder / "elsewhere")
    return [
        Gpaw(cutoff_eV=400.0),
        Cp2k(data_folder=folder),
        Mlip(model="7net-0"),
        Espresso(
            pseudopotential_folder=folder, pseudopotentials={"Si": "Si.upf"}, cutoff_eV=300.0
        ),
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


def test_every_setting_is_theory_or_listed_as_not(tmp_path: Path):
    for engine in engines(tmp_path):
        level = LevelOfTheory.of(engine)
        for setting in type(engine).model_fields:
            if setting == "name":
                continue
            changed = LevelOfTheory.of(change(engine, setting, tmp_path))
            assert (changed.hash == level.hash) == (setting in NOT_THEORY), (engine.kind, setting)


@pytest.mark.parametrize("system", [{"input_dft": "HSE"}, {"exx_fraction": 0.2}])
def test_a_hybrid_functional_of_espresso_is_no_level_of_earlier_versions(
    tmp_path: Path, system: dict[str, str | float]
):
    """Energies that they stored had no exact exchange."""
    (engine,) = (engine for engine in engines(tmp_path) if engine.kind == "espresso")
    hybrid = engine.model_copy(update={"input": {"system": system}})
    other = engine.model_copy(update={"input": {"system": {"input_dft": "pbesol"}}})
    assert "energy" in hybrid.theory()
    assert "energy" not in other.theory().keys() | engine.theory().keys()


@pytest.mark.parametrize(
    ("kind", "setting", "file"),
    [
        ("espresso", "pseudopotential_folder", "Si.upf"),
        ("vasp", "potential_folder", "potpaw_PBE/Si/POTCAR"),
        ("cp2k", "data_folder", "BASIS_MOLOPT"),
        ("cp2k", "data_folder", "POTENTIAL"),
    ],
)
def test_the_content_of_a_potential_counts_and_not_its_folder(
    tmp_path: Path, kind: str, setting: str, file: str
):
    (engine,) = (engine for engine in engines(tmp_path) if engine.kind == kind)
    moved = engine.model_copy(update={setting: tmp_path / "elsewhere"})
    before = LevelOfTheory.of(engine.bound_to(["Si"]))
    assert LevelOfTheory.of(moved.bound_to(["Si"])) == before
    (tmp_path / "elsewhere" / file).write_text("another potential of the same name")
    after = LevelOfTheory.of(moved.bound_to(["Si"]))
    assert after.hash != before.hash
    # The same content, packed.
    if kind == "vasp":
        content = (tmp_path / file).read_bytes()
        (tmp_path / file).with_name("POTCAR.gz").write_bytes(gzip.compress(content))
        (tmp_path / file).unlink()
        assert LevelOfTheory.of(engine.bound_to(["Si"])) == before


def test_the_content_of_a_gpaw_dataset_counts_and_not_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from gpaw import setup_paths

    installed = LevelOfTheory.of(Gpaw().bound_to(["Si"]))
    original = next(file for path in setup_paths for file in Path(path).glob("Si.PBE*"))
    (tmp_path / original.name).write_bytes(original.read_bytes())
    monkeypatch.setattr("gpaw.setup_data.setup_paths", [str(tmp_path)])
    assert LevelOfTheory.of(Gpaw().bound_to(["Si"])) == installed
    (tmp_path / original.name).write_bytes(gzip.compress(b"another dataset of the same name"))
    assert LevelOfTheory.of(Gpaw().bound_to(["Si"])).hash != installed.hash


def test_the_content_of_a_model_file_counts_and_not_its_path(tmp_path: Path):
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(b"weights")
    first, second = (
        LevelOfTheory.of(Mlip(model=str(path)))
        for path in (tmp_path / "a.pth", tmp_path / "b.pth")
    )
    assert first.settings.count("sha256") == 1
    (tmp_path / "a.pth").write_bytes(b"other weights")
    assert LevelOfTheory.of(Mlip(model=str(tmp_path / "a.pth"))).hash != first.hash
    assert second.hash == LevelOfTheory.of(Mlip(model=str(tmp_path / "b.pth"))).hash


def test_engines_survive_the_trip_to_the_worker(tmp_path: Path):
    for engine in engines(tmp_path):
        copy = engine_from_json(engine.model_dump_json())
        assert type(copy) is type(engine)
        assert LevelOfTheory.of(copy) == LevelOfTheory.of(engine)


def test_one_dataset_has_one_level():
    level, other = (LevelOfTheory.of(Gpaw(cutoff_eV=cutoff_eV)) for cutoff_eV in (400.0, 500.0))
    labelled = Atoms("Si", info={LEVEL_OF_THEORY: other.hash})
    require_one_level([labelled], other)
    for strangers in ([labelled], [Atoms("Si")]):
        with pytest.raises(
            LabelError, match="labels of different levels of theory cannot be one dataset"
        ):
            require_one_level(strangers, level)
    assert level.differences(other) == "cutoff_eV: 400.0 against 500.0"


def test_the_version_of_the_program_counts_where_it_is_known(tmp_path: Path):
    write_data(tmp_path)
    emt = AseCalculator(calculator="ase.calculators.emt:EMT")
    for engine, version in ((Gpaw(), gpaw.__version__), (emt, ase.__version__)):
        bound = LevelOfTheory.of(engine.bound_to(["Si"]))
        assert bound.version == version
        older = engine.model_copy(update={"program_version": "0.1"}).bound_to(["Si"])
        assert LevelOfTheory.of(older).version == "0.1"
        assert LevelOfTheory.of(older).hash != bound.hash
        assert LevelOfTheory.of(older).without_version() == bound.without_version()
        assert bound.without_version().version == ""
    # It is not known before VASP runs, and a model counts by its weights.
    for engine in (Vasp(potential_folder=tmp_path), Mlip(model="7net-0")):
        level = LevelOfTheory.of(engine.bound_to(["Si"]))
        assert level == level.without_version()


def test_a_work_folder_of_release_0_1_is_taken_over(tmp_path: Path):
    level = LevelOfTheory.of(AseCalculator(calculator="ase.calculators.emt:EMT").bound_to([]))
    claim_folder(tmp_path, level.without_version())
    claim_folder(tmp_path, level)
    assert read_level(tmp_path) == level
    other = LevelOfTheory(level.engine, level.settings.replace(f'"{level.version}"', '"0.1"'))
    with pytest.raises(LabelError, match=r"program_version: .* against 0.1"):
        claim_folder(tmp_path, other)


def test_gpaw_has_the_cutoff_that_its_elements_need():
    assert Gpaw().bound_to(["Si"]).cutoff_eV == 600.0
    assert Gpaw().bound_to(["Mg", "O"]).cutoff_eV == 800.0
    assert Gpaw(cutoff_eV=350.0).bound_to(["O"]).cutoff_eV == 350.0
    levels = {LevelOfTheory.of(Gpaw().bound_to(species)) for species in (["Mg"], ["Mg", "O"])}
    assert len({level.settings_dict()["cutoff_eV"] for level in levels}) == 2
