import numpy as np
import pytest
from ase.io import read
from cheap_models import argon, lennard_jones

from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.dynamics import kinetic_temperature_K
from entrove.sampling.grid import Start, plan_walkers
from entrove.sampling.trajectories import TrajectoryRecorder
from entrove.sampling.walkers import init_walkers, run_chunk


def test_a_trajectory_is_read_back_with_its_numbers(tmp_path):
    model = lennard_jones()
    config = SamplingConfig(
        thermalise_steps=0,
        chunk_steps=10,
        snapshot_every=10,
        trajectory_every=5,
        biases=(BiasSettings(entropy="none"),),
    )
    walkers, structures = plan_walkers([Start("fcc", 0.0, argon(5.3))], [20.0, 60.0], config)
    state = init_walkers(walkers, structures, model, config, 0)
    recorder = TrajectoryRecorder(tmp_path)
    for chunk in range(2):
        state, snapshots = run_chunk(state, model, None, {}, config, on_frame=recorder)
        paths = recorder.write_chunk(chunk)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "walker-0000/chunk-0001.traj",
        "walker-0001/chunk-0001.traj",
    ]
    frames = read(paths[1], index=":")
    assert [frame.info["entrove_step"] for frame in frames] == [15, 20]
    last = frames[-1]
    moved = last.copy()
    moved.wrap()
    np.testing.assert_allclose(moved.positions, snapshots[1].atoms.positions, atol=1e-12)
    assert last.get_potential_energy() == pytest.approx(float(state.md.base_energy[1]))
    np.testing.assert_allclose(last.get_forces(), state.md.base_forces[4:], atol=1e-12)
    # ASE reads the momenta in its own units; the temperature agrees to the constants of 2014 and 2018.
    assert last.get_temperature() == pytest.approx(float(kinetic_temperature_K(state.md)[1]), rel=1e-4)
