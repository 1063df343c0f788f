"""The command line `entrove`: its commands by what they are for, and its exit codes.

Exit codes: 0 success, 1 an error that the user can correct, 2 the configuration or the arguments
are wrong and nothing was written, 130 stopped by Ctrl-C, 143 by SIGTERM; of `audit` 3 where there
are warnings and 4 where there are blockers; of `validate` 1 where a check failed, and 2 for any
wrong input; of `relax` and `label` 1 where some structures failed, of `train` where the model is
not better, of `doctor` where no campaign can run.
"""

import io
import logging
import shutil
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from entrove import __version__
from entrove.cli.commands import campaigns, data, installation, potentials, stages
from entrove.cli.commands.options import only_json_on_stdout
from entrove.cli.interruption import ignore, listen, was_by_sigterm
from entrove.errors import ConfigError, EntroveError
from entrove.formats.addresses import without_password

STOPPED_BY_CTRL_C, STOPPED_BY_SIGTERM = 130, 143
STOPPED = "stopped; what is finished is kept, and the same command continues from here"

CONTINUED = ("run", "label", "labels", "train", "import", "curves")
"""Commands that keep what they have done when they are stopped; others write at the end."""

PANELS = {
    "Campaigns": campaigns.COMMANDS,
    "The stages of a campaign, on files": stages.COMMANDS,
    "Labels that exist": data.COMMANDS,
    "Potentials": potentials.COMMANDS,
    "This installation": installation.COMMANDS,
}
"""Commands by the heading under which `entrove --help` lists them."""


NARROWEST_PANEL = 70
"""Columns below which help is plain text: panels would cut the names of options short."""


class _Commands(TyperGroup):
    """The commands, with a message on Ctrl-C, for which Typer prints none."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, as plain text on a narrow terminal."""
        _leave_out_panels_where_narrow(self)
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List the commands below their headings; plain text, panels have their own list."""
        for heading, names in PANELS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, _first_paragraph(self.commands[name].help)) for name in names]
                )

    def invoke(self, ctx: Any) -> Any:
        """Run a command; on Ctrl-C say how to continue."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            continued = ctx.invoked_subcommand in CONTINUED
            usual = STOPPED if continued else "stopped; nothing was written"
            _print_error(str(error) or usual)
            raise typer.Exit(STOPPED_BY_CTRL_C) from error


class _Command(TyperCommand):
    """A command that prints nothing but its document when it is called with --json."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, as plain text on a narrow terminal."""
        _leave_out_panels_where_narrow(self)
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        if not ctx.params.get("as_json"):
            return super().invoke(ctx)
        with only_json_on_stdout():
            return super().invoke(ctx)


def _leave_out_panels_where_narrow(command: TyperCommand | TyperGroup) -> None:
    if shutil.get_terminal_size().columns < NARROWEST_PANEL:
        command.rich_markup_mode = None


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Entropy-driven training data for machine-learned interatomic potentials, and the "
    "potentials. 'entrove --install-completion' makes the shell complete commands and options.",
)
for _panel, _commands in PANELS.items():
    for _name, _command in _commands.items():
        app.command(_name, cls=_Command, rich_help_panel=_panel)(_command)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"entrove {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Options of the program itself; its help text is that of `app`."""


def run() -> None:
    """Run the command line as a process of its own, which handles Ctrl-C and SIGTERM."""
    listen()
    try:
        run_here()
    except SystemExit as end:
        if end.code == STOPPED_BY_CTRL_C and was_by_sigterm():
            raise SystemExit(STOPPED_BY_SIGTERM) from end
        raise
    finally:
        ignore()


def run_here() -> None:
    """Run the command line; every expected error ends with one message and an exit code."""
    _never_fail_on_characters()
    logging.captureWarnings(True)
    try:
        app()
    except ConfigError as error:
        _print_error(str(error))
        sys.exit(2)
    except EntroveError as error:
        _print_error(str(error))
        sys.exit(1)
    except BrokenPipeError:
        # The reader of a pipe has seen enough (`entrove labels FOLDER | head`).
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _print_error(
            f"error of the operating system: {error}\n"
            "Nothing that was finished is lost; remove the cause (is the disk full? do you have "
            "the permissions?) and run the command again."
        )
        sys.exit(1)


def _never_fail_on_characters() -> None:
    """Print a question mark for a character that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _print_error(message: str) -> None:
    print(f"entrove: {without_password(message)}", file=sys.stderr)


if __name__ == "__main__":
    run()
