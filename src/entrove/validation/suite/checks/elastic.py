"""Elastic constants: does every small strain cost energy, and are known constants met?"""

import numpy as np

from entrove.validation.elastic import ElasticConstants, elastic_constants
from entrove.validation.suite.config import ElasticSettings
from entrove.validation.suite.result import (
    CheckResult,
    DataTable,
    Quantity,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import NO_CRYSTAL, Phase, Subject, in_standard_orientation

NAME = "elastic"


def check_elastic(subject: Subject, settings: ElasticSettings) -> list[CheckResult]:
    """Compute the elastic constants of each phase at the pressure at which it is judged.

    They are those in the axes of the conventional cell, see `in_standard_orientation`.
    """
    return [
        not_applicable(NAME, phase.name, phase.problem)
        if phase.problem
        else _check(subject, phase, settings)
        for phase in subject.phases
    ] or [not_applicable(NAME, "", NO_CRYSTAL)]


def _check(subject: Subject, phase: Phase, settings: ElasticSettings) -> CheckResult:
    constants = elastic_constants(
        in_standard_orientation(phase.atoms), subject.model, strain=settings.strain
    )
    quantities = [
        Quantity(
            "stiffness against the softest strain",
            number(constants.lowest_eigenvalue_GPa),
            "GPa",
            at_least=settings.least_eigenvalue_GPa,
        ),
        Quantity("bulk modulus (Voigt)", number(constants.bulk_modulus_GPa), "GPa"),
        Quantity("shear modulus (Voigt)", number(constants.shear_modulus_GPa), "GPa"),
        Quantity("asymmetry before averaging", number(constants.asymmetry_GPa), "GPa"),
        *_against_reference(constants, phase, settings),
    ]
    matrix = DataTable(
        f"{phase.name} at {phase.pressure_GPa:g} GPa, in GPa, axes of the conventional cell",
        ("", *(f"C·{column}" for column in range(1, 7))),
        tuple((f"C{row + 1}·", *_rounded(constants.matrix_GPa[row])) for row in range(6)),
    )
    first = ", ".join(
        f"C{i + 1}{j + 1} = {constants.matrix_GPa[i, j]:.0f}" for i, j in ((0, 0), (0, 1), (3, 3))
    )
    found = f"stable at {phase.pressure_GPa:g} GPa: {first} GPa"
    return judged(NAME, phase.name, found, quantities, tables=[matrix])


def _rounded(row_GPa: np.ndarray) -> list[float]:
    """Round to 0.1 GPa, with no negative zero."""
    return [round(float(value), 1) + 0.0 for value in row_GPa]


def _against_reference(
    constants: ElasticConstants, phase: Phase, settings: ElasticSettings
) -> list[Quantity]:
    known = settings.reference_GPa.get(phase.name, {})
    if not known:
        return []
    allowed = settings.reference_error * max(abs(value) for value in known.values())
    quantities = []
    for name, right in known.items():
        row, column = (int(digit) - 1 for digit in name[-2:])
        quantities.append(
            Quantity(
                f"{name} at {phase.pressure_GPa:g} GPa",
                number(float(np.asarray(constants.matrix_GPa)[row, column])),
                "GPa",
                number(right - allowed),
                number(right + allowed),
                right,
            )
        )
    return quantities
