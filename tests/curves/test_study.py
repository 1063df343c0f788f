"""A whole study in seconds: EMT explores and labels copper, a least-squares fit learns."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from cheap_campaign import Labels, make_bench
from entrove.campaign.configuration.check import Seed, check_campaign
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.cli.main import app
from entrove.curves.choosing import Chooser
from entrove.curves.config import StudentConfig, StudyConfig
from entrove.curves.exploring import Explorer
from entrove.curves.labels import StudyLabels
from entrove.curves.learning import Classroom
from entrove.curves.results import StudyResults, read_study
from entrove.curves.study import run_study
from entrove.curves.test_sets import hold_outs, mix, never_picked
from entrove.errors import CampaignError, ConfigError, SelectionError
from entrove.json_values import json_values
from entrove.labelling.label_structures import CACHE_FILE
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate
from entrove.sampling.pools.strained import strain_volume
from entrove.structures import attach_results, content_hash
from small_sevennet import write_small_sevennet

CAMPAIGN = {
    "name": "copper",
    "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
    "regime": {"pressures_GPa": [0], "temperatures_K": [600]},
    # Nothing is tuned, and each exploration compares batches of this model with single structures.
    "model": {"name": "small.pth", "explore_with": "ase.calculators.emt:EMT", "device": "cpu"},
    "sampling": {
        "thermalise_steps": 20,
        "chunk_steps": 10,
        "chunks": 2,
        "snapshot_every": 2,
        "biases": [{"entropy": "information", "fractions": [0.5]}],
        "anchors": {
            "volume_strains": [0.95, 1.05],
            "shears": [0.04],
            "md_steps": 8,
            "md_snapshots": 2,
        },
        "hold_out": {"md_steps": 4, "md_snapshots": 1},
        "ordered": {"perturbed": 0, "random": 0},
    },
    "selection": {"count": 3},
    "labelling": {"engine": {"name": "ase", "calculator": "ase.calculators.emt:EMT"}},
}

STUDY = {
    "name": "copper",
    "campaign": "campaign.yaml",
    "counts": [2, 4],
    "draws": 2,
    "explorations": {"biased": {}, "plain": {"control": "random_md"}},
    "arms": {
        "random_md": {
            "exploration": "plain",
            "pools": ["entropy_md"],
            "selection": {"method": "random"},
        },
        "ours": {"exploration": "biased", "selection": {"features": "fingerprint"}},
    },
    "control": "random_md",
    "tests": {
        "hold_out": 3,
        "independent": {
            "sampling": {"anchors": {"volume_strains": [0.97, 1.03], "shears": [0.02]}}
        },
    },
}


def write_study(folder: Path, **changes) -> Path:
    folder.mkdir(exist_ok=True)
    write(folder / "fcc.xyz", bulk("Cu", cubic=True))
    write_small_sevennet(folder / "small.pth", ["Cu"])
    (folder / "campaign.yaml").write_text(yaml.safe_dump(CAMPAIGN, sort_keys=False))
    shutil.copy(Path(__file__).parent / "scaled_student.py", folder)
    student = {
        "function": "scaled_student:train",
        "options": {"record": str(folder / "trained.txt")},
    }
    study = {**STUDY, "students": {"fit": student}, **changes}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return folder / "study.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, StudyResults]:
    file = write_study(tmp_path_factory.mktemp("study"))
    return file, run_study(file)


def test_every_point_is_there_and_more_labels_have_smaller_errors(finished):
    _, results = finished
    for arm in STUDY["arms"]:
        for test in ("independent", "mixture", f"hold-out of {arm}"):
            curve = results.curve("fit", arm, test, "all", "force")
            assert curve.counts == (2, 4)
            assert curve.values.shape == (2, 2)
            # The fit is exact but for its noise / N.
            assert curve.means[0] == pytest.approx(2 * curve.means[1], rel=1e-3)
    assert {"relaxed", "strain", "shear"} - set(results.groups("independent")) <= {"relaxed"}
    assert "lowest quarter" in results.groups("independent")


def test_an_exploration_makes_no_validation_set(finished):
    """The tests of a study come from other draws; a validation set would only thin the pools."""
    file, _ = finished
    folders = list((file.parent / "curves" / "explorations").glob("plain-*"))
    assert folders
    for folder in folders:
        stages = {record.stage for record in Ledger(folder / "ledger.sqlite").records()}
        assert {"anchors", "explore"} <= stages
        assert "hold-out" not in stages


def test_a_second_run_computes_nothing(finished):
    file, results = finished
    trained = (file.parent / "trained.txt").read_text()
    assert len(trained.split()) == 2 * 2 * 2
    assert run_study(file).to_json() == results.to_json()
    assert (file.parent / "trained.txt").read_text() == trained
    assert read_study(file.parent / "curves" / "results.json").to_json() == results.to_json()


def test_the_command_prints_the_points_as_json(finished):
    file, results = finished
    printed = CliRunner().invoke(app, ["curves", str(file), "--json"])
    # Forces on a perfect crystal have no error, which is null.
    assert "null" in printed.stdout
    assert (printed.exit_code, json.loads(printed.stdout)) == (0, json_values(results.to_dict()))
    page = (file.parent / "curves" / "curves.html").read_text()
    # The anchors of the independent set have two volumes of the phase, which check the stress.
    assert "<p>Stress and -dE/dV differ by" in page
    assert results.checked[1:] in page


def two_volumes() -> list[Candidate]:
    relaxed = bulk("Cu", cubic=True)
    return [
        Candidate(strain_volume(relaxed, ratio), "anchors", kind, "fcc", 0.0)
        for ratio, kind in ((1.0, "relaxed"), (1.05, "strain"))
    ]


def test_labels_that_contradict_themselves_stop_a_study_before_the_others(tmp_path, monkeypatch):
    bench = make_bench(tmp_path, monkeypatch)
    found = StudyLabels(bench.campaign(), tmp_path / "good").check_first(two_volumes())
    assert found.checked.startswith("stress and -dE/dV differ by")
    assert len(bench.computed) == 2
    monkeypatch.setattr(Labels, "stress_factor", 2.0)
    labelling = {"engine": {"name": "ase", "calculator": "cheap_campaign:Labels", "arguments": {}}}
    strict = bench.campaign(labelling=labelling | {"stress_check": {"on_mismatch": "stop"}})
    with pytest.raises(CampaignError, match=r"stress of engine ase contradicts its energies"):
        StudyLabels(strict, tmp_path / "wrong").check_first(two_volumes())


def test_labels_of_a_study_start_from_the_moments_of_the_seeds(tmp_path, monkeypatch):
    bench = make_bench(tmp_path, monkeypatch)
    magnetic = bulk("Cu", cubic=True)
    magnetic.set_initial_magnetic_moments([1.0, -1.0, 1.0, -1.0])
    campaign = replace(bench.campaign(), seeds=(Seed("fcc", magnetic),))
    labels = StudyLabels(campaign, tmp_path / "labels")
    candidates = two_volumes()
    labels.compute(candidates)
    assert len(labels.attach(candidates)) == 2
    level = LevelOfTheory.of(campaign.config.labelling.engine)
    with LabelCache(tmp_path / "labels" / CACHE_FILE) as cache:
        for candidate in candidates:
            assert cache.get(candidate.atoms, level) is None
            candidate.atoms.set_initial_magnetic_moments([1.0, -1.0, 1.0, -1.0])
            assert cache.get(candidate.atoms, level) is not None


def test_two_magnetic_states_of_one_crystal_have_labels_of_their_own(tmp_path, monkeypatch):
    bench = make_bench(tmp_path, monkeypatch)
    up, mixed = bulk("Cu", cubic=True), bulk("Cu", cubic=True)
    up.set_initial_magnetic_moments([1.0, 1.0, 1.0, 1.0])
    mixed.set_initial_magnetic_moments([1.0, -1.0, 1.0, -1.0])
    seeds = (Seed("ferromagnetic", up), Seed("antiferromagnetic", mixed))
    labels = StudyLabels(replace(bench.campaign(), seeds=seeds), tmp_path / "labels")
    of_both = [
        Candidate(bulk("Cu", cubic=True), "anchors", "relaxed", seed.phase, 0.0) for seed in seeds
    ]
    labels.compute(of_both[:1])
    assert not labels.has_all(of_both)
    labels.compute(of_both)
    assert labels.has_all(of_both)
    assert len(bench.computed) == 2


def test_finished_points_stay_in_the_file_while_a_larger_study_continues(finished, tmp_path):
    """An arm is added and the study stopped at its first point: what was known is known still."""
    arms = STUDY["arms"] | {
        "theirs": {
            "exploration": "biased",
            "pools": ["entropy_md"],
            "selection": {"method": "random"},
        }
    }
    file = write_study(
        tmp_path / "larger",
        arms=arms,
        students={
            "fit": {
                "function": "scaled_student:train",
                "options": {"record": str(finished[0].parent / "trained.txt")},
            }
        },
    )
    shutil.copytree(finished[0].parent / "curves", file.parent / "curves")
    kept = file.parent / "curves" / "results.json"
    # The tests of these do not depend on the arm; that of the mixture does.
    unchanged = {
        point for point in finished[1].points if point.test in ("independent", "hold-out of ours")
    }
    assert {point.labels for point in unchanged} == {2, 4}

    def stop(line: str) -> None:
        assert unchanged <= set(read_study(kept).points), line
        if line == "fit: 2 labels of theirs, draw 0":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(file, say=stop)
    stopped = read_study(kept)
    assert stopped != finished[1]
    assert unchanged <= set(stopped.points)
    assert not [point for point in stopped.points if point.arm == "theirs"]


KILLED = """
import os, signal, time
from scaled_student import train as of_few

def train(labelled, **options):
    if len(labelled) == 4:
        os.kill(os.getpid(), signal.{signal})
        time.sleep(30)
    return of_few(labelled, **options)
"""


@pytest.mark.parametrize(("signal", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_page_of_a_stopped_study_has_the_points_so_far(finished, tmp_path, signal, code):
    options = {"record": str(tmp_path / "trained.txt")}
    student = {"function": "killed_student:train", "options": options}
    file = write_study(tmp_path / "killed", students={"fit": student})
    (file.parent / "killed_student.py").write_text(KILLED.format(signal=signal))
    shutil.copytree(
        finished[0].parent / "curves",
        file.parent / "curves",
        ignore=shutil.ignore_patterns("students", "results.json"),
    )
    # What a shell starts in the background ignores Ctrl-C, as these tests may be.
    command = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"sys.argv = ['entrove', 'curves', {str(file)!r}]; from entrove.cli.main import run; run()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == code, ended.stderr
    assert {p.labels for p in read_study(file.parent / "curves" / "results.json").points} == {2}
    assert "fit" in (file.parent / "curves" / "curves.html").read_text()


@pytest.mark.slow
def test_a_stopped_study_continues_to_the_same_points(finished, tmp_path):
    _, results = finished
    file = write_study(tmp_path / "stopped")
    for stop_at in ("picks of ours, draw 1", "fit: 2 labels of ours, draw 0"):

        def stop(line: str, at: str = stop_at) -> None:
            if line == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_study(file, say=stop)
    continued = run_study(file)
    for key in ("points", "failed", "checked"):
        ours, theirs = (json.loads(found.to_json())[key] for found in (continued, results))
        if key == "points":
            # The seconds of the engine are measured anew.
            ours, theirs = ([{**p, "engine_s": 0} for p in points] for points in (ours, theirs))
        assert ours == theirs


def test_picks_of_a_count_are_the_first_of_the_next_and_tests_are_never_learnt_from(finished):
    file, _ = finished
    folder = file.parent / "curves"
    study = StudyConfig.model_validate(yaml.safe_load(file.read_text()))
    checked = check_campaign(file.parent / "campaign.yaml")
    explorer = Explorer(study, checked, folder / "explorations", Silence())
    chooser = Chooser(study, file.parent / "campaign.yaml", folder / "picks")
    picks = {
        arm: [
            chooser.choose(arm, draw, explorer.explore(settings.exploration, draw))
            for draw in range(2)
        ]
        for arm, settings in study.arms.items()
    }
    shorter = study.model_copy(update={"counts": (2,)})
    first = Chooser(shorter, file.parent / "campaign.yaml", folder / "shorter")
    found = first.choose("ours", 0, explorer.explore("biased", 0))
    hashes = [content_hash(pick.atoms) for pick in picks["ours"][0]]
    assert [content_hash(pick.atoms) for pick in found] == hashes[:2]
    assert len(set(hashes)) == 4
    for draw in range(2):
        held = hold_outs(picks, draw, 3, seed=1)
        learnt = {content_hash(p.atoms) for of_arm in picks.values() for p in of_arm[draw]}
        mixed = mix(held, list(picks))
        for candidate in [*mixed, *(c for of in held.values() for c in of)]:
            assert content_hash(candidate.atoms) not in learnt
        sizes = {arm: sum(c in of for c in mixed) for arm, of in held.items()}
        assert len(set(sizes.values())) == 1
    independent, _ = explorer.independent()
    everything = {content_hash(p.atoms) for of in picks.values() for d in of for p in d}
    kept = never_picked(independent, picks)
    assert kept
    assert not {content_hash(candidate.atoms) for candidate in kept} & everything


@pytest.mark.slow
def test_a_single_draw_is_tested_on_the_picks_of_the_next_which_nobody_learns_from(
    finished, tmp_path
):
    file = write_study(tmp_path / "one", draws=1)
    shutil.copytree(finished[0].parent / "curves", file.parent / "curves")
    one = run_study(file)
    of_two = finished[1]
    assert {point.draw for point in one.points} == {0}
    assert "mixture" in one.tests()
    for test in ("mixture", "hold-out of ours"):
        alone = one.curve("fit", "ours", test, "all", "force")
        assert alone.values[:, 0] == pytest.approx(
            of_two.curve("fit", "ours", test, "all", "force").values[:, 0]
        )


@pytest.mark.slow
def test_labels_of_a_count_are_computed_when_it_is_their_turn(finished, tmp_path):
    """A study of expensive labels that stops early has the points of those that it has."""
    file = write_study(tmp_path / "early")
    shutil.copytree(
        finished[0].parent / "curves",
        file.parent / "curves",
        ignore=shutil.ignore_patterns("labels", "students", "results.json"),
    )

    def stop(line: str) -> None:
        if line == "labels of 4 picks of each arm":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(file, say=stop)
    found = read_study(file.parent / "curves" / "results.json")
    assert {point.labels for point in found.points} == {2}
    before = _number_of_labels(file)
    run_study(file)
    assert 0 < before < _number_of_labels(file) == _number_of_labels(finished[0])


def _number_of_labels(study_file: Path) -> int:
    with LabelCache(study_file.parent / "curves" / "labels" / CACHE_FILE) as cache:
        return sum(1 for level in cache.levels() for _ in cache.labelled_structures(level))


def test_arms_of_one_exploration_differ_in_their_selection_only(finished):
    file, _ = finished
    assert sorted(p.name[:8] for p in (file.parent / "curves" / "explorations").iterdir()) == [
        "biased-0",
        "biased-1",
        "independ",
        "plain-0-",
        "plain-1-",
    ]


def test_pools_that_are_too_small_are_named(finished, tmp_path):
    file = write_study(tmp_path / "small", counts=[2, 400], draws=1)
    # What is explored already serves a study with other counts, too.
    shutil.copytree(finished[0].parent / "curves", file.parent / "curves")
    with pytest.raises(SelectionError, match=r"arm ours: 36 candidates .* 398 more labels"):
        run_study(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"control": "theirs"}, "'theirs' is none of random_md, ours"),
        ({"counts": [4, 2]}, "give them in ascending order"),
        ({"students": {"a": {}}}, "either a base or a function"),
        ({"students": {"a": {"function": "a:b", "tune": False}}}, "'tune: false' is for a base"),
        ({"explorations": {"plain": {}}}, "arms.ours.exploration: 'biased' is none of plain"),
        ({"tests": {"files": {"mixture": "a.xyz"}}}, "'mixture' is a test set of the study"),
        (
            {"students": {"a": {"base": "7net-0", "training": {"committee_size": 4}}}},
            "a student is one model",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run_study(write_study(tmp_path / "wrong", **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"explorations": {"biased": {}, "plain": {"smapling": {}}}},
            r"explorations\.plain: .*with smapling changed",
        ),
        (
            {"tests": {"independent": {"sampling": {"anchor": {}}}}},
            r"tests\.independent: .*sampling\.anchor",
        ),
        (
            {"arms": STUDY["arms"] | {"mine": {"exploration": "plain", "entropy": {"knd": "a"}}}},
            r"arms\.mine: .*entropy\.knd",
        ),
    ],
    ids=["exploration", "test", "arm"],
)
def test_a_changed_key_that_does_not_exist_is_named_before_anything_is_explored(
    changes, message, tmp_path
):
    file = write_study(tmp_path / "key", **changes)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        run_study(file)
    assert not (file.parent / "curves" / "explorations").exists()


def test_settings_that_a_training_does_not_read_train_no_student_again(tmp_path):
    """Sections of the training that were added since must not spend the time of a study twice."""
    record = tmp_path / "record"
    labelled = []
    for strain in (0.98, 1.0, 1.02):
        atoms = bulk("Cu", a=3.6 * strain)
        atoms.calc = EMT()
        results = (atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
        labelled.append(attach_results(atoms, *results))
    classroom = Classroom(tmp_path / "students", Path(__file__).parent, "cpu", 1)
    for training in ({}, {"cross_validation": {"folds": 5}}, {"epochs": 26}):
        student = StudentConfig.model_validate(
            {
                "function": "scaled_student:train",
                "options": {"record": str(record)},
                "training": training,
            }
        )
        classroom.teach_and_test(student, labelled, {"test": labelled}, seed=1)
    assert record.read_text() == "3\n3\n"  # the first, and the one whose epochs differ


def test_an_untuned_student_differs_from_its_base_by_one_energy_per_element(tmp_path):
    labelled = []
    for strain in (0.97, 1.0, 1.03):
        atoms = bulk("Cu", cubic=True).copy()
        atoms.symbols[0] = "Au"
        atoms.set_cell(atoms.cell[:] * strain, scale_atoms=True)
        atoms.rattle(0.05, seed=1)
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() + 1.5 * 3 - 0.7  # another zero of energy
        labelled.append(attach_results(atoms, energy, atoms.get_forces(), atoms.get_stress()))
    classroom = Classroom(tmp_path / "students", tmp_path, "cpu", 1)
    student = StudentConfig(base="ase.calculators.emt:EMT", tune=False)
    total = classroom.teach_and_test(student, labelled[:2], {"test": labelled}, 1)["test"][0]
    assert (total.energy, total.force, total.stress) == pytest.approx((0, 0, 0), abs=1e-6)
    assert not (tmp_path / "students" / "trained").exists()


def test_a_student_whose_file_has_changed_learns_again(tmp_path):
    atoms = bulk("Cu", a=3.6)
    atoms.calc = EMT()
    results = (atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
    labelled = [attach_results(atoms, *results)]
    module = tmp_path / "constant_student.py"
    text = "from ase.calculators.emt import EMT\ndef train(labelled):\n    return EMT()\n"
    student = StudentConfig(function="constant_student:train")
    errors = tmp_path / "students" / "errors"
    for addition, files in (("", 1), ("", 1), ("# something else\n", 2)):
        module.write_text(text + addition)
        classroom = Classroom(tmp_path / "students", tmp_path, "cpu", 1)
        classroom.teach_and_test(student, labelled, {"test": labelled}, seed=1)
        assert len(list(errors.iterdir())) == files


def test_of_a_larger_hold_out_the_mixture_has_a_random_part():
    """Not the first, which were picked first; of equal hold-outs it has all, in their order."""

    def cells(first: int, count: int) -> list[Candidate]:
        return [
            Candidate(bulk("Cu", a=3.0 + 0.01 * (first + k)), "anchors", "md", "fcc", 0.0)
            for k in range(count)
        ]

    many, few = cells(0, 60), cells(100, 20)
    mixed = mix({"many": many, "few": few}, ["many", "few"])
    places = [many.index(candidate) for candidate in mixed[:20]]
    assert len(mixed) == 40
    assert mixed[20:] == few
    assert places == sorted(places)
    # The mean of 20 random places of 60 is 29.5, with a standard deviation of 3.2.
    assert 20 < sum(places) / 20 < 39
    assert mix({"a": many[:20], "b": few}, ["a", "b"]) == [*many[:20], *few]


LABELLED = bulk("Cu", cubic=True)
LABELLED.calc = EMT()


def write_labelled(folder: Path, keys: tuple[str, ...]) -> None:
    """A file of one structure with these labels, under the names of MACE where they start so."""
    atoms = LABELLED.copy()
    values = {"energy": LABELLED.get_potential_energy(), "forces": LABELLED.get_forces()}
    if "REF_energy" in keys:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = values.values()
    else:
        atoms.calc = SinglePointCalculator(atoms, **{key: values[key] for key in keys})
    write(folder / "test.xyz", atoms)


@pytest.mark.parametrize(
    ("changes", "keys", "message"),
    [
        ({"tests": {"files": {"mine": "no.xyz"}}}, ("energy",), r"tests\.files\.mine: .*no\.xyz"),
        (
            {"tests": {"files": {"mine": "test.xyz"}}},
            ("REF_energy",),
            r"tests\.files\.mine: .*test\.xyz: structure 0 has no energy and no forces, .*convert",
        ),
        (
            {"tests": {"files": {"mine": "test.xyz"}}},
            ("energy",),
            r"structure 0 has no forces",
        ),
        (
            {"students": {"tuned": {"base": "7net-O"}}},
            ("energy",),
            r"students\.tuned\.base: 7net-O",
        ),
        (
            {"students": {"as-it-is": {"base": "7net-O", "tune": False}}},
            ("energy",),
            r"students\.as-it-is\.base: unknown model '7net-O'. Did you mean '7net-0'",
        ),
        ({"students": {"mine": {"function": "nowhere:f"}}}, ("energy",), r"student function nowh"),
    ],
    ids=str,
)
def test_what_students_and_tests_lack_is_said_before_anything_is_explored(
    tmp_path, changes, keys, message
):
    file = write_study(tmp_path, **changes)
    write_labelled(tmp_path, keys)
    with pytest.raises(ConfigError, match=message):
        run_study(file)
    assert not (tmp_path / "curves" / "explorations").exists()
