"""Summarise a finished campaign: errors by model and kind, labels, seconds by stage.

Hypothesis: 24 PBE labels halve the errors of SevenNet-0 on silicon within 20 minutes on two cores.

    python benchmarks/demo/summarise.py CAMPAIGN_FOLDER [NAME_OF_RESULT]
"""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from entrove.campaign.results.read import read_results
from entrove.campaign.results.results import ModelErrors

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

HALF = 0.5
MINUTES = 20


def main(folder: Path, name: str = "demo") -> None:
    results = read_results(folder)
    untuned, tuned = (
        next(row.errors for row in results.test if is_total(row) and (row.round > 0) is is_tuned)
        for is_tuned in (False, True)
    )
    ratios = {
        "energy": tuned.energy_mae_meV_per_atom / untuned.energy_mae_meV_per_atom,
        "forces": tuned.force_mae_meV_per_A / untuned.force_mae_meV_per_A,
        "stress": tuned.stress_mae_meV_per_A3 / untuned.stress_mae_meV_per_A3,
    }
    seconds = sum(stage.seconds for stage in results.stages)
    training = [label for label in results.labels if label.purpose == "training"]
    write_result(
        __file__,
        name,
        "labels halve the errors of SevenNet-0 on the test set within 20 minutes on two cores",
        {
            "tuned_over_untuned": {key: round(ratio, 3) for key, ratio in ratios.items()},
            "minutes": round(seconds / 60, 1),
            "reached": max(ratios.values()) < HALF and seconds < 60 * MINUTES,
            "training_labels": len(training),
            "labels": len(results.labels),
            "picked": dict(
                Counter(label_kind(label.kind, label.temperature_K) for label in training)
            ),
            "validation_errors": rows_of(results.errors),
            "test_errors": rows_of(results.test),
            "verdict": results.verdict,
            "stages": [asdict(stage) for stage in results.stages],
        },
        level_of_theory=results.level_of_theory,
    )


def is_total(row: ModelErrors) -> bool:
    return row.phase == row.kind == "all"


def label_kind(kind: str, temperature_K: float | None) -> str:
    return kind if temperature_K is None else f"{kind} {temperature_K:g} K"


def rows_of(errors: Iterable[ModelErrors]) -> list[dict[str, Any]]:
    """Errors of each model and kind, over all phases."""
    return [
        {"round": row.round, "model": row.model} | asdict(row.errors)
        for row in errors
        if row.phase == "all"
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
