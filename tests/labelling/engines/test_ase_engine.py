import contextlib
from pathlib import Path

import numpy as np
import pytest
from misbehaving import copper

from entrove.labelling.attempt import Attempt
from entrove.labelling.engines.ase import AseCalculator
from entrove.labelling.engines.base import NotConvergedError
from entrove.labelling.execution.engine_process import run_engine
from entrove.labelling.labels import Outcome


def test_results_of_a_failed_calculation_are_not_handed_out_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The calculator keeps what it had computed before it raised, as ASE's own do."""
    engine = AseCalculator(calculator="misbehaving:Misbehaving")
    engine.warm_up()
    (tmp_path / "attempt-1").mkdir()
    monkeypatch.chdir(tmp_path / "attempt-1")
    for _ in range(2):
        with pytest.raises(NotConvergedError, match="120 steps were not enough"):
            engine.compute(copper(0, "not_converged"), tmp_path, 0)
    assert engine.compute(copper(1), tmp_path, 0).forces_eV_per_A.shape == (4, 3)


def test_a_flag_of_the_calculator_is_believed(tmp_path: Path):
    engine = AseCalculator(calculator="misbehaving:never_converged")
    with pytest.raises(NotConvergedError, match="the calculator says converged = False"):
        engine.compute(copper(0), tmp_path, 0)


@pytest.mark.parametrize(
    ("flag", "converged"),
    [
        (True, True),
        (False, False),
        (np.bool_(True), True),
        (np.bool_(False), False),
        (1, True),
        (0, False),
        (np.array([True, True]), True),  # of each spin, or k-point
        (np.array([True, False]), False),
        (lambda: np.bool_(True), True),
        (lambda: np.bool_(False), False),
        (None, True),  # as ASE's Vasp says where its output tells nothing
    ],
)
def test_a_flag_of_any_type_is_believed(tmp_path: Path, flag: object, converged: bool):
    engine = AseCalculator(calculator="ase.calculators.emt:EMT")
    engine.warm_up()
    engine._made.converged = flag
    end = contextlib.nullcontext() if converged else pytest.raises(NotConvergedError, match="says")
    with end:
        engine.compute(copper(0), tmp_path, 0)


@pytest.mark.parametrize("changes", ["atoms given", "own atoms", "cell", "species", "nothing"])
def test_a_label_of_another_structure_is_rejected(tmp_path: Path, changes: str):
    """A calculator that relaxes says where it ended in the atoms it was given, or in its own."""
    engine = AseCalculator(
        calculator="misbehaving:ComputesAnother", arguments={"changes": changes}
    )
    atoms = copper(0)
    attempt = Attempt.of(
        atoms,
        np.arange(4)[::-1],
        folder=tmp_path,
        engine=engine.model_dump_json(),
        rung=0,
        time_limit_s=60.0,
    )
    end = run_engine(engine, "", attempt)
    if changes == "nothing":  # but a periodic image, and decimals
        assert end.outcome is Outcome.CONVERGED, end.cause
        return
    assert end.outcome is Outcome.REJECTED
    said = {"cell": "changed the cell by up to 0.01 A", "species": "returned AgCu3 for Cu4"}
    assert said.get(changes, "moved an atom by 0.02 A") in end.cause
    assert end.energy_eV is None
