"""`entrove relax`, `explore`, `select`, `label`, `train`: the stages of a campaign, on files."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from entrove.cli.commands.options import AsJson
from entrove.cli.quiet import load_torch_sim_quietly

Crystals = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="SEED",
        help="Structure files, one per phase; by default those of --config.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Settings: a campaign's configuration, or a YAML file with some of its sections.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A key of the configuration, such as sampling.chunks=4; may be repeated.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="Extended XYZ file to write.")]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="model.name: a packaged name, a file or a model bundle (default 7net-0).",
    ),
]
Pressures = Annotated[
    str | None,
    typer.Option("--pressures-GPa", help="regime.pressures_GPa, such as 0,10 (default 0)."),
]
GivenOption = Annotated[
    list[Path] | None,
    typer.Option("--given", help="Structures that are labelled already; may be repeated."),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", help="random_seed: seed of all random numbers (default 1).")
]
FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="Folder of the work, from which the same command continues."),
]


def relax_command(
    out: OutOption,
    seeds: Crystals = None,
    model: ModelName = None,
    pressures: Pressures = None,
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """Relax crystals at pressures. Exit status 1 where one does not converge.

    Example: entrove relax MgO_B1.cif MgO_B2.cif --pressures-GPa 0,200 --out relaxed.xyz
    """
    load_torch_sim_quietly()
    from entrove.cli.stages.relax import relax_files
    from entrove.cli.stages.settings import numbers, read_settings

    options = {
        "model.name": model,
        "regime.pressures_GPa": numbers(pressures, "--pressures-GPa", "0,10"),
    }
    given = read_settings(config, assign or [], options)
    raise typer.Exit(relax_files(seeds or [], out, given, as_json=as_json))


def explore_command(
    out: OutOption,
    seeds: Crystals = None,
    model: ModelName = None,
    pressures: Pressures = None,
    temperatures: Annotated[
        str | None,
        typer.Option("--temperatures-K", help="regime.temperatures_K (default 300,1000)."),
    ] = None,
    known: GivenOption = None,
    seed: SeedOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """Explore around crystals by entropy-biased MD, and write the snapshots.

    Example: entrove explore MgO_B1.cif --temperatures-K 300,2000 --given labels.xyz --out pool.xyz
    """
    load_torch_sim_quietly()
    from entrove.cli.stages.explore import explore_files
    from entrove.cli.stages.settings import numbers, read_settings

    options = {
        "model.name": model,
        "regime.pressures_GPa": numbers(pressures, "--pressures-GPa", "0,10"),
        "regime.temperatures_K": numbers(temperatures, "--temperatures-K", "300,1000"),
        "random_seed": seed,
    }
    given = read_settings(config, assign or [], options)
    explore_files(seeds or [], known or [], out, given, as_json=as_json)


def select_command(
    pool: Annotated[
        list[Path], typer.Argument(metavar="POOL", help="Candidates, labelled or not.")
    ],
    out: OutOption,
    count: Annotated[
        int | None,
        typer.Option("--count", help="selection.count: structures to pick (default 24)."),
    ] = None,
    known: GivenOption = None,
    target: Annotated[
        list[Path] | None,
        typer.Option(
            "--target",
            help="A sample of what the potential will be used for; by default the pool.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            help="selection.budget_s: most seconds that labelling.engine is predicted to take "
            "for all picks (default no limit).",
        ),
    ] = None,
    model: ModelName = None,
    seed: SeedOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """Pick the candidates whose labels teach most, as a campaign does ('curate': by features).

    Example: entrove select pool.xyz --given labelled.xyz --count 24 --out picked.xyz
    """
    load_torch_sim_quietly()
    from entrove.cli.stages.select import select_files
    from entrove.cli.stages.settings import read_settings

    options = {
        "model.name": model,
        "selection.count": count,
        "selection.budget_s": budget,
        "random_seed": seed,
    }
    given = read_settings(config, assign or [], options)
    select_files(pool, known or [], target or [], out, given, as_json=as_json)


def label_command(
    out: OutOption,
    structures: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="STRUCTURES",
            help="Files of structures; by default the smallest seed of --config, as a trial.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="labelling.engine: gpaw, espresso, vasp, cp2k, 'module:factory' of an ASE "
            "calculator, or a packaged potential such as 7net-l3i5 (default gpaw).",
        ),
    ] = None,
    folder: FolderOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """Label structures with an engine. Exit status 1 where a label failed.

    Example: entrove label picked.xyz --engine gpaw --out labelled.xyz
    """
    load_torch_sim_quietly()
    from entrove.cli.stages.label import label_files
    from entrove.cli.stages.settings import engine_of, read_settings

    options = {"labelling.engine": engine_of(engine)}
    given = read_settings(config, assign or [], options)
    raise typer.Exit(label_files(structures or [], out, folder, given, as_json=as_json))


def train_command(
    labels: Annotated[
        list[Path],
        typer.Argument(metavar="LABELS", help="Labelled structures: files or folders."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the model bundle to write.")],
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            "--validation", help="Labels to judge the model on, which are not trained on."
        ),
    ] = None,
    snapshots: Annotated[
        list[Path] | None,
        typer.Option(
            "--snapshots",
            help="Structures without labels for training.replay, such as the candidates of "
            "'entrove explore'; without them only dimers are replayed.",
        ),
    ] = None,
    model: ModelName = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", help="training.epochs: passes over the labels (default auto)."),
    ] = None,
    seed: SeedOption = None,
    folder: FolderOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """Tune a model to labels. Exit status 1 where it is not better on --validation.

    Example: entrove train labelled.xyz --validation test.xyz --epochs 25 --out model
    """
    load_torch_sim_quietly()
    from entrove.cli.stages.settings import read_settings
    from entrove.cli.stages.train import TrainingFiles, train_files

    options = {"model.name": model, "training.epochs": epochs, "random_seed": seed}
    given = read_settings(config, assign or [], options)
    files = TrainingFiles(labels, validation or [], snapshots or [])
    raise typer.Exit(train_files(files, out, folder, given, as_json=as_json))


COMMANDS: dict[str, Callable[..., None]] = {
    "relax": relax_command,
    "explore": explore_command,
    "select": select_command,
    "label": label_command,
    "train": train_command,
}
