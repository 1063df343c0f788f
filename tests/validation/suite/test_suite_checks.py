"""Each check finds what it is for, on potentials whose answer is known otherwise."""

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator
from pydantic import ValidationError

from entrove.models.ase import from_calculator
from entrove.models.committee import committee_of
from entrove.models.loaded import LoadedModel
from entrove.sampling.relax import RelaxationOutcome
from entrove.structures import attach_results
from entrove.validation.config import ValidationConfig
from entrove.validation.suite import CheckResult, Outcome, SuiteConfig, run_suite
from entrove.validation.suite.checks.elastic import check_elastic
from entrove.validation.suite.checks.equation_of_state import check_equation_of_state
from entrove.validation.suite.checks.errors import check_errors
from entrove.validation.suite.checks.forgetting import own_crystals
from entrove.validation.suite.checks.phase_order import (
    _transitions,
    check_phase_order,
    relaxed_into,
)
from entrove.validation.suite.config import (
    DimerSettings,
    ElasticSettings,
    EquationOfStateSettings,
    ErrorSettings,
    PhaseOrderSettings,
)
from entrove.validation.suite.subject import TIGHT, Phase, Subject
from spring_crystal import LATTICE_CONSTANT_A, Springs

needs_phonopy = pytest.mark.skipif(
    importlib.util.find_spec("phonopy") is None, reason="phonopy is not installed"
)
CHECKS = (
    "errors", "calibration", "equation_of_state", "elastic", "phase_order", "dimers",
    "forgetting", "phonons", "dynamics",
)  # fmt: skip


def model_of(calculator: Calculator) -> LoadedModel:
    return from_calculator(calculator, name=type(calculator).__name__)


def check(name: str, model: LoadedModel, **arguments: Any) -> list[CheckResult]:
    """Run one check alone; its settings are under its name."""
    settings = arguments.pop("settings", {})
    switches = {other: {"enabled": other == name} for other in CHECKS}
    switches[name] |= settings
    config = SuiteConfig.model_validate(switches)
    return list(run_suite(model, config=config, **arguments).checks)


def value(result: CheckResult, name: str) -> float:
    (found,) = [quantity.value for quantity in result.quantities if quantity.name == name]
    assert found is not None
    return found


def labelled(structures: list[Atoms], calculator: Calculator) -> list[Atoms]:
    return [
        attach_results(
            atoms,
            calculator.get_potential_energy(atoms),
            calculator.get_forces(atoms),
            calculator.get_stress(atoms),
        )
        for atoms in structures
    ]


def volumes_of(crystal: Atoms, scales: tuple[float, ...]) -> list[Atoms]:
    cells = []
    for scale in scales:
        cell = crystal.copy()
        cell.set_cell(scale * cell.cell.array, scale_atoms=True)
        cells.append(cell)
    return cells


class Stiffer(EMT):
    """EMT with all energies, forces and stresses 1.5 times as large."""

    factor = 1.5

    def calculate(self, *arguments: Any, **keywords: Any) -> None:
        super().calculate(*arguments, **keywords)
        for name in ("energy", "free_energy", "forces", "stress"):
            if name in self.results:
                self.results[name] = self.factor * self.results[name]


class Nearly(Stiffer):
    """EMT with an error of one percent."""

    factor = 1.01


class WithHole(LennardJones):
    """A pair potential with a narrow well (place in A, width in A, depth in eV) in its wall."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    well = (1.6, 0.15, 40.0)

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        place, width, depth = self.well
        distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
        wells = -depth * np.exp(-(((distances - place) / width) ** 2))
        self.results["energy"] = self.results["energy"] + wells.sum()


class WithHoleBehindTheWall(WithHole):
    """The well is at 1.3 A, where the wall is tens of eV high."""

    well = (1.3, 0.05, 400.0)


def test_bulk_moduli_of_equation_of_state_and_elastic_constants_agree():
    """Two ways to one number: the curvature of the energy, and the slopes of the stress."""
    arguments = {"phases": {"fcc": bulk("Cu", a=3.6)}}
    (curve,) = check(
        "equation_of_state",
        model_of(EMT()),
        settings={"scales": [0.98, 0.99, 0.995, 1.0, 1.005, 1.01, 1.02]},
        **arguments,
    )
    (elastic,) = check("elastic", model_of(EMT()), **arguments)
    assert (curve.outcome, elastic.outcome) == (Outcome.PASSED, Outcome.PASSED)
    assert value(curve, "bulk modulus") == pytest.approx(
        value(elastic, "bulk modulus (Voigt)"), rel=0.02
    )


def test_labelled_volumes_are_compared_whatever_the_zero_of_energy():
    cells = volumes_of(bulk("Cu", a=3.59, cubic=True), (0.96, 0.98, 1.0, 1.02, 1.04))
    for cell in cells:
        cell.info["entrove_phase"] = "fcc"
    labels = labelled(cells, EMT())
    for atoms in labels:
        atoms.calc.results["energy"] += 4 * 7.0
    (same,) = check(
        "equation_of_state", model_of(EMT()), phases={"fcc": bulk("Cu", a=3.6)}, labelled=labels
    )
    assert same.outcome is Outcome.PASSED
    assert value(same, "energy error on labelled volumes") == pytest.approx(0.0, abs=1e-4)
    (stiff,) = check(
        "equation_of_state",
        model_of(Stiffer()),
        phases={"fcc": bulk("Cu", a=3.6)},
        labelled=labels,
    )
    assert stiff.outcome is Outcome.FAILED
    ratio = value(stiff, "bulk modulus on labelled cells") / value(
        same, "bulk modulus on labelled cells"
    )
    assert ratio == pytest.approx(1.5, rel=1e-4)
    assert "bulk modulus on labelled cells" in stiff.sentence


def test_the_order_of_scales_does_not_matter():
    """Nor do scales that are given twice, which are one volume."""
    verdicts = [
        check(
            "equation_of_state",
            model_of(EMT()),
            phases={"fcc": bulk("Cu", a=3.6)},
            settings={"scales": scales},
        )
        for scales in (
            [0.96, 0.98, 1.0, 1.02, 1.04],
            [1.0, 0.96, 1.04, 0.98, 1.02],
            [1.04, 1.02, 1.0, 1.0, 0.98, 0.96],
        )
    ]
    assert verdicts[0][0].outcome is Outcome.PASSED
    assert verdicts[1:] == verdicts[:1] * 2
    with pytest.raises(ValidationError, match="3 different volumes, but four parameters need"):
        EquationOfStateSettings(scales=(0.98, 0.98, 1.0, 1.0, 1.02, 1.02))


class Wider(EMT):
    """EMT of crystals whose lattice constants are `factor` times as long."""

    factor = 1.04

    def calculate(self, atoms: Atoms | None = None, *arguments: Any, **keywords: Any) -> None:
        assert atoms is not None
        narrow = atoms.copy()
        narrow.set_cell(narrow.cell.array / self.factor, scale_atoms=True)
        super().calculate(narrow, *arguments, **keywords)
        self.results["forces"] = self.results["forces"] / self.factor
        self.results["stress"] = self.results["stress"] / self.factor**3


def test_a_model_without_a_minimum_where_the_labels_have_one_fails():
    """Its own equation of state is sound, and has the minimum at another volume."""
    labels = labelled(
        volumes_of(bulk("Cu", a=3.59, cubic=True), (0.98, 0.99, 1.0, 1.01, 1.02)), EMT()
    )
    settings = {"energy_error_meV_per_atom": 1000.0}
    arguments: dict[str, Any] = {
        "phases": {"fcc": bulk("Cu", a=3.6)}, "labelled": labels, "settings": settings
    }  # fmt: skip
    (right,) = check("equation_of_state", model_of(EMT()), **arguments)
    assert right.outcome is Outcome.PASSED
    (wrong,) = check("equation_of_state", model_of(Wider()), **arguments)
    assert wrong.outcome is Outcome.FAILED
    assert "no minimum between the labelled volumes, where the labels have one" in wrong.sentence


def test_a_crystal_that_shears_at_no_cost_fails_the_criterion_of_born():
    """Simple cubic copper is unstable in EMT; face-centred is not."""
    stable, unstable = check(
        "elastic",
        model_of(EMT()),
        phases={"fcc": bulk("Cu", a=3.6), "sc": bulk("Cu", "sc", a=2.4)},
    )
    assert stable.outcome is Outcome.PASSED
    assert unstable.outcome is Outcome.FAILED
    assert "stiffness against the softest strain" in unstable.sentence


@pytest.mark.parametrize("structure", ["fcc", "hcp"])
def test_elastic_constants_are_those_in_the_axes_of_the_crystal(structure):
    """Neither the orientation that a file has nor the choice of its cell changes them."""
    crystal = bulk("Cu", structure, a={"fcc": 3.6, "hcp": 2.55}[structure])
    as_in_a_cif = Atoms(
        crystal.symbols,
        scaled_positions=crystal.get_scaled_positions(),
        cell=crystal.cell.cellpar(),
        pbc=True,
    )
    turned = crystal.copy()
    turned.rotate(40.0, (1.0, 2.0, 0.5), rotate_cell=True)
    larger = bulk("Cu", a=3.6, cubic=True) if structure == "fcc" else turned.repeat((1, 2, 1))
    results = check(
        "elastic",
        model_of(EMT()),
        phases={"as built": crystal, "cif": as_in_a_cif, "turned": turned, "larger": larger},
    )
    matrices = [
        np.array([row[1:] for row in result.tables[0].rows], dtype=float) for result in results
    ]
    softest = [value(result, "stiffness against the softest strain") for result in results]
    # Relaxations end at stresses of up to 0.001 GPa, of a bulk modulus of 140 GPa.
    for matrix, least in zip(matrices[1:], softest[1:], strict=True):
        np.testing.assert_allclose(matrix, matrices[0], atol=1.0)
        assert least == pytest.approx(softest[0], abs=1.0)
    assert matrices[0][0, 0] > matrices[0][0, 1] > 0.0


def argon() -> LennardJones:
    return LennardJones(sigma=3.405, epsilon=0.0104, rc=8.5, smooth=True)


@pytest.mark.parametrize("structure", ["fcc", "hcp"])
def test_a_soft_crystal_is_the_same_from_every_seed(structure):
    """A stress of 0.05 GPa is 2 % of the bulk modulus of argon, which then is anything."""
    crystal = bulk("Ar", structure, a={"fcc": 5.26, "hcp": 3.73}[structure])
    small, large = volumes_of(crystal, (0.98, 1.02))
    argons = Subject(model_of(argon()), {"small": small, "large": large})
    first, second = argons.phases
    assert not first.problem
    assert first.atoms.get_volume() == pytest.approx(second.atoms.get_volume(), rel=0.01)
    results = check_elastic(argons, ElasticSettings())
    for name in (
        "bulk modulus (Voigt)", "shear modulus (Voigt)", "stiffness against the softest strain"
    ):  # fmt: skip
        assert value(results[0], name) == pytest.approx(value(results[1], name), rel=0.01)


class NoisyStress(LennardJones):
    """Argon whose stress has noise that no relaxation gets below."""

    noise_GPa = 0.01

    def calculate(self, *arguments: Any, **keywords: Any) -> None:
        super().calculate(*arguments, **keywords)
        self.evaluations = getattr(self, "evaluations", 0) + 1
        noise = np.random.default_rng(self.evaluations).normal(size=6)
        self.results["stress"] = self.results["stress"] + self.noise_GPa * units.GPa * noise


def test_noise_of_a_stress_leaves_no_crystal_out(monkeypatch):
    """Steps run out, at forces and stresses that are small enough for most crystals."""
    few = TIGHT.model_copy(update={"largest_steps": 60})
    monkeypatch.setattr("entrove.validation.suite.subject.TIGHT", few)
    model = model_of(NoisyStress(sigma=3.405, epsilon=0.0104, rc=6.0, smooth=True))
    (noisy,) = Subject(model, {"fcc": bulk("Ar", "fcc", a=5.3)}).phases
    assert not noisy.problem
    assert noisy.relaxed[0.0].outcome is RelaxationOutcome.STEPS_EXHAUSTED
    model.model.calculator.noise_GPa = 0.2
    (wild,) = Subject(model, {"fcc": bulk("Ar", "fcc", a=5.3)}).phases
    assert "its relaxation at 0 GPa did not converge (steps exhausted)" in wild.problem


def test_known_elastic_constants_are_compared():
    settings = {"reference_GPa": {"fcc": {"C11": 300.0, "C44": 90.0}}}
    (result,) = check(
        "elastic", model_of(EMT()), phases={"fcc": bulk("Cu", a=3.6)}, settings=settings
    )
    assert "C11" in result.sentence
    assert "C44" not in result.sentence


def test_known_elastic_constants_are_compared_at_a_pressure_that_is_said():
    settings = {"reference_GPa": {"fcc": {"C11": 173.0}}}
    (result,) = check(
        "elastic",
        model_of(EMT()),
        phases={"fcc": bulk("Cu", a=3.6)},
        settings=settings,
        pressures_GPa=(20.0,),
    )
    assert result.outcome is Outcome.FAILED
    assert result.sentence.startswith("C11 at 20 GPa ")


@needs_phonopy
def test_imaginary_modes_are_named_with_place_and_frequency():
    settings = {"supercell_A": 6.0, "mesh": 4, "points_per_line": 5}
    stable, unstable = check(
        "phonons",
        model_of(EMT()),
        phases={"fcc": bulk("Cu", a=3.6), "sc": bulk("Cu", "sc", a=2.4)},
        settings=settings,
    )
    assert stable.outcome is Outcome.PASSED
    assert unstable.outcome is Outcome.FAILED
    assert "i THz at M (0.5, 0.5, 0)" in unstable.sentence
    (table,) = unstable.tables
    assert all(frequency < -0.15 for _, _, frequency, _ in table.rows)
    marked = [curve for curve in unstable.panels[0].curves if curve.style == "marked"]
    assert len(marked) == 1
    assert min(filter(None, marked[0].y)) == pytest.approx(
        value(unstable, "lowest frequency"), rel=1e-6
    )


def test_a_transition_is_where_the_enthalpies_cross():
    """With straight lines of H(P) as oracle: dH/dP is the volume per atom."""
    lj = LennardJones(sigma=2.5, epsilon=0.2, rc=6.0, smooth=True)
    phases = {"fcc": bulk("Ar", "fcc", a=3.9), "sc": bulk("Ar", "sc", a=2.8)}
    (result,) = check(
        "phase_order", model_of(lj), phases=phases, pressures_GPa=(0.0, 4.0),
        settings={"pressures": 3},
    )  # fmt: skip
    # Close packing has the lower energy and the smaller volume, so that it wins everywhere.
    assert result.outcome is Outcome.PASSED
    assert result.sentence == "fcc is the lowest at every pressure"
    above = [row[2] for row in result.tables[0].rows]
    assert above == sorted(above)
    (wrong,) = check("phase_order", model_of(lj), phases=phases, settings={"expected": ["sc"]})
    assert wrong.outcome is Outcome.FAILED
    assert "but sc are expected" in wrong.sentence


@pytest.mark.parametrize(
    ("above_meV", "expected_GPa"),
    [
        ((3.0, -1.0), 7.5),
        ((0.0, -1.0), 0.0),
        # Phases that have relaxed into another keep a name whose enthalpy is not quite the lowest.
        ((-0.09, -0.2), 0.0),
        ((-0.2, -0.2), 0.0),
        ((-0.2, 0.1), 0.0),
        ((0.2, 0.09), 10.0),
        ((0.09, 0.09), 10.0),
        ((0.0, 0.0), 0.0),
    ],
)
def test_a_transition_lies_between_the_pressures_that_bracket_it(above_meV, expected_GPa):
    """Enthalpies of B above A at 0 and 10 GPa, where A and B are the lowest."""
    enthalpies = 1e-3 * np.array([(0.0, 0.0), above_meV])
    (found,) = _transitions((0.0, 10.0), enthalpies, ["A", "B"], ["A", "B"])
    assert found.value == pytest.approx(expected_GPa)


def test_phases_are_compared_only_where_all_of_them_are_known(monkeypatch):
    """A relaxation that did not converge makes no other phase the lowest."""
    lj = LennardJones(sigma=2.5, epsilon=0.2, rc=6.0, smooth=True)
    seeds = {"fcc": bulk("Ar", "fcc", a=3.9), "sc": bulk("Ar", "sc", a=2.8)}
    pressures = (0.0, 2.0, 4.0)
    subject = Subject(model_of(lj), seeds, pressures_GPa=pressures)
    settings = PhaseOrderSettings(pressures=3, expected=("fcc",))
    fcc, sc = subject.phases

    def judge_without(*missing: float) -> CheckResult:
        known = {p: found for p, found in fcc.relaxed.items() if p not in missing}
        monkeypatch.setitem(vars(subject), "phases", (replace(fcc, relaxed=known), sc))
        (result,) = check_phase_order(subject, settings)
        return result

    assert judge_without().sentence == "fcc is the lowest at every pressure"
    gap = judge_without(2.0)
    assert gap.outcome is Outcome.PASSED
    assert "not compared where relaxations did not converge: fcc at 2 GPa" in gap.sentence
    assert [row[0] for row in gap.tables[0].rows] == [0.0, 4.0]
    assert not [quantity for quantity in gap.quantities if "transition" in quantity.name]
    nothing = judge_without(*pressures)
    assert nothing.outcome is Outcome.NOT_APPLICABLE
    assert "fcc at 0, 2, 4 GPa" in nothing.sentence


def test_an_expected_phase_that_is_not_known_neither_passes_nor_fails(monkeypatch):
    lj = LennardJones(sigma=2.5, epsilon=0.2, rc=6.0, smooth=True)
    seeds = {"fcc": bulk("Ar", "fcc", a=3.9), "sc": bulk("Ar", "sc", a=2.8)}
    subject = Subject(model_of(lj), seeds, pressures_GPa=(0.0, 4.0))
    fcc, sc = subject.phases
    bcc = replace(fcc, name="bcc", relaxed={}, problem="its relaxation did not converge")
    partly = replace(sc, relaxed={0.0: sc.relaxed[0.0]})

    def judge(phases: tuple[Phase, ...], *expected: str) -> CheckResult:
        monkeypatch.setitem(vars(subject), "phases", phases)
        settings = PhaseOrderSettings(pressures=2, expected=expected)
        (result,) = check_phase_order(subject, settings)
        return result

    absent = judge((fcc, sc, bcc), "fcc", "bcc")
    assert absent.outcome is Outcome.NOT_APPLICABLE
    assert "does not tell whether fcc, bcc are" in absent.sentence
    assert "could not be judged: bcc" in absent.sentence
    # At the highest pressure it may be the lowest.
    assert judge((fcc, partly), "fcc", "sc").outcome is Outcome.NOT_APPLICABLE
    assert judge((fcc, sc), "fcc", "sc").outcome is Outcome.FAILED
    # What is known contradicts, or suffices.
    assert judge((fcc, sc, bcc), "bcc", "sc").outcome is Outcome.FAILED
    assert judge((fcc, sc, bcc), "fcc").outcome is Outcome.PASSED


@pytest.mark.parametrize("names", [("fcc", "bct"), ("bct", "fcc")])
def test_a_phase_that_relaxes_into_another_is_that_phase(names):
    """Body-centred tetragonal copper with c/a = 1.15 becomes face-centred, where c/a is sqrt 2."""
    tetragonal = bulk("Cu", "bcc", a=2.87)
    tetragonal.set_cell(tetragonal.cell.array * [1.0, 1.0, 1.15], scale_atoms=True)
    seeds = {"fcc": bulk("Cu", a=3.6), "bct": tetragonal}
    (result,) = check(
        "phase_order",
        model_of(EMT()),
        phases={name: seeds[name] for name in names},
        pressures_GPa=(0.0, 10.0),
        settings={"expected": ["fcc"]},
    )
    assert result.outcome is Outcome.PASSED
    assert result.sentence == "fcc is the lowest at every pressure; bct relaxes into fcc"
    assert not [quantity for quantity in result.quantities if "transition" in quantity.name]


def test_phases_of_nearly_one_enthalpy_that_differ_are_two():
    """Face-centred and hexagonal close-packed copper are two, a phase and its copy one."""
    subject = Subject(
        model_of(EMT()), {"fcc": bulk("Cu", a=3.6), "hcp": bulk("Cu", "hcp", a=2.55)}
    )
    fcc, hcp = subject.phases
    assert relaxed_into([fcc, hcp], 0.0) == {}
    assert relaxed_into([fcc, replace(fcc, name="again"), hcp], 0.0) == {"again": "fcc"}


def test_labels_decide_which_phase_is_lower():
    """The labels have the opposite order of two phases."""
    fcc, sc = bulk("Cu", a=3.6), bulk("Cu", "sc", a=2.4)
    labels = labelled([fcc, sc], EMT())
    labels[0].calc.results["energy"] += 3.0
    for atoms, name in zip(labels, ("fcc", "sc"), strict=True):
        atoms.info["entrove_phase"] = name
    (result,) = check(
        "phase_order", model_of(EMT()), phases={"fcc": fcc, "sc": sc}, labelled=labels
    )
    assert result.outcome is Outcome.FAILED
    assert "sc is below fcc in the labels, and above it in the model" in result.sentence


def test_a_hole_in_the_repulsion_is_found_and_named():
    sound = LennardJones(sigma=1.9, epsilon=0.2, rc=8.0)
    holed = WithHole(sigma=1.9, epsilon=0.2, rc=8.0)
    crystal = {"fcc": bulk("Ar", "fcc", a=3.7)}
    (good,) = check("dimers", model_of(sound), phases=crystal)
    assert good.outcome is Outcome.PASSED
    settings = {"onset_over_radii": 1.0}
    (bad,) = check("dimers", model_of(holed), phases=crystal, settings=settings)
    assert bad.outcome is Outcome.FAILED
    assert "where atoms fall into each other" in bad.sentence
    hidden = model_of(WithHoleBehindTheWall(sigma=1.9, epsilon=0.2, rc=8.0))
    (behind,) = check("dimers", hidden, phases=crystal, settings=settings)
    assert behind.outcome is Outcome.PASSED
    assert "out of reach of MD it falls by" in behind.sentence
    (strict,) = check("dimers", hidden, phases=crystal, settings=settings | {"barrier_eV": None})
    assert strict.outcome is Outcome.FAILED
    (hole,) = [q for q in bad.quantities if q.name.startswith("hole")]
    assert float(hole.name.split()[2]) == pytest.approx(1.6, abs=0.1)


def test_data_say_from_where_the_energy_must_rise():
    """A minimum at 1.44 A is a hole below 0.7 times the radii, unless the data go below it."""
    morse = MorsePotential(epsilon=1.0, r0=1.44, rho0=6.0)
    arguments = {"phases": {"fcc": bulk("Ar", "fcc", a=4.0)}, "settings": {"points": 400}}
    (without,) = check("dimers", model_of(morse), **arguments)
    assert value(without, "distance below which the energy must rise") == pytest.approx(
        0.7 * 2 * 1.06
    )
    assert without.outcome is Outcome.FAILED
    dimer = Atoms("Ar2", positions=[[0, 0, 0], [1.4, 0, 0]])
    below = attach_results(dimer, 0.0, np.zeros((2, 3)), np.zeros(6))
    arguments["settings"] = {"points": 400}
    (result,) = check("dimers", model_of(morse), labelled=[below], **arguments)
    assert value(result, "distance below which the energy must rise") == pytest.approx(1.4)
    assert result.outcome is Outcome.PASSED


@pytest.mark.parametrize("shortest_A", [0.85, 1.059])
def test_a_hole_below_the_shortest_pair_of_the_data_is_found(shortest_A):
    """The data have the pair at less than, and just below, half the sum of the radii."""
    dimer = Atoms("Ar2", positions=[[0, 0, 0], [shortest_A, 0, 0]])
    below = attach_results(dimer, 0.0, np.zeros((2, 3)), np.zeros(6))
    arguments: dict[str, Any] = {"phases": {"fcc": bulk("Ar", "fcc", a=3.7)}, "labelled": [below]}
    morse = MorsePotential(epsilon=1.0, r0=0.75, rho0=6.0)
    (bad,) = check("dimers", model_of(morse), **arguments)
    assert bad.outcome is Outcome.FAILED
    assert "where atoms fall into each other" in bad.sentence
    sound = MorsePotential(epsilon=1.0, r0=1.2, rho0=6.0)
    (good,) = check("dimers", model_of(sound), **arguments)
    assert good.outcome is Outcome.PASSED
    assert f"rises from {shortest_A:.2f} A" in good.sentence
    # Judged over the same fraction of the onset as without data.
    begin = f"energy at {shortest_A * 0.5 / 0.7:.2f} A above that at {shortest_A:.2f} A"
    assert begin in [quantity.name for quantity in good.quantities]


def test_a_curve_with_nothing_below_the_onset_is_not_judged():
    sound = model_of(LennardJones(sigma=1.9, epsilon=0.2, rc=8.0))
    settings = {"points": 10, "longest_over_radii": 2.5}
    (coarse,) = check("dimers", sound, phases={"fcc": bulk("Ar", "fcc", a=3.7)}, settings=settings)
    assert coarse.outcome is Outcome.NOT_APPLICABLE
    assert "1 point of the curve below 1.48 A" in coarse.sentence
    assert "suite.dimers.points" in coarse.sentence


@pytest.mark.parametrize(
    "distances",
    [
        {"onset_over_radii": 0.4},
        {"onset_over_radii": 0.5},
        {"shortest_over_radii": 0.9, "onset_over_radii": 1.0, "longest_over_radii": 0.8},
    ],
)
def test_distances_of_a_dimer_in_the_wrong_order_are_refused(distances):
    with pytest.raises(ValidationError, match="shortest_over_radii must be below"):
        DimerSettings(**distances)


def test_a_model_forgets_nothing_against_itself_and_half_when_all_is_scaled():
    arguments = {"phases": {"fcc": bulk("Cu", a=3.6)}}
    (same,) = check("forgetting", model_of(EMT()), against=model_of(EMT()), **arguments)
    assert value(same, "change of forces") == 0.0
    assert same.outcome is Outcome.PASSED
    (scaled,) = check("forgetting", model_of(Stiffer()), against=model_of(EMT()), **arguments)
    assert value(scaled, "change of forces") == pytest.approx(0.5)
    assert value(scaled, "change of energy differences") == pytest.approx(0.5)
    assert scaled.outcome is Outcome.FAILED
    (alone,) = check("forgetting", model_of(EMT()), **arguments)
    assert alone.outcome is Outcome.NOT_APPLICABLE


def test_other_crystals_of_own_elements_are_shown_and_fail_nothing():
    arguments = {"phases": {"fcc": bulk("Cu", a=3.6)}}
    (found,) = check(
        "forgetting",
        model_of(Stiffer()),
        against=model_of(EMT()),
        settings={"force_change": 0.6, "energy_change": 0.6},
        **arguments,
    )
    assert value(found, "change of forces, own elements") == pytest.approx(0.5)
    assert value(found, "change of energy differences, own elements") == pytest.approx(0.5)
    assert found.outcome is Outcome.PASSED
    assert "own elements" in found.sentence
    names = [row[0] for row in found.tables[1].rows]
    assert names == ["Cu (bcc)", "Cu (diamond)", "Cu (sc)"]  # the face-centred one is a phase
    (without,) = check(
        "forgetting",
        model_of(EMT()),
        against=model_of(EMT()),
        settings={"own_crystals": 0},
        **arguments,
    )
    assert len(without.tables) == 1


@pytest.mark.parametrize("structure", ["fcc", "bcc", "sc"])
def test_own_crystals_have_the_volume_of_least_energy(structure):
    subject = Subject(model_of(EMT()), {"diamond": bulk("Cu", "diamond", a=5.0)})
    found = dict(own_crystals(subject, model_of(EMT()), 9))[f"Cu ({structure})"]
    energies = []
    for scale in (0.95, 1.0, 1.05):
        cell = found.copy()
        cell.set_cell(scale * cell.cell.array, scale_atoms=True)
        energies.append(EMT().get_potential_energy(cell))
    assert energies[1] == min(energies)


def test_own_crystals_of_a_compound_are_other_structures_and_its_elements():
    subject = Subject(model_of(EMT()), {"B2": bulk("CuAu", "cesiumchloride", a=3.0)})
    names = [name for name, _ in own_crystals(subject, model_of(EMT()), 5)]
    assert names == [
        "CuAu (rocksalt)",
        "CuAu (zincblende)",
        "Cu (fcc)",
        "Au (fcc)",
        "Cu (bcc)",
    ]


class Whirl(EMT):
    """Forces with a curl around the sites of a face-centred crystal, which pump energy in."""

    def calculate(self, atoms: Atoms | None = None, *arguments: Any, **keywords: Any) -> None:
        super().calculate(atoms, *arguments, **keywords)
        assert atoms is not None
        half = np.cbrt(4.0 * atoms.get_volume() / len(atoms)) / 2.0
        away = atoms.positions - half * np.round(atoms.positions / half)
        self.results["forces"] = self.results["forces"] + np.cross([0.0, 0.0, 0.6], away)


def test_forces_that_are_no_gradient_drift():
    arguments = {"phases": {"fcc": bulk("Cu", a=3.6)}, "temperatures_K": (600.0, 300.0)}
    settings = {"steps": 40, "timestep_fs": 2.0, "least_atoms": 8}
    (good,) = check("dynamics", model_of(EMT()), settings=settings, **arguments)
    (bad,) = check("dynamics", model_of(Whirl()), settings=settings, **arguments)
    assert "600 K" in good.sentence
    assert good.outcome is Outcome.PASSED
    assert bad.outcome is Outcome.FAILED
    assert "energy drift" in bad.sentence


def test_a_drift_fails_where_it_is_known_and_that_of_a_stiff_crystal_is_none():
    """With the default settings, at which the total energy rises while it equilibrates."""
    arguments: dict[str, Any] = {
        "phases": {"diamond": bulk("C", "diamond", a=LATTICE_CONSTANT_A)},
        "temperatures_K": (4000.0,),
    }

    def dynamics(**springs: float) -> CheckResult:
        (found,) = check("dynamics", model_of(Springs(43.0, **springs)), **arguments)
        return found

    assert dynamics().outcome is Outcome.PASSED
    pumped = dynamics(pumping_per_ps=0.005)
    assert pumped.outcome is Outcome.FAILED
    # 3 k T g = 5 meV/atom/ps, and up to a third more while the crystal is still warmer.
    assert 4.5 < value(pumped, "energy drift (NVE)") < 7.0
    assert "energy drift (NVE), at least" in pumped.sentence
    # 3 meV/atom of noise: the slope over 0.2 ps is known to some 4 meV/atom/ps.
    noisy = dynamics(noise_eV_per_atom=0.003)
    assert noisy.outcome is Outcome.NOT_APPLICABLE
    assert "is not known well enough" in noisy.sentence
    assert "suite.dynamics.steps" in noisy.sentence
    assert value(noisy, "standard error of the energy drift (NVE)") > 1.0


def test_errors_are_zero_for_the_labelling_potential_and_named_by_kind_otherwise():
    cells = volumes_of(bulk("Cu", a=3.6, cubic=True), (0.97, 0.98, 1.02, 1.03))
    for index, (cell, kind) in enumerate(zip(cells, ("strain", "shear") * 2, strict=True)):
        cell.rattle(0.05, seed=index)
        cell.info |= {"entrove_phase": "fcc", "entrove_kind": kind}
    labels = labelled(cells, EMT())
    limits = {"force_mae_meV_per_A": 5.0}
    arguments = {"phases": {"fcc": bulk("Cu", a=3.6)}, "labelled": labels, "settings": limits}
    (right,) = check("errors", model_of(EMT()), **arguments)
    assert right.outcome is Outcome.PASSED
    (wrong,) = check("errors", model_of(Stiffer()), against=model_of(Nearly()), **arguments)
    assert wrong.outcome is Outcome.FAILED
    assert "forces of fcc, strain" in wrong.sentence
    assert "worse than untuned: forces" in wrong.sentence


def test_labels_without_stress_say_so_and_satisfy_no_limit_of_it():
    structures = [bulk("Cu", a=a) for a in (3.55, 3.65)]
    labels = []
    for atoms in structures:
        atoms.calc = EMT()
        without = atoms.copy()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        without.calc = SinglePointCalculator(without, **results)
        labels.append(without)
    subject = Subject(model_of(EMT()), {}, labelled=labels)
    (found,) = check_errors(subject, ErrorSettings())
    assert found.outcome is Outcome.PASSED
    assert "no stress in the labels" in found.sentence
    assert "nan" not in found.sentence
    (limited,) = check_errors(subject, ErrorSettings(stress_mae_meV_per_A3=1.0))
    assert limited.outcome is Outcome.FAILED
    assert limited.sentence.startswith(
        "stress: no label has any, so that the limit cannot be judged, on 2"
    )


class WithoutStress(EMT):
    """EMT that computes no stress."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, *arguments: Any, **keywords: Any) -> None:
        super().calculate(*arguments, **keywords)
        self.results.pop("stress", None)


def test_a_model_without_stress_is_judged_on_energies_and_forces():
    """Whatever the labels have; it says that it computes none, and satisfies no limit of it."""
    cells = volumes_of(bulk("Cu", a=3.6, cubic=True), (0.97, 1.0, 1.03))
    for seed, cell in enumerate(cells):
        cell.rattle(0.05, seed=seed)
    subject = Subject(model_of(WithoutStress()), {}, labelled=labelled(cells, EMT()))
    (found,) = check_errors(subject, ErrorSettings())
    assert found.outcome is Outcome.PASSED
    assert value(found, "forces, MAE over all") == pytest.approx(0.0, abs=1e-6)
    assert "stress: the model computes none" in found.sentence
    (limited,) = check_errors(subject, ErrorSettings(stress_mae_meV_per_A3=1.0))
    assert limited.outcome is Outcome.FAILED
    assert limited.sentence.startswith(
        "stress: the model computes none, so that the limit cannot be judged, on 3"
    )
    # Against an untuned model that has a stress, energies and forces are compared.
    (compared,) = check_errors(replace(subject, base=model_of(Nearly())), ErrorSettings())
    assert compared.outcome is Outcome.PASSED


def test_all_limits_that_are_broken_are_named():
    cells = volumes_of(bulk("Cu", a=3.6, cubic=True), (0.97, 1.03))
    for seed, cell in enumerate(cells):
        cell.rattle(0.05, seed=seed)
    subject = Subject(model_of(Stiffer()), {}, labelled=labelled(cells, EMT()))
    limits = {"force_mae_meV_per_A": 1e-3, "stress_mae_meV_per_A3": 1e-3}
    (found,) = check_errors(subject, ErrorSettings.model_validate(limits))
    assert "forces of all" in found.sentence
    assert "stress of all" in found.sentence


def shifted(labels: list[Atoms], eV_per_atom: float) -> list[Atoms]:
    return [
        attach_results(
            atoms,
            atoms.get_potential_energy() + eV_per_atom * len(atoms),
            atoms.get_forces(),
            atoms.get_stress(),
        )
        for atoms in labels
    ]


def test_a_wrong_zero_of_energy_is_an_error_of_a_tuned_model_and_of_no_other():
    cells = volumes_of(bulk("Cu", a=3.6, cubic=True), (0.97, 0.98, 1.0, 1.02, 1.03))
    for index, cell in enumerate(cells):
        cell.rattle(0.05, seed=index)
    labels = shifted(labelled(cells, EMT()), 0.5)
    settings = ErrorSettings(energy_mae_meV_per_atom=5.0)
    subject = Subject(model_of(EMT()), {"fcc": bulk("Cu", a=3.6)}, labels)
    (unknown_zero,) = check_errors(subject, settings)
    assert unknown_zero.outcome is Outcome.PASSED
    assert value(unknown_zero, "energy, centred, MAE over all") == pytest.approx(0.0, abs=1e-6)

    tuned = replace(subject, has_zero_of_labels=True, labelled_as="test labels")
    (same_zero,) = check_errors(tuned, settings)
    assert same_zero.outcome is Outcome.FAILED
    assert value(same_zero, "energy, MAE over all") == pytest.approx(500.0)
    assert "on 5 test labels" in same_zero.sentence

    # The untuned model is nearly right after its reference energies, and the tuned one worse.
    untuned = replace(tuned, base=model_of(Nearly()), base_shifts_eV={"Cu": 0.5})
    (compared,) = check_errors(untuned, ErrorSettings())
    assert compared.outcome is Outcome.FAILED
    assert "worse than untuned: energy 500" in compared.sentence
    (energy, *_) = compared.quantities
    assert energy.reference is not None
    assert 0 < energy.reference < 5
    # What is tolerated, or not judged, is named all the same.
    for settings in (
        ErrorSettings(tolerated_worsening=None),
        ErrorSettings(tolerated_worsening=1e6),
    ):
        (tolerated,) = check_errors(untuned, settings)
        assert tolerated.outcome is Outcome.PASSED
        assert "in no part worse" not in tolerated.sentence
        assert (
            "worse than untuned, as tolerated_worsening allows: energy 500" in tolerated.sentence
        )
    # As a campaign does, with what is negligible by its configuration.
    lenient = replace(untuned, negligible=ValidationConfig(negligible_energy_meV_per_atom=1000))
    (negligible,) = check_errors(lenient, ErrorSettings())
    assert "in no part worse than the untuned model" in negligible.sentence
    assert lenient.fingerprint() != untuned.fingerprint()
    # Without these energies its zero is not known, and centred errors are compared.
    (centred,) = check_errors(replace(untuned, base_shifts_eV=None), ErrorSettings())
    assert centred.outcome is Outcome.PASSED
    assert centred.quantities[0].reference is None
    assert "in no part worse than the untuned model" in centred.sentence


def test_a_limit_of_centred_energies_needs_two_labels_of_a_composition():
    """Centred, the error of the only label of a composition is zero, whatever the model."""
    metals = [bulk(name, cubic=True) for name in ("Cu", "Ag", "Au")]
    for index, metal in enumerate(metals):
        metal.rattle(0.05, seed=index)
    alone = [
        atoms
        for index, metal in enumerate(metals)
        for atoms in shifted(labelled([metal], EMT()), index - 1.0)
    ]
    subject = Subject(model_of(EMT()), {}, alone)
    (found,) = check_errors(subject, ErrorSettings(energy_mae_meV_per_atom=1.0))
    assert found.outcome is Outcome.FAILED
    assert "no two labels have one composition, so that the limit cannot" in found.sentence
    assert found.quantities[0].value is None
    # A second label of copper, 0.4 eV/atom apart: the others do not dilute its error.
    other = metals[0].copy()
    other.rattle(0.05, seed=7)
    pair = [*alone, *shifted(labelled([other], EMT()), -0.6)]
    settings = ErrorSettings(energy_mae_meV_per_atom=100.0)
    (found,) = check_errors(replace(subject, labelled=pair), settings)
    assert found.outcome is Outcome.FAILED
    assert value(found, "energy, centred, MAE over all") == pytest.approx(200.0, rel=1e-6)


def test_labels_that_were_trained_on_are_named_as_such():
    cells = volumes_of(bulk("Cu", a=3.59, cubic=True), (0.96, 0.98, 1.0, 1.02, 1.04))
    for cell in cells:
        cell.info["entrove_phase"] = "fcc"
    hexagonal = bulk("Cu", "hcp", a=2.55)
    hexagonal.info["entrove_phase"] = "hcp"
    labels, of_hcp = labelled(cells, EMT()), labelled([hexagonal], EMT())
    subject = Subject(
        model_of(EMT()),
        {"fcc": bulk("Cu", a=3.6), "hcp": bulk("Cu", "hcp", a=2.55)},
        labelled=labels[:2],
        trained_on=[*labels[2:], *of_hcp],
    )
    fcc, _ = check_equation_of_state(subject, EquationOfStateSettings())
    assert "from labels at 5 volumes (3 trained on)" in fcc.sentence
    (order,) = check_phase_order(subject, PhaseOrderSettings())
    assert "compared with 2 labelled cells (all trained on)" in order.sentence


def test_a_committee_of_equals_has_no_calibration():
    labels = labelled(volumes_of(bulk("Cu", a=3.6, cubic=True), (0.98, 1.02)), EMT())
    equals = committee_of([model_of(EMT()), model_of(EMT())])
    (found,) = check("calibration", equals, phases={"fcc": bulk("Cu", a=3.6)}, labelled=labels)
    assert found.outcome is Outcome.NOT_APPLICABLE
    assert "all members of the committee predict the same" in found.sentence
