"""Every test run checks the shapes and types of the annotations."""

import os
import sys
from collections.abc import Iterator

import pytest

# The matrices of the tests are small: more threads of linear algebra would only compete for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("entrove", "beartype.beartype")

# They hold no doctests, and as modules to collect they would all have the name `conftest`.
collect_ignore_glob = ["*conftest.py"]


@pytest.fixture(autouse=True)
def _one_thread_again() -> Iterator[None]:
    """A campaign sets torch's threads for its process; sums of the next test would round anew."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
