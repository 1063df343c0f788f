"""From its second round on a campaign explores with the tuned model: verified, and in cells of its own."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch_sim
from ase.build import bulk

from entrove.campaign.configuration.check import CheckedCampaign, Seed
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.stages import prepare
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.workspace import Workspace
from entrove.errors import ModelError
from entrove.models.registry import load
from entrove.models.sevennet.model import SevenNetModel, pretrained_checkpoint
from entrove.sampling.candidates import Candidate, write_candidates
from entrove.structures import read_structures
from entrove.units import EV_PER_A3_IN_GPA

PRESSURE_GPa = 5.0
STARTED_AT_A = 5.2
"""Lattice constant of silicon to another model; SevenNet-0's at 5 GPa is 5.38 A."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(
        shutil.copy(
            pretrained_checkpoint("7net-0"), tmp_path_factory.mktemp("tuned") / "model.pth"
        )
    )


def campaign(folder: Path, checkpoint: Path, **changes) -> tuple[CheckedCampaign, CampaignModels]:
    """A campaign after its first round, which an accepted model came out of: SevenNet-0, under another name."""
    config = CampaignConfig.model_validate(
        {
            "name": "silicon",
            "seeds": [{"phase": "diamond", "file": "diamond.xyz"}],
            "regime": {"pressures_GPa": [PRESSURE_GPa]},
            "model": {"name": "7net-0", "device": "cpu"},
            **changes,
        }
    )
    files = Workspace(folder)
    seed = bulk("Si", a=STARTED_AT_A)
    write_candidates(
        files.in_round(0, "relaxed.xyz"),
        [Candidate(seed, "anchors", "relaxed", "diamond", PRESSURE_GPa)],
    )
    shutil.copy(checkpoint, files.in_round(1, "model.pth"))
    ledger = Ledger(files.ledger)
    ledger.enter(0, "verify", 1.0, "", {"batched": True})
    ledger.enter(1, "train", 1.0, "", {"checkpoint": "round-01/model.pth"})
    ledger.enter(1, "validate", 1.0, "", {"accepted": True})
    foundation = load("ase.calculators.lj:LennardJones")  # explored so far; not used any more
    checked = CheckedCampaign(
        config, folder / "campaign.yaml", files, (Seed("diamond", seed),), "7net-0", foundation
    )
    return checked, CampaignModels(checked, ledger)


def test_phases_are_relaxed_again_at_their_pressure(tmp_path, checkpoint):
    made, models = campaign(tmp_path, checkpoint)
    assert [models.explores_with_another(round) for round in (1, 2, 3)] == [False, True, False]
    outcome = prepare.relax_again(made, models, 2)
    (start,) = prepare.read_starts(made, 2)
    # What SevenNet's own ASE calculator says; at 5.2 A it is 19 GPa.
    start.atoms.calc = load(str(checkpoint), device="cpu").calculator()
    stress = start.atoms.get_stress() * EV_PER_A3_IN_GPA
    np.testing.assert_allclose(stress, [-PRESSURE_GPa] * 3 + [0] * 3, atol=0.1)
    assert outcome.payload == {"kept": []}
    assert "1 cells, volumes changed by up to" in outcome.summary
    # Round 1 keeps its cells, and round 3, which has no new model, those of round 2.
    assert prepare.read_starts(made, 1)[0].atoms.cell[0, 1] == pytest.approx(STARTED_AT_A / 2)
    np.testing.assert_array_equal(prepare.read_starts(made, 3)[0].atoms.cell, start.atoms.cell)


def test_a_cell_that_does_not_converge_stays_as_it_was_and_is_named(tmp_path, checkpoint):
    made, models = campaign(tmp_path, checkpoint, sampling={"relaxation": {"largest_steps": 1}})
    outcome = prepare.relax_again(made, models, 2)
    assert (
        "warning: kept as they were, not relaxed: diamond at 5 GPa (steps exhausted)"
        in outcome.summary
    )
    (kept,) = read_structures(made.workspace.in_round(2, "relaxed.xyz"))
    assert kept.cell[0, 1] == pytest.approx(STARTED_AT_A / 2)


def test_a_tuned_model_is_verified(tmp_path, checkpoint):
    made, models = campaign(tmp_path, checkpoint)
    outcome = prepare.verify_tuned(made, models, 2)
    assert "model.pth: batches agree with its ASE calculator" in outcome.summary
    assert outcome.payload == {"batched": True, "tuned_in": 1}
    assert models.exploring(2).batched


class Inverted(SevenNetModel):
    """A batch whose forces have the wrong sign."""

    def forward(self, state: torch_sim.SimState, **kwargs: object):
        results = super().forward(state, **kwargs)
        return results | {"forces": -results["forces"]}


def test_a_tuned_model_with_wrong_batches_stops_the_round_or_explores_one_by_one(
    tmp_path, checkpoint, monkeypatch
):
    monkeypatch.setattr("entrove.models.sevennet.model.SevenNetModel", Inverted)
    made, models = campaign(tmp_path / "stop", checkpoint)
    with pytest.raises(
        ModelError, match=r"forces differ(.|\n)*set the model's verify_batching to 'fall_back'"
    ):
        prepare.verify_tuned(made, models, 2)
    made, models = campaign(
        tmp_path / "on", checkpoint, model={"device": "cpu", "verify_batching": "fall_back"}
    )
    outcome = prepare.verify_tuned(made, models, 2)
    assert outcome.summary.endswith("on with its ASE calculator, one structure at a time")
    assert not models.exploring(2).batched
    # A later process, which has the ledger alone, knows it too.
    ledger = Ledger(made.workspace.ledger)
    ledger.enter(2, "verify", 1.0, outcome.summary, outcome.payload)
    assert not CampaignModels(made, ledger).exploring(2).batched
