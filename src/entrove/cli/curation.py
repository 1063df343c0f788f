"""`entrove convert`, `curate` and `compare`: data that exists, without a campaign."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from rich.console import Console

from entrove.cli.commands.options import print_json, say, say_replacing
from entrove.cli.quiet import load_torch_sim_quietly
from entrove.counts import format_count
from entrove.curation.methods import AUTO, FEATURES, METHODS, MethodOrAuto
from entrove.curation.sources import SHOWN_REASONS, RefusedFrame
from entrove.errors import ConfigError, StructureError
from entrove.files import refuse_overwriting, require_writable
from entrove.formats import LabelKeys
from entrove.formats.addresses import database_address
from entrove.formats.writing import FOLDER_FORMATS, XYZ_NAMES, format_of, require_xyz_name


def convert_file(
    source: Path,
    target: Path,
    keys: LabelKeys,
    format_name: str | None,
    console: Console,
    *,
    as_json: bool = False,
) -> None:
    """Convert a file and say what was done with its conventions."""
    check_inputs([source])
    format_name = format_name or format_of(target)
    is_folder = format_name in FOLDER_FORMATS
    check_folders({"OUT": target}, inputs=[source], may_be_folders=is_folder)
    if format_name in XYZ_NAMES:
        say_replacing(target)
    from entrove.curation.convert import convert

    done = convert(source, target, keys=keys, format_name=format_name)
    if as_json:
        print_json(done.to_dict())
        return
    for line in done.summary():
        say(line, to=console)


def curate_pool(
    pool: Sequence[Path],
    given: Sequence[Path],
    out: Path,
    count: int,
    *,
    features: str,
    model: str,
    method: str,
    budget_s: float | None,
    label_seconds: float | None,
    seed: int,
    keys: LabelKeys,
    console: Console,
    as_json: bool = False,
) -> None:
    """Pick frames, write them, and say what was left behind.

    Raises `ConfigError` for options that are unknown or belong together.
    """
    _check_name("--method", method, (AUTO, *METHODS))
    _check_name("--features", features, (AUTO, *FEATURES))
    if (budget_s is None) != (label_seconds is None):
        raise ConfigError("--budget and --label-seconds belong together; give both, or none")
    check_inputs([*pool, *given])
    require_xyz_name(f"--out {out}", out, may_be_compressed=True)
    check_folders({"--out": out})
    load_torch_sim_quietly()
    from entrove.curation.curate import curate, seconds_per_label, written_beside

    refuse_overwriting(written_beside(out), [*pool, *given])
    say_replacing(out)

    # On stderr: what is printed is for programs, too.
    with Console(stderr=True).status("reading the pool") as status:
        picked = curate(
            pool,
            count,
            given=given or None,
            features=features,
            model=model,
            method=cast("MethodOrAuto", method),
            cost_s=None if label_seconds is None else seconds_per_label(label_seconds),
            budget_s=budget_s,
            seed=seed,
            keys=keys,
            progress=lambda way: status.update(f"picking, {way}"),
        )
    files = picked.write(out)
    if as_json:
        print_json(picked.to_dict() | {"files": files})
        return
    for line in picked.summary():
        say(line, to=console)
    show_notes(console, picked.notes, len(picked.picks) + len(picked.left_out))
    show_refused(console, picked.refused)
    say(f"wrote {', '.join(map(str, files))}", to=console)


def compare_files(
    a: Path,
    b: Path,
    *,
    features: str,
    model: str,
    html: Path | None,
    as_json: bool,
    keys: LabelKeys,
    console: Console,
) -> None:
    """Compare two sets and say how they differ.

    Raises `ConfigError` for features that are unknown.
    """
    _check_name("--features", features, FEATURES[:2])
    check_inputs([a, b])
    check_folders({"--html": html}, inputs=[a, b])
    load_torch_sim_quietly()
    from entrove.curation.compare import compare

    compared = compare(a, b, features=features, model=model, keys=keys)
    if html is not None:
        compared.write_html(html)
    if as_json:
        print_json(compared.to_dict())
        return
    for line in compared.summary():
        say(line, to=console)
    for side in (compared.a, compared.b):
        show_refused(console, side.refused)
    if html is not None:
        say(f"wrote {html}", to=console)


def _check_name(option: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"{option} {name}: choose from {', '.join(known)}")


def check_inputs(files: Sequence[Path]) -> None:
    """Refuse files that do not exist, before anything takes time.

    Raises `StructureError`. The address of a database is no file.
    """
    for file in files:
        if database_address(file) is None and not file.exists():
            raise StructureError(f"{file}: no such file; check the path")


def check_folders(
    targets: Mapping[str, Path | None],
    *,
    inputs: Sequence[Path] = (),
    may_be_folders: bool = False,
) -> None:
    """Refuse files that are to be written into a folder that does not exist or is read-only.

    So is what would overwrite one of the `inputs`, and what is a folder unless targets
    `may_be_folders`. Raises `ConfigError`; `targets` are by option.
    """
    refuse_overwriting(targets.values(), inputs)
    for option, target in targets.items():
        if target is None:
            continue
        if target.is_dir() and not may_be_folders:
            raise ConfigError(f"{option} {target}: it is a folder; give the name of a file")
        folder = target.absolute().parent
        if not folder.is_dir():
            raise ConfigError(
                f"{option} {target}: the folder {target.parent} does not exist; create it, or "
                "give another path"
            )
        require_writable(f"{option} {target}", folder)


def show_notes(console: Console, notes: Sequence[tuple[str, int]], frames: int) -> None:
    """Print what was done with conventions, and in how many frames."""
    for note, count in notes[:SHOWN_REASONS]:
        say(
            f"  {note}" + ("" if count == frames else f" ({format_count(count, 'frame')})"),
            to=console,
        )


def show_refused(console: Console, refused: Sequence[RefusedFrame]) -> None:
    """Print the frames that were left out, the first of them one by one."""
    if not refused:
        return
    say(f"left out {format_count(len(refused), 'frame')}:", to=console)
    for frame in refused[:SHOWN_REASONS]:
        say(f"  {frame}", to=console)
    if len(refused) > SHOWN_REASONS:
        say(f"  and {len(refused) - SHOWN_REASONS} more", to=console)
