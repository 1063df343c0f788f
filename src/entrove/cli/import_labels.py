"""`entrove import`: labels that were computed elsewhere become labels of a campaign."""

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from rich.console import Console

from entrove.campaign.configuration.check import read_campaign
from entrove.campaign.configuration.settled import with_settled_version
from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.stages.imported import corrected_held_out, enter_imported, to_train_on
from entrove.campaign.workspace import Workspace
from entrove.cli.commands.options import print_json, say
from entrove.counts import format_count
from entrove.errors import ConfigError
from entrove.formats import LabelKeys, read_frames
from entrove.labelling.labels import Label
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import ImportReport, import_labels
from entrove.labelling.store.moments import key_of
from entrove.structures import content_hash, species_of


@dataclass(frozen=True)
class _Entered:
    """What became of labels that are to be trained on.

    Attributes:
        trained_on: Labels that the campaign trains on from its next training on.
        held_out: Labels of the validation or test set, which are not trained on.
        of_several_states: Structures with labels of more than one magnetic state.
    """

    trained_on: int
    held_out: int
    of_several_states: int


def import_files(
    config_path: Path,
    files: Sequence[Path],
    folder: Path | None,
    *,
    same_level: bool,
    console: Console,
    keys: LabelKeys | None = None,
    train: bool = False,
    replace: bool = False,
    as_json: bool = False,
) -> None:
    """Put the labels of files into the campaign's cache, at its level of theory.

    With `train` the campaign trains on them, selects what is new to them and explores away from
    them; with `replace` they take the place of labels that were imported earlier.

    Raises `ConfigError` unless the user confirms, by `same_level`, that they have this level,
    and for labels to be trained on that hold other elements than the seeds;
    `CampaignError` when they are to be trained on while the campaign runs.
    """
    config, seeds = read_campaign(config_path)
    workspace = Workspace((folder or config_path.parent / config.folder).resolve())
    config = with_settled_version(config, workspace.config)
    level = LevelOfTheory.of(config.labelling.engine)
    if not same_level:
        settings = "\n".join(f"  {key}: {value}" for key, value in level.settings_dict().items())
        raise ConfigError(
            "the files do not say how they were computed, and "
            f"labels of two levels of theory cannot be one dataset. {config_path} labels with "
            f"engine {level.engine} and\n{settings}\nGive --same-level if the files were computed "
            "with exactly these settings; otherwise let the campaign label the structures itself"
        )
    if train:
        _refuse_foreign_elements(files, keys, species_of([seed.atoms for seed in seeds]))
    labelled: list[Atoms] = []
    reports: list[tuple[Path, ImportReport]] = []

    def keep(atoms: Atoms, label: Label) -> None:
        if train:
            labelled.append(to_train_on(atoms, label))

    if train:
        workspace.folder.mkdir(parents=True, exist_ok=True)
    with (
        hold_campaign(workspace.folder) if train else contextlib.nullcontext(),
        LabelCache(config.labelling.cache or workspace.label_cache) as cache,
    ):
        for path in files:
            report = import_labels(
                path,
                level,
                cache,
                config.labelling.sanity,
                keys=keys,
                replacing=replace,
                on_label=keep,
            )
            reports.append((path, report))
            if not as_json:
                _print_report(path, report, workspace.folder, console)
        entered = None
        if train:
            counts = enter_imported(workspace, labelled, cache)
            entered = _Entered(*counts, _of_several_states(labelled))
        validated_on = corrected_held_out(workspace, cache)
    if as_json:
        print_json(_as_json(reports, entered, validated_on))
        return
    say(_describe(entered), to=console)
    if entered is None and any(report.replaced for _, report in reports):
        say(
            "where the campaign trains on the labels that were replaced, the next 'entrove run' "
            "takes the corrected ones",
            to=console,
        )
    if validated_on:
        say(
            f"{validated_on} labels of the validation or test set were corrected: the next "
            "'entrove run' takes the corrected ones, and validates all models again",
            to=console,
        )


def _refuse_foreign_elements(
    files: Sequence[Path], keys: LabelKeys | None, species: Sequence[str]
) -> None:
    """Raise `ConfigError`, before anything is stored, for elements that no seed has."""
    for path in files:
        for frame in read_frames(path, keys):
            foreign = set() if frame.atoms is None else {*frame.atoms.symbols} - {*species}
            if foreign:
                raise ConfigError(
                    f"{frame.where} holds {', '.join(sorted(foreign))}, which no seed of this "
                    f"campaign has ({', '.join(species)}): nothing was imported. Leave such "
                    "structures out of the file, or choose the campaign that they belong to"
                )


def _describe(entered: _Entered | None) -> str:
    if entered is None:
        return (
            "they are used only where the campaign asks for exactly these structures; to "
            "train on them, and to explore away from them, import them with --train"
        )
    text = f"{entered.trained_on} labels are trained on from the next training of 'entrove run' on"
    if entered.held_out:
        text += f"; {entered.held_out} are in the validation or test set, and are not"
    if entered.of_several_states:
        text += (
            f"; warning: {entered.of_several_states} structures have labels of more than one "
            "magnetic state, between which a potential without moments cannot tell: leave one out"
        )
    return text


def _as_json(
    reports: Sequence[tuple[Path, ImportReport]], entered: _Entered | None, validated_on: int
) -> dict[str, object]:
    files = [
        {
            "file": path,
            "import_id": report.import_id,
            "stored": report.stored,
            "known": report.known,
            "replaced": report.replaced,
            "refused": [
                {"source": refused.source, "structure": refused.index, "cause": refused.cause}
                for refused in report.refused
            ],
            "conventions": report.conventions,
        }
        for path, report in reports
    ]
    return {"files": files, "training": entered, "validated_on": validated_on}


def _of_several_states(labelled: Sequence[Atoms]) -> int:
    """Structures with labels of more than one magnetic state."""
    states: dict[str, set[str]] = {}
    for atoms in labelled:
        states.setdefault(content_hash(atoms), set()).add(key_of(atoms))
    return sum(len(found) > 1 for found in states.values())


def _print_report(path: Path, report: ImportReport, folder: Path, console: Console) -> None:
    counts = f"{format_count(report.stored, 'label')} imported, {report.known} known before"
    if report.replaced:
        counts += f", {report.replaced} replaced"
    lines = [f"{path}: {counts}, {len(report.refused)} refused"]
    lines += [f"  {line}" for line in report.conventions]
    lines += [f"  {refused.where}: {refused.cause}" for refused in report.refused]
    if report.import_id is not None:
        lines.append(
            f"  import {report.import_id}; 'entrove labels {shlex.quote(str(folder))} --withdraw "
            f"{report.import_id}' removes it"
        )
    for line in lines:
        say(line, to=console)
