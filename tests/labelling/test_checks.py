import pytest

from entrove.errors import LabelError
from entrove.labelling.checks import check_labelling
from entrove.labelling.config import LabellingConfig


def config(engine: dict, executor: dict | None = None) -> LabellingConfig:
    return LabellingConfig.model_validate({"engine": engine, "executor": executor or {"name": "local"}})


@pytest.fixture
def espresso(tmp_path) -> dict:
    (tmp_path / "Si.upf").touch()
    return {
        "name": "espresso",
        "command": "no_such_pw.x",
        "cutoff_eV": 300,
        "pseudopotential_folder": str(tmp_path),
        "pseudopotentials": {"Si": "Si.upf"},
    }


def test_elements_that_the_engine_does_not_know_are_named():
    emt = {"name": "ase", "calculator": "ase.calculators.emt:EMT", "species": ["Cu", "Al"]}
    check_labelling(config(emt), ["Cu"])
    with pytest.raises(LabelError, match="engine ase: knows nothing about Si, C; give it what it needs"):
        check_labelling(config(emt), ["Cu", "Si", "C"])


def test_a_program_must_be_here_only_when_it_runs_here(
    espresso: dict, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(LabelError, match=r"the program 'no_such_pw\.x'"):
        check_labelling(config(espresso), ["Si"])
    slurm = {"name": "slurm"}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabelError, match="there is no 'sbatch' on PATH; run on a login node"):
        check_labelling(config(espresso, slurm), ["Si"])
    (tmp_path / "sbatch").touch(mode=0o755)
    check_labelling(config(espresso, slurm), ["Si"])
    with pytest.raises(LabelError, match="engine espresso: knows nothing about Ge"):
        check_labelling(config(espresso, slurm), ["Si", "Ge"])


def test_a_parsl_configuration_must_be_importable():
    emt = {"name": "ase", "calculator": "ase.calculators.emt:EMT"}
    with pytest.raises(LabelError, match="cannot import 'no_such_module:make'"):
        check_labelling(config(emt, {"name": "parsl", "config": "no_such_module:make"}), ["Cu"])
