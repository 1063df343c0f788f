"""A bundle brings its crystals, labels, regime and the model that it was tuned from."""

from pathlib import Path

import pytest
from ase.build import bulk

from docs_setup import labelled_copper, put_bundle
from entrove.errors import ModelError
from entrove.structures import write_structures
from entrove.training.bundle import EXAMPLES, TEST, VALIDATION
from entrove.validation.suite.sources import TEST_LABELS, VALIDATION_LABELS, open_source


@pytest.mark.slow
def test_a_bundle_is_judged_without_any_other_file(tmp_path: Path):
    folder = tmp_path / "model"
    put_bundle(folder)
    cells = [bulk("Si", a=length) for length in (5.43, 5.2)]
    for atoms, pressure in zip(cells, (0.0, 10.0), strict=True):
        atoms.info |= {"entrove_phase": "diamond", "entrove_pressure_GPa": pressure}
    write_structures(folder / EXAMPLES, cells)
    write_structures(folder / VALIDATION, labelled_copper(2, seed=1))
    source = open_source(str(folder), device="cpu")
    assert source.base == "7net-0"
    assert (source.pressures_GPa, source.temperatures_K) == ((0.0,), (300.0,))
    assert (len(source.labelled), source.labelled_as) == (2, VALIDATION_LABELS)
    assert source.is_tuned
    write_structures(folder / TEST, labelled_copper(3, seed=2))
    tested = open_source(str(folder), device="cpu")
    assert (len(tested.labelled), tested.labelled_as) == (3, TEST_LABELS)
    # The first of a phase is that of the first pressure.
    assert list(source.phases) == ["diamond"]
    assert source.phases["diamond"].get_volume() == pytest.approx(5.43**3 / 4)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="not a model bundle"):
        open_source(str(tmp_path), device="cpu")
