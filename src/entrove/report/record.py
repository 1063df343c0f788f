"""`report.json` and `entrove status --json`: every number, for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from entrove.campaign.results.results import CampaignResults, ModelErrors
from entrove.json_values import json_values
from entrove.report import summary
from entrove.report.drawn import Drawn

VERSION = 1

DRAWN_ARRAYS = ("x", "y", "z")


def record_of(results: CampaignResults, drawn: Drawn) -> dict[str, Any]:
    """Return the numbers of a report.

    Args:
        results: The campaign.
        drawn: What `draw(results)` returns.

    Units are in the names, or beside the value as `unit`. None stands for what was not measured,
    and for what is not finite. `figures` has the data of each plot as it is drawn.
    """
    record = results_record(results, drawn.compared) | {
        "learning_curves": {
            "quantities": [
                {"quantity": quantity.title, "unit": quantity.unit}
                for quantity in summary.QUANTITIES
            ],
            "curves": drawn.curves,
        },
        "states": [
            {
                "round": state.round,
                "model": state.model,
                **asdict(state.errors),
                "pressure_GPa": state.pressure_GPa,
                "temperature_K": state.temperature_K,
            }
            for state in results.states
        ],
        "parity": [
            {
                "model": row.title,
                "quantity": panel.figure.title,
                "points": panel.points,
                "drawn": panel.drawn,
                "mae": panel.mae,
                "rmse": panel.rmse,
                "unit": panel.error_unit,
            }
            for row in drawn.parity
            for panel in row.panels
        ],
        "forecast": drawn.forecast,
        "explained_variance": None
        if results.fingerprint_map is None
        else results.fingerprint_map.explained_variance,
        "figures": {
            figure.name: [
                {"name": trace.get("name", "")}
                | {key: trace[key] for key in DRAWN_ARRAYS if key in trace}
                for trace in figure.data
            ]
            for figure in drawn.figures
        },
    }
    return json_values(record)


def results_record(
    results: CampaignResults, compared: Sequence[ModelErrors] | None = None
) -> dict[str, Any]:
    """Return the numbers of a campaign, without those that only figures show.

    Args:
        results: The campaign.
        compared: Errors of the models that are compared; by default they are chosen here.

    The keys are those of `report.json`.
    """
    if compared is None:
        compared = summary.errors_to_compare(results)
    quoted, comparison = summary.quoted_errors(results, compared)
    record = {
        "version": VERSION,
        "entrove_version": results.entrove_version,
        "name": results.name,
        "finished": results.finished,
        "verdict": results.verdict,
        "rounds_done": results.rounds_done,
        "rounds_planned": results.rounds_planned,
        "best_round": results.best_round,
        "foundation_model": results.foundation_model,
        "level_of_theory": results.level_of_theory,
        "level_of_theory_hash": results.level_of_theory_hash,
        "kpoints": None
        if results.kpoints is None
        else results.kpoints.model_dump(mode="json")
        | {"beyond": [each.phase for each in results.kpoints.beyond]},
        "imported_labels": results.imported,
        "imports_wait": results.imports_wait,
        "imported_labels_not_trained_on": results.imported_not_trained_on,
        "validation_structures": summary.validation_size(results.errors),
        "quoted_structures": summary.validation_size(quoted),
        "headline": [
            {
                "quantity": change.quantity.title,
                "unit": change.quantity.unit,
                "untuned": change.untuned,
                "tuned": change.tuned,
                "tuned_interval": change.tuned_interval,
                "ratio_interval": change.ratio,
                "change": change.description,
            }
            for change in summary.error_changes(quoted, comparison)
        ],
        "comparison": results.comparison,
        "test_comparison": results.test_comparison,
        "refused": summary.refusal(results),
        "errors": _with_model(results.errors),
        "test_errors": _with_model(results.test),
        "checks": None if results.suite is None else results.suite.to_dict(),
        "gains": [
            asdict(gain) | {"nats_per_label": gain.nats_per_label}
            for gain in summary.gains_by_round(results)
        ],
        "learning_rate_choices": [
            {"round": round_index, **choice.model_dump(mode="json")}
            for round_index, choice in results.choices.items()
        ],
        "pools": results.pools,
        "label_costs": summary.label_costs((*results.labels, *results.volumes), results.kpoints),
        "labels_by_phase": summary.labels_by_phase(results.labels),
        "labels_by_outcome": summary.outcomes_by_purpose(results.labels),
        "labels": results.labels,
        "stage_costs": summary.stage_costs(results.stages),
        "stages": results.stages,
        "walkers": results.walkers,
    }
    return json_values(record)


def _with_model(rows: Iterable[ModelErrors]) -> list[dict[str, Any]]:
    return [{"round": row.round, "model": row.model, **asdict(row.errors)} for row in rows]


def record_as_json(record: Mapping[str, Any]) -> str:
    """Return the text of `report.json`."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
