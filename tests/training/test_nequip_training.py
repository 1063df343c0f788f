"""NequIP's own training loop, on a small Allegro model; its first start compiles for a minute."""

import functools
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import lightning
import nequip.scripts.train
import numpy as np
import pytest
import torch
import torch_sim
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hydra.utils import get_method, instantiate
from pydantic import ValidationError
from torch.utils.data import DataLoader

from entrove.errors import ModelError
from entrove.models.nequip.loading import nequip_settings
from entrove.models.nequip.model import NequIPModel
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import attach_results, write_structures
from entrove.training.config import TrainingConfig, require_published_settings
from entrove.training.job import (
    Epoch,
    Job,
    append_epoch,
    prepare_folder,
    read_epochs,
    read_job,
)
from entrove.training.nequip import worker
from entrove.training.nequip.from_scratch import (
    ARCHITECTURES,
    build_description,
    find_architecture,
    read_architecture,
)
from entrove.training.nequip.settings import WATCHED, Start, settings, shifted_model
from entrove.training.nequip.trainer import NequIPTrainer, require_same_predictions
from entrove.training.request import make_request
from entrove.training.split import split_for_stopping
from entrove.training.tuning import fine_tune
from entrove.training.worker_process import DivergenceError

CONFIG = TrainingConfig(framework="nequip", epochs=3, batch_size=3, learning_rate=0.01)


@pytest.mark.slow
def test_tuned_package_has_the_shift_and_fits_better(small_allegro, labelled_silicon, tmp_path):
    epochs = []
    model = fine_tune(
        labelled_silicon,
        small_allegro,
        tmp_path / "run",
        CONFIG,
        device="cpu",
        on_epoch=epochs.append,
    )
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert model.framework == "nequip"
    assert model.checkpoint.name == "model.nequip.zip"
    small_allegro.rename(small_allegro.with_suffix(".moved"))
    try:  # the package stands alone
        tuned = load(str(model.checkpoint), device="cpu").calculator()
    finally:
        small_allegro.with_suffix(".moved").rename(small_allegro)
    untuned = load(str(small_allegro), device="cpu").calculator()
    errors = {"tuned": [], "untuned": []}
    for atoms in labelled_silicon:
        for name, calculator in (("tuned", tuned), ("untuned", untuned)):
            errors[name].append(
                (calculator.get_potential_energy(atoms) - atoms.get_potential_energy())
                / len(atoms)
            )
    shift = model.reference_shifts_eV["Si"]
    # Least squares with one species: the shift takes the mean error of the untuned model away.
    assert shift == pytest.approx(-np.mean(errors["untuned"]), abs=1e-6)
    assert abs(np.mean(errors["tuned"])) < 0.5 * abs(np.mean(errors["untuned"]))
    assert epochs[-1].training_loss < epochs[0].training_loss
    again = fine_tune(labelled_silicon, small_allegro, tmp_path / "run", CONFIG, device="cpu")
    assert again == model


SCALES = {"per_type_energy_scales": {"Si": 1.0, "C": 2.0}}
SHIFTS = {"per_type_energy_shifts": {"Si": -5.0, "C": -9.0}}
NEITHER = {"per_type_energy_scales": None, "per_type_energy_shifts": None}  # NequIP's default


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("given", [{}, SCALES, SHIFTS, SCALES | SHIFTS])
def test_a_model_without_scales_or_shifts_is_tuned_or_refused_before_there_are_labels(
    write_small_nequip, labelled_silicon, tmp_path, given, refit
):
    """Whatever passes the check can be tuned; where energies are refitted, the tuned model has
    them."""
    base = str(write_small_nequip("allegro", **NEITHER | given))
    untuned = load(base, device="cpu")
    config = CONFIG.model_copy(
        update={"epochs": 1, "learning_rate": 1e-9, "refit_reference_energies": refit}
    )
    check = functools.partial(
        NequIPTrainer().check_trainable, base, untuned, labelled_silicon, device="cpu"
    )
    if refit and given != SCALES | SHIFTS:
        with pytest.raises(ModelError, match="refit_reference_energies: false"):
            check(refit_reference_energies=True)
        return
    check(refit_reference_energies=refit)
    tuned = fine_tune(labelled_silicon, base, tmp_path, config, device="cpu")
    assert set(tuned.reference_shifts_eV) == ({"Si"} if refit else set())
    energies = [
        atoms.get_potential_energy() / len(atoms)
        for model in (load(str(tuned.checkpoint), device="cpu"), untuned)
        for atoms in predict(model, labelled_silicon[:1])
    ]
    # Adam's three steps change weights of the order of 1 by 1e-9 each.
    assert energies[0] - energies[1] == pytest.approx(
        tuned.reference_shifts_eV.get("Si", 0.0), abs=1e-5
    )


@pytest.mark.parametrize("given", [{}, SCALES, SHIFTS])
def test_energies_per_species_are_refitted_only_where_nequip_can_change_them(
    write_small_nequip, labelled_silicon, given
):
    base = str(write_small_nequip("allegro", **NEITHER | given))
    check = functools.partial(
        NequIPTrainer().check_trainable,
        base,
        load(base, device="cpu"),
        labelled_silicon,
        device="cpu",
    )
    with pytest.raises(
        ModelError, match=r"built with per_type_energy_scales and per_type_energy_shifts"
    ):
        check(refit_reference_energies=True)
    check(refit_reference_energies=False)


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("given", [{}, SCALES, SHIFTS, SCALES | SHIFTS])
def test_training_starts_from_the_model_with_what_was_refitted(
    write_small_nequip, labelled_silicon, tmp_path, given, refit
):
    """NequIP builds it from what the worker writes, or the worker says what it lacks."""
    base = str(write_small_nequip("allegro", **NEITHER | given))
    config = CONFIG.model_copy(update={"refit_reference_energies": refit})
    job = Job(base=base, base_hash="0", seed=0, labels_hash="1", config=config)
    if refit and given != SCALES | SHIFTS:
        with pytest.raises(ModelError, match="refit_reference_energies: false"):
            worker.write_inputs(tmp_path, job, labelled_silicon)
        return
    shifts = worker.write_inputs(tmp_path, job, labelled_silicon)
    written = yaml.safe_load((tmp_path / "nequip.yaml").read_text())["training_module"]["model"]
    before = load(base, device="cpu").model
    assert isinstance(before, NequIPModel)
    build = get_method(written.pop("_target_"))
    with nequip_settings():
        built = build(**written)["sole_model"].eval()
    start = NequIPModel(replace(before.network, module=built), torch.device("cpu"))
    state = torch_sim.initialize_state(labelled_silicon[:1], start.device, start.dtype)
    change = (start(state)["energy"] - before(state)["energy"]) / len(labelled_silicon[0])
    # Both sum the same terms in float64.
    assert float(change) == pytest.approx(shifts.get("Si", 0.0), abs=1e-9)
    assert set(shifts) == ({"Si"} if refit else set())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_and_resumed_does_each_epoch_once(small_allegro, labelled_silicon, tmp_path):
    """Kill -9 in the middle: the same call continues from NequIP's checkpoint, Adam included.

    The order of the labels in later epochs may differ, so that equality is not bitwise.
    """
    config = CONFIG.model_copy(update={"epochs": 8})
    whole = fine_tune(labelled_silicon, small_allegro, tmp_path / "whole", config, device="cpu")
    folder = tmp_path / "killed"
    job = Job.model_validate_json((whole.folder / "job.json").read_text())
    prepare_folder(folder, job)
    write_structures(folder / "labels.xyz", labelled_silicon)
    command = [sys.executable, "-m", "entrove.training.nequip.worker", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as worker:
        while len(read_epochs(folder)) < 4:
            assert worker.poll() is None
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
    done = read_epochs(folder)
    assert len(done) < 8
    resumed = fine_tune(labelled_silicon, small_allegro, folder, config, device="cpu")
    epochs, uninterrupted = read_epochs(folder), read_epochs(whole.folder)
    assert [epoch.number for epoch in epochs] == list(range(1, 9))
    assert epochs[: len(done) - 1] == done[:-1]
    assert resumed.reference_shifts_eV == whole.reference_shifts_eV
    # It neither starts again nor forgets: the rate goes on falling, and the loss is no larger.
    rates = [epoch.learning_rate for epoch in epochs]
    assert rates == pytest.approx([epoch.learning_rate for epoch in uninterrupted])
    assert epochs[-1].training_loss < epochs[0].training_loss
    assert epochs[-1].training_loss == pytest.approx(uninterrupted[-1].training_loss, rel=0.3)


class Watched(lightning.LightningModule):
    """One weight, and losses on watched labels that are known beforehand."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses, self.begun = losses, []
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        return self.layer(batch).square().mean()

    def on_train_epoch_start(self) -> None:
        self.begun.append(self.current_epoch + 1)

    def validation_step(self, _: torch.Tensor, __: int) -> None:
        self.log(WATCHED, self.losses[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


@pytest.mark.filterwarnings("ignore")  # Lightning's, about workers that load data, and old names
@pytest.mark.parametrize("watched", [True, False])
def test_what_continues_is_the_last_epoch_and_what_is_kept_the_best_one(watched, tmp_path):
    config = CONFIG.model_copy(update={"epochs": 7})
    job = Job(base="/models/a.nequip.zip", base_hash="0", seed=3, labels_hash="1", config=config)
    start = Start(shifted_model(job.base, {}), ["Si"], 6.0)
    written = settings(job, tmp_path, start, watched=watched, with_stress=True)["trainer"]
    data = DataLoader(torch.ones(2, 1))

    def begun(epochs: int, checkpoint: Path | None = None) -> list[int]:
        model = Watched([0.6, 0.4, 0.5, 0.5, 0.5, 0.3, 0.7])
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            callbacks=[
                instantiate(each)
                for each in written["callbacks"]
                if "ReportEpochs" not in each["_target_"]
            ],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, data, data, ckpt_path=checkpoint, weights_only=False)
        return model.begun

    def epochs_saved() -> dict[str, int]:
        return {
            path.stem: torch.load(path, weights_only=False)["epoch"] + 1
            for path in tmp_path.glob("*.ckpt")
        }

    assert begun(5) == [1, 2, 3, 4, 5]
    assert epochs_saved() == {"last": 5, "state-best": 2 if watched else 5}
    assert begun(7, tmp_path / "last.ckpt") == [6, 7]
    assert epochs_saved() == {"last": 7, "state-best": 6 if watched else 7}


@pytest.mark.parametrize(("last", "finished"), [([0.4, 0.3], False), ([0.4, 0.4, 0.5], True)])
def test_a_training_that_had_stopped_early_is_not_trained_further(
    small_allegro, labelled_silicon, tmp_path, monkeypatch, last, finished
):
    """As when it was killed while its model was packaged: the epochs are those of an
    uninterrupted one."""
    config = CONFIG.model_copy(update={"epochs": 50, "stop_patience": 3})
    job = Job(base=str(small_allegro), base_hash="0", seed=0, labels_hash="1", config=config)
    prepare_folder(tmp_path, job)
    write_structures(tmp_path / "labels.xyz", labelled_silicon)
    for number, loss in enumerate([0.6, 0.4, *last], 1):
        append_epoch(tmp_path, Epoch(number, 50, 0.1, loss, 0.01), float(number))
    trained = []
    monkeypatch.setattr(worker, "_train", trained.append)
    monkeypatch.setattr(worker, "_package", lambda folder: None)
    result = worker.run_job(tmp_path)
    assert trained == ([] if finished else [tmp_path])
    assert (result.epochs_run, result.best_epoch) == ((5, 2) if finished else (4, 4))


@pytest.mark.parametrize(
    "name", ["run", "Müller", "硅", "run (1)", "300=K", "Si,C", "Si[1]", "a'b", "a#b", "~1", "a&"]
)
def test_an_interrupted_training_continues_in_a_folder_of_any_name(
    small_allegro, labelled_silicon, tmp_path, monkeypatch, name
):
    """What NequIP's training is given as its checkpoint is the path itself."""
    folder = tmp_path / name
    job = Job(base=str(small_allegro), base_hash="0", seed=0, labels_hash="1", config=CONFIG)
    prepare_folder(folder, job)
    given: list[Any] = []
    main = hydra.main(version_base=None, config_path=None, config_name="config")(given.append)
    monkeypatch.setattr(nequip.scripts.train, "main", main)
    monkeypatch.setattr(sys, "argv", [])
    for interrupted in (False, True):
        if interrupted:
            (folder / "last.ckpt").touch()
        worker.write_inputs(folder, job, labelled_silicon)
        worker._train(folder)
    first, second = given
    assert "ckpt_path" not in first
    assert second["ckpt_path"] == str(folder / "last.ckpt")
    assert second["data"] == first["data"]


@pytest.mark.slow
def test_element_that_the_model_does_not_know_is_named(small_allegro, labelled_silicon, tmp_path):
    label = labelled_silicon[0]
    germanium = label.copy()
    germanium.symbols[:] = "Ge"
    germanium = attach_results(
        germanium, label.get_potential_energy(), label.get_forces(), label.get_stress()
    )
    with pytest.raises(ModelError, match="does not know Ge"):
        fine_tune([*labelled_silicon, germanium], small_allegro, tmp_path, CONFIG, device="cpu")


def test_only_trainable_files_are_taken(labelled_silicon: list[Atoms], tmp_path):
    (tmp_path / "fast.nequip.pt2").touch()
    with pytest.raises(ModelError, match="a compiled model cannot be trained, give the package"):
        fine_tune(labelled_silicon, tmp_path / "fast.nequip.pt2", tmp_path / "run", CONFIG)
    with pytest.raises(ModelError, match=r"no head_noise \(0.1\); leave them out"):
        fine_tune(labelled_silicon, "any", tmp_path / "run", CONFIG, head_noise=0.1)


def test_an_architecture_that_is_not_there_is_named_before_a_training_begins(
    labelled_silicon, tmp_path
):
    with pytest.raises(ModelError, match=r"smal\.yaml: not an architecture that can be read"):
        fine_tune(labelled_silicon, tmp_path / "smal.yaml", tmp_path / "run", CONFIG)
    assert not (tmp_path / "run").exists()


def test_a_compiled_file_of_another_model_is_found_out(small_allegro, labelled_silicon, tmp_path):
    from small_allegro import ALLEGRO, write_checkpoint

    with nequip_settings():
        other = write_checkpoint(tmp_path / "other.ckpt", ALLEGRO | {"seed": 2})
    ours, theirs = load(str(small_allegro), device="cpu"), load(str(other), device="cpu")
    require_same_predictions(ours, load(str(small_allegro), device="cpu"), labelled_silicon[:2])
    with pytest.raises(
        ModelError, match=r"are different models: energies differ by .*compile this package"
    ):
        require_same_predictions(ours, theirs, labelled_silicon[:2])


def test_head_noise_is_refused_before_there_are_labels():
    with pytest.raises(
        ValidationError, match=r"head_noise=0.1 is for framework sevennet; remove it"
    ):
        TrainingConfig(framework="nequip", committee_size=2, head_noise=0.1)


def test_a_strategy_that_a_framework_lacks_is_refused():
    with pytest.raises(
        ValidationError,
        match="strategy=lora is not for framework nequip, which has naive and frozen",
    ):
        TrainingConfig(framework="nequip", strategy="lora")


def test_every_setting_reaches_the_configuration_of_nequip(tmp_path):
    config = TrainingConfig(
        framework="nequip",
        epochs=17,
        batch_size=5,
        learning_rate=3e-5,
        schedule="plateau",
        plateau_factor=0.25,
        plateau_patience=7,
        gradient_clip=0.015,
        ema_decay=0.995,
        stop_patience=11,
    )
    job = Job(base="/models/a.nequip.zip", base_hash="0", seed=3, labels_hash="1", config=config)
    start = Start(shifted_model(job.base, {"Si": -107.5}), ["Si"], 6.0)
    written = settings(job, tmp_path, start, watched=True, with_stress=True)
    assert yaml.safe_load(yaml.safe_dump(written)) == written
    trainer, module = written["trainer"], written["training_module"]
    assert (trainer["max_epochs"], trainer["gradient_clip_val"]) == (17, 0.015)
    assert trainer["callbacks"][-1]["patience"] == 11
    assert written["data"]["train_dataloader"]["batch_size"] == 5
    assert written["data"]["seed"] == 3
    assert module["ema_decay"] == 0.995
    assert module["optimizer"]["lr"] == 3e-5
    assert module["lr_scheduler"]["scheduler"] | {"_target_": ""} == {
        "_target_": "",
        "factor": 0.25,
        "patience": 7,
    }
    weights = {
        term["name"]: (term["coeff"], term["metric"]["delta"])
        for term in module["loss"]["metrics"]
    }
    loss = config.loss
    assert weights == {
        "energy": (loss.energy_weight, loss.energy_delta_eV_per_atom),
        "forces": (loss.force_weight, loss.force_delta_eV_per_A),
        "stress": (loss.stress_weight, loss.stress_delta_eV_per_A3),
    }
    assert module["model"]["modifiers"] == [
        {"modifier": "modify_PerTypeScaleShift", "shifts": {"Si": -107.5}}
    ]
    without = settings(job, tmp_path, start, watched=False, with_stress=False)
    assert [term["name"] for term in without["training_module"]["loss"]["metrics"]] == [
        "energy",
        "forces",
    ]
    assert without["data"]["val_file_path"] == without["data"]["train_file_path"]


def test_the_preset_of_allegro_oam_l_is_what_was_published(tmp_path):
    """arXiv:2605.20384; keys that are given win, also those of a part of the loss."""
    config = TrainingConfig.model_validate({"preset": "allegro-oam-l"})
    job = Job(base="/models/a.nequip.zip", base_hash="0", seed=3, labels_hash="1", config=config)
    start = Start(shifted_model(job.base, {}), ["Si"], 6.0)
    written = settings(job, tmp_path, start, watched=True, with_stress=True)
    trainer, module = written["trainer"], written["training_module"]
    assert (trainer["max_epochs"], trainer["gradient_clip_val"]) == (200, 0.015)
    assert trainer["callbacks"][-1]["patience"] == 30
    assert written["data"]["train_dataloader"]["batch_size"] == 4
    assert (module["optimizer"]["lr"], module["ema_decay"]) == (5e-5, 0.999)
    scheduler = module["lr_scheduler"]["scheduler"]
    assert (scheduler["factor"], scheduler["patience"]) == (0.5, 15)
    terms = {
        term["name"]: (term["coeff"], term["metric"]["delta"])
        for term in module["loss"]["metrics"]
    }
    assert terms == {"energy": (1.0, 0.01), "forces": (1.0, 0.01), "stress": (0.01, 0.1)}
    changed = TrainingConfig.model_validate(
        {"preset": "allegro-oam-l", "epochs": 7, "loss": {"stress_weight": 0.5}}
    )
    assert (changed.epochs, changed.learning_rate) == (7, 5e-5)
    loss = changed.loss
    assert (loss.stress_weight, loss.stress_delta_eV_per_A3) == (0.5, 0.1)
    assert TrainingConfig.model_validate_json(changed.model_dump_json()) == changed


def test_a_model_with_published_settings_is_not_tuned_at_the_rate_of_another():
    default = TrainingConfig(framework="nequip")
    with pytest.raises(
        ModelError, match=r"rate of 5e-05.*set training\.preset to 'allegro-oam-l'"
    ):
        require_published_settings("allegro-oam-l", default)
    for given in ({"preset": "allegro-oam-l"}, {"learning_rate": 1e-4, "framework": "nequip"}):
        require_published_settings("allegro-oam-l", TrainingConfig.model_validate(given))
    require_published_settings("7net-0", TrainingConfig())


CHOOSES = CONFIG.model_validate(
    CONFIG.model_dump()
    | {
        "epochs": 2,
        "learning_rate": "auto",
        "cross_validation": {
            "folds": 2,
            "recipes": [{"learning_rate": 1e-6}, {"learning_rate": 0.02}],
        },
    }
)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_learning_rate_is_chosen_by_cross_validation(
    small_allegro, labelled_silicon, tmp_path
):
    model = fine_tune(labelled_silicon, small_allegro, tmp_path, CHOOSES, device="cpu")
    choice = model.choice
    assert choice is not None
    assert [row.name for row in choice.tried] == ["naive 1e-06", "naive 0.02", "untuned"]
    losses = [row.fold_losses for row in choice.tried]
    assert all(loss is not None for row in losses for loss in row)
    # With hardly any step the model is the untuned one with the same reference energies.
    assert losses[0] == pytest.approx(losses[2], rel=1e-2)
    assert choice.recipe.learning_rate == (
        0.02 if choice.tried[1].mean < choice.tried[0].mean else 1e-6
    )
    assert read_job(tmp_path).config.learning_rate == choice.recipe.learning_rate
    assert fine_tune(labelled_silicon, small_allegro, tmp_path, CHOOSES, device="cpu") == model


@pytest.fixture
def unchecked(monkeypatch):
    """Labels reach the process that trains as they are, damaged or not."""
    monkeypatch.setattr("entrove.training.request.check_labels", lambda structures: None)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("unchecked")
def test_a_loss_that_is_not_finite_is_a_divergence(small_allegro, labelled_silicon, tmp_path):
    """So that a comparison goes on with its other recipes; the message is the callback's."""
    poisoned = labelled_silicon[0].copy()
    poisoned = attach_results(
        poisoned, np.nan, np.full((len(poisoned), 3), np.nan), np.full(6, np.nan)
    )
    config = CONFIG.model_copy(update={"refit_reference_energies": False, "batch_size": 1})
    with pytest.raises(DivergenceError, match=r"the loss of epoch 1 is nan; lower learning_rate"):
        fine_tune([poisoned], small_allegro, tmp_path, config, device="cpu")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("unchecked")
def test_a_watched_loss_that_is_not_finite_is_a_divergence(
    small_allegro, labelled_silicon, tmp_path
):
    """It would never improve, and the best weights would be those that are not tuned."""
    config = CONFIG.model_copy(update={"stop_fraction": 0.25, "stop_at_least_labels": 4})
    _, watched = split_for_stopping(labelled_silicon, config, seed=0)
    labels = [atoms.copy() for atoms in labelled_silicon]
    for index, (atoms, given) in enumerate(zip(labels, labelled_silicon, strict=True)):
        atoms.calc = SinglePointCalculator(atoms, **given.calc.results)
        if index == watched[0]:
            atoms.calc.results["forces"] = np.full((len(atoms), 3), np.nan)
    with pytest.raises(DivergenceError, match=r"the watched loss of epoch 1 is nan; lower"):
        fine_tune(labels, small_allegro, tmp_path, config, seed=0, device="cpu")


@pytest.mark.slow
def test_a_model_from_random_weights_learns_the_labels(labelled_silicon, tmp_path):
    config = CONFIG.model_copy(update={"epochs": 40, "learning_rate": 5e-3})
    model = fine_tune(labelled_silicon, "allegro-small", tmp_path, config, device="cpu")
    assert model.random_weights
    learnt = load(str(model.checkpoint), device="cpu").calculator()
    errors, spread = [], []
    for atoms in labelled_silicon:
        errors.append(np.abs(learnt.get_forces(atoms) - atoms.get_forces()).mean())
        spread.append(np.abs(atoms.get_forces()).mean())
    assert np.mean(errors) < 0.5 * np.mean(spread)
    assert learnt.get_potential_energy(labelled_silicon[0]) == pytest.approx(
        labelled_silicon[0].get_potential_energy(), abs=8 * 0.5
    )


@pytest.mark.parametrize("known", ["architecture", "model"])
def test_a_job_says_whether_it_starts_from_random_weights(known, labelled_silicon, small_allegro):
    base = {"architecture": "allegro-small", "model": small_allegro}[known]
    options: dict[str, Any] = {
        "seed": 1, "head_noise": 0.0, "snapshots": [], "modal": None, "device": "cpu", "threads": 1
    }  # fmt: skip
    job = make_request(labelled_silicon, base, CONFIG, **options).job()
    assert job.random_weights is (known == "architecture")


def test_what_the_labels_say_completes_an_architecture(labelled_silicon):
    path = find_architecture("allegro-small")
    assert path is not None
    architecture = read_architecture(path)
    known = build_description(architecture, labelled_silicon, seed=7)
    assert (known["seed"], known["type_names"]) == (7, ["Si"])
    per_atom = [atoms.get_potential_energy() / len(atoms) for atoms in labelled_silicon]
    assert known["per_type_energy_shifts"]["Si"] == pytest.approx(np.mean(per_atom))
    forces = np.concatenate([atoms.get_forces().ravel() for atoms in labelled_silicon])
    assert known["per_type_energy_scales"]["Si"] == pytest.approx(np.sqrt(np.mean(forces**2)))
    # An independent count of the neighbours: spheres around each atom, by all pairs of images.
    atoms, cutoff = labelled_silicon[0], architecture["r_max"]
    images = atoms.repeat((7, 7, 7)).positions - 3 * atoms.cell.array.sum(0)
    distances = np.linalg.norm(images[:, None] - atoms.positions, axis=2)
    alone = build_description(architecture, [atoms], seed=7)["avg_num_neighbors"]
    assert alone == (((distances < cutoff) & (distances > 1e-6)).sum() / len(atoms))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_shipped_architecture_can_be_built(name, labelled_silicon):
    path = find_architecture(name)
    assert path is not None
    description = build_description(read_architecture(path), labelled_silicon[:1], seed=1)
    with nequip_settings():
        model = instantiate(description, _recursive_=False, _convert_="all")
    assert sum(weight.numel() for weight in model.parameters()) > 10_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r_max: 5", "an architecture has the keys _target_"),
        ("_target_: a.B\nr_max: 5\ntype_names: [Si]", "type_names follow from the labels"),
        ("[", "not an architecture that can be read"),
    ],
)
def test_what_is_no_architecture_is_refused(text, message, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_architecture(tmp_path / "mine.yaml")
