"""Crystals, candidates and labels from files, and to files."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from entrove.campaign.configuration.config import require_free
from entrove.campaign.configuration.seeds import (
    Seed,
    name_of,
    read_seed,
    read_seeds,
    repeat_cell,
    repeats_of_one_atom,
)
from entrove.cli.commands.options import say, say_replacing
from entrove.cli.curation import check_folders
from entrove.cli.stages.settings import Given
from entrove.counts import format_count
from entrove.curation.sources import SHOWN_REASONS, UsableFrames
from entrove.errors import ConfigError
from entrove.formats import read_frames
from entrove.formats.writing import require_xyz_name
from entrove.labelling.store.file_conventions import judge_conventions
from entrove.structures import has_stress


def check_output(path: Path, inputs: Sequence[Path]) -> None:
    """Raise `ConfigError`, before anything takes time, unless structures can be written.

    Nothing that is read is overwritten. That another file will be replaced is said.
    """
    require_xyz_name(f"--out {path}", path, may_be_compressed=False)
    check_folders({"--out": path}, inputs=inputs)
    say_replacing(path)


def read_crystals(files: Sequence[Path], given: Given, messages: Console) -> list[Seed]:
    """Read crystals, one file per phase, or those that a configuration names; print each.

    A cell of one atom, on which every force is zero, is repeated. Raises `ConfigError` without
    any, and `StructureError` for a file that cannot be a seed.
    """
    guards = given.settings.sampling.guards
    if files:
        seeds = []
        for path in files:
            atoms, notes = read_seed(path, least_ratio=guards.shortest_distance)
            if len(atoms) == 1:
                atoms = repeat_cell(atoms, repeats_of_one_atom(atoms))
                notes += ("its cell of one atom is repeated",)
            seeds.append(Seed(name_of(path), atoms, notes))
    else:
        seeds = list(read_seeds(given.path, given.settings)) if given.path.exists() else []
    names = [seed.phase for seed in seeds]
    for name in names:
        try:
            require_free(name)
        except ValueError as error:
            raise ConfigError(f"{error}: phases are named after their files") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two files are called {', '.join(twice)}, which is the name of the phase; rename one"
        )
    if not seeds:
        raise ConfigError(
            "no crystal to start from; give structure files, one per phase, or --config with a "
            "section seeds"
        )
    for seed in seeds:
        say(seed.describe(), to=messages)
    return seeds


def read_pool(
    files: Sequence[Path], messages: Console, what: str, *, unconverged: bool = False
) -> list[Atoms]:
    """Read structures, labelled or not, with the keys that say where they come from.

    Frames that cannot be used are left out and named, and what is not taken as it stands in its
    file is said; with `unconverged`, frames whose labels did not converge can be used. Raises
    `StructureError` when none is left.
    """
    frames = UsableFrames(tuple(files), for_features=True, unconverged=unconverged)
    structures = [frame.atoms for frame in frames if frame.atoms is not None]
    if frames.refused:
        say(f"{what}: left out {format_count(len(frames.refused), 'frame')}", to=messages)
        for frame in frames.refused[:SHOWN_REASONS]:
            say(f"  {frame}", to=messages)
    if not structures:
        raise frames.nothing_left()
    for note, count in frames.notes.most_common(SHOWN_REASONS):
        how_many = "" if count == frames.used else f" ({format_count(count, 'frame')})"
        say(f"{what}: {note}{how_many}", to=messages)
    return structures


def read_labelled(files: Sequence[Path], messages: Console) -> list[Atoms]:
    """Read frames with energy and forces; crystals may lack a stress, and are counted then.

    What the numbers mean is judged as `entrove import` does: the energy is the one that forces are
    the derivative of, and a stress in other units is converted, which is said. Other frames are
    left out; they are counted, and the first is named. Raises `ConfigError` when none is left of
    files that were given, and `LabelError` when the numbers of a file contradict each other.
    """
    usable: list[Atoms] = []
    refused: list[str] = []
    for path in files:
        conventions = judge_conventions(path)
        for line in conventions.remarks:
            say(f"{path.name}: {line}", to=messages)
        for frame in read_frames(path):
            needed = {"energy", "forces"} if frame.atoms is not None else set()
            missing = sorted(needed - set(frame.labels))
            if frame.atoms is None or missing or frame.converged is False:
                reason = frame.problem or (
                    f"it has no {' and no '.join(missing)}" if missing else "it did not converge"
                )
                refused.append(f"{frame.where}: {reason}")
            else:
                label = conventions.label_of(frame.atoms)
                frame.atoms.calc = SinglePointCalculator(frame.atoms, **label)
                usable.append(frame.atoms)
    if refused:
        left_out = format_count(len(refused), "frame")
        say(f"left out {left_out}; the first: {refused[0]}", to=messages)
    if files and not usable:
        raise ConfigError(
            f"{', '.join(map(str, files))}: no frame can be used; the first: "
            f"{refused[0] if refused else 'there is none'}"
        )
    crystals = [atoms for atoms in usable if atoms.pbc.all()]
    if without := sum(not has_stress(atoms) for atoms in crystals):
        what = (
            "all crystals"
            if without == len(crystals)
            else f"{without} of {len(crystals)} crystals"
        )
        say(f"{what} have no stress: their energies and forces count alone", to=messages)
    return usable
