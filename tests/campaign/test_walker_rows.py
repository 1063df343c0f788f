"""The end of a walker is recorded in the ledger and shown in the report."""

import torch
from ase.build import bulk
from torch_sim.models.lennard_jones import LennardJonesModel

from entrove.campaign.journal.outcomes import Explored
from entrove.campaign.stages.explore import _outcome
from entrove.report.tables import walkers as walker_table
from entrove.sampling.config import BiasSettings, GuardSettings, SamplingConfig
from entrove.sampling.pools.entropy_md import advance, begin
from entrove.sampling.walkers.grid import Start, plan_walkers


def test_a_walker_that_was_ended_is_reported_with_its_last_step():
    model = LennardJonesModel(
        sigma=3.4, epsilon=0.01, cutoff=7.5, compute_stress=True, dtype=torch.float64
    )
    config = SamplingConfig(
        biases=(BiasSettings(entropy="none"),),
        thermalise_steps=0,
        chunk_steps=5,
        snapshot_every=5,
        guards=GuardSettings(largest_restarts=1, largest_force_eV_per_A=0.02),
    )
    calm, hot = (Start("fcc", 0.0, bulk("Ar", "fcc", a=5.3, cubic=True)) for _ in range(2))
    hot.atoms.positions[0] += 0.5
    walkers, structures = plan_walkers([calm, hot], [1.0], config)
    exploration = begin(walkers, structures, model, config, 0)
    exploration = advance(exploration, model, {}, config, lambda _: [])
    outcome = _outcome(exploration, 3, config, labels=1)
    assert outcome.summary == "1 snapshots of 2 walkers, 1 restarts, 1 ended for good"
    rows = outcome.walkers
    assert [row.ended_at_step for row in rows] == [None, 2]
    texts = [row[-1] for row in walker_table(rows).rows]
    assert texts[1] == "2 x the force on an atom is too large; ended at step 2"
    # Ledgers of earlier versions do not say when a walker ended.
    stored = outcome.model_dump(mode="json")
    del stored["walkers"][0]["ended_at_step"]
    assert Explored.model_validate(stored).walkers == rows


def test_it_is_said_how_many_snapshots_are_independent_and_when_they_are_fewer_than_the_labels():
    model = LennardJonesModel(sigma=3.4, epsilon=0.01, cutoff=7.5, dtype=torch.float64)
    config = SamplingConfig(
        biases=(BiasSettings(entropy="none"),),
        thermalise_steps=0,
        chunk_steps=40,
        snapshot_every=4,
    )
    start = Start("fcc", 0.0, bulk("Ar", "fcc", a=5.3, cubic=True).repeat((2, 1, 1)))
    walkers, structures = plan_walkers([start], [30.0], config)
    exploration = begin(walkers, structures, model, config, 0)
    exploration = advance(exploration, model, {}, config, lambda _: [])
    outcome = _outcome(exploration, 1, config, labels=1)
    independent = outcome.independent_snapshots
    assert independent is not None
    # Atoms of argon move for some 100 fs in one direction, and snapshots are 4 fs apart.
    assert 1 <= independent < 4
    told = f"10 snapshots of 1 walkers, 0 restarts; worth about {independent:.0f} independent ones"
    assert outcome.summary == told
    short = _outcome(exploration, 1, config, labels=8).summary
    assert short.startswith(f"{told}, fewer than the 8 labels of a round: raise sampling.")
    # Ledgers of earlier versions do not know.
    stored = outcome.model_dump(mode="json")
    del stored["independent_snapshots"]
    assert Explored.model_validate(stored).independent_snapshots is None
