"""`entrove validate`, `export`, `curves`: judge a potential, write it for other programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from entrove.cli.commands.options import AsJson, Device, console, print_json, say
from entrove.cli.quiet import load_torch_sim_quietly
from entrove.errors import ConfigError


def validate_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A packaged name (7net-0), a model file, the folder of a model bundle, or "
            "module:factory of an ASE calculator.",
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Labelled structures to compare with; may be repeated."),
    ] = None,
    seeds: Annotated[
        list[Path] | None,
        typer.Option(
            "--seeds",
            help="A crystal to judge, one file per phase; may be repeated. By default those of "
            "the bundle, or found in the data.",
        ),
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option("--suite", help="YAML with thresholds, as in section suite of CONFIG."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="MODEL", help="The untuned model; by default a bundle's."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Keep the results of each check here; the same command continues from them.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with figures, one HTML file.")
    ] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Judge a potential by named checks. Exit status: 0 passed, 1 failed, 2 wrong input."""
    load_torch_sim_quietly()
    from entrove.cli.validate import validate_model

    status = validate_model(
        model,
        data=data or [],
        seeds=seeds or [],
        suite=suite,
        against=against,
        out=out,
        html=html,
        as_json=as_json,
        device=device,
        console=console(),
    )
    raise typer.Exit(status)


def export_command(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Folder of a model bundle, or of a campaign.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="lammps, ase or torch-sim: the potential; extxyz: the labels of the campaign.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Folder to write; by default NAME-lammps."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu or cuda: where it is checked and compiled.")
    ] = "auto",
    structures: Annotated[
        Path | None,
        typer.Option(
            "--structures",
            help="Structures to check it on; by default the validation labels of the bundle.",
        ),
    ] = None,
    lammps: Annotated[
        str | None,
        typer.Option("--lammps", help="LAMMPS' executable, to check it with; by default lmp."),
    ] = None,
    plugin: Annotated[
        Path | None,
        typer.Option("--plugin", help="Plugin with the pair style that LAMMPS loads first."),
    ] = None,
    parallel: Annotated[
        bool, typer.Option("--parallel", help="Also write the file for several MPI ranks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a potential for LAMMPS, ASE or torch-sim, checked; or the labels as extended XYZ."""
    load_torch_sim_quietly()
    from entrove.export.export import TARGETS, export

    if to not in TARGETS:
        raise ConfigError(f"--to {to}: choose {', '.join(TARGETS[:-1])} or {TARGETS[-1]}")
    written = export(
        bundle,
        to,  # pyright: ignore[reportArgumentType]: it is checked
        out,
        device=device,
        structures=structures,
        lammps=lammps,
        plugin=plugin,
        parallel=parallel,
    )
    if as_json:
        checks = [check.as_record() for check in written.checks]
        print_json({"out": written.folder, "to": written.to, "checks": checks})
        return
    for check in written.checks:
        say(check.describe())
    readme = written.folder / "README.md"
    say(f"wrote {written.folder}" + (f"; read {readme}" if readme.is_file() else ""))


def curves_command(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="Settings of the study, a YAML file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Learning curves of several ways to choose labels, on a system of your own."""
    load_torch_sim_quietly()
    from entrove.cli.curves import run_curves

    run_curves(study, console(), as_json=as_json)


COMMANDS: dict[str, Callable[..., None]] = {
    "validate": validate_command,
    "export": export_command,
    "curves": curves_command,
}
