import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import entrove
from entrove.errors import ConfigError, ModelError
from entrove.models.registry import load
from entrove.structures import write_structures
from entrove.training.bundle import Regime, checkpoint_of, read_bundle, write_bundle
from entrove.training.trained_model import LABELS_FILE, TrainedModel, training_set_hash


def trained(checkpoint: Path, **changes) -> TrainedModel:
    fields = {
        "folder": checkpoint.parent,
        "checkpoint": checkpoint,
        "framework": "sevennet",
        "base": "small",
        "base_hash": "0" * 64,
        "seed": 5,
        "epochs_run": 3,
        "best_epoch": 3,
        "training_loss": 0.25,
        "watched_loss": None,
        "reference_shifts_eV": {"Si": -0.5},
        "training_labels": 8,
        "training_set_hash": "0123",
        "seconds": 1.5,
        "accepted": True,
    }
    return TrainedModel(**{**fields, **changes})


def write(folder: Path, *members: TrainedModel):
    return write_bundle(
        folder,
        members,
        species=["Si"],
        level_of_theory_hash="abcd",
        level_of_theory="Lennard-Jones",
        metrics={"force_mae_meV_per_A": 12.5},
        regime=Regime(phases=("diamond",), pressures_GPa=(0.0,), temperatures_K=(300.0,)),
    )


@pytest.fixture
def bundle(small_checkpoint, tmp_path) -> Path:
    write(tmp_path / "model", trained(small_checkpoint))
    return tmp_path / "model"


def test_predictions_are_the_same_before_and_after(bundle, small_checkpoint):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    original = load(str(small_checkpoint), device="cpu").calculator()
    from_bundle = entrove.load_model(bundle, device="cpu")
    assert from_bundle.get_potential_energy(atoms) == original.get_potential_energy(atoms)
    np.testing.assert_array_equal(from_bundle.get_forces(atoms), original.get_forces(atoms))
    np.testing.assert_array_equal(from_bundle.get_stress(atoms), original.get_stress(atoms))


def test_torchsim_model_agrees_with_the_calculator(bundle):
    import torch
    import torch_sim

    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    model = entrove.load_model(bundle, device="cpu", kind="torchsim")
    results = model(torch_sim.initialize_state([atoms], device="cpu", dtype=torch.float64))
    calculator = entrove.load_model(bundle, device="cpu")
    # The network is single precision on both sides; sums over eight atoms differ in the seventh
    # digit.
    np.testing.assert_allclose(results["forces"], calculator.get_forces(atoms), atol=1e-6)
    assert float(results["energy"][0]) == pytest.approx(
        calculator.get_potential_energy(atoms), abs=1e-5
    )


def test_what_is_written_is_what_is_read(bundle):
    read = read_bundle(bundle)
    assert (read.species, read.metrics, read.accepted) == (
        ("Si",),
        {"force_mae_meV_per_A": 12.5},
        True,
    )
    assert read.reference_shifts_eV == {"Si": -0.5}
    assert read.weights[0].seed == 5


def test_a_new_bundle_replaces_the_old_one_and_leaves_nothing_else(bundle, small_checkpoint):
    write(bundle, trained(small_checkpoint, seed=6), trained(small_checkpoint, seed=7))
    assert [weights.seed for weights in read_bundle(bundle).weights] == [6, 7]
    assert [path.name for path in bundle.parent.iterdir()] == ["model"]
    assert checkpoint_of(bundle, member=1) == str(bundle / "weights" / "member-1.pth")
    with pytest.raises(ModelError, match="has 2 members; member=2"):
        checkpoint_of(bundle, member=2)


def test_a_package_keeps_the_ending_by_which_it_is_known(tmp_path):
    package = tmp_path / "model.nequip.zip"
    package.write_text("not a model")
    write(tmp_path / "model", trained(package, framework="nequip"))
    assert checkpoint_of(tmp_path / "model").endswith("weights/member-0.nequip.zip")
    with pytest.raises(ModelError, match="not a NequIP or Allegro model"):
        entrove.load_model(tmp_path / "model", device="cpu")


def test_a_bundle_in_the_present_folder_is_written(small_checkpoint, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    written = write(Path(), trained(small_checkpoint))
    assert read_bundle(tmp_path / "here") == written


def test_damaged_weights_are_refused(bundle):
    file = bundle / "weights" / "member-0.pth"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        ModelError, match=r"member-0.pth is damaged .*; copy the folder again, .* 'entrove run'"
    ):
        entrove.load_model(bundle)
    file.unlink()
    with pytest.raises(ModelError, match=r"member-0\.pth is missing.*'entrove run'"):
        entrove.load_model(bundle)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 3, "bundle version 3, but Entrove .* reads versions 1 and 2"),
        ("framework", "mace", "framework: Input should be 'sevennet' or 'nequip'"),
        ("charge_model", "qeq", "charge_model: Extra inputs are not permitted"),
        ("weights", [], "weights: Tuple should have at least 1 item"),
    ],
)
def test_what_is_not_understood_is_refused(bundle, key, value, message):
    path = bundle / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ModelError, match=message):
        entrove.load_model(bundle)


def test_torn_file_and_other_folders_are_refused(bundle, tmp_path, small_checkpoint):
    path = bundle / "bundle.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ModelError, match=r"the bundle is damaged.*'entrove run' write it again"):
        entrove.load_model(bundle)
    with pytest.raises(ModelError, match=r"is not a model bundle: it has no bundle.json"):
        entrove.load_model(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ModelError, match="holds files that are not a model bundle"):
        write(tmp_path / "other", trained(small_checkpoint))


def test_members_of_a_committee_must_belong_together(small_checkpoint, tmp_path):
    with pytest.raises(ModelError, match="has learnt from other labels than the first one"):
        write(
            tmp_path / "model",
            trained(small_checkpoint),
            trained(small_checkpoint, training_set_hash="4567"),
        )
    with pytest.raises(ModelError, match="at least one trained model"):
        write(tmp_path / "model")


def test_a_member_may_have_learnt_from_a_part_of_the_labels_and_from_no_others(
    small_checkpoint, labelled_silicon, tmp_path
):
    def member(name: str, labels: list[Atoms]) -> TrainedModel:
        (tmp_path / name).mkdir()
        write_structures(tmp_path / name / LABELS_FILE, labels)
        known = training_set_hash(labels)
        return trained(small_checkpoint, folder=tmp_path / name, training_set_hash=known)

    first, part = member("first", labelled_silicon[:6]), member("part", labelled_silicon[2:5])
    other = member("other", labelled_silicon[4:7])
    assert len(write(tmp_path / "model", first, part).weights) == 2
    for refused in (other, trained(small_checkpoint, folder=tmp_path / "nowhere")):
        with pytest.raises(ModelError, match="has learnt from other labels than the first one"):
            write(tmp_path / "model", first, refused)


def test_a_moved_bundle_still_loads(bundle, tmp_path):
    shutil.move(bundle, tmp_path / "elsewhere")
    assert read_bundle(tmp_path / "elsewhere").training_labels == 8
    entrove.load_model(tmp_path / "elsewhere", device="cpu")


@pytest.mark.slow
def test_loading_needs_no_package_beyond_sevennet(bundle):
    """A fresh interpreter in which NequIP, GPAW and plotly cannot be imported loads a bundle."""
    program = (
        "import sys\n"
        "for name in ('nequip', 'allegro', 'chgnet', 'gpaw', 'plotly', 'phonopy'):\n"
        "    sys.modules[name] = None\n"
        "import entrove\n"
        "from ase.build import bulk\n"
        f"calculator = entrove.load_model({str(bundle)!r}, device='cpu')\n"
        "print(calculator.get_potential_energy(bulk('Si')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = entrove.load_model(bundle, device="cpu").get_potential_energy(bulk("Si"))
    assert float(done.stdout.split()[-1]) == pytest.approx(expected, abs=1e-6)


def test_training_set_hash_knows_structures_and_energies_but_not_their_order(labelled_silicon):
    reference = training_set_hash(labelled_silicon)
    assert training_set_hash(labelled_silicon[::-1]) == reference
    assert training_set_hash(labelled_silicon[:-1]) != reference
    from entrove.structures import attach_results

    first = labelled_silicon[0]
    changed = attach_results(
        first, first.get_potential_energy() + 1e-3, first.get_forces(), first.get_stress()
    )
    assert training_set_hash([changed, *labelled_silicon[1:]]) != reference


@pytest.mark.parametrize("kind", ["lammps", "torch-sim", "", None])
def test_a_kind_that_does_not_exist_is_refused(bundle, kind):
    # As users have it, without the type checks of these tests.
    load_model = inspect.unwrap(entrove.load_model)
    with pytest.raises(ConfigError, match=r"kind=.* 'ase' \(an ASE calculator\) or 'torchsim'"):
        load_model(bundle, device="cpu", kind=kind)
