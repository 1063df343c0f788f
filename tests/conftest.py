"""Every test run checks the shapes and types of the annotations."""

import os

# The matrices of the tests are small: more threads of linear algebra would only compete for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("entrove", "beartype.beartype")
