"""Low-rank updates: what is trained, where it begins, and that nothing of it stays in the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from pydantic import ValidationError
from test_cross_validation import train_in_this_process
from test_fitting import problem_on

from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import attach_results, copy_structure, energy_of, forces_of, stress_of
from entrove.training.config import Recipe, TrainingConfig
from entrove.training.request import make_request
from entrove.training.sevennet.fitting import (
    Problem,
    init_fit,
    restore_state,
    run_epoch,
    save_state,
)
from entrove.training.sevennet.low_rank import LowRankUpdates, matrices_of
from entrove.training.sevennet.trainee import load_trainee
from entrove.training.sevennet.weight_average import copy_weights, trainable_weights
from entrove.training.tuning import fine_tune

RANK = 2


def low_rank_on(checkpoint: Path, structures: list[Atoms], seed: int = 3) -> Problem:
    problem = problem_on(
        checkpoint, structures, seed=seed, strategy="lora", lora={"rank": RANK, "alpha": 3.0}
    )
    problem.trainee.prepare(problem.config, seed)
    return problem


def updates_of(problem: Problem) -> LowRankUpdates:
    module = problem.trainee.module
    assert isinstance(module, LowRankUpdates)
    return module


def randomise(problem: Problem) -> None:
    """Let B be anything, as after a training."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for factor in updates_of(problem).right:
            factor.copy_(0.1 * torch.randn(factor.shape, generator=generator))


def test_every_weight_but_those_without_a_matrix_is_in_one_block(small_checkpoint):
    """Radial basis, energies and scale per species, and constants have no matrix."""
    module = low_rank_on(small_checkpoint, []).trainee.module.base
    covered = {name: np.zeros(w.numel(), int) for name, w in module.named_parameters()}
    for block in matrices_of(module):
        covered[block.weight][block.offset : block.offset + block.rows * block.columns] += 1
    without = [name for name, count in covered.items() if not count.any()]
    assert all(
        name.endswith(("basis_function.coeffs", "denominator", "shift", "scale"))
        for name in without
    )
    assert all((count == 1).all() for name, count in covered.items() if name not in without)


def test_the_start_is_the_model_itself(small_checkpoint, labelled_silicon):
    plain = problem_on(small_checkpoint, labelled_silicon[:2])
    updated = low_rank_on(small_checkpoint, labelled_silicon[:2])
    for problem in (plain, updated):
        problem.trainee.module.eval()
    expected, found = (problem.trainee.predict(problem.training) for problem in (plain, updated))
    assert torch.equal(found.energy_eV, expected.energy_eV)
    assert torch.equal(found.forces_eV_per_A, expected.forces_eV_per_A)
    assert torch.equal(found.stress_eV_per_A3, expected.stress_eV_per_A3)


def test_only_low_rank_parts_are_trained(small_checkpoint, labelled_silicon):
    problem = low_rank_on(small_checkpoint, labelled_silicon[:3])
    updates = updates_of(problem)
    before = {name: weight.clone() for name, weight in updates.base.state_dict().items()}
    blocks = len(updates.blocks)
    assert set(trainable_weights(updates)) == {
        f"{side}.{number}" for side in ("left", "right") for number in range(blocks)
    }
    run_epoch(problem, init_fit(problem))
    assert all(weight.grad is None for weight in updates.base.parameters())
    assert all(torch.equal(before[name], w) for name, w in updates.base.state_dict().items())
    # Blocks of elements that are not there, and of channels that end unused, learn nothing.
    changed = [bool(factor.any()) for factor in updates.right]
    assert sum(changed) > len(changed) / 2


def test_the_update_of_each_matrix_has_the_rank_and_the_scale(small_checkpoint):
    problem = low_rank_on(small_checkpoint, [])
    randomise(problem)
    updates = updates_of(problem)
    merged = updates.merged_state(copy_weights(updates))
    for number, block in enumerate(updates.blocks):
        part = slice(block.offset, block.offset + block.rows * block.columns)
        base = updates.base.get_parameter(block.weight).detach().double().flatten()[part]
        change = (merged[block.weight].detach().double().flatten()[part] - base).reshape(
            block.rows, block.columns
        )
        left, right = updates.left[number].detach(), updates.right[number].detach()
        expected = 3.0 / RANK * left.double() @ right.double()
        torch.testing.assert_close(change, expected, atol=2e-6, rtol=1e-5)
        values = torch.linalg.svdvals(expected)
        assert (values > 1e-9).sum() == min(RANK, block.rows, block.columns)


def test_the_file_is_an_ordinary_model_that_predicts_the_same(
    small_checkpoint, labelled_silicon, tmp_path
):
    """Merged equals unmerged, in other code: that which evaluates models."""
    problem = low_rank_on(small_checkpoint, labelled_silicon)
    randomise(problem)
    trainee = problem.trainee
    trainee.module.eval()
    unmerged = trainee.predict(problem.training)
    trainee.save(tmp_path / "model.pth", copy_weights(trainee.module), 1)
    names = [
        set(torch.load(path, weights_only=False)["model_state_dict"])
        for path in (small_checkpoint, tmp_path / "model.pth")
    ]
    assert names[0] == names[1]
    merged = predict(load(str(tmp_path / "model.pth"), device="cpu"), labelled_silicon)
    before = predict(load(str(small_checkpoint), device="cpu"), labelled_silicon)
    np.testing.assert_allclose(
        [energy_of(atoms) for atoms in merged], unmerged.energy_eV.detach(), rtol=1e-5
    )
    np.testing.assert_allclose(
        np.concatenate([forces_of(atoms) for atoms in merged]),
        unmerged.forces_eV_per_A.detach(),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        [stress_of(atoms) for atoms in merged], unmerged.stress_eV_per_A3.detach(), atol=1e-6
    )
    assert abs(forces_of(before[0]) - forces_of(merged[0])).max() > 1e-3


def test_energies_are_invariant_and_forces_turn_with_the_structure(
    small_checkpoint, labelled_silicon
):
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    turned = []
    for atoms in labelled_silicon[:3]:
        rotated = copy_structure(atoms)
        rotated.set_cell(atoms.cell.array @ rotation.T)
        rotated.positions = atoms.positions @ rotation.T
        turned.append(attach_results(rotated, 0.0, np.zeros((len(atoms), 3)), np.zeros(6)))
    problem = low_rank_on(small_checkpoint, labelled_silicon[:3])
    randomise(problem)
    trainee = problem.trainee
    trainee.module.eval()
    before = trainee.predict(problem.training)
    after = trainee.predict([trainee.sample(atoms) for atoms in turned])
    torch.testing.assert_close(after.energy_eV, before.energy_eV, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        after.forces_eV_per_A,
        before.forces_eV_per_A @ torch.tensor(rotation.T, dtype=torch.float32),
        rtol=1e-4,
        atol=1e-5,
    )


def test_restored_state_continues_bitwise(small_checkpoint, labelled_silicon, tmp_path):
    whole = low_rank_on(small_checkpoint, labelled_silicon)
    state = init_fit(whole)
    run_epoch(whole, state)
    save_state(tmp_path / "state.pt", state, whole.trainee)
    run_epoch(whole, state)
    resumed = low_rank_on(small_checkpoint, labelled_silicon)
    again = init_fit(resumed)
    restore_state(tmp_path / "state.pt", again, resumed.trainee)
    run_epoch(resumed, again)
    assert again.history == state.history
    assert all(torch.equal(again.best[name], state.best[name]) for name in state.best)
    assert state.history[-1].training_loss < state.history[0].training_loss


def test_other_seeds_begin_with_other_numbers(small_checkpoint):
    first, same, other = (
        updates_of(low_rank_on(small_checkpoint, [], seed=seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first.left[0], same.left[0])
    assert not torch.equal(first.left[0], other.left[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"lora": {"rank": 8}},
            r"lora \(rank 8, alpha 4\) is for strategy: lora of framework sevennet, but strategy "
            "is naive; remove it, or set strategy: lora",
        ),
        ({"strategy": "frozen", "lora": {}}, "strategy is frozen"),
        ({"framework": "nequip", "strategy": "lora"}, "strategy=lora is not for framework nequip"),
        ({"framework": "nequip", "lora": {"rank": 8}}, "is for strategy: lora of framework seven"),
        ({"strategy": "lora", "lora": {"rank": 0}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message: str):
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate(settings)


def test_rank_and_alpha_go_with_a_recipe_and_not_with_another(
    small_checkpoint, labelled_silicon, tmp_path
):
    """Of what is compared, only the low-rank one has them in its request."""
    config = TrainingConfig.model_validate(
        {
            "learning_rate": "auto",
            "lora": {"rank": 8},
            "cross_validation": {"recipes": [
                {"learning_rate": 0.001}, {"strategy": "lora", "learning_rate": 0.01}]},
        }
    )  # fmt: skip
    request = make_request(
        labelled_silicon, small_checkpoint, config, seed=1, head_noise=0.0, snapshots=(),
        modal=None, device="cpu", threads=1,
    )  # fmt: skip
    naive, lora = (
        request.with_config(config.with_recipe(recipe)).job().config for recipe in config.recipes
    )
    assert naive.lora is None
    assert lora.low_rank.rank == 8
    for job in (naive, lora):  # what the worker reads is valid
        assert TrainingConfig.model_validate_json(job.model_dump_json()) == job
    assert config.recipes[1] == Recipe(strategy="lora", learning_rate=0.01)


def test_a_tuned_model_differs_from_its_base_by_matrices_of_low_rank(
    small_checkpoint, labelled_silicon, monkeypatch, tmp_path
):
    """From the labels to the file, as a user trains."""
    train_in_this_process(monkeypatch)
    config = TrainingConfig.model_validate(
        {"epochs": 2, "strategy": "lora", "learning_rate": 0.01, "lora": {"rank": RANK}}
    )
    model = fine_tune(labelled_silicon, small_checkpoint, tmp_path, config, device="cpu")
    before, after = (
        torch.load(path, weights_only=False)["model_state_dict"]
        for path in (small_checkpoint, model.checkpoint)
    )
    moved, largest = 0, 0
    for block in matrices_of(load_trainee(str(small_checkpoint), torch.device("cpu")).module):
        part = slice(block.offset, block.offset + block.rows * block.columns)
        change = (after[block.weight].double() - before[block.weight].double()).flatten()[part]
        # Weights are of order one, in single precision.
        rank = int(torch.linalg.matrix_rank(change.reshape(block.rows, block.columns), atol=2e-6))
        assert rank <= RANK
        moved += rank > 0
        largest = max(largest, min(block.rows, block.columns))
    assert moved > 5
    assert largest > RANK
