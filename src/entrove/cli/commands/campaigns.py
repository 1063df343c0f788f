"""`entrove init`, `run`, `status`, `plan`, `report`, `labels`, `import`: campaigns."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from entrove.cli.commands.options import (
    AsJson,
    ConfigPath,
    EnergyKey,
    FolderPath,
    ForcesKey,
    StressKey,
    VirialKey,
    check_text,
    console,
    find_config,
    find_folder,
    print_json,
)
from entrove.cli.quiet import load_torch_sim_quietly
from entrove.errors import ConfigError


def init_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create.")],
    seeds: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SEED", help="Structure files, one per phase; by default silicon."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="What labels: gpaw, espresso, vasp, cp2k, 'module:factory' of an ASE calculator, "
            "or a packaged potential (7net-l3i5).",
        ),
    ] = None,
    executor: Annotated[
        str | None, typer.Option("--executor", help="Where labels run: local or slurm.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", help="Of Slurm; chooses Slurm.")
    ] = None,
    walltime: Annotated[
        str | None, typer.Option("--walltime", help="Of a Slurm job, hh:mm:ss; chooses Slurm.")
    ] = None,
    non_magnetic: Annotated[
        bool | None,
        typer.Option(
            "--non-magnetic/--magnetic",
            help="Label Cr, Mn, Fe, Co, Ni without spin polarisation, or with it.",
        ),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Labels per round.")] = None,
    size: Annotated[
        str,
        typer.Option(
            "--size",
            help="standard, or quick: the whole way in about ten minutes, by default with a "
            "larger potential in place of DFT.",
        ),
    ] = "standard",
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing; what is not given has its default.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a short configuration to start from, with your seed crystals or with silicon."""
    from entrove.cli.init import begin

    begin(
        folder,
        seeds or [],
        engine=engine,
        executor=executor,
        partition=partition,
        walltime=walltime,
        non_magnetic=non_magnetic,
        count=count,
        size=size,
        ask=not yes,
        as_json=as_json,
    )


def run_command(
    config: ConfigPath,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Folder of the campaign, instead of the configuration's."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the configuration and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a campaign, or continue it after an interruption: the same command does both."""
    config = find_config(config)
    check_text(config)
    load_torch_sim_quietly()
    from entrove.cli.run import run_campaign

    run_campaign(config, folder, check_only=check, console=console(), as_json=as_json)


def status_command(folder: FolderPath, as_json: AsJson = False) -> None:
    """Show the progress and the results of a campaign."""
    folder = find_folder(folder)
    from entrove.campaign.results.read import read_results

    results = read_results(folder)
    if as_json:
        from entrove.report.record import results_record

        print_json(results_record(results))
        return
    from entrove.report.status import status as render_status

    console().print(render_status(results))


def plan_command(config: ConfigPath, as_json: AsJson = False) -> None:
    """Estimate the cost of a campaign: labels, core hours, wall time, disk."""
    config = find_config(config)
    check_text(config)
    load_torch_sim_quietly()
    from entrove.cli.plan import show_plan

    show_plan(config, console(), as_json=as_json)


def report_command(
    folder: FolderPath,
    control: Annotated[
        Path | None,
        typer.Option(
            "--control", help="Folder of the control arm, whose learning curve is drawn as well."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write report.html of a campaign again, and its numbers to report.json; --json only prints.

    The document of --json is that of report.json.
    """
    folder = find_folder(folder)
    load_torch_sim_quietly()
    from entrove.campaign.results.read import read_results
    from entrove.report.page import report_numbers, write_report

    results = read_results(folder, figures=True)
    compared = None if control is None else read_results(find_folder(control))
    if as_json:
        print_json(report_numbers(results, control=compared), compact=True)
        return
    path = write_report(results, folder / "report.html", control=compared)
    typer.echo(f"wrote {path} and {path.with_suffix('.json').name}")


def labels_command(
    folder: FolderPath,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry",
            help="Release the quarantined labels, so that the next run tries them again.",
        ),
    ] = False,
    imports: Annotated[
        bool, typer.Option("--imports", help="List the files whose labels were imported.")
    ] = False,
    withdraw: Annotated[
        int | None,
        typer.Option("--withdraw", metavar="N", help="Remove the labels of import N again."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the labels of a campaign and their states."""
    if sum((retry, imports, withdraw is not None)) > 1:
        raise ConfigError("give one of --retry, --imports and --withdraw, one after the other")
    load_torch_sim_quietly()
    from entrove.cli import labels

    if withdraw is not None:
        labels.withdraw(folder, withdraw, console(), as_json=as_json)
    elif imports:
        labels.list_imports(folder, console(), as_json=as_json)
    else:
        labels.list_labels(find_folder(folder), retry=retry, console=console(), as_json=as_json)


def import_command(
    config: ConfigPath,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Files with labels: extended XYZ, ASE databases, outputs of VASP, pw.x, GPAW, "
            "CP2K and FHI-aims, DeePMD.",
        ),
    ],
    same_level: Annotated[
        bool,
        typer.Option(
            "--same-level",
            help="State that the labels were computed with exactly the engine settings of CONFIG.",
        ),
    ] = False,
    train: Annotated[
        bool,
        typer.Option(
            "--train", help="Train on these labels, and explore and select what is new to them."
        ),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace labels of earlier imports where values differ."),
    ] = False,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Folder of the campaign, instead of the configuration's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import labels that were computed elsewhere, so that the campaign does not compute them."""
    config = find_config(config)
    check_text(config)
    load_torch_sim_quietly()
    from entrove.cli.import_labels import import_files
    from entrove.formats import LabelKeys

    import_files(
        config,
        files,
        folder,
        same_level=same_level,
        console=console(),
        keys=LabelKeys(energy_key, forces_key, stress_key, virial_key),
        train=train,
        replace=replace,
        as_json=as_json,
    )


COMMANDS: dict[str, Callable[..., None]] = {
    "init": init_command,
    "run": run_command,
    "status": status_command,
    "plan": plan_command,
    "report": report_command,
    "labels": labels_command,
    "import": import_command,
}
