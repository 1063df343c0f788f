"""Write the folder of an export for LAMMPS, and check what was written."""

import re
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files as package_files
from pathlib import Path
from tempfile import TemporaryDirectory

from ase import Atoms

from entrove.errors import ModelError
from entrove.export.agreement import (
    Check,
    Prediction,
    compare_predictions,
    predict_one_by_one,
)
from entrove.export.lammps.cells import fits_lammps, write_data_file
from entrove.export.lammps.input_file import DATA, FILE, write_input
from entrove.export.lammps.interface import LammpsExporter, PairStyle
from entrove.export.lammps.nequip import NequIPForLammps
from entrove.export.lammps.readme import write_readme
from entrove.export.lammps.run import (
    Lammps,
    find_lammps,
    run_input,
    run_on_structures,
    why_not_run,
)
from entrove.export.lammps.sevennet import SevenNetForLammps, write_parallel
from entrove.export.source import Source, example_for_md
from entrove.models.registry import load
from entrove.models.torch_settings import resolve_device

EXPORTERS: Mapping[str, type[LammpsExporter]] = {
    "sevennet": SevenNetForLammps,
    "nequip": NequIPForLammps,
}
"""One entry per framework that can be trained."""

NO_STRUCTURE = "no structure that is periodic in all directions; give some with --structures"
ONLY_WRITTEN = "the file for several ranks is written only; compare it with that of one rank"
PLUGIN_FILES = ("e3gnnplugin.cpp", "build_plugin.sh")


def write_for_lammps(
    source: Source,
    folder: Path,
    examples: Sequence[Atoms],
    structures: Sequence[Atoms],
    *,
    device: str,
    lammps: str | None,
    plugin: Path | None,
    parallel: bool,
) -> list[Check]:
    """Write potential, input, data file and README, and check the potential.

    Args:
        source: The bundle.
        folder: An empty folder.
        examples: Structures for the input; the first that LAMMPS can hold is taken.
        structures: Structures on which the potential is checked.
        device: "auto", "cpu" or "cuda": where it is checked, and for which a framework whose files
            belong to one kind of processor compiles.
        lammps: Name or path of LAMMPS' executable; None looks for `lmp`.
        plugin: A plugin that LAMMPS loads first.
        parallel: Also write the file for several MPI ranks.

    Returns what was run.

    Raises `ModelError` when the export fails, or what was written differs from the bundle.
    """
    exporter = EXPORTERS[source.bundle.framework]()
    species = list(source.bundle.species)
    where = resolve_device(device).type
    checkable = [atoms for atoms in structures if fits_lammps(atoms)]
    example = example_for_md([*filter(fits_lammps, examples), *checkable])
    if example is None:
        raise ModelError(
            f"{source.folder}: neither the bundle nor its campaign has a periodic structure for "
            "the input of LAMMPS; give some with --structures"
        )
    found = find_lammps(lammps)
    style = exporter.write(source.model_name, source.checkpoint, folder, where)
    several = _parallel(source, folder) if parallel else None
    write_data_file(folder / DATA, example, species)
    extra = _plugin_source(folder) if style.name == "e3gnn" else []
    loaded = None if plugin is None else _copy_plugin(plugin, folder)
    text = write_input(source, style, species, parallel=several, plugin=loaded)
    (folder / FILE).write_text(text, encoding="utf-8")
    if several is not None:
        extra.append(f"`{several.file.split()[-1]}/`: the potential for `{several.name}`")
    checks = _checks(source, folder, exporter, style, checkable, where)
    checks += _checks_in_lammps(source, folder, style, checkable, where, found, plugin)
    _refuse_differences(source, checks)
    if several is not None:
        checks.append(Check(f"LAMMPS, pair style {several.name}", note=ONLY_WRITTEN, run=False))
    text = write_readme(
        source, style, species, checks, how_to_build=exporter.how_to_build, files=extra
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    return checks


def _parallel(source: Source, folder: Path) -> PairStyle:
    if source.bundle.framework != "sevennet":
        raise ModelError(
            f"{source.name}: only SevenNet has a second file for several ranks; allegro's own "
            "runs on any number of them, nequip's on one: leave out --parallel"
        )
    return write_parallel(source.model_name, source.checkpoint, folder)


def _copy_plugin(plugin: Path, folder: Path) -> str:
    """Copy a plugin that LAMMPS loads; return its path relative to the folder, one word."""
    if not plugin.is_file():
        raise ModelError(f"{plugin}: no such plugin; build one first, see README.md of an export")
    (folder / "plugin").mkdir(exist_ok=True)
    name = re.sub(r"[^\w.+-]", "_", plugin.name, flags=re.ASCII)
    shutil.copy(plugin, folder / "plugin" / name)
    return f"plugin/{name}"


def _plugin_source(folder: Path) -> list[str]:
    """Copy the source and the build script of the pair style as a plugin."""
    (folder / "plugin").mkdir()
    for name in PLUGIN_FILES:
        content = package_files("entrove.export.lammps").joinpath("plugin", name).read_bytes()
        (folder / "plugin" / name).write_bytes(content)
    return ["`plugin/`: the pair style as a plugin of LAMMPS: source and build script"]


def _checks(
    source: Source,
    folder: Path,
    exporter: LammpsExporter,
    style: PairStyle,
    structures: Sequence[Atoms],
    device: str,
) -> list[Check]:
    """Check the file of the potential without LAMMPS."""
    if not structures:
        return [Check(exporter.what_python_runs, note=NO_STRUCTURE, run=False)]
    evaluated = exporter.evaluate(folder, style, structures, device)
    expected = _expected(source, structures, device)
    return [Check(exporter.what_python_runs, compare_predictions(expected, evaluated))]


def _checks_in_lammps(
    source: Source,
    folder: Path,
    style: PairStyle,
    structures: Sequence[Atoms],
    device: str,
    lammps: Lammps | None,
    plugin: Path | None,
) -> list[Check]:
    """Check the potential, and the input as it is, in LAMMPS, if it has the pair style."""
    what = f"LAMMPS, pair style {style.name}"
    if lammps is not None:
        what += f" ({lammps.version}{', from a plugin' if plugin else ''})"
    reason = why_not_run(lammps, style, plugin) or ("" if structures else NO_STRUCTURE)
    if lammps is None or reason:
        return [Check(what, note=reason, run=False)]
    with TemporaryDirectory(prefix="entrove-lammps-") as work:
        found = run_on_structures(
            lammps, folder, style, source.bundle.species, structures, plugin, Path(work)
        )
    with TemporaryDirectory(prefix="entrove-lammps-") as work:
        run_input(lammps, folder, FILE, Path(work))
    agreement = compare_predictions(
        _expected(source, structures, device), found, summed_in_single=style.sums_in_single
    )
    return [Check(what, agreement), Check(f"{FILE} as it is", note="it ended without an error")]


def _expected(source: Source, structures: Sequence[Atoms], device: str) -> list[Prediction]:
    return predict_one_by_one(load(source.model_name, device=device).calculator(), structures)


def _refuse_differences(source: Source, checks: Sequence[Check]) -> None:
    for check in checks:
        if check.agreement is not None and (problems := check.agreement.problems()):
            raise ModelError(
                f"{source.folder}: the exported file is not the potential of the bundle: "
                f"{'; '.join(problems)} ({check.what}); nothing was written. Please report this"
            )
