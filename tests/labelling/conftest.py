import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrove.execution.settings import LocalExecution
from entrove.labelling.config import LabellingConfig
from entrove.labelling.execution.executor import AttemptExecutor

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _importable_calculators() -> Iterator[None]:
    """Worker processes import `misbehaving` by path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
        patch.syspath_prepend(str(HERE))
        yield


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttemptExecutor]:
    """Two real Parsl workers that all tests share: starting them takes seconds."""
    # The blank checks that no command line is built without quotes.
    with AttemptExecutor(
        LocalExecution(workers=2), tmp_path_factory.mktemp("parsl of all")
    ) as executor:
        yield executor


@pytest.fixture
def misbehaving_config() -> Callable[..., LabellingConfig]:
    """A configuration with the misbehaving calculator; keywords are the calculator's."""

    def make(*, settings: dict | None = None, **arguments: object) -> LabellingConfig:
        engine = {"name": "ase", "calculator": "misbehaving:Misbehaving", "arguments": arguments}
        return LabellingConfig.model_validate(
            {"engine": engine, "time_limit_s": 20} | (settings or {})
        )

    return make
