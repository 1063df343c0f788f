"""`entrove labels`: the labels of a campaign and their states."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from entrove.campaign.read import read_label_cache
from entrove.cli.progress import format_duration
from entrove.labelling.label import Outcome
from entrove.labelling.listing import list_states, release_quarantined, unfinished_structures


def list_labels(folder: Path, *, retry: bool, console: Console) -> None:
    """Print one line a label; with `retry`, release those in quarantine first."""
    cache, work_folder = read_label_cache(folder)
    with cache:
        if retry:
            released = release_quarantined(work_folder, cache)
            console.print(
                f"released {len(released)} labels; the next round of 'entrove run' tries them again"
            )
        table = Table(box=None, pad_edge=False)
        for heading in ("structure", "formula", "state", "tries", "time", "cause"):
            table.add_column(heading, overflow="fold")
        states = list_states(work_folder, cache)
        for state in states:
            table.add_row(
                state.structure_hash[:10],
                state.formula,
                str(state.outcome),
                str(state.attempts),
                format_duration(state.engine_seconds),
                state.cause,
            )
        for structure_hash in unfinished_structures(work_folder, cache):
            table.add_row(structure_hash[:10], "", "unfinished", "", "", "running, or interrupted")
        console.print(table)
        failed = sum(state.outcome is not Outcome.CONVERGED for state in states)
        seconds = sum(state.engine_seconds for state in states)
        console.print(
            f"{len(states)} labels, {failed} in quarantine, {format_duration(seconds)} of engine time",
            highlight=False,
        )
