"""`entrove.labelling.label`: structures in, labels out, without a campaign."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from misbehaving import copper
from stored_labels import salt

from entrove.errors import LabelError
from entrove.labelling import LabelCache, LevelOfTheory, Outcome, label
from entrove.labelling.engines import AseCalculator, Gpaw

COUNTING = AseCalculator(calculator="misbehaving:Misbehaving")


def counting(log: Path) -> AseCalculator:
    """EMT that writes a line into `log` for each calculation."""
    return COUNTING.model_copy(update={"arguments": {"log": str(log)}})


def test_labels_come_in_the_order_of_the_structures_and_are_the_calculators(tmp_path: Path):
    structures = [copper(seed) for seed in (3, 1, 2, 1)]
    structures[3] = structures[3][::-1]
    labels = label(structures, counting(tmp_path / "log"), folder=tmp_path / "labels")
    assert len(labels) == 4
    for atoms, found in zip(structures, labels, strict=True):
        direct = atoms.copy()
        direct.calc = EMT()
        labelled = found.attach(atoms)
        # The same code on the same numbers: only the sum over neighbours can differ.
        assert labelled.get_potential_energy() == pytest.approx(
            direct.get_potential_energy(), abs=1e-10
        )
        np.testing.assert_allclose(labelled.get_forces(), direct.get_forces(), atol=1e-10)
        np.testing.assert_allclose(labelled.get_stress(), direct.get_stress(), atol=1e-10)
    # The second and the last one are the same structure.
    assert len((tmp_path / "log").read_text().split()) == 3


def test_structures_of_an_iterator_are_labelled_as_those_of_a_list(tmp_path: Path):
    structures = [copper(seed) for seed in (1, 2)]
    expected = label(structures, COUNTING, folder=tmp_path / "list")
    found = label(iter(structures), COUNTING, folder=tmp_path / "iterator")
    assert [one.energy_eV for one in found] == [one.energy_eV for one in expected]


def test_a_second_call_computes_only_what_is_new(tmp_path: Path):
    log, cache = tmp_path / "log", tmp_path / "shared.sqlite"
    engine = counting(log)
    label([copper(0), copper(1)], engine, folder=tmp_path / "first", cache=cache)
    again = label([copper(1), copper(2)], engine, folder=tmp_path / "second", cache=cache)
    assert [found.converged for found in again] == [True, True]
    assert max(Counter(log.read_text().split()).values()) == 1
    with LabelCache(cache) as stored:
        assert len(stored.states(LevelOfTheory.of(engine.bound_to(["Cu"])))) == 3
    # Nothing is left to compute, so no worker is started.
    label([copper(2)], engine, folder=tmp_path / "third", cache=cache)
    assert not (tmp_path / "third" / "runinfo").exists()


def test_a_structure_that_can_have_no_label_is_rejected_by_itself(tmp_path: Path):
    structures = [copper(0), copper(1), Atoms(), copper(2), copper(3), copper(4)]
    structures[1].positions[2, 1] = np.nan
    structures[3].numbers[0] = 0
    structures[4].cell[2] = 0.0
    for retry_failed in (False, True):
        found = label(
            structures,
            counting(tmp_path / "log"),
            folder=tmp_path / "labels",
            species=["Cu"],
            retry_failed=retry_failed,
        )
        assert [each.converged for each in found] == [True, False, False, False, False, True]
        causes = ["not a finite number", "no atoms", "no chemical element", "no volume"]
        for each, cause in zip(found[1:5], causes, strict=True):
            assert each.outcome is Outcome.REJECTED
            assert each.attempts == 0
            assert cause in each.cause
    assert len((tmp_path / "log").read_text().split()) == 2


def iron(moments: list[float], *, computed: bool) -> Atoms:
    atoms = bulk("Fe", "bcc", a=2.86, cubic=True)
    atoms.set_initial_magnetic_moments(None if computed else moments)
    if computed:
        results = {"energy": -16.0, "forces": np.zeros((2, 3)), "magmoms": np.array(moments)}
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.mark.parametrize("computed", [False, True])
def test_a_label_starts_from_the_moments_of_its_structure(tmp_path: Path, computed: bool):
    """Initial ones, or those that it comes with from a code; two states are two labels."""
    spins = AseCalculator(calculator="misbehaving:Spins")
    states = [[2.2, 2.3], [2.2, -2.3]]
    found = label(
        [iron(moments, computed=computed) for moments in states], spins, folder=tmp_path / "labels"
    )
    assert [round(each.energy_eV or 0.0, 6) for each in found] == [4.5, -0.1]


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize(
    ("moments", "engine", "says"),
    [
        ([2.2, 2.2], Gpaw(), "Fe can be magnetic, and these labels would have no spin"),
        (
            [2.2, -2.2],
            Gpaw(),
            "give the engine spin_polarised: true, magnetic_moments: {Fe: 2.2}; or remove the",
        ),
    ],
)
def test_moments_that_the_engine_would_drop_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moments, engine, says, computed: bool
):
    monkeypatch.setattr("entrove.labelling.label_structures.check_engine", lambda *_: None)
    with pytest.raises(LabelError, match=re.escape(says)):
        label([iron(moments, computed=computed)], engine, folder=tmp_path / "labels")
    assert not (tmp_path / "labels").exists()


def test_a_configuration_may_be_given_and_a_failure_is_a_label(tmp_path: Path, misbehaving_config):
    config = misbehaving_config(
        settings={"cache": str(tmp_path / "own.sqlite"), "executor": {"name": "local"}}
    )
    fine, failed = label(
        [copper(0), copper(1, "not_converged")], config, folder=tmp_path / "labels"
    )
    assert fine.converged
    assert failed.outcome is Outcome.NOT_CONVERGED
    assert "120 steps were not enough" in failed.cause
    assert (tmp_path / "own.sqlite").is_file()
    assert not (tmp_path / "labels" / "labels.sqlite").exists()


def test_elements_that_the_engine_does_not_know_are_named_before_anything_runs(tmp_path: Path):
    engine = AseCalculator(calculator="ase.calculators.emt:EMT", species=["Cu"])
    with pytest.raises(LabelError, match="the engine 'ase' has no data for Na, Cl; choose"):
        label([copper(0), salt(0)], engine, folder=tmp_path / "labels")
    assert not (tmp_path / "labels").exists()


@pytest.mark.gpaw
def test_the_level_of_theory_is_that_of_all_elements_that_are_named(tmp_path: Path):
    """A folder and its cache can be used for silicon first and for other elements later."""
    from entrove.labelling.engines import Gpaw

    engine = Gpaw(cutoff_eV=200.0)
    label([], engine, folder=tmp_path / "labels", species=["Si", "C"])
    label([], engine, folder=tmp_path / "labels", species=["C", "Si"])
    with pytest.raises(LabelError, match=r"another level of theory .*dataset_hashes"):
        label([], engine, folder=tmp_path / "labels", species=["Si"])


def test_the_package_is_light_until_it_is_used():
    script = (
        "import sys, entrove.labelling; "
        "print([name for name in ('ase', 'torch', 'parsl', 'pydantic') if name in sys.modules])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "[]"
