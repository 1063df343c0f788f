"""Control arms by configuration: the same candidates, picked without regard to their gains."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from pydantic import ValidationError

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.explore import shared_dataset
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.select import select
from entrove.campaign.workspace import Workspace
from entrove.models.registry import load
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.selection.config import SelectionConfig
from entrove.selection.farthest_point import select_farthest


def rattled(count: int, seed: int, pool: str) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.3), size=(4, 3))
        made.append(Candidate(atoms, pool, "md", "fcc", 0.0))
    return made


def campaign(folder: Path, method: str) -> CampaignRun:
    config = CampaignConfig.model_validate(
        {
            "name": "copper",
            "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
            "selection": {"count": 6, "method": method},
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


def test_every_method_picks_as_many_labels_and_gain_adds_most(tmp_path: Path):
    gains = {}
    for method in ("gain", "farthest_point", "random"):
        selected = select(campaign(tmp_path / method, method), 1)
        assert selected.picked == len(selected.gains_nats) == 6
        gains[method] = selected.gain_nats
    assert gains["gain"] > gains["random"]
    assert gains["gain"] > gains["farthest_point"]


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


def test_a_control_arm_refuses_settings_that_it_would_ignore():
    with pytest.raises(
        ValidationError, match=r"method 'random' is a control arm .* remove quotas, rank_by"
    ):
        SelectionConfig(method="random", quotas={"anchors": 0.3}, rank_by="gain_per_second")
