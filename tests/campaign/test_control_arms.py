"""Control arms by configuration: the same candidates, picked without regard to their gains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from pydantic import ValidationError

from entrove.campaign.configuration.check import CheckedCampaign, read_campaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.explore import shared_dataset
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.select import select
from entrove.campaign.stopping import stop_before_labels
from entrove.campaign.workspace import Workspace
from entrove.models.registry import load
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.selection.config import SelectionConfig
from entrove.selection.farthest_point import select_farthest
from entrove.structures import write_structures


def rattled(count: int, seed: int, pool: str) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.3), size=(4, 3))
        made.append(Candidate(atoms, pool, "md", "fcc", 0.0))
    return made


def campaign(
    folder: Path, method: str, kind: str = "information", budget_s: float | None = None
) -> CampaignRun:
    config = CampaignConfig.model_validate(
        {
            "name": "copper",
            "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
            "entropy": {"kind": kind},
            "selection": {"count": 6, "method": method, "budget_s": budget_s},
            "labelling": {"engine": {"name": "ase", "calculator": "ase.calculators.emt:EMT"}},
        }
    )
    files = Workspace(folder)
    for round_index in (0, 1):
        files.round(round_index).folder.mkdir(parents=True)
    write_candidates(files.round(0).anchors, rattled(5, 1, "anchors"))
    write_candidates(files.round(0).hold_out, rattled(2, 2, "validation"))
    write_candidates(files.round(1).candidates, rattled(30, 3, "entropy_md"))
    if config.sampling.ordered.perturbed + config.sampling.ordered.random:
        write_candidates(files.round(1).ordered, [])
    name = "ase.calculators.emt:EMT"  # not used: the selection reads files
    checked = CheckedCampaign(config, folder / "campaign.yaml", files, (), name, load(name))
    ledger = Ledger(files.ledger)
    return CampaignRun(checked, ledger, CampaignModels(checked, ledger), Silence())


def picked(folder: Path, method: str) -> set[bytes]:
    run = campaign(folder, method)
    assert select(run, 1).picked == 6
    chosen = read_candidates(run.files.round(1).selected)
    return {candidate.atoms.positions.tobytes() for candidate in chosen}


def test_every_method_picks_as_many_labels_and_gain_adds_most_information(tmp_path: Path):
    gains = {}
    for method in ("gain", "farthest_point", "random"):
        selected = select(campaign(tmp_path / method, method), 1)
        assert selected.picked == len(selected.gains_nats) == 6
        gains[method] = selected.gain_nats
    assert gains["gain"] > gains["random"]
    assert gains["gain"] > gains["farthest_point"]


METHODS = ("gain", "representative", "random", "farthest_point", "lcmd")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_kept_the_others_out(tmp_path: Path, method: str):
    run = campaign(tmp_path, method)
    selected = select(run, 1)
    assert (selected.picked, sum(selected.rejected.values())) == (6, 30 + 5 - 6)


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_that_no_label_fits_is_the_reason_to_stop(tmp_path: Path, method: str):
    run = campaign(tmp_path, method, budget_s=1e-9)
    selected = select(run, 1)
    assert (selected.picked, selected.rejected["budget"]) == (0, 30 + 5)
    assert read_candidates(run.files.round(1).selected) == []
    assert stop_before_labels(run.config.stopping, 0, 0, selected) == (
        "no candidate that is new to the dataset fits selection.budget_s (rejected: 35 by budget)"
    )


def test_random_is_seeded_and_differs_from_gain(tmp_path: Path):
    first = picked(tmp_path / "first", "random")
    assert picked(tmp_path / "second", "random") == first
    assert picked(tmp_path / "gain", "gain") != first


def test_farthest_point_picks_what_select_farthest_picks(tmp_path: Path):
    run = campaign(tmp_path, "farthest_point")
    select(run, 1)
    chosen = read_candidates(run.files.round(1).selected)
    pool = [
        *read_candidates(run.files.round(1).candidates),
        *read_candidates(run.files.round(0).anchors),
    ]
    atoms = [candidate.atoms for candidate in pool]
    expected = select_farthest(atoms, 6, features=shared_dataset(run.campaign).features)
    assert {candidate.atoms.positions.tobytes() for candidate in chosen} == {
        atoms[index].positions.tobytes() for index in expected.indices
    }


def test_what_a_study_has_picked_is_in_the_statistics_of_the_paper_once(tmp_path: Path):
    """As in a campaign, whose labels take the place of the same cells of the start."""
    run = campaign(tmp_path, "gain", "paper")
    picked = read_candidates(run.files.round(0).anchors)[0].atoms
    start = shared_dataset(run.campaign).selecting
    assert (len(start), start.moments[29].count) == (0, 5 * 4)
    given = shared_dataset(run.campaign, given=[picked]).selecting
    assert (picked in given, given.moments[29].count) == (True, 5 * 4)


def test_a_control_arm_refuses_settings_that_it_would_ignore():
    with pytest.raises(
        ValidationError, match=r"method 'random' uses no gain; remove quotas, rank_by"
    ):
        SelectionConfig(method="random", quotas={"anchors": 0.3}, rank_by="gain_per_second")


CONFIG = """
name: copper
seeds: [{phase: fcc, file: fcc.xyz}]
entropy: {kind: information}
sampling:
  replicas: 2
  biases:
    - {entropy: information, fractions: [0.3, 0.6]}
    - {entropy: none}
selection: {count: 5, quotas: {anchors: 0.25}, least_gain: 0.1}
labelling: {engine: {name: ase, calculator: "ase.calculators.emt:EMT"}}
"""


def read(folder: Path, text: str) -> CampaignConfig:
    folder.mkdir()
    write_structures(folder / "fcc.xyz", [bulk("Cu", cubic=True)])
    (folder / "campaign.yaml").write_text(text)
    return read_campaign(folder / "campaign.yaml")[0]


def test_one_key_makes_a_control_arm_with_as_many_walkers_and_labels(tmp_path: Path):
    """All that is not the arm itself stays: anchors, validation set, labels, training."""
    arms = {
        name: read(tmp_path / name, text)
        for name, text in (("ours", CONFIG), ("control", CONFIG + "control: random_md\n"))
    }
    ours, control = arms["ours"], arms["control"]
    start = Start("fcc", 0.0, bulk("Cu", cubic=True))
    walkers = {
        name: plan_walkers([start], config.regime.temperatures_K, config.sampling)[0]
        for name, config in arms.items()
    }
    assert len(walkers["control"]) == len(walkers["ours"])
    assert not any(walker.biased for walker in walkers["control"])
    assert control.pools == ("entropy_md", "anchors")
    assert control.selection.method == "random"
    assert control.resolve_control() == control
    for name in ("count", "admissions_per_label", "budget_s"):
        assert getattr(control.selection, name) == getattr(ours.selection, name)
    for name in ("anchors", "hold_out", "chunks", "chunk_steps", "snapshot_every", "ensemble"):
        assert getattr(control.sampling, name) == getattr(ours.sampling, name)
    for name in ("regime", "model", "training", "random_seed", "stopping"):
        assert getattr(control, name) == getattr(ours, name)


@pytest.mark.parametrize("entropy", ["information", "none"])
def test_random_picks_from_biased_walkers_are_called_no_control_arm(tmp_path: Path, entropy):
    run = campaign(tmp_path, "random")
    path = run.files.round(1).candidates
    write_candidates(path, [replace(found, entropy=entropy) for found in read_candidates(path)])
    assert ("no random-MD control arm" in select(run, 1).summary) == (entropy == "information")
