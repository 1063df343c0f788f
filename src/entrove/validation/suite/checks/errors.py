"""Errors on labelled data: small enough, and not larger than the untuned model's?

Energies are judged as they are where the model has the zero of the labels, and without the mean
error of each composition where it may have another one.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from entrove.structures import has_stress
from entrove.validation.comparison import Change, compare
from entrove.validation.errors_by_kind import ALL, ErrorRow, ErrorTable, errors_by_kind
from entrove.validation.measure import Validation, validate
from entrove.validation.structure_errors import compositions
from entrove.validation.suite.config import ErrorSettings
from entrove.validation.suite.result import (
    Cell,
    CheckResult,
    DataTable,
    Quantity,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import Subject

NAME = "errors"

ENERGY = ("energy", "meV/atom", "energy_mae_meV_per_atom")
CENTRED_ENERGY = ("energy, centred", "meV/atom", "energy_centred_mae_meV_per_atom")
NO_LABEL = "no label has any"
NO_COMMON_COMPOSITION = "no two labels have one composition"
OTHERS = (
    ("forces", "meV/A", "force_mae_meV_per_A"),
    ("stress", "meV/A^3", "stress_mae_meV_per_A3"),
)


def check_errors(subject: Subject, settings: ErrorSettings) -> list[CheckResult]:
    """Compare predictions with labels, by phase and kind."""
    if not subject.labelled:
        return [not_applicable(NAME, "", "there is no labelled data")]
    shifts = {} if subject.has_zero_of_labels else None
    ours = validate(subject.model, subject.labelled, reference_shifts_eV=shifts)
    table, theirs, untuned = ours.errors, None, None
    if subject.base is not None:
        theirs = validate(
            subject.base, subject.labelled, reference_shifts_eV=subject.base_shifts_eV
        )
        untuned = theirs.errors
    columns = (ENERGY if subject.has_zero_of_labels else CENTRED_ENERGY, *OTHERS)
    limits = (
        settings.energy_mae_meV_per_atom,
        settings.force_mae_meV_per_A,
        settings.stress_mae_meV_per_A3,
    )
    quantities, problems = [], []
    for (name, unit, column), limit in zip(columns, limits, strict=True):
        of, reference = _table_of(column, subject, ours), _table_of(column, subject, theirs)
        quantities.append(
            Quantity(
                f"{name}, MAE over all",
                None if of is None else number(getattr(of.total, column)),
                unit,
                at_most=limit,
                reference=_reference(reference, column),
            )
        )
        missing = _why_missing(subject, name)
        problems += [] if limit is None else _too_large(of, name, unit, column, limit, missing)
    quoted = (ENERGY, CENTRED_ENERGY, *OTHERS) if subject.has_zero_of_labels else columns
    found = ", ".join(
        _quote(
            _table_of(quantity[2], subject, ours), *quantity, _why_missing(subject, quantity[0])
        )
        for quantity in quoted
    )
    where = f"on {table.total.structures} {subject.labelled_as}"
    if untuned is not None:
        # Without a fit of its reference energies, those of the untuned model are compared centred.
        worse = compare(untuned, table, subject.negligible).worse
        too_much = [
            change
            for change in worse
            if settings.tolerated_worsening is not None
            and change.exceeds(settings.tolerated_worsening)
        ]
        problems += [f"worse than untuned: {change.describe()}" for change in too_much]
        found += f"; {_describe_worse(worse)}"
    verdict = judged(NAME, "", found, quantities, problems=problems, tables=[_table(table)])
    return [replace(verdict, sentence=f"{verdict.sentence}, {where}")]


def _table_of(column: str, subject: Subject, found: Validation | None) -> ErrorTable | None:
    """The errors that a column is taken from; None without any.

    A centred error of the only label of a composition is zero, whatever the model: such labels
    are left out.
    """
    if found is None or column != CENTRED_ENERGY[2]:
        return None if found is None else found.errors
    formulas = compositions(subject.labelled)
    number_of = Counter(formulas)
    shared = [index for index, formula in enumerate(formulas) if number_of[formula] > 1]
    if not shared:
        return None
    return errors_by_kind(
        [subject.labelled[index] for index in shared],
        [found.predictions[index] for index in shared],
        found.errors.reference_shifts_eV,
    )


def _why_missing(subject: Subject, name: str) -> str:
    """Why there is no error of a quantity, where there is none."""
    if name == CENTRED_ENERGY[0]:
        return NO_COMMON_COMPOSITION
    computes_none = name == "stress" and not subject.has_stress
    if computes_none and any(map(has_stress, subject.labelled)):
        return "the model computes none"
    return NO_LABEL


def _quote(table: ErrorTable | None, name: str, unit: str, column: str, missing: str) -> str:
    error: float = math.nan if table is None else getattr(table.total, column)
    if not math.isnan(error):
        return f"{name} {error:.3g} {unit}"
    return f"no {name} in the labels" if missing == NO_LABEL else f"{name}: {missing}"


def _describe_worse(worse: Sequence[Change]) -> str:
    if not worse:
        return "in no part worse than the untuned model beyond the confidence interval"
    named = ", ".join(change.describe() for change in worse)
    return f"worse than untuned, as tolerated_worsening allows: {named}"


def _reference(untuned: ErrorTable | None, column: str) -> float | None:
    """The error of the untuned model; None for energies whose zero is not that of the labels."""
    if untuned is None or (column == ENERGY[2] and untuned.reference_shifts_eV is None):
        return None
    return number(getattr(untuned.total, column))


def _too_large(
    table: ErrorTable | None, name: str, unit: str, column: str, limit: float, missing: str
) -> list[str]:
    """Name the parts whose error exceeds the limit, or the total where no part does.

    A part that is the total, the only phase or the only kind, is not named beside it.
    """
    if table is None or math.isnan(getattr(table.total, column)):
        return [f"{name}: {missing}, so that the limit cannot be judged"]
    exceeding = [row for row in table.rows if getattr(row, column) > limit]
    parts = [row for row in exceeding if row.structures < table.total.structures]
    return [
        f"{name} of {_title(row)} {getattr(row, column):.3g} {unit} (at most {limit:g} is allowed)"
        for row in parts or exceeding[:1]
    ]


def _title(row: ErrorRow) -> str:
    return ", ".join(part for part in (row.phase, row.kind) if part != ALL) or "all"


def _table(table: ErrorTable) -> DataTable:
    """Errors with the ends of their confidence intervals."""
    quantities = (
        ("Energy", "meV/atom", "energy_mae_meV_per_atom", "energy_interval_meV_per_atom"),
        ("Centred energy", "meV/atom", "energy_centred_mae_meV_per_atom", None),
        ("Forces", "meV/Å", "force_mae_meV_per_A", "force_interval_meV_per_A"),
        ("Stress", "meV/Å³", "stress_mae_meV_per_A3", "stress_interval_meV_per_A3"),
    )
    heads = [
        head
        for name, unit, _, interval in quantities
        for head in (f"{name} ({unit})", *(("from", "to") if interval else ()))
    ]
    rows: list[tuple[Cell, ...]] = []
    for row in table.rows:
        cells: list[Cell] = [row.phase, row.kind, float(row.structures)]
        for _, _, column, interval in quantities:
            cells.append(number(getattr(row, column)))
            if interval is not None:
                low, high = getattr(row, interval) or (math.nan, math.nan)
                cells += [number(low), number(high)]
        rows.append(tuple(cells))
    return DataTable(
        "Mean absolute errors, with 95 % confidence intervals",
        ("Phase", "Kind", "Structures", *heads),
        tuple(rows),
    )
