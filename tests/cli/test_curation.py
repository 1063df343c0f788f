"""Commands on data that exists refuse what cannot be done before they compute anything."""

import os
from pathlib import Path

import pytest
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
