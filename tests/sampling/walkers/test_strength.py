import pytest
import torch
from pydantic import ValidationError

from entrove.sampling.config import AdaptiveSettings, BiasSettings, SamplingConfig
from entrove.sampling.walkers.grid import Walker
from entrove.sampling.walkers.strength import PROBING_KAPPA_EV, SMALLEST_SLOPE_PER_A, Strengths

SETTINGS = AdaptiveSettings(relaxation_steps=10)


def walker(index, kappa_eV=None, fraction=None, entropy="information"):
    return Walker(index, "fcc", 0.0, 300.0, entropy, "per_atom", kappa_eV, fraction)


def strengths(scale=2.0):
    start = Strengths.start(
        [walker(0, kappa_eV=5.0), walker(1, fraction=0.5), walker(2, entropy="none")],
        torch.device("cpu"),
    )
    return start.with_force_scale(torch.full((3,), scale, dtype=torch.float64))


def slopes(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_fixed_strength_never_changes():
    now = strengths()
    for slope in (0.1, 100.0, 0.001):
        now = now.follow(slopes(slope, slope, 0.0), SETTINGS)
        assert float(now.kappa_eV[0]) == 5.0
        assert float(now.kappa_eV[2]) == 0.0


def test_an_adaptive_strength_looks_first_and_then_hits_its_fraction():
    now = strengths(scale=2.0)
    assert float(now.applied_kappa_eV[1]) == PROBING_KAPPA_EV
    now = now.follow(slopes(0.0, 4.0, 0.0), SETTINGS)
    # kappa * slope = fraction * force scale
    assert float(now.kappa_eV[1]) * 4.0 == pytest.approx(0.5 * 2.0)
    assert float(now.applied_kappa_eV[1]) == float(now.kappa_eV[1])


def test_an_adaptive_strength_follows_a_falling_slope_slowly():
    now = strengths().follow(slopes(0.0, 4.0, 0.0), SETTINGS)
    first = float(now.kappa_eV[1])
    after_one = float(now.follow(slopes(0.0, 1.0, 0.0), SETTINGS).kappa_eV[1])
    assert first < after_one < 1.1 * first
    for _ in range(200):
        now = now.follow(slopes(0.0, 1.0, 0.0), SETTINGS)
    assert float(now.kappa_eV[1]) == pytest.approx(0.5 * 2.0 / 1.0, rel=1e-3)


@pytest.mark.parametrize("slope", [0.0, 1e-12, float("nan"), float("inf")])
def test_a_slope_that_says_nothing_changes_nothing(slope):
    now = strengths().follow(slopes(0.0, 4.0, 0.0), SETTINGS)
    later = now.follow(slopes(0.0, slope, 0.0), SETTINGS)
    assert torch.equal(later.kappa_eV, now.kappa_eV)
    assert torch.equal(later.slope_square[1], now.slope_square[1])


def test_a_flat_entropy_does_not_make_the_strength_explode():
    now = strengths().follow(slopes(0.0, 10 * SMALLEST_SLOPE_PER_A, 0.0), SETTINGS)
    assert float(now.kappa_eV[1]) == SETTINGS.largest_kappa_eV


def test_rounding_is_no_slope():
    now = strengths().follow(slopes(0.0, 1e-12, 0.0), SETTINGS)
    assert float(now.applied_kappa_eV[1]) == PROBING_KAPPA_EV


def test_the_bound_per_atom_is_for_adaptive_strengths_alone():
    bound = strengths(scale=2.0).bound(SETTINGS)
    assert bound.tolist() == [float("inf"), 2.0 * SETTINGS.largest_atom_ratio, float("inf")]


def test_the_bound_on_the_virial_is_that_of_thermal_forces_of_unlike_signs():
    """N forces of random directions, each over the neighbour distance, sum to the scale W_T."""
    atoms, spacing, force = 64, 2.5, 2.0
    generator = torch.Generator().manual_seed(0)
    forces = torch.randn(2000, atoms, 3, dtype=torch.float64, generator=generator) * force / 3**0.5
    arms = torch.randn(2000, atoms, 3, dtype=torch.float64, generator=generator) * spacing / 3**0.5
    virial = torch.einsum("tni,tnj->tij", arms, forces)
    rms = float(virial.square().sum(dim=(1, 2)).mean().sqrt())
    volumes = torch.full((3,), atoms * spacing**3, dtype=torch.float64)
    counts = torch.full((3,), atoms)
    bound = strengths(scale=force).bound_of_virial(SETTINGS, counts, volumes)
    # 2000 draws of a sum of nine squares: 1 % is far beyond one standard error.
    assert float(bound[1]) / SETTINGS.largest_atom_ratio == pytest.approx(rms, rel=0.02)
    assert bound[0] == bound[2] == torch.inf


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"entropy": "none", "kappas_eV": [1.0]}, "takes neither kappas_eV nor fractions"),
        ({"entropy": "paper"}, "needs a strength"),
        ({"entropy": "paper", "kappas_eV": [-1.0]}, "greater than 0"),
        (
            {"entropy": "none", "mode": "per_config"},
            "mode 'per_config' has no meaning for entropy 'none'",
        ),
        (
            {"entropy": "local", "mode": "per_config", "fractions": [0.3]},
            "no meaning for entropy 'local', which compares the atoms of one cell; remove mode",
        ),
    ],
)
def test_a_bias_without_a_sensible_strength_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        BiasSettings.model_validate(wrong)


def test_settings_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ValidationError, match="snapshot_every=30 must divide chunk_steps=100"):
        SamplingConfig(snapshot_every=30, chunk_steps=100)
    with pytest.raises(ValidationError, match="too short for adaptive strengths"):
        SamplingConfig(thermalise_steps=5)
    assert (
        SamplingConfig(thermalise_steps=0, biases=(BiasSettings(entropy="none"),)).thermalise_steps
        == 0
    )
