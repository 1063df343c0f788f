"""Audit labelled files: `audit`."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from entrove.curation.auditing.conventions.energies import (
    energy_findings,
    judge_energies,
    judge_energies_with_model,
)
from entrove.curation.auditing.conventions.energy_units import TOTAL, EnergyConvention
from entrove.curation.auditing.conventions.parts import (
    FileConventions,
    groups_of_files,
    groups_of_sources,
)
from entrove.curation.auditing.conventions.stresses import (
    determined_stresses,
    judge_stresses,
    stress_findings,
)
from entrove.curation.auditing.coverage import describe_coverage
from entrove.curation.auditing.equal_geometries import displacement_scale, find_repeats
from entrove.curation.auditing.findings import (
    Finding,
    FindingsByKind,
    Severity,
    sort_findings,
)
from entrove.curation.auditing.frame_checks import (
    OVERLAP_OF_RADII,
)
from entrove.curation.auditing.geometries import far_findings, far_geometries
from entrove.curation.auditing.levels import (
    LEAST_FRAMES_OF_LEVEL,
    TwoLevels,
    find_two_levels,
    level_findings,
    sample_level_findings,
)
from entrove.curation.auditing.predictions.basis import Basis
from entrove.curation.auditing.predictions.frames import (
    FramePredictions,
    LabelFactors,
    predict_frames,
)
from entrove.curation.auditing.predictions.quick_potential import (
    Predicted,
    PredictWithModel,
    QuickPotential,
    Rows,
    solve_rows,
    with_energies_of,
    with_two_zeros,
)
from entrove.curation.auditing.predictions.sample import Sample, draw_sample, sample_rows
from entrove.curation.auditing.predictions.whitening import Whitening
from entrove.curation.auditing.reading import Progress, read_into
from entrove.curation.auditing.references import reference_findings
from entrove.curation.auditing.repeated import repeat_findings
from entrove.curation.auditing.report import AuditReport, WorstFrame
from entrove.curation.auditing.residual_findings import (
    MOST_WORST,
    frame_ref,
    outlier_findings,
    unchecked_findings,
)
from entrove.curation.auditing.small_sets import (
    gross_findings,
    gross_groups_of_sample,
    too_few_findings,
)
from entrove.curation.auditing.spool import Spool
from entrove.errors import StructureError
from entrove.formats import LabelKeys
from entrove.formats.addresses import without_password
from entrove.models.loaded import LoadedModel


def audit(
    files: str | Path | Sequence[str | Path],
    *,
    model: str | LoadedModel | None = None,
    against: str | Path | Sequence[str | Path] = (),
    keys: LabelKeys | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> AuditReport:
    """Find what is wrong in labelled files, and what they cover.

    Args:
        files: Files that `entrove.formats.read_frames` reads.
        model: A potential to compare labels with: a name or path for `entrove.models.load`, or a
            loaded model. By default a potential that is fitted to the files themselves.
        against: Files that must share no structure with `files`, such as a test set.
        keys: Names of the labels in the files, where they are unusual.
        seed: Of the sample that is looked at closely.
        progress: Called now and then with a stage, frames done and their total.

    Every frame is read once and kept on disk, so that memory does not grow with the files.
    Returns an `AuditReport`. Raises `StructureError` when a file is missing or no frame can be
    read, and `ModelError` when the model cannot be loaded or does not know an element.
    """
    started = time.monotonic()
    paths = _paths(files)
    others = _paths(against)
    if not paths:
        raise StructureError("no files were given; give at least one file with labels")
    shown, others_shown = (tuple(map(without_password, side)) for side in (paths, others))
    report = progress or _say_nothing
    with Spool() as spool:
        problems = FindingsByKind()
        counts = [0, 0]
        # One file may be on both sides: all of it is leakage then.
        for is_other, path in (
            *((False, path) for path in paths),
            *((True, path) for path in others),
        ):
            read_into(path, is_other, spool, problems, keys or LabelKeys(), counts, report)
        if not len(spool):
            if not counts[0]:
                raise StructureError(
                    f"{', '.join(shown)}: no structures; give files with labelled structures"
                )
            raise StructureError(
                f"none of {counts[0]} frames can be used: "
                + "; ".join(finding.evidence for finding in problems.findings())
            )
        crystals = bool(np.asarray(spool.records["pbc"]).all(axis=1).any())
        (keys or LabelKeys()).refuse_missing(_labels_in(spool), paths, crystals=crystals)
        predict = None if model is None else _predictor(model)
        return _Audit(spool, problems, predict, seed, report).finish(
            shown, others_shown, frames=counts[0], left_out=counts[1], started=started
        )


THE_SET_ITSELF = "a potential fitted to the files themselves"
NOTHING = "nothing, as there are none"


def _labels_in(spool: Spool) -> set[str]:
    """Which of energy, forces and stress are in any frame."""
    records = spool.records
    known = {
        "energy": np.isfinite(records["energy"]).any(),
        "forces": np.any(records["has_forces"]),
        "stress": np.isfinite(records["stress"]).all(axis=1).any(),
    }
    return {name for name, occurs in known.items() if occurs}


class _Audit:
    """One audit, once everything is on disk."""

    def __init__(
        self,
        spool: Spool,
        problems: FindingsByKind,
        predict: tuple[str, PredictWithModel] | None,
        seed: int,
        progress: Progress,
    ) -> None:
        self.spool, self.problems, self.seed, self.progress = spool, problems, seed, progress
        self.predict = None if predict is None else predict[1]
        self.predictor = (
            THE_SET_ITSELF
            if predict is None
            else f"{predict[0]}, corrected by a potential fitted to what it leaves"
        )
        self.findings: list[Finding] = []
        self.stress_is_understood = True
        self.two_levels: TwoLevels | None = None

    def finish(
        self,
        paths: tuple[str, ...],
        others: tuple[str, ...],
        *,
        frames: int,
        left_out: int,
        started: float,
    ) -> AuditReport:
        spool = self.spool
        self.progress("fitting", 0, None)
        sample, basis = draw_sample(spool, self.seed, self.predict)
        conventions: list[FileConventions] = []
        factors = LabelFactors.unity(len(spool.files))
        potential: QuickPotential | None = None
        predicted: FramePredictions | None = None
        energies = np.array(spool.records["energy"], dtype=float)
        worst: dict[int, tuple[float, str]] = {}
        if basis is not None:
            groups = groups_of_files(spool, sample)
            # What is left by a model says less of conventions and levels: its errors differ
            # between kinds of structures, as energies of two levels do.
            own_rows = sample_rows(basis, replace(sample, model=None), self.seed)
            judged = [self._judge(basis, own_rows, sample, members) for _, members in groups]
            for (names, _), (energy, _) in zip(groups, judged, strict=True):
                places = [spool.files.index(name) for name in names]
                if energy is not None and energy is not TOTAL:
                    factors.energy[places] = energy.energy
                    factors.per_atom[places] = energy.per_atom
                    factors.forces[places] = energy.forces
            corrected = sample.corrected(
                factors.of_energies(sample.files, sample.sizes), factors.forces[sample.files]
            )
            if any(energy not in (None, TOTAL) for energy, _ in judged):
                own_rows = sample_rows(basis, replace(corrected, model=None), self.seed)
            self.two_levels = find_two_levels(basis, sample, own_rows)
            rows = own_rows if sample.model is None else sample_rows(basis, corrected, self.seed)
            upper = self._upper(corrected)
            levels = None if upper is None else solve_rows(basis, with_two_zeros(rows, upper))
            if upper is not None and levels is not None:
                # Two zeros of energy in one fit would spoil what it says of forces and stress.
                corrected = corrected.with_one_zero(upper, float(levels.weights[-1]))
                left = corrected.energies_eV - corrected.model_energies_eV
                rows = with_energies_of(rows, left / corrected.sizes)
            potential = solve_rows(basis, rows)
            decided = {
                name: verdict
                for (names, _), verdict in zip(groups, judged, strict=True)
                for name in names
            }
            conventions = self._conventions(corrected, potential, decided)
            whiten = Whitening.of(basis, sample.structures)
            predicted = predict_frames(
                spool,
                sample,
                basis,
                potential,
                whiten,
                factors=factors,
                predict=self.predict,
                progress=lambda done, of: self.progress("comparing", done, of),
            )
            energies *= factors.of_energies(
                np.asarray(spool.records["file"]), np.asarray(spool.records["atoms"])
            )
            self._overlaps(predicted)
            worst = self._compare(sample, predicted, whiten, energies)
        if not _labels_in(spool) & {"energy", "forces"}:
            self.predictor = NOTHING
            self.findings.append(
                Finding(
                    "no_labels",
                    Severity.WARNING,
                    "no frame has an energy or forces",
                    "nothing could be compared; the structures alone were looked at",
                    "name the keys of the labels (--energy-key, --forces-key, --stress-key), or "
                    "label the structures (entrove label)",
                    files=paths,
                )
            )
        self.findings += reference_findings(spool, energies, self.seed)
        self.findings = [*self.problems.findings(), *self.findings]
        return AuditReport(
            paths,
            others,
            frames,
            left_out,
            self.predictor,
            None if potential is None else potential.force_error,
            sort_findings(self.findings),
            tuple(conventions),
            describe_coverage(spool, sample, predicted, energies, self.seed),
            self._worst(worst),
            time.monotonic() - started,
        )

    def _judge(
        self, basis: Basis, rows: Rows, sample: Sample, members: np.ndarray
    ) -> tuple[EnergyConvention | None, dict[str, float]]:
        """Decide by the set itself, and by the model, if there is one, what that leaves open.

        Energies of two levels of theory contradict forces as those of a wrong unit do: what they
        are is decided by fits with two zeros then.
        """
        own = replace(sample, model=None)
        energy, scores = judge_energies(basis, rows, own, members)
        if energy is not TOTAL and scores:
            inside = rows.among(members)
            levels = find_two_levels(basis, own, inside, least_frames=2 * LEAST_FRAMES_OF_LEVEL)
            upper = gross_groups_of_sample(own) if levels is None else levels.upper
            if upper[members].any():
                energy, scores = judge_energies(basis, inside, own, members, upper)
        if energy is None and sample.model is not None:
            return judge_energies_with_model(sample, members)
        return energy, scores

    def _upper(self, sample: Sample) -> np.ndarray | None:
        """Frames of the sample that have a zero of energy of their own, if there are any."""
        if self.two_levels is not None:
            return self.two_levels.upper
        upper = gross_groups_of_sample(sample)
        return upper if upper.any() else None

    def _conventions(
        self,
        sample: Sample,
        potential: QuickPotential | None,
        energies: dict[str, tuple[EnergyConvention | None, dict[str, float]]],
    ) -> list[FileConventions]:
        """Decide for each part of each file what its labels are."""
        parts: list[FileConventions] = []
        broken: list[str] = []
        groups = groups_of_sources(self.spool, sample)
        determined = determined_stresses(sample, potential)
        verdicts = judge_stresses(
            sample, [members for _, members in groups], potential, determined
        )
        for (names, members), (evidence, left, lost) in zip(groups, verdicts, strict=True):
            if len(lost) > max(2, 0.3 * len(members)):
                broken += lost
            said = "; ".join(
                f"compared with {what}, {one.count} in number, the residual is {one.residual:.2g} "
                f"for {one.best}, and {one.as_given:.2g} as given"
                for what, one in evidence
            )
            best = next((one.best for _, one in evidence if one.best in left), None)
            for name in names:
                source = self.spool.sources.index(name)
                place = sample.files[np.flatnonzero(sample.sources == source)[0]]
                file = self.spool.files[int(place)]
                count = int((np.asarray(self.spool.records["source"]) == source).sum())
                energy, scores = energies[file]
                parts.append(
                    FileConventions(file, name, count, energy, scores, best, frozenset(left), said)
                )
        self.findings += energy_findings(parts)
        found = list(stress_findings(parts))
        self.findings += found
        # What a model says of the stress is no extrapolation from the set.
        known = self.predict is not None or bool(determined.mean() > 0.5)
        self.stress_is_understood = known and not found
        if broken and not any(finding.kind == "stress_order" for finding in found):
            self.findings.append(
                Finding(
                    "stress_symmetry",
                    Severity.WARNING,
                    "stresses without the symmetry of their crystals",
                    "; ".join(broken[:3]),
                    "check the order of the six numbers, and whether the cell was rotated after "
                    "the calculation",
                    count=len(broken),
                )
            )
        return parts

    def _overlaps(self, predicted: FramePredictions) -> None:
        records = self.spool.records
        near = np.flatnonzero(
            np.asarray(records["usable"]) & (np.asarray(predicted.nearness) < OVERLAP_OF_RADII)
        )
        for frame in near.tolist():
            records["usable"][frame] = False
            self.problems.add(
                "overlapping_atoms",
                Severity.BLOCKER,
                "overlapping atoms",
                "remove the frame, or correct its positions or cell",
                frame_ref(self.spool, frame),
                f"two atoms are {predicted.shortest_A[frame]:.2f} A apart",
            )

    def _compare(
        self,
        sample: Sample,
        predicted: FramePredictions,
        whiten: Whitening,
        energies: np.ndarray,
    ) -> dict[int, tuple[float, str]]:
        """Outliers, levels, repeated frames; returns the frames to look at."""
        spool = self.spool
        records = spool.records
        usable = np.asarray(records["usable"]) & ~np.asarray(records["isolated"])
        frames = np.flatnonzero(usable & ~np.asarray(records["against"]))
        residuals = np.asarray(predicted.energy_residuals[frames])
        levels: list[Finding] = []
        if self.predict is None:
            levels += level_findings(spool, frames, residuals, self.predictor)
        if not levels:
            levels = list(sample_level_findings(spool, sample, self.two_levels, THE_SET_ITSELF))
        gross = [] if levels else list(gross_findings(spool, predicted, frames, energies))
        levels += [finding for finding in gross if finding.kind == "mixed_levels"]
        self.findings += levels
        outliers, worst = outlier_findings(
            spool,
            predicted,
            frames,
            self.predictor,
            energies,
            with_stress=self.stress_is_understood,
        )
        if levels:  # half of a set is no set of outliers
            outliers = [finding for finding in outliers if finding.kind != "energy_outlier"]
        if not levels and not any(finding.kind == "energy_outlier" for finding in outliers):
            outliers = [*gross, *outliers]
        self.findings += outliers
        self.findings += too_few_findings(spool, frames)
        if self.predict is None:
            self.findings += unchecked_findings(spool, predicted, frames)
        signatures = np.asarray(predicted.signatures[frames], dtype=float)
        places, distances = far_geometries(signatures, self.seed)
        far = frames[places]
        self.findings += far_findings(spool, far, distances)
        for frame, value in zip(far.tolist(), distances.tolist(), strict=True):
            if value > worst.get(frame, (0.0, ""))[0]:
                worst[frame] = (value, "geometry")
        scale = displacement_scale(whiten, sample, self.seed)
        repeats = find_repeats(spool, predicted, np.flatnonzero(usable), scale)
        self.findings += repeat_findings(spool, predicted, repeats, energies)
        return worst

    def _worst(self, worst: dict[int, tuple[float, str]]) -> tuple[WorstFrame, ...]:
        chosen = sorted(worst, key=lambda frame: -worst[frame][0])[:MOST_WORST]
        return tuple(
            WorstFrame(
                frame_ref(self.spool, frame),
                frame,
                f"its {worst[frame][1]}: {worst[frame][0]:.2g} typical "
                + ("distances from others" if worst[frame][1] == "geometry" else "errors off"),
                worst[frame][0],
                atoms,
            )
            for frame, atoms in zip(chosen, self.spool.structures(chosen), strict=True)
        )


def _say_nothing(stage: str, done: int, total: int | None) -> None:
    del stage, done, total


def _predictor(model: str | LoadedModel) -> tuple[str, PredictWithModel]:
    from entrove.models import load, predict
    from entrove.structures import energy_of, forces_of, stress_of

    loaded = load(model) if isinstance(model, str) else model

    def evaluate(structures: Sequence[Atoms]) -> Predicted:
        predicted = predict(loaded, structures)
        virials = np.zeros((len(structures), 3, 3))
        for place, atoms in enumerate(predicted):
            if "stress" in getattr(atoms.calc, "results", {}) and atoms.pbc.all():
                virials[place] = voigt_6_to_full_3x3_stress(stress_of(atoms)) * atoms.get_volume()
        return Predicted(
            np.array([energy_of(atoms) for atoms in predicted]),
            [forces_of(atoms) for atoms in predicted],
            virials,
        )

    return loaded.name, evaluate


def _paths(paths: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    several = [paths] if isinstance(paths, str | Path) else paths
    return tuple(str(path) for path in several)
