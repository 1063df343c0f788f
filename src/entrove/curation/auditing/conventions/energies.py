"""Which units energies and forces have: what explains both together, and what models say."""

from collections.abc import Iterator, Sequence

import numpy as np

from entrove.curation.auditing.conventions.energy_units import (
    ENERGY_CONVENTIONS,
    PER_ATOM,
    TOTAL,
    EnergyConvention,
)
from entrove.curation.auditing.conventions.parts import LEAST_FRAMES, FileConventions
from entrove.curation.auditing.conventions.slopes import (
    NO_SLOPES,
    SlopeEvidence,
    compare_slopes,
)
from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.predictions.basis import Basis
from entrove.curation.auditing.predictions.quick_potential import (
    FOLDS,
    QuickPotential,
    Rows,
    solve_rows,
    with_energies_of,
    with_two_zeros,
)
from entrove.curation.auditing.predictions.sample import Sample
from entrove.formats.conventions import energy_exponent

_DECISIVE = 2.0
"""How much better one energy convention must explain energies and forces than any other."""

_LEAST_ERRORS = 4.0
"""By how many standard errors a convention must be worse to be out by its misses."""

_CLOSE = 1.3
"""The same where other evidence speaks against the other, or for the labels as given."""


def judge_energies(
    basis: Basis,
    rows: Rows,
    sample: Sample,
    members: np.ndarray,
    upper: np.ndarray | None = None,
) -> tuple[EnergyConvention | None, dict[str, float]]:
    """Which convention lets one potential explain energies and forces, and how well each does.

    The score is the typical error of predicted energies relative to their spread, times the
    square of the error of forces relative to that of a fit to forces alone. Under a wrong
    convention the two contradict each other, and the product is several times larger.

    Args:
        basis: Features that the energy is linear in.
        rows: Rows of the labels as given.
        sample: Frames with their labels as given.
        members: Places of the frames to be judged.
        upper: Frames of the sample that have a zero of energy of their own, as those of another
            level of theory: the fits have two zeros, and energies are compared within the two.
    """
    own = rows.among(members)
    levels = np.zeros(len(sample.frames), dtype=bool) if upper is None else upper
    alone = solve_rows(basis, own, with_energies=False)
    if alone is None or own.is_energy.sum() < LEAST_FRAMES or alone.force_error > 0.8:
        return None, {}
    sizes, scores = sample.sizes, {}
    groups = 2 * sizes + levels
    misses: dict[str, np.ndarray] = {}
    fitted = own if upper is None else with_two_zeros(own, upper)
    for convention in ENERGY_CONVENTIONS:
        # Forces stay as they are: only their ratio to the energies can be seen.
        energies = sample.energies_eV * convention.factors(sizes) / convention.forces
        name = convention.name
        scores[name], misses[name] = _score(basis, fitted, energies / sizes, alone, groups)
    per_atom = sample.energies_eV[members] / sizes[members]
    slopes = compare_slopes(sample, members, own, alone, levels)
    decided = _choose(scores, float(np.nanmedian(np.abs(per_atom))), slopes, misses)
    if decided is None and _do_not_grow(sample, members):
        decided = PER_ATOM
    return decided, scores


def _do_not_grow(sample: Sample, members: np.ndarray) -> bool:
    """Whether energies of one composition are the same for small and large cells."""
    formulas = np.array(
        [sample.structures[i].get_chemical_formula(empirical=True) for i in members]
    )
    exponents = []
    for formula in np.unique(formulas):
        same = members[formulas == formula]
        same = same[np.isfinite(sample.energies_eV[same])]
        found = energy_exponent(sample.energies_eV[same], sample.sizes[same])
        if found is not None and len(same) >= LEAST_FRAMES:
            exponents.append(found)
    return bool(exponents) and max(abs(exponent) for exponent in exponents) < 0.25


def judge_energies_with_model(
    sample: Sample, members: np.ndarray
) -> tuple[EnergyConvention | None, dict[str, float]]:
    """Which convention brings energies and forces closest to those of a model.

    The score is the sum of the typical errors of energies, after a shift for each composition,
    and of forces, each relative to the spread of the model's own.
    """
    model = sample.model
    known = [i for i in members if np.isfinite(sample.energies_eV[i])]
    if model is None or len(known) < LEAST_FRAMES:
        return None, {}
    sizes = sample.sizes[known]
    own, expected = sample.energies_eV[known], model.energies_eV[known]
    formulas = np.array([sample.structures[i].get_chemical_formula() for i in known])
    with_forces = [i for i in known if sample.forces[i] is not None]
    forces = [np.asarray(sample.forces[i]).ravel() for i in with_forces]
    of_model = [model.forces_eV_per_A[i].ravel() for i in with_forces]
    scores = {}
    for convention in ENERGY_CONVENTIONS:
        left = (own * convention.factors(sizes) - expected) / sizes
        scores[convention.name] = _relative(left, expected / sizes, formulas)[0]
        if forces:
            misses = [
                np.abs(convention.forces * a - b) for a, b in zip(forces, of_model, strict=True)
            ]
            typical = float(np.median(np.abs(np.concatenate(of_model))))
            miss = float(np.median(np.concatenate(misses)))
            scores[convention.name] += miss / max(typical, 1e-6)
    per_atom = own / sizes
    return _choose(scores, float(np.median(np.abs(per_atom)))), scores


def _choose(
    scores: dict[str, float],
    typical_eV_per_atom: float,
    slopes: SlopeEvidence = NO_SLOPES,
    misses: dict[str, np.ndarray] | None = None,
) -> EnergyConvention | None:
    """The convention of the lowest score, if no other comes near it.

    A rival is out when its score is twice the best, or when it is somewhat worse and either energy
    differences exclude it or it misses the frames by more than the best one does beyond chance.

    Energies in kcal/mol and forces in rydberg/bohr have nearly the same ratio: between these the
    size of the energies decides, which below 20 eV/atom are binding energies.
    """
    order = sorted(ENERGY_CONVENTIONS, key=lambda convention: scores[convention.name])
    best = order[0]
    twins = {"kcal_per_mol", "rydberg_per_bohr"}
    if best.name in twins:
        name = "kcal_per_mol" if typical_eV_per_atom > 20 else "rydberg_per_bohr"
        best = next(convention for convention in ENERGY_CONVENTIONS if convention.name == name)
        order = [convention for convention in order if convention.name not in twins]
        order = [best, *order]
    if scores[best.name] > 0.6 or slopes.excludes(best):
        return None
    for rival in order[1:]:
        excluded = best is TOTAL or slopes.excludes(rival)
        if misses and not excluded:
            excluded = _is_worse(misses[rival.name] - misses[best.name])
        if scores[rival.name] < (_CLOSE if excluded else _DECISIVE) * scores[best.name]:
            return None
    return best


def _relative(left: np.ndarray, whole: np.ndarray, groups: np.ndarray) -> tuple[float, np.ndarray]:
    """Typical deviation of what is left, relative to the whole's, within groups; and each."""
    misses, spreads = np.zeros(len(left)), np.zeros(len(left))
    for group in np.unique(groups):
        same = groups == group
        misses[same] = np.abs(left[same] - np.median(left[same]))
        spreads[same] = np.abs(whole[same] - np.median(whole[same]))
    spread = float(np.median(spreads))
    if spread <= 0:
        return float("inf"), np.full(len(left), np.inf)
    return float(np.median(misses)) / spread, misses / spread


def _score(
    basis: Basis, rows: Rows, per_atom: np.ndarray, alone: QuickPotential, groups: np.ndarray
) -> tuple[float, np.ndarray]:
    """The score of energies per atom, and the share that each of them has in it."""
    rows = with_energies_of(rows, per_atom)
    potential = solve_rows(basis, rows)
    energies = rows.is_energy
    if potential is None:
        return float("inf"), np.full(int(energies.sum()), np.inf)
    owner = rows.owner[energies]
    predicted = (rows.features[energies] * potential.fold_weights[owner % FOLDS]).sum(axis=1)
    values = rows.values[energies]
    # Within one size and level, or energies would be explained by what sets these apart.
    miss, each = _relative(values - predicted, values, groups[owner])
    factor = (potential.force_error / max(alone.force_error, 0.02)) ** 2
    return miss * factor, each * factor


def _is_worse(excess: np.ndarray) -> bool:
    """Whether misses are larger by more than chance; a few wild frames do not decide."""
    limit = 5 * float(np.median(np.abs(excess)))
    excess = np.clip(excess, -limit, limit)
    error = float(excess.std()) / np.sqrt(len(excess))
    return bool(excess.mean() > _LEAST_ERRORS * error)


def energy_findings(parts: Sequence[FileConventions]) -> Iterator[Finding]:
    """Files whose energies or forces are not in eV and eV/A, or do not go together as given."""
    for energy in ENERGY_CONVENTIONS[1:]:
        having = [part for part in parts if part.energy is energy]
        if not having:
            continue
        scores = having[0].energy_scores
        yield _finding(
            having,
            energy.kind,
            Severity.BLOCKER,
            energy.what,
            "energies and forces agree with each other, or with the model, up to "
            f"{scores[energy.name]:.2g} of their spread when they are so, and up to "
            f"{scores['total']:.2g} as given",
            energy.remedy,
        )
    open_ones = [part for part in parts if part.energy is None and _is_contradicted(part)]
    if open_ones:
        scores = open_ones[0].energy_scores
        names = sorted(scores, key=lambda name: scores[name])
        like = [name for name in names if scores[name] < _DECISIVE * scores[names[0]]]
        words = {convention.name: convention.what for convention in ENERGY_CONVENTIONS}
        yield _finding(
            open_ones,
            "energies_against_forces",
            Severity.WARNING,
            "energies and forces that do not go together as given",
            f"they agree up to {scores['total']:.2g} of their spread as given; up to "
            + ", ".join(f"{scores[name]:.2g} as {words[name]}" for name in like)
            + ": which of these it is, this set does not tell",
            "look up what the calculation wrote, or give a model with --model",
        )


def _is_contradicted(part: FileConventions) -> bool:
    """Whether labels as given explain each other much worse than in another convention."""
    scores = part.energy_scores
    best = min(scores.values(), default=np.inf)
    return best < 0.6 and scores["total"] > max(4 * best, 1.0)


def _finding(
    parts: Sequence[FileConventions],
    kind: str,
    severity: Severity,
    title: str,
    evidence: str,
    remedy: str,
) -> Finding:
    files = tuple(dict.fromkeys(part.file for part in parts))
    count = sum(part.frames for part in parts)
    return Finding(kind, severity, title, evidence, remedy, files=files, count=count)
