"""Selection by rows of labels in a campaign: features, target and energies of the explorer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from pydantic import ValidationError

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages import select as stage
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.workspace import Workspace
from entrove.models.committee import committee_of, force_spreads
from entrove.models.loaded import LoadedModel
from entrove.models.registry import load
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates


def rattled(count: int, seed: int, pool: str, kind: str) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.3), size=(4, 3))
        made.append(Candidate(atoms, pool, kind, "fcc", 0.0))
    return made


def campaign(
    folder: Path, model: str, explorer: str | tuple[str, ...] | None = None, **selection
) -> CampaignRun:
    config = CampaignConfig.model_validate(
        {
            "name": "copper",
            "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
            "entropy": {"kind": "labels", "labels": {"directions": 3}},
            "selection": {"count": 4, **selection},
            "labelling": {"engine": {"name": "ase", "calculator": "ase.calculators.emt:EMT"}},
            "model": {"explore_with": explorer},
        }
    )
    files = Workspace(folder)
    for round_index in (0, 1):
        files.round(round_index).folder.mkdir(parents=True)
    anchors = [*rattled(3, 1, "anchors", "md"), *rattled(2, 2, "anchors", "relaxed")]
    write_candidates(files.round(0).anchors, anchors)
    write_candidates(files.round(0).hold_out, rattled(2, 2, "validation", "hot_md"))
    write_candidates(files.round(1).candidates, rattled(12, 3, "entropy_md", "md"))
    write_candidates(files.round(1).ordered, [])
    checked = CheckedCampaign(
        config,
        folder / "campaign.yaml",
        files,
        (),
        model,
        load(model),
        loaded(explorer),
    )
    ledger = Ledger(files.ledger)
    return CampaignRun(checked, ledger, CampaignModels(checked, ledger), Silence())


def loaded(explorer: str | tuple[str, ...] | None) -> LoadedModel | None:
    if isinstance(explorer, tuple):
        return committee_of([load(name) for name in explorer])
    return None if explorer is None else load(explorer)


@pytest.fixture
def asked(monkeypatch) -> dict[str, Any]:
    """What the stage asks the selection for; the selection is made."""
    found: dict[str, Any] = {}
    pick = stage.pick

    def record(pool, count, **arguments):
        found.update(arguments)
        return pick(pool, count, **arguments)

    monkeypatch.setattr(stage, "pick", record)
    return found


@pytest.mark.parametrize(
    ("model", "features", "expected"),
    [
        ("ase.calculators.emt:EMT", "auto", "gaussian_overlap"),
        ("7net-0", "auto", "sevennet weight gradients"),
        ("7net-0", "model", "sevennet last layer"),
        ("7net-0", "fingerprint", "gaussian_overlap"),
    ],
)
def test_a_round_is_picked_by_its_labels(tmp_path, asked, model, features, expected):
    run = campaign(tmp_path, model, features=features, method="gain")
    selected = stage.select(run, 1)
    assert selected.picked == 4
    assert len(read_candidates(run.files.round(1).selected)) == 4
    # The report counts information of fingerprints, whatever picked.
    assert len(selected.gains_nats) == 4
    assert selected.gain_nats == pytest.approx(sum(selected.gains_nats))
    assert min(selected.gains_nats) > 0
    assert 0 < selected.predicted_improvement < 1
    assert f"{100 * selected.predicted_improvement:.0f} %" in selected.summary
    assert len(asked["target"]) == 3  # thermal anchors; none is strained here
    assert asked["given"] == []
    kind = asked["features"].describe()
    assert expected in (kind.get("kind"), kind.get("features"))
    atoms = asked["target"][0]
    (energy,) = asked["energies_eV"]([atoms])
    expected = run.models.foundation.calculator().get_potential_energy(atoms)
    assert energy == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "features", "expected"),
    [
        ("ase.calculators.emt:EMT", "auto", "gaussian_overlap"),
        ("7net-0", "auto", "sevennet last layer"),
        ("7net-0", "fingerprint", "gaussian_overlap"),
    ],
)
def test_picks_of_a_round_are_representative_by_default(
    tmp_path, asked, model, features, expected
):
    run = campaign(tmp_path, model, features=features)
    selected = stage.select(run, 1)
    assert selected.picked == 4
    assert len(selected.gains_nats) == 4  # the report counts information, whatever picked
    assert min(selected.gains_nats) > 0
    assert selected.predicted_improvement is None
    assert sum(selected.picked_by_pool.values()) == 4
    assert set(selected.picked_by_pool) <= {"entropy_md", "anchors"}
    assert "()" not in selected.summary
    assert len(asked["target"]) == 3
    kind = asked["features"].describe()
    assert expected in (kind.get("kind"), kind.get("features"))


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({}, "representative"),
        ({"selection": {"features": "gradients"}}, "representative"),
        ({"selection": {"objective": "information"}}, "gain"),
        ({"selection": {"quotas": {"anchors": 0.3}}}, "gain"),
        ({"selection": {"rank_by": "gain_per_second"}}, "gain"),
        ({"selection": {"phase_share": 0.5}}, "gain"),
        ({"selection": {"method": "random"}}, "random"),
        ({"entropy": {"kind": "information"}}, "gain"),
        ({"entropy": {"kind": "information"}, "selection": {"least_gain": 0.1}}, "gain"),
        ({"stopping": {"least_predicted_improvement": 0.1}}, "gain"),
        ({"control": "random_md"}, "random"),
    ],
)
def test_settings_of_gains_ask_for_gains(changes, method):
    settings = {"name": "copper", "seeds": [{"phase": "fcc", "file": "fcc.xyz"}]}
    config = CampaignConfig.model_validate(settings | changes).resolve_control()
    assert config.selecting.method == method
    # What a campaign's folder keeps says the same when it is read again.
    again = CampaignConfig.model_validate(config.model_dump(mode="json"))
    assert again.selecting == config.selecting


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"selection": {"objective": "information"}}, ["selection.objective"]),
        ({"selection": {"quotas": {"anchors": 0.3}}}, ["selection.quotas"]),
        ({"selection": {"rank_by": "gain_per_second"}}, ["selection.rank_by"]),
        ({"selection": {"phase_share": 0.5}}, ["selection.phase_share"]),
        ({"entropy": {"kind": "information"}}, ["entropy.kind"]),
        (
            {"entropy": {"kind": "paper"}, "selection": {"least_gain": 0.1}},
            ["entropy.kind", "selection.least_gain"],
        ),
        (
            {"stopping": {"least_predicted_improvement": 0.1}},
            ["stopping.least_predicted_improvement"],
        ),
    ],
)
def test_the_keys_that_decide_the_method_are_named_and_only_they(changes, keys):
    settings = {"name": "copper", "seeds": [{"phase": "fcc", "file": "fcc.xyz"}]}
    said = CampaignConfig.model_validate(settings | changes).describe_selection()
    assert f"auto is gain here, because of {' and '.join(keys)}; without" in said
    # Without these keys it is representative, as it says.
    said = CampaignConfig.model_validate(settings).describe_selection()
    assert "auto is representative here" in said
    # What was asked for needs no reason.
    asked = changes | {"selection": changes.get("selection", {}) | {"method": "gain"}}
    config = CampaignConfig.model_validate(settings | asked)
    assert config.describe_selection() == "selection.method is gain"
    control = CampaignConfig.model_validate(settings | changes | {"control": "random_md"})
    said = control.resolve_control().describe_selection()
    assert said == "selection.method is random, by control: random_md"


def test_rows_have_the_features_of_the_model_that_learns_not_of_the_explorer(tmp_path):
    explorer = "ase.calculators.emt:EMT"
    run = campaign(tmp_path, "7net-0", explorer, features="auto", method="gain")
    assert run.models.exploring(1).name == explorer
    assert stage.row_sources(run, 1).features.describe()["features"] == "sevennet weight gradients"


def test_lcmd_is_a_control_arm_of_a_campaign(tmp_path):
    run = campaign(tmp_path, "ase.calculators.emt:EMT", method="lcmd", features="fingerprint")
    assert stage.select(run, 1).picked == 4


def test_a_committee_that_explores_can_pick(tmp_path):
    """The validation set, the labels and all else are those of the other arms."""
    members = ("ase.calculators.emt:EMT", "ase.calculators.lj:LennardJones")
    run = campaign(tmp_path, "7net-0", members, method="committee_spread", features="fingerprint")
    committee = run.models.exploring(1)
    selected = stage.select(run, 1)
    assert selected.picked == 4
    chosen = [candidate.atoms for candidate in read_candidates(run.files.round(1).selected)]
    offered = [candidate.atoms for candidate in stage.read_pool(run, 1)]
    assert min(force_spreads(committee, chosen)) == sorted(force_spreads(committee, offered))[-4]


def test_committee_spread_needs_a_committee():
    settings = {
        "name": "copper",
        "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
        "selection": {"method": "committee_spread"},
    }
    with pytest.raises(ValidationError, match=r"at least two as model\.explore_with"):
        CampaignConfig.model_validate(settings)
    settings["model"] = {"explore_with": ["7net-0", "chgnet"]}
    CampaignConfig.model_validate(settings)


def test_a_least_gain_needs_nats():
    settings = {
        "name": "copper",
        "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
        "entropy": {"kind": "labels"},
        "selection": {"least_gain": 0.1},
    }
    with pytest.raises(ValidationError, match="objective 'target' is no information"):
        CampaignConfig.model_validate(settings)
    settings["selection"]["objective"] = "information"
    CampaignConfig.model_validate(settings)
