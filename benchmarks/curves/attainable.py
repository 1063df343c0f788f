"""How much could any choice of labels teach? Picks by a search that sees the labels and the tests.

An estimate from the other side: all candidates of an exploration are labelled, and the picks of
an arm are exchanged one by one as long as the SOAP student gets better on one half of the tests.
No selection could do this, which knows neither labels nor tests. What the search gains on the
half that it has not seen is what better picks could teach in general. It is a local search: it
ends where no exchange helps that it tries, and a better set may exist.

    export PYTHONPATH=benchmarks/curves
    python benchmarks/curves/attainable.py STUDY.yaml --counts 25 100 [--quantities force]

The study has to have run, with the student `soap` and the arms that are named. Length and ridge of
the student are those that suit the seen half best, for the picks before and after the search, and
those before it within the search.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soap_student
from ase import Atoms
from export_labels import only, picks_of
from scipy.linalg import cho_factor, cho_solve

from entrove.campaign.configuration.check import check_campaign
from entrove.campaign.configuration.config_file import read_config_file
from entrove.curves.config import StudyConfig
from entrove.curves.labels import StudyLabels
from entrove.curves.test_sets import hold_outs, mix, never_picked
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.structures import content_hash

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

QUANTITIES = ("energy", "force", "stress")
DRAWN = 150
"""Candidates of which the best is added at each step."""
WIDTH = 1500
"""Waves of the student, of all species together."""
LEAST, FRUITLESS = 1e-4, 10
"""The search ends when so many steps in a row have lowered the errors by no more than this."""


@dataclass(frozen=True)
class Row:
    """Design matrix (rows, d) and labels (rows,) of a structure, in units of expected errors."""

    design: np.ndarray
    labels: np.ndarray


class Search:
    """Exchanges picks while the errors of tests fall.

    Attributes:
        pool: Of each candidate, energy and forces.
        tests: Of each quantity, all tests together, in meV/atom, meV/A and meV/A^3.
        ridge: Of the student.
    """

    def __init__(self, pool: list[Row], tests: dict[str, Row], ridge: float) -> None:
        self.pool, self.tests, self.ridge = pool, tests, ridge

    def weights(self, picks: list[int]) -> tuple[np.ndarray, Any]:
        """The student's weights, and the factor of its normal matrix."""
        design = np.vstack([self.pool[i].design for i in picks])
        gram = design.T @ design + self.ridge * np.eye(design.shape[1])
        factor = cho_factor(gram, check_finite=False)
        labels = np.concatenate([self.pool[i].labels for i in picks])
        return cho_solve(factor, design.T @ labels, check_finite=False), factor

    def errors(self, weights: np.ndarray) -> dict[str, float]:
        """Mean absolute errors of each quantity."""
        return {
            q: float(np.abs(t.design @ weights - t.labels).mean()) for q, t in self.tests.items()
        }

    def objective(self, weights: np.ndarray) -> float:
        """Mean logarithm of the errors."""
        return float(np.mean(np.log(list(self.errors(weights).values()))))

    def after(self, picks: list[int], changed: list[int], *, removed: bool) -> np.ndarray:
        """The objective after each of these candidates was added, or removed, alone."""
        weights, factor = self.weights(picks)
        sign = -1.0 if removed else 1.0
        solved = cho_solve(
            factor, np.vstack([self.pool[i].design for i in changed]).T, check_finite=False
        )
        steps, first = [], 0
        for i in changed:
            design, labels = self.pool[i].design, self.pool[i].labels
            columns = solved[:, first : first + len(design)]
            first += len(design)
            inner = np.eye(len(design)) + sign * design @ columns
            steps.append(sign * columns @ np.linalg.solve(inner, labels - design @ weights))
        moved = weights[:, None] + np.stack(steps, 1)
        errors = [
            np.abs(test.design @ moved - test.labels[:, None]).mean(0)
            for test in self.tests.values()
        ]
        return np.mean(np.log(errors), 0)

    def improve(self, picks: list[int], seed: int, most: int) -> list[int]:
        """Add the best of `DRAWN` candidates and remove the worst pick, while it helps."""
        generator = np.random.default_rng(seed)
        picks = list(picks)
        best = start = self.objective(self.weights(picks)[0])
        fruitless = made = 0
        while fruitless < FRUITLESS and made < most:
            outside = np.setdiff1d(np.arange(len(self.pool)), picks)
            drawn = generator.choice(outside, DRAWN, replace=False).tolist()
            more = [*picks, drawn[int(np.argmin(self.after(picks, drawn, removed=False)))]]
            without = self.after(more, more, removed=True)
            least = int(np.argmin(without))
            if without[least] < best - LEAST:
                best, fruitless, made = float(without[least]), 0, made + 1
                picks = more[:least] + more[least + 1 :]
            else:
                fruitless += 1
        print(f"{made} exchanges, errors times {np.exp(best - start):.3f}", flush=True)
        return picks


def row_of(atoms: Atoms, features: Any, offset: float) -> Row:
    """Energy and forces of a structure as the student learns them."""
    rows = features.rows(atoms)
    design = np.vstack(
        [
            np.append(rows.energy, len(atoms)) / len(atoms) / soap_student.SIGMA_E,
            np.pad(rows.forces / soap_student.SIGMA_F, ((0, 0), (0, 1))),
        ]
    )
    energy = (atoms.get_potential_energy() / len(atoms) - offset) / soap_student.SIGMA_E
    labels = np.append(energy, atoms.get_forces().ravel() / soap_student.SIGMA_F)
    return Row(design, labels)


def tests_of(tests: list[Atoms], features: Any, offset: float) -> dict[str, Row]:
    """All tests together, by quantity; force components below 1 meV/A are left out."""
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {q: [] for q in QUANTITIES}
    for atoms in tests:
        rows, n = features.rows(atoms), len(atoms)
        energy = np.append(rows.energy, n)[None] / n
        parts["energy"].append((energy, np.array([atoms.get_potential_energy() / n - offset])))
        forces = atoms.get_forces().ravel()
        counted = np.abs(forces) > 1e-3
        parts["force"].append((np.pad(rows.forces[counted], ((0, 0), (0, 1))), forces[counted]))
        parts["stress"].append((np.pad(rows.stress, ((0, 0), (0, 1))), atoms.get_stress()))
    return {
        q: Row(
            1e3 * np.vstack([design for design, _ in of]),
            1e3 * np.concatenate([labels for _, labels in of]),
        )
        for q, of in parts.items()
    }


@dataclass(frozen=True)
class Best:
    """A student whose length and ridge suit the tests that are seen best."""

    features: soap_student.Waves
    ridge: float
    errors: dict[str, dict[str, float]]

    @classmethod
    def of(
        cls,
        learnt: list[Atoms],
        tests: dict[str, list[Atoms]],
        mean: float,
        options: dict[str, Any],
    ) -> "Best":
        """Train with every length and ridge of the student."""
        soap = soap_student.Soap(options.get("max_angular", 6), options.get("max_radial", 8))
        described = [soap(atoms) for atoms in learnt]
        species = range(len(described[0]))
        scales = [
            soap_student.Scale.of([parts[one].values for parts in described]) for one in species
        ]
        best: tuple[float, Best] | None = None
        for length in soap_student.LENGTHS:
            features = soap_student.Waves(soap, scales, length, WIDTH // len(scales))
            pool = [row_of(atoms, features, mean) for atoms in learnt]
            sets = {name: tests_of(of, features, mean) for name, of in tests.items()}
            for ridge in soap_student.RIDGES:
                search = Search(pool, sets["seen"], ridge)
                weights, _ = search.weights(list(range(len(pool))))
                errors = {
                    name: Search(pool, of, ridge).errors(weights) for name, of in sets.items()
                }
                found = search.objective(weights)
                if best is None or found < best[0]:
                    best = found, cls(features, ridge, errors)
        assert best is not None
        return best[1]


def composition(picks: list[Candidate]) -> dict[str, int]:
    """How many picks of each kind, or temperature of MD."""
    kinds = [c.kind if c.kind != "md" else f"{c.kind} {c.temperature_K:g} K" for c in picks]
    return dict(sorted(Counter(kinds).items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[25, 100])
    parser.add_argument("--arms", nargs="+", default=["random_md", "ours"])
    parser.add_argument("--exploration", default="plain")
    parser.add_argument(
        "--quantities",
        nargs="+",
        choices=QUANTITIES,
        default=list(QUANTITIES),
        help="what the search lowers",
    )
    parser.add_argument("--most", type=int, default=1000, help="exchanges at most")
    arguments = parser.parse_args()
    study = read_config_file(arguments.study, StudyConfig)
    folder = (arguments.study.parent / study.folder).resolve()
    options = study.students["soap"].options
    picks = picks_of(folder, study)
    explored = folder / "explorations"
    independent = read_candidates(only(explored, "independent-*/round-00/anchors.xyz"))
    held = hold_outs(picks, 0, study.tests.hold_out, study.random_seed)
    mixture = mix(held, list(study.mixed_arms))
    kept = never_picked(independent, picks)
    generator = np.random.default_rng(0)
    shuffled = [kept[i] for i in generator.permutation(len(kept))]
    seen_tests = shuffled[::2] + mixture[::2]
    sets = {"seen": seen_tests, "unseen": shuffled[1::2] + mixture[1::2]}
    tested = {content_hash(c.atoms) for of in sets.values() for c in of}
    pool: dict[str, Candidate] = {}
    for part in ("round-00/anchors.xyz", "round-01/candidates.xyz"):
        for candidate in read_candidates(only(explored, f"{arguments.exploration}-0-*/{part}")):
            key = content_hash(candidate.atoms)
            if key not in tested:
                pool.setdefault(key, candidate)
    labels = StudyLabels(
        check_campaign(arguments.study.parent / study.campaign), folder / "labels"
    )
    labels.compute([*pool.values(), *(c for of in sets.values() for c in of)])
    keys = [key for key, c in pool.items() if labels.attach([c])]
    labelled = {key: labels.attach([pool[key]])[0] for key in keys}
    tests = {name: labels.attach(of) for name, of in sets.items()}
    print(f"{len(keys)} candidates, {[len(of) for of in tests.values()]} tests", flush=True)
    rows = []
    for count in arguments.counts:
        for arm in arguments.arms:
            start = [content_hash(c.atoms) for c in picks[arm][0][:count]]
            learnt = [labelled[key] for key in start if key in labelled]
            mean = float(np.mean([a.get_potential_energy() / len(a) for a in learnt]))
            before = Best.of(learnt, tests, mean, options)
            described = [row_of(labelled[key], before.features, mean) for key in keys]
            seen = tests_of(tests["seen"], before.features, mean)
            seen = {q: seen[q] for q in arguments.quantities}
            found = Search(described, seen, before.ridge).improve(
                [keys.index(key) for key in start if key in labelled], 0, arguments.most
            )
            after = Best.of([labelled[keys[i]] for i in found], tests, mean, options)
            for name, chosen, student in (
                ("as picked", start, before),
                ("searched", [keys[i] for i in found], after),
            ):
                row = {
                    "lowered": " ".join(arguments.quantities),
                    "count": count,
                    "arm": arm,
                    "picks": name,
                    "errors": {
                        test: {q: round(error, 3) for q, error in of.items()}
                        for test, of in student.errors.items()
                    },
                    "composition": composition([pool[key] for key in chosen if key in pool]),
                }
                rows.append(row)
                print(row, flush=True)
    what = (
        "all" if len(arguments.quantities) == len(QUANTITIES) else "-".join(arguments.quantities)
    )
    write_result(
        __file__,
        f"attainable-{study.name}-{what}",
        "no choice of labels has much smaller errors than random MD or the default selection",
        {"rows": rows},
        lowered=arguments.quantities,
        seed=0,
    )


if __name__ == "__main__":
    main()
