"""Label structures, judge the labels, and remember for each what became of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove.campaign.candidate_files import read_candidates
from entrove.campaign.check import CheckedCampaign
from entrove.campaign.progress import ProgressListener
from entrove.campaign.results import LabelRow
from entrove.campaign.stages import StageOutcome
from entrove.labelling.cache import LabelCache
from entrove.labelling.label import Label, Outcome
from entrove.labelling.labeller import Labeller
from entrove.labelling.level_of_theory import LevelOfTheory, require_one_level
from entrove.labelling.outliers import find_energy_outliers
from entrove.models.loaded import LoadedModel
from entrove.models.predict import predict
from entrove.sampling.candidates import Candidate


@dataclass(frozen=True)
class Request:
    """A structure to label, and what the selection expected of it (None for validation structures)."""

    candidate: Candidate
    gain_nats: float | None = None


@dataclass(frozen=True)
class LabelledSet:
    """Structures with good labels, in the order of the requests, and a row for each request."""

    structures: list[Atoms]
    rows: list[LabelRow]


def cache_path(campaign: CheckedCampaign) -> Path:
    """The label cache: the configuration's shared one, or the campaign's own."""
    return campaign.config.labelling.cache or campaign.workspace.label_cache


def label_requests(
    campaign: CheckedCampaign,
    requests: Sequence[Request],
    round: int,
    judge: LoadedModel,
    earlier: Sequence[Atoms],
    created_utc: str,
    listener: ProgressListener,
) -> LabelledSet:
    """Label; what was finished before an interruption comes from the cache.

    Labels whose energy is far from what `judge` allows are rejected, judged together with the `earlier`
    labels. `created_utc` is when the campaign began: older labels of a shared cache count as found, not paid.
    """
    config = campaign.config.labelling
    atoms = [request.candidate.atoms for request in requests]
    ends: dict[int, Label] = {}
    with (
        LabelCache(cache_path(campaign)) as cache,
        Labeller(config, cache, campaign.workspace.label_work) as labeller,
    ):
        for index, label in labeller.label(atoms):
            ends[index] = label
            failed = sum(not one.converged for one in ends.values())
            listener.advanced(len(ends), len(atoms), f"{failed} failed" if failed else "")
        for index, cause in _outliers(atoms, ends, judge, earlier).items():
            cache.reject(ends[index].structure_hash, labeller.level, cause)
            ends[index] = replace(ends[index], outcome=Outcome.REJECTED, cause=cause)
    structures, rows = [], []
    for index, request in enumerate(requests):
        label = ends[index]
        # In a cache of its own a campaign finds only what was imported (no attempt was made), and what it
        # paid for itself before an interruption.
        from_cache = label.attempts == 0 or (config.cache is not None and label.started_utc < created_utc)
        rows.append(_row(request, label, round, from_cache))
        if label.converged:
            structures.append(_with_provenance(request, label, round))
    require_one_level([*earlier, *structures], labeller.level)
    return LabelledSet(structures, rows)


def released_requests(campaign: CheckedCampaign, round: int) -> list[Request]:
    """Structures of earlier rounds that have neither a label nor a place in quarantine: a person released them."""
    level = LevelOfTheory.of(campaign.config.labelling.engine)
    earlier = [
        candidate
        for number in range(1, round)
        for candidate in read_candidates(campaign.workspace.in_round(number, "selected.xyz"))
    ]
    with LabelCache(cache_path(campaign)) as cache:
        return [Request(one) for one in earlier if cache.get(one.atoms, level) is None]


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


def _outliers(
    atoms: Sequence[Atoms], ends: dict[int, Label], judge: LoadedModel, earlier: Sequence[Atoms]
) -> dict[int, str]:
    good = [index for index in range(len(atoms)) if ends[index].converged]
    labelled = [*earlier, *(ends[index].attach(atoms[index]) for index in good)]
    if not good:
        return {}
    found = find_energy_outliers(labelled, predict(judge, labelled))
    return {good[one.index - len(earlier)]: one.cause for one in found if one.index >= len(earlier)}


def _with_provenance(request: Request, label: Label, round: int) -> Atoms:
    labelled = label.attach(request.candidate.to_atoms())
    labelled.info["entrove_round"] = round
    if request.gain_nats is not None:
        labelled.info["entrove_gain_nats"] = request.gain_nats
    return labelled


def _row(request: Request, label: Label, round: int, from_cache: bool) -> LabelRow:
    candidate = request.candidate
    return LabelRow(
        purpose="validation" if candidate.pool == "validation" else "training",
        round=round,
        structure_hash=label.structure_hash,
        phase=candidate.phase,
        kind=candidate.kind,
        pool=candidate.pool,
        pressure_GPa=candidate.pressure_GPa,
        temperature_K=candidate.temperature_K,
        gain_nats=request.gain_nats,
        outcome=label.outcome.value,
        cause=label.cause,
        engine_seconds=label.engine_seconds,
        from_cache=from_cache,
    )
