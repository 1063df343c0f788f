"""Fixtures of the command line."""

import sys
from pathlib import Path

import pytest
from command_line import Command, check_document

from entrove.cli import main


@pytest.fixture
def entrove(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in this process.

    With --json, standard output is one document, or nothing where a message ended the command.
    """
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["entrove", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main.run_here()
        output = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        if "--json" in arguments and not (output.out == "" and exit_.value.code):
            check_document(str(arguments[0]), output.out)
        return exit_.value.code, output.out, output.err

    return command
