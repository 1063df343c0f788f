"""From the second round a campaign explores with the tuned model: verified, in its own cells."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch_sim
from ase.build import bulk

from entrove.campaign.configuration.check import CheckedCampaign, Seed
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Trained, Validated, Verified
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.relax import read_starts, relax_again
from entrove.campaign.stages.verify import verify_tuned
from entrove.campaign.workspace import Workspace
from entrove.errors import ModelError
from entrove.models.registry import load
from entrove.models.sevennet.files import pretrained_checkpoint
from entrove.models.sevennet.model import SevenNetModel
from entrove.sampling.candidates import Candidate, write_candidates
from entrove.structures import read_structures
from entrove.units import EV_PER_A3_IN_GPA

PRESSURE_GPa = 5.0
STARTED_AT_A = 5.2
"""Lattice constant of silicon as if from another model; that of SevenNet-0 at 5 GPa is 5.38 A."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(
        shutil.copy(
            pretrained_checkpoint("7net-0"), tmp_path_factory.mktemp("tuned") / "model.pth"
        )
    )


def campaign(folder: Path, checkpoint: Path, **changes) -> CampaignRun:
    """A campaign after its first round, whose accepted model is SevenNet-0 under another name."""
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
    for round_index in (0, 1, 2):
        files.round(round_index).folder.mkdir(parents=True)
    write_candidates(
        files.round(0).relaxed,
        [Candidate(seed, "anchors", "relaxed", "diamond", PRESSURE_GPa)],
    )
    shutil.copy(checkpoint, files.round(1).folder / "model.pth")
    ledger = Ledger(files.ledger)
    ledger.enter(0, Verified(summary="", batched=True), 1.0)
    ledger.enter(1, Trained(summary="", checkpoint="round-01/model.pth"), 1.0)
    ledger.enter(1, Validated(summary="", errors=(), accepted=True), 1.0)
    foundation = load("ase.calculators.lj:LennardJones")  # explored so far; not used any more
    checked = CheckedCampaign(
        config, folder / "campaign.yaml", files, (Seed("diamond", seed),), "7net-0", foundation
    )
    return CampaignRun(checked, ledger, CampaignModels(checked, ledger), Silence())


def test_phases_are_relaxed_again_at_their_pressure(tmp_path, checkpoint):
    run = campaign(tmp_path, checkpoint)
    assert [run.models.explores_with_another(index) for index in (1, 2)] == [False, True]
    run.ledger.enter(2, Verified(summary="", batched=True, tuned_in=1), 1.0)
    assert [run.models.explores_with_another(index) for index in (1, 2, 3)] == [False, True, False]
    outcome = relax_again(run, 2)
    (start,) = read_starts(run.files, 2)
    # What SevenNet's own ASE calculator says; at 5.2 A it is 19 GPa.
    start.atoms.calc = load(str(checkpoint), device="cpu").calculator()
    stress = start.atoms.get_stress() * EV_PER_A3_IN_GPA
    np.testing.assert_allclose(stress, [-PRESSURE_GPa] * 3 + [0] * 3, atol=0.1)
    assert "1 cell, volumes changed by up to" in outcome.summary
    assert "warning" not in outcome.summary
    # Round 1 keeps its cells, and round 3, which has no new model, those of round 2.
    assert read_starts(run.files, 1)[0].atoms.cell[0, 1] == pytest.approx(STARTED_AT_A / 2)
    np.testing.assert_array_equal(read_starts(run.files, 3)[0].atoms.cell, start.atoms.cell)


def test_a_cell_that_does_not_converge_stays_as_it_was_and_is_named(tmp_path, checkpoint):
    run = campaign(tmp_path, checkpoint, sampling={"relaxation": {"largest_steps": 1}})
    outcome = relax_again(run, 2)
    assert (
        "warning: kept as they were, not relaxed: diamond at 5 GPa (steps exhausted)"
        in outcome.summary
    )
    (kept,) = read_structures(run.files.round(2).relaxed)
    assert kept.cell[0, 1] == pytest.approx(STARTED_AT_A / 2)


def test_a_tuned_model_is_verified(tmp_path, checkpoint):
    run = campaign(tmp_path, checkpoint)
    outcome = verify_tuned(run, 2)
    assert "model.pth: batches agree with its ASE calculator" in outcome.summary
    assert (outcome.batched, outcome.tuned_in) == (True, 1)
    assert run.models.exploring(2).batched


class Inverted(SevenNetModel):
    """A batch whose forces have the wrong sign."""

    def forward(self, state: torch_sim.SimState, **kwargs: object):
        results = super().forward(state, **kwargs)
        return results | {"forces": -results["forces"]}


def test_a_tuned_model_with_wrong_batches_stops_the_round_or_explores_one_by_one(
    tmp_path, checkpoint, monkeypatch
):
    monkeypatch.setattr("entrove.models.sevennet.loading.SevenNetModel", Inverted)
    run = campaign(tmp_path / "stop", checkpoint)
    with pytest.raises(
        ModelError, match=r"forces differ(.|\n)*set the model's verify_batching to 'fall_back'"
    ):
        verify_tuned(run, 2)
    run = campaign(
        tmp_path / "on", checkpoint, model={"device": "cpu", "verify_batching": "fall_back"}
    )
    outcome = verify_tuned(run, 2)
    assert outcome.summary.endswith("continuing with its ASE calculator, one structure at a time")
    assert not run.models.exploring(2).batched
    # A later process, which only has the ledger, falls back as well.
    ledger = Ledger(run.files.ledger)
    ledger.enter(2, outcome, 1.0)
    assert not CampaignModels(run.campaign, ledger).exploring(2).batched
