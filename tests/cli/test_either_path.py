"""A campaign is found by its configuration and by either of its folders."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ase.build import bulk
from command_line import Command

from cheap_campaign import SETTINGS, make_bench
from entrove.campaign.configuration.locate import find_campaign_folder, find_config
from entrove.errors import CampaignError, ConfigError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as `entrove init` makes it, whose campaign has run."""
    with pytest.MonkeyPatch.context() as patch:
        bench = make_bench(tmp_path_factory.mktemp("home"), patch)
        bench.run(stopping={"rounds": 1})
        bulk("Cu", cubic=True).write(bench.folder / "fcc.xyz")
        (bench.folder / "campaign.yaml").write_text(yaml.safe_dump(SETTINGS))
        yield bench.folder


def test_status_is_the_same_by_every_path(home: Path, entrove: Command):
    outputs = {
        entrove("status", path)[:2] for path in (home, home / "campaign", home / "campaign.yaml")
    }
    assert len({output.replace(str(home), "") for _, output in outputs}) == 1
    assert {code for code, _ in outputs} == {0}


def test_the_configuration_is_found_by_every_path(home: Path):
    config = home / "campaign.yaml"
    assert find_config(config) == config
    assert find_config(home) == config
    assert find_config(home / "campaign").resolve() == config.resolve()


def test_check_takes_a_folder(home: Path, entrove: Command):
    code, output, errors = entrove("run", "--check", home)
    assert (code, errors) == (0, "")
    assert f"{home / 'campaign.yaml'}: this configuration can run here" in output


def test_a_folder_of_two_configurations_is_not_guessed(home: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    shutil.copy(copy / "campaign.yaml", copy / "other.yaml")
    with pytest.raises(ConfigError, match=r"campaign\.yaml, other\.yaml all name it\); give the"):
        find_config(copy / "campaign")
    assert find_config(copy).name == "campaign.yaml"


def test_what_was_not_started_says_how_to_start_it(home: Path, tmp_path: Path):
    folder = tmp_path / "my folder"
    folder.mkdir()
    shutil.copy(home / "campaign.yaml", folder)
    for path in (folder, folder / "campaign.yaml"):
        with pytest.raises(CampaignError, match=r"no campaign .*entrove run ") as error:
            find_campaign_folder(path)
        command = str(error.value).partition("start it with: ")[2]
        assert shlex.split(command) == ["entrove", "run", str(folder / "campaign.yaml")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(CampaignError, match=r"holds no campaign .*or its configuration"):
        find_campaign_folder(tmp_path / "empty")
    with pytest.raises(ConfigError, match=r"no campaign\.yaml in it, and none beside names it"):
        find_config(tmp_path / "empty")
