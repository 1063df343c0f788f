"""A Parsl configuration of one node with two workers, which is missed soon after it has died."""

import os
from pathlib import Path

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


def make() -> Config:
    executor = HighThroughputExecutor(
        label="losing",
        address="127.0.0.1",
        max_workers_per_node=2,
        cores_per_worker=1e-3,
        heartbeat_period=1,
        heartbeat_threshold=3,
        block_error_handler=False,  # a node that dies is replaced, as by a cluster
        provider=LocalProvider(max_blocks=1),
    )
    return Config(
        executors=[executor],
        run_dir=str(Path(os.environ["PARSL_OF_USER_FOLDER"]) / "runinfo"),
        strategy_period=0.5,
        initialize_logging=False,
    )
