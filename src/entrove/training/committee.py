"""A committee: the same labels, learnt several times from different starts and in other orders."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove.training.config import TrainingConfig
from entrove.training.job import Epoch, read_epochs, read_job
from entrove.training.launch import read_trained
from entrove.training.trained_model import TrainedModel
from entrove.training.tuning import fine_tune


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
    on_epoch: Callable[[int, Epoch], None] | None = None,
) -> tuple[TrainedModel, ...]:
    """Tune `config.committee_size` models, one after the other; the first is the potential itself.

    Members differ in the order of the labels, in which of them are set aside, and, but for the
    first, in the start of their energy head (`head_noise`). Each has a folder of its own under
    `folder` and resumes on its own. `on_epoch` gets the member and the epoch; `snapshots` are as
    for `fine_tune`.

    Raises `ModelError` as `fine_tune` does.
    """
    return tuple(
        fine_tune(
            structures,
            base,
            Path(folder) / _name(member),
            config,
            seed=member_seed(seed, member),
            head_noise=config.head_noise if member else 0.0,
            snapshots=snapshots,
            modal=modal,
            device=device,
            threads=threads,
            on_epoch=_for_member(on_epoch, member),
        )
        for member in range(config.committee_size)
    )


def labels_learnt_in(folder: Path) -> str | None:
    """Hash of the labels of a committee in `folder`; None when there is none."""
    job = read_job(Path(folder) / _name(0))
    return None if job is None else job.labels_hash


def read_committee(folder: Path) -> tuple[TrainedModel, ...]:
    """Read what `train_committee` made in `folder`, the first member first.

    Raises `ModelError` when there is no finished training.
    """
    members = sorted(
        Path(folder).glob("member-*"), key=lambda path: int(path.name.rpartition("-")[2])
    )
    return tuple(read_trained(member) for member in members or [Path(folder) / _name(0)])


def epochs_done(folder: Path, config: TrainingConfig) -> int:
    """Epochs that are done; a member that stopped early counts as if it had run all."""
    members = [Path(folder) / _name(member) for member in range(config.committee_size)]
    return sum(
        config.epochs if (member / "result.json").exists() else len(read_epochs(member))
        for member in members
    )


def _name(member: int) -> str:
    return f"member-{member}"


def _for_member(
    on_epoch: Callable[[int, Epoch], None] | None, member: int
) -> Callable[[Epoch], None] | None:
    if on_epoch is None:
        return None
    return lambda epoch: on_epoch(member, epoch)
