"""One call from seeds to candidates does what a campaign does step by step."""

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111
from pydantic import ValidationError
from torch_sim.models.lennard_jones import LennardJonesModel

from entrove.errors import ConfigError, StructureError
from entrove.models.ase import from_torch_sim
from entrove.sampling import exploration
from entrove.sampling.config import BiasSettings, RelaxationSettings, SamplingConfig
from entrove.sampling.correlation import independent_snapshots
from entrove.sampling.exploration import explore, steps_in_all
from entrove.sampling.vacuum import vacuum_axes
from entrove.structures import content_hash

ARGON = LennardJonesModel(
    sigma=3.4, epsilon=0.0104, cutoff=7.5, compute_stress=True, dtype=torch.float64
)
CONFIG = SamplingConfig(
    thermalise_steps=4,
    chunk_steps=4,
    chunks=2,
    snapshot_every=2,
    biases=(
        BiasSettings(entropy="information", mode="per_atom", kappas_eV=(0.05,)),
        BiasSettings(entropy="local", kappas_eV=(0.01,)),
        BiasSettings(entropy="none"),
    ),
)


def explored(**changes):
    arguments = {"temperatures_K": [20.0, 60.0], "pressures_GPa": [0.0, 1.0], "config": CONFIG}
    model = from_torch_sim(ARGON, name="argon")
    return explore([bulk("Ar", "fcc", a=5.3, cubic=True)], model, **arguments | changes)


ONE_POINT = {"temperatures_K": [60.0], "pressures_GPa": [0.0]}
"""Of the regime: a quarter of the walkers."""


def test_every_walker_of_the_grid_gives_its_snapshots():
    found = explored()
    per_walker = CONFIG.chunks * CONFIG.chunk_steps // CONFIG.snapshot_every
    states = {
        (c.phase, c.pressure_GPa, c.temperature_K, c.entropy, c.kappa_eV is not None)
        for c in found
    }
    assert len(found) == 2 * 2 * 3 * per_walker
    assert {state[:4] for state in states} == {
        ("Ar4-0", pressure, temperature, entropy)
        for pressure in (0.0, 1.0)
        for temperature in (20.0, 60.0)
        for entropy in ("information", "local", "none")
    }
    # Relaxed at its pressure: denser cells at 1 GPa.
    volumes = {c.pressure_GPa: c.atoms.get_volume() for c in found}
    assert volumes[1.0] < 0.95 * volumes[0.0]


def test_equal_seeds_give_equal_runs_and_other_seeds_others():
    first, again, other = (
        [content_hash(c.atoms) for c in explored(seed=seed, **ONE_POINT)] for seed in (3, 3, 4)
    )
    assert first == again
    assert set(first).isdisjoint(other)


def test_what_is_admitted_and_what_is_labelled_changes_where_walkers_go_next():
    def biased(found):
        return [c.atoms.positions for c in found if c.entropy == "information" and c.step > 8]

    everything = biased(explored(**ONE_POINT))
    nothing = biased(explored(admit=lambda snapshots: [], **ONE_POINT))
    labelled = bulk("Ar", "fcc", a=5.2, cubic=True)
    known = biased(explored(admit=lambda snapshots: [], labelled=[labelled] * 50, **ONE_POINT))
    for one, other in ((everything, nothing), (nothing, known)):
        assert max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)) > 1e-9


def test_seeds_move_with_their_masses():
    """Four times the masses in steps of twice the length: the same way through space."""
    light, heavy = (bulk("Ar", "fcc", a=5.3, cubic=True) for _ in range(2))
    heavy.set_masses(4 * light.get_masses())
    slow = {"timestep_fs": 2 * CONFIG.timestep_fs, "friction_per_fs": CONFIG.friction_per_fs / 2}
    model = from_torch_sim(ARGON, name="argon")
    found = explore([light], model, config=CONFIG, **ONE_POINT)
    other = explore([heavy], model, config=CONFIG.model_copy(update=slow), **ONE_POINT)
    for one, two in zip(found, other, strict=True):
        np.testing.assert_allclose(two.atoms.positions, one.atoms.positions, atol=1e-6)


def same_candidates(found, other):
    assert len(found) == len(other) > 0
    for one, two in zip(found, other, strict=True):
        np.testing.assert_array_equal(two.atoms.positions, one.atoms.positions)
        assert (two.pressure_GPa, two.temperature_K) == (one.pressure_GPa, one.temperature_K)


TWO_VIEWS = CONFIG.model_copy(
    update={
        "biases": tuple(
            BiasSettings(entropy="information", mode=mode, kappas_eV=(0.05,))
            for mode in ("per_atom", "per_config")
        )
    }
)


@pytest.mark.parametrize("kind", [tuple, np.array, iter], ids=["tuple", "array", "iterator"])
def test_regime_seeds_and_labels_may_be_anything_that_can_be_gone_through(kind):
    model = from_torch_sim(ARGON, name="argon")
    labelled = [bulk("Ar", "fcc", a=a, cubic=True) for a in (5.2, 5.4)]

    def explored_with(kind_of_numbers, kind_of_structures):
        return explore(
            kind_of_structures([bulk("Ar", "fcc", a=5.3, cubic=True)]),
            model,
            temperatures_K=kind_of_numbers([20.0, 60.0]),
            pressures_GPa=kind_of_numbers([0.0]),
            labelled=kind_of_structures(labelled),
            config=TWO_VIEWS,
        )

    expected = explored_with(list, list)
    same_candidates(expected, explored_with(kind, tuple if kind is np.array else kind))


def test_progress_counts_the_steps_of_the_whole_run():
    seen = []
    explored(on_step=lambda done, total: seen.append((done, total)), **ONE_POINT)
    assert seen == [(step, steps_in_all(CONFIG)) for step in range(1, 13)]


SLAB = fcc111("Ar", (1, 1, 3), a=5.3, vacuum=8.0, periodic=True)
SLAB.info.clear()  # of adsorption sites, which no file keeps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pressures_GPa": [0.0, 1.0]}, r"regime\.pressures_GPa: .*pressures_GPa: \[0\]"),
        (
            {"config": CONFIG.model_copy(update={"ensemble": "npt"})},
            r"sampling\.ensemble: .*a barostat would close; choose 'nvt'",
        ),
        (
            {"config": CONFIG.model_copy(update={"ensemble": "npt", "barostat_time_fs": 2.0})},
            r"sampling\.barostat_time_fs: 2 fs are fewer than 20 time steps",
        ),
    ],
)
def test_what_would_close_the_vacuum_or_outrun_the_steps_is_refused(changes, message):
    arguments = {**ONE_POINT, "config": CONFIG, **changes}
    with pytest.raises(ConfigError, match=message):
        explore([SLAB], from_torch_sim(ARGON, name="argon"), **arguments)


def test_a_slab_is_explored_with_its_vacuum():
    """Relaxed along the layer only: its length across the vacuum is that of the seed."""
    found = explore([SLAB], from_torch_sim(ARGON, name="argon"), config=CONFIG, **ONE_POINT)
    for candidate in found:
        np.testing.assert_allclose(candidate.atoms.cell[2], SLAB.cell[2], atol=1e-9)
        assert vacuum_axes(candidate.atoms) == (False, False, True)


def test_walkers_without_a_snapshot_are_an_error_that_names_the_guards():
    guards = CONFIG.guards.model_copy(update={"largest_force_eV_per_A": 1e-9})
    config = CONFIG.model_copy(update={"guards": guards})
    with pytest.raises(
        StructureError, match=r"none of 3 walkers .* x the force on an atom is too large\)"
    ):
        explored(config=config, **ONE_POINT)


def test_an_element_that_the_unbiased_run_lacks_is_calibrated_on_its_relaxed_cells(
    monkeypatch, caplog
):
    """As where the guards stop all its walkers: explored nevertheless, with a warning."""
    plain_md = exploration.run_plain_md

    def without_neon(*arguments, **keywords):
        found = plain_md(*arguments, **keywords)
        return [candidate for candidate in found if "Ne" not in candidate.atoms.symbols]

    monkeypatch.setattr(exploration, "run_plain_md", without_neon)
    seeds = [bulk(symbol, "fcc", a=5.3, cubic=True) for symbol in ("Ar", "Ne")]
    found = explore(seeds, from_torch_sim(ARGON, name="argon"), config=CONFIG, **ONE_POINT)
    assert {candidate.atoms.symbols[0] for candidate in found} == {"Ar", "Ne"}
    assert "no snapshot of the unbiased MD has Ne" in caplog.text


LONG = CONFIG.model_copy(
    update={
        "biases": (BiasSettings(entropy="none"),),
        "largest_chunks": 9,
        # Long enough that more snapshots are worth more: within one oscillation they are not.
        "chunk_steps": 40,
        "snapshot_every": 10,
    }
)


def worth_of(found, chunks: int) -> float:
    """What the snapshots of the first chunks are worth."""
    last = LONG.thermalise_steps + chunks * LONG.chunk_steps
    worth = independent_snapshots([each for each in found if each.step <= last])
    assert worth is not None
    return worth


def test_chunks_run_until_the_snapshots_are_worth_as_many_independent_ones_as_wanted():
    everything = explored(config=LONG, independent=1e6)
    per_chunk = len(everything) // LONG.most_chunks
    assert len(everything) == per_chunk * 9
    # Nothing was asked for, or the planned chunks suffice.
    for wanted in (0.0, 0.9 * worth_of(everything, LONG.chunks)):
        assert len(explored(config=LONG, independent=wanted)) == per_chunk * LONG.chunks
    wanted = worth_of(everything, 6)
    first = next(n for n in range(LONG.chunks, 10) if worth_of(everything, n) >= wanted)
    steps = []
    found = explored(
        config=LONG, independent=wanted, on_step=lambda done, total: steps.append((done, total))
    )
    assert LONG.chunks < first <= 6
    # The same walkers, that stop as soon as they may.
    assert [content_hash(each.atoms) for each in found] == [
        content_hash(each.atoms)
        for each in everything
        if each.step <= LONG.thermalise_steps + first * LONG.chunk_steps
    ]
    last = LONG.thermalise_steps + first * LONG.chunk_steps
    assert [done for done, _ in steps] == list(range(1, last + 1))
    assert all(done <= total for done, total in steps)


def test_fewer_chunks_at_most_than_at_least_are_refused():
    with pytest.raises(ValidationError, match="largest_chunks=2 is less than chunks=3"):
        SamplingConfig(chunks=3, largest_chunks=2)
    assert SamplingConfig(chunks=3).most_chunks == 9


def test_seeds_that_cannot_be_relaxed_and_a_regime_that_is_empty_are_errors():
    short = CONFIG.model_copy(update={"relaxation": RelaxationSettings(largest_steps=1)})
    with pytest.raises(StructureError, match=r"none of 1 relaxations .* \(steps exhausted\)"):
        explored(config=short, pressures_GPa=[1.0])
    with pytest.raises(ConfigError, match="temperatures_K"):
        explored(temperatures_K=[])
