"""Arguments and options that several commands share, and what they do before their work."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


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
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON, for programs.")]
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
    """Print a line as it is: no markup, no colours of numbers, no line breaks."""
    (to or console()).print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_json(content: object) -> None:
    """Print JSON: not through the console, which would break long lines."""
    print(json.dumps(content, indent=2, allow_nan=False))


def check_text(config: Path) -> None:
    """Validate the configuration file first: everything after this loads torch, which is slow."""
    from entrove.campaign.configuration.config import CampaignConfig
    from entrove.campaign.configuration.config_file import read_config_file

    read_config_file(config, CampaignConfig)
