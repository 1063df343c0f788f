"""A Parsl configuration whose manager looks for dead workers every second."""

import os

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


def make() -> Config:
    executor = HighThroughputExecutor(
        label="here",
        address="127.0.0.1",
        max_workers_per_node=1,
        cores_per_worker=1e-3,
        heartbeat_period=1,
        provider=LocalProvider(),
    )
    return Config(
        executors=[executor],
        run_dir=os.environ["PARSL_FOLDER"],
        strategy_period=1,
        initialize_logging=False,
    )
