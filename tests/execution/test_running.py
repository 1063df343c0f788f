"""Programs with a folder of their own: here, and in Parsl's workers, which may be lost."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from entrove.errors import ConfigError, EntroveError, ModelError
from entrove.execution.checks import check_usable
from entrove.execution.program import (
    EXIT_ORPHANED,
    EXIT_USER_ERROR,
    Program,
    explain_end,
    only_worker,
    wait_until_free,
)
from entrove.execution.running import (
    Executors,
    Programs,
    ProgramsElsewhere,
    ProgramsHere,
    run_programs,
)
from entrove.execution.settings import (
    LocalTrainings,
    ParslExecution,
    SlurmExecution,
    TrainingExecution,
)

ELSEWHERE = ParslExecution(config="parsl_here:make")


def program(folder: Path, threads: int = 1, **orders: object) -> Program:
    folder.mkdir()
    (folder / "orders.json").write_text(json.dumps(orders))
    return Program("counting", str(folder), threads, "progress")


def run(programs: list[Program], where: Programs) -> dict[int, int]:
    return dict(run_programs(programs, where, lambda: None))


def lines(one: Program) -> list[list[str]]:
    return [line.split() for line in (Path(one.folder) / "progress").read_text().splitlines()]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """One worker, which all tests share: starting it takes seconds."""
    folder = tmp_path_factory.mktemp("parsl")
    with pytest.MonkeyPatch.context() as patch, Executors() as executors:
        patch.setenv("PARSL_FOLDER", str(folder))
        patch.setattr(ProgramsElsewhere, "poll_s", 0.05)
        yield executors.programs(ELSEWHERE, folder)


def test_programs_here_share_the_room_and_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    where = ProgramsHere(2)
    assert [where.threads(wanted) for wanted in (1, 8)] == [1, 4]
    assert where.threads(0) == max(1, len(os.sched_getaffinity(0)) // 2)
    programs = [program(tmp_path / str(i), threads=3, count=5, pause_s=0.1) for i in range(3)]
    started: list[str] = []
    start = ProgramsHere.start
    monkeypatch.setattr(
        ProgramsHere, "start", lambda at, one: started.append(one.folder) or start(at, one)
    )
    ends: list[int] = []
    running: set[int] = set()
    for index, code in run_programs(
        programs, where, lambda: running.add(len(started) - len(ends))
    ):
        assert code == 0
        ends.append(index)
    assert sorted(ends) == [0, 1, 2]
    assert started == [one.folder for one in programs]
    assert max(running) == 2
    assert [line[2] for line in lines(programs[0])] == ["3"] * 5


def test_the_end_of_a_program_is_explained(tmp_path: Path):
    told = program(tmp_path / "told", count=1, error="a label is damaged")
    broken = program(tmp_path / "broken", count=1, exit=9)
    assert run([told, broken], ProgramsHere(2)) == {0: EXIT_USER_ERROR, 1: 9}
    folder = Path(told.folder)
    assert explain_end(folder, EXIT_USER_ERROR, "training") == "a label is damaged"
    folder = Path(broken.folder)
    assert explain_end(folder, 9, "training") == (
        f"training ended with exit code 9; the log {folder / 'worker.log'} ends with: "
        "the last words; start it again to continue from what is finished"
    )


def test_programs_end_when_nobody_waits_for_them(tmp_path: Path):
    endless = program(tmp_path / "endless", count=10**6, pause_s=0.02)

    def stop() -> None:
        if (Path(endless.folder) / "progress").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_programs([endless], ProgramsHere(), stop))
    with only_worker(Path(endless.folder), "counts"):  # its lock died with it
        pass


@pytest.mark.slow
def test_a_program_continues_where_its_lost_worker_was(tmp_path: Path, elsewhere: Programs):
    lost = program(tmp_path / "lost", count=6, kills_its_worker_after=[0, 1, 3])
    other = program(tmp_path / "other", count=2)
    assert run([lost, other], elsewhere) == {0: 0, 1: 0}
    assert [line[0] for line in lines(lost)] == list("012345")
    # As many losses as `MAX_LOSSES`, but each time it had got on.
    assert len({line[1] for line in lines(lost)}) == 4


def test_errors_in_a_worker_come_back_as_they_are(tmp_path: Path, elsewhere: Programs):
    told = program(tmp_path / "told", count=1, error="a label is damaged")
    assert run([told], elsewhere) == {0: EXIT_USER_ERROR}
    assert explain_end(Path(told.folder), EXIT_USER_ERROR, "training") == "a label is damaged"


@pytest.mark.slow
def test_a_program_that_always_loses_its_worker_is_given_up(tmp_path: Path, elsewhere: Programs):
    hopeless = program(tmp_path / "hopeless", count=2, kills_its_worker_at_once=True)
    expected = r"hopeless: its job was lost 3 times without progress.*worker\.log and .*parsl"
    with pytest.raises(EntroveError, match=expected):
        run([hopeless], elsewhere)


def test_an_orphan_is_waited_for(tmp_path: Path):
    """As a job whose campaign was killed, which takes a while to notice."""
    counting = program(tmp_path / "counting", count=10**6, pause_s=0.02)
    folder = Path(counting.folder)
    with subprocess.Popen(
        [sys.executable, "-m", "counting", counting.folder], stdin=subprocess.PIPE
    ) as orphan:
        assert orphan.stdin is not None
        while not (folder / "progress").exists():
            time.sleep(0.02)
        wait_until_free(folder, 0.1)
        expected = "another process counts here; wait for it or stop it"
        with pytest.raises(ModelError, match=expected), only_worker(folder, "counts"):
            pass
        orphan.stdin.close()
        wait_until_free(folder, 30.0)
        with only_worker(folder, "counts"):
            pass
        assert orphan.wait() == EXIT_ORPHANED


def test_stages_with_equal_settings_share_workers(tmp_path: Path):
    slurm = SlurmExecution(cores_per_worker=6)
    executors = Executors()
    one = executors.programs(slurm, tmp_path)
    assert executors.programs(SlurmExecution(cores_per_worker=6), tmp_path) is one
    assert executors.programs(SlurmExecution(cores_per_worker=7), tmp_path) is not one
    assert one.elsewhere
    assert one.threads(0) == one.threads(4) == 6
    here = executors.programs(LocalTrainings(workers=3), tmp_path)
    assert not here.elsewhere
    assert here.capacity == 3


def test_slurm_must_be_there_and_folders_without_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no 'sbatch' on PATH"):
        check_usable(SlurmExecution())
    (tmp_path / "sbatch").touch(mode=0o755)
    check_usable(SlurmExecution())
    check_usable(LocalTrainings())


def test_the_default_of_trainings_is_one_at_a_time():
    adapter: TypeAdapter[object] = TypeAdapter(TrainingExecution)
    assert adapter.validate_python({"name": "local"}) == LocalTrainings(workers=1)
    assert adapter.validate_python({"name": "slurm"}) == SlurmExecution()
