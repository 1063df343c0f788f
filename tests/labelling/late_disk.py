"""Workers whose folders the labeller sees late, as on a network file system that caches names."""

from concurrent.futures import Future
from pathlib import Path

from entrove.labelling.attempt import Attempt, AttemptResult
from entrove.labelling.execution.executor import AttemptExecutor


class LateDisk(AttemptExecutor):
    """Real workers; a folder is away from the end of its attempt until `show` is called."""

    def __init__(self, workers: AttemptExecutor, aside: Path, most: int):
        self._workers = workers
        self._aside = aside
        self._most = most
        self.submitted: list[str] = []

    @property
    def running(self) -> bool:
        return self._workers.running

    @property
    def capacity(self) -> int:
        return self._workers.capacity

    def submit(self, task: Attempt) -> "Future[AttemptResult]":
        assert len(self.submitted) < self._most, f"too many attempts: {self.submitted}"
        self.submitted.append(task.folder)
        number = len(self.submitted)
        seen: Future[AttemptResult] = Future()

        def hide(done: "Future[AttemptResult]") -> None:
            Path(task.folder).rename(self._aside / str(number))
            seen.set_result(done.result())

        self._workers.submit(task).add_done_callback(hide)
        return seen

    def show(self) -> None:
        for number, folder in enumerate(self.submitted, start=1):
            (self._aside / str(number)).rename(folder)
