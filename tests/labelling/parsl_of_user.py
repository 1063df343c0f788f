"""A Parsl configuration as a user would write one: it starts Parsl's scripts by name."""

import os
from pathlib import Path

from parsl.config import Config
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.providers import LocalProvider


def make() -> Config:
    executor = HighThroughputExecutor(
        label="mine",
        address="127.0.0.1",
        max_workers_per_node=1,
        cores_per_worker=1e-3,
        provider=LocalProvider(),
    )
    folder = Path(os.environ["PARSL_OF_USER_FOLDER"])
    return Config(
        executors=[executor],
        run_dir=str(folder / "runinfo"),
        strategy_period=1,
        initialize_logging=False,
    )


def make_threads() -> Config:
    return Config(
        executors=[ThreadPoolExecutor(label="threads", max_threads=3)],
        run_dir=str(Path(os.environ["PARSL_OF_USER_FOLDER"]) / "runinfo"),
        initialize_logging=False,
    )


def make_nothing() -> None:
    return None
