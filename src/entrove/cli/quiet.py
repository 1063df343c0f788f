"""Import packages without what they print."""

import os
import sys


def load_torch_sim_quietly() -> None:
    """Import torch-sim without its messages: Warp prints warnings to stderr without a GPU."""
    sys.stderr.flush()
    # Warp writes to the file descriptor itself, so replacing sys.stderr would not be enough.
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as devnull:
            os.dup2(devnull.fileno(), 2)
            import torch_sim  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
