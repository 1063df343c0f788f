"""A full or read-only disk stops labelling with a clear message, and nothing is lost."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from misbehaving import copper

from entrove.errors import LabelError
from entrove.labelling.attempt import Attempt, AttemptFolder, AttemptResult
from entrove.labelling.execution import worker
from entrove.labelling.execution.executor import AttemptExecutor
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Outcome
from entrove.labelling.store.cache import LabelCache
from entrove.structures import canonical_order, content_hash


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB in memory."""
    mount_point = tmp_path / "small"
    mount_point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(mount_point)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no program 'mount' here")
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield mount_point
    subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


def fill_disk(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as handle, contextlib.suppress(OSError):
        while True:
            handle.write(b"0" * 4096)


def test_a_full_disk_stops_labelling_and_with_room_it_continues(
    small_disk: Path, tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    structures = [copper(seed) for seed in range(6)]
    ballast = small_disk / "ballast"
    with LabelCache(tmp_path / "labels.db") as cache:
        with Labeller(misbehaving_config(), cache, small_disk / "work", workers) as labeller:
            assert len(dict(labeller.label(structures[:2]))) == 2
            fill_disk(ballast)
            with pytest.raises(LabelError, match=r"labelling stopped: .*cannot be written"):
                list(labeller.label(structures))
            assert len(cache.states()) == 2
        ballast.unlink()
        with Labeller(misbehaving_config(), cache, small_disk / "work", workers) as labeller:
            labels = dict(labeller.label(structures))
    assert all(label.outcome is Outcome.CONVERGED for label in labels.values())


def test_a_failure_on_a_full_disk_is_not_the_structures_fault(
    small_disk: Path, misbehaving_config
):
    """The engine fails for a reason of its own while the disk is full: nothing is recorded."""
    folder = small_disk / "attempt-1"
    folder.mkdir()
    atoms = copper(0, "not_converged")
    attempt = Attempt.of(
        atoms,
        canonical_order(atoms),
        folder=folder,
        engine=misbehaving_config().engine.model_dump_json(),
        rung=0,
        time_limit_s=60.0,
    )
    (small_disk / "ballast").write_bytes(b"0" * 470_000)
    try:
        end = worker.run_in_engine_process(attempt)
    finally:
        worker._stop_current()
    assert "cannot be written" in end.trouble
    assert AttemptResult.read(folder) is None


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, misbehaving_config):
    (tmp_path / "file").touch()
    message = r"cannot be written .* check permissions and free space"
    with LabelCache(tmp_path / "labels.db") as cache, pytest.raises(LabelError, match=message):
        Labeller(misbehaving_config(), cache, tmp_path / "file" / "work").__enter__()


def test_a_label_that_was_finished_but_not_stored_is_found_in_its_folder(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    """The campaign died, or its cache was lost, after the engine had written its result."""
    atoms = copper(0)
    config = misbehaving_config()
    for name in ("first.db", "second.db"):
        with (
            LabelCache(tmp_path / name) as cache,
            Labeller(config, cache, tmp_path / "work", workers) as labeller,
        ):
            ((_, label),) = labeller.label([atoms[::-1]])
            assert label.outcome is Outcome.CONVERGED
    folder = AttemptFolder.of(tmp_path / "work", content_hash(atoms))
    assert [path.name for path in folder.root.iterdir()] == ["attempt-1"]
