"""The suite as a whole: verdicts, crystals found in data, results that are kept."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from entrove.errors import ConfigError, EntroveError, ModelError, StructureError
from entrove.models.ase import SerialModel, from_calculator
from entrove.models.committee import committee_of, force_spreads
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.structures import attach_results
from entrove.validation.suite import Outcome, SuiteConfig, SuiteResult, run_suite
from entrove.validation.suite import run as suite_run
from entrove.validation.suite.checks import phonons as phonons_check
from entrove.validation.suite.crystals import crystals_of, labelled_volumes, space_group_number
from entrove.validation.suite.run import CHECKS
from entrove.validation.suite.sources import Source
from entrove.validation.suite.subject import Subject, composition_of

QUICK = SuiteConfig.model_validate(
    {
        "phonons": {"enabled": False},
        "dynamics": {"steps": 10, "least_atoms": 4},
    }
)
needs_phonopy = pytest.mark.skipif(
    importlib.util.find_spec("phonopy") is None, reason="phonopy is not installed"
)
PHASES = {"fcc": bulk("Cu", a=3.6)}


class Counting(EMT):
    """EMT that counts its evaluations."""

    evaluations = 0

    def calculate(self, *arguments, **keywords):
        type(self).evaluations += 1
        super().calculate(*arguments, **keywords)


class OfCrystals(EMT):
    """EMT that refuses what has no volume, or with `refused` atoms all of that many."""

    refused = 0

    def calculate(self, atoms=None, *arguments, **keywords):
        if atoms.cell.volume == 0.0 or len(atoms) == self.refused:
            raise StructureError("{structure} is none for this model")
        super().calculate(atoms, *arguments, **keywords)


class OfNoPairs(OfCrystals):
    refused = 2


class Softer(EMT):
    """EMT with all that it computes a tenth too small: its errors are no rounding noise."""

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        for name in ("energy", "free_energy", "forces", "stress"):
            if name in self.results:
                self.results[name] = 0.9 * self.results[name]


def labelled(atoms: Atoms) -> Atoms:
    calculator = EMT()
    return attach_results(
        atoms,
        calculator.get_potential_energy(atoms),
        calculator.get_forces(atoms),
        calculator.get_stress(atoms),
    )


class Twice(SerialModel):
    """A fault of batches: all results are twice those of the calculator."""

    def forward(self, state, **kwargs):
        return {name: 2 * value for name, value in super().forward(state).items()}


def test_a_committee_is_judged_by_its_calculators_where_its_batches_are_wrong(monkeypatch):
    def faulty(calculator: Calculator) -> LoadedModel:
        model = from_calculator(calculator)
        return dataclasses.replace(model, model=Twice(calculator), batched=True)

    def keep(subject: Subject) -> SuiteResult:
        judged.append(subject)
        return SuiteResult(subject.model.name, "", (), {}, {}, "")

    members = [faulty(EMT()), faulty(Softer())]
    source = Source(members[0], committee=committee_of(members))
    monkeypatch.setattr(suite_run, "open_source", lambda *_, **__: source)
    judged: list[Subject] = []
    monkeypatch.setattr(suite_run, "judge", lambda subject, *_, **__: keep(subject))
    run_suite("a bundle", phases=PHASES)
    run_suite(source.committee, phases=PHASES)
    atoms = PHASES["fcc"].repeat(2)
    atoms.rattle(0.1, seed=1)
    forces = EMT().get_forces(atoms)
    for subject in judged:
        assert subject.committee is not None
        [found] = predict(subject.committee, [atoms])
        np.testing.assert_allclose(found.get_forces(), 0.95 * forces, atol=1e-10)
        spread = 0.05 * np.linalg.norm(forces, axis=1).max()
        assert force_spreads(subject.committee, [atoms]) == pytest.approx([spread])
    assert judged[1].committee is judged[1].model


def test_what_is_finished_is_not_computed_again(tmp_path: Path):
    model = from_calculator(Counting(), name="counting")
    seen: list[str] = []

    def stop_at_dimers(name, description, results):
        if results is not None:
            seen.append(name)
        elif name == "dimers":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_suite(model, phases=PHASES, config=QUICK, folder=tmp_path, progress=stop_at_dimers)
    assert seen == ["errors", "calibration", "equation_of_state", "elastic", "phase_order"]
    whole = run_suite(model, phases=PHASES, config=QUICK, folder=tmp_path)
    Counting.evaluations = 0
    again = run_suite(model, phases=PHASES, config=QUICK, folder=tmp_path)
    assert again == whole
    assert Counting.evaluations <= len(PHASES)  # to see that it is the same model
    fresh = run_suite(model, phases=PHASES, config=QUICK)
    assert fresh.checks == whole.checks

    other = QUICK.model_copy(
        update={"elastic": QUICK.elastic.model_copy(update={"least_eigenvalue_GPa": 1e6})}
    )
    assert not run_suite(model, phases=PHASES, config=other, folder=tmp_path).passed


class Stiffer(EMT):
    """EMT around the volume of face-centred copper with a = 3.6 A, twice as stiff."""

    middle_eV = EMT().get_potential_energy(bulk("Cu", a=3.6))

    def calculate(self, atoms=None, *arguments, **keywords):
        super().calculate(atoms, *arguments, **keywords)
        middle = len(atoms) * self.middle_eV
        for name in ("energy", "free_energy"):
            self.results[name] = middle + 2.0 * (self.results[name] - middle)
        for name in ("forces", "stress"):
            self.results[name] = 2.0 * self.results[name]


class Sideways(EMT):
    """EMT whose forces alone are others."""

    def calculate(self, atoms=None, *arguments, **keywords):
        super().calculate(atoms, *arguments, **keywords)
        self.results["forces"] = 1.1 * self.results["forces"]


class Pressed(EMT):
    """EMT whose stress alone is another."""

    def calculate(self, atoms=None, *arguments, **keywords):
        super().calculate(atoms, *arguments, **keywords)
        self.results["stress"] = self.results["stress"] + 0.01


@pytest.mark.parametrize("other", [Stiffer(), Sideways(), Pressed()])
def test_a_model_is_known_by_energy_forces_and_stress(other):
    """Also on a crystal of one atom, which has no force and at its volume the same energy."""
    subjects = [
        Subject(from_calculator(calculator, name="one name"), PHASES)
        for calculator in (EMT(), EMT(), other)
    ]
    first, again, third = (subject.fingerprint() for subject in subjects)
    assert first == again
    assert first != third


@needs_phonopy
def test_a_check_that_wanted_a_package_is_made_once_it_is_installed(tmp_path, monkeypatch):
    switches = {check.name: {"enabled": False} for check in CHECKS}
    phonons = {"supercell_A": 4.0, "mesh": 2, "points_per_line": 3}
    config = SuiteConfig.model_validate(switches | {"phonons": phonons})
    model = from_calculator(EMT(), name="emt")

    def missing(*_: object, **__: object) -> None:
        raise EntroveError("the package 'phonopy' is not installed")

    with monkeypatch.context() as patch:
        patch.setattr(phonons_check, "require", missing)
        without = run_suite(model, phases=PHASES, config=config, folder=tmp_path)
    assert without.checks[0].outcome is Outcome.NOT_APPLICABLE
    installed = run_suite(model, phases=PHASES, config=config, folder=tmp_path)
    assert installed.checks == run_suite(model, phases=PHASES, config=config).checks
    assert installed.checks[0].outcome is Outcome.PASSED


def test_json_and_notebook_have_every_verdict():
    suite = run_suite(from_calculator(EMT(), name="emt"), phases=PHASES, config=QUICK)
    content = json.loads(suite.to_json())
    assert content["passed"] is suite.passed is True
    page = suite._repr_html_()
    for check, stored in zip(suite.checks, content["checks"], strict=True):
        assert stored["outcome"] == check.outcome.value
        assert check.title in page
    missing = {c.check for c in suite.checks if c.outcome is Outcome.NOT_APPLICABLE}
    assert missing == {"errors", "phase_order", "forgetting"}
    assert suite.summary.endswith("3 not applicable")


def test_crystals_are_found_in_rattled_supercells_without_names():
    """Space groups of the crystals that the data were made from; volumes of the lowest energy."""
    rng = np.random.default_rng(0)
    data = []
    for crystal in (bulk("Cu", a=3.6, cubic=True), bulk("Cu", "hcp", a=2.55)):
        for scale in (0.98, 1.0, 1.02):
            cell = crystal.repeat((2, 1, 1))
            cell.set_cell(scale * cell.cell.array, scale_atoms=True)
            data.append(labelled(cell))
            moved = cell.copy()
            moved.positions += rng.normal(scale=0.1, size=moved.positions.shape)
            data.append(labelled(moved))
    found = crystals_of(data)
    groups = {space_group_number(atoms, 0.05) for atoms in found.values()}
    assert {225, 194} <= groups
    names = {space_group_number(atoms, 0.05): name for name, atoms in found.items()}
    assert names[225] == "Cu_Fm-3m"
    volumes = labelled_volumes(data, names[225], found[names[225]])
    assert [len(atoms) for atoms in volumes] == [8, 8, 8]
    assert composition_of(found[names[194]]) == "Cu"


def test_nothing_to_judge_is_refused():
    with pytest.raises(StructureError, match="neither crystals nor labelled structures"):
        run_suite(from_calculator(EMT(), name="emt"))


@pytest.mark.parametrize("kind", [tuple, np.array, iter], ids=["tuple", "array", "iterator"])
def test_the_regime_and_labels_may_be_anything_that_can_be_gone_through(kind):
    quick = QUICK.model_copy(
        update={
            name: getattr(QUICK, name).model_copy(update={"enabled": False})
            for name in ("elastic", "equation_of_state", "dimers", "forgetting")
        }
    )
    atoms = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)]

    def verdicts(kind_of_numbers, kind_of_structures):
        return run_suite(
            from_calculator(EMT(), name="emt"),
            phases=PHASES,
            labelled=kind_of_structures([labelled(each) for each in atoms]),
            pressures_GPa=kind_of_numbers([0.0, 1.0]),
            temperatures_K=kind_of_numbers([50.0, 100.0]),
            config=quick,
        )

    expected = verdicts(list, list)
    found = verdicts(kind, tuple if kind is np.array else kind)
    assert [(each.check, each.sentence) for each in found.checks] == [
        (each.check, each.sentence) for each in expected.checks
    ]


def test_a_label_without_forces_is_named():
    atoms = bulk("Cu", cubic=True)
    energy_only = atoms.copy()
    energy_only.calc = SinglePointCalculator(energy_only, energy=-1.0)
    with pytest.raises(
        StructureError, match="structure 1 of the labels has no energy or no forces"
    ):
        run_suite(from_calculator(EMT(), name="emt"), labelled=[labelled(atoms), energy_only])


def test_a_model_that_is_made_for_crystals_is_judged_by_all_checks():
    """Two atoms alone are in a box, which has a volume."""
    suite = run_suite(from_calculator(OfCrystals(), name="emt"), phases=PHASES, config=QUICK)
    (dimers,) = [check for check in suite.checks if check.check == "dimers"]
    assert dimers.outcome is Outcome.PASSED


def test_a_check_that_the_model_cannot_do_is_not_applicable_and_ends_no_other():
    config = SuiteConfig.model_validate(
        {check.name: {"enabled": check.name in ("dimers", "elastic")} for check in CHECKS}
    )
    suite = run_suite(from_calculator(OfNoPairs(), name="emt"), phases=PHASES, config=config)
    assert [(check.check, check.outcome) for check in suite.checks] == [
        ("elastic", Outcome.PASSED),
        ("dimers", Outcome.NOT_APPLICABLE),
    ]
    assert suite.checks[1].sentence.endswith("is none for this model")


class OfOneCell(EMT):
    """EMT that refuses copper but for one primitive cell, and other elements but for one atom."""

    def calculate(self, atoms=None, *arguments, **keywords):
        same_cell = np.allclose(atoms.cell.array, PHASES["fcc"].cell.array, atol=1e-9)
        if len(atoms) > 1 or ("Cu" in atoms.symbols and not same_cell):
            raise ValueError("no such structure")
        super().calculate(atoms, *arguments, **keywords)


@needs_phonopy
@pytest.mark.parametrize("name", [check.name for check in CHECKS if check.name != "calibration"])
def test_a_check_whose_structures_an_ase_calculator_refuses_is_not_applicable(name, tmp_path):
    """Whatever it raises, as long as it can evaluate a structure of those that are judged."""
    config = SuiteConfig.model_validate(
        {check.name: {"enabled": check.name == name} for check in CHECKS}
    )
    rattled = [labelled(moved(bulk("Cu", cubic=True), 0.1, seed)) for seed in range(3)]
    model = from_calculator(OfOneCell(), name="emt")
    for folder in (None, tmp_path):
        suite = run_suite(
            model, phases=PHASES, labelled=rattled, against=model, config=config, folder=folder
        )
        assert {check.outcome for check in suite.checks} == {Outcome.NOT_APPLICABLE}
    none = from_calculator(EMT(), name="emt")
    with pytest.raises(ModelError, match="emt cannot evaluate Si"):
        run_suite(none, phases={"si": bulk("Si")}, config=QUICK, folder=tmp_path)


class OfPeriodic(EMT):
    def calculate(self, atoms=None, *arguments, **keywords):
        if not atoms.pbc.all():
            raise ValueError("no molecules")
        super().calculate(atoms, *arguments, **keywords)


def test_verdicts_are_the_same_with_and_without_a_folder(tmp_path):
    """Also where the model refuses some of the first labels."""
    molecule = Atoms("Cu2", positions=[[0.0, 0.0, 0.0], [2.3, 0.0, 0.0]])
    crystals = [moved(bulk("Cu", cubic=True), 0.1, seed) for seed in range(2)]
    results = (0.0, np.zeros((2, 3)), np.zeros(6))
    labels = [attach_results(molecule, *results), *map(labelled, crystals)]
    model = from_calculator(OfPeriodic(), name="emt")
    checks = [
        run_suite(model, phases=PHASES, labelled=labels, config=QUICK, folder=folder).checks
        for folder in (None, tmp_path, tmp_path)
    ]
    assert checks[0] == checks[1] == checks[2]
    outcomes = {check.check: check.outcome for check in checks[0]}
    assert outcomes["errors"] is outcomes["dimers"] is Outcome.NOT_APPLICABLE
    assert outcomes["elastic"] is Outcome.PASSED


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("phase_order", {"expected": ["fcc", "bbc"]}),
        ("elastic", {"reference_GPa": {"bbc": {"C11": 1.0}}}),
    ],
)
def test_a_threshold_for_a_misspelt_phase_is_refused(name, settings):
    """No model could miss it. A check that is turned off judges nothing anyway."""
    phases = PHASES | {"bcc": bulk("Cu", "bcc", a=2.87)}
    switches = {check.name: {"enabled": False} for check in CHECKS}
    config = SuiteConfig.model_validate(switches | {name: settings})
    model = from_calculator(EMT(), name="emt")
    message = "no phase is called 'bbc'; did you mean 'bcc'.* The phases are bcc, fcc"
    with pytest.raises(ConfigError, match=message):
        run_suite(model, phases=phases, config=config)
    off = SuiteConfig.model_validate(switches | {name: {**settings, "enabled": False}})
    assert run_suite(model, phases=phases, config=off).checks == ()


@needs_phonopy
def test_without_a_crystal_every_check_of_crystals_says_so():
    dimer = Atoms("Cu2", positions=[[0.0, 0.0, 0.0], [2.3, 0.0, 0.0]])
    label = attach_results(dimer, 0.0, np.zeros((2, 3)), np.zeros(6))
    suite = run_suite(from_calculator(EMT(), name="emt"), labelled=[label])
    reasons = {
        check.check: check.sentence
        for check in suite.checks
        if check.outcome is Outcome.NOT_APPLICABLE
    }
    of_crystals = ("equation_of_state", "elastic", "phonons", "dynamics")
    assert {name: reasons[name] for name in of_crystals} == dict.fromkeys(
        of_crystals, "there is no crystal to judge"
    )
    # A single model has no calibration; all other checks have a result.
    enabled = {check.name for check in CHECKS} - {"calibration"}
    assert {check.check for check in suite.checks} == enabled


def test_a_slab_is_named_and_not_judged():
    from ase.build import fcc111

    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=True)
    suite = run_suite(from_calculator(EMT(), name="emt"), phases={"slab": slab}, config=QUICK)
    of_slab = [check for check in suite.checks if check.phase == "slab"]
    assert {check.outcome for check in of_slab} == {Outcome.NOT_APPLICABLE}
    assert all("slab or layer" in check.sentence for check in of_slab)


def moved(atoms: Atoms, amount_A: float, seed: int) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(scale=amount_A, size=(len(atoms), 3))
    return atoms


@pytest.mark.parametrize("what", ["energy", "forces", "one more", "kind"])
def test_stored_verdicts_are_those_of_the_same_labels(tmp_path: Path, what: str):
    model = from_calculator(Softer(), name="softer")
    labels = [labelled(moved(bulk("Cu", a=3.6, cubic=True), 0.1, seed)) for seed in range(3)]
    config = SuiteConfig.model_validate(
        {check.name: {"enabled": check.name == "errors"} for check in CHECKS}
    )

    def judged_again() -> str:
        suite = run_suite(model, phases=PHASES, labelled=labels, config=config, folder=tmp_path)
        return suite.to_json()

    before = judged_again()
    if what == "energy":
        labels[2].calc.results["energy"] += 0.1
    elif what == "forces":
        labels[2].calc.results["forces"] = labels[2].calc.results["forces"] + 0.2
    elif what == "one more":
        labels.append(labelled(moved(bulk("Cu", a=3.6, cubic=True), 0.1, 7)))
    else:
        labels[0].info["entrove_kind"] = "shear"
    fresh = run_suite(model, phases=PHASES, labelled=labels, config=config)
    after = judged_again()
    assert json.loads(after)["checks"] == json.loads(fresh.to_json())["checks"]
    assert after != before


def test_a_bundle_is_judged_although_its_foundation_model_cannot_be_loaded(monkeypatch, caplog):
    """Its framework may not be installed here; a model that the user names has to load."""

    def missing(*_: object, **__: object) -> Source:
        raise ModelError("7net-0 needs the package sevenn")

    model = from_calculator(EMT(), name="emt")
    tuned = Source(model, base="7net-0", base_shifts_eV={"Cu": 0.1}, is_tuned=True)
    monkeypatch.setattr(suite_run, "open_source", missing)
    assert suite_run.base_of(tuned, None, "cpu") == (None, None)
    assert "not compared with the one that it was tuned from" in caplog.text
    with pytest.raises(ModelError, match="needs the package"):
        suite_run.base_of(tuned, "7net-0", "cpu")
    monkeypatch.setattr(suite_run, "open_source", lambda *_, **__: Source(model))
    assert suite_run.base_of(tuned, None, "cpu") == (model, {"Cu": 0.1})
    assert suite_run.base_of(tuned, "7net-0", "cpu") == (model, {"Cu": 0.1})
    # The shifts are those of the model that it was tuned from, and of no other.
    assert suite_run.base_of(tuned, "other", "cpu") == (model, None)
    assert suite_run.base_of(tuned, model, "cpu") == (model, None)
