import subprocess
import sys

import pytest

import entrove


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("entrove", ("torch", "matplotlib", "ase", "parsl")),
        ("entrove.models.registry", ("torch", "matplotlib", "parsl")),
        ("entrove.training.tuning", ("torch_sim", "matplotlib", "parsl")),
        ("entrove.training.sevennet.worker", ("torch_sim", "torch._inductor", "matplotlib")),
    ],
)
def test_import_loads_no_heavy_package(module, heavy):
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_every_public_name_exists():
    for name in entrove.__all__:
        assert getattr(entrove, name) is not None
