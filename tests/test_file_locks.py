"""A lock keeps others out, and a file system without locks is named, with what to do."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from entrove.campaign.journal.lock import hold_campaign, is_held
from entrove.errors import ConfigError
from entrove.execution.program import only_worker, wait_until_free
from entrove.file_locks import try_to_lock


def without_locks(number: int):
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    """`flock` is what such a file system answers: there is none on the machines of the tests."""
    monkeypatch.setattr(fcntl, "flock", without_locks(number))
    expected = r"lock: this file system has no file locks \(.*\).*Lustre: the option flock"
    with pytest.raises(ConfigError, match=expected), hold_campaign(tmp_path):
        pass
    with pytest.raises(ConfigError, match=expected), only_worker(tmp_path, "trains"):
        pass
    with pytest.raises(ConfigError, match=expected):
        wait_until_free(tmp_path, 1.0)
    assert not is_held(tmp_path)


def test_other_errors_of_a_disk_stay_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fcntl, "flock", without_locks(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), hold_campaign(tmp_path):
        pass


def test_shared_locks_keep_exclusive_ones_out_and_each_other_in(tmp_path: Path):
    path = tmp_path / "lock"
    with path.open("w") as first, path.open("w") as second, path.open("w") as third:
        assert try_to_lock(first, shared=True)
        assert try_to_lock(second, shared=True)
        assert not try_to_lock(third)
    with path.open("w") as third:
        assert try_to_lock(third)
