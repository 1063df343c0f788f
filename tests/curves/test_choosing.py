"""What arms share while they choose."""

from dataclasses import replace

import pytest
from ase.build import bulk

from cheap_campaign import make_bench
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.select import RowSources
from entrove.curves import choosing
from entrove.curves.choosing import Chooser
from entrove.curves.config import StudyConfig
from entrove.fingerprints.gom import GaussianOverlap

ENERGIES_EV = {"7net-0": -1.0, "7net-l3i5": -2.0}

STUDY = StudyConfig.model_validate(
    {
        "name": "silicon",
        "campaign": "campaign.yaml",
        "arms": {"a": {"exploration": "campaign"}},
        "control": "a",
        "students": {"s": {"base": "7net-0"}},
    }
)


@pytest.mark.parametrize("order", [list(ENERGIES_EV), list(ENERGIES_EV)[::-1]])
def test_energies_are_those_of_the_model_of_each_exploration(order, tmp_path, monkeypatch):
    """Or picks would depend on which arm was chosen first, and on what a stopped study has."""
    campaign = make_bench(tmp_path, monkeypatch).campaign()

    def run_with(name: str) -> CampaignRun:
        model = campaign.config.model.model_copy(update={"name": name})
        checked = replace(campaign, config=campaign.config.model_copy(update={"model": model}))
        ledger = Ledger(tmp_path / "ledger.sqlite")
        return CampaignRun(checked, ledger, CampaignModels(checked, ledger), Silence())

    def sources(run: CampaignRun, _: int) -> RowSources:
        energy = ENERGIES_EV[run.config.model.name]
        return RowSources(GaussianOverlap(), lambda structures: [energy] * len(structures))

    monkeypatch.setattr(choosing, "row_sources", sources)
    chooser = Chooser(STUDY, tmp_path / "campaign.yaml", tmp_path)
    found = {name: chooser._row_sources(run_with(name)) for name in order}
    for name, energy in ENERGIES_EV.items():
        assert found[name].energies_eV([bulk("Si")]) == [energy]
        assert chooser._row_sources(run_with(name)) is found[name]
