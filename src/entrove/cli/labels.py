"""`entrove labels`: the labels of a campaign and their states."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.results.labels import CampaignLabels, open_labels
from entrove.cli.progress import format_duration
from entrove.labelling.labels import Outcome
from entrove.labelling.store.listing import list_states, release_quarantined, unfinished_structures


def list_labels(folder: Path, *, retry: bool, console: Console) -> None:
    """Print one line per label, and the folder of each in quarantine.

    With `retry` those are released first. Raises `CampaignError` when labels are to be released
    while the campaign runs.
    """
    labels = open_labels(folder)
    with labels.cache:
        if retry:
            _release(labels, console)
        table = Table(box=None, pad_edge=False)
        for heading in ("structure", "formula", "state", "tries", "time", "cause"):
            table.add_column(heading, overflow="fold")
        states = list_states(labels.work_folder, labels.cache, labels.structure_hashes)
        for state in states:
            table.add_row(
                state.structure_hash[:10],
                state.formula,
                str(state.outcome),
                str(state.attempts),
                format_duration(state.engine_seconds),
                state.cause,
            )
        for structure_hash in unfinished_structures(labels.work_folder, labels.cache):
            table.add_row(structure_hash[:10], "", "unfinished", "", "", "running, or interrupted")
    console.print(table)
    failed = [state for state in states if state.outcome is not Outcome.CONVERGED]
    for state in failed:
        console.print(
            f"{state.structure_hash[:10]} in quarantine: {state.folder}",
            highlight=False,
            soft_wrap=True,
        )
    seconds = sum(state.engine_seconds for state in states)
    console.print(
        f"{len(states)} labels, {len(failed)} in quarantine, {format_duration(seconds)} of "
        "engine time",
        highlight=False,
    )


def _release(labels: CampaignLabels, console: Console) -> None:
    # A campaign that runs reads these folders and this cache at any moment.
    with hold_campaign(labels.folder):
        released = release_quarantined(labels.work_folder, labels.cache, labels.structure_hashes)
    console.print(f"released {len(released)} labels; the next 'entrove run' tries them again")
