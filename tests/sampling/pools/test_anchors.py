"""Pool of anchors, the control arm, the hold-out, and the loop over chunks."""

from itertools import product

import numpy as np
import pytest
import torch
from ase.data import covalent_radii
from cheap_models import Springs, argon, lennard_jones

from entrove.entropy.dataset import EntropyDataset
from entrove.errors import StructureError
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.config import (
    AnchorSettings,
    BiasSettings,
    GuardSettings,
    HoldOutSettings,
    SamplingConfig,
)
from entrove.sampling.pools.anchors import generate_anchors
from entrove.sampling.pools.entropy_md import advance, begin
from entrove.sampling.pools.hold_out import (
    count_independent,
    generate_hold_out,
    independent_of,
    sizes_of,
)
from entrove.sampling.pools.random_md import run_plain_md
from entrove.sampling.pools.strained import is_copy, shear, strain_volume
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.structures import content_hash
from entrove.units import BOLTZMANN_EV_PER_K

STARTS = [Start("fcc", 0.0, argon(5.3)), Start("fcc", 1.0, argon(5.2))]
CONFIG = SamplingConfig(
    anchors=AnchorSettings(volume_strains=(0.9, 1.2), shears=(0.04,), md_steps=10, md_snapshots=2),
    hold_out=HoldOutSettings(md_steps=10, md_snapshots=1),
)


@pytest.fixture(scope="module")
def model():
    return lennard_jones()


def test_volume_strain_and_shear_do_what_they_say():
    atoms = argon(5.2, rattle_A=0.1)
    strained = strain_volume(atoms, 0.92)
    assert strained.get_volume() / atoms.get_volume() == pytest.approx(0.92, rel=1e-12)
    np.testing.assert_allclose(
        strained.get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-12
    )
    sheared = shear(atoms, 0.06, (0, 1))
    deformation = np.linalg.solve(atoms.cell.array, sheared.cell.array)
    expected = np.eye(3)
    expected[0, 1] = expected[1, 0] = 0.03
    np.testing.assert_allclose(deformation, expected, atol=1e-12)


def test_anchors_are_complete_and_without_copies(model):
    anchors = generate_anchors(STARTS, [20.0, 40.0], model, CONFIG, 0)
    counts = {
        kind: sum(anchor.kind == kind for anchor in anchors)
        for kind in ("relaxed", "strain", "shear", "md")
    }
    assert counts == {"relaxed": 2, "strain": 4, "shear": 6, "md": 2 * 2 * 2}
    assert {anchor.pool for anchor in anchors} == {"anchors"}
    assert len({content_hash(anchor.atoms) for anchor in anchors}) == len(anchors)
    assert {anchor.temperature_K for anchor in anchors if anchor.kind == "md"} == {20.0, 40.0}


def test_a_strained_cell_that_equals_another_pressure_comes_once(model):
    compressed = strain_volume(argon(5.3), 0.9)
    starts = [Start("fcc", 0.0, argon(5.3)), Start("fcc", 0.7, compressed)]
    quiet = CONFIG.model_copy(
        update={"anchors": CONFIG.anchors.model_copy(update={"md_steps": 0})}
    )
    anchors = generate_anchors(starts, [20.0], model, quiet, 0)
    same = [anchor for anchor in anchors if is_copy(anchor.atoms, compressed)]
    assert len(same) == 1
    assert same[0].kind == "relaxed"


def test_copies_are_recognised_through_float_noise_and_translation_alone():
    atoms = argon(5.2, rattle_A=0.1)
    moved = atoms.copy()
    moved.positions += 0.7 + 1e-4 * np.random.default_rng(0).normal(size=(4, 3))
    assert is_copy(atoms, moved)
    for share in (0.5, [0.5, 0.5, 0.0], [0.5, -0.5, 1.5], 1.0):  # half a cell is near two images
        moved = atoms.copy()
        moved.positions += np.broadcast_to(share, 3) @ atoms.cell.array
        moved.positions += 1e-4 * np.random.default_rng(1).normal(size=(4, 3))
        assert is_copy(atoms, moved)
    for rows in ([0], [0, 1]):
        apart = atoms.copy()
        apart.positions[rows] += 0.5 * atoms.cell.array[0]
        assert not is_copy(atoms, apart)
    assert not is_copy(atoms, argon(5.2, rattle_A=0.1, seed=1))
    assert not is_copy(atoms, strain_volume(atoms, 0.98))
    assert not is_copy(atoms, argon(5.2, rattle_A=0.1, symbol="Ne"))


def test_the_hold_out_shares_no_structure_with_the_anchors(model):
    anchors = generate_anchors(STARTS, [20.0, 40.0], model, CONFIG, 0)
    held_out = generate_hold_out(
        STARTS, [20.0, 40.0], [anchor.atoms for anchor in anchors], model, CONFIG, 1
    )
    assert {candidate.kind for candidate in held_out} == {"strain", "shear", "md"}
    assert {candidate.pool for candidate in held_out} == {"validation"}
    assert not {content_hash(anchor.atoms) for anchor in anchors} & {
        content_hash(candidate.atoms) for candidate in held_out
    }
    thermal = [candidate for candidate in held_out if candidate.kind == "md"]
    assert {(c.pressure_GPa, c.temperature_K) for c in thermal} == {
        (start.pressure_GPa, temperature) for start in STARTS for temperature in (20.0, 40.0)
    }
    volumes = sorted(
        candidate.atoms.get_volume() for candidate in held_out if candidate.kind == "strain"
    )
    expected = sorted(ratio * a**3 for ratio in (0.92, 1.08) for a in (5.3, 5.2))
    np.testing.assert_allclose(volumes, expected, rtol=1e-9)


def test_plain_md_is_even_seeded_and_unbiased(model):
    first = run_plain_md(STARTS, [30.0], model, CONFIG, 3, steps=20, snapshots=4)
    # Steps count from the start of the thermalisation.
    thermal = CONFIG.thermalise_steps
    assert [candidate.step - thermal for candidate in first] == [5, 5, 10, 10, 15, 15, 20, 20]
    assert {candidate.kappa_eV for candidate in first} == {0.0}
    assert {candidate.pool for candidate in first} == {"random_md"}
    again = run_plain_md(STARTS, [30.0], model, CONFIG, 3, steps=20, snapshots=4)
    np.testing.assert_array_equal(first[-1].atoms.positions, again[-1].atoms.positions)
    other = run_plain_md(STARTS, [30.0], model, CONFIG, 4, steps=20, snapshots=4)
    assert not np.allclose(first[-1].atoms.positions, other[-1].atoms.positions)


def test_plain_md_keeps_the_cell_of_the_relaxed_phase_in_any_ensemble(model):
    npt = CONFIG.model_copy(update={"ensemble": "npt"})
    for candidate in run_plain_md(STARTS, [30.0], model, npt, 3, steps=10, snapshots=1):
        start = next(start for start in STARTS if start.pressure_GPa == candidate.pressure_GPa)
        np.testing.assert_array_equal(candidate.atoms.cell.array, start.atoms.cell.array)


def explore_three_chunks(model, *, learn):
    """Candidates and admitted indices; without `learn`, admitted ones do not join the dataset."""
    features = GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=24))
    dataset = EntropyDataset("paper", features=features)
    dataset.add([argon(5.3)])
    config = CONFIG.model_copy(
        update={
            "biases": (
                BiasSettings(entropy="paper", kappas_eV=(0.2,)),
                BiasSettings(entropy="none"),
            ),
            "thermalise_steps": 5,
            "chunk_steps": 10,
            "snapshot_every": 5,
        }
    )
    walkers, structures = plan_walkers(STARTS, [30.0], config)
    exploration = begin(walkers, structures, model, config, 0)

    def admit(snapshots):
        best = int(dataset.gain([snapshot.atoms for snapshot in snapshots]).argmax())
        if learn:
            dataset.add([snapshots[best].atoms])
        return [best]

    for chunk in range(3):
        assert exploration.chunks_done(config) == chunk
        biases = {("paper", "per_atom"): dataset.bias()}
        exploration = advance(exploration, model, biases, config, admit)
    return exploration


def test_the_loop_admits_after_each_chunk_and_the_next_chunk_sees_it(model):
    seeing, blind = (explore_three_chunks(model, learn=learn) for learn in (True, False))
    assert len(seeing.candidates) == 3 * 2 * 4
    assert len(seeing.admitted) == 3
    for chunk, index in enumerate(seeing.admitted):
        # Each admitted index points into its own chunk.
        assert 5 + 10 * chunk < seeing.candidates[index].step <= 5 + 10 * (chunk + 1)
    for candidate, other in zip(seeing.candidates, blind.candidates, strict=True):
        same = np.array_equal(candidate.atoms.positions, other.atoms.positions)
        # From the second chunk on biased walkers feel what was admitted, and unbiased ones do not.
        assert same == (candidate.step <= 15 or candidate.entropy == "none")


def test_snapshots_of_plain_md_hold_the_potential_energy_of_their_temperature():
    """Equipartition, 3 kT / 2 for each atom on springs, at the default lengths."""
    springs = Springs(edge=3)
    many = SamplingConfig(replicas=60)
    start = Start("springs", 0.0, springs.atoms)
    settings = many.anchors
    found = run_plain_md(
        [start],
        [300.0],
        springs,
        many,
        0,
        steps=settings.md_steps,
        snapshots=settings.md_snapshots,
    )
    assert len(found) == 60 * settings.md_snapshots
    apart = springs.displacements(
        torch.as_tensor(np.array([candidate.atoms.positions for candidate in found]))
    )
    energy = (springs.stiffness_eV_per_A2[:, None] * apart.square()).sum(dim=(1, 2)) / 2
    # 120 snapshots of 81 modes: 1.4 % is one standard error of independent ones; 1/27 of the heat
    # is missing at first, because the momenta sum to zero.
    expected = 1.5 * BOLTZMANN_EV_PER_K * 300.0
    assert float(energy.mean()) / len(springs.atoms) == pytest.approx(expected, rel=0.05)


def closest_ratio(atoms) -> float:
    """Over all pairs and the 27 nearest images, by brute force."""
    radii = covalent_radii[atoms.numbers]
    shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ atoms.cell.array
    vectors = atoms.positions[None, :, None] + shifts - atoms.positions[:, None, None]
    distances = np.linalg.norm(vectors, axis=-1)
    distances[distances < 1e-9] = np.inf
    return float((distances / (radii[:, None] + radii[None, :])[:, :, None]).min())


def test_no_cell_that_the_guards_would_stop_is_among_anchors_or_hold_out(model):
    """The guards' shortest distance holds for cells that no walker ever visits."""
    dense = argon(2.9)
    limit = closest_ratio(dense) * 0.95
    config = CONFIG.model_copy(
        update={
            "guards": GuardSettings(shortest_distance=limit),
            "anchors": AnchorSettings(volume_strains=(0.8, 0.9, 1.1), shears=(0.02,), md_steps=0),
            "hold_out": HoldOutSettings(volume_strains=(0.8, 1.2), shears=(0.2,), md_steps=0),
        }
    )
    start = [Start("fcc", 0.0, dense)]
    anchors = generate_anchors(start, [20.0], model, config, 0)
    held_out = generate_hold_out(start, [20.0], [], model, config, 0)
    # 0.8 ** (1/3) < 0.95, and a shear by 0.2 shortens a distance by 10 %.
    assert [anchor.kind for anchor in anchors].count("strain") == 2
    assert [candidate.kind for candidate in held_out] == ["strain"]
    for candidate in [*anchors, *held_out]:
        assert closest_ratio(candidate.atoms) >= limit


@pytest.mark.parametrize("kind", [tuple, np.array, iter], ids=["tuple", "array", "iterator"])
def test_pools_go_through_any_kind_of_temperatures_and_starts(model, kind):
    starts_of = tuple if kind is np.array else kind
    known = [argon(5.2)]
    for make in (
        lambda starts, temperatures, _: generate_anchors(starts, temperatures, model, CONFIG, 0),
        lambda starts, temperatures, known: generate_hold_out(
            starts, temperatures, known, model, CONFIG, 0, structures=4
        ),
    ):
        expected = make(STARTS, [20.0, 40.0], known)
        found = make(starts_of(STARTS), kind([20.0, 40.0]), starts_of(known))
        assert [content_hash(each.atoms) for each in found] == [
            content_hash(each.atoms) for each in expected
        ]
        assert [each.temperature_K for each in found] == [each.temperature_K for each in expected]


def test_a_phase_that_relaxed_into_overlapping_atoms_is_refused(model):
    twins = argon(5.3)
    twins.positions[0] = twins.positions[1] + [0.3, 0, 0]
    for generate in (
        lambda: generate_anchors([Start("twins", 2.0, twins)], [20.0], model, CONFIG, 0),
        lambda: generate_hold_out([Start("twins", 2.0, twins)], [20.0], [], model, CONFIG, 0),
    ):
        with pytest.raises(StructureError, match=r"twins at 2 GPa has atoms .* 0\.300 A apart"):
            generate()


def test_biases_and_replicas_of_walkers_change_neither_anchors_nor_hold_out(model):
    """Campaigns that differ in them, as control arms do, are judged on one validation set."""
    arm = CONFIG.model_copy(
        update={"replicas": 3, "biases": (BiasSettings(entropy="none"),), "ensemble": "npt"}
    )

    def made(config):
        anchors = generate_anchors(STARTS, [20.0], model, config, 1)
        relaxed = [anchor.atoms for anchor in anchors]
        held_out = generate_hold_out(STARTS, [20.0], relaxed, model, config, 2)
        return [content_hash(candidate.atoms) for candidate in [*anchors, *held_out]]

    assert made(arm) == made(CONFIG)


@pytest.mark.parametrize("structures", [3, 10, 24])
def test_validation_and_test_set_are_as_large_as_asked_and_hold_every_kind(model, structures):
    anchors = [anchor.atoms for anchor in generate_anchors(STARTS, [20.0, 40.0], model, CONFIG, 0)]
    found = generate_hold_out(
        STARTS, [20.0, 40.0], anchors, model, CONFIG, 1, structures=structures, test=True
    )
    kinds = {("strain", None), ("shear", None), ("md", 20.0), ("md", 40.0)}
    sets = {
        part: [candidate for candidate in found if candidate.pool == part]
        for part in ("validation", "test")
    }
    wanted = sizes_of(CONFIG.hold_out, STARTS, 2, structures)
    assert wanted == {part: max(structures, len(kinds)) for part in sets}
    for part, members in sets.items():
        assert len(members) == wanted[part]
        assert {(candidate.kind, candidate.temperature_K) for candidate in members} == kinds
        counts = [
            sum((candidate.kind, candidate.temperature_K) == kind for candidate in members)
            for kind in kinds
        ]
        assert max(counts) - min(counts) <= 1 or structures == 24  # strains and shears are few
        if structures > len(kinds):
            assert {candidate.pressure_GPa for candidate in members} == {0.0, 1.0}
    runs = [
        {candidate.walker for candidate in members if candidate.walker is not None}
        for members in sets.values()
    ]
    assert not runs[0] & runs[1]
    atoms = [candidate.atoms for candidate in found]
    for index, cell in enumerate(atoms):
        assert not any(is_copy(cell, other) for other in (*anchors, *atoms[:index]))


@pytest.mark.parametrize("structures", [None, 6, 24])
@pytest.mark.parametrize("snapshots", [1, 3])
def test_snapshots_of_one_trajectory_count_once_in_the_expected_interval(
    model, structures, snapshots
):
    hold_out = CONFIG.hold_out.model_copy(update={"md_snapshots": snapshots})
    config = CONFIG.model_copy(update={"hold_out": hold_out})
    found = generate_hold_out(STARTS, [20.0, 40.0], [], model, config, 1, structures=structures)
    runs = {candidate.walker for candidate in found if candidate.kind == "md"}
    cells = [candidate for candidate in found if candidate.kind != "md"]
    assert count_independent(found) == len(runs) + len(cells)
    assert independent_of(hold_out, STARTS, 2, structures) == count_independent(found)


def test_the_configured_cells_come_first_and_stay_in_pairs(model):
    """The stress of two volumes of one pressure can be compared with their energies."""
    few = generate_hold_out(STARTS, [20.0], [], model, CONFIG, 1, structures=6, test=True)
    strained = [cell for cell in few if cell.pool == "validation" and cell.kind == "strain"]
    volumes = [cell.atoms.get_volume() / 5.3**3 for cell in strained]
    assert volumes == pytest.approx([0.92, 1.08])
