"""Train a NequIP or Allegro model from random weights instead of from a foundation model.

An architecture is a YAML file: the keyword arguments of a model builder of NequIP or Allegro, and
its `_target_`. What follows from the labels (species, neighbours per atom, energies per species
and the scale of forces) is left out, and filled in here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.neighborlist import neighbor_list

from entrove.errors import ModelError
from entrove.structures import forces_of, species_of
from entrove.training.reference_energies import fit_reference_shifts

SUFFIX = ".yaml"
FOLDER = Path(__file__).parent / "architectures"

ARCHITECTURES = tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))
"""Names of the architectures that are shipped."""

FROM_LABELS = (
    "type_names",
    "avg_num_neighbors",
    "per_type_energy_scales",
    "per_type_energy_shifts",
)
"""Keys that follow from the labels."""

LEAST_FORCE_EV_PER_A = 1e-3
"""Scale of a species whose labels have no forces."""


def find_architecture(base: str) -> Path | None:
    """Return the file of an architecture, by its name or path; None for any other model."""
    if base in ARCHITECTURES:
        return FOLDER / f"{base}{SUFFIX}"
    return Path(base) if base.endswith(SUFFIX) else None


def read_architecture(path: Path) -> dict[str, Any]:
    """Read an architecture; raises `ModelError` when it is none."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelError(f"{path}: not an architecture that can be read ({error})") from error
    if not isinstance(content, dict) or not {"_target_", "r_max"} <= content.keys():
        raise ModelError(
            f"{path}: an architecture has the keys _target_, a model builder of NequIP or Allegro "
            f"as 'allegro.model.AllegroModel', and r_max; shipped ones are "
            f"{', '.join(ARCHITECTURES)}"
        )
    if given := sorted(set(FROM_LABELS) & content.keys()):
        raise ModelError(f"{path}: {', '.join(given)} follow from the labels; remove them")
    return content


def build_description(
    architecture: dict[str, Any], structures: Sequence[Atoms], seed: int
) -> dict[str, Any]:
    """Complete an architecture for some labels.

    Args:
        architecture: As `read_architecture` returns it.
        structures: Labelled structures, with energies in eV and forces in eV/A.
        seed: Seed of the weights.

    Energies per species are those of a least-squares fit to the labels, and a species' output is
    scaled by the root mean square of its force components.
    """
    symbols = species_of(structures)
    neighbours = [
        len(neighbor_list("i", atoms, float(architecture["r_max"]))) for atoms in structures
    ]
    atoms_in_all = sum(len(atoms) for atoms in structures)
    shifts = fit_reference_shifts(structures, [0.0] * len(structures))
    return architecture | {
        "seed": seed,
        "type_names": symbols,
        "avg_num_neighbors": sum(neighbours) / atoms_in_all,
        "per_type_energy_scales": {symbol: _force_scale(structures, symbol) for symbol in symbols},
        "per_type_energy_shifts": shifts,
    }


def _force_scale(structures: Sequence[Atoms], symbol: str) -> float:
    forces = [forces_of(atoms)[atoms.symbols == symbol].ravel() for atoms in structures]
    joined = np.concatenate(forces)
    return max(float(np.sqrt(np.mean(joined**2))), LEAST_FORCE_EV_PER_A)
