from pathlib import Path

import pytest
from misbehaving import copper

from entrove.labelling.engines.ase import AseCalculator
from entrove.labelling.engines.base import NotConvergedError


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
