"""Which snapshots of a chunk join the dataset: the filters of the selection hold there, too."""

import numpy as np
import pytest
from ase.build import bulk

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.stages.datasets import SharedDataset
from entrove.campaign.stages.explore import pick_new
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.candidates import Candidate
from entrove.selection.config import SelectionConfig


def snapshots(count: int) -> list[Candidate]:
    """Rattled copper, each followed by itself with one atom moved by 0.1 mA."""
    rng = np.random.default_rng(4)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=0.2, size=(4, 3))
        twin = atoms.copy()
        twin.positions[0, 0] += 1e-4
        made += [Candidate(one, "entropy_md", "md", "fcc", 0.0) for one in (atoms, twin)]
    return made


@pytest.fixture
def dataset() -> SharedDataset:
    config = CampaignConfig.model_validate(
        {"name": "copper", "seeds": [{"phase": "fcc", "file": "fcc.xyz"}]}
    )
    shared = SharedDataset(config, GaussianOverlap(FingerprintConfig(length=40)))
    shared.calibrate([one.atoms for one in snapshots(5)])
    return shared


def test_near_duplicates_are_admitted_only_where_they_are_allowed(dataset):
    pool = snapshots(5)
    loose = pick_new(dataset, pool, 10, SelectionConfig(duplicate_tolerance=0.0))
    assert loose == list(range(10))
    strict = pick_new(dataset, pool, 10, SelectionConfig(duplicate_tolerance=1e-2))
    assert sorted(index // 2 for index in strict) == [0, 1, 2, 3, 4]


def test_least_gain_bars_what_adds_too_little(dataset):
    pool = snapshots(5)
    # The first pick adds most: nothing passes a bar above it, everything one below all gains.
    assert pick_new(dataset, pool, 10, SelectionConfig(least_gain=1e6)) == []
    assert pick_new(
        dataset, pool, 10, SelectionConfig(least_gain=0.0, duplicate_tolerance=0.0)
    ) == list(range(10))


def test_nothing_is_admitted_where_nothing_is_asked_for(dataset):
    assert pick_new(dataset, snapshots(2), 0, SelectionConfig()) == []
    assert pick_new(dataset, [], 3, SelectionConfig()) == []


def test_quotas_are_for_labels_not_for_admissions(dataset):
    reserved = SelectionConfig(quotas={"anchors": 1.0}, fill_unused=False, duplicate_tolerance=0.0)
    assert pick_new(dataset, snapshots(2), 4, reserved) == [0, 1, 2, 3]
