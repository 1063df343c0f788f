"""What arms share while they choose."""

from dataclasses import replace

import pytest
import yaml
from ase.build import bulk
from ase.io import write

from cheap_campaign import SETTINGS, make_bench
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.select import RowSources
from entrove.curves import choosing
from entrove.curves.choosing import Chooser
from entrove.curves.config import StudyConfig
from entrove.curves.exploring import Explored
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.candidates import Candidate, write_candidates

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


@pytest.mark.parametrize(
    ("selection", "repeats", "files"),
    [
        ({"method": "gain"}, (1, 1), 1),
        ({"method": "gain"}, (1, 2), 2),
        ({"method": "gain", "rank_by": "gain"}, (1, 2), 1),
        ({"method": "random"}, (1, 2), 1),
        ({"method": "random", "budget_s": 100.0}, (1, 1), 2),
    ],
)
def test_picks_are_made_anew_for_another_engine_where_its_seconds_decide(
    selection, repeats, files, tmp_path, monkeypatch
):
    """And only there: a stored study with cells of one size continues."""
    write(tmp_path / "fcc.xyz", bulk("Cu", cubic=True))
    pool = [
        Candidate(bulk("Cu", a=3.5 + 0.02 * k) * (repeat, 1, 1), "anchors", "md", "fcc", 0.0)
        for k in range(4)
        for repeat in repeats
    ]
    monkeypatch.setattr(choosing, "read_pool", lambda *_: pool)
    study = STUDY.model_copy(update={"counts": (2,)})
    arm = study.arms["a"].model_copy(update={"selection": selection})
    study = study.model_copy(update={"arms": {"a": arm}})
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(SETTINGS))
    bench, ledger = make_bench(tmp_path, monkeypatch), Ledger(tmp_path / "ledger.sqlite")
    anchors = bench.files.round(0).anchors
    anchors.parent.mkdir(parents=True)
    write_candidates(anchors, pool)
    chooser = Chooser(study, tmp_path / "campaign.yaml", tmp_path / "picks")
    engine = {"name": "ase", "calculator": "cheap_campaign:Labels"}
    for arguments in ({}, {}, {"asap_cutoff": True}):
        checked = bench.campaign(labelling={"engine": {**engine, "arguments": arguments}})
        run = CampaignRun(checked, ledger, CampaignModels(checked, ledger), Silence())
        assert len(chooser.choose("a", 0, Explored(run, "key"))) == 2
    assert len(list((tmp_path / "picks").iterdir())) == files
