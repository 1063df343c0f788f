"""Learning rate and strategy from the training labels: what is compared, and what is chosen."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pydantic import ValidationError

from conftest import label_with_lennard_jones
from entrove import provenance
from entrove.errors import ModelError
from entrove.execution.program import Program
from entrove.execution.running import ProgramsHere
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import (
    attach_results,
    content_hash,
    energy_of,
    read_structures,
    write_structures,
)
from entrove.training.choice import decide
from entrove.training.committee import (
    epochs_done,
    labels_learnt_in,
    labels_of_members,
    read_committee,
    settings_of,
    train_committee,
)
from entrove.training.config import (
    DEFAULT_RECIPES,
    CrossValidationConfig,
    Recipe,
    TrainingConfig,
)
from entrove.training.cross_validation import judging
from entrove.training.cross_validation.trials import (
    Trial,
    choose_recipe,
    losses_of_trials,
    read_choice,
)
from entrove.training.folds import divide, independent_groups, leaving_every_element
from entrove.training.job import read_job
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.request import Request, make_request
from entrove.training.sevennet import worker
from entrove.training.tuning import fine_tune
from entrove.training.worker_process import EXIT_DIVERGED

RECIPES = (Recipe(learning_rate=1e-5), Recipe(learning_rate=0.02))
CONFIG = TrainingConfig.model_validate(
    {
        "epochs": 2,
        "batch_size": 3,
        "learning_rate": "auto",
        "cross_validation": {"folds": 2, "recipes": [recipe.model_dump() for recipe in RECIPES]},
    }
)


@dataclass
class Ended:
    """A program that has ended."""

    code: int

    def poll(self) -> int:
        return self.code

    def end(self) -> None:
        pass


def train_in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Train in this process, which saves the start of another one; hashes of what was trained on.

    The training is the real one, as the worker runs it.
    """
    trained_on: list[list[str]] = []

    def start(_: object, program: Program) -> Ended:
        trained_on.append(hashes(read_structures(Path(program.folder) / "labels.xyz")))
        worker.run_job(Path(program.folder))
        return Ended(0)

    monkeypatch.setattr(ProgramsHere, "start", start)
    monkeypatch.setattr(ProgramsHere, "poll_s", 0.0)
    return trained_on


class Elsewhere:
    """A place that is not here: programs go there by the names of their folders only."""

    elsewhere = True
    poll_s = 0.0
    capacity = 3
    RUN: ClassVar = {worker.__name__: worker.run_job, judging.__name__: judging.run_judgement}

    def __init__(self) -> None:
        self.sent: list[Program] = []

    def threads(self, wanted: int) -> int:
        return wanted

    def start(self, program: Program) -> Ended:
        self.sent.append(program)
        self.RUN[program.module](Path(program.folder))
        return Ended(0)

    def stop(self) -> None:
        pass


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    return train_in_this_process(monkeypatch)


def hashes(structures: list[Atoms]) -> list[str]:
    return sorted(content_hash(atoms) for atoms in structures)


def stretched(strain: float, **info: object) -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43 * (1 + strain))
    atoms.info |= info
    return atoms


def request_for(
    labels: list[Atoms], base: str | Path, config: TrainingConfig, seed: int
) -> Request:
    return make_request(
        labels,
        base,
        config,
        seed=seed,
        head_noise=0.0,
        snapshots=(),
        modal=None,
        device="cpu",
        threads=1,
    )


# Folds.


def test_snapshots_copies_and_near_copies_are_in_one_group():
    walk = {provenance.WALKER: 3, provenance.POOL: "walkers", provenance.ROUND: 1}
    other = walk | {provenance.WALKER: 4}
    structures = [
        stretched(0.00, **walk),
        stretched(0.02),
        stretched(0.04, **other),
        stretched(0.06, **walk),
        stretched(0.0200001),
        stretched(0.08)[[1, 0]],
        stretched(0.08),
        stretched(0.10, **other),
        stretched(-0.02),
    ]
    groups = {tuple(group) for group in independent_groups(structures)}
    assert groups == {(0, 3), (1, 4), (2, 7), (5, 6), (8,)}


def test_relations_chain():
    """A snapshot that nearly equals another trajectory's joins both trajectories."""
    walk = {provenance.WALKER: 3, provenance.POOL: "walkers", provenance.ROUND: 1}
    structures = [
        stretched(0.0, **walk),
        stretched(0.05, **walk),
        stretched(0.0500001, **walk | {provenance.WALKER: 4}),
        stretched(0.1, **walk | {provenance.WALKER: 4}),
        stretched(-0.05),
    ]
    assert independent_groups(structures) == [[0, 1, 2, 3], [4]]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_label_is_in_one_fold_and_groups_are_whole(count: int):
    rng = np.random.default_rng(1)
    structures = [stretched(strain) for strain in np.linspace(-0.1, 0.1, 23)]
    order = rng.permutation(23).tolist()
    groups = [order[:5], order[5:7], *([index] for index in order[7:])]
    folds = divide(structures, groups, count, seed=2)
    assert sorted(index for fold in folds for index in fold) == list(range(23))
    assert all(fold for fold in folds)
    for group in groups:
        assert sum(bool(set(group) & set(fold)) for fold in folds) == 1
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 5  # the largest group
    again = divide(structures, groups, count, seed=3)
    assert again != folds


def test_another_order_of_the_labels_gives_the_same_folds():
    structures = [stretched(strain) for strain in np.linspace(-0.1, 0.1, 9)]
    order = np.random.default_rng(0).permutation(9).tolist()
    shuffled = [structures[index] for index in order]
    folds = divide(structures, independent_groups(structures), 3, seed=2)
    others = divide(shuffled, independent_groups(shuffled), 3, seed=2)
    assert {frozenset(fold) for fold in folds} == {
        frozenset(order[place] for place in fold) for fold in others
    }


def test_every_fold_has_its_share_of_each_kind():
    structures = [
        stretched(strain, **{provenance.KIND: kind, provenance.PHASE: "diamond"})
        for kind, strains in (("strain", (-0.06, -0.04, -0.02)), ("shear", (0.02, 0.04, 0.06)))
        for strain in strains
    ]
    folds = divide(structures, [[index] for index in range(6)], 3, seed=0)
    kinds = [sorted(structures[index].info[provenance.KIND] for index in fold) for fold in folds]
    assert kinds == [["shear", "strain"]] * 3


MIXED = [
    *(bulk("Si", a=a) for a in (5.2, 5.4, 5.6, 5.8)),
    bulk("GaAs", "zincblende", a=5.7),
    *(bulk("SiC", "zincblende", a=a) for a in (4.2, 4.4)),
]


def elements_of(structures: list[Atoms]) -> set[str]:
    return {symbol for atoms in structures for symbol in atoms.symbols}


def test_what_is_left_out_leaves_every_element():
    for left_out, expected in (
        ([0, 1], [0, 1]),
        ([0, 4], [0]),
        ([4, 5], [5]),
        ([5, 6], []),
        ([0, 1, 2, 3, 4], [0, 1, 2, 3]),
    ):
        assert leaving_every_element(MIXED, left_out) == expected


@pytest.mark.parametrize("seed", range(5))
def test_members_learn_every_element_also_where_they_leave_out_several_folds(seed: int):
    config = TrainingConfig(committee_size=5, member_labels=0.5)
    assert config.left_out_by > 1
    for learnt in labels_of_members(MIXED, config, seed):
        assert elements_of([MIXED[index] for index in learnt]) == {"Si", "C", "Ga", "As"}


def test_labels_whose_elements_are_all_different_are_not_compared_on(tmp_path: Path):
    labels = [
        attach_results(bulk(symbol), -1.0, np.zeros((1, 3)), np.zeros(6))
        for symbol in ("Cu", "Ag", "Au", "Ni")
    ]
    config = TrainingConfig(learning_rate="auto", cross_validation={"at_least_labels": 4})
    choice = choose_recipe(request_for(labels, "7net-0", config, seed=1), tmp_path)
    assert choice.recipe == DEFAULT_RECIPES[0]
    assert "no two parts without an element of their own" in choice.reason


# The decision.


def choice_of(losses, untuned=None, recipes=DEFAULT_RECIPES):
    return decide(recipes[: len(losses)], losses, untuned, labels=24, groups=20)


def test_the_smallest_mean_loss_is_chosen():
    choice = choice_of([[3.0, 1.0, 2.0], [1.5, 0.4, 1.1], [2.9, 1.2, 1.8]])
    assert choice.recipe == DEFAULT_RECIPES[1]
    assert choice.reason == "chosen by 3 folds of 24 labels"
    row = choice.tried[1]
    # By hand: differences -1.5, -0.6, -0.9; mean -1, deviations -0.5, 0.4, 0.1.
    assert row.mean == pytest.approx(1.0)
    assert row.difference == pytest.approx(-1.0)
    assert row.difference_error == pytest.approx(np.sqrt((0.25 + 0.16 + 0.01) / 2 / 3))


def test_within_the_standard_error_the_first_recipe_is_kept():
    # Differences -0.3, 0.2, -0.2: mean -0.1, standard error 0.153.
    choice = choice_of([[3.0, 1.0, 2.0], [2.7, 1.2, 1.8]])
    assert choice.recipe == DEFAULT_RECIPES[0]
    assert choice.reason == "kept, no other is better beyond the scatter of 3 folds of 24 labels"


def test_how_hard_a_fold_is_does_not_hide_a_better_recipe():
    """Losses of folds differ tenfold, the recipes by a tenth: in each fold the same one wins."""
    choice = choice_of([[10.0, 1.0, 0.1], [9.0, 0.9, 0.09]])
    assert choice.tried[0].standard_error > 3 * abs(choice.tried[1].difference)
    assert choice.recipe == DEFAULT_RECIPES[1]


def test_a_training_that_diverged_is_never_chosen():
    choice = choice_of([[None, 1.0], [5.0, 6.0], [0.1, None]])
    assert choice.recipe == DEFAULT_RECIPES[1]
    assert choice.tried[0].mean is None
    assert choice_of([[None, 1.0], [None, 1.0]]) is None


def test_the_untuned_model_is_shown_and_not_chosen():
    choice = choice_of([[3.0, 1.0], [5.0, 6.0]], untuned=[0.5, 0.5])
    assert choice.recipe == DEFAULT_RECIPES[0]
    assert [row.name for row in choice.tried] == ["naive 0.001", "naive 0.0003", "untuned"]
    assert choice.describe().endswith(
        "; the untuned model has the smaller loss: with these labels tuning does not help"
    )
    assert (
        "does not help" not in choice_of([[3.0, 1.0], [5.0, 6.0]], untuned=[4.0, 4.0]).describe()
    )


# Trainings.


@pytest.fixture(scope="session")
def labels(labelled_silicon, tmp_path_factory) -> list[Atoms]:
    """As a file has them, with positions to eight decimals."""
    path = tmp_path_factory.mktemp("labels") / "labels.xyz"
    write_structures(path, labelled_silicon)
    return read_structures(path)


@pytest.fixture(scope="module")
def chosen(small_checkpoint, labels, tmp_path_factory):
    """A finished choice, with the committee that was trained after it, and what was reported."""
    folder = tmp_path_factory.mktemp("chosen")
    heard: list[tuple[int, int, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        trained_on = train_in_this_process(patch)
        [model] = train_committee(
            labels,
            small_checkpoint,
            folder,
            CONFIG,
            seed=4,
            device="cpu",
            advanced=lambda *progress: heard.append(progress),
        )
    return model, trained_on, heard


def test_folds_are_trained_on_the_other_training_labels_alone(chosen, labels):
    model, trained_on, _ = chosen
    every = hashes(labels)
    assert trained_on[-1] == every  # the model itself
    first, second = trained_on[:2]
    assert sorted(first + second) == every  # two folds: one is the complement of the other
    assert trained_on[2:4] == [first, second]
    assert len(trained_on) == model.choice.trainings + 1 == 5


def test_losses_are_those_of_the_models_on_labels_that_they_were_not_trained_on(
    chosen, small_checkpoint, labels, in_this_process, tmp_path
):
    """Against a training of the same labels by hand, and Huber's formula written out."""
    model, trained_on, _ = chosen
    without = [atoms for atoms in labels if content_hash(atoms) in trained_on[2]]
    held_out = [atoms for atoms in labels if content_hash(atoms) not in trained_on[2]]
    alone = fine_tune(
        without, small_checkpoint, tmp_path, CONFIG.with_recipe(RECIPES[1]), seed=4, device="cpu"
    )
    expected = loss_by_hand(predict(load(str(alone.checkpoint), device="cpu"), held_out), held_out)
    assert model.choice.tried[1].fold_losses[0] == pytest.approx(expected, rel=1e-5)


def test_the_untuned_model_gets_reference_energies_of_the_other_labels(
    chosen, small_checkpoint, labels
):
    model, trained_on, _ = chosen
    without = [atoms for atoms in labels if content_hash(atoms) in trained_on[0]]
    held_out = [atoms for atoms in labels if content_hash(atoms) not in trained_on[0]]
    untuned = load(str(small_checkpoint), device="cpu")
    shift = fit_reference_shifts(without, [energy_of(a) for a in predict(untuned, without)])["Si"]
    expected = loss_by_hand(predict(untuned, held_out), held_out, shift)
    row = model.choice.tried[-1]
    assert row.strategy == "untuned"
    assert row.fold_losses[0] == pytest.approx(expected, rel=1e-6)


def loss_by_hand(predicted: list[Atoms], labelled: list[Atoms], shift_eV: float = 0.0) -> float:
    def huber(errors, delta: float) -> float:
        size = np.abs(np.concatenate([np.ravel(error) for error in errors]))
        return float(np.where(size < delta, size**2 / 2, delta * (size - delta / 2)).mean())

    pairs = list(zip(predicted, labelled, strict=True))
    energies = [(energy_of(a) - energy_of(b)) / len(a) + shift_eV for a, b in pairs]
    forces = [a.get_forces() - b.get_forces() for a, b in pairs]
    stresses = [a.get_stress() - b.get_stress() for a, b in pairs]
    return huber(energies, 0.01) + huber(forces, 0.01) + 100 * huber(stresses, 0.001)


def test_the_model_is_trained_with_the_chosen_recipe(
    chosen, small_checkpoint, labels, in_this_process, tmp_path
):
    model, _, _ = chosen
    assert model.choice.recipe == RECIPES[1]  # the first hardly moves
    alone = fine_tune(
        labels,
        small_checkpoint,
        tmp_path,
        CONFIG.with_recipe(RECIPES[1]),
        seed=4,
        device="cpu",
    )
    assert alone.checkpoint.read_bytes() == model.checkpoint.read_bytes()
    settings = settings_of((model,), CONFIG)
    assert (settings.strategy, settings.learning_rate) == ("naive", 0.02)
    assert read_committee(model.folder.parent) == (model,)


def test_a_recipe_without_epochs_is_written_as_before_there_were_any():
    """Hashes of studies, and requests of trainings, have it."""
    recipe = Recipe(learning_rate=0.01)
    assert recipe.model_dump(mode="json") == {"strategy": "naive", "learning_rate": 0.01}
    longer = recipe.model_copy(update={"epochs": 25})
    assert Recipe.model_validate_json(longer.model_dump_json()) == longer
    assert longer.model_dump()["epochs"] == 25


def test_recipes_differ_in_their_epochs(small_checkpoint, labels, in_this_process, tmp_path):
    """One recipe twice, but for its passes: losses, the model and progress are those of each."""
    recipes = (RECIPES[1], RECIPES[1].model_copy(update={"epochs": 5}))
    both = CONFIG.model_copy(
        update={"cross_validation": CrossValidationConfig(folds=2, recipes=recipes)}
    )
    alone = CONFIG.model_copy(
        update={
            "epochs": 5,
            "cross_validation": CrossValidationConfig(folds=2, recipes=RECIPES[1:]),
        }
    )
    heard: list[tuple[int, int, str]] = []
    [model] = train_committee(
        labels,
        small_checkpoint,
        tmp_path / "both",
        both,
        seed=4,
        device="cpu",
        advanced=lambda *progress: heard.append(progress),
    )
    [longer] = train_committee(
        labels, small_checkpoint, tmp_path / "alone", alone, seed=4, device="cpu"
    )
    assert model.choice is not None
    assert longer.choice is not None
    assert model.choice.tried[1].fold_losses == longer.choice.tried[0].fold_losses
    assert model.choice.tried[0].fold_losses != model.choice.tried[1].fold_losses
    assert model.choice.recipe == recipes[1], "five passes learn more than two"
    assert "learning rate 0.02 in 5 epochs, naive" in model.choice.describe()
    assert model.choice.tried[1].name == str(recipes[1]) == "naive 0.02 in 5 epochs"
    assert model.checkpoint.read_bytes() == longer.checkpoint.read_bytes()
    assert settings_of((model,), both).epochs == 5
    of_trials, of_model = 2 * 2 + 2 * 5, 5
    assert [done for done, _, _ in heard] == list(range(1, of_trials + of_model + 1))
    assert {total for _, total, _ in heard[of_trials:]} == {of_trials + of_model}
    assert both.most_epochs == of_trials + of_model
    assert epochs_done(tmp_path / "both", 1) == of_trials + of_model


def test_progress_counts_the_epochs_of_all_trainings(chosen):
    model, _, heard = chosen
    assert [done for done, _, _ in heard] == list(range(1, 11))
    assert {total for _, total, _ in heard} == {10}
    assert heard[5][2].startswith("comparing naive 0.02, fold 1 of 2, loss ")
    assert epochs_done(model.folder.parent, 1) == 10


def test_what_is_kept_of_a_judged_training_is_small(chosen):
    model, _, _ = chosen
    kept = {file.name for file in model.folder.parent.glob("cross-validation/*/fold-*/*")}
    assert kept == {"job.json", "progress.jsonl", "score.json"}


def test_elsewhere_gives_what_trainings_one_after_the_other_give_here(
    chosen, small_checkpoint, labels, tmp_path
):
    """Trainings and judgements are then programs, which read all that they need from files."""
    model, _, here = chosen
    where, heard = Elsewhere(), []
    [trained] = train_committee(
        labels,
        small_checkpoint,
        tmp_path,
        CONFIG,
        seed=4,
        where=where,
        advanced=lambda *progress: heard.append(progress),
    )
    assert trained.choice == model.choice
    assert trained.checkpoint.read_bytes() == model.checkpoint.read_bytes()
    assert sorted(done for done, _, _ in heard) == [done for done, _, _ in here]
    modules = [program.module for program in where.sent]
    assert modules == [
        judging.__name__,
        *[worker.__name__] * 4,
        *[judging.__name__] * 4,
        worker.__name__,
    ]
    # What "auto" means is decided where the model is trained.
    assert read_job(tmp_path / "member-0").device == "auto"
    assert not list(tmp_path.rglob("judged"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "executor",
    [
        {"name": "local", "workers": 2},
        {"name": "parsl", "config": "parsl_here:make"},
    ],
    ids=["two processes", "a Parsl worker"],
)
def test_real_processes_give_the_same(
    chosen, small_checkpoint, labels, tmp_path, monkeypatch, executor
):
    model, _, _ = chosen
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "execution")
    monkeypatch.setenv("PARSL_FOLDER", str(tmp_path / "parsl"))
    config = TrainingConfig.model_validate(CONFIG.model_dump() | {"executor": executor})
    [trained] = train_committee(
        labels, small_checkpoint, tmp_path / "work", config, seed=4, device="cpu"
    )
    assert trained.choice == model.choice
    assert trained.checkpoint.read_bytes() == model.checkpoint.read_bytes()
    # Another executor is no other training.
    assert train_committee(
        labels, small_checkpoint, tmp_path / "work", CONFIG, seed=4, device="cpu"
    ) == (trained,)


def test_continued_after_a_stop_equals_uninterrupted(
    chosen, small_checkpoint, labels, in_this_process, tmp_path
):
    """As a kill leaves it that came during the last training of the comparison."""
    model, _, _ = chosen
    shutil.copytree(model.folder.parent, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "member-0")
    folder = tmp_path / "cross-validation"
    (folder / "choice.json").unlink()
    (folder / "naive-0.02" / "fold-2" / "score.json").unlink()
    assert labels_learnt_in(tmp_path) == labels_learnt_in(model.folder.parent)
    assert epochs_done(tmp_path, 1) == 3 * 2 + 2
    [resumed] = train_committee(labels, small_checkpoint, tmp_path, CONFIG, seed=4, device="cpu")
    assert len(in_this_process) == 2
    assert resumed.choice == model.choice
    assert resumed.checkpoint.read_bytes() == model.checkpoint.read_bytes()
    [again] = train_committee(labels, small_checkpoint, tmp_path, CONFIG, seed=4, device="cpu")
    assert again == resumed
    assert len(in_this_process) == 2


TRAIN = """
import sys
from pathlib import Path
from typing import ClassVar
import torch
from entrove.execution.running import ProgramsHere
from entrove.structures import read_structures
from entrove.training.committee import train_committee
from entrove.training.config import TrainingConfig
from entrove.training.sevennet import worker

class Ended:
    def poll(self):
        return 0

def start(_, program):
    worker.run_job(Path(program.folder))
    return Ended()

ProgramsHere.start = start
torch.jit.set_fusion_strategy([])
labels, base, folder, config = sys.argv[1:]
train_committee(
    read_structures(labels), base, folder, TrainingConfig.model_validate_json(config),
    seed=4, device="cpu", advanced=lambda done, *_: print(done, flush=True),
)
"""


@pytest.mark.slow
def test_killed_and_continued_equals_uninterrupted(chosen, small_checkpoint, labels, tmp_path):
    """Kill -9 of the process that chooses, in the second and in the fourth training."""
    model, _, _ = chosen
    write_structures(tmp_path / "labels.xyz", labels)
    command = [
        *(sys.executable, "-c", TRAIN, str(tmp_path / "labels.xyz"), str(small_checkpoint)),
        *(str(tmp_path / "work"), CONFIG.model_dump_json()),
    ]
    for stop_at in ("3", "7", "never"):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == stop_at:
                    process.send_signal(signal.SIGKILL)
    assert process.returncode == 0
    [resumed] = read_committee(tmp_path / "work")
    assert resumed.choice == model.choice
    assert resumed.checkpoint.read_bytes() == model.checkpoint.read_bytes()


def test_a_training_that_diverges_is_remembered_and_is_no_error(
    small_checkpoint, labels, monkeypatch, tmp_path
):
    def diverge(_: object, program: Program) -> Ended:
        (Path(program.folder) / "error.txt").write_text("the loss of epoch 3 is nan")
        return Ended(EXIT_DIVERGED)

    monkeypatch.setattr(ProgramsHere, "start", diverge)
    request = request_for(labels, small_checkpoint, CONFIG.with_recipe(RECIPES[1]), seed=4)
    trial = Trial(request, RECIPES[1], 1, (0, 3), tmp_path / "fold-1")
    assert losses_of_trials([trial], 1, None, ProgramsHere()) == [None]
    score = json.loads((tmp_path / "fold-1" / "score.json").read_text())
    assert score == {"loss": None, "cause": "the loss of epoch 3 is nan"}
    monkeypatch.setattr(ProgramsHere, "start", lambda *_: pytest.fail("trained again"))
    assert losses_of_trials([trial], 1, None, ProgramsHere()) == [None]


def test_too_few_labels_are_trained_on_with_the_default_and_it_is_said(
    small_checkpoint, labels, in_this_process, tmp_path
):
    model = fine_tune(labels[:7], small_checkpoint, tmp_path, CONFIG, seed=4, device="cpu")
    assert len(in_this_process) == 1
    assert model.choice.describe() == (
        "learning rate 1e-05, naive: the default, because 7 labels are too few to be compared on "
        "(training.cross_validation.at_least_labels: 8)"
    )


def test_labels_of_one_trajectory_cannot_be_compared_on(
    small_checkpoint, labels, in_this_process, tmp_path
):
    snapshots = [label_with_lennard_jones(atoms) for atoms in labels]
    for atoms in snapshots:
        atoms.info |= {provenance.WALKER: 1, provenance.POOL: "walkers", provenance.ROUND: 1}
    model = fine_tune(snapshots, small_checkpoint, tmp_path, CONFIG, seed=4, device="cpu")
    assert len(in_this_process) == 1
    assert "all 8 labels are of one trajectory or nearly equal" in model.choice.reason


def test_a_folder_of_another_choice_is_refused(chosen, small_checkpoint, labels):
    model, _, _ = chosen
    with pytest.raises(ModelError, match=r"cross-validation holds another .*differs in seed"):
        train_committee(
            labels, small_checkpoint, model.folder.parent, CONFIG, seed=5, device="cpu"
        )


def test_a_choice_that_was_made_on_wrong_forces_is_another(chosen, small_checkpoint, labels):
    model, _, _ = chosen
    corrected = [
        attach_results(
            atoms, atoms.get_potential_energy(), 2 * atoms.get_forces(), atoms.get_stress()
        )
        for atoms in labels
    ]
    with pytest.raises(ModelError, match=r"cross-validation holds another .*differs in labels"):
        train_committee(
            corrected, small_checkpoint, model.folder.parent, CONFIG, seed=4, device="cpu"
        )


def test_a_finished_choice_of_an_earlier_version_is_read(chosen, tmp_path):
    """Keys that are gone are ignored, those that were added have their defaults."""
    model, _, _ = chosen
    (tmp_path / "choice.json").write_text(
        json.dumps(model.choice.model_dump(mode="json") | {"gone": 1})
    )
    assert read_choice(tmp_path) == model.choice


# Settings.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"learning_rate": "auto", "strategy": "frozen"},
            r"strategy=frozen has no effect with learning_rate: auto.*cross_validation: {recipes",
        ),
        (
            {"framework": "nequip", "cross_validation": {"recipes": [
                {"strategy": "lora", "learning_rate": 0.1}]}},
            "strategy=lora is not for framework nequip",
        ),
        (
            {"cross_validation": {"recipes": [{"learning_rate": 0.1}, {"learning_rate": 0.1}]}},
            "recipes lists naive 0.1 twice",
        ),
        ({"learning_rate": "fast"}, "auto"),
        ({"learning_rate": 2.0}, "less than or equal to 1"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(settings, message: str):
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate(settings)


def test_each_framework_compares_what_it_knows():
    assert TrainingConfig(learning_rate="auto").trials == 12
    assert TrainingConfig(learning_rate="auto", framework="nequip").trials == 12
    assert TrainingConfig().trials == 0
    assert TrainingConfig(learning_rate="auto").recipes[0] == Recipe(
        strategy=TrainingConfig().strategy,
        learning_rate=TrainingConfig().fixed_learning_rate,
    )
