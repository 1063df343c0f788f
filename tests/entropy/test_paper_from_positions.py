"""The paper's method from positions on in NumPy: fingerprint, covariance, ln det, derivatives.

Nothing here is shared with the code under test: images by brute force, `numpy.linalg.eigvalsh` for
every sphere, `slogdet` for every dataset, central differences for derivatives. Wang, Rao & Zhu,
arXiv:2605.20384.
"""

from itertools import product

import numpy as np
import pytest
from structures_of_test import salt

from entrove.entropy.dataset import EntropyDataset
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.bias.entropy_gradient import entropy_gradient

CUTOFF_A, LENGTH, EPSILON = 3.8, 16, 1e-3
WIDTHS_A = {"Na": 1.5, "Cl": 1.0}
FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=CUTOFF_A, length=LENGTH, radii_A=WIDTHS_A))
MEMBERS = [salt(seed, 0.2) for seed in range(3)]
CONFIGURATION = salt(7, 0.2)
DEFINITIONS = [(mode, blocks) for mode in ("per_atom", "per_config") for blocks in (False, True)]


def fingerprint_of_atom(atoms, centre: int) -> np.ndarray:
    """Eigenvalues of A_ij = f_i S_ij f_j over all images within the cutoff, largest first."""
    heights = atoms.cell.volume / np.linalg.norm(
        np.cross(*atoms.cell.array[[[1, 2, 0], [2, 0, 1]]]), axis=1
    )
    # Atoms lie within a cell or so of each other: one more shell of images than the cutoff asks
    # for, and one more.
    shells = [range(-n, n + 1) for n in (np.ceil(CUTOFF_A / heights).astype(int) + 1)]
    translations = np.array(list(product(*shells))) @ atoms.cell.array
    x = (atoms.positions[None] + translations[:, None] - atoms.positions[centre]).reshape(-1, 3)
    s = np.tile([WIDTHS_A[symbol] for symbol in atoms.symbols], len(translations))
    inside = np.linalg.norm(x, axis=1) < CUTOFF_A
    x, s = x[inside], s[inside]
    w = s[:, None] ** 2 + s[None, :] ** 2
    distance2 = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    overlap = (2 * s[:, None] * s[None, :] / w) ** 1.5 * np.exp(-distance2 / (2 * w))
    f = (1 - (x**2).sum(axis=1) / CUTOFF_A**2) ** 2
    values = np.linalg.eigvalsh(f[:, None] * overlap * f[None])[::-1][:LENGTH]
    return np.pad(values, (0, LENGTH - len(values)))


def rows_of(atoms, members: np.ndarray, mode: str) -> np.ndarray:
    values = np.array([fingerprint_of_atom(atoms, centre) for centre in np.flatnonzero(members)])
    return values if mode == "per_atom" else values.mean(axis=0, keepdims=True)


def entropy_by_hand(structures, mode: str, species_blocks: bool) -> float:
    """S_glob = sum over blocks of ln det Sigma."""
    total = 0.0
    for block in (("Na",), ("Cl",)) if species_blocks else (("Na", "Cl"),):
        rows = np.concatenate(
            [rows_of(atoms, np.isin(atoms.symbols, block), mode) for atoms in structures]
        )
        mean = rows.mean(axis=0)
        sigma = rows.T @ rows / len(rows) - np.outer(mean, mean) + EPSILON * np.eye(LENGTH)
        sign, value = np.linalg.slogdet(sigma)
        assert sign == 1
        total += value
    return total


def slope_by_hand(mode: str, species_blocks: bool, change) -> float:
    """Central difference of S_glob(D + c) along `change`, which moves a copy of c by a step."""
    h = 1e-5
    ends = []
    for sign in (1, -1):
        moved = CONFIGURATION.copy()
        change(moved, sign * h)
        ends.append(entropy_by_hand([*MEMBERS, moved], mode, species_blocks))
    return (ends[0] - ends[1]) / (2 * h)


@pytest.mark.parametrize(("mode", "species_blocks"), DEFINITIONS)
def test_entropy_force_and_stress_of_the_paper(mode, species_blocks):
    """One block for all species is the paper's own definition; one for each is ours."""
    dataset = EntropyDataset(
        "paper", mode, features=FEATURES, epsilon=EPSILON, species_blocks=species_blocks
    )
    dataset.add(MEMBERS)
    result = entropy_gradient(to_state([CONFIGURATION]), [dataset.bias()])
    known = entropy_by_hand(MEMBERS, mode, species_blocks)
    grown = entropy_by_hand([*MEMBERS, CONFIGURATION], mode, species_blocks)
    # Of the order of -100; the condition number of Sigma is 1e3.
    assert float(result.entropy[0]) == pytest.approx(grown, rel=1e-11)
    assert dataset.gain(CONFIGURATION)[0] == pytest.approx(grown - known, abs=1e-9)
    blocks = 2 if species_blocks else 1
    assert dataset.entropy() == pytest.approx(known - blocks * LENGTH * np.log(EPSILON), rel=1e-11)
    # Truncation h^2 S''' / 6 = 1e-10 S''' with S''' up to 1e4 / A^3; rounding 100 x 2e-16 / h =
    # 2e-9 / A.
    scale = float(result.positions.abs().max())
    assert scale > 0.05
    for atom, axis in ((0, 0), (3, 1), (6, 2)):

        def move(atoms, step, atom=atom, axis=axis):
            atoms.positions[atom, axis] += step

        expected = slope_by_hand(mode, species_blocks, move)
        assert float(result.positions[atom, axis]) == pytest.approx(
            expected, rel=1e-5, abs=1e-6 * scale
        )
    for row, column in ((0, 0), (1, 2)):
        strain = np.zeros((3, 3))
        strain[row, column] += 0.5
        strain[column, row] += 0.5

        def deform(atoms, step, strain=strain):
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)

        expected = slope_by_hand(mode, species_blocks, deform)
        scale = float(result.strain.abs().max())
        assert float(result.strain[0, row, column]) == pytest.approx(
            expected, rel=1e-5, abs=1e-6 * scale
        )
