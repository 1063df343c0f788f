"""`entrove audit`, `convert`, `curate`, `compare`: labels that exist, without a campaign."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from entrove.cli.commands.options import (
    AsJson,
    EnergyKey,
    FeaturesOption,
    ForcesKey,
    ModelOption,
    StressKey,
    VirialKey,
    console,
)
from entrove.cli.quiet import load_torch_sim_quietly


def audit_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Labelled structures: files or folders."),
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
    as_json: AsJson = False,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
) -> None:
    """Find what is wrong in labelled files. Exit status: 0 clean, 3 warnings, 4 blockers."""
    load_torch_sim_quietly()
    from entrove.cli.audit import audit_files
    from entrove.formats import LabelKeys

    status = audit_files(
        files,
        model=model,
        against=against or [],
        html=html,
        as_json=as_json,
        keys=LabelKeys(energy_key, forces_key, stress_key, virial_key),
        console=console(),
    )
    raise typer.Exit(status)


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
    as_json: AsJson = False,
) -> None:
    """Convert labelled structures to another format; unconverged frames are left out and named."""
    from entrove.cli.curation import convert_file
    from entrove.formats import LabelKeys

    keys = LabelKeys(energy_key, forces_key, stress_key, virial_key)
    convert_file(source, target, keys, format_name, console(), as_json=as_json)


def curate_command(
    pool: Annotated[
        list[Path],
        typer.Argument(metavar="POOL", help="Files or folders with structures, labelled or not."),
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
            help="auto (representative where that takes minutes, otherwise information), "
            "representative, target, information, lcmd, farthest_point or random.",
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
    as_json: AsJson = False,
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
        console=console(),
        as_json=as_json,
    )


def compare_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A set of structures, labelled or not.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    features: FeaturesOption = "fingerprint",
    model: ModelOption = "7net-0",
    html: Annotated[
        Path | None, typer.Option("--html", help="Page to write, with a map of both sets.")
    ] = None,
    as_json: AsJson = False,
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
        as_json=as_json,
        keys=LabelKeys(energy=energy_key),
        console=console(),
    )


COMMANDS: dict[str, Callable[..., None]] = {
    "audit": audit_command,
    "convert": convert_command,
    "curate": curate_command,
    "compare": compare_command,
}
