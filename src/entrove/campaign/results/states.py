"""Errors by phase, pressure and temperature, for the best model and the untuned one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ase import Atoms

from entrove import provenance
from entrove.campaign.results.results import StateErrors
from entrove.provenance import provenance_of
from entrove.validation.errors_by_kind import ALL, errors_by_kind

NO_ENERGIES: dict[str, Any] = {
    "energy_mae_meV_per_atom": math.nan,
    "energy_rmse_meV_per_atom": math.nan,
    "energy_interval_meV_per_atom": None,
}
"""Errors of a model whose zero of energy is not that of the labels."""


def errors_by_state(
    reference: Sequence[Atoms],
    predicted: Sequence[Atoms],
    reference_shifts_eV: Mapping[str, float] | None,
    *,
    round_index: int,
    model: str,
) -> list[StateErrors]:
    """Compare predictions with labels for each phase, pressure and temperature.

    Args:
        reference: Labelled structures whose `info` says phase, pressure and, for molecular
            dynamics, temperature.
        predicted: The same structures with predictions, in the same order.
        reference_shifts_eV: As of `entrove.validation.errors_by_kind`; None where they are not
            known: then energy errors, but for the centred ones, are not a number.
        round_index: The round that tuned the model; 0 is the untuned one.
        model: Name of the model.

    Returns one entry per state that occurs, sorted by phase (in order of occurrence), pressure and
    temperature; cells at rest, which have no temperature, come first.
    """
    states: list[tuple[str, float, float | None] | None] = [
        _state_of(atoms) for atoms in reference
    ]
    phases = list(dict.fromkeys(state[0] for state in states if state is not None))
    ordered = sorted(
        {state for state in states if state is not None},
        key=lambda state: (phases.index(state[0]), state[1], state[2] or 0.0),
    )
    names = {state: f"state {number}" for number, state in enumerate(ordered)}
    # All structures are compared at once, each state as a kind of its own: what is subtracted from
    # a centred energy must not depend on how finely the structures are divided.
    kinds = ["none" if state is None else names[state] for state in states]
    table = errors_by_kind(
        [_of_kind(atoms, kind) for atoms, kind in zip(reference, kinds, strict=True)],
        predicted,
        reference_shifts_eV,
    )
    rows = {state: table.row(ALL, names[state]) for state in ordered}
    if reference_shifts_eV is None:
        rows = {state: replace(row, **NO_ENERGIES) for state, row in rows.items()}
    return [StateErrors(round_index, model, *state, rows[state]) for state in ordered]


def _state_of(atoms: Atoms) -> tuple[str, float, float | None] | None:
    info = provenance_of(atoms)
    if provenance.PRESSURE not in info:
        return None
    temperature = info.get(provenance.TEMPERATURE)
    return (
        str(info.get(provenance.PHASE, "unknown")),
        float(info[provenance.PRESSURE]),
        None if temperature is None else float(temperature),
    )


def _of_kind(atoms: Atoms, kind: str) -> Atoms:
    """Return the same labelled structure as one of another kind."""
    labelled: Any = atoms  # ASE gives its calculators no type
    copy: Any = labelled.copy()
    copy.calc = labelled.calc
    provenance_of(copy)[provenance.KIND] = kind
    return copy
