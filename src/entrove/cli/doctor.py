"""`entrove doctor`: what works here, and what to do about the rest."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.text import Text

from entrove.cli.commands.options import Stopped, print_json
from entrove.cli.progress import spinner_of
from entrove.doctor import Examination, Finding, State, examine
from entrove.errors import ConfigError

_STYLES = {
    State.WORKS: "green",
    State.ABSENT: "dim",
    State.WARNING: "yellow",
    State.PROBLEM: "bold red",
}


def examine_here(folder: Path, *, evaluate_all: bool, as_json: bool, console: Console) -> int:
    """Examine this machine, print what was found, and return the exit status."""
    if not folder.is_dir():
        raise ConfigError(f"--folder {folder}: no such folder; give one that exists")
    messages = Console(stderr=True)
    columns = (SpinnerColumn(spinner_of(messages)), TextColumn("{task.description}"))
    try:
        quiet = not messages.is_terminal  # elsewhere it would leave an empty line
        # The terminal itself is examined, too, and what replaces stdout has no encoding.
        with Progress(
            *columns, console=messages, transient=True, disable=quiet, redirect_stdout=False
        ) as bar:
            task = bar.add_task("packages")
            examined = examine(
                folder,
                evaluate_all=evaluate_all,
                on_section=lambda name: bar.update(task, description=name),
            )
    except KeyboardInterrupt as error:
        raise Stopped("stopped; nothing was changed") from error
    if as_json:
        print_json(examined.to_dict())
    else:
        _show(examined, console)
    return examined.exit_status


def _show(examined: Examination, console: Console) -> None:
    section = ""
    for found in examined.findings:
        if found.section != section:
            section = found.section
            console.print(Text(section.capitalize(), style="bold"))
        _show_finding(found, console)
    console.print(Text(examined.verdict, style="bold"), soft_wrap=True)


def _show_finding(found: Finding, console: Console) -> None:
    line = Text("  ").append(f"{found.state:<8}", style=_STYLES[found.state])
    line.append(f"{found.name}: {found.what}")
    console.print(line, soft_wrap=True)
    if found.remedy:
        # On a line of its own and never broken: it is there to be copied.
        console.print(Text(f"          {found.remedy}"), soft_wrap=True, highlight=False)
