"""What a user may add to an engine's input, and what the retry ladder makes of it."""

import pytest
from ase.build import bulk
from pydantic import ValidationError

from entrove.labelling.engines.espresso import LADDER, Espresso
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.vasp import Vasp

ESPRESSO = {
    "pseudopotential_folder": "/pseudo",
    "pseudopotentials": {"Si": "Si.upf"},
    "cutoff_eV": 300.0,
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"control": {"calculation": "relax"}},
            "'calculation' cannot be given in input: control: a label is one",
        ),
        ({"ions": {"ion_dynamics": "bfgs"}}, "'ions' cannot be given in input: it moves atoms"),
        ({"cell": {}}, "'cell' cannot be given in input: it moves atoms"),
        ({"system": {"ecutwfc": 30}}, "the engine has a key of its own for it: cutoff_eV"),
        ({"system": {"nspin": 2}}, "give starting_magnetization"),
        (
            {"system": {"starting_magnetization(1)": 0.5}},
            "starting_magnetization is a key of the engine",
        ),
        ({"system": {"ibrav": 2}}, "the structure decides"),
        ({"electrons": {"scf_must_converge": False}}, "what is not converged is no label"),
        ({"CONTROL": {"Calculation": "relax"}}, "in lower case"),
        ({"control": {"Calculation": "relax"}}, "in lower case"),
    ],
)
def test_espresso_keeps_to_the_structure_and_to_its_own_keys(given: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        Espresso.model_validate(ESPRESSO | {"input": given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nsw": 10}, "'nsw' cannot be given in input: a label is one self-consistent"),
        ({"ibrion": 2}, "'ibrion' cannot be given"),
        ({"NSW": 10}, "'NSW' cannot be given"),
        ({"encut": 300}, "a key of its own for it: cutoff_eV"),
        ({"kspacing": 0.2}, "a key of its own for it: kpoint_spacing_per_A"),
        ({"ispin": 2}, "give magnetic_moments"),
    ],
)
def test_vasp_keeps_to_the_structure_and_to_its_own_keys(given: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        Vasp.model_validate({"potential_folder": "/potentials", "input": given})
    Vasp.model_validate(
        {"potential_folder": "/potentials", "input": {"ivdw": 12, "lreal": "Auto"}}
    )


def test_spin_without_moments_and_moments_without_spin_are_refused():
    for given in (
        {"spin_polarised": True},
        {"spin_polarised": True, "magnetic_moments": {"Fe": 0.0}},
        {"magnetic_moments": {"Fe": 2.2}},
    ):
        with pytest.raises(
            ValidationError, match="belong together: give 'spin_polarised: true' and a moment"
        ):
            Gpaw.model_validate(given)
    Gpaw(spin_polarised=True, magnetic_moments={"Fe": 2.2})


def test_the_ladder_wins_over_the_mixing_of_the_user(tmp_path):
    engine = Espresso.model_validate(
        ESPRESSO | {"input": {"electrons": {"mixing_beta": 0.5, "mixing_fixed_ns": 3}}}
    )
    rungs = []
    for rung in range(Espresso.rungs):
        calculator = engine.calculator(bulk("Si"), tmp_path, rung)
        rungs.append(calculator.parameters["input_data"]["electrons"])
    assert [rung["mixing_beta"] for rung in rungs] == [
        0.5,
        *(step["mixing_beta"] for step in LADDER[1:]),
    ]
    assert len({str(sorted(rung.items())) for rung in rungs}) == 3
    assert all(rung["mixing_fixed_ns"] == 3 for rung in rungs)
