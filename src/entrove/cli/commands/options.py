"""Arguments and options that several commands share, and what they do before their work."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console

from entrove.formats.addresses import without_password

_DOCUMENT: ContextVar[TextIO | None] = ContextVar("stream of the JSON document", default=None)


class Stopped(KeyboardInterrupt):
    """Ctrl-C in a command that has something to say about it."""


ConfigPath = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="Configuration, as written by 'entrove init', or its folder.",
    ),
]
FolderPath = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder of a campaign, or its configuration.")
]
EnergyKey = Annotated[
    str | None, typer.Option("--energy-key", help="Key of the energy, such as REF_energy.")
]
ForcesKey = Annotated[
    str | None, typer.Option("--forces-key", help="Column of the forces, such as REF_forces.")
]
StressKey = Annotated[
    str | None, typer.Option("--stress-key", help="Key of the stress, such as REF_stress.")
]
VirialKey = Annotated[
    str | None, typer.Option("--virial-key", help="Key of the virial in eV, such as REF_virials.")
]
FeaturesOption = Annotated[
    str, typer.Option("--features", help="fingerprint, or model for its last layer.")
]
ModelOption = Annotated[str, typer.Option("--model", help="The model of --features.")]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document, for programs; messages go to standard error.",
    ),
]
"""The option of every command that reports: as `as_json`, and what is reported to `print_json`."""
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]


def find_config(path: Path) -> Path:
    """Find a configuration by any path that stands for it."""
    from entrove.campaign.configuration.locate import find_config as find

    return find(path)


def find_folder(path: Path) -> Path:
    """Find the folder of a campaign by any path that stands for it."""
    from entrove.campaign.configuration.locate import find_campaign_folder

    return find_campaign_folder(path)


def console() -> Console:
    """The console for results."""
    return Console()


def say(text: str, style: str | None = None, *, to: Console | None = None) -> None:
    """Print a line as it is: no markup, no colours of numbers, no line breaks, no passwords."""
    (to or console()).print(
        without_password(text), style=style, markup=False, highlight=False, soft_wrap=True
    )


def say_replacing(path: Path) -> None:
    """Say on standard error that a file is there, which will be replaced."""
    if path.is_file():
        say(f"{path} is there already and will be replaced", to=Console(stderr=True))


@contextmanager
def only_json_on_stdout() -> Iterator[None]:
    """Keep standard output for `print_json`; all else that is printed goes to standard error."""
    before = _DOCUMENT.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _DOCUMENT.reset(before)


def print_json(content: object, *, compact: bool = False) -> None:
    """Print the document of `--json`: strict JSON, in which null stands for what is not finite.

    Not through the console, which would break long lines.
    """
    from entrove.json_values import json_values

    text = json.dumps(
        json_values(content),
        allow_nan=False,
        indent=None if compact else 2,
        separators=(",", ":") if compact else None,
    )
    print(without_password(text), file=_DOCUMENT.get())


def check_text(config: Path) -> None:
    """Validate the configuration file first: everything after this loads torch, which is slow."""
    from entrove.campaign.configuration.config import CampaignConfig
    from entrove.campaign.configuration.config_file import read_config_file

    read_config_file(config, CampaignConfig)
