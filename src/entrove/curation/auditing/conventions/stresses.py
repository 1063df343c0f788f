"""Unit, sign and order of the stress of each part of a set."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from entrove.curation.auditing.conventions.parts import FileConventions
from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.predictions.frames import to_voigt
from entrove.curation.auditing.predictions.quick_potential import (
    FOLDS,
    MOST_LEVERAGE,
    QuickPotential,
)
from entrove.curation.auditing.predictions.sample import Sample
from entrove.formats.conventions import (
    ASE_STRESS,
    ConventionEvidence,
    StressConvention,
    compare_with_energies,
    compare_with_stress,
    count_symmetry_breaks,
    find_frame_pairs,
)
from entrove.symmetry import cartesian_rotations

_NEARLY = 1.3
"""How much worse a convention may explain a part of a set that explains all of it."""

_MOST = 0.5

_FEWEST = 5
"""Frames, or pairs of them, from which on stresses say in which convention they are."""


def determined_stresses(sample: Sample, potential: QuickPotential | None) -> np.ndarray:
    """Frames whose strain derivative the other frames determine, by energies and forces.

    It is extrapolated where all frames have one cell and their displacements are small, as those
    of sets for phonons are: its error is then many times the stress.
    """
    if potential is None:
        return np.zeros(len(sample.frames), dtype=bool)
    folds = [place % FOLDS for place in range(len(sample.frames))]
    return potential.strain_leverages(sample.structures, folds) <= MOST_LEVERAGE


def judge_stress(
    sample: Sample,
    members: np.ndarray,
    potential: QuickPotential | None,
    determined: np.ndarray,
) -> tuple[list[tuple[str, ConventionEvidence]], list[str]]:
    """Compare the stress of some frames with everything that knows what it must be.

    The strain derivative of the potential is evidence for frames that are `determined` only.
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
    derived = members[determined[members]]
    if sample.model is not None:
        expected = to_voigt(sample.model.virials_eV[members]) / volumes[members, None]
        found.append(
            ("the stress of the model", compare_with_stress(given, expected, volumes[members]))
        )
    elif potential is not None and potential.force_error < 0.6 and len(derived) >= _FEWEST:
        folds = [int(i) % FOLDS for i in derived]
        predicted = potential.predict([sample.structures[i] for i in derived], folds)
        expected = to_voigt(predicted.virials_eV) / volumes[derived, None]
        what = "the strain derivative of a potential fitted to energies and forces"
        found.append((what, compare_with_stress(stresses[derived], expected, volumes[derived])))
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
    if evidence is not None and evidence.count >= _FEWEST:
        found.append(("energies of strained cells", evidence))
    return found, list(_symmetry_breaks(structures, given))


Verdict = tuple[list[tuple[str, ConventionEvidence]], set[StressConvention], list[str]]
"""Evidence, the conventions that it leaves, and what breaks the symmetry of the crystal."""


def judge_stresses(
    sample: Sample,
    parts: Sequence[np.ndarray],
    potential: QuickPotential | None,
    determined: np.ndarray | None = None,
) -> list[Verdict]:
    """Judge each part, and together those that one convention may explain.

    A few frames leave several conventions: 64 silicon atoms in 1280 A^3 hardly tell a virial in eV
    from a stress in kbar. One convention for all parts is simpler than several, and is taken
    where the evidence of none of them excludes it. `determined` is that of `determined_stresses`.
    """
    if determined is None:
        determined = determined_stresses(sample, potential)
    alone = [judge_stress(sample, members, potential, determined) for members in parts]
    left = [combine(evidence) for evidence, _ in alone]
    judged = [k for k, conventions in enumerate(left) if conventions]
    common: set[StressConvention] = (
        set.intersection(*(left[k] for k in judged)) if judged else set()
    )
    if len(judged) > 1:
        everywhere = np.sort(np.concatenate([parts[k] for k in judged]))
        together = combine(judge_stress(sample, everywhere, potential, determined)[0])
        if common:
            common = common & together or common
        else:
            common = {
                convention
                for convention in together
                if all(
                    _fits(sample, parts[k], potential, determined, alone[k][0], convention)
                    for k in judged
                )
            }
    if common:
        for k in judged:
            left[k] = common
    return [
        (evidence, conventions, lost)
        for (evidence, lost), conventions in zip(alone, left, strict=True)
    ]


def _fits(
    sample: Sample,
    members: np.ndarray,
    potential: QuickPotential | None,
    determined: np.ndarray,
    own: list[tuple[str, ConventionEvidence]],
    convention: StressConvention,
) -> bool:
    """Whether a convention explains a part nearly as well as the best one does."""
    stresses = sample.stresses.copy()
    stresses[members] = convention.to_ase(stresses[members], sample.volumes_A3[members])
    changed = replace(sample, stresses=stresses)
    converted, _ = judge_stress(changed, members, potential, determined)
    return all(
        after.as_given < min(_NEARLY * max(before.residual, 0.1), _MOST)
        for (_, before), (_, after) in zip(own, converted, strict=True)
    )


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
