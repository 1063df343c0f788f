"""The wheel, in an environment with the core and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which builds and installs")
def test_the_wheel_works_with_the_core_only_and_every_extra_resolves():
    finished = subprocess.run(
        [ROOT / "tools" / "check_wheel.sh", "--extras"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stdout.splitlines()[-1].endswith(".whl is complete")
