"""The input of LAMMPS: complete, and commented line by line."""

from collections.abc import Sequence

from entrove.export.lammps.interface import PairStyle
from entrove.export.source import Source

FILE = "in.lammps"
DATA = "structure.data"
PLUGIN = "plugin/e3gnnplugin.so"


def write_input(
    source: Source,
    style: PairStyle,
    species: Sequence[str],
    *,
    parallel: PairStyle | None = None,
    plugin: str | None = None,
) -> str:
    """Return the text of an input that runs an exported potential.

    Args:
        source: The bundle.
        style: The pair style and its file.
        species: Elements of the atom types 1, 2, ...
        parallel: The pair style for several ranks, when it was written as well.
        plugin: A plugin that has the pair style, relative to the folder of the input.
    """
    temperature_K = min(source.bundle.regime.temperatures_K, default=300.0)
    types = ", ".join(f"{number} = {symbol}" for number, symbol in enumerate(species, start=1))
    load = f"plugin          load {plugin}" if plugin else f"# plugin        load {PLUGIN}"
    several = ""
    if parallel is not None:
        commands = "\n".join(f"# {command}" for command in parallel.commands(species))
        several = f"\n# Instead, for several ranks ({parallel.ranks}):\n{commands}"
    return f"""\
# {source.name}: {source.bundle.foundation_model}, {source.bundle.how_trained}.
# Energy, forces and pressure of one structure, then molecular dynamics at constant volume.
# Run:  lmp -in {FILE}       on {style.ranks}

units           metal                  # eV, Angstrom, ps, bar, g/mol
atom_style      atomic
newton          {style.newton:<22} # as the pair style needs it
boundary        p p p
box             tilt large             # primitive cells may be strongly tilted
read_data       {DATA}         # atom types: {types}

# A pair style that is not built in is loaded from a plugin, see README.md.
{load}

# The elements after the file name are those of the atom types 1, 2, ... in this order.
{chr(10).join(style.commands(species))}{several}

# Energies in eV of the whole cell (not per atom); pressures in bar, positive = compressed.
thermo_style    custom step temp pe ke etotal press pxx pyy pzz pxy pxz pyz vol
thermo_modify   norm no
thermo          10

# Forces in eV/Angstrom of every atom.
dump            forces all custom 10 forces.dump id type x y z fx fy fz
dump_modify     forces sort id format float "%.10g"

# 1. One structure. With atoms at rest, the pressure is that of the potential alone; ASE's stress
#    is its negative: stress (eV/A^3) = -pressure (bar) / 1602176.634.
run             0

# 2. Molecular dynamics; the steps and the temperature are yours to choose.
timestep        0.001                  # ps, that is 1 fs
velocity        all create {temperature_K:g} 1 mom yes rot no dist gaussian
fix             motion all nvt temp {temperature_K:g} {temperature_K:g} 0.1
run             100
"""
