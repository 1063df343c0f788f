"""The command line: `entrove init`, `run`, `status`, `report`, `labels`, `import`, `plan`, ...

Each command imports what it needs, so that those that need no torch answer at once.

Exit codes: 0 success, 1 an error that the user can correct, 2 the configuration or the arguments
are wrong and nothing was written, 130 stopped by Ctrl-C; of `audit` 3 where there are warnings
and 4 where there are blockers; of `validate` 1 where a check failed, and 2 for any wrong input.
"""

import io
import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from entrove import __version__
from entrove.cli.quiet import load_torch_sim_quietly as _load_torch_sim_quietly
from entrove.errors import ConfigError, EntroveError

WRITE_AT_THE_END = ("audit", "convert", "curate", "compare")


class _Commands(TyperGroup):
    """The commands, with a message on Ctrl-C, for which Typer prints none."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; on Ctrl-C say how to continue."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            _print_error(
                "stopped; nothing was written"
                if ctx.invoked_subcommand in WRITE_AT_THE_END
                else "stopped; what is finished is kept, and the same command continues from here"
            )
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Entropy-driven training data for machine-learned interatomic potentials, and the "
    "potentials.",
)


def _config(path: Path) -> Path:
    from entrove.campaign.configuration.locate import find_config

    return find_config(path)


def _folder(path: Path) -> Path:
    from entrove.campaign.configuration.locate import find_campaign_folder

    return find_campaign_folder(path)


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


@app.command("init")
def init_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create.")],
    seeds: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SEED]...", help="Structure files, one per phase."),
    ] = None,
) -> None:
    """Write a commented configuration to start from, with your seed crystals or with silicon."""
    from entrove.campaign.configuration.config import CampaignConfig
    from entrove.campaign.configuration.config_file import read_config_file
    from entrove.campaign.configuration.seeds import read_seeds
    from entrove.campaign.configuration.template import write_starting_point

    config = write_starting_point(folder, seeds or [])
    for seed in read_seeds(config, read_config_file(config, CampaignConfig)):
        typer.echo(seed.describe())
    typer.echo(f"wrote {config}; edit it, then: entrove run {shlex.quote(str(config))}")


@app.command("run")
def run_command(
    config: ConfigPath,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Folder of the campaign, instead of the configuration's."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the configuration and stop.")
    ] = False,
) -> None:
    """Start a campaign, or continue it after an interruption: the same command does both."""
    config = _config(config)
    _check_text(config)
    _load_torch_sim_quietly()
    from entrove.cli.run import run_campaign

    run_campaign(config, folder, check_only=check, console=_console())


@app.command("status")
def status_command(folder: FolderPath) -> None:
    """Show the progress and the results of a campaign."""
    folder = _folder(folder)
    from entrove.campaign.results.read import read_results
    from entrove.report.status import status as render_status

    _console().print(render_status(read_results(folder)))


@app.command("report")
def report_command(
    folder: FolderPath,
    control: Annotated[
        Path | None,
        typer.Option(
            "--control", help="Folder of the control arm, whose learning curve is drawn as well."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as JSON, and write no file.")
    ] = False,
) -> None:
    """Write report.html of a campaign again, and its numbers to report.json."""
    folder = _folder(folder)
    _load_torch_sim_quietly()
    from entrove.cli.report import write_or_print

    write_or_print(folder, None if control is None else _folder(control), as_json=as_json)


@app.command("export")
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
) -> None:
    """Write a potential for LAMMPS, ASE or torch-sim, checked; or the labels as extended XYZ."""
    _load_torch_sim_quietly()
    from entrove.cli.export import export_bundle

    export_bundle(
        bundle,
        to,
        out,
        device=device,
        structures=structures,
        lammps=lammps,
        plugin=plugin,
        parallel=parallel,
        console=_console(),
    )


@app.command("labels")
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
) -> None:
    """List the labels of a campaign and their states."""
    _load_torch_sim_quietly()
    from entrove.cli import labels

    if withdraw is not None:
        labels.withdraw(folder, withdraw, _console())
    elif imports:
        labels.list_imports(folder, _console())
    else:
        labels.list_labels(_folder(folder), retry=retry, console=_console())


@app.command("import")
def import_command(
    config: ConfigPath,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Files with labels: extended XYZ, ASE databases, outputs of VASP, pw.x, GPAW and "
            "CP2K, DeePMD.",
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
) -> None:
    """Import labels that were computed elsewhere, so that the campaign does not compute them."""
    config = _config(config)
    _check_text(config)
    from entrove.cli.import_labels import import_files
    from entrove.formats import LabelKeys

    import_files(
        config,
        files,
        folder,
        same_level=same_level,
        console=_console(),
        keys=LabelKeys(energy_key, forces_key, stress_key, virial_key),
        train=train,
        replace=replace,
    )


@app.command("audit")
def audit_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Labelled structures: files or folders."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Potential to compare labels with, such as 7net-0; by default one that is fitted "
            "to the files themselves.",
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="File that must share no structure, such as a test set."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with figures, one HTML file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, for programs.")
    ] = False,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
) -> None:
    """Find what is wrong in labelled files. Exit status: 0 clean, 3 warnings, 4 blockers."""
    _load_torch_sim_quietly()
    from entrove.cli.audit import audit_files
    from entrove.formats import LabelKeys

    status = audit_files(
        files,
        model=model,
        against=against or [],
        html=html,
        as_json=as_json,
        keys=LabelKeys(energy_key, forces_key, stress_key, virial_key),
        console=_console(),
    )
    raise typer.Exit(status)


@app.command("validate")
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, for programs.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Judge a potential by named checks. Exit status: 0 passed, 1 failed, 2 wrong input."""
    _load_torch_sim_quietly()
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
        console=_console(),
    )
    raise typer.Exit(status)


@app.command("convert")
def convert_command(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Labelled structures: a file or a folder.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write; for DeePMD a new folder.")
    ],
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="extxyz, mace, gap, nep, ase-db, deepmd-npy or deepmd-raw; by default extxyz "
            "for .xyz, ase-db for .db, deepmd-npy for a folder.",
        ),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
) -> None:
    """Convert labelled structures to another format; unconverged frames are left out and named."""
    from entrove.cli.curation import convert_file
    from entrove.formats import LabelKeys

    keys = LabelKeys(energy_key, forces_key, stress_key, virial_key)
    convert_file(source, target, keys, format_name, _console())


@app.command("curate")
def curate_command(
    pool: Annotated[
        list[Path],
        typer.Argument(
            metavar="POOL...", help="Files or folders with structures, labelled or not."
        ),
    ],
    count: Annotated[int, typer.Option("--count", help="Frames to pick.", min=1)],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Picked frames, extended XYZ; beside it .rest.xyz, .csv (a line for each frame) "
            "and .json (gains).",
        ),
    ],
    given: Annotated[
        list[Path] | None,
        typer.Option("--given", help="Structures that are there already; may be repeated."),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="auto, fingerprint, model for the last layer of --model, or gradients for those "
            "of its energy by all weights.",
        ),
    ] = "auto",
    model: ModelOption = "7net-0",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="auto (target where that takes minutes, otherwise information), target, "
            "information, lcmd, farthest_point or random.",
        ),
    ] = "auto",
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="Most seconds that the labels of the picks may take."),
    ] = None,
    label_seconds: Annotated[
        float | None,
        typer.Option(
            "--label-seconds",
            help="With --budget: seconds of a label of ten atoms; others take as many times "
            "(atoms / 10)^1.5.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the method random.")] = 0,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
) -> None:
    """Pick the frames of a pool that carry the information, and keep them byte for byte."""
    from entrove.cli.curation import curate_pool
    from entrove.formats import LabelKeys

    curate_pool(
        pool,
        given or [],
        out,
        count,
        features=features,
        model=model,
        method=method,
        budget_s=budget,
        label_seconds=label_seconds,
        seed=seed,
        keys=LabelKeys(energy_key, forces_key, stress_key, virial_key),
        console=_console(),
    )


@app.command("compare")
def compare_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A set of structures, labelled or not.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    features: FeaturesOption = "fingerprint",
    model: ModelOption = "7net-0",
    html: Annotated[
        Path | None, typer.Option("--html", help="Page to write, with a map of both sets.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Numbers to write, and the frames behind them.")
    ] = None,
    energy_key: EnergyKey = None,
) -> None:
    """Say what two sets add to each other, what both hold, and whether their labels agree."""
    from entrove.cli.curation import compare_files
    from entrove.formats import LabelKeys

    compare_files(
        a,
        b,
        features=features,
        model=model,
        html=html,
        json=json,
        keys=LabelKeys(energy=energy_key),
        console=_console(),
    )


@app.command("plan")
def plan_command(config: ConfigPath) -> None:
    """Estimate the cost of a campaign: labels, core hours, wall time, disk."""
    config = _config(config)
    _check_text(config)
    _load_torch_sim_quietly()
    from entrove.cli.plan import show_plan

    show_plan(config, _console())


@app.command("curves")
def curves_command(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="Settings of the study, a YAML file.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all points as JSON, and nothing else.")
    ] = False,
) -> None:
    """Learning curves of several ways to choose labels, on a system of your own."""
    _load_torch_sim_quietly()
    from entrove.cli.curves import run_curves

    run_curves(study, _console(), as_json=as_json)


@app.command("reference")
def reference_command() -> None:
    """Print the reference page of the configuration."""
    from entrove.campaign.configuration.config import CampaignConfig
    from entrove.campaign.configuration.reference import write_reference_page

    typer.echo(write_reference_page(CampaignConfig), nl=False)


def _console() -> Console:
    return Console()


def run() -> None:
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
    except OSError as error:
        _print_error(
            f"error of the operating system: {error}\n"
            "Nothing that was finished is lost; remove the cause (is the disk full? do you have "
            "the permissions?) and run the command again."
        )
        sys.exit(1)


def _check_text(config: Path) -> None:
    """Validate the configuration file first: everything after this loads torch, which is slow."""
    from entrove.campaign.configuration.config import CampaignConfig
    from entrove.campaign.configuration.config_file import read_config_file

    read_config_file(config, CampaignConfig)


def _never_fail_on_characters() -> None:
    """Print a question mark for a character that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _print_error(message: str) -> None:
    print(f"entrove: {message}", file=sys.stderr)


if __name__ == "__main__":
    run()
