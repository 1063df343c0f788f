"""`run_study`: explore, choose, label, train and test, draw by draw, count by count."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign, check_campaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import read_config_file
from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.journal.progress import ProgressListener, Silence
from entrove.curves.choosing import Chooser
from entrove.curves.config import HOW_TO_WRITE, StudentConfig, StudyConfig
from entrove.curves.exploring import Explorer
from entrove.curves.labels import StudyLabels
from entrove.curves.learning import Classroom, TestErrors
from entrove.curves.results import Point, StudyResults
from entrove.curves.test_sets import hold_outs, mix, never_picked
from entrove.errors import ConfigError, StructureError
from entrove.files import replace_text
from entrove.sampling.candidates import Candidate
from entrove.structures import read_structures
from entrove.threads import usable_threads

logger = logging.getLogger(__name__)

RESULTS_FILE = "results.json"
Say = Callable[[str], None]
Picks = dict[str, list[list[Candidate]]]
"""What each arm picked in each draw."""
Task = tuple[int, str, str, int]
"""Number of labels, name of a student, arm, and draw."""
Points = dict[Task, list[Point]]
"""The points of each task so far, in the order of the tasks."""


def run_study(
    study_file: str | Path,
    *,
    listener: ProgressListener | None = None,
    say: Say | None = None,
) -> StudyResults:
    """Run a study of learning curves, or continue it.

    Args:
        study_file: Settings of the study, see `StudyConfig`.
        listener: Receives the progress of the current step.
        say: Called with one line per step.

    The tests are labelled first, and of these what checks the engine, as in a campaign. Then
    labels and points are computed in ascending order of counts, all arms and draws of a count
    together, and `results.json` in the folder of the study has the points so far: stop it whenever
    they suffice. Points of a study that has been changed stay there where the change does not
    concern them.

    Returns all points.

    Raises `ConfigError` when the study or its campaign cannot be used, an exploration or an arm
    changes keys that do not exist, or a student or a file of the tests lacks what it needs, all
    of which is found before anything is explored; `SelectionError`
    when the pools are too small for the counts, `CampaignError` when another process runs this
    study, or the first labels contradict themselves.
    """
    path = Path(study_file)
    study = read_config_file(path, StudyConfig, how_to_write=HOW_TO_WRITE)
    folder = (path.parent / study.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with hold_campaign(folder):
        replace_text(folder / "study.json", study.model_dump_json(indent=1))
        return _Study(
            study,
            check_campaign(path.parent / study.campaign),
            path.parent,
            folder,
            listener or Silence(),
            say or (lambda _: None),
        ).run()


@dataclass(frozen=True)
class _Study:
    config: StudyConfig
    checked: CheckedCampaign
    study_folder: Path
    folder: Path
    listener: ProgressListener
    say: Say

    def run(self) -> StudyResults:
        classroom, files = self._classroom(self.checked.config), self._read_files()
        for name, student in self.config.students.items():
            classroom.check(name, student)
        picks, independent = self._choose_all()
        labels = StudyLabels(self.checked, self.folder / "labels")
        tests = self._tests(picks, independent)
        tested = [c for of_draw in tests for of in of_draw.values() for c in of]
        self.say("first labels, as a check of the engine")
        checked = labels.check_first(tested).checked
        if checked:
            self.say(checked)
        self._label(labels, "tests", tested)
        with_labels = [
            self._with_labels(labels, of_draw, draw) | files for draw, of_draw in enumerate(tests)
        ]
        points = self._finished(classroom, labels, picks, with_labels)
        results = self._results(points, picks, labels, checked)
        if results.points:
            results.write(self.folder / RESULTS_FILE)
        for count, group in groupby(self._tasks(), key=lambda task: task[0]):
            tasks = list(group)
            learnt = dict.fromkeys((arm, draw) for _, _, arm, draw in tasks)
            wanted = [pick for arm, draw in learnt for pick in picks[arm][draw][:count]]
            self._label(labels, f"{count} picks of each arm", wanted)
            for task in tasks:
                points[task] = self._points(classroom, labels, task, picks, with_labels)
                results = self._results(points, picks, labels, checked)
                results.write(self.folder / RESULTS_FILE)
        return results

    def _results(
        self, points: Points, picks: Picks, labels: StudyLabels, checked: str
    ) -> StudyResults:
        failed = {
            arm: sum(labels.failed(of_draw) for of_draw in of_arm[: self.config.draws])
            for arm, of_arm in picks.items()
        }
        config = self.config
        in_order = tuple(point for of_task in points.values() for point in of_task)
        return StudyResults(config.name, config.control, config.draws, in_order, failed, checked)

    def _choose_all(self) -> tuple[Picks, list[Candidate]]:
        explorer = Explorer(self.config, self.checked, self.folder / "explorations", self.listener)
        chooser = Chooser(self.config, self.checked.config_path, self.folder / "picks")
        explorer.check()
        chooser.check()
        self.say("independent test set")
        independent, _ = explorer.independent()
        picks: Picks = {arm: [] for arm in self.config.arms}
        for draw in range(self.config.draws_picked):
            for name in self.config.explorations:
                arms = [a for a, arm in self.config.arms.items() if arm.exploration == name]
                if not arms:
                    continue
                self.say(f"exploration {name}, draw {draw}")
                explored = explorer.explore(name, draw)
                for arm in arms:
                    self.say(f"picks of {arm}, draw {draw}")
                    picks[arm].append(chooser.choose(arm, draw, explored))
        return picks, independent

    def _tests(
        self, picks: Picks, independent: list[Candidate]
    ) -> list[dict[str, list[Candidate]]]:
        """The test sets of each draw that have to be labelled."""
        kept = never_picked(independent, picks)
        tests: list[dict[str, list[Candidate]]] = []
        for draw in range(self.config.draws):
            found = hold_outs(picks, draw, self.config.tests.hold_out, self.config.random_seed)
            sets = {"independent": kept}
            if found:
                sets["mixture"] = mix(found, self.config.mixed_arms)
                sets |= {f"hold-out of {arm}": of_arm for arm, of_arm in found.items()}
            tests.append({name: of for name, of in sets.items() if of})
        return tests

    def _with_labels(
        self, labels: StudyLabels, tests: Mapping[str, Sequence[Candidate]], draw: int
    ) -> dict[str, list[Atoms]]:
        """The test sets of a draw with their labels; one whose labels all failed is left out."""
        sets = {name: labels.attach(of) for name, of in tests.items()}
        for name, labelled in sets.items():
            if not labelled:
                logger.warning(
                    "all %d labels of the test set '%s' of draw %d failed; it is left out",
                    len(tests[name]),
                    name,
                    draw,
                )
        return {name: labelled for name, labelled in sets.items() if labelled}

    def _label(self, labels: StudyLabels, what: str, wanted: Sequence[Candidate]) -> None:
        self.say(f"labels of {what}")
        self.listener.stage_started(0, "label", f"labels of {what}", None, "labels")
        labels.compute(wanted, self.listener.advanced)
        self.listener.stage_finished(0, "label", 0.0, f"{len(wanted)} structures")

    def _read_files(self) -> dict[str, list[Atoms]]:
        """The labelled files of the tests; raises `ConfigError` for one without its labels."""
        files = {name: self.study_folder / file for name, file in self.config.tests.files.items()}
        return {name: _read_test_file(name, path) for name, path in files.items()}

    def _classroom(self, campaign: CampaignConfig) -> Classroom:
        return Classroom(
            self.folder / "students",
            self.study_folder,
            campaign.model.device,
            usable_threads(campaign.model.threads),
        )

    def _tasks(self) -> list[Task]:
        """Count, student, arm and draw of every point, cheap ones first."""
        return [
            (count, name, arm, draw)
            for count in self.config.counts
            for name, student in self.config.students.items()
            if student.counts is None or count in student.counts
            for arm in self.config.arms
            if student.arms is None or arm in student.arms
            for draw in range(self.config.draws)
        ]

    def _finished(
        self,
        classroom: Classroom,
        labels: StudyLabels,
        picks: Picks,
        tests: Sequence[Mapping[str, Sequence[Atoms]]],
    ) -> Points:
        """A place for the points of each task, with those that an earlier run has found."""
        labels.recall([p for of_arm in picks.values() for of_draw in of_arm for p in of_draw])
        points: Points = {}
        for task in self._tasks():
            count, name, arm, draw = task
            picked = picks[arm][draw][:count]
            labelled = labels.attach(picked) if labels.has_all(picked) else []
            errors: TestErrors = {}
            if labelled:
                student, seed = self.config.students[name], self.config.random_seed + draw
                errors = classroom.tested(student, labelled, tests[draw], seed)
            points[task] = _as_points(task, labels, picked, labelled, errors)
        return points

    def _points(
        self,
        classroom: Classroom,
        labels: StudyLabels,
        task: Task,
        picks: Picks,
        tests: Sequence[Mapping[str, Sequence[Atoms]]],
    ) -> list[Point]:
        """Errors of a student on the tests of a draw; none where nothing is learnt or tested."""
        count, name, arm, draw = task
        picked = picks[arm][draw][:count]
        labelled = labels.attach(picked)
        what = f"{name}: {count} labels of {arm}, draw {draw}"
        if not labelled or not tests[draw]:
            cause = "no test set has labels" if labelled else "all of them failed"
            logger.warning("%s: %s; the point is left out", what, cause)
            return []
        self.say(what)
        errors = self._teach(classroom, self.config.students[name], labelled, tests[draw], draw)
        return _as_points(task, labels, picked, labelled, errors)

    def _teach(
        self,
        classroom: Classroom,
        student: StudentConfig,
        labelled: Sequence[Atoms],
        tests: Mapping[str, Sequence[Atoms]],
        draw: int,
    ) -> TestErrors:
        self.listener.stage_started(draw, "train", "training", None, "epochs")
        errors = classroom.teach_and_test(
            student,
            labelled,
            tests,
            seed=self.config.random_seed + draw,
            on_epoch=lambda epoch: self.listener.advanced(epoch.number, epoch.epochs),
        )
        total = next(iter(errors.values()))[0]
        summary = f"energy {total.energy:.1f} meV/atom, forces {total.force:.1f} meV/A"
        self.listener.stage_finished(draw, "train", 0.0, summary)
        return errors


def _as_points(
    task: Task,
    labels: StudyLabels,
    picked: Sequence[Candidate],
    labelled: Sequence[Atoms],
    errors: TestErrors,
) -> list[Point]:
    if not errors:
        return []
    count, name, arm, draw = task
    seconds = labels.seconds(picked)
    atoms = sum(len(a) for a in labelled) / len(labelled)
    return [
        Point(name, arm, draw, count, atoms, seconds, test, group)
        for test, groups in errors.items()
        for group in groups
    ]


def _read_test_file(name: str, path: Path) -> list[Atoms]:
    try:
        structures = read_structures(path)
    except StructureError as error:
        raise ConfigError(f"tests.files.{name}: {error}") from error
    for index, atoms in enumerate(structures):
        results = {} if atoms.calc is None else atoms.calc.results
        missing = [label for label in ("energy", "forces") if label not in results]
        if missing:
            raise ConfigError(
                f"tests.files.{name}: {path}: structure {index} has no "
                f"{' and no '.join(missing)}, and students are compared with both; remove it, or "
                "write the file with the usual "
                "names of labels: 'entrove convert' knows REF_energy and others"
            )
    return structures
