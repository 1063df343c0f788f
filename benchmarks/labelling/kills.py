"""kill -9 of a labelling campaign at 50 random moments, each followed by a new start.

Hypothesis: no label that was finished at the moment of the kill is computed again, none is lost,
the cache passes SQLite's integrity check each time, and at the end every label is there.

    OMP_NUM_THREADS=1 python benchmarks/labelling/kills.py
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "labelling"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from killing import DELAY_S, kill_and_resume
from results_file import write_result

SEED = 9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--labels", type=int, default=220)
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = kill_and_resume(
            Path(folder), kills=arguments.kills, labels=arguments.labels, seed=SEED
        )
    numbers = asdict(report) | {"wall_s": round(time.perf_counter() - start, 1)}
    hypothesis = "no finished label repeated, none lost, none half written"
    write_result(
        __file__,
        "kills",
        hypothesis,
        numbers,
        labels=arguments.labels,
        seconds_per_label=DELAY_S,
        workers=2,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
