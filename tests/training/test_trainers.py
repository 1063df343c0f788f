"""The registry of models and that of trainers agree on what can be tuned."""

import importlib.util
import subprocess
import sys

import pytest
from pydantic import ValidationError

from entrove.errors import ModelError
from entrove.models.registry import FRAMEWORKS
from entrove.training.config import TrainingConfig
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
