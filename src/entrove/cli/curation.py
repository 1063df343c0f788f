"""`entrove convert`, `curate` and `compare`: data that exists, without a campaign."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from entrove.curation.sources import SHOWN_REASONS, RefusedFrame
from entrove.formats import LabelKeys


def convert_file(
    source: Path, target: Path, keys: LabelKeys, format_name: str | None, console: Console
) -> None:
    """Convert a file and say what was done with its conventions."""
    from entrove.curation.convert import convert

    done = convert(source, target, keys=keys, format_name=format_name)
    _say(console, f"wrote {done.written} structures to {done.target}")
    show_notes(console, done.notes, done.written)
    if done.lost:
        _say(console, f"the format has no place for: {', '.join(done.lost)}")
    show_refused(console, done.refused)


def show_notes(console: Console, notes: Sequence[tuple[str, int]], frames: int) -> None:
    """Print what was done with conventions, and in how many frames."""
    for note, count in notes[:SHOWN_REASONS]:
        _say(console, f"  {note}" + ("" if count == frames else f" ({count} frames)"))


def show_refused(console: Console, refused: Sequence[RefusedFrame]) -> None:
    """Print the frames that were left out, the first of them one by one."""
    if not refused:
        return
    _say(console, f"left out {len(refused)} frames:")
    for frame in refused[:SHOWN_REASONS]:
        _say(console, f"  {frame}")
    if len(refused) > SHOWN_REASONS:
        _say(console, f"  and {len(refused) - SHOWN_REASONS} more")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
