"""Energy against volume: is the curve smooth, and does it agree with labelled volumes?"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.errors import ModelError
from entrove.models.prediction import predict
from entrove.structures import energy_of
from entrove.validation.equation_of_state import (
    EquationOfState,
    equation_of_state,
    fit_birch_murnaghan,
)
from entrove.validation.suite.config import EquationOfStateSettings
from entrove.validation.suite.crystals import FEWEST_FOR_A_FIT, volumes_of
from entrove.validation.suite.result import (
    CheckResult,
    Curve,
    Panel,
    Quantity,
    curve,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import NO_CRYSTAL, Phase, Subject

NAME = "equation_of_state"


def check_equation_of_state(
    subject: Subject, settings: EquationOfStateSettings
) -> list[CheckResult]:
    """Fit an equation of state to each phase, relaxed without pressure."""
    results = []
    for phase in subject.phases:
        if phase.problem or 0.0 not in phase.relaxed:
            reason = phase.problem or "its relaxation without pressure did not converge"
            results.append(not_applicable(NAME, phase.name, reason))
            continue
        try:
            results.append(_check(subject, phase, settings))
        except ModelError as error:
            results.append(judged(NAME, phase.name, "", [], problems=[str(error)]))
    return results or [not_applicable(NAME, "", NO_CRYSTAL)]


def _check(subject: Subject, phase: Phase, settings: EquationOfStateSettings) -> CheckResult:
    fit = equation_of_state(
        phase.relaxed[0.0].atoms,
        subject.model,
        scales=settings.scales,
        force_tolerance_eV_per_A=0.01,
    )
    quantities = [
        Quantity("volume", number(fit.volume_A3_per_atom), "A^3/atom"),
        Quantity("bulk modulus", number(fit.bulk_modulus_GPa), "GPa", at_least=0.0),
        Quantity("pressure derivative of the bulk modulus", number(fit.bulk_modulus_derivative)),
        Quantity(
            "distance from the fit",
            number(fit.residual_meV_per_atom),
            "meV/atom",
            at_most=settings.residual_meV_per_atom,
        ),
    ]
    found = (
        f"{fit.volume_A3_per_atom:.3f} A^3/atom, B = {fit.bulk_modulus_GPa:.1f} GPa, "
        f"B' = {fit.bulk_modulus_derivative:.1f}"
    )
    curves = _curves(fit)
    labels = volumes_of(subject, phase)
    problems: list[str] = []
    if len(labels) > 1:
        compared, of_labels, text, problems = _compare(subject, labels, fit, settings)
        quantities += compared
        curves.append(of_labels)
        found += text
    else:
        found += "; no labels of this phase at several volumes to compare with"
    panel = Panel(
        phase.name,
        "volume (Å³/atom)",
        "energy (meV/atom)",
        tuple(curves),
    )
    return judged(NAME, phase.name, found, quantities, problems=problems, panels=[panel])


def _curves(fit: EquationOfState) -> list[Curve]:
    volumes = fit.volumes_A3_per_atom
    dense = np.linspace(volumes.min(), volumes.max(), 61)

    def above_minimum(energies: np.ndarray) -> np.ndarray:
        return 1000.0 * (energies - fit.energy_eV_per_atom)

    return [
        curve("Birch-Murnaghan fit", dense, above_minimum(fit.energy_at(dense))),
        curve("model", volumes, above_minimum(fit.energies_eV_per_atom), "points"),
    ]


def _compare(
    subject: Subject,
    labels: Sequence[Atoms],
    fit: EquationOfState,
    settings: EquationOfStateSettings,
) -> tuple[list[Quantity], Curve, str, list[str]]:
    """Compare with labels of the same cells; both energies relative to their means.

    Returns the quantities, the curve of the labels, a phrase, and what is wrong.
    """
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in labels])
    reference = np.array([energy_of(atoms) / len(atoms) for atoms in labels])
    predicted = np.array(
        [energy_of(atoms) / len(atoms) for atoms in predict(subject.model, labels)]
    )
    shift = predicted.mean() - reference.mean()
    error = 1000.0 * float(np.sqrt(((predicted - reference - shift) ** 2).mean()))
    quantities = [
        Quantity(
            "energy error on labelled volumes",
            number(error),
            "meV/atom",
            at_most=settings.energy_error_meV_per_atom,
        )
    ]
    text = f"; {error:.1f} meV/atom from labels at {len(labels)} volumes"
    text += subject.describe_training(labels)
    problems: list[str] = []
    if len(labels) >= FEWEST_FOR_A_FIT:
        of_labels, of_model = (_fit(volumes, energies) for energies in (reference, predicted))
        if of_labels is not None and of_model is None:
            at_an_end = int(predicted.argmin()) in (0, len(predicted) - 1)
            missing = "minimum" if at_an_end else "Birch-Murnaghan curve"
            problems.append(
                f"the model has no {missing} between the labelled volumes, where the labels have "
                f"one ({of_labels.volume_A3_per_atom:.3f} A^3/atom)"
            )
        if of_labels is not None and of_model is not None:
            for name, unit, limit, column in (
                ("volume on labelled cells", "A^3/atom", settings.volume_error,
                 "volume_A3_per_atom"),
                ("bulk modulus on labelled cells", "GPa", settings.bulk_modulus_error,
                 "bulk_modulus_GPa"),
            ):  # fmt: skip
                right = float(getattr(of_labels, column))
                low, high = sorted((right * (1 - limit), right * (1 + limit)))
                value = number(float(getattr(of_model, column)))
                quantities.append(
                    Quantity(name, value, unit, number(low), number(high), number(right))
                )
            text += f", whose fit has B = {of_labels.bulk_modulus_GPa:.1f} GPa"
    heights = 1000.0 * (reference + shift - fit.energy_eV_per_atom)
    shown = curve("labels, shifted to the mean", volumes, heights, "reference")
    return quantities, shown, text, problems


def _fit(volumes: np.ndarray, energies: np.ndarray) -> EquationOfState | None:
    """The fit to labelled volumes; None where no curve with a minimum between them fits."""
    try:
        return fit_birch_murnaghan(volumes, energies)
    except ModelError:
        return None
