"""Display the progress of a campaign: a live line on a terminal, plain lines anywhere else."""

import time
from collections import deque
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task
from rich.table import Column
from rich.text import Text

from entrove.cli.commands.options import say
from entrove.cli.interruption import raise_if_asked
from entrove.report.formatting import format_duration, shorten

PLAIN_INTERVAL_S = 15.0
"""Without a terminal, at most one line of progress is printed in this time, in s."""

UNEVEN_UNITS = ("checks",)
"""Of these each takes another time: every one is named when it begins, and none is foretold."""


RECENT_S = 60.0
"""Rates are those of the last time of this length at least, in s, and of a third of the stage."""

RECENT_REPORTS = 6
"""Rates are those of so many last reports at least: labels come minutes apart."""


def spinner_of(console: Console) -> str:
    """Return the name of a spinner that the encoding of a console has the characters of.

    The usual one is made of braille dots, which other encodings than UTF lack.
    """
    return "dots" if console.encoding.startswith("utf") else "line"


def format_rate(done: float | int, seconds: float, unit: str) -> str:
    """Format work per second, or per minute when it is slow.

    >>> format_rate(30, 10.0, "steps"), format_rate(4, 60.0, "labels")
    ('3.0 steps/s', '4.0 labels/min')
    """
    if seconds <= 0 or done <= 0:
        return ""
    rate = done / seconds
    return f"{rate:.1f} {unit}/s" if rate >= 1 else f"{60 * rate:.1f} {unit}/min"


def stage_title(round_index: int | None, stage: str) -> str:
    """Return the title of a stage; `round_index` is None outside a campaign.

    >>> stage_title(0, "relax"), stage_title(2, "label"), stage_title(None, "label")
    ('prepare: relax', 'round 2: label', 'label')
    """
    if round_index is None:
        return stage
    return f"prepare: {stage}" if round_index == 0 else f"round {round_index}: {stage}"


class _Stage:
    """The stage that is running, and its progress."""

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str,
        clock: Callable[[], float],
        description: str = "",
    ):
        self.title, self.total, self.unit, self.clock = title, total, unit, clock
        self.description = description
        self.is_uneven = unit in UNEVEN_UNITS
        self.done = 0
        self.note = ""
        self.started = clock()
        self._reports = deque([(self.started, 0)])

    def advance(self, done: int, total: int | None, note: str) -> None:
        self.done, self.note = done, note
        now = self.clock()
        self._reports.append((now, done))
        window = max(RECENT_S, (now - self.started) / 3)
        while len(self._reports) > RECENT_REPORTS and now - self._reports[1][0] >= window:
            self._reports.popleft()
        self.total = total if total is not None else self.total

    def resume(self, done: int) -> None:
        """Start from what an earlier run did, which does not count for the rate."""
        self.done = done
        self.started = self.clock()
        self._reports = deque([(self.started, done)])

    @property
    def count(self) -> str:
        return (
            f"{self.done}/{self.total} {self.unit}" if self.total else f"{self.done} {self.unit}"
        )

    def estimate(self) -> tuple[str, str]:
        """Return the rate and the remaining time; empty when they cannot be known yet.

        First steps are slow (compilation, caches), and other programs come and go: the rate is
        that of the last reports, not the average since the start.
        """
        if self.is_uneven:
            return "", ""
        since, first = self._reports[0]
        seconds, done_now = self.clock() - since, self.done - first
        rate = format_rate(done_now, seconds, self.unit)
        left = ""
        if self.total and done_now > 0 and self.done < self.total:
            left = f"{format_duration(seconds / done_now * (self.total - self.done))} left"
        return rate, left


class PlainProgress:
    """Plain lines: when a stage starts, at intervals while it runs, and when it ends."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self._console, self._clock = console, clock
        self._stage: _Stage | None = None
        self._last = clock()

    def __enter__(self) -> "PlainProgress":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def _print(self, line: str) -> None:
        say(line, to=self._console)

    def stage_started(
        self,
        round_index: int | None,
        stage: str,
        description: str,
        total: int | None,
        unit: str,
    ) -> None:
        """Print which stage begins."""
        raise_if_asked()
        self._stage = _Stage(stage_title(round_index, stage), total, unit, self._clock)
        self._last = self._clock()
        amount = f" ({total} {unit})" if total else ""
        self._print(f"{self._stage.title}: {description}{amount}")

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """Print a line when the last one is older than `PLAIN_INTERVAL_S`, or at a new check."""
        raise_if_asked()
        if self._stage is None:
            return
        is_new = self._stage.is_uneven and note != self._stage.note
        self._stage.advance(done, total, note)
        if not is_new and self._clock() - self._last < PLAIN_INTERVAL_S:
            return
        self._last = self._clock()
        parts = [self._stage.count, *self._stage.estimate(), note]
        self._print(f"{self._stage.title}: " + ", ".join(part for part in parts if part))

    def resumed(self, done: int) -> None:
        """Count from here."""
        if self._stage is not None:
            self._stage.resume(done)

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        """Print the result of the stage."""
        self._print(
            f"{stage_title(round_index, stage)}: done in {format_duration(seconds)}: {summary}"
        )
        self._stage = None

    def stage_skipped(self, round_index: int, stage: str, summary: str) -> None:
        """Print the result of the earlier run."""
        self._print(f"{stage_title(round_index, stage)}: done before: {summary}")


class _StageColumn(ProgressColumn):
    """Title, count, time left, rate and note of the stage, as many of them as fit."""

    def __init__(self, width: int):
        super().__init__(table_column=Column(no_wrap=True, overflow="ellipsis"))
        self._width = width

    def render(self, task: Task) -> Text:
        stage: _Stage | None = task.fields.get("stage")
        return Text(fit_parts(stage, self._width) if stage else "")


def fit_parts(stage: _Stage, width: int) -> str:
    """Return the parts that fit into a line of this width; the least important are left out."""
    rate, left = stage.estimate()
    line = stage.title
    for part in (
        stage.count if stage.done or not stage.description else stage.description,
        left,
        rate,
        stage.note,
    ):
        if part and len(line) + 2 + len(part) <= width:
            line += f"  {part}"
    return shorten(line, width)


class LiveProgress:
    """One live line at the bottom of the terminal, finished stages above it."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self._console, self._clock = console, clock
        columns: list[ProgressColumn] = [SpinnerColumn(spinner_of(console))]
        # Without the spinner, a blank, and the last column, after which some terminals wrap.
        text_width = console.width - 3
        if console.width >= 72:
            bar = max(8, min(30, console.width - 84))
            columns.append(BarColumn(bar_width=bar))
            text_width -= bar + 1
        columns.append(_StageColumn(text_width))
        self._progress = Progress(*columns, console=console, transient=True, refresh_per_second=4)
        self._stage: _Stage | None = None
        self._task = self._progress.add_task("", visible=False, stage=None)

    @property
    def renderable(self) -> RenderableType:
        """The present content of the live line."""
        return self._progress.get_renderable()

    def __enter__(self) -> "LiveProgress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage_started(
        self,
        round_index: int | None,
        stage: str,
        description: str,
        total: int | None,
        unit: str,
    ) -> None:
        """Show the new stage on the live line."""
        raise_if_asked()
        self._stage = _Stage(
            stage_title(round_index, stage), total, unit, self._clock, description
        )
        self._progress.reset(self._task, total=total, stage=self._stage, visible=True)

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """Move the bar."""
        raise_if_asked()
        if self._stage is None:
            return
        self._stage.advance(done, total, note)
        self._progress.update(self._task, completed=done, total=self._stage.total)

    def resumed(self, done: int) -> None:
        """Count from here."""
        if self._stage is not None:
            self._stage.resume(done)
            self._progress.update(self._task, completed=done)

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        """Print a line for the finished stage above the live one."""
        self._print(
            "[green]done[/green]", round_index, stage, f"{summary} ({format_duration(seconds)})"
        )
        self._stage = None
        self._progress.update(self._task, visible=False)

    def stage_skipped(self, round_index: int, stage: str, summary: str) -> None:
        """Print a line for a stage that an earlier run finished."""
        self._print("[dim]before[/dim]", round_index, stage, summary)

    def _print(self, mark: str, round_index: int, stage: str, text: str) -> None:
        line = Text.from_markup(f"{mark} ")
        line.append(f"{stage_title(round_index, stage)}: ", style="bold").append(text)
        self._console.print(line, highlight=False)


def open_progress(console: Console) -> LiveProgress | PlainProgress:
    """Return the display that fits the console."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
