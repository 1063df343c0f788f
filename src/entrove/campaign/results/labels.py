"""The labels of a campaign: in its own cache or a shared one, and in the engine's folders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from entrove.campaign.configuration.settled import read_settled
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Checked, Labelled, LabelRow
from entrove.campaign.journal.records import label_keys_in, label_rows
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.labelling.attempt import AttemptFolder, AttemptResult
from entrove.labelling.config import LabellingConfig
from entrove.labelling.labels import Outcome
from entrove.labelling.retries import plan_next_attempt
from entrove.labelling.sanity import find_implausible_value
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.structures import content_hash, read_structures


@dataclass(frozen=True)
class CampaignLabels:
    """The labels of a campaign.

    Attributes:
        folder: The folder of the campaign.
        cache: Its cache of labels, which other campaigns may share.
        work_folder: The folder of its engine's files.
        structure_hashes: Content hashes of the structures that it has sent to the engine.
        finished: Keys of the good labels that it has taken, and not withdrawn since.
    """

    folder: Path
    cache: LabelCache
    work_folder: Path
    structure_hashes: frozenset[str]
    finished: frozenset[str]


def rows_in_progress(
    ledger: Ledger, workspace: Workspace, config: LabellingConfig
) -> list[LabelRow]:
    """Return the outcomes so far of a stage that labels and has not finished.

    It may run now, or have stopped because no label was good. They are read from the folders of
    the engine; attempts that will be followed by another one do not count.
    """
    rows: list[LabelRow] = []
    seen: set[str] = set()
    for round_index, path in _asked(workspace):
        if ledger.find(round_index, Labelled) is not None:
            continue
        for candidate in read_candidates(path) if path.is_file() else []:
            structure_hash = content_hash(candidate.atoms)
            for folder in AttemptFolder.of_all_states(workspace.label_work, structure_hash):
                results = [result for _, result in folder.results()]
                final = results and _is_final(results, config, len(candidate.atoms))
                if final and folder.key not in seen:
                    seen.add(folder.key)
                    row = _row(candidate, results, round_index, structure_hash, config)
                    key = "" if folder.key == structure_hash else folder.key
                    rows.append(replace(row, label_key=key))
    return rows


def _asked(workspace: Workspace) -> list[tuple[int, Path]]:
    """The files with the structures that each round sends to the engine."""
    rounds = [(files.number, files.selected) for files in workspace.existing_rounds()]
    return [(0, workspace.round(0).hold_out), *(entry for entry in rounds if entry[0])]


def _checked(results: Sequence[AttemptResult], config: LabellingConfig, atoms: int) -> str:
    """The cause that a converged last result is rejected for, if any."""
    if results[-1].outcome is not Outcome.CONVERGED:
        return ""
    return find_implausible_value(results[-1], atoms, config.sanity) or ""


def _is_final(results: Sequence[AttemptResult], config: LabellingConfig, atoms: int) -> bool:
    cause = _checked(results, config, atoms)
    last = replace(results[-1], outcome=Outcome.REJECTED, cause=cause) if cause else results[-1]
    following = plan_next_attempt(
        [*results[:-1], last],
        rungs=config.engine.rungs,
        max_attempts=config.max_attempts,
        time_limit_s=config.time_limit_s,
        longer_try_factor=config.longer_try_factor,
    )
    return following is None


def _row(
    candidate: Candidate,
    results: Sequence[AttemptResult],
    round_index: int,
    structure_hash: str,
    config: LabellingConfig,
) -> LabelRow:
    cause = _checked(results, config, len(candidate.atoms))
    return LabelRow(
        purpose=candidate.purpose,
        round=round_index,
        structure_hash=structure_hash,
        phase=candidate.phase,
        kind=candidate.kind,
        pool=candidate.pool,
        pressure_GPa=candidate.pressure_GPa,
        temperature_K=candidate.temperature_K,
        gain_nats=None,
        outcome=Outcome.REJECTED.value if cause else results[-1].outcome.value,
        cause=cause or results[-1].cause,
        engine_seconds=sum(result.engine_seconds for result in results),
        from_cache=False,
    )


def open_labels(folder: Path, *, read_only: bool = False) -> CampaignLabels:
    """Open the label cache of a campaign; the caller closes it.

    Args:
        folder: The folder of the campaign.
        read_only: Nothing is changed, in a folder that may be read-only.

    Raises `CampaignError` when the folder holds no campaign.
    """
    workspace = Workspace(Path(folder).resolve())
    if not workspace.holds_campaign():
        raise CampaignError(
            f"{folder}: holds no campaign; give the folder that 'entrove run' wrote"
        )
    config = read_settled(workspace.config)
    hashes = {
        content_hash(atoms)
        for _, path in _asked(workspace)
        for atoms in read_structures(path, may_be_empty=True)
    }
    ledger = Ledger(workspace.ledger, read_only=True)
    volumes = [row for found in ledger.each(Checked).values() for row in found.volumes]
    hashes |= {row.structure_hash for row in volumes}
    # The next run restores a damaged one.
    taken = label_keys_in(workspace.dataset, workspace.validation, workspace.test)
    taken |= {row.key for row in volumes}
    finished = {
        row.key
        for row in (*label_rows(ledger.each(Labelled)), *volumes)
        if row.outcome == Outcome.CONVERGED and row.key in taken
    }
    return CampaignLabels(
        workspace.folder,
        LabelCache(config.labelling.cache or workspace.label_cache, read_only=read_only),
        workspace.label_work,
        frozenset(hashes),
        frozenset(finished),
    )
