"""Two labels of one structure: whether they say the same."""

import numpy as np

from entrove.labelling.labels import Label

SAME_ENERGY_EV_PER_ATOM = 1e-3
SAME_FORCE_EV_PER_A = 0.02
SAME_STRESS_EV_PER_A3 = 1e-3
"""Labels of one level of theory agree to this and better: decimals and machines differ."""


def describe_differences(label: Label, known: Label) -> str:
    """Say by how much two labels of a structure differ, as "energy by +0.1 eV, ...".

    Both list the atoms in the same order. Returns an empty string when they agree.
    """
    differences = []
    if label.energy_eV is not None and known.energy_eV is not None:
        apart = label.energy_eV - known.energy_eV
        atoms = 1 if label.forces_eV_per_A is None else len(label.forces_eV_per_A)
        if abs(apart) > SAME_ENERGY_EV_PER_ATOM * atoms:
            differences.append(f"energy by {apart:+.4g} eV")
    for what, limit, unit, one, other in (
        ("a force", SAME_FORCE_EV_PER_A, "eV/A", label.forces_eV_per_A, known.forces_eV_per_A),
        (
            "a stress",
            SAME_STRESS_EV_PER_A3,
            "eV/A^3",
            label.stress_eV_per_A3,
            known.stress_eV_per_A3,
        ),
    ):
        if one is None or other is None:
            continue
        apart = float(np.abs(one - other).max())
        if apart > limit:
            differences.append(f"{what} by {apart:.4g} {unit}")
    return ", ".join(differences)


def describe_contradiction(label: Label, known: Label) -> str:
    """Say how a label differs from the one that is known for the same structure, which is kept.

    Both list the atoms in the same order. Returns an empty string when they agree.
    """
    differences = describe_differences(label, known)
    if not differences:
        return ""
    file, _, index = known.folder.rpartition("#")
    if known.import_id is None:
        kept = "which was computed and is kept"
    elif known.import_id == label.import_id:
        kept = (
            f"which is kept; it is structure {index} of {file}, of the same import: leave one out"
        )
    else:
        kept = (
            f"which is kept; it is structure {index} of {file} (import {known.import_id}); "
            "replace it with --replace, or withdraw that import with 'entrove labels FOLDER "
            f"--withdraw {known.import_id}'"
        )
    return f"its values differ from the label that is known ({differences}), {kept}"
