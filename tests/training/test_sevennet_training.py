"""Training in its own process: equal weights for a seed, killed or not, and messages that help."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from entrove.errors import ModelError
from entrove.execution.program import only_worker
from entrove.structures import (
    attach_results,
    content_hash,
    copy_structure,
    read_structures,
    write_structures,
)
from entrove.training.config import TrainingConfig
from entrove.training.job import Job, prepare_folder
from entrove.training.launch import prepare_training
from entrove.training.loss import targets_of
from entrove.training.replay import DIMERS_PER_PAIR
from entrove.training.request import make_request
from entrove.training.sevennet.trainee import HEAD_WEIGHTS, load_trainee
from entrove.training.sevennet.worker import make_problem
from entrove.training.trained_model import same_labels
from entrove.training.tuning import fine_tune

CONFIG = TrainingConfig(epochs=4, batch_size=3, learning_rate=0.01)
SEED = 3


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=False)["model_state_dict"]


def assert_equal_weights(one: Path, other: Path):
    left, right = weights_of(one), weights_of(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def uninterrupted(small_checkpoint, labelled_silicon, tmp_path_factory):
    """A finished run, and the epochs that it reported."""
    epochs = []
    folder = tmp_path_factory.mktemp("uninterrupted")
    model = fine_tune(
        labelled_silicon,
        small_checkpoint,
        folder,
        CONFIG,
        seed=SEED,
        device="cpu",
        on_epoch=epochs.append,
    )
    return model, epochs


def test_every_epoch_is_reported(uninterrupted):
    model, epochs = uninterrupted
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert model.epochs_run == 4
    assert model.training_loss == epochs[-1].training_loss < epochs[0].training_loss
    # Labels lie 5 eV per atom below a Lennard-Jones potential of a few tenths of an eV.
    assert model.reference_shifts_eV["Si"] == pytest.approx(-5.0, abs=0.5)


def test_finished_run_returns_at_once(uninterrupted, small_checkpoint, labelled_silicon):
    model, _ = uninterrupted
    before = model.checkpoint.stat().st_mtime_ns
    again = fine_tune(
        labelled_silicon, small_checkpoint, model.folder, CONFIG, seed=SEED, device="cpu"
    )
    assert again == model
    assert model.checkpoint.stat().st_mtime_ns == before


def test_folder_of_another_run_is_refused(uninterrupted, small_checkpoint, labelled_silicon):
    model, _ = uninterrupted
    with pytest.raises(
        ModelError, match=r"holds another training run \(it differs in seed, labels_hash\)"
    ):
        fine_tune(
            labelled_silicon[1:], small_checkpoint, model.folder, CONFIG, seed=9, device="cpu"
        )


@pytest.mark.parametrize("quantity", ["forces", "stress"])
def test_labels_that_were_corrected_are_those_of_another_run(
    uninterrupted, small_checkpoint, labelled_silicon, quantity
):
    """Also where their energies are the same, as after a wrong sign of the stress."""
    model, _ = uninterrupted
    corrected = [atoms.copy() for atoms in labelled_silicon]
    for copied, atoms in zip(corrected, labelled_silicon, strict=True):
        results = atoms.calc.results
        copied.calc = SinglePointCalculator(
            copied, **results | {quantity: -np.asarray(results[quantity])}
        )
    kept = (model.folder / "labels.xyz").read_bytes()
    with pytest.raises(ModelError, match=r"holds another training run \(it differs in labels"):
        fine_tune(corrected, small_checkpoint, model.folder, CONFIG, seed=SEED, device="cpu")
    assert (model.folder / "labels.xyz").read_bytes() == kept


def test_a_run_continues_with_its_labels_in_the_order_that_it_began_with(
    small_checkpoint, labelled_silicon, tmp_path
):
    """Which of them are set aside follows from their order."""

    def labels_kept_of(labels: list[Atoms]) -> bytes:
        request = make_request(
            labels,
            small_checkpoint,
            CONFIG,
            seed=SEED,
            head_noise=0.0,
            snapshots=(),
            modal=None,
            device="cpu",
            threads=1,
        )
        prepare_training(request, tmp_path)
        return (tmp_path / "labels.xyz").read_bytes()

    assert labels_kept_of(labelled_silicon) == labels_kept_of(labelled_silicon[::-1])


def test_a_structure_with_two_labels_equals_itself_only(labelled_silicon):
    first = labelled_silicon[0]
    second = attach_results(
        first, first.get_potential_energy() + 0.01, first.get_forces(), first.get_stress()
    )
    assert same_labels([first, second], [second, first])
    assert not same_labels([first, second], [first, first])
    assert not same_labels([first, second], [second])


def test_a_run_that_an_earlier_version_began_is_the_same_run(
    uninterrupted, small_checkpoint, labelled_silicon
):
    """A key that was added since has its default; packages were told apart by their version."""
    model, _ = uninterrupted
    path = model.folder / "job.json"
    kept = path.read_text()
    found = json.loads(kept)
    del found["config"]["schedule"], found["modal"]
    path.write_text(json.dumps(found | {"base_hash": f"{found['base']} of sevenn 0.12.9"}))
    assert (
        fine_tune(
            labelled_silicon, small_checkpoint, model.folder, CONFIG, seed=SEED, device="cpu"
        )
        == model
    )
    assert path.read_text() == kept
    path.write_text(json.dumps(found | {"base_hash": "0"}))
    with pytest.raises(ModelError, match=r"it differs in base_hash"):
        fine_tune(
            labelled_silicon, small_checkpoint, model.folder, CONFIG, seed=SEED, device="cpu"
        )
    path.write_text(kept)


def test_killed_and_resumed_equals_uninterrupted(
    uninterrupted, small_checkpoint, labelled_silicon, tmp_path
):
    """Kill -9 after the second epoch: the same call then ends with bitwise the same weights."""
    model, _ = uninterrupted
    folder = tmp_path / "killed"
    job = Job.model_validate_json((model.folder / "job.json").read_text())
    prepare_folder(folder, job)
    write_structures(folder / "labels.xyz", labelled_silicon)
    command = [sys.executable, "-m", "entrove.training.sevennet.worker", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as worker:
        _wait_for_lines(folder / "progress.jsonl", 2)
        worker.send_signal(signal.SIGKILL)
    assert worker.returncode == -signal.SIGKILL
    # As if the kill had torn the line that was being written.
    with (folder / "progress.jsonl").open("a") as handle:
        handle.write('{"number": 3, "epo')
    epochs = []
    resumed = fine_tune(
        labelled_silicon,
        small_checkpoint,
        folder,
        CONFIG,
        seed=SEED,
        device="cpu",
        on_epoch=epochs.append,
    )
    assert_equal_weights(resumed.checkpoint, model.checkpoint)
    assert resumed.training_loss == model.training_loss
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]


def test_a_run_replays_dimers_and_its_snapshots_and_is_no_run_without(
    small_checkpoint, labelled_silicon, tmp_path
):
    config = CONFIG.model_copy(update={"epochs": 1, "replay": 0.3})
    snapshots = [atoms.copy() for atoms in labelled_silicon[:2]]
    arguments = (labelled_silicon, small_checkpoint, tmp_path)
    trained = fine_tune(*arguments, config, seed=SEED, snapshots=snapshots, device="cpu")
    assert trained.epochs_run == 1
    replayed = read_structures(tmp_path / "replay.xyz")
    assert [len(atoms) for atoms in replayed if not atoms.pbc.any()] == [2] * DIMERS_PER_PAIR
    assert [content_hash(atoms) for atoms in replayed[DIMERS_PER_PAIR:]] == [
        content_hash(atoms) for atoms in snapshots
    ]
    with pytest.raises(ModelError, match=r"it differs in replay_hash"):
        fine_tune(*arguments, config, seed=SEED, device="cpu")


@pytest.mark.slow
def test_members_with_other_heads_replay_the_same_labels_of_the_untuned_model(
    small_checkpoint, labelled_silicon, tmp_path
):
    config = CONFIG.model_copy(update={"epochs": 1, "replay": 0.3})
    fine_tune(labelled_silicon, small_checkpoint, tmp_path, config, seed=SEED, device="cpu")
    job = Job.model_validate_json((tmp_path / "job.json").read_text())
    plain, shifts = make_problem(tmp_path, job)
    noisy, noisy_shifts = make_problem(tmp_path, job.model_copy(update={"head_noise": 0.5}))
    for one, other in zip(plain.replayed, noisy.replayed, strict=True):
        torch.testing.assert_close(one.targets.energy_eV, other.targets.energy_eV)
        torch.testing.assert_close(
            one.targets.forces_eV_per_A, other.targets.forces_eV_per_A, atol=1e-6, rtol=1e-5
        )
    heads = [problem.trainee.module.get_parameter(HEAD_WEIGHTS[0]) for problem in (plain, noisy)]
    assert not torch.allclose(*heads)
    # The zero of the other head is that of the labels, too.
    assert noisy_shifts["Si"] != pytest.approx(shifts["Si"], abs=1e-3)
    for problem in (plain, noisy):
        energies = problem.trainee.predict(problem.training).energy_eV.detach()
        right = torch.cat([sample.targets.energy_eV for sample in problem.training])
        atoms = torch.tensor([len(s.targets.forces_eV_per_A) for s in problem.training])
        assert float(((energies - right) / atoms).mean()) == pytest.approx(0.0, abs=1e-3)


def _wait_for_lines(path: Path, count: int):
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_text().count("\n") < count:
        assert time.monotonic() < deadline, f"{path} did not get {count} lines"
        time.sleep(0.005)


def test_worker_ends_with_the_process_that_started_it(uninterrupted, labelled_silicon, tmp_path):
    """The pipe to the worker closes when its parent dies, however it dies."""
    model, _ = uninterrupted
    job = Job.model_validate_json((model.folder / "job.json").read_text())
    long = job.model_copy(update={"config": job.config.model_copy(update={"epochs": 100_000})})
    prepare_folder(tmp_path, long)
    write_structures(tmp_path / "labels.xyz", labelled_silicon)
    command = [sys.executable, "-m", "entrove.training.sevennet.worker", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as worker:
        _wait_for_lines(tmp_path / "progress.jsonl", 1)
        with (
            pytest.raises(ModelError, match="another process trains here"),
            only_worker(tmp_path, "trains"),
        ):
            pass
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(timeout=30) == 3
    with only_worker(tmp_path, "trains"):  # the lock died with it
        pass


def test_error_in_the_worker_arrives_as_it_is(small_checkpoint, labelled_silicon, tmp_path):
    germanium = labelled_silicon[0].copy()
    germanium.symbols[:] = "Ge"
    label = labelled_silicon[0]
    germanium = attach_results(
        germanium, label.get_potential_energy(), label.get_forces(), label.get_stress()
    )
    with pytest.raises(
        ModelError, match=r"^\S*small.pth does not know Ge; choose a model that covers them$"
    ):
        fine_tune([*labelled_silicon, germanium], small_checkpoint, tmp_path, CONFIG, device="cpu")


def test_damaged_checkpoint_is_an_error(small_checkpoint, tmp_path):
    (tmp_path / "torn.pth").write_bytes(small_checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"torn.pth: SevenNet cannot load this checkpoint"):
        load_trainee(str(tmp_path / "torn.pth"), torch.device("cpu"))


def test_no_labels_is_an_error(small_checkpoint, labelled_silicon, tmp_path):
    with pytest.raises(ModelError, match="no labels to train on"):
        fine_tune([], small_checkpoint, tmp_path, CONFIG)
    with pytest.raises(ModelError, match="structure 1 of 2 has no label"):
        fine_tune(
            [labelled_silicon[0], copy_structure(labelled_silicon[1])],
            small_checkpoint,
            tmp_path,
            CONFIG,
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("quantity", ["energy", "forces", "stress"])
def test_a_damaged_label_is_named_before_a_training(
    small_checkpoint, labelled_silicon, tmp_path, quantity, value
):
    """Wherever it would be: trained on, set aside for early stopping, or held out."""
    count = len(labelled_silicon)
    for index in (0, count - 1):
        labels = copy.deepcopy(labelled_silicon)
        results = labels[index].calc.results
        damaged = np.array(results[quantity], dtype=float)
        damaged.flat[-1] = value
        results[quantity] = damaged if damaged.ndim else float(damaged)
        message = rf"structure {index} of {count} \(Si2\) has a number in its {quantity} that is"
        with pytest.raises(ModelError, match=message):
            fine_tune(labels, small_checkpoint, tmp_path / "model", CONFIG, device="cpu")
    assert not (tmp_path / "model").exists()


def test_progress_file_is_json_lines(uninterrupted):
    model, epochs = uninterrupted
    lines = [
        json.loads(line) for line in (model.folder / "progress.jsonl").read_text().splitlines()
    ]
    assert [line["training_loss"] for line in lines] == [epoch.training_loss for epoch in epochs]
    assert all(line["seconds"] > 0 for line in lines)
    assert os.listdir(model.folder).count("model.pth") == 1


def test_constraints_do_not_hide_forces(labelled_silicon: list[Atoms]):
    """A fixed atom's label is still its full force."""
    label = labelled_silicon[0]
    fixed = attach_results(
        label, label.get_potential_energy(), label.get_forces(), label.get_stress()
    )
    fixed.set_constraint(FixAtoms([0]))
    assert torch.equal(
        targets_of(fixed).forces_eV_per_A, targets_of(labelled_silicon[0]).forces_eV_per_A
    )
