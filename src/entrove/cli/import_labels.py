"""`entrove import`: labels that were computed elsewhere become labels of a campaign."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from entrove.campaign.configuration.check import read_campaign
from entrove.campaign.workspace import Workspace
from entrove.errors import ConfigError
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels


def import_files(
    config_path: Path,
    files: Sequence[Path],
    folder: Path | None,
    *,
    same_level: bool,
    console: Console,
) -> None:
    """Put the labels of files into the campaign's cache, at its level of theory.

    Raises `ConfigError` unless the user confirms, by `same_level`, that they have this level.
    """
    config, _ = read_campaign(config_path)
    level = LevelOfTheory.of(config.labelling.engine)
    if not same_level:
        settings = "\n".join(f"  {key}: {value}" for key, value in level.settings_dict().items())
        raise ConfigError(
            f"labels of two levels of theory cannot be one dataset. {config_path} labels with "
            f"engine {level.engine} and\n{settings}\nGive --same-level if the files were computed "
            "with exactly these settings; otherwise let the campaign label the structures itself"
        )
    workspace = Workspace((folder or config_path.parent / config.folder).resolve())
    with LabelCache(config.labelling.cache or workspace.label_cache) as cache:
        for path in files:
            report = import_labels(path, level, cache, config.labelling.sanity)
            console.print(
                f"{path}: {report.stored} labels imported, {report.known} known before, "
                f"{len(report.refused)} refused",
                highlight=False,
                soft_wrap=True,
            )
            for index, problem in report.refused:
                console.print(
                    f"  structure {index}: {problem}",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )
