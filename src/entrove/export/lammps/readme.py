"""The README of an export for LAMMPS: what is there, how LAMMPS is built, what was run."""

from collections.abc import Sequence

from entrove.export.agreement import Check
from entrove.export.lammps.input_file import DATA, FILE
from entrove.export.lammps.interface import PairStyle
from entrove.export.source import Source


def write_readme(
    source: Source,
    style: PairStyle,
    species: Sequence[str],
    checks: Sequence[Check],
    *,
    how_to_build: str,
    files: Sequence[str],
) -> str:
    """Return the README as Markdown.

    Args:
        source: The bundle.
        style: The pair style and its file.
        species: Elements of the atom types 1, 2, ...
        checks: What was run, and what was not.
        how_to_build: How LAMMPS is built with the pair style.
        files: Files of the folder beside the usual ones, described.
    """
    bundle = source.bundle
    types = ", ".join(f"{number} = {symbol}" for number, symbol in enumerate(species, start=1))
    listed = "\n".join(f"- {line}" for line in files)
    done = "\n".join(f"- {check.describe()}" for check in checks)
    regime = "; ".join(f"{name}: {text}" for name, text in bundle.regime.describe().items())
    trained = "Trained and validated" if bundle.is_validated else "Trained"
    return f"""\
# {source.name} for LAMMPS

{bundle.foundation_model}, {bundle.how_trained}; level of theory: {bundle.level_of_theory}.
{trained} for {", ".join(bundle.species)}; {regime}.

- `{FILE}`: a complete input, commented; `lmp -in {FILE}` runs it.
- `{DATA}`: the structure that it runs; atom types: {types}.
- `{style.file}`: the potential, for the pair style `{style.name}`; it runs on {style.ranks}.
{listed}
- `export.json`: what is said here, for programs.

## What was checked

Against the ASE calculator of the framework with the weights of the bundle; forces and stress are
compared component by component, after LAMMPS' rotation of the cell has been undone.

{done}

Differences up to about 1e-5 eV/atom, 1e-3 eV/A and 1e-4 eV/A^3 are rounding: the networks compute
in single precision.

## How LAMMPS is built for it

{how_to_build}"""
