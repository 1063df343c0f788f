"""What a student is asked for."""

import shutil
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from entrove.curves import learning
from entrove.curves.config import StudentConfig
from entrove.curves.hashing import digest_labels
from entrove.curves.learning import Classroom, _evaluate
from entrove.models.sevennet.files import pretrained_checkpoint
from entrove.structures import attach_results


@pytest.mark.parametrize("atoms", [molecule("N2"), molecule("N2", vacuum=4.0), bulk("Cu")])
def test_a_calculator_of_ones_own_needs_a_stress_of_crystals_only(atoms):
    found, atoms.calc = _evaluate(EMT(), atoms), EMT()
    assert found.get_potential_energy() == atoms.get_potential_energy()
    np.testing.assert_array_equal(found.get_forces(), atoms.get_forces())
    expected = atoms.get_stress() if atoms.pbc.all() else np.zeros(6)
    np.testing.assert_array_equal(found.get_stress(), expected)


def test_fixed_atoms_hide_no_force_that_a_student_predicts():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    label, prediction = _evaluate(EMT(), atoms), _evaluate(LennardJones(), atoms)
    expected = learning.test_errors([label], [prediction])[0]
    atoms.set_constraint(FixAtoms([0, 1, 2, 3]))
    label, prediction = _evaluate(EMT(), atoms), _evaluate(LennardJones(), atoms)
    found = learning.test_errors([label], [prediction])[0]
    assert found.force == expected.force
    assert found.force > 0


class WithoutStress(EMT):
    """EMT that has energies and forces only."""

    implemented_properties: ClassVar = ["energy", "free_energy", "forces"]

    def calculate(self, *arguments, **keywords) -> None:
        super().calculate(*arguments, **keywords)
        del self.results["stress"]


def test_a_calculator_without_stress_has_errors_of_energies_and_forces():
    labelled = _evaluate(EMT(), bulk("Cu", cubic=True))
    found = _evaluate(WithoutStress(), labelled)
    assert "stress" not in found.calc.results
    errors = learning.test_errors([labelled], [found])[0]
    assert (errors.energy, errors.structures) == (0.0, 1)
    assert np.isnan(errors.stress)


def test_an_untuned_model_without_stress_has_errors_of_energies_and_forces(tmp_path, monkeypatch):
    """It is learnt about after labels are paid for, so that it must not end the study."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "untuned_of_mine.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class NoStress(EMT):\n"
        "    implemented_properties = ['energy', 'free_energy', 'forces']\n"
        "    def calculate(self, *arguments, **keywords):\n"
        "        super().calculate(*arguments, **keywords)\n"
        "        del self.results['stress']\n"
    )
    labelled = []
    for index in range(2):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=index)
        labelled.append(_evaluate(EMT(), atoms))
    classroom = Classroom(tmp_path / "students", tmp_path, "cpu", 1)
    student = StudentConfig(base="untuned_of_mine:NoStress", tune=False)
    found = classroom.teach_and_test(student, labelled, {"test": labelled}, seed=1)["test"][0]
    assert found.energy == pytest.approx(0.0, abs=1e-3)
    assert found.force == pytest.approx(0.0, abs=1e-3)
    assert np.isnan(found.stress)
    # Its module belongs to the key.
    before = classroom._key(student, labelled, 1)
    with (tmp_path / "untuned_of_mine.py").open("a") as module:
        module.write("# changed\n")
    assert classroom._key(student, labelled, 1) != before


def test_a_function_is_known_by_the_module_that_the_study_names(tmp_path):
    (tmp_path / "decorator_of_mine.py").write_text(
        "import functools\n"
        "def timed(function):\n"
        "    @functools.wraps(function)\n"
        "    def wrapped(*arguments):\n"
        "        return function(*arguments)\n"
        "    return wrapped\n"
    )
    trainers = tmp_path / "trainers_of_mine.py"
    trainers.write_text(
        "import functools\nfrom decorator_of_mine import timed\n"
        "from ase.calculators.emt import EMT\n"
        "def plain(labelled):\n    return EMT()\n"
        "decorated = timed(plain)\nof_parts = functools.partial(plain)\n"
    )
    classroom = Classroom(tmp_path / "students", tmp_path, "cpu", 1)
    labelled = [_evaluate(EMT(), bulk("Cu", cubic=True))]
    text = trainers.read_text()
    for name in ("plain", "decorated", "of_parts"):
        student = StudentConfig(function=f"trainers_of_mine:{name}")
        before = classroom._key(student, labelled, 1)
        trainers.write_text(text + "# changed\n")
        assert classroom._key(student, labelled, 1) != before
        trainers.write_text(text)
        assert classroom._key(student, labelled, 1) == before


@pytest.mark.slow
@pytest.mark.parametrize("tune", [False, True])
def test_a_base_with_a_fidelity_lies_beside_the_study(tune, tmp_path, monkeypatch):
    """As one without does; the current folder does not matter, and its file belongs to the key."""
    asked = []

    def trained(labelled, base, *_, modal, **__) -> SimpleNamespace:
        asked.append((base, modal))
        return SimpleNamespace(checkpoint=tmp_path / "base.pth")

    monkeypatch.setattr(learning, "fine_tune", trained)
    source = pretrained_checkpoint("7net-mf-0")
    for name in ("base.pth", "at@PBE.pth"):
        shutil.copy(source, tmp_path / name)
    labelled = [attach_results(bulk("Cu"), -4.0, np.zeros((1, 3)), np.zeros(6))]

    def errors_of(base: str):
        classroom = Classroom(tmp_path / "students", tmp_path, "cpu", 1)
        student = StudentConfig(base=base, tune=tune)
        return classroom.teach_and_test(student, labelled, {"test": labelled}, seed=1)["test"]

    ours = errors_of("base.pth@PBE")
    assert errors_of("at@PBE.pth@PBE")[0].energy == pytest.approx(ours[0].energy, abs=1e-6)
    if tune:
        assert asked == [(tmp_path / "base.pth", "PBE"), (tmp_path / "at@PBE.pth", "PBE")]
    keys = {path.name for path in (tmp_path / "students" / "errors").iterdir()}
    with (tmp_path / "base.pth").open("ab") as changed:
        changed.write(b" ")
    errors_of("base.pth@PBE")
    assert {path.name for path in (tmp_path / "students" / "errors").iterdir()} > keys


@pytest.mark.parametrize("corrected", ["energy_eV", "forces_eV_per_A", "stress_eV_per_A3"])
@pytest.mark.parametrize("where", ["learnt", "tested"])
def test_corrected_labels_are_learnt_and_tested_anew(where, corrected, tmp_path):
    """Also those whose energies are equal; errors of the wrong ones are no result."""
    values = {
        "energy_eV": -7.0,
        "forces_eV_per_A": np.full((2, 3), 0.1),
        "stress_eV_per_A3": np.array([0.01, 0.01, 0.01, 0.0, 0.0, 0.0]),
    }
    atoms = bulk("Cu", cubic=True)[:2]

    def errors_of(of_label: dict, calls: int):
        wrong, right = attach_results(atoms, **values), attach_results(atoms, **of_label)
        labelled, tested = (right, wrong) if where == "learnt" else (wrong, right)
        classroom = Classroom(tmp_path / "students", tmp_path, "cpu", 1)
        student = StudentConfig(function="recorded_student:train")
        found = classroom.teach_and_test(student, [labelled], {"test": [tested]}, seed=1)
        assert len(list((tmp_path / "students" / "errors").iterdir())) == calls
        return found["test"][0]

    (tmp_path / "recorded_student.py").write_text(
        "from ase.calculators.emt import EMT\ndef train(labelled):\n    return EMT()\n"
    )
    first = errors_of(values, calls=1)
    second = errors_of(values | {corrected: values[corrected] * 1.5}, calls=2)
    errors_of(values, calls=2)
    assert (first == second) == (where == "learnt")  # this student does not look at its labels


def test_the_hash_of_labels_does_not_depend_on_the_order_of_structures_and_atoms():
    rng = np.random.default_rng(1)
    cells = [bulk("NaCl", "rocksalt", a=a, cubic=True) for a in (5.4, 5.7)]
    labelled = [
        attach_results(cell, rng.normal(), rng.normal(size=(8, 3)), rng.normal(size=6))
        for cell in cells
    ]
    order = rng.permutation(8)
    first = labelled[0]
    turned = attach_results(
        first[order], first.get_potential_energy(), first.get_forces()[order], first.get_stress()
    )
    assert digest_labels([labelled[1], turned]) == digest_labels(labelled)
    swapped = attach_results(
        first, first.get_potential_energy(), first.get_forces()[order], first.get_stress()
    )
    assert digest_labels([swapped, labelled[1]]) != digest_labels(labelled)


def test_labels_without_a_stress_have_a_hash_of_their_own():
    atoms = bulk("Cu")
    without = atoms.copy()
    without.calc = SinglePointCalculator(without, energy=-4.0, forces=np.zeros((1, 3)))
    zero = attach_results(atoms, -4.0, -np.zeros((1, 3)), np.zeros(6))
    assert digest_labels([without]) != digest_labels([zero])
    assert digest_labels([zero]) == digest_labels(
        [attach_results(atoms, -4.0, np.zeros((1, 3)), np.zeros(6))]
    )
