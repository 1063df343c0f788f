"""Errors in the form that a model bundle keeps."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ase import Atoms

from entrove import provenance
from entrove.training.bundle import PartErrors
from entrove.validation.comparison import COLUMNS, Change, compare
from entrove.validation.config import ValidationConfig
from entrove.validation.errors_by_kind import ALL, ErrorRow, ErrorTable

METRICS = (
    "energy_centred_mae_meV_per_atom",
    "energy_mae_meV_per_atom",
    "force_mae_meV_per_A",
    "stress_mae_meV_per_A3",
)
"""Total errors that a bundle has at hand; names carry the unit."""


def metrics_of(
    table: ErrorTable, further: Mapping[str, float] = MappingProxyType({})
) -> dict[str, float]:
    """Return the total errors of a table by their names, and `further` ones after them.

    What is no finite number is left out: the labels have none of the quantity.
    """
    values = {name: getattr(table.total, name) for name in METRICS} | dict(further)
    return {name: value for name, value in values.items() if math.isfinite(value)}


def count_parts(labels: Sequence[Atoms]) -> dict[str, int]:
    """Count structures by phase and kind."""
    parts = (
        ", ".join(
            str(atoms.info.get(key, "unknown")).replace("_", " ")
            for key in (provenance.PHASE, provenance.KIND)
        )
        for atoms in labels
    )
    return dict(Counter(parts))


def paired_errors(
    untuned: ErrorTable, tuned: ErrorTable, config: ValidationConfig
) -> list[PartErrors]:
    """Put the errors of the untuned and the tuned model side by side, part by part.

    What got worse is what `compare` says with the same settings. The rows of a single phase for
    any kind, and of any phase for each kind, are left out where they equal others.
    """
    one_phase = len({row.phase for row in tuned.rows} - {ALL}) == 1
    before = {(row.phase, row.kind): row for row in untuned.rows}
    judged = [change for change in compare(untuned, tuned, config).changes if change.interval]

    def named(row: ErrorRow, holds: Callable[[Change], bool]) -> tuple[str, ...]:
        # The only phase is judged as all of them.
        part = (ALL if one_phase else row.phase, row.kind)
        return tuple(
            COLUMNS[change.quantity]
            for change in judged
            if (change.phase, change.kind) == part and holds(change)
        )

    return [
        PartErrors(
            phase=row.phase,
            kind=row.kind,
            structures=row.structures,
            untuned=_numbers(before.get((row.phase, row.kind))),
            tuned=_numbers(row),
            judged=named(row, lambda _: True),
            worse=named(row, lambda change: change.worse),
            larger=named(row, lambda change: change.larger and not change.worse),
        )
        for row in tuned.rows
        if not (one_phase and (row.phase == ALL) != (row.kind == ALL))
    ]


def _numbers(row: ErrorRow | None) -> dict[str, float | None]:
    """Return the errors of a row by their names; an interval becomes two of them."""
    found: dict[str, float | None] = {}
    for name, value in {} if row is None else vars(row).items():
        if isinstance(value, float):
            found[name] = _finite(value)
        elif isinstance(value, tuple) and len(value) == 2:
            of = name.replace("_interval_", "_mae_")
            found |= {
                f"{of}_{end}": _finite(bound)
                for end, bound in zip(("low", "high"), value, strict=True)
            }
    return found


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
