"""Every test run checks the shapes and types of the annotations."""

import os
import random
import sys
from collections.abc import Iterator

import pytest

# The matrices of the tests are small: more threads of linear algebra would only compete for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import beartype
from jaxtyping import install_import_hook

# A check of a list looks at one item, drawn at random: with numbers of its own, so that no test
# finds those of Python advanced.
draw_bits = random.Random(0).getrandbits
for module in [found for name, found in sys.modules.items() if name.startswith(beartype.__name__)]:
    if hasattr(module, "getrandbits"):
        setattr(module, "getrandbits", draw_bits)  # noqa: B010  pyright knows no such name
install_import_hook("entrove", "beartype.beartype")

# They hold no doctests, and as modules to collect they would all have the name `conftest`.
collect_ignore_glob = ["*conftest.py"]


@pytest.fixture(autouse=True)
def _one_thread_again() -> Iterator[None]:
    """A campaign sets torch's threads for its process; sums of the next test would round anew."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
