"""A program that counts, a line for each number, and ends as it is told to."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from entrove.errors import ModelError
from entrove.execution.program import only_worker, serve


def count(folder: Path) -> None:
    with only_worker(folder, "counts"):
        orders = json.loads((folder / "orders.json").read_text())
        path = folder / "progress"
        done = len(path.read_text().splitlines()) if path.exists() else 0
        if orders.get("kills_its_worker_at_once"):
            lose_worker()
        for number in range(done, orders["count"]):
            with path.open("a") as handle:
                handle.write(f"{number} {os.getpid()} {os.environ['OMP_NUM_THREADS']}\n")
            if number in orders.get("kills_its_worker_after", ()):
                lose_worker()
            time.sleep(orders.get("pause_s", 0.0))
        if "exit" in orders:
            print("the last words")
            sys.stdout.flush()
            os._exit(orders["exit"])
        if "error" in orders:
            raise ModelError(orders["error"])


def lose_worker() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


if __name__ == "__main__":
    sys.exit(serve(count, lambda _: None))
