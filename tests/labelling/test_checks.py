import pytest

from entrove.errors import LabelError, ModelError
from entrove.labelling.checks import check_engine, check_executor
from entrove.labelling.config import LabellingConfig


def config(engine: dict, executor: dict | None = None) -> LabellingConfig:
    return LabellingConfig.model_validate(
        {"engine": engine, "executor": executor or {"name": "local"}}
    )


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
    check_engine(config(emt), ["Cu"])
    with pytest.raises(
        LabelError, match="the engine 'ase' has no data for Si, C; choose another engine, give it"
    ):
        check_engine(config(emt), ["Cu", "Si", "C"])


def test_a_program_must_be_here_only_when_it_runs_here(
    espresso: dict, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(LabelError, match=r"the program 'no_such_pw\.x'"):
        check_engine(config(espresso), ["Si"])
    slurm = {"name": "slurm"}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabelError, match="there is no 'sbatch' on PATH; run on a login node"):
        check_executor(config(espresso, slurm))
    (tmp_path / "sbatch").touch(mode=0o755)
    check_executor(config(espresso, slurm))
    check_engine(config(espresso, slurm), ["Si"])
    with pytest.raises(LabelError, match="the engine 'espresso' has no data for Ge"):
        check_engine(config(espresso, slurm), ["Si", "Ge"])
    # What lies on the shared file system is looked at wherever the program runs.
    (tmp_path / "Si.upf").unlink()
    with pytest.raises(LabelError, match=r"no pseudopotential Si\.upf in"):
        check_engine(config(espresso, slurm), ["Si"])


def test_a_label_must_fit_into_its_job(espresso: dict, tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm = config(espresso, {"name": "slurm", "walltime": "02:00:00"})
    with pytest.raises(
        LabelError, match=r"a label may take 10800 s .* but a job ends after 7200 s"
    ):
        check_executor(slurm)
    check_executor(slurm.model_copy(update={"longer_try_factor": 2.0}))


def test_a_parsl_configuration_must_be_importable():
    emt = {"name": "ase", "calculator": "ase.calculators.emt:EMT"}
    with pytest.raises(LabelError, match="cannot import 'no_such_module:make'"):
        check_executor(config(emt, {"name": "parsl", "config": "no_such_module:make"}))


@pytest.mark.parametrize("executor", ["local", "slurm"])
def test_a_graphics_card_must_be_there_only_when_labels_run_here(
    executor: str, monkeypatch: pytest.MonkeyPatch
):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    labelling = config({"name": "mlip", "model": "7net-0", "device": "cuda"}, {"name": executor})
    if executor == "slurm":
        check_engine(labelling, ["Si"])
    else:
        with pytest.raises(
            ModelError, match="torch sees no CUDA device; use device='cpu' or 'auto'"
        ):
            check_engine(labelling, ["Si"])


@pytest.mark.parametrize(
    ("calculator", "arguments", "message"),
    [
        (
            "misbehaving:Misbehaving",
            {"delay": 1},
            "cannot be made with arguments .* unexpected keyword",
        ),
        (
            "misbehaving:refuses_to_start",
            {},
            "cannot be made with arguments {} .RuntimeError: no licence",
        ),
        ("cannot_be_imported:Calculator", {}, "cannot import .* .SyntaxError"),
    ],
)
def test_a_calculator_is_made_once_before_anything_runs(
    calculator: str, arguments: dict, message: str, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cannot_be_imported.py").write_text("def Calculator(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    engine = {"name": "ase", "calculator": calculator, "arguments": arguments}
    with pytest.raises(LabelError, match=message):
        check_engine(config(engine), ["Cu"])
