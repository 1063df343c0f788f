"""Checks on the login node of a cluster: it has sbatch and files, but not the nodes' programs."""

import shutil
from pathlib import Path

import pytest
import yaml
from ase.build import bulk

from entrove.campaign.configuration.check import read_campaign
from entrove.campaign.configuration.settled import settle_config
from entrove.errors import CampaignError, ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples" / "sodium_chloride"


@pytest.fixture
def login_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sodium_chloride"
    shutil.copytree(EXAMPLE, folder)
    given = yaml.safe_load((folder / "campaign.yaml").read_text())
    (folder / "pseudopotentials").mkdir(exist_ok=True)
    for name in given["labelling"]["engine"]["pseudopotentials"].values():
        (folder / "pseudopotentials" / name).write_text(name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder / "campaign.yaml"


def test_the_example_for_a_cluster_passes_on_its_login_node(login_node: Path):
    config, seeds = read_campaign(login_node)
    assert config.labelling.engine.kind == "espresso"
    assert [seed.phase for seed in seeds] == ["B1", "B2"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: slurm", "name: local", r"unknown key"),
        (
            'walltime: "12:00:00"',
            'walltime: "01:00:00"',
            r"labelling\.executor\.name: .*a job ends after 3600 s",
        ),
        ("Cl: Cl.pbe", "Si: Cl.pbe", r"labelling\.engine\.name: .*no data for Cl"),
    ],
)
def test_what_would_fail_at_the_first_label_fails_at_once(
    login_node: Path, old: str, new: str, message: str
):
    text = login_node.read_text()
    assert old in text
    login_node.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_campaign(login_node)


def test_a_missing_slurm_is_reported_before_anything_runs(
    login_node: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        ConfigError,
        match=r"labelling\.executor\.name: executor slurm: there is no 'sbatch' on PATH",
    ):
        read_campaign(login_node)


def test_a_campaign_keeps_its_potentials_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bulk("Si", cubic=True).write(tmp_path / "diamond.xyz")
    for folder in ("first", "second"):
        (tmp_path / folder / "potpaw_PBE" / "Si").mkdir(parents=True)
        (tmp_path / folder / "potpaw_PBE" / "Si" / "POTCAR").write_text("PAW_PBE Si 05Jan2001")
    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    def settle(folder: str) -> None:
        path = tmp_path / "campaign.yaml"
        engine = {"name": "vasp", "potential_folder": folder}
        given = {
            "name": "silicon",
            "seeds": [{"phase": "diamond", "file": "diamond.xyz"}],
            "labelling": {"engine": engine, "executor": {"name": "slurm"}},
        }
        path.write_text(yaml.safe_dump(given))
        settle_config(tmp_path / "config.yaml", read_campaign(path)[0])

    settle("first")
    settle("second")
    (tmp_path / "second" / "potpaw_PBE" / "Si" / "POTCAR").write_text("PAW_PBE Si 14Jun2026")
    with pytest.raises(
        CampaignError, match=r"labelling\.engine\.potential_hashes\.Si: '\w+' before, '\w+' now"
    ):
        settle("second")
