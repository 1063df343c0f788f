"""Every test run checks the shapes and types that the annotations promise."""

import os

# Two labels, two walkers, two tests: threads of linear algebra would only get into each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("entrove", "beartype.beartype")
