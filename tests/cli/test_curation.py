"""Commands on data that exists refuse what cannot be done before they compute anything."""

import os
from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from command_line import Command

SOURCE = "1\nLattice='4 0 0 0 4 0 0 0 4' energy=-1\nSi 0 0 0\n".replace("'", '"')


@pytest.mark.skipif(os.access("/", os.W_OK), reason="the permissions of root are not checked")
def test_a_folder_that_may_not_be_written_is_named_first(tmp_path: Path, entrove: Command):
    (tmp_path / "pool.xyz").write_text(SOURCE)
    (tmp_path / "locked").mkdir(mode=0o555)
    code, output, errors = entrove("convert", tmp_path / "pool.xyz", tmp_path / "locked/out.db")
    assert (code, output) == (2, "")
    assert f"you may not write into the folder {tmp_path / 'locked'}" in errors


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("curate {0}/no.xyz --count 1 --out {0}/p.xyz", "no.xyz: no such file"),
        ("curate {0}/pool.xyz --count 1 --out {0}/no/p.xyz", "--out {0}/no/p.xyz: the folder"),
        ("curate {0}/pool.xyz --given {0}/no.xyz --count 1 --out {0}/p.xyz", "no such file"),
        ("compare {0}/pool.xyz {0}/no.xyz", "no.xyz: no such file"),
        ("compare {0}/pool.xyz {0}/pool.xyz --html {0}/no/c.html", "--html {0}/no/c.html: the"),
        ("convert {0}/no.xyz {0}/out.xyz", "no.xyz: no such file"),
        ("convert {0}/pool.xyz {0}/no/out.xyz", "OUT {0}/no/out.xyz: the folder"),
        ("audit {0}/no.xyz", "no.xyz: no such file"),
        ("audit {0}/pool.xyz --html {0}/no/a.html", "--html {0}/no/a.html: the folder"),
        ("convert {0}/pool.xyz {0}/pool.xyz", "{0}/pool.xyz would be overwritten"),
        ("curate {0}/pool.xyz --count 1 --out {0}/pool.xyz", "pool.xyz would be overwritten"),
        ("select {0}/pool.xyz --count 1 --out {0}/pool.xyz", "pool.xyz would be overwritten"),
        ("relax {0}/pool.xyz --out {0}/pool.xyz", "pool.xyz would be overwritten"),
        ("label {0}/pool.xyz --out {0}/pool.xyz", "pool.xyz would be overwritten"),
        ("explore {0}/pool.xyz --out {0}/pool.xyz", "pool.xyz would be overwritten"),
        ("audit {0}/pool.xyz --html {0}", "--html {0}: it is a folder"),
        ("compare {0}/pool.xyz {0}/pool.xyz --html {0}", "--html {0}: it is a folder"),
        ("validate 7net-0 --data {0}/pool.xyz --html {0}", "--html {0}: it is a folder"),
        ("convert {0}/pool.xyz {0} --format mace", "OUT {0}: it is a folder"),
        ("convert {0}/pool.xyz {0}", "{0} exists; give a new folder"),
        ("train {0}/pool.xyz --out {0}/pool.xyz", "pool.xyz is a file"),
        ("train {0}/pool.xyz --out {0}/m --folder {0}/m/work", "{0}/m/work is in this folder"),
    ],
)
def test_missing_files_and_folders_are_named_first(
    tmp_path: Path, entrove: Command, monkeypatch: pytest.MonkeyPatch, command: str, message: str
):
    def read(*_: object, **__: object) -> None:
        raise AssertionError("the files were read")

    for reader in ("curation.sources", "curation.auditing.reading"):
        monkeypatch.setattr(f"entrove.{reader}.read_frames", read)
    (tmp_path / "pool.xyz").write_text(SOURCE)
    code, output, errors = entrove(*command.format(tmp_path).split())
    assert code in (1, 2)
    assert output == ""
    assert errors.startswith("entrove: ")
    assert message.format(tmp_path) in errors
    assert [path.name for path in tmp_path.iterdir()] == ["pool.xyz"]


@pytest.mark.parametrize("name", ["p.json", "p.csv", "p.JSON", "p.db", "p.traj", "picked"])
def test_picks_have_the_name_of_extended_xyz(tmp_path: Path, entrove: Command, name: str):
    """Beside them are a table and gains, which would take their place: p.csv, p.json."""
    (tmp_path / "pool.xyz").write_text(2 * SOURCE)
    arguments = ("curate", tmp_path / "pool.xyz", "--count", "1", "--out", tmp_path / name)
    code, output, errors = entrove(*arguments)
    assert (code, output) == (2, "")
    assert f"--out {tmp_path / name}: structures are written as extended XYZ" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["pool.xyz"]


@pytest.mark.parametrize(
    "command",
    [
        "curate pool.xyz --count 1 --out out.xyz",
        "select pool.xyz --count 1 --out out.xyz",
        "label pool.xyz --out out.xyz",
        "relax pool.xyz --out out.xyz",
        "explore pool.xyz --out out.xyz",
        "convert pool.xyz out.xyz",
        "convert pool.xyz out.xyz.gz",
    ],
)
def test_a_folder_in_the_place_of_a_file_to_write_is_named_first(
    tmp_path: Path, entrove: Command, monkeypatch: pytest.MonkeyPatch, command: str
):
    monkeypatch.chdir(tmp_path)
    Path("pool.xyz").write_text(SOURCE)
    out = Path(command.rpartition(" ")[2])
    out.mkdir()
    code, output, errors = entrove(*command.split())
    assert (code, output) == (2, "")
    assert f"{out}: it is a folder; give the name of a file" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["pool.xyz", out.name])


def test_a_file_beside_the_picks_overwrites_no_pool(tmp_path: Path, entrove: Command):
    pool = tmp_path / "m.rest.xyz"
    pool.write_text(SOURCE)
    code, _, errors = entrove("curate", pool, "--count", "1", "--out", tmp_path / "m.xyz")
    assert code == 2
    assert f"{pool} would be overwritten" in errors
    assert pool.read_text() == SOURCE


@pytest.mark.parametrize(
    "command", ["audit {0}", "convert {0} {1}", "curate {0} --count 1 --out {1}"]
)
def test_a_key_that_no_frame_has_is_refused(tmp_path: Path, entrove: Command, command: str):
    source, out = tmp_path / "pool.xyz", tmp_path / "out.xyz"
    source.write_text(2 * SOURCE)
    arguments = command.format(source, out).split()
    code, _, errors = entrove(*arguments, "--energy-key", "REF_energy")
    assert code != 0
    assert "no frame has energy 'REF_energy'" in errors
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("init {0}/new {0}/folder", "{0}/folder: it is a folder; give a file of structures"),
        ("init {0}/pool.xyz {0}/pool.xyz", "{0}/pool.xyz: it is a file; give the name of a new"),
        ("export {0}/model --to lamps", "--to lamps: choose lammps, ase, torch-sim or extxyz"),
        ("curves {0}/no.yaml", "{0}/no.yaml: no such file; the tutorial"),
        ("curves {0}/pool.xyz", "got text; the tutorial 'Your own learning curves' shows"),
        ("curves {0}/campaign.yaml", "{0}/campaign.yaml: this is the configuration of a campaign"),
        ("validate 7net-0 --seeds {0}/pool.xyz --device foo", "device=foo is no device"),
        ("validate ase.calculators.emt:EMT --seeds {0}/pool.xyz", "EMT cannot evaluate Si"),
        ("validate 7net-0 --suite {0}/off.yaml", "leaves out the whole suite"),
        ("validate 7net-0 --seeds {0}/pool.xyz --html {0}/no/p.html", "the folder {0}/no does"),
    ],
)
def test_what_is_of_another_kind_is_named(
    tmp_path: Path, entrove: Command, command: str, message: str
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "pool.xyz").write_text(SOURCE)
    (tmp_path / "off.yaml").write_text("enabled: false\n")
    (tmp_path / "campaign.yaml").write_text("name: a\nseeds: []\nregime: {}\n")
    code, _, errors = entrove(*command.format(tmp_path).split())
    assert code in (1, 2)
    assert message.format(tmp_path) in errors
    assert "Traceback" not in errors


def test_a_virial_of_a_molecule_is_no_missing_key(tmp_path: Path, entrove: Command):
    """It has no stress without a volume, but the key is there."""
    source, out = tmp_path / "in.xyz", tmp_path / "out.xyz"
    source.write_text('1\nenergy=-1 my_virial="1 0 0 0 1 0 0 0 1" pbc="F F F"\nSi 0 0 0\n')
    code, _, errors = entrove("convert", source, out, "--virial-key", "my_virial")
    assert code == 0, errors
    assert out.exists()


def test_a_bundle_takes_the_place_of_no_other_folder(tmp_path: Path, entrove: Command):
    (tmp_path / "pool.xyz").write_text(SOURCE)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    code, _, errors = entrove("train", tmp_path / "pool.xyz", "--out", tmp_path / "thesis")
    assert code != 0
    assert "holds files that are not a model bundle" in errors


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were asked for; a file of rows is what every server has."""
    asked: list[str] = []
    rows = ase.db.connect(tmp_path / "rows.db")
    rng = np.random.default_rng(0)
    for _ in range(8):
        atoms = bulk("Si")
        atoms.rattle(0.1, rng=rng)
        atoms.calc = SinglePointCalculator(atoms, energy=-5.0, forces=np.zeros((2, 3)))
        rows.write(atoms)

    def connect(name: str) -> object:
        asked.append(name)
        return rows

    monkeypatch.setattr(ase.db, "connect", connect)
    return asked


@pytest.mark.parametrize(
    "command",
    [
        "convert {} out.xyz",
        "convert {} out.xyz --json",
        "audit {} --json",
        "curate {} --count 2 --method information --out out.xyz",
        "compare {} {}",
        "convert {} out.xyz --energy-key missing",
    ],
)
def test_the_address_of_a_server_is_read_and_its_password_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entrove: Command, server, command: str
):
    monkeypatch.chdir(tmp_path)
    address = "postgresql://user:secret@host:5432/labels"
    _, output, errors = entrove(*command.format(address, address).split())
    assert set(server) == {address}
    written = "".join(path.read_text() for path in tmp_path.glob("out*"))
    assert "secret" not in output + errors + written
    assert written or "user:***@host" in output + errors


def test_a_server_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, entrove: Command
):
    """Neither is there a server at this address, nor has every machine the driver of ASE."""
    address = "postgresql://user:secret@localhost:1/labels"
    code, output, errors = entrove("convert", address, tmp_path / "out.xyz")
    assert code == 1
    assert "postgresql://user:***@localhost:1/labels: frame 0: the database cannot be" in errors
    assert "secret" not in output + errors


@pytest.mark.parametrize(
    "command", ["convert {0}/pool.xyz {1}", "curate {0}/pool.xyz --count 1 --out {1}"]
)
def test_a_file_that_is_replaced_is_named(tmp_path: Path, entrove: Command, command: str):
    (tmp_path / "pool.xyz").write_text(SOURCE)
    out = tmp_path / "out.xyz"
    said = f"{out} is there already and will be replaced"
    for times in (0, 1):
        code, _, errors = entrove(*command.format(tmp_path, out).split())
        assert (code, errors.count(said)) == (0, times)


def test_rows_of_a_database_are_not_lost_to_a_conversion(tmp_path: Path, entrove: Command):
    (tmp_path / "pool.xyz").write_text(SOURCE)
    with ase.db.connect(tmp_path / "mine.db") as database:
        for _ in range(3):
            database.write(bulk("Cu"), note="precious")
    code, _, errors = entrove("convert", tmp_path / "pool.xyz", tmp_path / "mine.db")
    assert code == 1
    assert "mine.db exists, and no rows are added to a database" in errors
    assert "replaced" not in errors
    assert ase.db.connect(tmp_path / "mine.db").count(note="precious") == 3
