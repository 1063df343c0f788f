import numpy as np
import pytest
import torch
from ase.io import read
from cheap_models import argon, lennard_jones

from entrove.entropy.functional import Bias
from entrove.entropy.local import LocalEntropy
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.pools.entropy_md import advance, begin
from entrove.sampling.walkers.dynamics import kinetic_temperature_K
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.run import init_walkers, run_chunk
from entrove.sampling.walkers.trajectories import TrajectoryRecorder


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
        state, snapshots = run_chunk(state, model, {}, config, on_frame=recorder)
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
    # ASE reads the momenta in its own units; the temperature agrees to the constants of 2014 and
    # 2018.
    assert last.get_temperature() == pytest.approx(
        float(kinetic_temperature_K(state.md)[1]), rel=1e-4
    )


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_an_exploration_records_every_frame_once_and_moves_as_if_it_recorded_none(
    tmp_path, ensemble
):
    model = lennard_jones()
    config = SamplingConfig(
        ensemble=ensemble,
        thermalise_steps=10,
        chunk_steps=10,
        snapshot_every=10,
        trajectory_every=4,
        biases=(BiasSettings(entropy="local", kappas_eV=(0.001,)), BiasSettings(entropy="none")),
    )
    features = GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=24))
    biases = {("local", "per_atom"): Bias(features, LocalEntropy())}
    walkers, structures = plan_walkers([Start("fcc", 0.0, argon(5.3))], [20.0], config)
    ends = []
    for recorder in (TrajectoryRecorder(tmp_path), None):
        exploration = begin(walkers, structures, model, config, 0)
        for _ in range(2):
            exploration = advance(
                exploration, model, biases, config, lambda _: [], recorder=recorder
            )
        ends.append(exploration.walkers.md)
    assert torch.equal(ends[0].positions, ends[1].positions)
    for walker in range(2):
        paths = sorted((tmp_path / f"walker-{walker:04d}").iterdir())
        assert [path.name for path in paths] == ["chunk-0000.traj", "chunk-0001.traj"]
        frames = [frame for path in paths for frame in read(path, index=":")]
        assert [frame.info["entrove_step"] for frame in frames] == [12, 16, 20, 24, 28]
        assert {frame.info["entrove_kappa_eV"] for frame in frames} == {0.0 if walker else 0.001}
        volumes = {round(frame.get_volume(), 9) for frame in frames}
        assert len(volumes) == (5 if ensemble == "npt" else 1)
