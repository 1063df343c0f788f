"""Summarise a finished campaign as JSON: errors by model, labels, seconds by stage.

Run: python benchmarks/demo/summarise.py CAMPAIGN_FOLDER
"""

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from entrove.campaign.results.read import read_results

RESULT = Path(__file__).parent / "results" / "demo.json"


def main(folder: Path) -> None:
    results = read_results(folder)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    total = [row for row in results.errors if row.phase == row.kind == "all"]
    summary = {
        "commit": commit,
        "entrove": results.entrove_version,
        "machine": {"cores": os.cpu_count(), "platform": platform.machine()},
        "level_of_theory": results.level_of_theory,
        "validation_errors": [
            {"round": row.round, "model": row.model} | asdict(row.errors) for row in total
        ],
        "labels": len(results.labels),
        "information_nats": results.next_gain_nats,
        "stages": [asdict(stage) for stage in results.stages],
        "seconds": sum(stage.seconds for stage in results.stages),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(summary, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
