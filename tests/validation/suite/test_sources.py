"""A bundle brings its crystals, labels, regime and the model that it was tuned from."""

import json
from pathlib import Path

import pytest
from ase.build import bulk

from docs_setup import labelled_copper, put_bundle
from entrove.errors import ModelError
from entrove.files import hash_of_file
from entrove.structures import write_structures
from entrove.training.bundle import EXAMPLES, TEST, VALIDATION, read_bundle
from entrove.training.trained_model import training_set_hash
from entrove.validation.suite.sources import (
    TEST_LABELS,
    VALIDATION_LABELS,
    foundation_of,
    open_source,
)
from export_bundles import put_bundle as put_small_bundle
from small_sevennet import write_small_sevennet


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
    assert open_source(folder, device="cpu").phases == source.phases
    write_structures(folder / TEST, labelled_copper(3, seed=2))
    tested = open_source(str(folder), device="cpu")
    assert (len(tested.labelled), tested.labelled_as) == (3, TEST_LABELS)
    # The first of a phase is that of the first pressure.
    assert list(source.phases) == ["diamond"]
    assert source.phases["diamond"].get_volume() == pytest.approx(5.43**3 / 4)


def test_a_file_of_the_same_name_is_no_untuned_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    """A bundle knows the file that it was tuned from by its bytes."""
    folder, base = tmp_path / "model", tmp_path / "base.pth"
    write_small_sevennet(base)
    put_small_bundle(folder, base, "sevennet", ["Cu"])
    record = json.loads((folder / "bundle.json").read_text())

    def base_of(**changes: object) -> tuple[str | None, str]:
        (folder / "bundle.json").write_text(json.dumps(record | changes))
        caplog.clear()
        return open_source(str(folder), device="cpu").base, caplog.text

    monkeypatch.chdir(tmp_path)
    own = {"foundation_model": "base.pth", "foundation_sha256": hash_of_file(base)}
    assert base_of(**own) == ("base.pth", "")
    source = open_source(str(folder), device="cpu")
    assert source.is_base(str(base.absolute()))
    assert not source.is_base("7net-0")
    write_small_sevennet(base, seed=9)
    other, said = base_of(**own)
    assert other is None
    assert "another one than the file of this name here; give it with --against" in said
    assert not open_source(str(folder), device="cpu").is_base(str(base))
    # Bundles of earlier versions do not say which file it was.
    assert base_of(**own | {"foundation_sha256": ""})[0] is None
    base.unlink()
    gone, said = base_of(**own)
    assert gone is None
    assert "a file, which a bundle does not hold" in said
    # A packaged name is known by its bytes, too, and a fidelity belongs to the name.
    named = {"foundation_model": "7net-0", "foundation_sha256": "0" * 64}
    assert "another version than that of this name" in base_of(**named)[1]
    assert base_of(**named | {"foundation_sha256": ""}) == ("7net-0", "")
    many = {"foundation_model": "7net-mf-0", "foundation_sha256": "", "modal": "PBE"}
    assert foundation_of(read_bundle(folder).model_copy(update=many)) == "7net-mf-0@PBE"


def test_a_single_training_has_validation_labels_that_chose_nothing(tmp_path: Path, caplog):
    """And one from random weights no untuned model to compare with, which is no surprise."""
    folder, base = tmp_path / "model", tmp_path / "base.pth"
    write_small_sevennet(base)
    put_small_bundle(folder, base, "sevennet", ["Si", "Na", "Cl"])
    record = json.loads((folder / "bundle.json").read_text())
    assert record.pop("chosen_on_validation") is False
    (folder / "bundle.json").write_text(json.dumps(record))  # an earlier one, of a campaign
    assert open_source(str(folder), device="cpu").labelled_as == VALIDATION_LABELS
    caplog.clear()
    changes = {"chosen_on_validation": False, "random_weights": True}
    (folder / "bundle.json").write_text(json.dumps(record | changes))
    source = open_source(str(folder), device="cpu")
    assert source.labelled_as == "validation labels, which took no part in training"
    assert (source.base, caplog.text) == (None, "")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="not a model bundle"):
        open_source(str(tmp_path), device="cpu")


def test_a_name_is_that_model_also_where_a_folder_has_it(tmp_path, monkeypatch):
    (tmp_path / "7net-0").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_source("7net-0", device="cpu").model.name == "7net-0"
    with pytest.raises(ModelError, match="bundle"):
        open_source("./7net-0", device="cpu")


def test_labels_of_a_bundle_are_those_that_it_was_written_with(tmp_path: Path):
    """Or errors on an edited file would be quoted as those on the test labels."""
    folder, base = tmp_path / "model", tmp_path / "base.pth"
    write_small_sevennet(base)
    put_small_bundle(folder, base, "sevennet", ["Cu"])
    record = json.loads((folder / "bundle.json").read_text())
    labels = labelled_copper(3, seed=2)
    written = {"test_set_hash": training_set_hash(labels)}
    (folder / "bundle.json").write_text(json.dumps(record | written))
    write_structures(folder / TEST, labels)
    assert len(open_source(str(folder), device="cpu").labelled) == 3
    write_structures(folder / TEST, labels[:2])
    with pytest.raises(ModelError, match=r"test\.xyz: structures or energies differ"):
        open_source(str(folder), device="cpu")
    (folder / "bundle.json").write_text(json.dumps(record))  # of an earlier version
    assert len(open_source(str(folder), device="cpu").labelled) == 2
