"""`entrove.fingerprint`: arguments, errors, lengths, widths and precision."""

import math

import crystals
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import entrove
from entrove.errors import ConfigError, StructureError
from entrove.fingerprints.batching import to_batches, to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import resolve_length
from entrove.fingerprints.radii import DEFAULT_RADII_A, width_table


def test_two_atoms_against_the_formula_by_hand():
    d, sizes, cutoff = 1.7, (0.77, 1.11), 5.0
    w = sizes[0] ** 2 + sizes[1] ** 2
    overlap = (2 * sizes[0] * sizes[1] / w) ** 1.5 * np.exp(-(d**2) / (2 * w))
    f = (1 - d**2 / cutoff**2) ** 2
    expected = np.linalg.eigvalsh([[1, f * overlap], [f * overlap, f * f]])[::-1]
    values = entrove.fingerprint(
        [Atoms("CSi", positions=[[0, 0, 0], [0, d, 0]])], cutoff_A=cutoff
    ).values
    np.testing.assert_allclose(values[:, :2], [expected, expected], atol=1e-15)
    assert (values[:, 2:] == 0).all()


def test_an_atom_alone_is_one():
    values = entrove.fingerprint([Atoms("He")], length=3)
    assert values.values.tolist() == [[1.0, 0.0, 0.0]]
    gradient = values.pull_back(np.ones((1, 3)))
    assert (gradient.positions == 0).all()
    assert (gradient.strain == 0).all()


def test_structures_of_mixed_periodicity_keep_their_order():
    structures = [make() for make in crystals.ALL]
    together = entrove.fingerprint(structures).values
    alone = np.concatenate([entrove.fingerprint([atoms]).values for atoms in structures])
    np.testing.assert_allclose(together, alone, atol=1e-13)
    batches = list(to_batches(structures * 3, max_atoms=20))
    assert sorted(index for batch in batches for index in batch.structures) == list(range(15))
    assert all(batch.state.n_atoms <= 20 for batch in batches)


def test_auto_length_fits_the_densest_structure():
    loose, dense = bulk("Si"), bulk("Si", a=4.6)
    values = entrove.fingerprint([loose, dense], length="auto").values
    largest = int((values > 0).sum(axis=1).max())
    assert largest < values.shape[1] <= 1.1 * largest + 1
    config = FingerprintConfig(length="auto", orbitals="sp")
    assert resolve_length(config, [dense]).length == math.ceil(1.1 * 4 * largest)
    with pytest.raises(ConfigError, match="needs structures to choose from"):
        GaussianOverlap(config)


def test_float32_is_good_to_about_six_digits():
    structures = [crystals.skewed_salt(), crystals.skewed_silicon()]
    exact = entrove.fingerprint(structures)
    rough = entrove.fingerprint(structures, dtype="float32")
    np.testing.assert_allclose(rough.values, exact.values, atol=5e-6)
    g = np.random.default_rng(0).normal(size=50) * np.ones_like(exact.values)
    expected = exact.pull_back(g).positions
    # Close eigenvalues share their gradient in float32, so three digits remain.
    assert np.linalg.norm(rough.pull_back(g).positions - expected) < 3e-3 * np.linalg.norm(
        expected
    )


def test_widths_override_the_table():
    atoms = crystals.skewed_salt()
    same = entrove.fingerprint([atoms], radii_A={"Na": DEFAULT_RADII_A[11], "Cl": 0.99}).values
    np.testing.assert_allclose(same, entrove.fingerprint([atoms]).values, atol=1e-13)
    wider = entrove.fingerprint([atoms], radii_A={"Na": 1.9}).values
    assert np.abs(wider - same).max() > 0.01
    assert np.isnan(width_table()[113:]).all()
    assert (width_table()[1:113] > 0.3).all()


def test_description_tells_maps_apart():
    describe = [
        GaussianOverlap(FingerprintConfig(**change)).describe()
        for change in (
            {},
            {"cutoff_A": 4.0},
            {"length": 40},
            {"orbitals": "sp"},
            {"radii_A": {"Si": 1.2}},
        )
    ]
    assert all(describe.count(value) == 1 for value in describe)
    assert GaussianOverlap(FingerprintConfig(dtype="float32")).describe() == describe[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cutoff_A": -1.0}, "cutoff_A"),
        ({"length": 0}, "length"),
        ({"orbitals": "spd"}, "orbitals"),
        ({"radii_A": {"Sj": 1.0}}, "'Sj' is no chemical symbol"),
        ({"radii_A": {"Si": -1.0}}, "must be positive, in Angstrom"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ConfigError, match=message):
        entrove.fingerprint([bulk("Si")], **arguments)


def test_structures_that_cannot_be_used():
    with pytest.raises(StructureError, match="no structures were given"):
        entrove.fingerprint([])
    with pytest.raises(StructureError, match="structure 1 has no atoms"):
        entrove.fingerprint([bulk("Si"), Atoms()])
    with pytest.raises(StructureError, match="one batch has one periodicity"):
        to_state([bulk("Si"), Atoms("Si")])
    with pytest.raises(
        ConfigError, match=r"no Gaussian width is known for atomic numbers \[118\]"
    ):
        entrove.fingerprint([Atoms("Og")])
    with pytest.raises(ConfigError, match="gradient has shape"):
        entrove.fingerprint([bulk("Si")]).pull_back(np.ones((2, 49)))
