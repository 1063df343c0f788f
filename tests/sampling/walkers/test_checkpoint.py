"""A state of walkers on disk."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cheap_models import argon, lennard_jones

from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.walkers.checkpoint import load_walkers, save_walkers
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.run import init_walkers, run_chunk
from entrove.sampling.walkers.state import WalkersState

CONFIG = SamplingConfig(
    biases=(BiasSettings(entropy="none"),), thermalise_steps=0, chunk_steps=4, snapshot_every=2
)

ON_CUDA = torch.arange(16, dtype=torch.uint8)
"""As long as the state of a CUDA generator: seed and offset, eight bytes each (CPU: 5056)."""


@pytest.fixture
def walkers() -> WalkersState:
    start = Start("fcc", 0.0, argon(5.3, rattle_A=0.1))
    return init_walkers(*plan_walkers([start], [60.0], CONFIG), lennard_jones(), CONFIG, 3)


def go_on(path: Path) -> torch.Tensor:
    state, _ = run_chunk(load_walkers(path), lennard_jones(), {}, CONFIG)
    return state.md.positions


def test_walkers_from_another_kind_of_device_go_on_the_same_way_each_time(
    walkers, tmp_path, caplog
):
    path = tmp_path / "walkers.pt"
    save_walkers(path, replace(walkers, rng_state=ON_CUDA))
    with caplog.at_level(logging.WARNING):
        first = go_on(path)
    assert (
        "on another kind of device than cpu: their noise continues from a new seed" in caplog.text
    )
    assert torch.equal(go_on(path), first)
    # Another stream, and another place in it, get another seed.
    for other in (
        replace(walkers, rng_state=ON_CUDA.flip(0)),
        replace(walkers, rng_state=ON_CUDA, step=4),
    ):
        save_walkers(path, other)
        assert not torch.equal(go_on(path), first)


def test_walkers_of_the_same_kind_of_device_keep_every_bit(walkers, tmp_path, caplog):
    path = tmp_path / "walkers.pt"
    save_walkers(path, walkers)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(load_walkers(path).rng_state, walkers.rng_state)
    assert not caplog.text
    expected, _ = run_chunk(walkers, lennard_jones(), {}, CONFIG)
    assert torch.equal(go_on(path), expected.md.positions)
