import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.units import GPa

from entrove.models.ase import from_calculator
from entrove.sampling.config import RelaxationSettings
from entrove.sampling.relax import relax_at_pressure
from entrove.validation.elastic import elastic_constants
from entrove.validation.strained_cell import Source, in_cell


@pytest.fixture(scope="module")
def copper():
    """Copper at EMT's own lattice constant, free of stress."""
    sides = np.linspace(3.55, 3.63, 41)
    stress = [
        in_cell(bulk("Cu", a=a), bulk("Cu", a=a).cell.array, EMT(), None).get_stress()[0]
        for a in sides
    ]
    return bulk("Cu", a=float(np.interp(0.0, stress, sides)), cubic=True)


def test_cubic_symmetry_and_energy_derivatives(copper):
    constants = elastic_constants(copper, EMT())
    C = constants.matrix_GPa
    c11, c12, c44 = C[0, 0], C[0, 1], C[3, 3]
    cubic = np.zeros((6, 6))
    cubic[:3, :3] = c12
    cubic[range(6), range(6)] = [c11] * 3 + [c44] * 3
    np.testing.assert_allclose(C, cubic, atol=0.05)
    # The energy gives the same constants: E(e) / V = 1/2 C e^2 for a single strain e.
    step = 0.004
    for index, expected in ((0, c11), (3, c44)):
        energies = []
        for amount in (-step, 0.0, step):
            deformation = np.eye(3)
            if index == 0:
                deformation[0, 0] += amount
            else:
                deformation[1, 2] += amount / 2
                deformation[2, 1] += amount / 2
            energies.append(
                in_cell(
                    copper, copper.cell.array @ deformation, EMT(), None
                ).get_potential_energy()
            )
        curvature = (
            (energies[0] - 2 * energies[1] + energies[2]) / step**2 / copper.get_volume() / GPa
        )
        # Both differences have errors of second order: step^2 times a ratio of fourth to second
        # derivatives.
        assert curvature == pytest.approx(expected, rel=0.01)
    assert constants.is_stable
    assert constants.bulk_modulus_GPa == pytest.approx((c11 + 2 * c12) / 3, rel=1e-3)


def test_the_softest_strain_is_as_soft_in_all_orientations(copper):
    """It is the least of C11 - C12, 2 C44 and C11 + 2 C12 of a cubic crystal, in any axes."""
    straight = elastic_constants(copper, EMT())
    c11, c12, c44 = (straight.matrix_GPa[place] for place in ((0, 0), (0, 1), (3, 3)))
    softest = min(c11 - c12, 2 * c44, c11 + 2 * c12)
    assert straight.lowest_eigenvalue_GPa == pytest.approx(softest, rel=1e-3)
    turned = copper.copy()
    turned.rotate(40.0, (1.0, 2.0, 0.5), rotate_cell=True)
    # The finite strains of another orientation differ in second order of their amplitude.
    other = elastic_constants(turned, EMT(), strain=0.002)
    assert other.lowest_eigenvalue_GPa == pytest.approx(softest, rel=0.01)
    assert abs(other.matrix_GPa[0, 0] - c11) > 10.0


def test_pair_potential_obeys_cauchy():
    """Central forces on a Bravais lattice without stress: C12 = C44 (Born and Huang, 1954)."""
    lj = LennardJones(sigma=2.5, epsilon=0.2, rc=8.0, smooth=True)
    sides = np.linspace(3.75, 4.0, 101)
    stress = [
        in_cell(bulk("Ar", a=a), bulk("Ar", a=a).cell.array, lj, None).get_stress()[0]
        for a in sides
    ]
    crystal = bulk("Ar", a=float(np.interp(0.0, stress, sides)))
    C = elastic_constants(crystal, lj, strain=0.002).matrix_GPa
    assert C[0, 1] == pytest.approx(C[3, 3], rel=0.01)


def test_a_calculator_of_a_program_gives_what_others_give(copper):
    """Those of ASE that write and read files are no `Calculator`."""

    class FileEMT(BaseCalculator):
        implemented_properties = EMT.implemented_properties

        def calculate(self, atoms, properties, system_changes) -> None:
            inner = EMT()
            inner.calculate(atoms, properties, all_changes)
            self.results = inner.results

    found = elastic_constants(copper, FileEMT()).matrix_GPa
    np.testing.assert_allclose(found, elastic_constants(copper, EMT()).matrix_GPa, atol=1e-6)


def test_positions_relax_inside_a_strained_cell():
    """Diamond with free atoms is softer under shear than with clamped ones (internal strain)."""
    from ase.calculators.tersoff import Tersoff, TersoffParameters

    # Silicon, T3: Tersoff, Phys. Rev. B 38, 9902 (1988).
    silicon = TersoffParameters(
        m=3.0, gamma=1.0, lambda3=0.0, c=100390.0, d=16.217, h=-0.59825, n=0.78734, beta=1.1e-6,
        lambda2=1.73222, B=471.18, R=2.85, D=0.15, lambda1=2.4799, A=1830.8,
    )  # fmt: skip
    calculator = Tersoff({("Si", "Si", "Si"): silicon})
    diamond = bulk("Si", a=5.432)
    clamped = elastic_constants(diamond, calculator, force_tolerance_eV_per_A=None).matrix_GPa
    relaxed = elastic_constants(diamond, calculator).matrix_GPa
    # Published for T3: C11 143, C12 75, C44 69 GPa (relaxed), 119 GPa without internal strain.
    assert relaxed[0, 0] == pytest.approx(143, abs=2)
    assert relaxed[0, 1] == pytest.approx(75, abs=2)
    assert relaxed[3, 3] == pytest.approx(69, abs=2)
    assert clamped[3, 3] == pytest.approx(119, abs=2)


ARGON_EPSILON_EV = 0.0104


def argon(epsilon_eV: float = ARGON_EPSILON_EV) -> LennardJones:
    return LennardJones(sigma=3.405, epsilon=epsilon_eV, rc=8.5, smooth=True)


class Rounded(LennardJones):
    """Argon whose forces have noise of 2e-5 eV/A, as those in single precision do."""

    noise_eV_per_A = 2e-5

    def calculate(self, *arguments, **keywords) -> None:
        super().calculate(*arguments, **keywords)
        seed = int(abs(self.results["energy"]) * 1e12) % 2**32
        noise = np.random.default_rng(seed).normal(size=self.results["forces"].shape)
        self.results["forces"] = self.results["forces"] + self.noise_eV_per_A * noise
        self.evaluations += 1

    evaluations = 0


@pytest.fixture(scope="module")
def hcp() -> Atoms:
    """Solid argon, hcp: soft, with an atom that moves inside a strained cell."""
    seed = bulk("Ar", "hcp", a=3.73, c=6.09)
    tight = RelaxationSettings(force_tolerance_eV_per_A=1e-6, stress_tolerance_GPa=1e-4)
    (found,) = relax_at_pressure(
        from_calculator(argon(), name="argon").model, [seed], [0.0], tight
    )
    assert found.converged
    return found.atoms


@pytest.mark.parametrize("batched", [False, True])
def test_atoms_of_a_soft_crystal_relax_as_those_of_a_stiff_one(hcp, batched):
    """Forces are proportional to epsilon, and so are the constants, whatever it is."""

    def constants(factor: float, **arguments: float | None) -> np.ndarray:
        source: Source = argon(factor * ARGON_EPSILON_EV)
        if batched:
            source = from_calculator(source, name="argon")
        return elastic_constants(hcp, source, **arguments).matrix_GPa / factor

    exact = constants(1.0, force_tolerance_eV_per_A=1e-6)
    clamped = constants(1.0, force_tolerance_eV_per_A=None)
    assert clamped[5, 5] > 1.2 * exact[5, 5]
    entries = ((0, 0), (0, 1), (0, 2), (2, 2), (3, 3), (5, 5))
    for factor in (0.1, 1.0, 10.0):
        found = constants(factor)
        for place in entries:
            assert found[place] == pytest.approx(exact[place], rel=0.02)


@pytest.mark.parametrize("batched", [False, True])
def test_noise_of_forces_ends_a_relaxation_without_a_warning(hcp, batched, caplog):
    noisy = Rounded(sigma=3.405, epsilon=ARGON_EPSILON_EV, rc=8.5, smooth=True)
    source: Source = from_calculator(noisy, name="noisy argon") if batched else noisy
    caplog.clear()
    found = elastic_constants(hcp, source).matrix_GPa
    assert not caplog.records
    assert noisy.evaluations < 12 * 200
    # The noise is 4 % of the forces just after straining, which take a fifth off C66.
    exact = elastic_constants(hcp, argon(), force_tolerance_eV_per_A=1e-6).matrix_GPa
    assert found[5, 5] == pytest.approx(exact[5, 5], rel=0.04)
