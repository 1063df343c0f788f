"""The configuration that a campaign was started with, and what may still change."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from entrove import provenance
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import format_key_path, load_yaml
from entrove.campaign.journal.damage import damaged
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.files import replace_text
from entrove.labelling.engines.mlip import Mlip
from entrove.labelling.level_of_theory import LEVEL_FILE, LevelOfTheory, read_level
from entrove.structures import is_readable, read_structures

logger = logging.getLogger(__name__)

KeyPath = tuple[str | int, ...]

_HEADER = (
    "# The configuration of this campaign with every key resolved, written by entrove. "
    "Edit your own file instead.\n"
)

FREE_TO_CHANGE = (
    ("stopping",),
    ("validation",),
    ("suite",),
    ("regime", "non_magnetic"),
    ("model", "device"),
    ("model", "threads"),
    ("model", "verify_batching"),
    ("labelling", "executor"),
    ("training", "executor"),
    ("sampling", "executor"),
    ("labelling", "time_limit_s"),
    ("labelling", "longer_try_factor"),
    ("labelling", "max_attempts"),
    ("labelling", "keep_folders"),
    ("labelling", "cache"),
    ("labelling", "stress_check"),
    ("labelling", "kpoint_check"),
    ("labelling", "engine", "denser_arguments"),
    ("labelling", "engine", "command"),
    ("labelling", "engine", "pseudopotential_folder"),
    ("labelling", "engine", "potential_folder"),
    ("labelling", "engine", "data_folder"),
    ("labelling", "engine", "device"),
    ("labelling", "engine", "max_scf_steps"),
    ("folder",),
)
"""Keys that determine how much is computed, or where, but not what."""

OF_TEACHER: KeyPath = ("labelling", "engine", "model")
"""A model that is a file, by its path, which changes when a campaign is moved or copied.

The level of theory has its content, and decides whether it is another one.
"""

WITH_A_NEW_STAGE: dict[str, tuple[KeyPath, ...]] = {
    "explore": (("regime", "temperatures_K"), ("sampling",), ("entropy",)),
    "select": (("selection",),),
    "train": (("training",),),
}
"""Keys that the next stage of this name takes: what is finished stays as it is."""

FILTERS_OF_ADMISSIONS = ("least_gain", "duplicate_tolerance", "storage")
"""Keys of the selection that decide which snapshots join the dataset of the walkers."""

OF_ADMISSIONS: tuple[KeyPath, ...] = tuple(
    ("selection", name) for name in ("count", *FILTERS_OF_ADMISSIONS)
)
"""Keys of the selection that an exploration, too, goes on with until it is finished."""

FIXED: dict[KeyPath, str] = {
    ("labelling", "engine"): "labels of two levels of theory cannot be one dataset",
    ("seeds",): "the phases were relaxed at the start",
    ("regime", "pressures_GPa"): "the phases were relaxed at the start",
    ("sampling", "anchors"): "the anchors were made at the start",
    ("sampling", "hold_out"): "the validation set was made at the start",
    ("selection", "admissions_per_label"): "walkers of all rounds are driven alike",
    ("training", "framework"): "it is that of the model, which is fixed",
}
"""Keys within the groups above, or asked for often, that cannot change, and why."""

BEFORE_THEY_EXISTED: dict[KeyPath, Any] = {
    ("selection", "phase_share"): 0.0,
    ("sampling", "hold_out", "interval"): None,
    ("sampling", "hold_out", "test"): False,
}
"""What was done before a key existed, where that is not its default."""


@dataclass(frozen=True)
class Change:
    """A key that differs from the value with which a campaign was started."""

    key: KeyPath
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{format_key_path(self.key)}: {_say(self.before)} before, {_say(self.now)} now"

    @property
    def stage(self) -> str | None:
        """The stage whose next run takes the new value; None when it takes effect at once."""
        if _is_below(self.key, FREE_TO_CHANGE):
            return None
        for stage, keys in WITH_A_NEW_STAGE.items():
            if _is_below(self.key, keys):
                return stage
        return None

    def concerns(self, stage: str) -> bool:
        """Whether a stage that was interrupted would go on otherwise."""
        return self.stage == stage or (stage == "explore" and _is_below(self.key, OF_ADMISSIONS))

    @property
    def allowed(self) -> bool:
        """Whether a campaign that has begun can take the new value."""
        if _is_below(self.key, FREE_TO_CHANGE):
            return True
        return self.stage is not None and not _is_below(self.key, tuple(FIXED))


def _say(value: Any) -> str:
    return "not set" if value is None else repr(value)


def find_changes(path: Path, config: CampaignConfig) -> list[Change]:
    """List the keys that differ from the configuration of a campaign that has begun.

    Args:
        path: The resolved configuration in the folder of the campaign; it need not exist.
        config: The configuration now.
    """
    if not path.exists():
        return []
    found = read_settled(path).model_dump(mode="json")
    wanted = as_started(path, config).model_dump(mode="json")
    changes = [
        Change(key, _look_up(found, key), _look_up(wanted, key))
        for key in _differences(found, wanted)
    ]
    return [
        change
        for change in changes
        if not (change.key == OF_TEACHER and _has_level_of_labels(path.parent, config))
    ]


def _has_level_of_labels(folder: Path, config: CampaignConfig) -> bool:
    """Whether the labels of a campaign, if it has any, are of the level of theory asked for.

    The level is the recorded one: a file that has computed it may be gone.
    """
    files = Workspace(folder)
    if (files.label_work / LEVEL_FILE).exists():
        recorded = {read_level(files.label_work).hash}
    else:
        recorded = {
            str(atoms.info.get(provenance.LEVEL_OF_THEORY))
            for path in (files.validation, files.dataset)
            if is_readable(path)  # the next run restores a damaged one
            for atoms in read_structures(path, may_be_empty=True)
        }
    return recorded <= {LevelOfTheory.of(config.labelling.engine).hash}


def as_started(path: Path, config: CampaignConfig) -> CampaignConfig:
    """Return a configuration without what a campaign was started too early for.

    Args:
        path: The resolved configuration in the folder of the campaign; it need not exist.
        config: The configuration now.

    Keys that did not exist at the start and concern what was made then keep what was done before
    they existed: an old campaign has no test set, and cannot get one.
    """
    if not path.exists():
        return config
    before = _read_yaml(path)
    values = config.model_dump(mode="json")
    for key, value in BEFORE_THEY_EXISTED.items():
        if _is_below(key, tuple(FIXED)) and not _has(before, key):
            _look_up(values, key[:-1])[key[-1]] = value
    return CampaignConfig.model_validate(values)


def settle_config(
    path: Path, config: CampaignConfig, unfinished: Mapping[str, Path] | None = None
) -> None:
    """Write the resolved configuration, once all changes since the start can be taken.

    Args:
        path: The resolved configuration in the folder of the campaign.
        config: The configuration now.
        unfinished: Names of stages that were interrupted, and what they have written: they go on
            with the values that they began with.

    Raises `CampaignError` when a key that determines what was computed already differs.
    """
    for change in require_allowed(path, config, unfinished):
        if change.stage is not None:
            logger.info("taken from the next stage '%s' on: %s", change.stage, change)
    config = as_started(path, config)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    replace_text(path, _HEADER + text)


def require_allowed(
    path: Path, config: CampaignConfig, unfinished: Mapping[str, Path] | None = None
) -> list[Change]:
    """Return the changes since the start of a campaign; nothing is written.

    Args:
        path: The resolved configuration in the folder of the campaign; it need not exist.
        config: The configuration now.
        unfinished: As for `settle_config`.

    Raises `CampaignError` when one of them cannot be taken.
    """
    changes = find_changes(path, config)
    refused = [change for change in changes if not change.allowed]
    if refused:
        listing = "; ".join(map(str, refused[:5]))
        reasons = sorted({FIXED[key] for key in FIXED if _concerns(key, refused)})
        because = f" ({'; '.join(reasons)})" if reasons else ""
        raise CampaignError(
            f"{path.parent}: this campaign was started with another configuration "
            f"({listing}); put the old values back, or choose another folder with --folder"
            f"{because}. What may change: stopping, training but for framework, selection but "
            "for admissions_per_label, entropy, validation, suite, temperatures, sampling but "
            "for anchors and hold_out, executors, how long labels are computed"
        )
    if path.exists():
        _require_same_teacher(path.parent, config)
    for stage, begun in (unfinished or {}).items():
        for change in changes:
            if change.concerns(stage):
                raise CampaignError(
                    f"{path.parent}: the stage '{stage}' was interrupted and goes on with the "
                    f"values that it began with ({change}); put the old value back until it is "
                    f"finished, or remove {begun} to begin this stage again"
                )
    return changes


def _require_same_teacher(folder: Path, config: CampaignConfig) -> None:
    """Refuse a teacher under the path of before whose labels are of another level of theory.

    Its next labels would be refused, after an exploration. Raises `CampaignError`.
    """
    engine, work = config.labelling.engine, Workspace(folder).label_work
    if not isinstance(engine, Mlip) or _has_level_of_labels(folder, config):
        return
    recorded = read_level(work).settings_dict() if (work / LEVEL_FILE).exists() else {}
    if recorded.get("model") == engine.model:
        raise CampaignError(
            f"{folder}: {format_key_path(OF_TEACHER)}: an earlier version of Entrove recorded "
            f"{engine.model} by its path, which has an at sign, and not by the content of the "
            "file, so that nothing says whether its labels are those of this file; choose another "
            "folder with --folder, where all labels are computed again"
        )
    raise CampaignError(
        f"{folder}: {format_key_path(OF_TEACHER)}: {engine.model} is not what has computed the "
        "labels of this campaign; put the old file back, or choose another folder with --folder"
    )


def _concerns(key: KeyPath, changes: list[Change]) -> bool:
    return any(_is_below(change.key, (key,)) for change in changes)


def _is_below(key: KeyPath, groups: tuple[KeyPath, ...]) -> bool:
    return any(key[: len(group)] == group for group in groups)


def read_settled(path: Path) -> CampaignConfig:
    """Read the configuration of a campaign; keys that were added since mean what was done before.

    That is their default, or a value of `BEFORE_THEY_EXISTED`. The version of this file's
    format is that of the folder, which is in the ledger. Raises `CampaignError` when the file is
    damaged, or has keys that this version does not know.
    """
    values = _read_yaml(path)
    # Earlier versions stored this key of gains for control arms, too.
    if values.get("control") and isinstance(stopping := values.get("stopping"), dict):
        stopping.pop("least_predicted_improvement", None)
    try:
        for key, before in BEFORE_THEY_EXISTED.items():
            if isinstance(section := _look_up(values, key[:-1]), dict):
                section.setdefault(key[-1], before)
        return CampaignConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{format_key_path(problem['loc'])}: {problem['msg']}"
            for problem in error.errors()[:5]
        )
        raise CampaignError(
            f"{path}: this version of Entrove does not understand the configuration that the "
            f"campaign was started with ({problems}); use the version that started it"
        ) from error


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read what `settle_config` wrote; raises `CampaignError` when it is something else."""
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        what = f"line {mark.line + 1} is not valid YAML" if mark else "it is no text"
        raise damaged(path, what) from error
    if not isinstance(values, dict):
        raise damaged(path, "it is empty" if values is None else "it has no keys")
    return values


def _has(values: Any, key: KeyPath) -> bool:
    section = _look_up(values, key[:-1])
    return isinstance(section, dict) and key[-1] in section


def with_settled_version(config: CampaignConfig, settled: Path) -> CampaignConfig:
    """Leave the engine's version out of a campaign that was started before versions counted.

    Args:
        config: The configuration, its engine bound to the version that is installed.
        settled: The file that `settle_config` writes; it need not exist.

    The labels of such a campaign have a level of theory without a version. It goes on with that
    level, and only with labels of the version that has computed the others.
    """
    if not settled.is_file():
        return config
    engine = config.labelling.engine
    if read_settled(settled).labelling.engine.program_version or not engine.program_version:
        return config
    unversioned = engine.model_copy(update={"program_version": ""})
    labelling = config.labelling.model_copy(update={"engine": unversioned})
    return config.model_copy(update={"labelling": labelling})


def _differences(found: Any, wanted: Any, at: KeyPath = ()) -> list[KeyPath]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            different
            for key in {**found, **wanted}
            for different in _differences(found.get(key), wanted.get(key), (*at, key))
        ]
    return [] if found == wanted else [at]


def _look_up(values: Any, key: KeyPath) -> Any:
    for part in key:
        values = values.get(part) if isinstance(values, dict) else None
    return values
