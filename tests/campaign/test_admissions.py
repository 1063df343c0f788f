"""Which snapshots of a chunk are added to the dataset: the filters of the selection apply."""

import numpy as np
import pytest
from ase.build import bulk

from entrove.campaign.stages.explore import pick_new
from entrove.entropy.config import EntropyConfig
from entrove.entropy.views import DatasetViews
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.candidates import Candidate
from entrove.selection.config import SelectionConfig


def snapshots(count: int) -> list[Candidate]:
    """Rattled copper, each structure followed by a copy with one atom moved by 1e-4 A."""
    rng = np.random.default_rng(4)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=0.2, size=(4, 3))
        copy = atoms.copy()
        copy.positions[0, 0] += 1e-4
        made += [Candidate(cell, "entropy_md", "md", "fcc", 0.0) for cell in (atoms, copy)]
    return made


@pytest.fixture
def dataset() -> DatasetViews:
    shared = DatasetViews(GaussianOverlap(FingerprintConfig(length=40)), EntropyConfig())
    shared.calibrate([snapshot.atoms for snapshot in snapshots(5)])
    return shared


def test_near_duplicates_are_admitted_only_where_they_are_allowed(dataset):
    pool = snapshots(5)
    loose = pick_new(dataset, pool, 10, SelectionConfig(duplicate_tolerance=0.0))
    assert loose == list(range(10))
    strict = pick_new(dataset, pool, 10, SelectionConfig(duplicate_tolerance=1e-2))
    assert sorted(index // 2 for index in strict) == [0, 1, 2, 3, 4]


def test_snapshots_below_the_least_gain_are_not_admitted(dataset):
    pool = snapshots(5)
    # A threshold above the gain of the first pick admits nothing, one below all gains everything.
    assert pick_new(dataset, pool, 10, SelectionConfig(least_gain=1e6)) == []
    assert pick_new(
        dataset, pool, 10, SelectionConfig(least_gain=0.0, duplicate_tolerance=0.0)
    ) == list(range(10))


def test_nothing_is_admitted_when_no_snapshots_are_requested_or_given(dataset):
    assert pick_new(dataset, snapshots(2), 0, SelectionConfig()) == []
    assert pick_new(dataset, [], 3, SelectionConfig()) == []


def test_quotas_are_for_labels_not_for_admissions(dataset):
    reserved = SelectionConfig(quotas={"anchors": 1.0}, fill_unused=False, duplicate_tolerance=0.0)
    assert pick_new(dataset, snapshots(2), 4, reserved) == [0, 1, 2, 3]
