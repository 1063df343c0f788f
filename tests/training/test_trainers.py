"""The registry of models and that of trainers agree on what can be tuned."""

import importlib.util
import subprocess
import sys

import pytest
from pydantic import ValidationError

from entrove.errors import ModelError
from entrove.models.registry import FRAMEWORKS
from entrove.training.config import EPOCHS_OF_AUTO, STEPS_OF_AUTO, TrainingConfig
from entrove.training.request import make_request
from entrove.training.trainers import TRAINERS, Trainer, trainer_for
from entrove.training.tuning import fine_tune


def test_a_framework_has_a_trainer_if_and_only_if_it_can_be_tuned():
    assert {framework.name for framework in FRAMEWORKS if framework.trainable} == set(TRAINERS)


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_is_one(name):
    trainer = trainer_for(name)
    assert isinstance(trainer, Trainer)
    assert importlib.util.find_spec(trainer.worker) is not None
    (framework,) = (framework for framework in FRAMEWORKS if framework.name == name)
    # What it makes can be loaded, and tuned again.
    assert framework.trains(trainer.checkpoint)
    assert trainer.takes_fidelities == framework.has_fidelities


def test_frameworks_of_the_configuration_are_those_of_the_trainers():
    for name in TRAINERS:
        assert TrainingConfig(framework=name).framework == name
    with pytest.raises(ValidationError, match="Input should be 'sevennet' or 'nequip'"):
        TrainingConfig(framework="chgnet")


def test_what_a_framework_does_not_take_is_named(labelled_silicon, tmp_path):
    config = TrainingConfig(framework="nequip")
    with pytest.raises(
        ModelError, match=r"nequip has no fidelities \(modal=PBE\); leave them out"
    ):
        fine_tune(labelled_silicon, "any.ckpt", tmp_path / "run", config, modal="PBE")


def test_settings_do_not_wait_for_torch():
    code = (
        "import sys\n"
        "from entrove.training import TrainingConfig\n"
        "TrainingConfig(framework='nequip')\n"
        "print([m for m in ('torch', 'ase') if m in sys.modules])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_few_labels_are_learnt_in_as_many_steps_as_many(batch_size):
    config = TrainingConfig(batch_size=batch_size)
    counts = range(1, 2000, 7)
    epochs = [config.for_labels(count).fixed_epochs for count in counts]
    assert epochs == sorted(epochs, reverse=True)
    fewest, most = EPOCHS_OF_AUTO
    assert {epochs[0], epochs[-1]} <= {fewest, most}
    for count, number in zip(counts, epochs, strict=True):
        steps = -(-count // batch_size)
        assert fewest <= number <= most
        assert number == most or number * steps >= STEPS_OF_AUTO
        assert number == fewest or (number - 1) * steps < STEPS_OF_AUTO
    assert config.model_copy(update={"epochs": 3}).for_labels(5).epochs == 3


def test_a_training_knows_its_epochs_before_it_starts(labelled_silicon):
    request = make_request(
        labelled_silicon,
        "7net-0",
        TrainingConfig(),
        seed=1,
        head_noise=0.0,
        snapshots=(),
        modal=None,
        device="cpu",
        threads=1,
    )
    assert request.job().config.epochs == EPOCHS_OF_AUTO[1]
    # A part of the labels is learnt for as many epochs: only then are recipes compared fairly.
    assert request.with_structures(labelled_silicon[:1]).job().config.epochs == EPOCHS_OF_AUTO[1]
    with pytest.raises(ValueError, match="depends on the number of labels"):
        _ = TrainingConfig().fixed_epochs


def test_a_file_in_this_folder_does_not_replace_the_model_of_that_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7net-0").write_text("no model")
    found = trainer_for("sevennet").find_starting_model("7net-0")
    assert (found.name, found.known_as) == ("7net-0", "7net-0")
    assert found.file.parent != tmp_path
