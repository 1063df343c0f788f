"""Label structures and remember, for each, what became of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ase import Atoms

from entrove.campaign.check import CheckedCampaign
from entrove.campaign.progress import ProgressListener
from entrove.campaign.results import LabelRow
from entrove.campaign.stages import StageOutcome
from entrove.labelling.cache import LabelCache
from entrove.labelling.label import Label
from entrove.labelling.labeller import Labeller
from entrove.sampling.candidates import Candidate


@dataclass(frozen=True)
class LabelledSet:
    """Structures with converged labels, in the order in which they were asked for, and a row for each that was asked."""

    structures: list[Atoms]
    rows: list[LabelRow]


def label_candidates(
    campaign: CheckedCampaign,
    candidates: Sequence[Candidate],
    gains: Sequence[float] | None,
    round: int,
    created_utc: str,
    listener: ProgressListener,
) -> LabelledSet:
    """Label candidates; what was finished before an interruption comes from the cache.

    `created_utc` is when the campaign began: older labels of a shared cache count as found, not paid.
    """
    config, workspace = campaign.config.labelling, campaign.workspace
    cache_path = campaign.config_path.parent / config.cache if config.cache else workspace.label_cache
    ends: dict[int, Label] = {}
    with LabelCache(cache_path) as cache, Labeller(config, cache, workspace.label_work) as labeller:
        atoms = [candidate.atoms for candidate in candidates]
        for index, label in labeller.label(atoms):
            ends[index] = label
            failed = sum(not one.converged for one in ends.values())
            listener.advanced(len(ends), len(atoms), f"{failed} failed" if failed else "")
    structures, rows = [], []
    for index, candidate in enumerate(candidates):
        label = ends[index]
        gain = None if gains is None else float(gains[index])
        # In a cache of its own a campaign finds only what it paid for itself, before an interruption.
        from_cache = config.cache is not None and label.started_utc < created_utc
        rows.append(_row(candidate, label, gain, round, from_cache))
        if label.converged:
            labelled = label.attach(candidate.to_atoms())
            labelled.info["entrove_round"] = round
            if gain is not None:
                labelled.info["entrove_gain_nats"] = gain
            structures.append(labelled)
    return LabelledSet(structures, rows)


def outcome_of(labelled: LabelledSet) -> StageOutcome:
    """Say how a set of labels ended."""
    converged, asked = len(labelled.structures), len(labelled.rows)
    summary = f"{converged} labels"
    if converged < asked:
        summary += f", {asked - converged} of {asked} quarantined"
    cached = sum(row.from_cache for row in labelled.rows)
    if cached:
        summary += f", {cached} known before"
    return StageOutcome(summary, {"labels": [asdict(row) for row in labelled.rows]})


def label_rows(payload: dict[str, Any]) -> list[LabelRow]:
    """Read back what `outcome_of` wrote."""
    return [LabelRow(**row) for row in payload["labels"]]


def _row(candidate: Candidate, label: Label, gain: float | None, round: int, from_cache: bool) -> LabelRow:
    return LabelRow(
        purpose="validation" if candidate.pool == "validation" else "training",
        round=round,
        structure_hash=label.structure_hash,
        phase=candidate.phase,
        kind=candidate.kind,
        pool=candidate.pool,
        pressure_GPa=candidate.pressure_GPa,
        temperature_K=candidate.temperature_K,
        gain_nats=gain,
        outcome=label.outcome.value,
        cause=label.cause,
        engine_seconds=label.engine_seconds,
        from_cache=from_cache,
    )
