"""Same seed, same run; stopped and restored equals never stopped; nothing unphysical comes out."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.lj import LennardJones as LennardJonesCalculator
from cheap_models import Springs, argon, lennard_jones

from entrove.entropy.dataset import EntropyDataset
from entrove.errors import CampaignError, ConfigError
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.models.ase import from_calculator
from entrove.sampling.batch import gather_batch
from entrove.sampling.config import BiasSettings, GuardSettings, SamplingConfig
from entrove.sampling.precision import plain_state
from entrove.sampling.walkers.checkpoint import load_walkers, save_walkers
from entrove.sampling.walkers.dynamics import kinetic_temperature_K
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.guards import GuardReason, shortest_bond_ratio
from entrove.sampling.walkers.restarts import RestartedFrom, describe_reasons, summarise_restarts
from entrove.sampling.walkers.run import init_walkers, run_chunk, thermalise
from entrove.units import BOLTZMANN_EV_PER_K, gpa_to_ev_per_a3

FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=24))
STARTS = [Start("fcc", 0.0, argon(5.3)), Start("squeezed", 2.0, argon(5.0))]
CONFIG = SamplingConfig(
    timestep_fs=4.0,
    thermalise_steps=20,
    chunk_steps=20,
    snapshot_every=10,
    biases=(
        BiasSettings(entropy="information", fractions=(0.5,)),
        BiasSettings(entropy="paper", mode="per_config", kappas_eV=(0.5,)),
        BiasSettings(entropy="none"),
    ),
)
UNBIASED = CONFIG.model_copy(update={"biases": (BiasSettings(entropy="none"),)})
NPT = CONFIG.model_copy(update={"ensemble": "npt"})
PER_AXIS = NPT.model_copy(update={"barostat": "anisotropic"})


@pytest.fixture(scope="module")
def model():
    return lennard_jones(epsilon_eV=0.05)


@pytest.fixture(scope="module")
def biases():
    members = [argon(5.2, rattle_A=0.25, seed=seed) for seed in range(20, 24)]
    found = {}
    for entropy, mode in (("information", "per_atom"), ("paper", "per_config")):
        dataset = EntropyDataset(entropy, mode, features=FEATURES)
        dataset.calibrate(members)
        dataset.add(members)
        found[entropy, mode] = dataset.bias()
    return found


def begin(model, config=CONFIG, seed=0, temperatures=(40.0, 80.0)):
    walkers, structures = plan_walkers(STARTS, temperatures, config)
    return init_walkers(walkers, structures, model, config, seed)


def assert_same(state, other):
    """Every number of two states is the same to the last bit."""
    assert state.rows == other.rows
    assert state.step == other.step
    assert state.restarts == other.restarts
    assert torch.equal(state.rng_state, other.rng_state)
    for first, second in (
        (state.md, other.md),
        (state.relaxed, other.relaxed),
        (state.healthy, other.healthy),
    ):
        assert type(first) is type(second)
        for name, value in first.attributes.items():
            pairs = value.items() if isinstance(value, dict) else [(name, value)]
            for key, tensor in pairs:
                if isinstance(tensor, torch.Tensor):
                    torch.testing.assert_close(
                        tensor, getattr(second, key), rtol=0, atol=0, equal_nan=True, msg=key
                    )
    for field in dataclasses.fields(state.strengths):
        first, second = getattr(state.strengths, field.name), getattr(other.strengths, field.name)
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(state.spent, other.spent)
    assert torch.equal(state.quiet_until, other.quiet_until)


def test_the_grid_has_every_combination_once():
    walkers, structures = plan_walkers(STARTS, [300.0, 1000.0, 3000.0], CONFIG)
    assert len(walkers) == len(structures) == 2 * 3 * 3
    assert [walker.index for walker in walkers] == list(range(18))
    keys = {
        (walker.phase, walker.pressure_GPa, walker.temperature_K, walker.entropy, walker.mode)
        for walker in walkers
    }
    assert len(keys) == 18
    for walker, structure in zip(walkers, structures, strict=True):
        assert structure.get_volume() == pytest.approx(5.3**3 if walker.phase == "fcc" else 5.0**3)
        assert (walker.kappa_eV is not None) == (walker.entropy == "paper")
        assert (walker.fraction is not None) == (walker.entropy == "information")


def test_wrong_grids_are_refused(model):
    with pytest.raises(ConfigError, match="no relaxed phase"):
        plan_walkers([], [300.0], CONFIG)
    with pytest.raises(ConfigError, match="each above 0 K"):
        plan_walkers(STARTS, [0.0], CONFIG)
    walkers, structures = plan_walkers(STARTS, [300.0], CONFIG)
    with pytest.raises(ConfigError, match="6 walkers but 5 structures"):
        init_walkers(walkers, structures[:-1], model, CONFIG, 0)


@pytest.mark.parametrize("config", [CONFIG, NPT, PER_AXIS], ids=["nvt", "npt", "npt per axis"])
def test_stopped_and_restored_equals_never_stopped(model, biases, config, tmp_path):
    never = thermalise(begin(model, config), model, config)
    all_snapshots = []
    for _ in range(2):
        never, snapshots = run_chunk(never, model, biases, config)
        all_snapshots += snapshots

    stopped = begin(model, config)
    stopped_snapshots = []
    for turn in range(3):
        save_walkers(tmp_path / "walkers.pt", stopped)
        stopped = load_walkers(tmp_path / "walkers.pt")
        if turn == 0:
            stopped = thermalise(stopped, model, config)
        else:
            stopped, snapshots = run_chunk(stopped, model, biases, config)
            stopped_snapshots += snapshots
    assert_same(never, stopped)
    assert len(all_snapshots) == len(stopped_snapshots) == 4 * 12
    for first, second in zip(all_snapshots, stopped_snapshots, strict=True):
        np.testing.assert_array_equal(first.atoms.positions, second.atoms.positions)
        assert dataclasses.replace(first, atoms=second.atoms) == second


def test_a_chunk_leaves_its_state_alone(model, biases):
    state = thermalise(begin(model), model, CONFIG)
    once, _ = run_chunk(state, model, biases, CONFIG)
    again, _ = run_chunk(state, model, biases, CONFIG)
    assert_same(once, again)
    assert state.step == CONFIG.thermalise_steps


def test_another_seed_is_another_run(model):
    first, second = begin(model, seed=0), begin(model, seed=1)
    assert not torch.equal(first.md.momenta, second.md.momenta)


def test_snapshots_say_where_they_come_from(model, biases):
    state = thermalise(begin(model), model, CONFIG)
    state, snapshots = run_chunk(state, model, biases, CONFIG)
    assert [snapshot.step for snapshot in snapshots] == [30] * 12 + [40] * 12
    for snapshot in snapshots:
        walker = state.walkers[snapshot.walker]
        assert (snapshot.pool, snapshot.kind, snapshot.phase) == ("entropy_md", "md", walker.phase)
        assert (snapshot.pressure_GPa, snapshot.temperature_K) == (
            walker.pressure_GPa,
            walker.temperature_K,
        )
        assert (snapshot.entropy, snapshot.mode, snapshot.bias_fraction) == (
            walker.entropy,
            walker.mode,
            walker.fraction,
        )
        assert (snapshot.kappa_eV > 0) == walker.biased
    fixed = {snapshot.kappa_eV for snapshot in snapshots if snapshot.entropy == "paper"}
    assert fixed == {0.5}


def on_springs(edge, replicas, temperature_K=300.0, **settings):
    """Walkers on harmonic springs with silicon's frequencies, at the default thermalisation."""
    springs = Springs(edge)
    config = SamplingConfig(
        **{"biases": (BiasSettings(entropy="none"),), "replicas": replicas} | settings
    )
    walkers, structures = plan_walkers(
        [Start("springs", 0.0, springs.atoms)], [temperature_K], config
    )
    return springs, config, init_walkers(walkers, structures, springs, config, 0)


def thermal_force_of(springs, temperature_K):
    """Rms force on an atom, <F^2> = kT <laplacian U> = 3 kT <stiffness> (hypervirial theorem)."""
    return math.sqrt(
        3 * BOLTZMANN_EV_PER_K * temperature_K * float(springs.stiffness_eV_per_A2.mean())
    )


def test_walkers_are_at_their_temperature_and_thermal_force_after_the_default_thermalisation():
    """In both halves of the energy: that of the momenta, and that of the displacements."""
    guards = GuardSettings(distance_every=1000)  # springs do not come close
    springs, config, state = on_springs(edge=4, replicas=60, guards=guards)
    state = thermalise(state, springs, config)
    scale_square = float(state.strengths.force_scale_eV_per_A.square().mean())
    temperatures, squares = [], []

    def look(step, walkers, md):
        temperatures.append(float(kinetic_temperature_K(md).mean()))
        squares.append(float(md.base_forces.square().sum(dim=1).mean()))

    one_look = config.model_copy(update={"chunk_steps": 50, "trajectory_every": 1})
    state, _ = run_chunk(state, springs, {}, one_look, on_frame=look)
    assert state.restarts == ()
    # 60 walkers of 192 modes: the heat that they were given is good to 1.3 % (sqrt(2) of a
    # canonical draw's), the stiff modes, which make the force, to about 2 %. 1/64 of it is
    # missing, since the first momenta sum to zero. With momenta of T alone, 14 to 24 % are
    # missing.
    expected = thermal_force_of(springs, 300.0) ** 2
    assert np.mean(temperatures) == pytest.approx(300.0, rel=0.04)
    assert np.mean(squares) == pytest.approx(expected, rel=0.06)
    assert scale_square == pytest.approx(expected, rel=0.06)


def test_the_first_heat_of_few_atoms_is_no_reason_for_a_restart():
    """Two atoms at twice their temperature cross the ordinary limit in one walker of a hundred."""
    springs, config, state = on_springs(edge=1, replicas=1500)
    ordinary = 300.0 * (config.guards.largest_temperature_ratio + 6 * math.sqrt(2 / 3))
    assert float(kinetic_temperature_K(state.md).max()) > ordinary
    assert (
        thermalise(state, springs, config.model_copy(update={"thermalise_steps": 20})).restarts
        == ()
    )


@pytest.mark.parametrize(("has_snapshot", "heat"), [(True, 1.0), (False, 2.0)])
def test_restarts_are_hot_from_the_relaxed_phase_and_as_warm_as_ever_from_a_snapshot(
    has_snapshot, heat
):
    springs, config, state = on_springs(edge=2, replicas=400)
    state.md.momenta[:] = torch.nan
    state = dataclasses.replace(state, spent=torch.full_like(state.spent, not has_snapshot))
    seen = []
    one_step = config.model_copy(
        update={"chunk_steps": 1, "snapshot_every": 1, "trajectory_every": 1}
    )
    ended, _ = run_chunk(
        state,
        springs,
        {},
        one_step,
        on_frame=lambda *now: seen.append(kinetic_temperature_K(now[2])),
    )
    source = RestartedFrom.SNAPSHOT if has_snapshot else RestartedFrom.RELAXED_PHASE
    assert {restart.restarted_from for restart in ended.restarts} == {source}
    # 8 atoms at rest as a whole have 7/8 of the heat; 400 x 21 modes: 3 standard errors are 5 %.
    assert float(seen[0].mean()) == pytest.approx(heat * 300.0 * 7 / 8, rel=0.05)


def test_adaptive_bias_force_is_its_fraction_of_the_thermal_force():
    """On springs, whose thermal force is known without any run."""
    features = GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=24))
    biases = (BiasSettings(entropy="information", fractions=(0.2, 0.6)),)
    springs, config, state = on_springs(edge=2, replicas=12, biases=biases)
    dataset = EntropyDataset("information", features=features)
    members = [springs.atoms.copy() for _ in range(4)]
    for seed, atoms in enumerate(members):
        atoms.rattle(0.1, seed=seed)
    dataset.calibrate(members)
    dataset.add(members)
    state = thermalise(state, springs, config)
    squares = []
    run_chunk(
        state,
        springs,
        {("information", "per_atom"): dataset.bias()},
        config.model_copy(update={"trajectory_every": 1}),
        on_frame=lambda step, walkers, md: squares.append(
            (md.forces - md.base_forces).square().sum(dim=1).reshape(-1, 8).mean(dim=1)
        ),
    )
    reached = torch.stack(squares).mean(dim=0) / thermal_force_of(springs, 300.0) ** 2
    fraction = state.strengths.fraction
    for asked in (0.2, 0.6):
        own = reached[fraction == asked]
        # 12 walkers: 5 % is one standard error of their mean.
        assert float(own.mean().sqrt()) == pytest.approx(asked, rel=0.15)


@pytest.mark.parametrize("barostat", ["isotropic", "anisotropic"])
def test_a_cell_whose_atoms_feel_no_bias_is_not_pressed_by_it(biases, barostat):
    """One atom per cell: |dS/dr| is rounding, which kappa must not follow; dS/dstrain is not."""
    config = NPT.model_copy(
        update={
            "biases": (
                BiasSettings(entropy="information", fractions=(0.5,)),
                BiasSettings(entropy="none"),
            ),
            "barostat": barostat,
        }
    )
    model = lennard_jones(epsilon_eV=0.05)
    primitive = bulk("Ar", "fcc", a=5.3)
    walkers, structures = plan_walkers([Start("fcc", 0.0, primitive)], [20.0], config)
    state = thermalise(init_walkers(walkers, structures, model, config, 0), model, config)
    stresses = []

    def look(step, walkers, md):
        stresses.append(
            (md.stress[0] - model(plain_state(md, torch.float64))["stress"][0]).abs().max()
        )

    watched = config.model_copy(update={"trajectory_every": 1})
    state, _ = run_chunk(state, model, biases, watched, on_frame=look)
    assert state.restarts == ()
    # 1e-6 eV of looking over 37 A^3, times a slope of a few.
    assert float(torch.stack(stresses).max()) < gpa_to_ev_per_a3(1e-3)


def test_an_adaptive_walker_must_be_thermalised_first(model, biases):
    with pytest.raises(ConfigError, match="call thermalise"):
        run_chunk(begin(model), model, biases, CONFIG)


def test_a_missing_bias_is_named(model, biases):
    state = thermalise(begin(model), model, CONFIG)
    incomplete = {("information", "per_atom"): biases["information", "per_atom"]}
    with pytest.raises(
        ConfigError, match="by paper/per_config, but only information/per_atom is given"
    ):
        run_chunk(state, model, incomplete, CONFIG)


def test_an_unbiased_run_needs_no_bias(model):
    config = CONFIG.model_copy(update={"biases": (BiasSettings(entropy="none"),)})
    state = begin(model, config)
    state = thermalise(state, model, config)
    _, snapshots = run_chunk(state, model, {}, config)
    assert {snapshot.kappa_eV for snapshot in snapshots} == {0.0}


# --- restarts ---

VIOLENT = CONFIG.model_copy(
    update={
        "biases": (
            BiasSettings(entropy="paper", mode="per_config", kappas_eV=(2.0, 400.0)),
            BiasSettings(entropy="none"),
        ),
        "guards": GuardSettings(shortest_distance=0.9, largest_restarts=3),
        "thermalise_steps": 10,
        "chunk_steps": 40,
        "snapshot_every": 5,
    }
)


@pytest.fixture(scope="module")
def violent_run(model, biases):
    state = thermalise(begin(model, VIOLENT), model, VIOLENT)
    returned = []
    for _ in range(3):
        state, snapshots = run_chunk(state, model, biases, VIOLENT)
        returned += snapshots
    return state, returned


def test_no_unphysical_snapshot_is_returned(model, violent_run):
    state, returned = violent_run
    assert len(state.restarts) >= 4
    assert any(state.walkers[snapshot.walker].biased for snapshot in returned)
    batch = gather_batch([snapshot.atoms for snapshot in returned], model)
    assert float(shortest_bond_ratio(batch).min()) >= VIOLENT.guards.shortest_distance
    forces = model(batch)["forces"].norm(dim=1)
    assert float(forces.max()) <= VIOLENT.guards.largest_force_eV_per_A


def test_unbiased_walkers_are_not_disturbed_by_violent_neighbours(violent_run):
    state, returned = violent_run
    violent = {restart.walker for restart in state.restarts}
    assert violent <= {walker.index for walker in state.walkers if walker.biased}
    calm = [walker.index for walker in state.walkers if not walker.biased]
    for index in calm:
        assert sum(snapshot.walker == index for snapshot in returned) == 3 * 40 // 5


def own_of(violent_run):
    """Restarts, and steps of snapshots, of each walker that was restarted."""
    state, returned = violent_run
    # Without restarts of every kind the laws below would say nothing.
    assert {restart.restarted_from for restart in state.restarts} == set(RestartedFrom)
    for index in sorted({restart.walker for restart in state.restarts}):
        restarts = [restart for restart in state.restarts if restart.walker == index]
        yield index, restarts, [snapshot.step for snapshot in returned if snapshot.walker == index]


def test_restarts_escalate_from_snapshot_to_relaxed_phase_to_the_end(violent_run):
    state, _ = violent_run
    for index, restarts, snapshots in own_of(violent_run):
        before = 0
        for restart in restarts[:3]:
            # A snapshot serves once: a walker that made none since its last restart goes to its
            # relaxed phase.
            made = any(before < step < restart.step for step in snapshots)
            expected = RestartedFrom.SNAPSHOT if made else RestartedFrom.RELAXED_PHASE
            assert restart.restarted_from is expected
            before = restart.step
        assert (len(restarts) == 4) == (index not in state.rows)
        if len(restarts) > 3:
            assert restarts[3].restarted_from is RestartedFrom.NOWHERE
            assert not [step for step in snapshots if step > restarts[3].step]
    ended = {walker.index for walker in state.ended}
    assert ended == {
        restart.walker
        for restart in state.restarts
        if restart.restarted_from is RestartedFrom.NOWHERE
    }
    assert state.md.n_systems == len(state.rows) == len(state.walkers) - len(ended)


def test_after_a_restart_comes_a_time_without_snapshots(violent_run):
    waits = {
        RestartedFrom.SNAPSHOT: VIOLENT.snapshot_every,
        RestartedFrom.RELAXED_PHASE: VIOLENT.thermalise_steps,
        RestartedFrom.NOWHERE: 10**9,
    }
    for _, restarts, snapshots in own_of(violent_run):
        for restart in restarts:
            quiet = range(restart.step, restart.step + waits[restart.restarted_from])
            assert not [step for step in snapshots if step in quiet]


def test_a_rewound_cell_is_no_snapshot_and_does_not_reset_the_escalation(model, biases):
    """A walker that fails four steps before each snapshot never counts as healthy in between."""
    state = thermalise(begin(model), model, CONFIG)
    config = CONFIG.model_copy(update={"chunk_steps": 10})
    state, _ = run_chunk(state, model, biases, config)
    short = CONFIG.model_copy(update={"chunk_steps": 5, "snapshot_every": 5})
    for expected in (RestartedFrom.SNAPSHOT, RestartedFrom.RELAXED_PHASE):
        state.md.momenta[state.md.system_idx == 3] = torch.nan
        healthy = state.healthy.positions.clone()
        state, snapshots = run_chunk(state, model, biases, short)
        assert {snapshot.walker for snapshot in snapshots} == set(range(12)) - {3}
        moved = (state.healthy.positions != healthy).any(dim=1)
        assert sorted(set(state.md.system_idx[moved].tolist())) == sorted(set(range(12)) - {3})
        assert state.restarts[-1].restarted_from is expected
    # Left in peace it is sampled again, once it has been thermalised.
    for _ in range(5):
        state, snapshots = run_chunk(state, model, biases, short)
    assert 3 in {snapshot.walker for snapshot in snapshots}


def test_the_summary_counts_restarts_by_reason(violent_run):
    state, _ = violent_run
    summaries = summarise_restarts(state.walkers, state.restarts)
    assert len(summaries) == len(state.walkers)
    assert sum(sum(summary.by_reason.values()) for summary in summaries) == len(state.restarts)
    ends = {
        summary.walker.index: summary.ended_at_step
        for summary in summaries
        if summary.ended_at_step is not None
    }
    nowhere = [
        restart for restart in state.restarts if restart.restarted_from is RestartedFrom.NOWHERE
    ]
    assert ends == {restart.walker: restart.step for restart in nowhere}
    assert any(GuardReason.TEMPERATURE in summary.by_reason for summary in summaries)


class ShyLennardJones(LennardJonesCalculator):
    """Argon of an ASE calculator that raises where the forces on its atoms are large."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if np.linalg.norm(self.results["forces"], axis=1).max() > 0.5:
            raise RuntimeError("no convergence in 100 cycles")


def test_what_a_calculator_raises_ends_one_walker_and_not_the_exploration(tmp_path):
    """The hot walker ends with the calculator's own words; the cold one never notices."""
    config = CONFIG.model_copy(
        update={
            "biases": (BiasSettings(entropy="none"),),
            "guards": GuardSettings(largest_restarts=2),
        }
    )
    calculator = ShyLennardJones(sigma=3.405, epsilon=0.0104, rc=5.0)
    model = from_calculator(calculator, name="shy").model
    walkers, structures = plan_walkers(STARTS[:1], (10.0, 1500.0), config)
    state = init_walkers(walkers, structures, model, config, 0)
    state = thermalise(state, model, config)
    returned = []
    for _ in range(3):
        state, snapshots = run_chunk(state, model, {}, config)
        returned += snapshots
    assert [snapshot.step for snapshot in returned if snapshot.walker == 0] == list(
        range(30, 81, 10)
    )
    assert state.rows == (0,)
    assert {restart.walker for restart in state.restarts} == {1}
    assert len(state.restarts) == 3
    assert {(restart.reason, restart.detail) for restart in state.restarts} == {
        (GuardReason.MODEL_FAILED, "RuntimeError: no convergence in 100 cycles")
    }
    assert describe_reasons(state.restarts) == (
        "3 x the model could not evaluate it (RuntimeError: no convergence in 100 cycles)"
    )
    save_walkers(tmp_path / "walkers.pt", state)
    restored = load_walkers(tmp_path / "walkers.pt")
    assert [restart.detail for restart in restored.restarts] == [
        restart.detail for restart in state.restarts
    ]


def test_a_cluster_moves_the_same_with_and_without_a_box():
    calculator = LennardJonesCalculator(sigma=3.405, epsilon=0.0104, rc=8.0)
    model = from_calculator(calculator, name="argon").model
    cluster = argon(5.3, rattle_A=0.05)
    cluster.pbc = False
    found = []
    for cell_A in (None, (5.3, 5.3, 5.3), (40.0, 30.0, 35.0)):
        cluster.set_cell(cell_A)
        walkers, structures = plan_walkers([Start("cluster", 0.0, cluster)], (30.0,), UNBIASED)
        state = thermalise(init_walkers(walkers, structures, model, UNBIASED, 0), model, UNBIASED)
        state, snapshots = run_chunk(state, model, {}, UNBIASED)
        assert state.restarts == ()
        found.append(np.array([snapshot.atoms.positions for snapshot in snapshots]))
    assert len(found[0]) == UNBIASED.chunk_steps // UNBIASED.snapshot_every
    for boxed in found[1:]:
        # Sums over neighbours are rounded differently.
        np.testing.assert_allclose(boxed, found[0], atol=1e-9)


def test_a_run_whose_walkers_were_all_ended_goes_on_quietly(model, biases, caplog):
    config = VIOLENT.model_copy(
        update={
            "biases": (BiasSettings(entropy="paper", mode="per_config", kappas_eV=(400.0,)),),
            "guards": GuardSettings(shortest_distance=0.9, largest_restarts=0),
            "thermalise_steps": 0,
        }
    )
    state = begin(model, config)
    for _ in range(4):
        state, snapshots = run_chunk(state, model, biases, config)
    assert state.rows == ()
    assert snapshots == []
    assert "every walker was ended" in caplog.text


@pytest.mark.parametrize("config", [CONFIG, NPT, PER_AXIS], ids=["nvt", "npt", "npt per axis"])
def test_a_restart_leaves_every_bit_of_the_others(model, config):
    """Restoring one system changes it alone, and gives it the forces of its new place."""
    from entrove.sampling.bias.entropy_bias import EntropyBias
    from entrove.sampling.walkers.restarts import restore_systems
    from entrove.sampling.walkers.stepping import dynamics_of

    state = begin(model, config)
    md, dynamics = state.md, dynamics_of(state.walkers, config, state.md.device)
    md.rng = torch.Generator().manual_seed(1)
    bias = EntropyBias.unbiased(model, 12)
    for _ in range(5):
        md = dynamics.step(md, bias)
    before = md.clone()
    rows = torch.zeros(12, dtype=torch.bool)
    rows[3] = True
    restore_systems(md, rows, state.relaxed, dynamics, bias, at_minimum=True)
    of_atoms = rows[md.system_idx]
    for name in ("positions", "momenta", "forces", "base_forces"):
        assert torch.equal(getattr(md, name)[~of_atoms], getattr(before, name)[~of_atoms]), name
        assert not torch.equal(getattr(md, name)[of_atoms], getattr(before, name)[of_atoms]), name
    for name in ("energy", "cell"):
        assert torch.equal(getattr(md, name)[~rows], getattr(before, name)[~rows]), name
    assert torch.equal(md.positions[of_atoms], state.relaxed.positions[of_atoms])
    fresh = bias(md)
    torch.testing.assert_close(md.forces[of_atoms], fresh["forces"][of_atoms], rtol=0, atol=0)
    if config.ensemble == "npt":
        assert torch.equal(md.cell[3], state.relaxed.cell[3])
        assert not md.cell_velocities[3].any()
        assert not md.cell_positions[3].any()
        assert torch.equal(md.cell_velocities[~rows], before.cell_velocities[~rows])


def test_damaged_and_foreign_checkpoints_are_refused(model, tmp_path):
    path = tmp_path / "walkers.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(CampaignError, match="the walkers cannot be read"):
        load_walkers(path)
    torch.save({"schema": 99}, path)
    with pytest.raises(CampaignError, match="written by another version"):
        load_walkers(path)
