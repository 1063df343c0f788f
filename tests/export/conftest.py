"""A bundle that several tests export."""

from pathlib import Path

import pytest
import torch

from export_bundles import put_bundle
from small_sevennet import write_small_sevennet


@pytest.fixture(autouse=True, scope="session")
def no_kernel_fusion():
    """Compiling fused kernels costs seconds for every new graph size."""
    before = torch.jit.set_fusion_strategy([])
    yield
    torch.jit.set_fusion_strategy(before)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SevenNet; the order of its species is neither that of the network nor of the alphabet."""
    folder = tmp_path_factory.mktemp("export")
    checkpoint = write_small_sevennet(folder / "small.pth")
    return put_bundle(folder / "model", checkpoint, "sevennet", ["Si", "Na", "Cl"])
