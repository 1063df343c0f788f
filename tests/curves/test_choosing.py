"""What arms share while they choose."""

from dataclasses import replace

import numpy as np
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
from entrove.curves.hashing import digest
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


def copper(count: int) -> list[Candidate]:
    return [
        Candidate(bulk("Cu", a=3.5 + 0.002 * k), "anchors", "md", "fcc", 0.0) for k in range(count)
    ]


def prepared(tmp_path, monkeypatch, pool: list[Candidate], **changes) -> CampaignRun:
    """A campaign whose exploration has ended with this pool."""
    write(tmp_path / "fcc.xyz", bulk("Cu", cubic=True))
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(SETTINGS))
    monkeypatch.setattr(choosing, "read_pool", lambda *_: pool)
    checked, ledger = make_bench(tmp_path, monkeypatch).campaign(**changes), Ledger(tmp_path / "l")
    anchors = checked.workspace.round(0).anchors
    anchors.parent.mkdir(parents=True)
    write_candidates(anchors, pool[:4])
    return CampaignRun(checked, ledger, CampaignModels(checked, ledger), Silence())


def with_arm(counts: tuple[int, ...], **settings) -> StudyConfig:
    arm = STUDY.arms["a"].model_copy(update=settings)
    return STUDY.model_copy(update={"counts": counts, "arms": {"a": arm}})


def test_random_picks_of_a_count_are_independent_of_those_before(tmp_path, monkeypatch):
    """With one stream for all counts each pick was beside the one of the count before."""
    pool = copper(200)
    run = prepared(tmp_path, monkeypatch, pool, selection={"method": "random"})
    chooser = Chooser(with_arm((2, 4, 6)), tmp_path / "campaign.yaml", tmp_path)
    apart = []
    for seed in range(60):
        config = run.config.model_copy(update={"random_seed": seed})
        seeded = replace(run, campaign=replace(run.campaign, config=config))
        picks = chooser._choose_in_rounds("a", seeded, pool)
        places = [next(k for k, c in enumerate(pool) if c is pick) for pick in picks]
        # What is picked first is what a campaign picks in its first round.
        assert places[:2] == np.random.default_rng([seed, 1, 3]).permutation(200)[:2].tolist()
        assert len(set(places)) == 6
        apart += [np.abs(np.subtract(places[2:], places[:-2])) / 200]
    # Of two independent numbers between 0 and 1: mean 1/3, standard deviation 0.236.
    assert np.mean(apart) == pytest.approx(1 / 3, abs=5 * 0.236 / np.sqrt(np.size(apart)))


@pytest.mark.parametrize(
    ("method", "counts", "version"),
    [("random", (2,), 3), ("random", (2, 3), 4), ("gain", (2,), 3), ("gain", (2, 3), 3)],
)
def test_only_random_picks_beyond_the_first_count_are_made_anew(
    method, counts, version, tmp_path, monkeypatch
):
    """Keys are the names of files in the folders of studies, which continue."""
    run = prepared(tmp_path, monkeypatch, copper(8))
    study = with_arm(counts, selection={"method": method})
    chooser = Chooser(study, tmp_path / "campaign.yaml", tmp_path / "picks")
    chooser.choose("a", 0, Explored(run, "key"))
    config = chooser._arm_of("a", 0, Explored(run, "key")).config
    key = digest(
        version, "key", study.arms["a"].pools, config.selection, config.entropy, counts, 0
    )
    assert [file.name for file in (tmp_path / "picks").iterdir()] == [f"a-0-{key[:10]}.xyz"]


def test_picks_are_made_anew_where_a_stopping_condition_asks_for_gains(tmp_path, monkeypatch):
    """The method "auto" is another one then, and `stopping` is in no key of an exploration."""
    run = prepared(tmp_path, monkeypatch, copper(8))
    study = with_arm((2,), selection={"features": "fingerprint"}, entropy={"kind": "labels"})
    chooser = Chooser(study, tmp_path / "campaign.yaml", tmp_path / "picks")
    for least, files in ((None, 1), (0.02, 2), (0.05, 2), (None, 2)):
        stopping = run.config.stopping.model_copy(update={"least_predicted_improvement": least})
        config = run.config.model_copy(update={"stopping": stopping})
        chooser.choose(
            "a", 0, Explored(replace(run, campaign=replace(run.campaign, config=config)), "key")
        )
        assert len(list((tmp_path / "picks").iterdir())) == files


@pytest.mark.parametrize(
    ("selection", "kind", "files"),
    [
        ({"method": "representative"}, "labels", 2),
        ({"method": "representative", "features": "fingerprint"}, "labels", 1),
        ({"method": "gain"}, "information", 1),
        ({"method": "gain"}, "labels", 2),
        # Their noise grows with energies of the model.
        ({"method": "gain", "features": "fingerprint"}, "labels", 2),
        ({"method": "random"}, "labels", 1),
    ],
)
@pytest.mark.parametrize("explorer", ["other.pth", "7net-l3i5"])
def test_picks_are_made_anew_for_other_weights_of_the_model_that_learns(
    selection, kind, files, explorer, tmp_path, monkeypatch
):
    """Where another model explores, whose key they are not in."""
    model = {"name": "model.pth", "explore_with": explorer}
    run = prepared(tmp_path, monkeypatch, copper(6), model=model)
    study = with_arm((2,), selection=selection, entropy={"kind": kind})
    chooser = Chooser(study, tmp_path / "campaign.yaml", tmp_path / "picks")
    for weights in ("before", "before", "after"):
        (tmp_path / "model.pth").write_text(weights)
        chooser.choose("a", 0, Explored(run, "key"))
    assert len(list((tmp_path / "picks").iterdir())) == files


@pytest.mark.parametrize(
    "model",
    [
        {"name": "7net-0", "explore_with": "7net-l3i5"},
        {"name": "model.pth"},
        {"name": "model.pth", "explore_with": ["model.pth", "7net-0"]},
    ],
)
def test_keys_of_picks_stay_where_the_exploration_tells_the_models(model, tmp_path, monkeypatch):
    """By the name of a packaged model, and by the weights of those that explore."""
    (tmp_path / "model.pth").write_text("weights")
    run = prepared(tmp_path, monkeypatch, copper(6), model=model)
    study = with_arm((2,), entropy={"kind": "labels"})
    chooser = Chooser(study, tmp_path / "campaign.yaml", tmp_path / "picks")
    chooser.choose("a", 0, Explored(run, "key"))
    config = chooser._arm_of("a", 0, Explored(run, "key")).config
    key = digest(3, "key", study.arms["a"].pools, config.selection, config.entropy, (2,), 0)
    assert [file.name for file in (tmp_path / "picks").iterdir()] == [f"a-0-{key[:10]}.xyz"]
