"""Quantum ESPRESSO as Debian installs it, for tests that run it."""

import shutil
from pathlib import Path

import pytest

PSEUDOPOTENTIALS = Path("/usr/share/espresso/pseudo")
needs_espresso = pytest.mark.skipif(
    shutil.which("pw.x") is None or not (PSEUDOPOTENTIALS / "Si.pbe-rrkj.UPF").exists(),
    reason="Quantum ESPRESSO with its example pseudopotentials is not installed "
    "(Debian: quantum-espresso quantum-espresso-data)",
)
