"""`entrove labels`: the labels of a campaign and their states, and the files of imported ones."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.results.imports import open_imports
from entrove.campaign.results.labels import CampaignLabels, open_labels
from entrove.campaign.stages.imported import withdraw_import
from entrove.cli.commands.options import print_json, say
from entrove.cli.progress import format_duration
from entrove.labelling.labels import Outcome
from entrove.labelling.store.cache import LabelState
from entrove.labelling.store.listing import list_states, release_quarantined, unfinished_structures
from entrove.labelling.store.moments import short_key

NARROW = 70
"""Columns of a terminal below which a table would fold each of its cells."""
UNFINISHED = "running, or interrupted"


def list_labels(folder: Path, *, retry: bool, console: Console, as_json: bool = False) -> None:
    """Print one line per label, and the folder of each in quarantine; or all of it as JSON.

    With `retry` those are released first. Raises `CampaignError` when labels are to be released
    while the campaign runs.
    """
    labels = open_labels(folder, read_only=not retry)
    with labels.cache:
        released = _release(labels, console) if retry else 0
        states = list_states(labels.work_folder, labels.cache, labels.structure_hashes)
        without_label = unfinished_structures(labels.work_folder, labels.cache)
        unfinished = [key for key in without_label if key not in labels.finished]
        lost = [key for key in without_label if key in labels.finished]
        if as_json:
            print_json(
                {"labels": states, "unfinished": unfinished, "lost": lost, "released": released}
            )
            return
    show = _print_lines if console.width < NARROW else _print_table
    show(states, unfinished, console)
    failed = [state for state in states if state.outcome is not Outcome.CONVERGED]
    for state in failed:
        say(f"{short_key(state.key)} in quarantine: {state.folder}", to=console)
    seconds = sum(state.engine_seconds for state in states)
    console.print(
        f"{len(states)} labels, {len(failed)} in quarantine, {format_duration(seconds)} of "
        "engine time",
        highlight=False,
    )
    if lost:
        say(
            f"warning: {len(lost)} finished labels are missing in {labels.cache.path}; restore "
            "that file from a backup. Those that converged are in dataset.xyz, validation.xyz and "
            "test.xyz",
            to=console,
        )


def _print_table(
    states: Sequence[LabelState], unfinished: Sequence[str], console: Console
) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("structure", "formula", "state", "tries", "time", "cause"):
        table.add_column(heading, overflow="fold")
    for state in states:
        cells = (
            short_key(state.key),
            state.formula,
            str(state.outcome),
            str(state.attempts),
            format_duration(state.engine_seconds),
            state.cause,
        )
        table.add_row(*map(Text, cells))
    for key in unfinished:
        table.add_row(short_key(key), "", "unfinished", "", "", UNFINISHED)
    console.print(table)


def _print_lines(
    states: Sequence[LabelState], unfinished: Sequence[str], console: Console
) -> None:
    """The same for a narrow terminal: what a table would fold goes on the next lines."""
    for state in states:
        tries = "" if state.attempts == 1 else f", {state.attempts} tries"
        lines = [
            f"{short_key(state.key)} {state.formula}",
            f"  {state.outcome}, {format_duration(state.engine_seconds)}{tries}",
        ]
        lines += [f"  {state.cause}"] if state.cause else []
        console.print("\n".join(lines), highlight=False, markup=False)
    for key in unfinished:
        console.print(f"{short_key(key)}\n  unfinished: {UNFINISHED}", highlight=False)


def list_imports(path: Path, console: Console, *, as_json: bool = False) -> None:
    """Print one line per file whose labels were imported, with its number.

    Args:
        path: Folder of a campaign, started or not, or its configuration.
        console: Where it is printed.
        as_json: Print JSON instead.
    """
    with open_imports(path, read_only=True).cache as cache:
        records = cache.imports()
    if as_json:
        print_json(records)
        return
    if not records:
        console.print("no labels were imported", highlight=False)
    for record in records:
        say(
            f"import {record.id}: {record.labels} labels of {record.source}, "
            f"{record.imported_utc}",
            to=console,
        )
        for line in record.conventions.splitlines():
            say(f"  {line}", to=console)


def withdraw(path: Path, import_id: int, console: Console, *, as_json: bool = False) -> None:
    """Remove the labels of an import from the cache and from what the campaign trains on.

    Raises `CampaignError` while the campaign runs, `LabelError` when there is no such import.
    """
    imports = open_imports(path)
    # With a shared cache a campaign that was not started has no folder yet.
    imports.workspace.folder.mkdir(parents=True, exist_ok=True)
    with imports.cache as cache, hold_campaign(imports.workspace.folder):
        gone = withdraw_import(imports.workspace, cache, import_id)
    if as_json:
        print_json({"import_id": import_id, "cache": imports.cache.path} | asdict(gone))
        return
    say(
        f"withdrew import {import_id}: {gone.labels} labels removed from {imports.cache.path}, "
        f"{gone.trained_on} of them were trained on; the next 'entrove run' trains without them, "
        "and computes those of structures that the campaign has picked",
        to=console,
    )
    if gone.validated_on:
        say(
            f"warning: {gone.validated_on} of them are in the validation or test set, which stays "
            "as it is; for another one start a new campaign folder",
            to=console,
        )


def _release(labels: CampaignLabels, console: Console) -> int:
    # A campaign that runs reads these folders and this cache at any moment.
    with hold_campaign(labels.folder):
        released = release_quarantined(labels.work_folder, labels.cache, labels.structure_hashes)
    console.print(f"released {len(released)} labels; the next 'entrove run' tries them again")
    return len(released)
