"""What `entrove status` prints: progress and results of a campaign, from 40 columns on."""

import io
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from entrove.campaign.results.results import CampaignResults, ModelErrors
from entrove.counts import format_count
from entrove.labelling.store.moments import short_key
from entrove.report.formatting import (
    decimals_for,
    format_column,
    format_duration,
    format_interval,
    is_number,
    plain_words,
)
from entrove.report.summary import (
    COLUMNS,
    ErrorChange,
    PhaseLabels,
    error_changes,
    error_of,
    errors_to_compare,
    gains_by_round,
    interval_of,
    labels_by_phase,
    models_in_order,
    outcomes_by_purpose,
    quarantined,
    refusal,
    stage_totals,
)
from entrove.report.tables import larger_parts, worse_parts
from entrove.validation.comparison import Comparison
from entrove.validation.suite.result import Outcome

MOST_QUARANTINED = 5

NARROW = 60
"""In a terminal with fewer columns, tables are close together and have no intervals."""


def status(results: CampaignResults) -> RenderableType:
    """Return progress and results of a campaign, for a console of rich with at least 40 columns.

    Args:
        results: What `read_results(folder)` returns.
    """
    return _Status(results)


@dataclass(frozen=True)
class _Status:
    """Progress and results, for the width that there is when they are printed."""

    results: CampaignResults

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Group]:
        del console
        yield _status(self.results, narrow=options.max_width < NARROW)


def _status(results: CampaignResults, *, narrow: bool) -> Group:
    parts: list[RenderableType] = [_heading(results), Text(), _facts(results)]
    indent = 0 if narrow else 2
    for title, part in (
        (
            "Test errors (MAE), on structures that no decision has used",
            _test_errors(results, narrow),
        ),
        ("Validation errors (MAE)", _errors(results, narrow)),
        ("No tuned model is accepted", _refused(results)),
        ("Checks of the model that is kept", _checks(results)),
        ("Information added by training labels", _gains(results, narrow)),
        ("Labels by phase", _phases(results, narrow)),
        ("Quarantined labels", _quarantine(results)),
        ("Wall time by stage", _stages(results)),
    ):
        if part is not None:
            parts += [Text(), Text(title, style="bold"), Padding(part, (0, 0, 0, indent))]
    return Group(*parts)


def summary_text(results: CampaignResults, width: int = 80) -> str:
    """Return progress and results of a campaign as plain text, for logs and pipes.

    Args:
        results: What `read_results(folder)` returns.
        width: Largest number of characters per line, at least 40.
    """
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system=None,
        force_terminal=False,
        legacy_windows=False,
    )
    console.print(status(results))
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _heading(results: CampaignResults) -> Text:
    state = ("finished", "green") if results.finished else ("not finished", "yellow")
    return Text.assemble((results.name, "bold"), ": ", state, "\n", results.verdict)


def _facts(results: CampaignResults) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    # Fewer may be planned now than were done.
    planned = max(results.rounds_planned, results.rounds_done)
    rows = [("rounds", f"{results.rounds_done} of {planned} done")]
    for purpose, outcomes in outcomes_by_purpose(results.labels).items():
        counts = ", ".join(
            f"{count} {plain_words(outcome)}" for outcome, count in outcomes.items()
        )
        rows.append((f"{plain_words(purpose)} labels", counts))
    if not results.labels:
        rows.append(("labels", "none yet"))
    used = "to be trained on" if results.imports_wait else "trained on"
    imported = [f"{results.imported} {used}"] if results.imported else []
    if results.imported_not_trained_on:
        known = results.imported_not_trained_on
        imported.append(f"{known} used only where exactly these structures are asked for")
    if imported:
        rows.append(("imported labels", ", ".join(imported)))
    restarts = sum(row.restarts for row in results.walkers)
    if results.walkers:
        rows.append(
            (
                "walkers",
                f"{format_count(len(results.walkers), 'run')}, "
                f"{format_count(restarts, 'restart')}",
            )
        )
    rows += [
        ("model", results.foundation_model),
        ("level of theory", results.level_of_theory),
        *(
            [("warning", results.kpoints.describe())]
            if results.kpoints and results.kpoints.beyond
            else []
        ),
        ("folder", str(results.folder)),
    ]
    for name, value in rows:
        grid.add_row(Text(name), Text(value))
    return grid


def _table(heads: Iterable[tuple[str, bool]], narrow: bool = False) -> Table:
    gap = 1 if narrow else 2
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for title, numeric in heads:
        table.add_column(Text(title), justify="right" if numeric else "left", overflow="fold")
    return table


def _errors(results: CampaignResults, narrow: bool) -> RenderableType | None:
    models = models_in_order(results.errors)
    if not models:
        return None
    table = _error_table(results.errors, narrow)
    changes = error_changes(errors_to_compare(results), results.comparison)
    if all(change.tuned is None for change in changes):
        return table
    described = describe_changes(changes)
    if 0 < results.best_round < models[-1].round:
        described = f"round {results.best_round} is the best: {described}"
    return Group(table, Text(described), *named_worse(results.comparison))


def _test_errors(results: CampaignResults, narrow: bool) -> RenderableType | None:
    if not results.test:
        return None
    described = describe_changes(error_changes(results.test, results.test_comparison))
    table = _error_table(results.test, narrow)
    return Group(table, Text(described), *named_worse(results.test_comparison))


def _error_table(rows: Sequence[ModelErrors], narrow: bool) -> RenderableType:
    """Total errors of each model, with confidence intervals below them."""
    has_hidden = False
    models = models_in_order(rows)
    heads = [(f"{quantity.title.lower()}\n{quantity.unit_ascii}", True) for quantity in COLUMNS]
    table = _table([("model", False), *heads], narrow)
    values = [[error_of(rows, key, quantity) for key in models] for quantity in COLUMNS]
    columns = [format_column(column) for column in values]
    for index, key in enumerate(models):
        table.add_row(Text(key.title), *(Text(column[index]) for column in columns))
        intervals = [
            format_interval(interval_of(rows, key, quantity), decimals_for(column), between="-")
            if is_number(column[index])
            else ""
            for quantity, column in zip(COLUMNS, values, strict=True)
        ]
        if any(intervals) and not narrow:
            table.add_row(Text(""), *(Text(interval, style="dim") for interval in intervals))
        has_hidden |= any(intervals) and narrow
    if has_hidden:
        return Group(table, Text("intervals: in a wider terminal, or with --json", style="dim"))
    return table


def describe_changes(changes: Iterable[ErrorChange]) -> str:
    """Describe how the errors changed, in one line."""
    return ", ".join(f"{change.quantity.title.lower()} {change.description}" for change in changes)


def named_worse(comparison: Comparison | None) -> list[Text]:
    """Name what got worse than the untuned model, beyond its confidence interval or within it."""
    parts = (
        ("worse", worse_parts(comparison)),
        ("larger, within noise", larger_parts(comparison)),
    )
    return [
        Text(f"{title}: {'; '.join(phrases)}", style="yellow")
        for title, phrases in parts
        if phrases
    ]


def _refused(results: CampaignResults) -> Group | None:
    lines = refusal(results)
    return Group(*map(Text, lines)) if lines else None


def _checks(results: CampaignResults) -> Group | None:
    if results.suite is None:
        return None
    failed = [
        Text.assemble(("failed ", "red"), f"{check.title}: {check.sentence}")
        for check in results.suite.failed
    ]
    passed = sum(check.outcome is Outcome.PASSED for check in results.suite.checks)
    skipped = len(results.suite.checks) - passed - len(failed)
    line = f"{passed} passed, {len(failed)} failed, {skipped} not applicable"
    return Group(Text(line), *failed)


def _gains(results: CampaignResults, narrow: bool) -> Table | None:
    # Of a round without labels it is known what its picks would add.
    rounds = [gain for gain in gains_by_round(results) if gain.labels]
    if not rounds:
        return None
    heads = ("round", "labels", "nats", "nats per label")
    table = _table([(head, True) for head in heads], narrow)
    added = format_column([gain.added_nats for gain in rounds])
    average = format_column([gain.nats_per_label for gain in rounds])
    for gain, total, per_label in zip(rounds, added, average, strict=True):
        table.add_row(Text(str(gain.round)), Text(str(gain.labels)), Text(total), Text(per_label))
    return table


def _phases(results: CampaignResults, narrow: bool) -> RenderableType | None:
    phases = labels_by_phase(results.labels)
    if not phases:
        return None
    if narrow:
        return Group(*map(_phase_line, phases))
    tested = any(row.test for row in phases)
    heads = ("training", "validation", *(("test",) if tested else ()), "quarantined")
    table = _table([("phase", False), *((head, True) for head in heads)], narrow)
    for row in phases:
        counts = (
            row.training,
            row.validation,
            *((row.test,) if tested else ()),
            row.quarantined,
        )
        table.add_row(Text(row.phase), *(Text(str(count)) for count in counts))
    return table


def _phase_line(row: PhaseLabels) -> Text:
    counts = {
        "training": row.training,
        "validation": row.validation,
        "test": row.test,
        "quarantined": row.quarantined,
    }
    said = [f"{count} {what}" for what, count in counts.items() if count]
    return Text(f"{row.phase}: {', '.join(said) or 'none'}")


def _quarantine(results: CampaignResults) -> Group | None:
    failed = quarantined(results.labels)
    if not failed:
        return None
    lines = [
        Text.assemble(
            (f"{short_key(label.key)} ", "dim"),
            f"{plain_words(label.outcome)}: {label.cause}",
        )
        for label in failed[:MOST_QUARANTINED]
    ]
    if len(failed) > MOST_QUARANTINED:
        lines.append(Text(f"and {len(failed) - MOST_QUARANTINED} more; see the report"))
    lines.append(
        Text(
            f"all, with their folders: 'entrove labels {shlex.quote(str(results.folder))}'; "
            "with --retry they are "
            "tried again by the next 'entrove run'"
        )
    )
    return Group(*lines)


def _stages(results: CampaignResults) -> Table | None:
    totals = stage_totals(results.stages)
    if not totals:
        return None
    table = _table([("stage", False), ("time", True)])
    for stage, seconds in totals.items():
        table.add_row(Text(plain_words(stage)), Text(format_duration(seconds)))
    table.add_row(Text("all"), Text(format_duration(sum(totals.values()))), style="bold")
    return table
