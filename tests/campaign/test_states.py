"""Errors by phase, pressure and temperature are the same errors, divided more finely."""

import numpy as np
import pytest
from ase.build import bulk

from entrove import provenance
from entrove.campaign.results.states import errors_by_state
from entrove.structures import attach_results
from entrove.validation.errors_by_kind import errors_by_kind

STATES = [
    ("fcc", "strain", 0.0, None),
    ("fcc", "shear", 0.0, None),
    ("fcc", "md", 0.0, 300.0),
    ("fcc", "md", 10.0, 300.0),
    ("bcc", "md", 10.0, 900.0),
]


@pytest.fixture
def labels_and_predictions():
    rng = np.random.default_rng(4)
    labels, predictions = [], []
    for phase, kind, pressure, temperature in STATES:
        for _ in range(3):
            atoms = bulk("Cu", cubic=True)
            atoms.rattle(0.1, rng=rng)
            atoms.info |= {
                provenance.PHASE: phase,
                provenance.KIND: kind,
                provenance.PRESSURE: pressure,
            }
            if temperature is not None:
                atoms.info[provenance.TEMPERATURE] = temperature
            for structures in (labels, predictions):
                values = rng.normal(size=1), rng.normal(size=(4, 3)), rng.normal(size=6)
                structures.append(attach_results(atoms, float(values[0][0]), *values[1:]))
                structures[-1].info |= atoms.info
    return labels, predictions


def test_states_together_are_the_total(labels_and_predictions):
    rows = errors_by_state(*labels_and_predictions, {}, round_index=2, model="tuned")
    total = errors_by_kind(*labels_and_predictions).total
    assert sum(row.errors.structures for row in rows) == total.structures
    for column in (
        "energy_mae_meV_per_atom",
        # Centred on all structures: one structure or one state alone would read zero.
        "energy_centred_mae_meV_per_atom",
        "force_mae_meV_per_A",
        "stress_mae_meV_per_A3",
    ):
        # All structures have as many atoms, so the mean over states is weighted by structures.
        # No force or stress component vanishes by symmetry here, so that all count as much.
        mean = np.average(
            [getattr(row.errors, column) for row in rows],
            weights=[row.errors.structures for row in rows],
        )
        assert mean == pytest.approx(getattr(total, column), rel=1e-12)


def test_states_are_sorted_and_those_at_rest_are_one(labels_and_predictions):
    rows = errors_by_state(*labels_and_predictions, {}, round_index=2, model="tuned")
    assert [(row.phase, row.pressure_GPa, row.temperature_K) for row in rows] == [
        ("fcc", 0.0, None),
        ("fcc", 0.0, 300.0),
        ("fcc", 10.0, 300.0),
        ("bcc", 10.0, 900.0),
    ]
    assert rows[0].errors.structures == 6


def test_structures_without_a_pressure_belong_to_no_state(labels_and_predictions):
    labels, predictions = labels_and_predictions
    del labels[0].info[provenance.PRESSURE]
    rows = errors_by_state(labels, predictions, None, round_index=0, model="untuned")
    assert sum(row.errors.structures for row in rows) == len(labels) - 1
    # The zero of energy of this model is not known: only centred errors mean something.
    assert all(np.isnan(row.errors.energy_mae_meV_per_atom) for row in rows)
    assert all(np.isfinite(row.errors.energy_centred_mae_meV_per_atom) for row in rows)
