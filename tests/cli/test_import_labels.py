import io
import json
import subprocess
import sys
from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from label_campaign import copper
from rich.console import Console

from entrove.campaign.configuration.check import read_campaign
from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.workspace import Workspace
from entrove.cli.import_labels import import_files
from entrove.cli.labels import list_imports, withdraw
from entrove.errors import CampaignError, ConfigError, LabelError
from entrove.labelling.labeller import Labeller
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.import_records import count_labels
from entrove.structures import content_hash, write_structures

CONFIG = """\
name: copper
seeds:
  - {phase: fcc, file: fcc.xyz}
labelling:
  engine: {name: ase, calculator: "ase.calculators.emt:EMT"}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    bulk("Cu", cubic=True).write(tmp_path / "fcc.xyz")
    (tmp_path / "campaign.yaml").write_text(CONFIG)
    structures = [copper(seed) for seed in range(3)]
    for atoms in structures:
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
    write(tmp_path / "ours.xyz", structures, format="extxyz")
    return tmp_path / "campaign.yaml"


def test_imported_labels_are_not_computed_again(tmp_path: Path, config: Path):
    command = [
        sys.executable,
        "-m",
        "entrove.cli.main",
        "import",
        str(config),
        str(tmp_path / "ours.xyz"),
    ]
    result = subprocess.run(
        [*command, "--same-level"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "3 labels imported, 0 known before, 0 refused" in result.stdout
    campaign, _ = read_campaign(config)
    with (
        LabelCache(tmp_path / "campaign" / "labels.sqlite") as cache,
        Labeller(campaign.labelling, cache, tmp_path / "campaign" / "labels") as labeller,
    ):
        labels = dict(labeller.label([copper(seed) for seed in range(3)]))
        assert not labeller._executor.running
    for seed, label in labels.items():
        atoms = copper(seed)
        atoms.calc = EMT()
        # Extended XYZ keeps eight digits after the point.
        assert label.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        assert label.attempts == 0
        assert label.attach(atoms).info["entrove_engine"] == "ase imported from ours.xyz"


def test_labels_are_refused_unless_the_user_confirms_their_level(tmp_path: Path, config: Path):
    with pytest.raises(ConfigError) as caught:
        import_files(config, [tmp_path / "ours.xyz"], None, same_level=False, console=Console())
    assert "calculator: ase.calculators.emt:EMT" in str(caught.value)
    assert "Give --same-level if the files were computed with exactly these settings" in str(
        caught.value
    )
    assert not (tmp_path / "campaign").exists()


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=500)


def test_labels_of_other_elements_are_not_trained_on(tmp_path: Path, config: Path):
    gold = bulk("Au", cubic=True)
    gold.calc = EMT()
    gold.get_forces(), gold.get_stress()
    write(tmp_path / "gold.xyz", gold, format="extxyz")
    with pytest.raises(ConfigError, match=r"frame 0 holds Au, which no seed .* \(Cu\)"):
        import_files(
            config, [tmp_path / "gold.xyz"], None, same_level=True, console=Console(), train=True
        )
    workspace = Workspace(tmp_path / read_campaign(config)[0].folder)
    assert workspace.training_labels() == []
    assert not workspace.label_cache.exists()


def test_an_import_is_listed_trained_on_and_withdrawn(
    tmp_path: Path, config: Path, console: Console
):
    """Before the campaign was started, by its configuration or its folder."""
    folder = tmp_path / "campaign"
    import_files(config, [tmp_path / "ours.xyz"], None, same_level=True, console=console)
    assert "used only where the campaign asks for exactly these structures" in said(console)
    assert not Workspace(folder).training_labels()
    assert count_labels(folder / "labels.sqlite") == 3
    import_files(
        config, [tmp_path / "ours.xyz"], None, same_level=True, console=console, train=True
    )
    assert "3 known before" in said(console)
    assert "3 labels are trained on from the next training of 'entrove run' on" in said(console)
    assert len(Workspace(folder).training_labels()) == 3
    for path in (config, folder, tmp_path):
        list_imports(path, console)
    assert said(console).count(f"import 1: 3 labels of {tmp_path / 'ours.xyz'}") == 3
    with pytest.raises(LabelError, match="there is no import 7; the numbers that there are: 1"):
        withdraw(folder, 7, console)
    with (
        hold_campaign(folder),
        pytest.raises(CampaignError, match="is running"),
    ):
        withdraw(folder, 1, console)
    withdraw(config, 1, console)
    assert "withdrew import 1: 3 labels removed" in said(console)
    assert not Workspace(folder).training_labels()
    list_imports(folder, console)
    assert said(console).endswith("no labels were imported\n")
    with pytest.raises(CampaignError, match="there is no label cache"):
        list_imports(tmp_path / "elsewhere", console)


def test_an_import_says_how_many_held_out_labels_it_corrects(
    tmp_path: Path, config: Path, console: Console, capsys: pytest.CaptureFixture[str]
):
    """And without --train, that the next run takes the corrected ones."""
    wrong = read(tmp_path / "ours.xyz", ":")
    for atoms in wrong:
        atoms.calc.results["energy"] += 1.0
        atoms.calc.results["free_energy"] += 1.0
    write(tmp_path / "wrong.xyz", wrong, format="extxyz")
    import_files(config, [tmp_path / "wrong.xyz"], None, same_level=True, console=console)
    workspace = Workspace(tmp_path / "campaign")
    campaign, _ = read_campaign(config)
    level = LevelOfTheory.of(campaign.labelling.engine)
    with LabelCache(workspace.label_cache) as cache:
        held_out = [label.attach(atoms) for atoms in wrong if (label := cache.find(atoms, level))]
    write_structures(workspace.validation, held_out[:2])
    write_structures(workspace.test, held_out[2:])
    assert "corrected" not in said(console)
    for replace in (True, False):  # which is said until that run
        import_files(
            config,
            [tmp_path / "ours.xyz"],
            None,
            same_level=True,
            console=console,
            replace=replace,
        )
    assert said(console).count("3 labels of the validation or test set were corrected") == 2
    assert said(console).count("the next 'entrove run' takes the corrected ones") == 3
    import_files(
        config,
        [tmp_path / "ours.xyz"],
        None,
        same_level=True,
        console=console,
        train=True,
        as_json=True,
    )
    assert json.loads(capsys.readouterr().out)["validated_on"] == 3


def turned(path: Path, source: Path) -> Path:
    """The labelled structures of a file in another orientation."""
    structures = read(source, ":")
    for atoms in structures:
        atoms.rotate(37, (1, 2, 3), rotate_cell=True)
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
    write(path, structures, format="extxyz")
    return path


def test_turned_copies_of_what_only_the_cache_knows_are_trained_on_once(
    tmp_path: Path, config: Path
):
    """As the dataset of another campaign with the same cache, after a code turned its cells."""
    ours, copies = tmp_path / "ours.xyz", turned(tmp_path / "turned.xyz", tmp_path / "ours.xyz")
    import_files(config, [ours], None, same_level=True, console=Console(file=io.StringIO()))
    workspace = Workspace(tmp_path / read_campaign(config)[0].folder)
    assert workspace.training_labels() == []
    for _ in range(2):  # the second time they are known to the campaign, too
        said = io.StringIO()
        import_files(
            config,
            [copies, copies],
            None,
            same_level=True,
            train=True,
            console=Console(file=said, width=200),
        )
        assert said.getvalue().count("0 labels imported, 3 known before, 0 refused") == 2
        assert said.getvalue().count("another orientation, with the same label") == 2
        assert "3 labels are trained on from the next training" in said.getvalue()
        assert "validation or test set" not in said.getvalue()
        # What is trained on is what the cache knows, and so can be withdrawn.
        assert sorted(map(content_hash, workspace.training_labels())) == sorted(
            map(content_hash, read(ours, ":"))
        )
        for atoms in workspace.training_labels():
            direct = atoms.copy()
            direct.calc = EMT()
            # The file has eight decimals.
            energy_eV = pytest.approx(direct.get_potential_energy(), abs=1e-6)
            assert atoms.get_potential_energy() == energy_eV
            np.testing.assert_allclose(atoms.get_forces(), direct.get_forces(), atol=1e-6)
    withdraw(workspace.folder, 1, Console(file=io.StringIO()))
    assert workspace.training_labels() == []


def test_an_import_into_a_shared_cache_is_withdrawn_before_the_campaign_has_a_folder(
    tmp_path: Path, config: Path, console: Console
):
    config.write_text(config.read_text() + "  cache: shared.sqlite\n")
    import_files(config, [tmp_path / "ours.xyz"], None, same_level=True, console=console)
    assert not (tmp_path / "campaign").exists()
    withdraw(config, 1, console)
    assert "withdrew import 1: 3 labels removed" in said(console)
    assert count_labels(tmp_path / "shared.sqlite") == 0


def test_an_import_from_a_server_keeps_its_address_without_the_password(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    rows = ase.db.connect(tmp_path / "rows.db")
    for atoms in read(tmp_path / "ours.xyz", ":"):
        rows.write(atoms)
    asked: set[str] = set()
    monkeypatch.setattr(ase.db, "connect", lambda name: (asked.add(name), rows)[1])
    address = "mysql://user:secret@host/labels"
    import_files(config, [Path(address)], None, same_level=True, console=Console())
    assert asked == {address}
    shown = capsys.readouterr().out
    assert "mysql://user:***@host/labels: 3 labels imported" in shown
    cache = tmp_path / "campaign" / "labels.sqlite"
    with LabelCache(cache) as labels:
        assert [record.source for record in labels.imports()] == ["mysql://user:***@host/labels"]
    assert b"secret" not in cache.read_bytes()
