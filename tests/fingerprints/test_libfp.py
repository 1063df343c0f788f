"""Against stored output of libfp 4.0.1, the reference implementation (see data/README.md)."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from entrove.fingerprints.batching import to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.from_structures import fingerprint
from entrove.fingerprints.gom import GaussianOverlap

DATA = Path(__file__).parent / "data"


@pytest.fixture(params=["Si8", "Si64", "C8", "C64", "NaCl8", "NaCl64"])
def reference(request):
    with np.load(DATA / f"libfp_{request.param}.npz") as stored:
        return dict(stored)


def atoms_of(reference) -> Atoms:
    return Atoms(
        numbers=reference["numbers"],
        positions=reference["positions"],
        cell=reference["cell"],
        pbc=True,
    )


def test_values_and_derivatives_equal_libfp(reference):
    length = reference["values"].shape[1]
    ours = fingerprint([atoms_of(reference)], cutoff_A=float(reference["cutoff_A"]), length=length)
    np.testing.assert_allclose(
        ours.values, reference["values"], atol=1e-10 * reference["values"].max()
    )

    atom, feature = np.indices(ours.values.shape)
    gradient = ours.pull_back(np.cos(1 + 3 * atom + 7 * feature))
    expected = reference["positions_pull_back"]
    np.testing.assert_allclose(gradient.positions, expected, atol=1e-10 * abs(expected).max())
    symmetric = reference["strain_pull_back"] / [1, 1, 1, 2, 2, 2]
    voigt = gradient.strain[0].reshape(9)[[0, 4, 8, 5, 2, 1]]
    np.testing.assert_allclose(voigt, symmetric, atol=1e-10 * abs(symmetric).max())


def test_values_with_p_orbitals_equal_libfp(reference):
    expected = reference["values_sp"]
    config = FingerprintConfig(length=expected.shape[1], orbitals="sp")
    ours = GaussianOverlap(config).evaluate(to_state([atoms_of(reference)]), pull_back=False)
    np.testing.assert_allclose(ours.values[:8].numpy(), expected, atol=1e-10 * expected.max())
