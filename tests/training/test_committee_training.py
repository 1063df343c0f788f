import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pydantic import ValidationError

from conftest import label_with_lennard_jones
from entrove import provenance
from entrove.errors import ModelError
from entrove.models.registry import load
from entrove.structures import content_hash
from entrove.training.committee import (
    labels_of_members,
    member_seed,
    read_committee,
    train_committee,
)
from entrove.training.config import TrainingConfig
from entrove.training.trained_model import TrainedModel
from entrove.training.tuning import fine_tune

CONFIG = TrainingConfig(epochs=2, batch_size=3, learning_rate=0.01)
COMMITTEE = CONFIG.model_copy(update={"committee_size": 2, "head_noise": 0.1})


def test_members_differ_and_the_first_is_the_model_trained_alone(
    small_checkpoint, labelled_silicon, tmp_path
):
    alone = fine_tune(
        labelled_silicon, small_checkpoint, tmp_path / "member-0", CONFIG, seed=4, device="cpu"
    )
    heard = []
    members = train_committee(
        labelled_silicon,
        small_checkpoint,
        tmp_path,
        COMMITTEE,
        seed=4,
        device="cpu",
        advanced=lambda done, total, _: heard.append((done, total)),
    )
    assert members[0] == alone
    assert heard == [(3, 4), (4, 4)]  # the first was there
    assert [member.seed for member in members] == [4, member_seed(4, 1)]
    atoms = labelled_silicon[0]
    forces = [
        load(str(member.checkpoint), device="cpu").calculator().get_forces(atoms)
        for member in members
    ]
    assert np.abs(forces[0] - forces[1]).max() > 1e-4


def snapshots_of_silicon() -> list[Atoms]:
    """Three snapshots of each of six trajectories, and six strained cells."""
    rng = np.random.default_rng(2)
    structures = []
    for index in range(24):
        atoms = bulk("Si", "diamond", a=5.43)
        if index < 18:
            atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
            atoms.info |= {provenance.WALKER: index % 6, provenance.ROUND: 1}
        else:
            atoms.set_cell((0.9 + 0.01 * index) * atoms.cell.array, scale_atoms=True)
        structures.append(label_with_lennard_jones(atoms))
    return structures


@pytest.mark.parametrize(
    ("size", "fraction", "left_out_by"), [(5, 0.5, 2), (4, 0.34, 2), (9, 0.5, 4)]
)
def test_each_label_is_left_out_by_as_many_members_and_trajectories_stay_together(
    size, fraction, left_out_by
):
    structures = snapshots_of_silicon()
    config = TrainingConfig(committee_size=size, member_labels=fraction)
    learnt = labels_of_members(structures, config, 4)
    assert learnt[0] == list(range(24))
    without = [sum(index not in one for one in learnt[1:]) for index in range(24)]
    assert without == [left_out_by] * 24
    assert len({tuple(one) for one in learnt}) == size
    for one in learnt[1:]:
        for walker in range(6):
            members = [index in one for index in range(walker, 18, 6)]
            assert all(members) or not any(members)
        share = len(one) / 24
        assert share == pytest.approx(1 - left_out_by / (size - 1), abs=0.13)
    # Other orders of the labels give the same parts.
    hashes = [{content_hash(structures[index]) for index in one} for one in learnt]
    backwards = structures[::-1]
    again = labels_of_members(backwards, config, 4)
    assert [{content_hash(backwards[index]) for index in one} for one in again] == hashes


def test_labels_that_are_too_few_or_a_spread_of_one_are_refused():
    config = TrainingConfig(committee_size=16, member_labels=0.5)
    with pytest.raises(ModelError, match=r"the 24 labels are 12 independent groups.*at most 13"):
        labels_of_members(snapshots_of_silicon(), config, 4)
    with pytest.raises(ValidationError, match=r"left out by 1 members.*committee_size to 5"):
        TrainingConfig(committee_size=3, member_labels=0.5)


@pytest.mark.slow
def test_members_learn_from_their_part_and_are_read_again(
    small_checkpoint, labelled_silicon, tmp_path
):
    config = CONFIG.model_copy(update={"epochs": 1, "committee_size": 4, "member_labels": 0.34})
    members = train_committee(
        labelled_silicon, small_checkpoint, tmp_path, config, seed=4, device="cpu"
    )
    learnt = labels_of_members(labelled_silicon, config, 4)
    for member, wanted in zip(members, learnt, strict=True):
        assert member.training_labels == len(wanted)
        names = {content_hash(labelled_silicon[index]) for index in wanted}
        assert member.labels_learnt() == names
    assert read_committee(tmp_path) == members


def test_an_unfinished_member_of_a_larger_committee_is_none_of_the_committee(
    small_checkpoint, labelled_silicon, tmp_path
):
    config = CONFIG.model_copy(update={"epochs": 1})
    members = train_committee(
        labelled_silicon, small_checkpoint, tmp_path, config, seed=4, device="cpu"
    )
    (tmp_path / "member-1").mkdir()
    shutil.copy(tmp_path / "member-0" / "job.json", tmp_path / "member-1")
    assert read_committee(tmp_path) == members
    (tmp_path / "member-0" / "result.json").unlink()
    with pytest.raises(ModelError, match="holds no finished training"):
        read_committee(tmp_path)


@pytest.mark.slow
def test_a_finished_member_of_a_larger_committee_is_none_of_a_smaller_one(
    small_checkpoint, labelled_silicon, tmp_path
):
    """Three were asked for and two of them trained; then two are, in the same folder."""

    def trained(size: int) -> tuple[TrainedModel, ...]:
        return train_committee(
            labelled_silicon,
            small_checkpoint,
            tmp_path,
            CONFIG.model_copy(update={"epochs": 1, "committee_size": size, "head_noise": 0.1}),
            seed=4,
            device="cpu",
        )

    larger = trained(3)
    assert read_committee(tmp_path) == larger
    assert trained(2) == larger[:2] == read_committee(tmp_path)
    (tmp_path / "member-1" / "result.json").unlink()
    with pytest.raises(ModelError, match="holds no finished training"):
        read_committee(tmp_path)
