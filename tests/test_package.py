import subprocess
import sys

import entrove


def test_import_loads_no_heavy_package():
    code = (
        "import sys, entrove; "
        "print([m for m in ('torch', 'matplotlib', 'ase', 'parsl') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_every_public_name_exists():
    for name in entrove.__all__:
        assert getattr(entrove, name) is not None
