"""`entrove label`: energy, forces and stress of structures, by an engine."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from rich.console import Console

from entrove.campaign.configuration.check_magnetism import check_moments
from entrove.campaign.configuration.seeds import read_seeds
from entrove.cli.commands.options import print_json, say
from entrove.cli.stages.settings import Given
from entrove.cli.stages.structures import check_output, read_pool
from entrove.cli.stages.watch import Watch
from entrove.errors import ConfigError
from entrove.labelling.engines.base import without_moments
from entrove.labelling.label_structures import label
from entrove.labelling.labels import Label
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.moments import with_moments_to_start_from
from entrove.structures import species_of, write_structures

SHOWN_FAILURES = 10


def label_files(
    files: Sequence[Path], out: Path, folder: Path | None, given: Given, *, as_json: bool
) -> int:
    """Label structures, write those that converged, and return the exit status.

    Without files that is the smallest seed of the configuration, as its campaign would label it.

    The exit status is 1 when a label failed. What is finished is kept in the folder: the same
    command continues, and computes labels again that failed before.
    """
    check_output(out, files or given.seed_files)
    work = folder or out.with_name(f"{out.stem}-labels")
    config = given.settings.labelling.resolved_against(given.path.absolute().parent)
    stopped = f"stopped; finished labels are in {work}, and the same command continues from there"
    labels: dict[int, Label] = {}
    with Watch("label", "energy, forces and stress by the engine", "labels", stopped) as watch:
        structures = (
            read_pool(files, watch.messages, "structures", unconverged=True)
            if files
            else [_smallest_seed(given, watch.messages)]
        )
        is_non_magnetic = given.settings.regime.non_magnetic
        prepare = without_moments if is_non_magnetic else with_moments_to_start_from
        structures = [prepare(atoms) for atoms in structures]
        check_moments(given.path, given.settings, structures)

        def on_label(index: int, found: Label) -> None:
            labels[index] = found
            failed = sum(not each.converged for each in labels.values())
            note = f"{failed} failed" if failed else ""
            watch.advanced(len(labels), len(structures), note)

        found = label(structures, config, folder=work, retry_failed=True, on_label=on_label)
    good = [
        each.attach(atoms) for each, atoms in zip(found, structures, strict=True) if each.converged
    ]
    if good:
        write_structures(out, good)
    level = LevelOfTheory.of(config.engine.bound_to(species_of(structures)))
    if as_json:
        _print_json(found, structures, level, out if good else None)
    else:
        _show(found, structures, level, out, work)
    return 0 if len(good) == len(found) else 1


def _smallest_seed(given: Given, messages: Console) -> Atoms:
    seeds = read_seeds(given.path, given.settings)
    if not seeds:
        raise ConfigError(
            "no structures; give files of them, or --config with a section seeds, whose smallest "
            "is labelled then"
        )
    smallest = min(seeds, key=lambda seed: len(seed.atoms))
    say(smallest.describe(), to=messages)
    return smallest.atoms


def _print_json(
    found: Sequence[Label], structures: Sequence[Atoms], level: LevelOfTheory, out: Path | None
) -> None:
    print_json(
        {
            "level_of_theory": level.describe(),
            "level_of_theory_hash": level.hash,
            "out": None if out is None else str(out),
            "labels": [
                {
                    "structure_hash": each.structure_hash,
                    "formula": atoms.get_chemical_formula(),
                    "outcome": str(each.outcome),
                    "cause": each.cause,
                    "energy_eV": each.energy_eV if each.converged else None,
                    "engine_seconds": each.engine_seconds,
                    "folder": each.folder,
                }
                for each, atoms in zip(found, structures, strict=True)
            ],
        }
    )


def _show(
    found: Sequence[Label],
    structures: Sequence[Atoms],
    level: LevelOfTheory,
    out: Path,
    work: Path,
) -> None:
    outcomes = Counter(str(each.outcome) for each in found)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    say(f"{len(found)} structures at {level.describe()}: {counts}")
    failed = [
        (each, atoms) for each, atoms in zip(found, structures, strict=True) if not each.converged
    ]
    for each, atoms in failed[:SHOWN_FAILURES]:
        say(f"  {atoms.get_chemical_formula()} {each.outcome}: {each.cause}; see {each.folder}")
    if len(failed) > SHOWN_FAILURES:
        say(f"  and {len(failed) - SHOWN_FAILURES} more")
    if failed:
        say("correct what they failed of; the same command computes them again")
    if len(failed) < len(found):
        say(f"wrote {len(found) - len(failed)} labelled structures to {out}; files are in {work}")
