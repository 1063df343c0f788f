"""Find a campaign by any path that a user may give: its configuration or its folder."""

import shlex
from pathlib import Path

import yaml

from entrove.campaign.configuration.config_file import load_yaml
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError, ConfigError

FILE_NAME = "campaign.yaml"
"""Name of the configuration that `entrove init` writes."""

_DEFAULT_FOLDER = "campaign"


def find_config(path: Path) -> Path:
    """Return the configuration file that a path stands for.

    Args:
        path: The file, a folder with a `campaign.yaml` (as `entrove init` makes it), or the folder
            of a campaign, whose configuration is looked for beside it.

    Raises `ConfigError` for a folder that leads to no configuration, or to several.
    """
    if not path.is_dir():
        return path
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    folder = path.resolve()
    found = [
        candidate
        for pattern in ("*.yaml", "*.yml")
        for candidate in sorted(folder.parent.glob(pattern))
        if folder_of(candidate) == folder
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(candidate.name for candidate in found)
    what = f"{names} all name it" if found else f"no {FILE_NAME} in it, and none beside names it"
    raise ConfigError(
        f"{path}: a folder, and it is not clear of which configuration ({what}); give the file"
    )


def find_campaign_folder(path: Path) -> Path:
    """Return the folder of a campaign that a path stands for.

    Args:
        path: The folder, its configuration file, or the folder with a `campaign.yaml`.

    Raises `CampaignError` where nothing was started yet.
    """
    if Workspace(path).holds_campaign():
        return path
    config = path / FILE_NAME if path.is_dir() else path
    folder = folder_of(config) if config.is_file() else None
    if folder is not None and Workspace(folder).holds_campaign():
        return folder
    where = f"{path}: holds no campaign (no {Workspace(path).ledger.name})"
    if folder is not None:
        raise CampaignError(
            f"{where}, and none was started in {folder}; start it with: entrove run "
            f"{shlex.quote(str(config))}"
        )
    raise CampaignError(f"{where}; give the folder that 'entrove run' wrote, or its configuration")


def folder_of(config: Path) -> Path | None:
    """Return the campaign folder that a configuration names, valid or not; else None."""
    try:
        values = load_yaml(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    if not isinstance(values, dict) or "seeds" not in values:
        return None
    return (config.parent / str(values.get("folder", _DEFAULT_FOLDER))).resolve()
