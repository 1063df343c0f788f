"""Frozen trunks and replay in NequIP's own training loop."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from hydra.utils import instantiate
from torch import Tensor
from torch.nn.functional import huber_loss

from entrove.errors import ModelError
from entrove.models.nequip.loading import load_nequip, nequip_settings
from entrove.models.nequip.model import NequIPModel
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import (
    attach_results,
    content_hash,
    energy_of,
    has_stress,
    read_structures,
    write_structures,
)
from entrove.training.config import Recipe, TrainingConfig
from entrove.training.job import Job, prepare_folder, read_epochs
from entrove.training.nequip.batches import ReplayingBatches, replaying_loader
from entrove.training.nequip.last_interaction import names_of_last_interaction
from entrove.training.nequip.settings import Start, settings
from entrove.training.nequip.trainer import NequIPTrainer
from entrove.training.nequip.worker import as_target, write_inputs
from entrove.training.replay import ReplayTurns, dimers_of
from entrove.training.request import Request, make_request
from entrove.training.tuning import fine_tune

CONFIG = TrainingConfig(framework="nequip", epochs=3, batch_size=3, learning_rate=0.01)
FROZEN_PARTS = {
    "allegro": ("radial_chemical_embed", "scalar_embed_mlp", "tensor_embed", "first_layer",
                "latents.0", "tps.0"),
    "nequip": ("type_embed", "layer0_convnet"),
}  # fmt: skip
TRAINED_PARTS = {
    "allegro": ("latents.1", "tps.1", "edge_readout"),
    "nequip": ("layer1_convnet", "per_atom_energy_readout"),
}


def make(structures: list[Atoms], base: str | Path, config: TrainingConfig) -> Request:
    return make_request(
        structures, base, config, seed=5, head_noise=0.0, snapshots=[a.copy() for a in structures],
        modal=None, device="cpu", threads=1,
    )  # fmt: skip


def prepared(request: Request, folder: Path) -> Path:
    """The folder of a training as the process that trains finds it."""
    prepare_folder(folder, request.job())
    write_structures(folder / "labels.xyz", request.structures)
    if replayed := request.replayed():
        write_structures(folder / "replay.xyz", replayed)
    return folder


def weights_of(model: Path) -> dict[str, Tensor]:
    network = load_nequip(str(model), device="cpu").model
    assert isinstance(network, NequIPModel)
    return dict(network.network.module.named_parameters())


# Frozen.


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["allegro", "nequip"])
def test_a_frozen_trunk_keeps_its_weights_bitwise(
    name: str, write_small_nequip: Callable[..., Path], labelled_silicon, tmp_path
):
    """From a package; the kept model is the running average, which must not move them either."""
    package = tmp_path / "base.nequip.zip"
    program = Path(sys.executable).parent / "nequip-package"
    subprocess.run([program, "build", write_small_nequip(name), package], check=True)
    config = CONFIG.model_copy(update={"strategy": "frozen", "replay": 0.3})
    model = fine_tune(labelled_silicon, package, tmp_path / "run", config, device="cpu")
    before, after = weights_of(package), weights_of(model.checkpoint)
    assert before.keys() == after.keys()
    for weight in before:
        frozen, trained = (
            any(f".{part}" in weight for part in parts[name])
            for parts in (FROZEN_PARTS, TRAINED_PARTS)
        )
        assert frozen != trained, weight
        assert torch.equal(before[weight], after[weight]) == frozen, weight
    # The reference energies are refitted as ever.
    untuned = predict(load(str(package), device="cpu"), labelled_silicon)
    differences = [
        (ours.get_potential_energy() - atoms.get_potential_energy()) / len(atoms)
        for ours, atoms in zip(untuned, labelled_silicon, strict=True)
    ]
    assert model.reference_shifts_eV["Si"] == pytest.approx(-np.mean(differences), abs=1e-6)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (  # one layer is the last one; layer 10 comes after layer 9
            ["m.allegro.tps.0.weights", "m.allegro.latents.0.mlp.0.weight", "m.edge_readout.w",
             "m.tensor_embed.w"],
            {"m.allegro.tps.0.weights", "m.allegro.latents.0.mlp.0.weight", "m.edge_readout.w"},
        ),
        (
            ["m.layer9_convnet.w", "m.layer10_convnet.w", "m.per_atom_energy_readout.w",
             "m.per_type_energy_scale_shift.shifts"],
            {"m.layer10_convnet.w", "m.per_atom_energy_readout.w"},
        ),
    ],
)  # fmt: skip
def test_the_last_interaction_is_that_of_the_highest_number(names, expected):
    assert names_of_last_interaction(names) == expected


def test_a_network_without_such_parts_is_refused_before_there_are_labels(
    small_allegro, labelled_silicon, monkeypatch
):
    with pytest.raises(ModelError, match="strategy=frozen needs a network of interactions"):
        names_of_last_interaction(["m.layer0_convnet.w", "m.another_readout.w"])
    evaluated = load(str(small_allegro), device="cpu")
    assert isinstance(evaluated.model, NequIPModel)
    check = NequIPTrainer().check_trainable
    arguments = {"refit_reference_energies": False, "device": "cpu"}
    check(str(small_allegro), evaluated, labelled_silicon, **arguments, strategies=["frozen"])
    monkeypatch.setattr(
        evaluated.model, "network", replace(evaluated.model.network, module=torch.nn.Linear(1, 1))
    )
    check(str(small_allegro), evaluated, labelled_silicon, **arguments, strategies=["naive"])
    with pytest.raises(ModelError, match="strategy=frozen needs a network of interactions"):
        check(str(small_allegro), evaluated, labelled_silicon, **arguments, strategies=["frozen"])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"strategy": "frozen"}, "strategy=frozen"),
        ({"replay": 0.2}, r"replay=0\.2"),
        ({"strategy": "frozen", "replay": 0.2}, r"strategy=frozen and replay=0\.2"),
        (
            {"learning_rate": "auto", "cross_validation": {"recipes": [
                {"learning_rate": 0.1}, {"strategy": "frozen", "learning_rate": 0.1}]}},
            "strategy=frozen",
        ),
    ],
)  # fmt: skip
def test_random_weights_have_nothing_to_keep(changes, what, labelled_silicon, tmp_path):
    config = TrainingConfig.model_validate({"framework": "nequip"} | changes)
    with pytest.raises(
        ModelError, match=f"allegro-small.yaml starts from random weights.*{what} could keep"
    ):
        fine_tune(labelled_silicon, "allegro-small", tmp_path, config)


def test_random_weights_are_compared_by_rate_alone(small_allegro, labelled_silicon):
    config = TrainingConfig(framework="nequip", learning_rate="auto")
    frozen = Recipe(strategy="frozen", learning_rate=3e-3)
    assert frozen in make(labelled_silicon, small_allegro, config).recipes
    random = make(labelled_silicon, "allegro-small", config).recipes
    assert [recipe.strategy for recipe in random] == ["naive"] * 3


# Replay.


@pytest.mark.parametrize("batch_size", [1, 3, 4])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_the_share_of_replay_holds_for_batches_of_any_size(share: float, batch_size: int):
    labels, replayed, epochs = 12, 17, 40
    batches = ReplayingBatches(labels, ReplayTurns(share, batch_size, replayed, seed=5))
    seen: list[int] = []
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        steps = list(batches)
        assert len(steps) == len(batches) == labels // batch_size
        ours = [[index for index in step if index < labels] for step in steps]
        assert [len(step) for step in ours] == [batch_size] * len(steps)
        assert sorted(chain(*ours)) == list(range(labels))
        seen += chain(*steps)
    of_replay = np.array([index - labels for index in seen if index >= labels])
    assert abs(len(of_replay) - share * len(seen)) < 1
    # All have their turn: none is seen twice more than another.
    counts = np.bincount(of_replay, minlength=replayed)
    assert counts.max() - counts.min() <= 1


def test_batches_follow_from_the_epoch_alone():
    """What a run that was stopped sees then is what it would have seen."""

    def batches_of(epoch: int) -> list[list[int]]:
        loader = replaying_loader(
            list(range(30)), torch.Generator(), list, labels=10, share=0.4, batch_size=4, seed=3
        )
        assert isinstance(loader.batch_sampler, ReplayingBatches)
        loader.batch_sampler.sampler.set_epoch(epoch)  # as Lightning does
        return list(loader)

    assert batches_of(2) == batches_of(2)
    assert batches_of(2) != batches_of(1)
    # The last batch of labels is not full.
    assert [sum(index < 10 for index in step) for step in batches_of(2)] == [4, 4, 2]


def test_replayed_structures_have_the_labels_of_the_shifted_untuned_model(
    write_small_nequip: Callable[..., Path], labelled_silicon, tmp_path
):
    """The oracle is the same network, built with other energies per species."""
    base = write_small_nequip("allegro")
    request = make(labelled_silicon, base, CONFIG.model_copy(update={"replay": 0.3}))
    folder = prepared(request, tmp_path)
    shifts = write_inputs(folder, request.job(), labelled_silicon)
    shifted = write_small_nequip(
        "allegro", per_type_energy_shifts={"Si": -5.0 + shifts["Si"], "C": -9.0}
    )
    calculator = load(str(shifted), device="cpu").calculator()
    seen, asked = read_structures(folder / "seen.xyz"), request.replayed()
    assert len(asked) == 12 + 8
    assert len(seen) == len(labelled_silicon) + len(asked)
    for label, target in zip(asked, seen[len(labelled_silicon) :], strict=True):
        structure = label.copy()
        structure.calc = calculator
        assert target.get_potential_energy() == pytest.approx(
            structure.get_potential_energy(), abs=1e-6
        )
        np.testing.assert_allclose(target.get_forces(), structure.get_forces(), atol=1e-6)
        assert has_stress(target) == bool(label.pbc.all())
        assert has_stress(target) or "stress" not in target.calc.results
        if has_stress(target):
            np.testing.assert_allclose(target.get_stress(), structure.get_stress(), atol=1e-6)
    for label, target in zip(labelled_silicon, seen, strict=False):
        assert energy_of(target) == energy_of(label)


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_what_nequip_loads_has_the_share_of_replay(
    batch_size: int, small_allegro, labelled_silicon, tmp_path
):
    """Its own loader, from the files of a job, with labels of which one has no stress."""
    changes = {"replay": 0.3, "batch_size": batch_size}
    config = CONFIG.model_copy(update=changes)
    labels = list(labelled_silicon)
    labels[0] = labels[0].copy()
    labels[0].calc = SinglePointCalculator(
        labels[0], energy=energy_of(labelled_silicon[0]), forces=labelled_silicon[0].get_forces()
    )
    request = replace(make(labels, small_allegro, config), snapshots=())
    folder = prepared(request, tmp_path)
    write_inputs(folder, request.job(), labels)
    configuration = yaml.safe_load((folder / "nequip.yaml").read_text())
    replayed, without_stress, total = 0, 0, 0
    with nequip_settings():
        data = instantiate(configuration["data"], _recursive_=False)
        data.setup("fit")
        loader = data.train_dataloader()
        for epoch in range(5):
            loader.batch_sampler.set_epoch(epoch)
            for batch in loader:
                unknown = batch["stress"].isnan().all(dim=(1, 2))
                assert torch.equal(unknown, batch["stress"].isnan().any(dim=(1, 2)))
                molecules = ~batch["pbc"].reshape(-1, 3).any(dim=1)
                assert unknown[molecules].all()
                replayed += int(molecules.sum())
                without_stress += int(unknown.sum())
                total += len(unknown)
    assert total - replayed == 5 * len(labels)
    assert without_stress - replayed == 5
    # Batches that are not full replay as many as others, which is more than their share.
    steps = 5 * -(-len(labels) // batch_size)
    assert abs(replayed - steps * batch_size * 0.3 / 0.7) < 1


@pytest.mark.parametrize("aside", [0.25, 0.0])
def test_what_decides_when_to_stop_holds_no_replayed_structure(
    aside: float, small_allegro, labelled_silicon, tmp_path
):
    changes = {"replay": 0.5, "stop_fraction": aside, "stop_at_least_labels": 4}
    request = make(labelled_silicon, small_allegro, CONFIG.model_copy(update=changes))
    request = replace(request, snapshots=[bulk("Si", "diamond", a=5.6)])
    folder = prepared(request, tmp_path)
    write_inputs(folder, request.job(), labelled_silicon)
    watched = read_structures(folder / ("watched.xyz" if aside else "trained.xyz"))
    trained = read_structures(folder / "trained.xyz")
    assert len(watched) == (2 if aside else 8)
    labels, replayed = (
        {content_hash(atoms) for atoms in part} for part in (labelled_silicon, request.replayed())
    )
    assert {content_hash(atoms) for atoms in watched} <= labels - replayed
    assert {content_hash(atoms) for atoms in trained} <= labels
    configuration = (folder / "nequip.yaml").read_text()
    assert (
        f"val_file_path: {folder / ('watched.xyz' if aside else 'trained.xyz')}" in configuration
    )
    assert f"train_file_path: {folder / 'seen.xyz'}" in configuration
    assert f"labels: {len(trained)}" in configuration


def test_a_target_has_the_stress_of_a_crystal_only_and_a_volume(labelled_silicon):
    crystal = labelled_silicon[0].copy()
    crystal.calc = labelled_silicon[0].calc
    crystal.set_constraint(FixAtoms([0]))
    target = as_target(crystal)
    np.testing.assert_array_equal(target.get_forces(), labelled_silicon[0].get_forces())
    np.testing.assert_array_equal(target.get_stress(), labelled_silicon[0].get_stress())
    molecule = Atoms("Si", positions=[[9.0, 0.0, 0.0]])
    slab = Atoms("Si", cell=[3.0, 3.0, 0.0], pbc=[True, True, False])
    for atoms, lengths in ((molecule, [1.0, 1.0, 1.0]), (slab, [3.0, 3.0, 1.0])):
        target = as_target(attach_results(atoms, -1.0, np.ones((1, 3)), np.ones(6)))
        np.testing.assert_allclose(target.cell.lengths(), lengths)
        assert target.cell.volume == pytest.approx(np.prod(lengths))
        assert (target.pbc == atoms.pbc).all()
        assert "stress" not in target.calc.results


@pytest.mark.parametrize("unknown", [[], [1], [0, 1]])
def test_an_unknown_stress_is_not_counted(unknown: list[int], tmp_path):
    """Means are over what is known, as in `LossConfig`; NequIP divides by the sum of weights."""
    job = Job(base="a.nequip.zip", base_hash="0", seed=3, labels_hash="1", config=CONFIG)
    written = settings(job, tmp_path, Start({}, ["Si"], 4.0), watched=False, with_stress=True)
    assert written["data"]["transforms"][-1] == {
        "_target_": "nequip.data.transforms.AddNaNStressTransform"
    }
    metrics = instantiate(written["training_module"]["loss"], type_names=["Si"])
    rng, config = np.random.default_rng(1), CONFIG.loss
    scales = {"total_energy": (2, 1, 0.05), "forces": (4, 3, 0.02), "stress": (2, 9, 0.002)}
    predicted, target = (
        {
            name: torch.tensor(rng.normal(scale=scale, size=(rows, columns)))
            for name, (rows, columns, scale) in scales.items()
        }
        | {"num_atoms": torch.tensor([2, 2])}
        for _ in range(2)
    )
    target["stress"][unknown] = torch.nan
    for name in scales:
        predicted[name].requires_grad_()
    loss = metrics(predicted, target)["weighted_sum"]
    loss.backward()
    known = [index for index in range(2) if index not in unknown]
    terms = (
        ("total_energy", slice(None), 2, config.energy_weight, config.energy_delta_eV_per_atom),
        ("forces", slice(None), 1, config.force_weight, config.force_delta_eV_per_A),
        ("stress", known, 1, config.stress_weight, config.stress_delta_eV_per_A3),
    )
    expected = 0.0
    for name, rows, atoms, weight, delta in terms:
        errors = (predicted[name] - target[name])[rows].detach() / atoms
        if errors.numel():
            expected += weight * float(huber_loss(errors, torch.zeros_like(errors), delta=delta))
            assert predicted[name].grad is not None
            assert predicted[name].grad.isfinite().all()
    weights = sum(weight for *_, weight, _ in terms)
    assert loss.item() == pytest.approx(expected / weights, rel=1e-6)
    if unknown and known:
        assert (predicted["stress"].grad[unknown] == 0).all()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_model_that_replays_forgets_less(small_allegro, labelled_silicon, tmp_path):
    dimers = dimers_of(["Si"])
    before = predict(load(str(small_allegro), device="cpu"), dimers)
    changes: dict[float, float] = {}
    for share in (0.0, 0.5):
        config = CONFIG.model_copy(update={"epochs": 12, "replay": share})
        model = fine_tune(
            labelled_silicon, small_allegro, tmp_path / str(share), config, device="cpu"
        )
        after = predict(load(str(model.checkpoint), device="cpu"), dimers)
        shift = 2 * model.reference_shifts_eV["Si"]
        changes[share] = float(
            np.mean(
                [
                    abs(energy_of(a) - energy_of(b) - shift)
                    for a, b in zip(after, before, strict=True)
                ]
            )
        )
    assert changes[0.5] < 0.5 * changes[0.0]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_that_replays_sees_the_same_after_an_interruption(
    small_allegro, labelled_silicon, tmp_path
):
    """Here the order of structures follows from the epoch, so that the losses agree, too."""
    config = CONFIG.model_copy(update={"epochs": 8, "replay": 0.4, "strategy": "frozen"})
    request = make(labelled_silicon, small_allegro, config)
    arguments = {"seed": 5, "snapshots": request.snapshots, "device": "cpu"}
    whole = fine_tune(labelled_silicon, small_allegro, tmp_path / "whole", config, **arguments)
    folder = prepared(request, tmp_path / "killed")
    command = [sys.executable, "-m", "entrove.training.nequip.worker", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as worker:
        while len(read_epochs(folder)) < 4:
            assert worker.poll() is None
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
    assert len(read_epochs(folder)) < 8
    resumed = fine_tune(labelled_silicon, small_allegro, folder, config, **arguments)
    losses, expected = (
        [epoch.training_loss for epoch in read_epochs(run)] for run in (folder, whole.folder)
    )
    assert losses == pytest.approx(expected, rel=1e-9)
    weights = weights_of(whole.checkpoint)
    for name, weight in weights_of(resumed.checkpoint).items():
        torch.testing.assert_close(weight, weights[name], rtol=1e-9, atol=1e-12)
