"""One hash of everything that a step depends on."""

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import BaseModel

from entrove.files import hash_of_file
from entrove.structures import canonical_order, content_hash, energy_of, has_stress


def digest(*parts: Any) -> str:
    """Hash settings, structures, numbers and text, in their order.

    Args:
        parts: Settings, structures, lists of structures, or what JSON can hold.

    Returns 24 hexadecimal digits.

    >>> digest("a", 1) == digest("a", 1), digest("a", 1) == digest("a", 2)
    (True, False)
    """
    text = json.dumps([_plain(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def digest_labels(labelled: Sequence[Atoms]) -> str:
    """Hash structures with their energies, forces and stresses, in whatever order they come.

    Args:
        labelled: Structures whose values count to 1e-6 eV, eV/A and eV/A^3. Where the atoms of one
            stand in another order, with their forces, the hash is the same.

    Returns 24 hexadecimal digits.
    """
    return digest(sorted(digest(atoms, _values(atoms)) for atoms in labelled))


def hashes_of_modules(names: Sequence[str]) -> list[str]:
    """Hashes of the files of models that are given as "module:factory"; none of other names.

    Those of installed packages are left out: a package is known by its version.
    """
    found = []
    for name in names:
        module, separator, _ = name.partition(":")
        if not separator:
            continue
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            continue
        file = None if spec is None or not spec.has_location else spec.origin
        if file is not None and not {"site-packages", "dist-packages"} & {*Path(file).parts}:
            found.append(hash_of_file(Path(file)))
    return found


def _values(atoms: Atoms) -> list[str]:
    forces = np.asarray(atoms.get_forces(apply_constraint=False))[canonical_order(atoms)]
    stress = atoms.get_stress(apply_constraint=False) if has_stress(atoms) else []
    # Adding 0.0 makes -0.0 zero, which is written otherwise.
    rounded = np.round(np.concatenate([[energy_of(atoms)], forces.ravel(), stress]), 6) + 0.0
    return [f"{value:.6f}" for value in rounded]


def _plain(part: Any) -> Any:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    if isinstance(part, Atoms):
        return content_hash(part)
    if isinstance(part, Sequence) and not isinstance(part, str):
        return [_plain(member) for member in part]
    return part
