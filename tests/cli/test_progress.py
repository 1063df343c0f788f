import io
import re

import pytest
from rich.console import Console

from entrove.cli.progress import LiveProgress, PlainProgress, open_progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plain_lines(width: int = 80):
    output, clock = io.StringIO(), Clock()
    return output, clock, PlainProgress(Console(file=output, width=width), clock)


def test_without_a_terminal_there_are_plain_lines():
    output, clock, progress = plain_lines()
    with progress:
        progress.stage_started(1, "label", "labelling", 12, "labels")
        clock.now = 5.0
        progress.advanced(1)  # too soon after the start for another line
        clock.now = 60.0
        progress.advanced(4, note="1 failed")
        progress.stage_finished(1, "label", 180.0, "11 labels")
    assert output.getvalue().splitlines() == [
        "round 1: label: labelling (12 labels)",
        "round 1: label: 4/12 labels, 4.0 labels/min, 2 min 00 s left, 1 failed",
        "round 1: label: done in 3 min 00 s: 11 labels",
    ]


def test_a_total_may_come_later():
    output, clock, progress = plain_lines()
    progress.stage_started(1, "explore", "MD", None, "steps")
    clock.now = 20.0
    progress.advanced(40, 160)
    assert (
        output.getvalue().splitlines()[-1]
        == "round 1: explore: 40/160 steps, 2.0 steps/s, 1 min 00 s left"
    )


def test_the_check_that_takes_long_is_named_and_no_time_left_is_promised():
    output, clock, progress = plain_lines()
    progress.stage_started(2, "check", "checks of the model", None, "checks")
    for done, name in enumerate(("volumes", "MD")):
        clock.now += 1.0
        progress.advanced(done, 2, name)  # it begins
        progress.advanced(done + name.count("volumes"), 2, name)
    assert output.getvalue().splitlines() == [
        "round 2: check: checks of the model",
        "round 2: check: 0/2 checks, volumes",
        "round 2: check: 1/2 checks, MD",
    ]


def test_labels_known_before_do_not_count_for_the_rate():
    output, clock, progress = plain_lines()
    progress.stage_started(1, "label", "labelling", 24, "labels")
    progress.resumed(20)
    for done in range(1, 21):  # labels from the cache are reported one by one
        progress.advanced(done)
    clock.now = 30.0
    progress.advanced(21)
    assert output.getvalue().splitlines()[-1] == (
        "round 1: label: 21/24 labels, 2.0 labels/min, 1 min 30 s left"
    )


def test_user_text_is_not_read_as_markup():
    output, _, progress = plain_lines()
    progress.stage_finished(0, "relax", 1.0, "left out: [bold]beta[/bold] at 0 GPa")
    assert "[bold]beta[/bold]" in output.getvalue()


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
def test_the_live_line_never_wraps(width: int):
    clock = Clock()
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    progress = LiveProgress(console, clock)
    progress.stage_started(12, "explore", "entropy-biased MD of all walkers", 160_000, "steps")
    lines = ["round 12: explore"]
    for done in (0, 123_456):
        clock.now += 9_000.0
        if done:
            progress.advanced(done, note="3 failed")
        with console.capture() as capture:
            console.print(progress.renderable)
        [line] = capture.get().splitlines()
        assert len(line.rstrip()) < width
        lines.append(line)
    assert "round 12: explore" in lines[1]
    assert ("123456/160000 steps" in lines[2]) == (width >= 60)
    assert ("left" in lines[2] and "3 failed" in lines[2]) == (width >= 120)


def test_the_live_display_fits_a_narrow_terminal():
    output, clock = io.StringIO(), Clock()
    console = Console(file=output, width=60, force_terminal=True, color_system=None)
    with LiveProgress(console, clock) as progress:
        progress.stage_started(1, "explore", "MD of all walkers", 160, "steps")
        clock.now = 20.0
        progress.advanced(40)
        progress.stage_finished(1, "explore", 80.0, "96 snapshots of 16 walkers, 0 restarts")
    assert "done round 1: explore: 96 snapshots of 16 walkers, 0" in output.getvalue()


def test_the_display_follows_the_console():
    assert isinstance(open_progress(Console(file=io.StringIO())), PlainProgress)
    assert isinstance(
        open_progress(Console(file=io.StringIO(), force_terminal=True)), LiveProgress
    )


def test_time_left_follows_what_is_slower_now():
    """A stage that slows down to a tenth is not judged by its first, fast half."""
    output, clock, progress = plain_lines()
    progress.stage_started(1, "explore", "MD", 1000, "steps")
    for done in range(10, 501, 10):  # 1 s a step
        clock.now += 10.0
        progress.advanced(done)
    for done in range(510, 601, 10):  # 10 s a step
        clock.now += 100.0
        progress.advanced(done)
    # 400 steps are left: 4000 s at 10 s a step, 1000 s at the average of all steps so far.
    assert output.getvalue().splitlines()[-1] == (
        "round 1: explore: 600/1000 steps, 6.0 steps/min, 1 h 07 min left"
    )


def test_labels_that_come_in_pairs_have_a_rate_of_several():
    """Two workers end at the same time: the last pair alone would be infinitely fast."""
    output, clock, progress = plain_lines()
    progress.stage_started(1, "label", "labelling", 40, "labels")
    for done in range(2, 41, 2):
        clock.now += 120.0
        progress.advanced(done - 1)
        progress.advanced(done)
    rates = [float(rate) for rate in re.findall(r"([\d.]+) labels/min", output.getvalue())]
    assert len(rates) == 20
    # One a minute; a line is printed when the first of a pair is there.
    assert max(rates) <= 1.0
    assert min(rates[3:]) >= 0.8


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_every_frame_of_the_live_line_fits_the_encoding_of_the_terminal(encoding):
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding=encoding, newline="")  # strict: raises on others
    console = Console(file=terminal, force_terminal=True, width=80)
    with LiveProgress(console) as progress:
        progress.stage_started(1, "label", "labelling the picked structures", 12, "labels")
        for done in range(12):
            progress.advanced(done, note="1 failed")
            console.print(progress.renderable)
        progress.stage_finished(1, "label", 180.0, "11 labels")
    terminal.flush()
    assert b"round 1: label" in raw.getvalue()
