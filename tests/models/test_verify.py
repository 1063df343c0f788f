"""Verification passes what is right and catches what has gone wrong in batched wrappers before."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from ase.build import bulk
from small_allegro import ALLEGRO, write_checkpoint
from torch_sim.models.interface import ModelInterface
from trial_structures import rattled

from entrove.errors import ModelError
from entrove.models import verify
from entrove.models.committee import committee_of
from entrove.models.neighbours import Neighbours
from entrove.models.nequip.loading import nequip_settings
from entrove.models.registry import load
from entrove.models.torch_settings import ignoring_known_warnings
from entrove.models.verify import Tolerances, verified, verify_batching
from entrove.training.sevennet.trainee import load_trainee
from entrove.training.sevennet.weight_average import copy_weights


@pytest.fixture
def structures():
    return [bulk("Si", "diamond", a=5.43, cubic=True), rattled(bulk("Si", "diamond", a=5.2), 1)]


@pytest.fixture(scope="module")
def calculated_once(sevennet):
    """The model with one calculator for all tests: building it takes longer than using it."""
    calculator = sevennet.calculator()
    return dataclasses.replace(sevennet, make_calculator=lambda: calculator)


@pytest.fixture(scope="module")
def all_electron(tmp_path_factory):
    """SevenNet-0 whose iron has a total energy of all electrons, with its own calculator."""
    trainee = load_trainee("7net-0", torch.device("cpu"))
    trainee.shift_reference_energies({"Fe": -3362.0})
    checkpoint = tmp_path_factory.mktemp("iron") / "iron.pth"
    trainee.save(checkpoint, copy_weights(trainee.module), 1)
    model = load(str(checkpoint), device="cpu")
    calculator = model.calculator()
    return dataclasses.replace(model, make_calculator=lambda: calculator)


@pytest.fixture
def iron():
    """Cells of 2 and 54 atoms: the sum of 54 energies in float32 is wrong by meV."""
    return [rattled(bulk("Fe", cubic=True).repeat(count), count) for count in (1, 3)]


@pytest.fixture(autouse=True)
def small_probes(monkeypatch):
    monkeypatch.setattr(verify, "BIG_CELL_ATOMS", 8)


class Broken(ModelInterface):
    """A working model whose results or neighbours are spoilt."""

    def __init__(self, model, spoil_results=None, spoil_neighbours=None):
        super().__init__()
        self._device, self._dtype = model.device, model.dtype
        self._compute_forces = self._compute_stress = True
        self.inner = model
        self.spoil_results = spoil_results
        self.spoil_neighbours = spoil_neighbours

    def forward(self, state, **kwargs):
        search = self.inner.search
        if self.spoil_neighbours:
            self.inner.search = lambda state: self.spoil_neighbours(search(state))
        try:
            results = self.inner(state)
        finally:
            self.inner.search = search
        return self.spoil_results(results, state) if self.spoil_results else results

    def count_neighbours(self, state):
        found = self.inner.search(state)
        found = self.spoil_neighbours(found) if self.spoil_neighbours else found
        return state.system_idx[found.centre].bincount(minlength=state.n_systems)


def without_images(found: Neighbours) -> Neighbours:
    keep = (found.shifts == 0).all(dim=1)
    return Neighbours(
        found.centre[keep], found.neighbour[keep], found.shifts[keep], found.vectors[keep]
    )


def without_the_longest(found: Neighbours) -> Neighbours:
    length = found.vectors.norm(dim=1)
    keep = length < length.max() - 1e-3
    return Neighbours(
        found.centre[keep], found.neighbour[keep], found.shifts[keep], found.vectors[keep]
    )


def stress_with_the_sign_of_a_pressure(results, state):
    return results | {"stress": -results["stress"]}


def stress_transposed_in_voigt_order(results, state):
    return results | {"stress": results["stress"][:, [0, 2, 1]][:, :, [0, 2, 1]]}


def forces_of_a_neighbouring_atom(results, state):
    return results | {"forces": results["forces"].roll(1, dims=0)}


def energy_of_another_system(results, state):
    return results | {"energy": results["energy"].roll(1)}


def energy_without_a_bond(model):
    """A fault: in each system the pair of nearest neighbours is seen from one side only."""

    def fault(results, state):
        def without_a_bond(found: Neighbours) -> Neighbours:
            lengths, systems = found.vectors.norm(dim=1), state.system_idx[found.centre]
            keep = torch.ones(len(lengths), dtype=torch.bool)
            for system in range(state.n_systems):
                keep[torch.where(systems == system, lengths, torch.inf).argmin()] = False
            return Neighbours(
                found.centre[keep], found.neighbour[keep], found.shifts[keep], found.vectors[keep]
            )

        return results | {"energy": Broken(model, None, without_a_bond)(state)["energy"]}

    return fault


def energy_with_one_atom_of_another_reference(model):
    """A fault: one atom of each system has a reference energy that is off by 0.05 eV."""
    return lambda results, state: results | {"energy": results["energy"] + 0.05}


def energy_that_is_not_a_number(results, state):
    return results | {"energy": results["energy"] * float("nan")}


def test_a_sound_model_passes_on_samples_and_probes(calculated_once, structures):
    report = verify_batching(calculated_once, structures)
    assert report.passed, report.summary()
    # The samples, a primitive cell where images matter, and a supercell of the smaller sample.
    assert [comparison.atoms for comparison in report.comparisons] == [8, 2, 2, 8]
    assert report.uncounted == ()
    assert all(
        [count.batched > 0 for count in comparison.neighbours] == [True]
        for comparison in report.comparisons
    )
    assert "batches agree with its ASE calculator on 4 structures" in report.summary()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"spoil_neighbours": without_images}, r"Si2: .*neighbours instead of"),
        ({"spoil_neighbours": without_the_longest}, r"neighbours instead of"),
        ({"spoil_results": stress_with_the_sign_of_a_pressure}, "stress differ"),
        ({"spoil_results": stress_transposed_in_voigt_order}, "stress differ"),
        ({"spoil_results": forces_of_a_neighbouring_atom}, "forces differ"),
        ({"spoil_results": energy_of_another_system}, "energy differ"),
        ({"spoil_results": energy_that_is_not_a_number}, "energy differ by nan"),
    ],
    ids=lambda value: next(iter(value.values())).__name__ if isinstance(value, dict) else None,
)
def test_a_broken_wrapper_stops_the_run(calculated_once, structures, fault, message):
    broken = dataclasses.replace(calculated_once, model=Broken(calculated_once.model, **fault))
    with pytest.raises(ModelError, match=message):
        verified(broken, structures)


def test_energies_of_all_electrons_agree(all_electron, iron):
    """At -3370 eV/atom, where the last digit of an atomic energy in float32 is 2.4e-4 eV."""
    report = verify_batching(all_electron, iron)
    assert report.passed, report.summary()
    energies = [all_electron.calculator().get_potential_energy(atoms) / 54 for atoms in iron[1:]]
    assert energies == pytest.approx([-3370.0], abs=2.0)


@pytest.mark.parametrize(
    "fault", [energy_without_a_bond, energy_with_one_atom_of_another_reference]
)
def test_wrong_energies_are_found_at_energies_of_all_electrons(all_electron, iron, fault):
    """In each cell, that of 54 atoms too."""
    broken = Broken(all_electron.model, spoil_results=fault(all_electron.model))
    report = verify_batching(dataclasses.replace(all_electron, model=broken), iron)
    for comparison in report.comparisons:
        (problem,) = comparison.problems(Tolerances())
        assert problem.startswith("energy differ")


def test_infinite_energies_agree_with_nothing(calculated_once, structures):
    def infinite(results, state):
        return results | {"energy": results["energy"] * float("inf")}

    broken = Broken(calculated_once.model, spoil_results=infinite)
    report = verify_batching(dataclasses.replace(calculated_once, model=broken), structures)
    assert all(comparison.problems(Tolerances()) for comparison in report.comparisons)


def test_or_falls_back_to_the_calculator_and_says_so(calculated_once, structures, caplog):
    spoilt = Broken(calculated_once.model, spoil_results=stress_with_the_sign_of_a_pressure)
    broken = dataclasses.replace(calculated_once, model=spoilt)
    with caplog.at_level(logging.WARNING):
        trusted, report = verified(broken, structures, on_mismatch="fall_back")
    assert not report.passed
    assert "Falling back to its ASE calculator" in caplog.text
    assert not trusted.batched
    assert trusted.species == calculated_once.species
    again, report = verified(trusted, structures)
    assert report.passed
    assert again is trusted


def test_tolerances_are_obeyed(calculated_once, structures):
    strict = Tolerances(forces_eV_per_A=1e-12)
    report = verify_batching(calculated_once, structures, strict)
    assert not report.passed
    assert "allowed 1e-12" in report.summary()


def test_every_member_of_a_committee_is_asked_for_its_neighbours(
    calculated_once, structures, tmp_path
):
    # An Allegro with a cutoff of 4 A beside a SevenNet with 5 A: no one count is right for both.
    with nequip_settings(), ignoring_known_warnings():
        checkpoint = write_checkpoint(tmp_path / "allegro.ckpt", ALLEGRO)
    allegro = load(str(checkpoint), device="cpu")
    report = verify_batching(committee_of([calculated_once, allegro]), structures[1:])
    assert report.passed, report.summary()
    assert report.uncounted == ()
    for comparison in report.comparisons:
        wide, narrow = comparison.neighbours
        assert wide.batched > narrow.batched > 0
    broken = dataclasses.replace(
        calculated_once,
        name="broken",
        model=Broken(calculated_once.model, spoil_neighbours=without_the_longest),
    )
    report = verify_batching(committee_of([broken, allegro]), structures[1:])
    assert "neighbours instead of" in report.summary()
    assert "in broken" in report.summary()
    assert "in allegro" not in report.summary()


def test_it_says_what_could_not_be_compared():
    crystal = rattled(bulk("Ar", "fcc", a=5.3, cubic=True), 3)
    report = verify_batching(load("test_ase:argon_for_torch_sim"), [crystal])
    assert report.passed, report.summary()
    assert (
        "neighbours not compared: no count from test_ase:argon_for_torch_sim" in report.summary()
    )
    serial = verify_batching(load("ase.calculators.lj:LennardJones"), [crystal])
    assert "LennardJones: one structure at a time, no batches" in serial.summary()


def test_a_molecule_is_compared_without_stress(calculated_once):
    from ase.build import molecule

    report = verify_batching(calculated_once, [molecule("H2O")])
    assert report.passed, report.summary()
    assert report.comparisons[0].stress_difference_eV_per_A3 is None


def test_a_slab_is_compared_along_its_periodic_directions(calculated_once):
    """Across the vacuum `predict` gives no stress, whatever the calculator says of the box."""
    slab = rattled(bulk("Si", "diamond", a=5.43, cubic=True), 2)
    slab.pbc = (True, True, False)
    slab.center(vacuum=4.0, axis=2)
    report = verify_batching(calculated_once, [slab])
    assert report.passed, report.summary()
    spoilt = Broken(calculated_once.model, spoil_results=stress_with_the_sign_of_a_pressure)
    report = verify_batching(dataclasses.replace(calculated_once, model=spoilt), [slab])
    assert "stress differ" in report.summary()


def test_samples_are_left_as_they_were(calculated_once, structures):
    before = [atoms.copy() for atoms in structures]
    verify_batching(calculated_once, structures[:1])
    for atoms, copy in zip(structures, before, strict=True):
        assert atoms.calc is None
        np.testing.assert_array_equal(atoms.positions, copy.positions)
    assert torch.get_default_dtype() == torch.float32
