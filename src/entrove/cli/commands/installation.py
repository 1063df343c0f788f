"""`entrove doctor`, `schema`, `reference`: this installation, and its configurations."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from entrove.cli.commands.options import AsJson, console
from entrove.cli.quiet import load_torch_sim_quietly
from entrove.errors import ConfigError

SCHEMAS = ("campaign", "study")


def doctor_command(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where campaigns would be (default here).")
    ] = Path(),
    evaluate_all: Annotated[
        bool, typer.Option("--all", help="Load and evaluate every packaged model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what works on this machine, and the remedy for the rest. Exit status 1: nothing runs."""
    load_torch_sim_quietly()
    from entrove.cli.doctor import examine_here

    status = examine_here(folder, evaluate_all=evaluate_all, as_json=as_json, console=console())
    raise typer.Exit(status)


def schema_command(
    of: Annotated[
        str,
        typer.Argument(metavar="campaign|study", help="Which configuration (default campaign)."),
    ] = "campaign",
) -> None:
    """Print the JSON schema of a configuration, with which editors complete and check keys."""
    from entrove.campaign.configuration.schema import schema_text

    if of == "campaign":
        from entrove.campaign.configuration.config import CampaignConfig

        model = CampaignConfig
    elif of == "study":
        from entrove.curves.config import StudyConfig

        model = StudyConfig
    else:
        raise ConfigError(f"there is no schema of '{of}'; choose {' or '.join(SCHEMAS)}")
    typer.echo(schema_text(model), nl=False)


def reference_command() -> None:
    """Print the reference page of the configuration."""
    from entrove.campaign.configuration.config import CampaignConfig
    from entrove.campaign.configuration.reference import write_reference_page

    typer.echo(write_reference_page(CampaignConfig), nl=False)


COMMANDS: dict[str, Callable[..., None]] = {
    "doctor": doctor_command,
    "schema": schema_command,
    "reference": reference_command,
}
