import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from label_campaign import copper
from rich.console import Console

from entrove.campaign.configuration.check import read_campaign
from entrove.cli.import_labels import import_files
from entrove.errors import ConfigError
from entrove.labelling.labeller import Labeller
from entrove.labelling.store.cache import LabelCache

CONFIG = """\
name: copper
seeds:
  - {phase: fcc, file: fcc.xyz}
labelling:
  engine: {name: ase, calculator: "ase.calculators.emt:EMT"}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    bulk("Cu", cubic=True).write(tmp_path / "fcc.xyz")
    (tmp_path / "campaign.yaml").write_text(CONFIG)
    structures = [copper(seed) for seed in range(3)]
    for atoms in structures:
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
    write(tmp_path / "ours.xyz", structures, format="extxyz")
    return tmp_path / "campaign.yaml"


def test_imported_labels_are_not_computed_again(tmp_path: Path, config: Path):
    command = [
        sys.executable,
        "-m",
        "entrove.cli.main",
        "import",
        str(config),
        str(tmp_path / "ours.xyz"),
    ]
    result = subprocess.run(
        [*command, "--same-level"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "3 labels imported, 0 known before, 0 refused" in result.stdout
    campaign, _ = read_campaign(config)
    with (
        LabelCache(tmp_path / "campaign" / "labels.sqlite") as cache,
        Labeller(campaign.labelling, cache, tmp_path / "campaign" / "labels") as labeller,
    ):
        labels = dict(labeller.label([copper(seed) for seed in range(3)]))
        assert not labeller._executor.running
    for seed, label in labels.items():
        atoms = copper(seed)
        atoms.calc = EMT()
        # Extended XYZ keeps eight digits after the point.
        assert label.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        assert label.attempts == 0
        assert label.attach(atoms).info["entrove_engine"] == "ase imported from ours.xyz"


def test_labels_are_refused_unless_the_user_confirms_their_level(tmp_path: Path, config: Path):
    with pytest.raises(ConfigError) as caught:
        import_files(config, [tmp_path / "ours.xyz"], None, same_level=False, console=Console())
    assert "calculator: ase.calculators.emt:EMT" in str(caught.value)
    assert "Give --same-level if the files were computed with exactly these settings" in str(
        caught.value
    )
    assert not (tmp_path / "campaign").exists()
