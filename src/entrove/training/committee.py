"""A committee: labels learnt several times, from different starts, in other orders, or in part."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from entrove.errors import ModelError
from entrove.execution.running import Executors, Programs
from entrove.files import replace_text
from entrove.training.config import TrainingConfig
from entrove.training.cross_validation.trials import (
    CROSS_VALIDATION,
    choose_recipe,
    read_choice,
    trial_epochs_done,
)
from entrove.training.folds import divide, independent_groups, leaving_every_element
from entrove.training.job import Epoch, count_epochs, read_job
from entrove.training.launch import launch_trainings, read_trained
from entrove.training.request import make_request
from entrove.training.trained_model import TrainedModel
from entrove.training.tuning import RUN_FOLDER

logger = logging.getLogger(__name__)

_FINISHED_FILE = "committee.json"
"""How many members a committee has, written when all are trained."""


def member_seed(seed: int, member: int) -> int:
    """Seed of a member; that of member 0 is `seed`, so it is the model that is trained alone.

    >>> member_seed(7, 0), len({member_seed(7, member) for member in range(32)})
    (7, 32)
    """
    if member == 0:
        return seed
    return int(np.random.SeedSequence([seed, member]).generate_state(1)[0] >> 1)


def train_committee(
    structures: Sequence[Atoms],
    base: str | Path,
    folder: Path,
    config: TrainingConfig,
    *,
    seed: int = 0,
    snapshots: Sequence[Atoms] = (),
    modal: str | None = None,
    device: str = "auto",
    threads: int = 1,
    advanced: Callable[[int, int, str], None] | None = None,
    where: Programs | None = None,
) -> tuple[TrainedModel, ...]:
    """Tune `config.committee_size` models; the first is the potential itself.

    Members differ in the order of the labels, in which of them are set aside, and, but for the
    first, in the start of their energy head (`head_noise`) and in the labels that they learn from
    (`member_labels`). Each has a folder of its own under
    `folder` and resumes on its own. With `config.learning_rate` "auto" it is chosen once, for all.
    `snapshots` are as for `fine_tune`. `advanced` is called after every epoch, with the number of
    epochs of all trainings that are done, how many there are, and what is being trained. `where`
    are workers that several calls share; by default those of `config.executor`, which end with
    this call. As many members are trained at a time as there is room for.

    Raises `ModelError` as `fine_tune` does, and for labels that are too few or too alike for
    `member_labels`.
    """
    folder = Path(folder).resolve()
    with Executors() as executors:
        shared: dict[str, Any] = {
            "snapshots": snapshots,
            "modal": modal,
            "device": device,
            "threads": threads,
            "where": where or executors.programs(config.executor, folder / RUN_FOLDER),
        }
        return _train_committee(structures, base, folder, config, seed, advanced, shared)


def _train_committee(
    structures: Sequence[Atoms],
    base: str | Path,
    folder: Path,
    config: TrainingConfig,
    seed: int,
    advanced: Callable[[int, int, str], None] | None,
    shared: dict[str, Any],
) -> tuple[TrainedModel, ...]:
    where: Programs = shared["where"]
    config = config.for_labels(len(structures))
    learnt = labels_of_members(structures, config, seed)
    if config.committee_size > 1 and config.left_out_by == 0:
        logger.warning(
            "the members of this committee learn the same labels: their spread is many times "
            "smaller than their errors (12 to 15 times with 25 labels); training: member_labels: "
            "0.5 with a committee_size of 5 gives wider ones"
        )
    choice, of_trials = None, 0

    def report(done: int, total: int, note: str) -> None:
        if advanced is not None:
            advanced(done, total, note)

    if config.learning_rate == "auto":
        request = make_request(structures, base, config, seed=seed, head_noise=0.0, **shared)
        choice = choose_recipe(
            request,
            folder / CROSS_VALIDATION,
            on_trial=lambda trial: report(
                trial.done,
                trial.total + config.committee_size * config.fixed_epochs,
                trial.describe(),
            ),
            where=where,
        )
        of_trials = choice.epochs(config.fixed_epochs)
    chosen = config if choice is None else config.with_recipe(choice.recipe)
    total = of_trials + config.committee_size * chosen.fixed_epochs
    (folder / _FINISHED_FILE).unlink(missing_ok=True)
    wanted = [
        (
            make_request(
                [structures[index] for index in learnt[member]],
                base,
                chosen,
                seed=member_seed(seed, member),
                head_noise=config.head_noise if member else 0.0,
                **shared,
            ),
            folder / _name(member),
        )
        for member in range(config.committee_size)
    ]
    done = dict.fromkeys(range(len(wanted)), 0)

    def report_member(member: int, epoch: Epoch) -> None:
        done[member] = epoch.number
        report(of_trials + sum(done.values()), total, f"loss {epoch.training_loss:.3g}")

    members: dict[int, TrainedModel] = {}
    for member, trained in launch_trainings(wanted, where, report_member):
        if not isinstance(trained, TrainedModel):
            raise trained
        members[member], done[member] = replace(trained, choice=choice), chosen.fixed_epochs
    mark_finished(folder, len(wanted))
    return tuple(members[member] for member in range(len(wanted)))


def labels_of_members(
    structures: Sequence[Atoms], config: TrainingConfig, seed: int
) -> list[list[int]]:
    """Choose which labels each member of a committee learns from, by `config.member_labels`.

    The first learns from all. Snapshots of one trajectory, and structures that nearly equal each
    other, are left out together, and each label by the same number of members; fewer
    where a member would not learn an element otherwise.

    Returns the indices of each member's labels, increasing.

    Raises `ModelError` when there are fewer independent groups of labels than other members.
    """
    all_labels, others = list(range(len(structures))), config.committee_size - 1
    if config.left_out_by == 0:
        return [all_labels] * config.committee_size
    groups = independent_groups(structures)
    if len(groups) < others:
        raise ModelError(
            f"member_labels={config.member_labels:g}: the {len(structures)} labels are "
            f"{len(groups)} independent groups (trajectories, near-duplicates), too few for "
            f"{others} members to leave out different ones; set committee_size to at most "
            f"{len(groups) + 1}, or member_labels to 1"
        )
    folds = divide(structures, groups, others, seed)
    chosen = [
        [index for step in range(config.left_out_by) for index in folds[(first + step) % others]]
        for first in range(others)
    ]
    left_out = [set(leaving_every_element(structures, indices)) for indices in chosen]
    return [all_labels] + [
        [index for index in all_labels if index not in without] for without in left_out
    ]


def labels_learnt_in(folder: Path) -> str | None:
    """Hash of the labels of a committee in `folder`; None when there is none."""
    for part in (_name(0), CROSS_VALIDATION):
        job = read_job(Path(folder) / part)
        if job is not None:
            return job.labels_hash
    return None


def read_committee(folder: Path) -> tuple[TrainedModel, ...]:
    """Read what `train_committee` made in `folder`, the first member first.

    Further members in the folder are of a larger committee that was asked for before. Where it is
    not known how many there are (the training has not ended, or was by release 0.1), all that are
    finished count.

    Raises `ModelError` when the first training, or another of a finished committee, is missing.
    """
    folder = Path(folder)
    first = folder / _name(0)
    finished = folder / _FINISHED_FILE
    if finished.is_file():
        members = json.loads(finished.read_text(encoding="utf-8"))["members"]
        others = [folder / _name(member) for member in range(1, members)]
    else:
        found = sorted(folder.glob("member-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        others = [path for path in found if path != first and (path / "result.json").is_file()]
    choice = read_choice(folder / CROSS_VALIDATION)
    return tuple(replace(read_trained(member), choice=choice) for member in [first, *others])


def mark_finished(folder: Path, members: int) -> None:
    """Write that the committee in `folder` is trained, and how many members it has."""
    replace_text(Path(folder) / _FINISHED_FILE, json.dumps({"members": members}) + "\n")


def is_finished(folder: Path) -> bool:
    """Whether the committee in `folder` is trained; False for those of release 0.1."""
    return (Path(folder) / _FINISHED_FILE).is_file()


def settings_of(members: Sequence[TrainedModel], config: TrainingConfig) -> TrainingConfig:
    """Return the settings that models were trained with, which those of now need not be.

    Args:
        members: What `train_committee` or `read_committee` returns.
        config: Has what trainings do not keep: preset, executor and `member_labels`.
    """
    first, *others = members
    jobs = [read_job(member.folder) for member in (first, *others[:1])]
    if jobs[0] is None:
        return config
    asked = None if first.choice is None else read_job(first.folder.parent / CROSS_VALIDATION)
    return jobs[0].config.model_copy(
        update={
            "preset": config.preset,
            "executor": config.executor,
            "member_labels": config.member_labels,
            "committee_size": len(members),
            "head_noise": config.head_noise if jobs[-1] is None else jobs[-1].head_noise,
            "cross_validation": (config if asked is None else asked.config).cross_validation,
        }
    )


def epochs_done(folder: Path, size: int) -> int:
    """Epochs of a committee of `size`; a member that stopped early counts as if it had run all."""
    members = [Path(folder) / _name(member) for member in range(size)]
    return trial_epochs_done(Path(folder) / CROSS_VALIDATION) + sum(
        count_epochs(member, ended=(member / "result.json").exists()) for member in members
    )


def _name(member: int) -> str:
    return f"member-{member}"
