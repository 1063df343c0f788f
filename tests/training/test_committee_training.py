import numpy as np

from entrove.models.registry import load
from entrove.training.committee import member_seed, train_committee
from entrove.training.config import TrainingConfig
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
