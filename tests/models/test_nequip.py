"""NequIP and Allegro, with untrained networks in files that NequIP itself reads and writes."""

import functools
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_sim
from ase import Atoms
from ase.build import bulk
from small_allegro import ALLEGRO, NEQUIP, write_checkpoint
from trial_structures import rattled

from entrove.errors import ModelError
from entrove.models.loaded import LoadedModel
from entrove.models.nequip import model as nequip_module
from entrove.models.nequip.files import find_foundation_model, find_trainable_model
from entrove.models.nequip.loading import nequip_settings
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.models.torch_settings import ignoring_known_warnings
from entrove.models.verify import verify_batching
from entrove.training.nequip.trainer import NequIPTrainer

BIN = Path(sys.executable).parent


def run_nequip(program: str, *arguments: str) -> None:
    """Run one of NequIP's own programs, as a user would."""
    done = subprocess.run([BIN / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("nequip")
    with nequip_settings(), ignoring_known_warnings():
        return {
            name: write_checkpoint(folder / f"{name}.ckpt", model)
            for name, model in (("allegro", ALLEGRO), ("nequip", NEQUIP))
        }


@pytest.fixture(scope="module", params=["allegro", "nequip"])
def model(request, checkpoints) -> LoadedModel:
    return load(str(checkpoints[request.param]), device="cpu")


@pytest.fixture
def structures() -> list[Atoms]:
    dense = bulk("C", "diamond", a=3.57 * 0.8, cubic=True)
    return [rattled(bulk("SiC", "zincblende", a=4.36), 0), rattled(dense, 1)]


def state_of(*structures: Atoms):
    return torch_sim.initialize_state(list(structures), torch.device("cpu"), torch.float64)


def test_batches_equal_nequips_own_calculator(model, structures):
    report = verify_batching(model, structures)
    assert report.passed, report.summary()
    # The network is float64 throughout: far below the tolerances.
    assert max(c.forces_difference_eV_per_A for c in report.comparisons) < 1e-10
    assert report.uncounted == ()
    assert all(
        [count.batched > 0 for count in comparison.neighbours] == [True]
        for comparison in report.comparisons
    )
    assert np.abs(predict(model, structures)[0].get_forces()).max() > 1e-3


def test_a_batch_in_pieces_equals_the_whole(monkeypatch, model, structures):
    many = [
        *structures,
        *(rattled(bulk("SiC", "zincblende", a=4.36, cubic=True), seed) for seed in range(3)),
    ]
    whole = model.model(state_of(*many))
    sizes = []
    watch = model.model.inner.register_forward_pre_hook(
        lambda _, given: sizes.append(given[0].n_systems)
    )
    monkeypatch.setattr(nequip_module, "pairs_that_fit", lambda device: 300)
    cut = model.model(state_of(*many))
    # About 52, 736 and three times 207 pairs: one that exceeds the limit is alone, and none is
    # lost.
    assert sizes == [1, 1, 1, 1, 1]
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(cut[name], whole[name], rtol=1e-11, atol=1e-11)
    sizes.clear()
    monkeypatch.setattr(nequip_module, "pairs_that_fit", lambda device: 1200)
    model.model(state_of(*many))
    watch.remove()
    assert sizes == [3, 2]


def test_it_knows_its_elements(model):
    assert model.species == {"Si", "C"}
    assert model.cutoff_A == 4.0
    with pytest.raises(ModelError, match="does not know Ge; it knows C, Si"):
        predict(model, [bulk("Ge", "diamond", a=5.6)])


def test_molecules_have_no_stress(model):
    atoms = predict(model, [Atoms("SiC", [[0, 0, 0], [0, 0, 1.8]])])[0]
    np.testing.assert_array_equal(atoms.get_stress(), 0.0)
    assert np.abs(atoms.get_forces()).max() > 0


@pytest.mark.parametrize("what", ["positions", "strain"])
def test_features_pull_back_is_the_gradient(model, what):
    features = model.features()
    atoms = rattled(bulk("SiC", "zincblende", a=4.36), 2)
    generator = np.random.default_rng(2)
    evaluated = features.evaluate(state_of(atoms))
    gradient = torch.from_numpy(generator.normal(size=evaluated.values.shape))
    pulled = evaluated.pull_back(gradient)
    direction = generator.normal(size=(len(atoms), 3) if what == "positions" else (3, 3))
    if what == "strain":
        direction = (direction + direction.T) / 2
    # float64: the truncation was seen to fall as h^2 and is 1e-7 here; round-off is 1e-15/h =
    # 1e-10.
    h = 1e-5
    ends = []
    for sign in (1.0, -1.0):
        moved = atoms.copy()
        if what == "positions":
            moved.positions += sign * h * direction
        else:
            moved.set_cell(atoms.cell.array @ (np.eye(3) + sign * h * direction), scale_atoms=True)
        values = features.evaluate(state_of(moved), pull_back=False).values
        ends.append(float((values * gradient).sum()))
    slope = (ends[0] - ends[1]) / (2 * h)
    got = pulled.positions if what == "positions" else pulled.strain[0]
    assert float((got * torch.from_numpy(direction)).sum()) == pytest.approx(slope, rel=2e-6)


def test_features_of_a_batch_are_those_of_its_systems(model, structures):
    features = model.features()
    together = features.evaluate(state_of(*structures)).values
    alone = torch.cat([features.evaluate(state_of(atoms)).values for atoms in structures])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_nothing_global_is_left_changed(checkpoints):
    import e3nn

    random.seed(5)
    torch.manual_seed(5)
    expected = (random.random(), float(torch.rand(1)))
    random.seed(5)
    torch.manual_seed(5)
    before = (torch.get_default_dtype(), e3nn.get_optimization_defaults())
    load(str(checkpoints["allegro"]), device="cpu")
    assert (torch.get_default_dtype(), e3nn.get_optimization_defaults()) == before
    assert (random.random(), float(torch.rand(1))) == expected


def test_sevennet_and_allegro_live_in_one_process(checkpoints, sevennet):
    allegro = load(str(checkpoints["allegro"]), device="cpu")
    atoms = rattled(bulk("Si", "diamond", a=5.43), 3)
    before = predict(sevennet, [atoms])[0].get_potential_energy()
    predict(allegro, [atoms])
    assert predict(sevennet, [atoms])[0].get_potential_energy() == before
    assert predict(load("7net-0", device="cpu"), [atoms])[
        0
    ].get_potential_energy() == pytest.approx(before)


def test_a_foundation_model_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("ENTROVE_MODELS", raising=False)
    command = r"nequip-compile nequip\.net:mir-group/Allegro-OAM-L:0\.1 allegro-oam-l\.nequip\.pt2"
    with pytest.raises(ModelError, match=command):
        load("allegro-oam-l")
    monkeypatch.setenv("ENTROVE_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match=f"is in {tmp_path}"):
        load("allegro-oam-l")


def test_a_compiled_file_is_evaluated_and_a_package_trained(monkeypatch, tmp_path):
    monkeypatch.setenv("ENTROVE_MODELS", str(tmp_path))
    compiled, package = (
        tmp_path / "allegro-oam-l.nequip.pt2",
        tmp_path / "Allegro-OAM-L-0.1.nequip.zip",
    )
    compiled.touch()
    assert find_foundation_model("allegro-oam-l") == compiled
    with pytest.raises(
        ModelError, match=r"package allegro-oam-l\*\.nequip\.zip must be in .* nequip\.net"
    ):
        find_trainable_model("allegro-oam-l")
    with pytest.raises(ModelError, match="a compiled model cannot be trained, give the package"):
        find_trainable_model(compiled)
    package.touch()
    assert find_foundation_model("allegro-oam-l") == compiled
    assert find_trainable_model("allegro-oam-l") == find_trainable_model(package) == package


def test_which_of_two_versions_is_meant_is_not_guessed(monkeypatch, tmp_path):
    monkeypatch.setenv("ENTROVE_MODELS", str(tmp_path))
    for version in ("0.2", "0.10"):
        (tmp_path / f"Allegro-OAM-L-{version}.nequip.zip").touch()
    with pytest.raises(
        ModelError, match=r"Allegro-OAM-L-0\.10\S* Allegro-OAM-L-0\.2\S* are all in"
    ):
        load("allegro-oam-l")
    with pytest.raises(ModelError, match="leave out '@mpa'"):
        load("allegro-oam-l@mpa")


@pytest.mark.parametrize("suffix", [".nequip.zip", ".ckpt"])
def test_a_file_that_is_no_model_is_refused(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_text("not a model")
    with pytest.raises(ModelError, match="not a NequIP or Allegro model"):
        load(str(path))


@pytest.mark.slow
def test_package_and_compiled_file_equal_the_checkpoint(
    checkpoints, tmp_path, monkeypatch, structures
):
    """What a user does: fetch a package, compile it for batches, put it into ENTROVE_MODELS,
    load."""
    package = tmp_path / "Allegro-OAM-L-0.1.nequip.zip"
    run_nequip("nequip-package", "build", str(checkpoints["allegro"]), str(package))
    monkeypatch.setenv("ENTROVE_MODELS", str(tmp_path))
    reference = predict(load(str(checkpoints["allegro"]), device="cpu"), structures)
    packaged = load("allegro-oam-l", device="cpu")
    assert packaged.features().length == 24

    compiled_file = tmp_path / "allegro-oam-l.nequip.pt2"
    target = ("--mode", "aotinductor", "--device", "cpu", "--target")
    run_nequip("nequip-compile", str(package), str(compiled_file), *target, "batch")
    compiled = load("allegro-oam-l", device="cpu")
    assert verify_batching(compiled, structures).passed
    for model in (packaged, compiled):
        for ours, theirs in zip(predict(model, structures), reference, strict=True):
            np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-9)
            np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-9)
    with pytest.raises(ModelError, match="no access to its per-atom features"):
        compiled.features()

    # The package beside the compiled file is what a campaign trains; without it nothing can be.
    check_trainable = functools.partial(
        NequIPTrainer().check_trainable, refit_reference_energies=True, device="cpu"
    )
    check_trainable("allegro-oam-l", compiled, structures)
    hidden = package.rename(tmp_path / "hidden.nequip.zip")
    with pytest.raises(ModelError, match=r"a compiled file .* can be evaluated, but not trained"):
        check_trainable("allegro-oam-l", compiled, structures)
    hidden.rename(package)

    for_ase = tmp_path / "for-ase.nequip.pt2"
    run_nequip("nequip-compile", str(package), str(for_ase), *target, "ase")
    with pytest.raises(ModelError, match="--target batch"):
        load(str(for_ase), device="cpu")
