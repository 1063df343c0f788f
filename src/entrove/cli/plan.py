"""`entrove plan`: the estimated cost of a campaign."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from entrove.campaign.configuration.check import check_campaign
from entrove.campaign.configuration.places import (
    HERE,
    describe_overload,
    describe_places,
    places_of,
)
from entrove.campaign.configuration.settled import require_allowed
from entrove.campaign.plan import Plan, make_plan
from entrove.campaign.stages.unfinished import unfinished_stages
from entrove.cli.commands.options import print_json, say
from entrove.errors import CampaignError
from entrove.execution.settings import LocalExecution
from entrove.report.formatting import MISSING, format_duration
from entrove.threads import usable_threads

NARROW = 60
"""Columns of a terminal below which a table would be folded."""


def show_plan(config_path: Path, console: Console, *, as_json: bool = False) -> None:
    """Print labels, core hours, wall time and disk of a campaign run to its last round."""
    campaign = check_campaign(config_path, runs_here=False)
    plan = make_plan(campaign)
    if overload := describe_overload(campaign.config, usable_threads(0)):
        say(overload, to=console)
    if as_json:
        print_json(asdict(plan) | {"seeds": [seed.describe() for seed in campaign.seeds]})
        return
    _print_rows(plan, console)
    queued = not isinstance(campaign.config.labelling.executor, LocalExecution)
    console.print(_basis(plan, queued=queued), highlight=False, markup=False)
    if set(places_of(campaign.config).values()) != {HERE}:
        places = describe_places(campaign.config)
        say(f"{places[0].upper()}{places[1:]}.", to=console)
    say(f"{campaign.config.describe_selection()}.", to=console)
    if plan.labels_per_round is not None:
        selection = campaign.config.selection
        say(
            f"A round has about {plan.labels_per_round} labels instead of {selection.count}: more "
            f"would take longer than selection.budget_s={selection.budget_s:g}.",
            to=console,
        )
    if trials := campaign.config.training.describe_trials():
        say(f"In each round, {trials}.", to=console)
    if plan.half_width is not None and any(row.labels for row in plan.rows):
        console.print(
            f"Energy errors will be known to about {100 * plan.half_width:.0f} % (95 % interval, "
            "sampling.hold_out.interval).",
            highlight=False,
        )
    for seed in campaign.seeds:
        say(seed.describe(), to=console)
    workspace = campaign.workspace
    try:
        require_allowed(workspace.config, campaign.config, unfinished_stages(workspace))
    except CampaignError as error:
        say(f"'entrove run' will refuse to continue: {error}", to=console)


def _print_rows(plan: Plan, console: Console) -> None:
    """Print a table; on a narrow terminal, which would fold its cells, lines."""
    known = any(row.known for row in plan.rows)
    headings = ("labels", "core hours", "wall time", "disk", *(("known",) if known else ()))
    rows = [
        (
            str(row.labels),
            MISSING if row.core_hours is None else f"{row.core_hours:.2f}",
            MISSING if row.wall_hours is None else format_duration(3600 * row.wall_hours),
            f"{row.disk_MB:.0f} MB",
            *((str(row.known),) if known else ()),
        )
        for row in plan.rows
    ]
    if console.width < NARROW:
        for row, cells in zip(plan.rows, rows, strict=True):
            said = [f"{name} {cell}" for name, cell in zip(headings, cells, strict=True)]
            console.print(f"{row.what}: {', '.join(said)}", highlight=False, markup=False)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    for row, cells in zip(plan.rows, rows, strict=True):
        table.add_row(*map(Text, (row.what, *cells)))
    console.print(table)


def _basis(plan: Plan, *, queued: bool) -> str:
    """Say what the estimate rests on, and what it leaves out; `queued` where labels are jobs."""
    left_out = "Exploration, training and the wait for jobs to start are not included."
    if not queued:
        left_out = "Exploration and training are not included."
    if not any(row.labels for row in plan.rows):
        return f"No label is left to compute. {left_out}"
    if not plan.is_timed:
        return (
            "No label of this level of theory is known yet, and this engine can take any time: "
            f"from the first labels on, 'entrove plan' estimates it. {left_out}"
        )
    spread = (
        f"about two thirds of the labels take {plan.shortest_s:.2g} to {plan.longest_s:.2g} s each"
        if plan.longest_s < 1
        else f"about two thirds of the labels take {plan.shortest_s:.0f} to {plan.longest_s:.0f} "
        "s each"
    )
    source = (
        f"Estimated from {plan.observations} labels of this level of theory"
        if plan.observations
        else "No label of this level of theory is known yet; estimated from atoms, electrons and "
        "k-points"
    )
    return f"{source}: {spread}. {left_out}"
