"""Where torch computes; third-party packages that change it for others, or warn without need."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from entrove.errors import ModelError


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Run the block under this default dtype, then restore what was there.

    NequIP sets the process-wide default to float64 when it loads a model; SevenNet then cannot
    load or run ("Float did not match Double"). Each model is built and run under the dtype that it
    was written for.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def ignoring_known_warnings() -> Iterator[None]:
    """Ignore the warnings of third-party packages that are known to be harmless, and no others."""
    with warnings.catch_warnings():
        # e3nn compiles its small modules with TorchScript, which torch 2.13 calls deprecated.
        warnings.filterwarnings("ignore", r".*torch\.jit\.\w+` is deprecated", DeprecationWarning)
        # NequIP's advice on training, repeated whenever a model is built from a checkpoint.
        warnings.filterwarnings("ignore", "Found `per_type_energy_s", UserWarning)
        # SevenNet's advice to install a CUDA accelerator.
        warnings.filterwarnings("ignore", "No tensor product accelerator is enabled", UserWarning)
        # spglib asks for a process-wide setting, which belongs to the application.
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING to false", DeprecationWarning)
        yield


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn "auto" into CUDA where there is one, else the CPU.

    Raises `ModelError` when CUDA is asked for and missing, and for a name that is no device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"device={device} is no device; use 'auto', 'cpu' or 'cuda'") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device={device} but torch sees no CUDA device; use device='cpu' or 'auto'"
        )
    return resolved
