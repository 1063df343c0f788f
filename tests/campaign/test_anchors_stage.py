"""What calibrates the features: the unbiased MD, and cells of what that did not reach."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from cheap_campaign import make_bench
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages import anchors as stage
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.explore import shared_dataset
from entrove.campaign.stages.models import CampaignModels
from entrove.sampling.candidates import Candidate, write_candidates


def anchor(symbol: str, kind: str, seed: int = 0) -> Candidate:
    atoms = bulk(symbol, cubic=True)
    atoms.rattle(0.05, seed=seed)
    return Candidate(atoms, "anchors", kind, symbol, 0.0)


COPPER = [anchor("Cu", "relaxed"), *(anchor("Cu", "md", seed) for seed in (1, 2))]
GOLD = [anchor("Au", "relaxed"), anchor("Au", "strain", 1), anchor("Au", "shear", 2)]


def symbols(structures: list[Atoms]) -> list[str]:
    return [atoms.symbols[0] for atoms in structures]


def test_only_the_thermal_run_is_the_reference_where_it_has_every_element():
    thermal = [*COPPER, *GOLD, anchor("Au", "md", 3)]
    assert symbols(stage.reference_run(thermal)) == ["Cu", "Cu", "Au"]


@pytest.fixture
def run(tmp_path, monkeypatch) -> CampaignRun:
    campaign, ledger = make_bench(tmp_path, monkeypatch).campaign(), Ledger(tmp_path / "ledger")
    campaign.workspace.round(0).folder.mkdir(parents=True)
    return CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), Silence())


def test_an_element_without_thermal_anchors_is_calibrated_on_its_others(run):
    """All walkers of gold were stopped by the guards: the campaign goes on."""
    assert symbols(stage.reference_run([*COPPER, *GOLD])) == ["Cu", "Cu", "Au", "Au", "Au"]
    write_candidates(run.files.round(0).anchors, [*COPPER, *GOLD])
    gains = shared_dataset(run.campaign).selecting.gain([anchor("Au", "md", 4).atoms])
    assert np.isfinite(gains).all()


@pytest.mark.parametrize(("made", "warns"), [(COPPER + GOLD, True), (COPPER, False)])
def test_the_stage_of_the_anchors_warns_of_such_elements(run, monkeypatch, made, warns):
    write_candidates(run.files.round(0).relaxed, made)
    monkeypatch.setattr(stage, "generate_anchors", lambda *_, **__: made)
    summary = stage.make_anchors(run, 0).summary
    assert ("; warning: no snapshot of the unbiased MD has Au:" in summary) == warns
