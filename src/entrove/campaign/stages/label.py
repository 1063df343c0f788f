"""Label structures, reject labels that are outliers, and record the outcome of each."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ase import Atoms

from entrove import provenance
from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.outcomes import Labelled, LabelRow, Selected
from entrove.campaign.journal.records import lost_labels, quarantined
from entrove.campaign.stages.check_stress import check_forces
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.first_labels import FirstLabels, label_first
from entrove.campaign.stages.imported import drop_imported
from entrove.campaign.stages.moments import with_seed_moments
from entrove.campaign.workspace import Workspace, is_imported
from entrove.errors import CampaignError
from entrove.labelling.engines.base import Engine
from entrove.labelling.kpoint_check import KpointComparison
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory, require_one_level
from entrove.labelling.outliers import OutlierLimits, find_energy_outliers
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.moments import (
    LabelledStates,
    copy_moments,
    key_of,
    magnetic_state,
    short_key,
)
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.structures import content_hash, read_structures, write_structures


@dataclass(frozen=True)
class Request:
    """A structure to label.

    Attributes:
        candidate: The structure.
        gain_nats: Its expected gain in nats; None for validation structures.
        explored_in: The round that explored and picked it; None: that which labels it.
    """

    candidate: Candidate
    gain_nats: float | None = None
    explored_in: int | None = None


@dataclass(frozen=True)
class LabelledSet:
    """Structures with good labels, in the order of the requests, and a row for each request.

    `withdrawn` and `doubtful` are labels of earlier rounds that turned out to be outliers, by
    `LabelRow.key`, with the cause. The former are training labels, which are removed; the latter
    belong to the validation or test set, which stays as it is, so that errors of all rounds are
    comparable. `checked` is what the comparison of stress and energies has found, and `kpoints`
    that with denser k-points.
    """

    structures: list[Atoms]
    rows: list[LabelRow]
    withdrawn: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    checked: str = ""
    kpoints: KpointComparison | None = None

    def outcome(self) -> Labelled:
        """Return what the ledger keeps of these labels."""
        converged, asked = len(self.structures), len(self.rows)
        summary = f"{converged} labels"
        if asked and not converged:
            summary = (
                f"none of the {asked} structures could be labelled, all of them are in quarantine "
                f"({_first_causes(self.rows)})"
            )
        elif converged < asked:
            summary += f", {asked - converged} of {asked} quarantined"
        cached = sum(row.from_cache for row in self.rows)
        if cached:
            summary += f", {cached} known before"
        if self.withdrawn:
            summary += f"; of earlier rounds withdrawn: {_list_causes(self.withdrawn)}"
        if self.doubtful:
            summary += f"; warning: doubtful in the validation set: {_list_causes(self.doubtful)}"
        if self.checked:
            summary += f"; {self.checked}"
        return Labelled(
            summary=summary,
            labels=tuple(self.rows),
            withdrawn=self.withdrawn,
            kpoints=self.kpoints,
        )


@dataclass(frozen=True)
class EarlierLabels:
    """Good labels of the rounds before."""

    training: Sequence[Atoms] = ()
    held_out: Sequence[Atoms] = ()


def label_hold_out(run: CampaignRun, round_index: int) -> Labelled:
    """Label validation and test set; raises `CampaignError` when no label is good."""
    candidates = read_candidates(run.files.round(round_index).hold_out)
    requests = [Request(candidate) for candidate in candidates]
    labelled = label_requests(run, requests, round_index, EarlierLabels(), check_first=True)
    require_labels(labelled, "validation", run)
    forces = check_forces(run.config.labelling, labelled.structures)
    labelled = replace(labelled, checked="; ".join(filter(None, (labelled.checked, forces))))
    for part, path in (("validation", run.files.validation), ("test", run.files.test)):
        found = [atoms for atoms in labelled.structures if atoms.info[provenance.POOL] == part]
        if part == "validation" and not found:
            raise CampaignError(
                "no structure of the validation set could be labelled; see the causes with "
                f"'{_labels_command(run)}', {_retry(run)}"
            )
        if found or path.exists():
            write_structures(path, found)
    return labelled.outcome()


def label_picked(run: CampaignRun, round_index: int) -> Labelled:
    """Label the structures that the round has picked, and picks of earlier rounds without a label.

    The latter were released from quarantine since, or their label came with an import that was
    withdrawn. Picks that were imported meanwhile are picks, with their labels from the cache.
    Raises `CampaignError` when there is no good training label, of earlier rounds and imports
    either.
    """
    selected = run.ledger.find(round_index, Selected)
    assert selected is not None  # labelling follows the selection
    candidates = read_candidates(run.files.round(round_index).selected)
    requests = [
        Request(candidate, gain)
        for candidate, gain in zip(candidates, selected.gains_nats, strict=True)
    ]
    labellings = {
        index: found
        for index, found in run.ledger.each(Labelled).items()
        if 0 < index < round_index
    }
    requests += released_requests(run.campaign, labellings)
    earlier = run.files.training_labels(before=round_index)
    computed = {key_of(atoms) for atoms in earlier if not is_imported(atoms)}
    asked = with_seed_moments(run.campaign, [request.candidate for request in requests])
    requests = [
        request
        for request, atoms in zip(requests, asked, strict=True)
        if key_of(atoms) not in computed
    ]
    labelled = label_requests(
        run, requests, round_index, EarlierLabels(earlier, run.files.held_out_labels())
    )
    picked = LabelledStates(labelled.structures)
    kept = [
        atoms
        for atoms in earlier
        if key_of(atoms) not in labelled.withdrawn
        and not (is_imported(atoms) and picked.have(atoms))
    ]
    if not kept:
        require_labels(labelled, "picked", run)
    withdrawn_before = _withdrawn_before(run, labellings)
    drop_imported(run.files, labelled.withdrawn)
    write_structures(run.files.dataset, kept + labelled.structures)
    return replace(labelled, withdrawn=withdrawn_before | labelled.withdrawn).outcome()


def _withdrawn_before(run: CampaignRun, labellings: Mapping[int, Labelled]) -> dict[str, str]:
    """Labels that this round withdrew before it was interrupted, or repeated.

    The dataset has lost them by then, and the ledger does not say why; the cache does.
    """
    lost = {row.key for row in lost_labels(run.files, labellings)}
    if not lost:
        return {}
    level = LevelOfTheory.of(run.config.labelling.engine)
    with LabelCache(run.campaign.label_cache) as cache:
        states = cache.states(level)
    return {
        state.key: state.cause
        for state in states
        if state.key in lost and state.outcome is Outcome.REJECTED
    }


def label_requests(
    run: CampaignRun,
    requests: Sequence[Request],
    round_index: int,
    earlier: EarlierLabels,
    *,
    check_first: bool = False,
) -> LabelledSet:
    """Label structures; labels that were finished before an interruption come from the cache.

    Labels whose energy differs too much from that of the foundation model are rejected. All labels
    of the campaign are examined together, so that those of a round with too few labels for this
    test are examined in a later round. With `check_first` two volumes and a hot snapshot of each
    phase are labelled before all others: the stress of the former is compared with -dE/dV, the
    latter with its label at denser k-points.
    """
    config, campaign, listener = run.config.labelling, run.campaign, run.listener
    atoms = with_seed_moments(campaign, [request.candidate for request in requests])
    labels: dict[int, Label] = {}
    with (
        LabelCache(campaign.label_cache) as cache,
        Labeller(config, cache, campaign.workspace.label_work) as labeller,
    ):
        _store_own(cache, campaign.workspace, config.engine)
        known = sum(cache.is_labelled(structure, labeller.level) for structure in atoms)
        if known:
            listener.resumed(known)
        first = FirstLabels()
        if check_first:
            first = label_first(
                labeller,
                [each.candidate for each in requests],
                atoms,
                run.files.denser_label_work,
            )
        for index, label in labeller.label(atoms):
            labels[index] = label
            failed = sum(not finished.converged for finished in labels.values())
            listener.advanced(len(labels), len(atoms), f"{failed} failed" if failed else "")
        good = [index for index in range(len(atoms)) if labels[index].converged]
        new = [labels[index].attach(atoms[index]) for index in good]
        examined = [*earlier.held_out, *earlier.training, *new]
        causes = _outliers(examined, run.models.foundation, config.outliers)
        for index in good:
            if cause := causes.get(key_of(atoms[index])):
                labels[index] = replace(labels[index], outcome=Outcome.REJECTED, cause=cause)
        doubtful = _among(causes, earlier.held_out)
        by_key = {key_of(structure): structure for structure in examined}
        for key in causes.keys() - doubtful.keys():
            cache.reject(
                content_hash(by_key[key]),
                labeller.level,
                causes[key],
                moments=magnetic_state(by_key[key]),
            )
    structures, rows = [], []
    for index, request in enumerate(requests):
        label = labels[index]
        rows.append(label_row(run, request, label, round_index, key_of(atoms[index])))
        if label.converged:
            structures.append(_with_provenance(request, label, round_index, atoms[index]))
    require_one_level([*earlier.training, *structures], labeller.level)
    withdrawn = _among(causes, earlier.training)
    return LabelledSet(structures, rows, withdrawn, doubtful, first.checked, first.kpoints)


def released_requests(
    campaign: CheckedCampaign, labellings: Mapping[int, Labelled]
) -> list[Request]:
    """Return the structures of some rounds that are to be labelled again, by what the user did.

    They were released from quarantine: the ledger has them there, the cache has not. Or their
    imported label was withdrawn: the ledger has a training label that dataset and cache have not.
    Structures that a run labelled again before it was interrupted are among them.
    """
    lost = {row.key for row in lost_labels(campaign.workspace, labellings) if row.round}
    failed = quarantined(labellings) | lost
    if not failed:
        return []
    explored_in, candidates = [], []
    for round_index in labellings:
        of_round = read_candidates(_structures_asked(campaign.workspace, round_index))
        candidates += of_round
        explored_in += [round_index] * len(of_round)
    level = LevelOfTheory.of(campaign.config.labelling.engine)
    released: list[Request] = []
    with LabelCache(campaign.label_cache) as cache:
        asked = with_seed_moments(campaign, candidates)
        for candidate, round_index, atoms in zip(candidates, explored_in, asked, strict=True):
            # Ledgers of release 0.1 have the content hash, without a magnetic state.
            if not {key_of(atoms), content_hash(atoms)} & failed:
                continue
            label = cache.get(atoms, level)
            if label is None or label.converged:
                released.append(Request(candidate, explored_in=round_index))
    return released


def require_labels(labelled: LabelledSet, what: str, run: CampaignRun) -> None:
    """Raise `CampaignError` when nothing could be labelled, with the first causes."""
    if not labelled.structures:
        raise CampaignError(
            f"none of the {len(labelled.rows)} {what} structures could be labelled "
            f"({_first_causes(labelled.rows)}); " + _retry(run)
        )


def _first_causes(rows: Sequence[LabelRow]) -> str:
    return "; ".join(sorted({row.cause for row in rows})[:3])


def _labels_command(run: CampaignRun) -> str:
    return f"entrove labels {shlex.quote(str(run.files.folder))}"


def _retry(run: CampaignRun) -> str:
    """Say what helps where no label is good."""
    return (
        "correct what fails (command, environment, data files, max_scf_steps, time_limit_s), "
        f"release the structures with '{_labels_command(run)} --retry', then run "
        "again; with other settings of the engine begin a new folder (--folder)"
    )


def _structures_asked(files: Workspace, round_index: int) -> Path:
    """Return the file of the structures that a round sends to the engine."""
    return files.round(round_index).selected if round_index else files.round(0).hold_out


def _list_causes(causes: dict[str, str]) -> str:
    return "; ".join(f"{short_key(key)} ({cause})" for key, cause in causes.items())


def _outliers(
    labelled: Sequence[Atoms], model: LoadedModel, limits: OutlierLimits
) -> dict[str, str]:
    """Return `LabelRow.key` and cause of every outlier, compared with predictions of a model.

    The test is repeated until it finds none, so that a run that is killed between two rejections
    and continued ends with the same set.
    """
    if len(labelled) < limits.min_labels:
        return {}
    predicted, causes, left = predict(model, labelled), {}, list(range(len(labelled)))
    while found := find_energy_outliers(
        [labelled[index] for index in left], [predicted[index] for index in left], limits
    ):
        causes |= {key_of(labelled[left[outlier.index]]): outlier.cause for outlier in found}
        dropped = {left[outlier.index] for outlier in found}
        left = [index for index in left if index not in dropped]
    return causes


def _among(causes: dict[str, str], structures: Sequence[Atoms]) -> dict[str, str]:
    keys = [key_of(atoms) for atoms in structures]
    return {key: causes[key] for key in keys if key in causes}


def _store_own(cache: LabelCache, files: Workspace, engine: Engine) -> None:
    """Put the labels of this campaign into the cache, which may be another one than before."""
    level = LevelOfTheory.of(engine)
    for path in (files.validation, files.test, files.dataset):
        for atoms in read_structures(path, may_be_empty=True):
            known = cache.knows(atoms, level)
            if atoms.info[provenance.LEVEL_OF_THEORY] == level.hash and not known:
                cache.put(
                    atoms,
                    Label.from_atoms(atoms),
                    level,
                    electrons=engine.electrons(atoms),
                    kpoints=engine.kpoints(atoms),
                    state_is_known=False,
                )


def _with_provenance(request: Request, label: Label, round_index: int, asked: Atoms) -> Atoms:
    labelled = label.attach(request.candidate.to_atoms())
    copy_moments(asked, labelled)
    labelled.info[provenance.ROUND] = round_index
    if request.explored_in not in (None, round_index):
        labelled.info[provenance.EXPLORED_IN] = request.explored_in
    if request.gain_nats is not None:
        labelled.info[provenance.GAIN] = request.gain_nats
    return labelled


def label_row(
    run: CampaignRun, request: Request, label: Label, round_index: int, key: str
) -> LabelRow:
    """Return what the ledger keeps of a label; `key` is that of `key_of`."""
    candidate = request.candidate
    # The campaign's own cache holds labels that were imported (without any attempt) and those
    # that the campaign computed itself before an interruption. Labels in a shared cache that
    # are older than the campaign were computed by another one.
    is_shared = run.config.labelling.cache is not None
    from_cache = label.attempts == 0 or (is_shared and label.started_utc < run.ledger.created_utc)
    return LabelRow(
        purpose=candidate.purpose,
        round=round_index,
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
        label_key="" if key == label.structure_hash else key,
    )
