"""The shell completes commands and options, as `entrove --install-completion` sets it up."""

import os
import re
import subprocess
import sys

import pytest
from command_line import Command
from typer.main import get_command
from typer.testing import CliRunner

from entrove.cli.main import NARROWEST_PANEL, PANELS, app

COMMANDS = sorted(name for commands in PANELS.values() for name in commands)


def complete(words: list[str], shell: str) -> list[str]:
    """What the shell's own function asks the program for."""
    line = " ".join(["entrove", *words])
    environment = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words))},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['entrove']; from entrove.cli.main import run; run()",
        ],
        env=os.environ | environment | {"_ENTROVE_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return finished.stdout.split()


def test_commands_are_completed_in_bash():
    assert complete(["cu"], "bash") == ["curate", "curves"]
    assert complete([""], "bash") == sorted(COMMANDS, key=complete([""], "bash").index)
    assert complete(["explore", "--temp"], "bash") == ["--temperatures-K"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_commands_are_completed_in_other_shells(shell):
    text = " ".join(complete(["cu"], shell))
    assert "curate" in text
    assert "curves" in text
    assert "campaign" not in text.split()


def test_help_says_how_to_switch_it_on_and_lists_every_command(entrove: Command):
    code, output, _ = entrove("--help")
    assert code == 0
    assert "entrove --install-completion" in output
    for name in COMMANDS:
        assert f" {name} " in output
    assert app.info.help is not None


@pytest.mark.parametrize("columns", [40, NARROWEST_PANEL, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_every_option_whole_on_any_terminal(name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    output = CliRunner().invoke(app, [name, "--help"]).output
    command = get_command(app).get_command(None, name)
    for parameter in command.params:
        for option in parameter.opts:
            assert not option.startswith("--") or f"{option} " in output or f"{option}\n" in output


@pytest.mark.parametrize("columns", [40, NARROWEST_PANEL, 120])
def test_help_of_the_program_has_all_options_and_commands_on_any_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    output = CliRunner().invoke(app, ["--help"]).output
    for word in ("--version", "--install-completion", "--show-completion", *COMMANDS):
        assert re.search(rf"(?<!\S){word}\s", output), word
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", output).split())
    for heading, commands in PANELS.items():
        assert heading in text
        for command in commands.values():
            assert command.__doc__ is not None
            assert " ".join(command.__doc__.partition("\n\n")[0].split()) in text
