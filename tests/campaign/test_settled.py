import pytest
import yaml

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.reference import write_commented_yaml, write_reference_page
from entrove.campaign.configuration.settled import read_settled, settle_config
from entrove.errors import CampaignError

GIVEN = {"name": "silicon", "seeds": [{"phase": "diamond", "file": "diamond.xyz"}]}


def config(**changes) -> CampaignConfig:
    return CampaignConfig.model_validate(GIVEN | changes)


def test_what_is_written_is_what_was_resolved(tmp_path):
    settle_config(tmp_path / "config.yaml", config())
    text = (tmp_path / "config.yaml").read_text()
    assert CampaignConfig.model_validate(yaml.safe_load(text)) == config()


def test_a_campaign_keeps_its_settings(tmp_path):
    settle_config(tmp_path / "config.yaml", config())
    with pytest.raises(
        CampaignError, match=r"random_seed: 1 before, 2 now\); put the old values back"
    ):
        settle_config(tmp_path / "config.yaml", config(random_seed=2))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["random_seed"] == 1


def test_keys_that_a_later_version_added_have_their_defaults(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    stored = yaml.safe_load(path.read_text())
    del stored["selection"]["storage"], stored["training"]["loss"], stored["labelling"]["outliers"]
    path.write_text(yaml.safe_dump(stored))
    assert read_settled(path) == config()
    settle_config(path, config())
    assert yaml.safe_load(path.read_text())["selection"]["storage"] == config().selection.storage
    del stored["random_seed"]
    path.write_text(yaml.safe_dump(stored))
    with pytest.raises(CampaignError, match=r"random_seed: 1 before, 2 now"):
        settle_config(path, config(random_seed=2))


def test_a_key_of_a_later_version_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    path.write_text(path.read_text() + "teleport: true\n")
    with pytest.raises(CampaignError, match=r"teleport: .*; use the version that started it"):
        settle_config(path, config())


def test_where_and_how_long_may_change(tmp_path):
    settle_config(tmp_path / "config.yaml", config())
    more = config(stopping={"rounds": 9}, labelling={"executor": {"name": "local", "workers": 8}})
    settle_config(tmp_path / "config.yaml", more)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["stopping"]["rounds"] == 9


def test_a_key_that_a_later_version_added_is_no_change(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, config())
    before = yaml.safe_load(path.read_text())
    del before["selection"]["admissions_per_label"]
    path.write_text(yaml.safe_dump(before))
    with pytest.raises(CampaignError, match=r"admissions_per_label: 2.0 before, 5.0 now"):
        settle_config(path, config(selection={"admissions_per_label": 5}))
    settle_config(path, config())
    assert yaml.safe_load(path.read_text())["selection"]["admissions_per_label"] == 2


def test_the_commented_file_reads_back_as_given():
    text = write_commented_yaml(CampaignConfig, GIVEN)
    assert CampaignConfig.model_validate(yaml.safe_load(text)) == config()


def test_the_reference_page_is_up_to_date():
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text() == write_reference_page(CampaignConfig), "run `make docs`"


def test_every_key_of_the_reference_has_a_meaning():
    for line in write_reference_page(CampaignConfig).splitlines():
        if line.startswith("| `") and not line.startswith("| `name`"):
            assert line.rstrip(" |").count("|") >= 4, line
