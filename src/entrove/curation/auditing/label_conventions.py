"""Conventions of the labels of each file, from a sample: energies, forces and stress."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from entrove.curation.auditing.basis import Basis
from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.quick_potential import (
    FOLDS,
    QuickPotential,
    Rows,
    solve_rows,
    with_energies_of,
)
from entrove.curation.auditing.spool import Spool
from entrove.curation.auditing.symmetry import cartesian_rotations
from entrove.curation.auditing.witness import Sample, to_voigt
from entrove.formats.conventions import (
    ASE_STRESS,
    ConventionEvidence,
    StressConvention,
    compare_with_energies,
    compare_with_stress,
    count_symmetry_breaks,
    energy_exponent,
    find_frame_pairs,
)

LEAST_FRAMES = 6
"""Fewer frames of a file are not judged on their own."""

_DECISIVE = 2.0
"""How much better one energy convention must explain energies and forces than the given one."""

_HARTREE_EV = 27.211386245988
_HARTREE_PER_BOHR = 51.422067476


@dataclass(frozen=True)
class EnergyConvention:
    """What energies and forces, relative to each other, can be.

    Energies times `energy` are in eV, forces times `forces` in eV/A; energies `per_atom` are to be
    multiplied by the number of atoms, too.
    """

    name: str
    kind: str
    what: str
    remedy: str
    energy: float = 1.0
    forces: float = 1.0
    per_atom: bool = False

    def factors(self, sizes: np.ndarray) -> np.ndarray:
        """What energies of structures of these sizes are multiplied by."""
        return self.energy * (sizes.astype(float) if self.per_atom else np.ones(len(sizes)))


TOTAL = EnergyConvention("total", "", "energies of the whole cell in eV, forces in eV/A", "")

PER_ATOM = EnergyConvention(
    "per_atom",
    "energy_per_atom",
    "energies per atom",
    "multiply each energy by its number of atoms",
    per_atom=True,
)

ENERGY_CONVENTIONS = (
    TOTAL,
    PER_ATOM,
    EnergyConvention(
        "gradients",
        "force_sign",
        "forces of the wrong sign (gradients)",
        "turn the sign of the forces",
        forces=-1.0,
    ),
    EnergyConvention(
        "hartree",
        "energy_unit",
        "energies in hartree",
        "multiply energies by 27.2114",
        energy=_HARTREE_EV,
    ),
    EnergyConvention(
        "rydberg",
        "energy_unit",
        "energies in rydberg",
        "multiply energies by 13.6057",
        energy=_HARTREE_EV / 2,
    ),
    EnergyConvention(
        "kcal_per_mol",
        "energy_unit",
        "energies in kcal/mol",
        "multiply energies by 0.0433641",
        energy=0.0433641153,
    ),
    EnergyConvention(
        "kJ_per_mol",
        "energy_unit",
        "energies in kJ/mol",
        "multiply energies by 0.0103643",
        energy=0.0103642697,
    ),
    EnergyConvention(
        "hartree_per_bohr",
        "force_unit",
        "forces in hartree/bohr",
        "multiply forces by 51.4221",
        forces=_HARTREE_PER_BOHR,
    ),
    EnergyConvention(
        "rydberg_per_bohr",
        "force_unit",
        "forces in rydberg/bohr",
        "multiply forces by 25.7110",
        forces=_HARTREE_PER_BOHR / 2,
    ),
    EnergyConvention(
        "atomic_units",
        "energy_unit",
        "energies in hartree and forces in hartree/bohr",
        "multiply energies by 27.2114 and forces by 51.4221",
        energy=_HARTREE_EV,
        forces=_HARTREE_PER_BOHR,
    ),
)


@dataclass(frozen=True)
class FileConventions:
    """What was decided for one file, or for the part of it that is named.

    `energy` is None where the evidence decides nothing; `energy_scores` say how badly each
    convention explains energies and forces together, 0 for perfectly. `stress` is what explains
    the stress best, and `stress_left` all conventions that the evidence does not exclude.
    """

    file: str
    part: str
    frames: int
    energy: EnergyConvention | None
    energy_scores: dict[str, float]
    stress: StressConvention | None
    stress_left: frozenset[StressConvention]
    stress_evidence: str


def groups_of_files(spool: Spool, sample: Sample) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Files, or all small files together, and the places of their frames in the sample."""
    return _groups(spool.files, sample.files)


def groups_of_sources(spool: Spool, sample: Sample) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Sources, or all small sources together, and the places of their frames in the sample.

    Parts of one file can come from calculations that were read in different ways.
    """
    return _groups(spool.sources, sample.sources)


def _groups(names: list[str], of_sample: np.ndarray) -> list[tuple[tuple[str, ...], np.ndarray]]:
    groups: list[tuple[tuple[str, ...], np.ndarray]] = []
    small: list[int] = []
    for number in np.unique(of_sample):
        members = np.flatnonzero(of_sample == number)
        if len(members) >= LEAST_FRAMES:
            groups.append(((names[int(number)],), members))
        else:
            small.append(int(number))
    if small:
        members = np.flatnonzero(np.isin(of_sample, small))
        groups.append((tuple(names[number] for number in small), members))
    return groups


def judge_energies(
    basis: Basis, rows: Rows, sample: Sample, members: np.ndarray
) -> tuple[EnergyConvention | None, dict[str, float]]:
    """Which convention lets one potential explain energies and forces, and how well each does.

    The score is the typical error of predicted energies relative to their spread, times the
    square of the error of forces relative to that of a fit to forces alone. Under a wrong
    convention the two contradict each other, and the product is several times larger. `rows` are
    those of the labels as given.
    """
    inside = np.isin(rows.owner, members)
    own = Rows(
        rows.features[inside], rows.values[inside], rows.owner[inside], rows.is_energy[inside]
    )
    alone = solve_rows(basis, own, with_energies=False)
    if alone is None or own.is_energy.sum() < LEAST_FRAMES or alone.force_error > 0.8:
        return None, {}
    sizes, scores = sample.sizes, {}
    for convention in ENERGY_CONVENTIONS:
        # Forces stay as they are: only their ratio to the energies can be seen.
        energies = sample.energies_eV * convention.factors(sizes) / convention.forces
        scores[convention.name] = _score(basis, own, energies / sizes, alone, sizes)
    per_atom = sample.energies_eV[members] / sizes[members]
    decided = _choose(scores, float(np.nanmedian(np.abs(per_atom))))
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
        scores[convention.name] = _relative(left, expected / sizes, formulas)
        if forces:
            misses = [
                np.abs(convention.forces * a - b) for a, b in zip(forces, of_model, strict=True)
            ]
            typical = float(np.median(np.abs(np.concatenate(of_model))))
            miss = float(np.median(np.concatenate(misses)))
            scores[convention.name] += miss / max(typical, 1e-6)
    per_atom = own / sizes
    return _choose(scores, float(np.median(np.abs(per_atom)))), scores


def _choose(scores: dict[str, float], typical_eV_per_atom: float) -> EnergyConvention | None:
    """The convention of the lowest score, if no other comes near it.

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
    least_gap = 1.3 if best is TOTAL else _DECISIVE
    if scores[best.name] > 0.6 or scores[order[1].name] < least_gap * scores[best.name]:
        return None
    return best


def _relative(left: np.ndarray, whole: np.ndarray, formulas: np.ndarray) -> float:
    """Typical deviation of what is left, relative to that of the whole, within compositions."""
    misses, spreads = [], []
    for formula in np.unique(formulas):
        same = formulas == formula
        misses.append(np.abs(left[same] - np.median(left[same])))
        spreads.append(np.abs(whole[same] - np.median(whole[same])))
    spread = float(np.median(np.concatenate(spreads)))
    return float(np.median(np.concatenate(misses))) / spread if spread > 0 else float("inf")


def _score(
    basis: Basis, rows: Rows, per_atom: np.ndarray, alone: QuickPotential, sizes: np.ndarray
) -> float:
    rows = with_energies_of(rows, per_atom)
    potential = solve_rows(basis, rows)
    if potential is None:
        return float("inf")
    energies = rows.is_energy
    owner = rows.owner[energies]
    predicted = (rows.features[energies] * potential.fold_weights[owner % FOLDS]).sum(axis=1)
    values = rows.values[energies]
    # Within one size, or energies per atom would win by what sets sizes apart.
    miss = _relative(values - predicted, values, sizes[owner])
    return miss * (potential.force_error / max(alone.force_error, 0.02)) ** 2


def judge_stress(
    sample: Sample,
    members: np.ndarray,
    potential: QuickPotential | None,
) -> tuple[list[tuple[str, ConventionEvidence]], list[str]]:
    """Compare the stress of some frames with everything that knows what it must be.

    Energies and forces of the sample are in eV and eV/A.
    Returns pairs of (what it was compared with, evidence), and what breaks the symmetry of the
    crystal, in words.
    """
    volumes = sample.volumes_A3
    stresses = sample.stresses
    has = np.isfinite(stresses).all(axis=1) & np.isfinite(volumes)
    members = members[has[members] & (np.abs(stresses[members]).max(axis=1) > 0)]
    if not len(members):
        return [], []
    given = stresses[members]
    found: list[tuple[str, ConventionEvidence]] = []
    structures = [sample.structures[i] for i in members]
    folds = [int(i) % FOLDS for i in members]
    if sample.model is not None:
        expected = to_voigt(sample.model.virials_eV[members]) / volumes[members, None]
        found.append(
            ("the stress of the model", compare_with_stress(given, expected, volumes[members]))
        )
    elif potential is not None and potential.force_error < 0.6:
        predicted = potential.predict(structures, folds)
        expected = to_voigt(predicted.virials_eV) / volumes[members, None]
        what = "the strain derivative of a potential fitted to energies and forces"
        found.append((what, compare_with_stress(given, expected, volumes[members])))
    known = [
        i for i in members if np.isfinite(sample.energies_eV[i]) and sample.forces[i] is not None
    ]
    pairs = find_frame_pairs(
        np.array([sample.structures[i].cell.array for i in known]).reshape(-1, 3, 3),
        [sample.structures[i].get_scaled_positions(wrap=False) for i in known],
        [sample.structures[i].numbers for i in known],
        sample.energies_eV[known],
        [sample.forces[i] for i in known],  # pyright: ignore[reportArgumentType]
    )
    evidence = compare_with_energies(stresses[known], volumes[known], pairs)
    if evidence is not None and evidence.count >= 5:
        found.append(("energies of strained cells", evidence))
    return found, list(_symmetry_breaks(structures, given))


def combine(evidence: Sequence[tuple[str, ConventionEvidence]]) -> set[StressConvention]:
    """Conventions that no evidence excludes; empty without evidence, or where it contradicts."""
    left: set[StressConvention] | None = None
    for _, one in sorted(evidence, key=lambda named: named[1].residual):
        if not one.explained:
            continue
        agree = {one.best, *one.rivals}
        left = agree if left is None else (left & agree or left)
    return left or set()


def _symmetry_breaks(structures: Sequence[Atoms], given: np.ndarray) -> Iterator[str]:
    """Frames with symmetry whose stress does not have it."""
    for atoms, stress in zip(structures[:60], given[:60], strict=True):
        if len(atoms) > 64:
            continue
        rotations = cartesian_rotations(atoms, 1e-3)
        if len(rotations) < 2:
            continue
        matrix = stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
        broken = count_symmetry_breaks(matrix, rotations)
        if broken > 0.1:
            yield f"{atoms.get_chemical_formula()} with {len(rotations)} symmetry operations"


def energy_findings(parts: Sequence[FileConventions]) -> Iterator[Finding]:
    """Files whose energies or forces are not in eV and eV/A."""
    for energy in ENERGY_CONVENTIONS[1:]:
        having = [part for part in parts if part.energy is energy]
        if not having:
            continue
        scores = having[0].energy_scores
        files = tuple(dict.fromkeys(part.file for part in having))
        yield Finding(
            energy.kind,
            Severity.BLOCKER,
            energy.what,
            "energies and forces agree with each other, or with the model, up to "
            f"{scores[energy.name]:.2g} of their spread when they are so, and up to "
            f"{scores['total']:.2g} as given",
            energy.remedy,
            files=files,
            count=sum(part.frames for part in having),
        )


def stress_findings(parts: Sequence[FileConventions]) -> Iterator[Finding]:
    """Files, or parts of them, whose stress is not in eV/A^3, ASE's sign and order."""
    by_kind: dict[tuple[str, str, str], list[FileConventions]] = {}
    for part in parts:
        for kind, said, remedy in _contradictions(part):
            by_kind.setdefault((kind, said, remedy), []).append(part)
    for (kind, said, remedy), having in by_kind.items():
        of_all = {part.file for part in parts if part.stress_left}
        names = ", ".join(part.part for part in having)
        whole = len(having) == sum(bool(part.stress_left) for part in parts)
        yield Finding(
            kind,
            Severity.BLOCKER,
            f"stress: {said}" + ("" if whole else ", in a part of the frames"),
            f"{names}: {having[0].stress_evidence}",
            remedy,
            files=tuple(dict.fromkeys(part.file for part in having)) or tuple(of_all),
            count=sum(part.frames for part in having),
        )


def _contradictions(part: FileConventions) -> Iterator[tuple[str, str, str]]:
    left = part.stress_left
    if not left or ASE_STRESS in left:
        return
    for attribute in ("unit", "sign", "order"):
        values = {getattr(convention, attribute) for convention in left}
        if getattr(ASE_STRESS, attribute) in values:
            continue
        virials = [convention.is_virial for convention in left]
        if attribute == "sign" and any(virials) and not all(virials):
            continue
        is_virial = attribute == "unit" and part.stress is not None and part.stress.is_virial
        kind = "virial_as_stress" if is_virial else f"stress_{attribute}"
        said = " or ".join(sorted(_say(attribute, value) for value in values))
        yield kind, said, _remedy(attribute, values)


def _say(attribute: str, value: object) -> str:
    if attribute == "unit":
        return "a virial in eV" if value == "eV" else f"in {value}"
    if attribute == "sign":
        return "compression positive" if value == -1 else "tension positive"
    return f"in the order {value}"


def _remedy(attribute: str, values: set[object]) -> str:
    if attribute == "unit" and values == {"eV"}:
        return "divide by the volume and turn the sign: stress = -virial / volume"
    if attribute == "unit":
        return "convert it to eV/A^3 (1 eV/A^3 = 160.218 GPa = 1602.18 kbar)"
    if attribute == "sign":
        return "turn its sign: tension is positive"
    return "write it as nine numbers, or as xx yy zz yz xz xy"
