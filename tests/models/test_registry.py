import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk

import entrove.models
from entrove.errors import ModelError
from entrove.models.prediction import predict
from entrove.models.registry import (
    FILE_SUFFIXES,
    FRAMEWORKS,
    NAMES,
    framework_of,
    load,
    split_modal,
)
from small_sevennet import write_small_sevennet


def test_a_misspelt_name_gets_the_names_and_the_nearest():
    with pytest.raises(
        ModelError, match=r"unknown model '7net0'\. Did you mean '7net-0'\?"
    ) as error:
        load("7net0")
    assert all(name in str(error.value) for name in NAMES)


def test_a_model_is_loaded_by_a_path_as_by_its_text(tmp_path):
    file = write_small_sevennet(tmp_path / "tuned.pth")
    by_path, by_text = (load(given, device="cpu") for given in (file, str(file)))
    assert by_path.name == by_text.name
    assert by_path.species == by_text.species
    atoms = bulk("Si")
    assert predict(by_path, [atoms])[0].get_potential_energy() == pytest.approx(
        predict(by_text, [atoms])[0].get_potential_energy(), abs=1e-9
    )
    with pytest.raises(ModelError, match=r"nowhere/model\.pth: no such model file"):
        load(Path("nowhere/model.pth"))


def test_a_missing_file_is_named():
    with pytest.raises(ModelError, match=r"nowhere/model\.pth: no such model file"):
        load("nowhere/model.pth")


def test_for_a_folder_the_function_that_loads_bundles_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"entrove\.load_model"):
        load(str(tmp_path))


@pytest.mark.parametrize("name", ["7net-0", "7net-mf-0@PBE"])
def test_a_name_is_that_model_whatever_the_present_folder_holds(name, tmp_path, monkeypatch):
    """A folder of results called like the model, or like its fidelity, is not meant."""
    (tmp_path / name).mkdir()
    (tmp_path / name.partition("@")[0]).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert load(name, device="cpu").name == name.partition("@")[0]
    assert split_modal(name) == (*name.split("@"), None)[:2]
    with pytest.raises(ModelError, match=rf"\./{name} is a folder"):
        load(f"./{name}")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    path.write_text("not a model")
    with pytest.raises(ModelError, match="not a SevenNet checkpoint"):
        load(str(path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(ModelError, match="device='cpu' or 'auto'"):
        load("7net-0", device="cuda")


def test_a_multi_fidelity_model_needs_a_fidelity_and_lists_them():
    with pytest.raises(ModelError, match="7net-mf-0@PBE, 7net-mf-0@R2SCAN"):
        load("7net-mf-0")
    with pytest.raises(ModelError, match="'HSE' is not one of its fidelities"):
        load("7net-mf-0@HSE")
    with pytest.raises(ModelError, match="7net-0 has a single fidelity"):
        load("7net-0@PBE")


def test_a_model_outside_the_wheel_is_not_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    constants = sys.modules.get("sevenn._const") or __import__(
        "sevenn._const", fromlist=["_const"]
    )
    monkeypatch.setattr(constants, "SEVENNET_omat", constants._prefix + "/none/omat.pth")
    with pytest.raises(ModelError, match=r"fetch it once.*load_checkpoint\('7net-omat'\)"):
        load("7net-omat")


def test_loading_leaves_the_default_dtype_alone(sevennet):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        load("7net-0", device="cpu")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before)


def test_species_are_symbols_and_unknown_ones_are_refused(sevennet):
    assert {"Si", "C", "Na", "Cl"} <= sevennet.species
    with pytest.raises(ModelError, match="7net-0 does not know Po; it knows Ac, Ag"):
        sevennet.check_species([Atoms("SiPo")])


def test_a_name_or_file_belongs_to_one_framework():
    for known in (NAMES, tuple(f"model{suffix}" for suffix in FILE_SUFFIXES)):
        for base in known:
            assert [framework.evaluates(base) for framework in FRAMEWORKS].count(True) == 1
    assert framework_of("module:factory") is None


def test_what_can_be_trained_can_be_evaluated():
    for framework in FRAMEWORKS:
        assert set(framework.trainable) <= {*framework.models, *framework.suffixes}
        assert bool(framework.trainable) == bool(framework.trainable_kinds)
        if set(framework.trainable) != {*framework.models, *framework.suffixes}:
            assert framework.untrainable_because


def test_public_names_do_not_depend_on_what_was_imported_before():
    """A submodule of the name of a function would take its place once it is imported."""
    code = (
        "import importlib, pkgutil, sys\n"
        "import entrove.models\n"
        "assert 'torch' not in sys.modules\n"
        "for module in pkgutil.iter_modules(entrove.models.__path__):\n"
        "    importlib.import_module(f'entrove.models.{module.name}')\n"
        "print(*(getattr(entrove.models, name).__name__ for name in entrove.models.__all__))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == entrove.models.__all__
