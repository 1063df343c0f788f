"""`entrove init`: a folder with a short configuration, from a few questions or options."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import read_config_file
from entrove.campaign.configuration.seeds import read_seed, read_seeds
from entrove.campaign.configuration.template import (
    ENGINES,
    EXECUTORS,
    SIZES,
    Choices,
    magnetic_elements,
    require_nothing_replaced,
    write_starting_point,
)
from entrove.cli.commands.options import Stopped, print_json, say
from entrove.cli.quiet import load_torch_sim_quietly
from entrove.errors import ConfigError
from entrove.execution.settings import SlurmExecution
from entrove.files import require_writable

_TIMES = "write hours:minutes:seconds, such as 04:00:00"


def begin(
    folder: Path,
    seeds: Sequence[Path],
    *,
    engine: str | None,
    executor: str | None,
    partition: str | None,
    walltime: str | None,
    non_magnetic: bool | None,
    count: int | None,
    size: str,
    ask: bool,
    as_json: bool,
) -> None:
    """Write the configuration, after questions about what was not given, and say what was read.

    Args:
        folder: The folder to create.
        seeds: Structure files.
        engine: Name of the engine, 'module:factory' of an ASE calculator, or a potential.
        executor: "local" or "slurm".
        partition, walltime: Of Slurm; either of them chooses "slurm" where no executor is given.
        non_magnetic: Whether magnetic elements are labelled without spin.
        count: Labels per round.
        size: "standard" or "quick".
        ask: Whether questions may be asked.
        as_json: Print what was read as JSON.

    Raises `ConfigError` for options that are unknown or belong to something else, and where
    nothing can be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: it is a file; give the name of a new folder")
    require_writable(str(folder), folder)
    for path in seeds:
        read_seed(path)
    require_nothing_replaced(folder, seeds)  # before any question
    choices = _from_options(engine, executor, partition, walltime, count, size)
    if non_magnetic is not None:
        choices = replace(choices, non_magnetic=non_magnetic)
    if ask and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        try:
            choices = _ask(
                choices,
                seeds,
                engine_known=engine is not None or size == "quick",
                executor_known=executor is not None,
                magnetism_known=non_magnetic is not None,
                count_known=count is not None or size == "quick",
            )
        except (typer.Abort, KeyboardInterrupt, EOFError) as error:
            say("")  # ends the line of the question
            raise Stopped("stopped; nothing was written") from error
    target = write_starting_point(folder, seeds, choices)
    _report(target, as_json=as_json)


def _from_options(
    engine: str | None,
    executor: str | None,
    partition: str | None,
    walltime: str | None,
    count: int | None,
    size: str,
) -> Choices:
    name, argument = _engine(engine)
    given = {
        key: value
        for key, value in (("partition", partition), ("walltime", walltime))
        if value is not None
    }
    if given and executor is None:
        executor = "slurm"
    if given and executor != "slurm":
        verb = "belongs" if len(given) == 1 else "belong"
        raise ConfigError(
            f"--{' and --'.join(given)} {verb} to --executor slurm; leave out one or the other"
        )
    if walltime is not None and not _is_walltime(walltime):
        raise ConfigError(f"--walltime {walltime}: this is no time; {_TIMES}")
    return Choices(
        engine=name,
        engine_argument=argument,
        executor=_one_of(executor or "local", EXECUTORS, "--executor"),
        slurm=given,
        count=count,
        size=_one_of(size, SIZES, "--size"),
    )


def _engine(text: str | None) -> tuple[Any, str | None]:
    """Name of the engine and what it needs: a calculator, or a model."""
    if text is None:
        return None, None
    if ":" in text:
        return "ase", text
    if text in ENGINES:
        return text, None
    # The names of potentials are known to their frameworks, which load torch.
    load_torch_sim_quietly()
    from entrove.cli.stages.settings import engine_of

    section = engine_of(text) or {}
    if section.get("name") == "mlip":
        return "mlip", section["model"]
    raise ConfigError(
        f"--engine {text}: choose {', '.join(ENGINES)}, 'module:factory' of an ASE calculator, or "
        "a packaged potential such as 7net-0"
    )


def _one_of(text: str, allowed: Sequence[Any], option: str) -> Any:
    if text not in allowed:
        raise ConfigError(f"{option} {text}: choose {' or '.join(allowed)}")
    return text


def _ask(
    choices: Choices,
    seeds: Sequence[Path],
    *,
    engine_known: bool,
    executor_known: bool,
    magnetism_known: bool,
    count_known: bool,
) -> Choices:
    """Ask for what was not given; Return takes what stands in brackets."""
    if not engine_known:
        name = _choose("What computes the labels", ENGINES, "gpaw")
        choices = replace(choices, engine=name)
    if choices.engine in ("ase", "mlip") and choices.engine_argument is None:
        question = (
            "The calculator, as module:factory" if choices.engine == "ase" else "The potential"
        )
        default = None if choices.engine == "ase" else "7net-l3i5"
        choices = replace(choices, engine_argument=typer.prompt(question, default=default))
    if not magnetism_known and choices.engine not in ("ase", "mlip"):
        magnetic = magnetic_elements(seeds)
        if magnetic:
            question = f"{', '.join(magnetic)} can be magnetic. Label with spin polarisation"
            choices = replace(choices, non_magnetic=not typer.confirm(question, default=True))
    if not executor_known:
        default = "slurm" if shutil.which("sbatch") else "local"
        choices = replace(choices, executor=_choose("Where labels run", EXECUTORS, default))
    if choices.executor == "slurm" and not choices.slurm:
        partition = typer.prompt("Partition (empty: the default one)", default="")
        walltime = _ask_walltime()
        found = {"partition": partition, "walltime": walltime}
        choices = replace(choices, slurm={key: value for key, value in found.items() if value})
    if not count_known:
        count = typer.prompt("Labels per round", default=24, type=int)
        choices = replace(choices, count=max(1, count))
    return choices


def _choose(question: str, allowed: Sequence[str], default: str) -> Any:
    while True:
        answer = typer.prompt(f"{question} ({', '.join(allowed)})", default=default).strip()
        if answer in allowed:
            return answer
        say(f"'{answer}' is none of them")


def _ask_walltime() -> str:
    while True:
        answer = typer.prompt("Time limit of a job, hh:mm:ss", default="12:00:00").strip()
        if _is_walltime(answer):
            return answer
        say(f"'{answer}' is no time; {_TIMES}")


def _is_walltime(text: str) -> bool:
    try:
        SlurmExecution(name="slurm", walltime=text)
    except ValidationError:
        return False
    return True


def _report(target: Path, *, as_json: bool) -> None:
    config = read_config_file(target, CampaignConfig)
    seeds = read_seeds(target, config)
    if as_json:
        print_json({"config": str(target), "seeds": [seed.describe() for seed in seeds]})
        return
    for seed, given in zip(seeds, config.seeds, strict=True):
        say(seed.describe())
        if given.repeat != (1, 1, 1):
            times = " x ".join(map(str, given.repeat))
            say(f"  its cell is repeated {times}: on an only atom every force would be zero")
    executor = config.labelling.executor
    if isinstance(executor, SlurmExecution):
        partition = executor.partition or "the default one"
        say(
            f"labels run in Slurm jobs (partition: {partition}, walltime: {executor.walltime}; on "
            "this machine: --executor local)"
        )
    engine = config.labelling.engine.model_dump()
    magnetic = engine.get("magnetic_moments") or engine.get("starting_magnetization")
    if magnetic:
        say(
            f"{', '.join(magnetic)} can be magnetic: labels have spin polarisation "
            "(without it: --non-magnetic)"
        )
    name = shlex.quote(str(target.parent))
    say(f"wrote {target}; look through it, then")
    placeholders = [
        text
        for text in ("FOLDER_WITH_potpaw_PBE", "FOLDER_WITH_UPF_FILES", "MODULE:FACTORY")
        if text in target.read_text(encoding="utf-8")
    ]
    for text in placeholders:
        say(f"  replace {text} in it")
    say(f"  entrove run --check {name}    does everything exist that it needs?")
    say(f"  entrove plan {name}           labels, core hours, wall time, disk")
    say(f"  entrove run {name}            start, or continue")
