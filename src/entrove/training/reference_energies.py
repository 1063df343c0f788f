"""Per-species energy shifts that carry a model from its level of theory to that of the labels.

Two codes, or two sets of pseudopotentials, count energy from different zeros. Most of that
difference is a constant per atom of each species; a model that has to learn it through its weights
spends its labels on it. The constants are fitted in closed form instead.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.errors import ModelError
from entrove.structures import species_of


def composition_matrix(structures: Sequence[Atoms], symbols: Sequence[str]) -> np.ndarray:
    """Count the atoms of each species: (structures, species), float."""
    return np.array(
        [[atoms.symbols.count(symbol) for symbol in symbols] for atoms in structures], dtype=float
    ).reshape(len(structures), len(symbols))


def fit_reference_shifts(
    structures: Sequence[Atoms], predicted_eV: Sequence[float]
) -> dict[str, float]:
    """Fit the energy in eV that each atom of a species must gain to meet the labels.

    Least squares on the energy per atom, min over s of sum_i ((E_i - P_i - sum_a n_ia s_a) /
    N_i)^2, with the labelled energy E, the predicted one P and the counts n. Compositions that do
    not tell species apart (a compound at one stoichiometry) leave a family of solutions; the one
    of least norm is returned, which leaves species alone that the labels say nothing about.

    Raises `ModelError` when the numbers of labels and predictions differ, there is no label, or an
    energy is not finite.
    """
    if len(structures) == 0 or len(structures) != len(predicted_eV):
        raise ModelError(
            f"reference energies need one prediction per label and at least one label; "
            f"got {len(structures)} labels and {len(predicted_eV)} predictions"
        )
    labels = np.array([atoms.get_potential_energy() for atoms in structures], dtype=float)
    difference = labels - np.asarray(predicted_eV, dtype=float)
    if not np.isfinite(difference).all():
        bad = int(np.flatnonzero(~np.isfinite(difference))[0])
        raise ModelError(
            f"structure {bad}: its labelled or predicted energy is not finite; remove the label"
        )
    symbols = species_of(structures)
    counts = composition_matrix(structures, symbols)
    sizes = counts.sum(axis=1)
    # An SVD-based solver: of all solutions it returns the one of least norm.
    shifts, *_ = np.linalg.lstsq(counts / sizes[:, None], difference / sizes, rcond=1e-10)
    return {symbol: float(shift) for symbol, shift in zip(symbols, shifts, strict=True)}
