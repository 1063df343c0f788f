"""Label structures, judge the labels, and remember for each what became of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.ledger import StageRecord
from entrove.campaign.journal.progress import ProgressListener
from entrove.campaign.journal.records import quarantined
from entrove.campaign.journal.runner import StageOutcome
from entrove.campaign.results.results import LabelRow
from entrove.campaign.workspace import Workspace
from entrove.labelling.engines.base import Engine
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory, require_one_level
from entrove.labelling.outliers import OutlierLimits, find_energy_outliers
from entrove.labelling.store.cache import LabelCache
from entrove.models.loaded import LoadedModel
from entrove.models.predict import predict
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.structures import content_hash, read_structures


@dataclass(frozen=True)
class Request:
    """A structure to label, and what the selection expected of it (None for validation structures)."""

    candidate: Candidate
    gain_nats: float | None = None


@dataclass(frozen=True)
class LabelledSet:
    """Structures with good labels, in the order of the requests, and a row for each request.

    Labels of earlier rounds that turned out to be outliers, by content hash with the cause: `withdrawn`
    ones are training labels, `doubtful` ones belong to the validation set, which stays as it is.
    """

    structures: list[Atoms]
    rows: list[LabelRow]
    withdrawn: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EarlierLabels:
    """Good labels of the rounds before."""

    training: Sequence[Atoms] = ()
    validation: Sequence[Atoms] = ()


def cache_path(campaign: CheckedCampaign) -> Path:
    """The label cache: the configuration's shared one, or the campaign's own."""
    return campaign.config.labelling.cache or campaign.workspace.label_cache


def label_requests(
    campaign: CheckedCampaign,
    requests: Sequence[Request],
    round: int,
    judge: LoadedModel,
    earlier: EarlierLabels,
    created_utc: str,
    listener: ProgressListener,
) -> LabelledSet:
    """Label; what was finished before an interruption comes from the cache.

    Labels whose energy is far from what `judge` allows are rejected; all labels of the campaign so far are
    judged together, so that those that were too few to be judged in their own round are judged now.
    `created_utc` is when the campaign began: older labels of a shared cache count as found, not paid.
    """
    config = campaign.config.labelling
    atoms = [request.candidate.atoms for request in requests]
    ends: dict[int, Label] = {}
    with (
        LabelCache(cache_path(campaign)) as cache,
        Labeller(config, cache, campaign.workspace.label_work) as labeller,
    ):
        _remember_own(cache, campaign.workspace, config.engine)
        known = sum(cache.get(one, labeller.level) is not None for one in atoms)
        if known:
            listener.resumed(known)
        for index, label in labeller.label(atoms):
            ends[index] = label
            failed = sum(not one.converged for one in ends.values())
            listener.advanced(len(ends), len(atoms), f"{failed} failed" if failed else "")
        good = [index for index in range(len(atoms)) if ends[index].converged]
        new = [ends[index].attach(atoms[index]) for index in good]
        causes = _outliers([*earlier.validation, *earlier.training, *new], judge, config.outliers)
        for index in good:
            if cause := causes.get(ends[index].structure_hash):
                ends[index] = replace(ends[index], outcome=Outcome.REJECTED, cause=cause)
        doubtful = _among(causes, earlier.validation)
        for structure_hash in causes.keys() - doubtful.keys():
            cache.reject(structure_hash, labeller.level, causes[structure_hash])
    structures, rows = [], []
    for index, request in enumerate(requests):
        label = ends[index]
        # In a cache of its own a campaign finds only what was imported (no attempt was made), and what it
        # paid for itself before an interruption.
        from_cache = label.attempts == 0 or (
            config.cache is not None and label.started_utc < created_utc
        )
        rows.append(_row(request, label, round, from_cache))
        if label.converged:
            structures.append(_with_provenance(request, label, round))
    require_one_level([*earlier.training, *structures], labeller.level)
    return LabelledSet(structures, rows, _among(causes, earlier.training), doubtful)


def released_requests(campaign: CheckedCampaign, stages: Sequence[StageRecord]) -> list[Request]:
    """Structures that `stages` have in quarantine and the cache has not: a person released them.

    What was labelled again since, by a run that was interrupted, is among them.
    """
    files, failed = campaign.workspace, quarantined(stages)
    if not failed:
        return []
    asked = [
        files.in_round(record.round, "selected.xyz" if record.round else "hold_out.xyz")
        for record in stages
        if record.stage == "label"
    ]
    candidates = [
        one for path in asked for one in read_candidates(path) if content_hash(one.atoms) in failed
    ]
    level = LevelOfTheory.of(campaign.config.labelling.engine)
    with LabelCache(cache_path(campaign)) as cache:
        labels = [cache.get(one.atoms, level) for one in candidates]
    return [
        Request(one)
        for one, label in zip(candidates, labels, strict=True)
        if label is None or label.converged
    ]


def outcome_of(labelled: LabelledSet) -> StageOutcome:
    """Say how a set of labels ended."""
    converged, asked = len(labelled.structures), len(labelled.rows)
    summary = f"{converged} labels"
    if converged < asked:
        summary += f", {asked - converged} of {asked} quarantined"
    cached = sum(row.from_cache for row in labelled.rows)
    if cached:
        summary += f", {cached} known before"
    if labelled.withdrawn:
        summary += f"; of earlier rounds withdrawn: {_in_words(labelled.withdrawn)}"
    if labelled.doubtful:
        summary += f"; warning: doubtful in the validation set: {_in_words(labelled.doubtful)}"
    return StageOutcome(
        summary,
        {
            "labels": [asdict(row) for row in labelled.rows],
            "withdrawn": labelled.withdrawn,
            "doubtful": labelled.doubtful,
        },
    )


def _in_words(causes: dict[str, str]) -> str:
    return "; ".join(
        f"{structure_hash[:10]} ({cause})" for structure_hash, cause in causes.items()
    )


def _outliers(
    labelled: Sequence[Atoms], judge: LoadedModel, limits: OutlierLimits
) -> dict[str, str]:
    """Content hash and cause of every outlier.

    Judged until none is left: a run that was killed between two rejections then ends with the same set.
    """
    if len(labelled) < limits.min_labels:
        return {}
    predicted, causes, left = predict(judge, labelled), {}, list(range(len(labelled)))
    while found := find_energy_outliers(
        [labelled[index] for index in left], [predicted[index] for index in left], limits
    ):
        causes |= {content_hash(labelled[left[one.index]]): one.cause for one in found}
        dropped = {left[one.index] for one in found}
        left = [index for index in left if index not in dropped]
    return causes


def _among(causes: dict[str, str], structures: Sequence[Atoms]) -> dict[str, str]:
    hashes = [content_hash(atoms) for atoms in structures]
    return {one: causes[one] for one in hashes if one in causes}


def _remember_own(cache: LabelCache, files: Workspace, engine: Engine) -> None:
    """Tell the cache the labels that this campaign holds already: it may be another cache than before."""
    level = LevelOfTheory.of(engine)
    for path in (files.validation, files.dataset):
        for atoms in read_structures(path) if path.exists() and path.stat().st_size else ():
            if (
                atoms.info["entrove_level_of_theory"] == level.hash
                and cache.get(atoms, level) is None
            ):
                label = Label.from_atoms(atoms)
                cache.put(
                    atoms,
                    label,
                    level,
                    electrons=engine.electrons(atoms),
                    kpoints=engine.kpoints(atoms),
                )


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
