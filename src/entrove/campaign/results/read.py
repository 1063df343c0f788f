"""Read what a campaign has found so far from its folder, and from nothing outside it.

Nothing is changed: no file is created, and the ledger is opened for reading only.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove import __version__, provenance
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.settled import read_settled
from entrove.campaign.journal.imports import imports_wait
from entrove.campaign.journal.ledger import Ledger, StageRecord
from entrove.campaign.journal.lock import is_held
from entrove.campaign.journal.outcomes import (
    Checked,
    Explored,
    Finished,
    Labelled,
    LabelRow,
    Relaxed,
    Selected,
    Trained,
    Validated,
)
from entrove.campaign.journal.progress import describe_place, read_progress
from entrove.campaign.journal.records import best_round, checks_of, label_rows
from entrove.campaign.results.labels import rows_in_progress
from entrove.campaign.results.pictured import read_pictured
from entrove.campaign.results.results import (
    CampaignResults,
    FingerprintMap,
    ModelErrors,
    Parity,
    PoolRow,
    RefusedModel,
    StateErrors,
)
from entrove.campaign.results.stage_times import stage_times
from entrove.campaign.results.states import NO_ENERGIES, errors_by_state
from entrove.campaign.workspace import Workspace, is_imported
from entrove.errors import CampaignError, StructureError
from entrove.labelling.labels import Outcome
from entrove.labelling.level_of_theory import LEVEL_FILE, LevelOfTheory, read_level
from entrove.labelling.store.import_records import count_labels
from entrove.provenance import provenance_of
from entrove.structures import (
    energy_of,
    forces_of,
    has_stress,
    is_readable,
    read_sample,
    read_structures,
    stress_of,
)
from entrove.units import EV_PER_A3_IN_GPA
from entrove.validation.comparison import Comparison, compare
from entrove.validation.errors_by_kind import ALL, ErrorTable
from entrove.validation.site_symmetry import counted_components
from entrove.validation.structure_errors import centre_by_composition

IMPORTS_WAIT = (
    "; labels were imported or withdrawn since: the next 'entrove run' trains again, or keeps "
    "another model"
)

MOST_SNAPSHOTS = 1000
"""Walker snapshots on the map of fingerprints, an even sample of all."""


def read_results(folder: str | Path, *, figures: bool = False) -> CampaignResults:
    """Read the results of a campaign, finished or not, also while it runs.

    Args:
        folder: The folder of the campaign, or a copy of it.
        figures: Also read what the figures of the report need: predictions, and the map of
            fingerprints, which are computed.

    Raises `CampaignError` when the folder holds no campaign, or one of a later version.
    """
    workspace = Workspace(Path(folder))
    if not workspace.holds_campaign():
        raise CampaignError(
            f"{folder}: holds no campaign (no {workspace.ledger.name}); "
            "give the folder that 'entrove run' wrote"
        )
    config = read_settled(workspace.config)
    ledger = Ledger(workspace.ledger, read_only=True)
    records = ledger.records()
    validations, selections = ledger.each(Validated), ledger.each(Selected)
    best = best_round(validations, config.validation)
    tables = _tables(validations, best)
    has_level = (workspace.label_work / LEVEL_FILE).is_file()
    level = read_level(workspace.label_work) if has_level else None
    unfinished = rows_in_progress(ledger, workspace, config.labelling)
    held_out = ledger.find(0, Labelled)
    labels = (*label_rows(ledger.each(Labelled)), *unfinished)
    imported = _count_imported(workspace)
    waits = _finish_of(records) is not None and _imports_wait(workspace, ledger, best)
    checked, last_checked = checks_of(records, best), _last_checked(ledger)
    own_level = level or LevelOfTheory.of(config.labelling.engine)
    in_cache = count_labels(config.labelling.cache or workspace.label_cache, own_level.hash)
    return CampaignResults(
        folder=workspace.folder,
        name=config.name,
        entrove_version=__version__,
        finished=_finish_of(records) is not None,
        verdict=_verdict(records, workspace, unfinished) + (IMPORTS_WAIT if waits else ""),
        rounds_done=max(validations, default=0),
        rounds_planned=config.stopping.rounds,
        level_of_theory=level.describe()
        if level
        else f"{config.labelling.engine.kind}, nothing labelled yet",
        level_of_theory_hash=level.hash if level else "",
        foundation_model=_describe_models(config),
        config_yaml=workspace.config.read_text(encoding="utf-8"),
        errors=tuple(
            row
            for round_index, table in tables.items()
            for row in _model_errors(table, round_index, config)
        ),
        comparison=_comparison(validations, best, config),
        test=_test_errors(_finish_of(records), config),
        test_comparison=_test_comparison(_finish_of(records), config),
        labels=labels,
        volumes=last_checked.volumes if last_checked else (),
        stages=stage_times(records, labels, config),
        parity=tuple(_parity(tables, best, workspace, config)) if figures else (),
        walkers=tuple(
            row for explored in ledger.each(Explored).values() for row in explored.walkers
        ),
        pools=tuple(
            PoolRow(round_index, pool, reserved, selected.picked_by_pool[pool])
            for round_index, selected in selections.items()
            for pool, reserved in selected.reserved_by_pool.items()
        ),
        next_gain_nats={index: selected.gain_nats for index, selected in selections.items()},
        fingerprint_map=_map(ledger, workspace, config) if figures else None,
        pictured=tuple(read_pictured(ledger, workspace)) if figures else (),
        best_round=best,
        states=tuple(_states(tables, best, workspace, config)) if figures else (),
        gains_nats={index: selected.gains_nats for index, selected in selections.items()},
        labels_per_round=config.selection.count,
        learnt={
            index: trained.labels
            for index, trained in ledger.each(Trained).items()
            if trained.labels is not None
        },
        imported=imported,
        imports_wait=waits,
        imported_not_trained_on=max(0, in_cache - imported),
        suite=checked.suite if checked else None,
        refused=None if best else _last_refused(ledger, workspace),
        choices={
            index: trained.choice
            for index, trained in ledger.each(Trained).items()
            if trained.choice is not None
        },
        kpoints=None if held_out is None else held_out.kpoints,
    )


def _last_refused(ledger: Ledger, workspace: Workspace) -> RefusedModel | None:
    """The last tuned model, of a campaign in which none is accepted."""
    last = max(ledger.each(Validated), default=0)
    trained = ledger.find(last, Trained) if last else None
    return None if trained is None else RefusedModel(last, workspace.folder / trained.checkpoint)


def _last_checked(ledger: Ledger) -> Checked | None:
    checked = ledger.each(Checked)
    return checked[max(checked)] if checked else None


def _count_imported(workspace: Workspace) -> int:
    """Number of imported labels that are trained on; 0 while a file of labels is damaged.

    The next run restores it. Without an import no label need be read.
    """
    if not workspace.imported.is_file() or not is_readable(workspace.dataset):
        return 0
    return sum(is_imported(atoms) for atoms in workspace.training_labels())


def _imports_wait(workspace: Workspace, ledger: Ledger, best: int) -> bool:
    """Whether imports wait for the next run; False while a damaged file of labels hides it."""
    last = max(ledger.each(Labelled), default=0)
    try:
        return imports_wait(workspace, ledger, {last, best})
    except StructureError:
        return False


def _model_title(round_index: int, config: CampaignConfig) -> str:
    """Return the name of the model of a round; 0 is the foundation model."""
    return config.model.name if round_index == 0 else f"{config.name}-round{round_index}"


def _describe_models(config: CampaignConfig) -> str:
    given = config.model.explore_with
    if given is None:
        return config.model.name
    explorers = given if isinstance(given, str) else ", ".join(given)
    return f"{config.model.name}, explored with {explorers}"


def _verdict(
    records: Sequence[StageRecord], workspace: Workspace, unfinished: Sequence[LabelRow]
) -> str:
    """Say how far a campaign is; `unfinished` are labels of a stage that has not ended."""
    finish, progress = _finish_of(records), read_progress(workspace.progress)
    if finish is not None:
        return finish.summary
    last = records[-1] if records else None
    where = (
        f"last finished: {describe_place(last.round, last.stage)}"
        if last
        else "nothing is finished yet"
    )
    if is_held(workspace.folder):
        return f"running now{f', {progress.describe()}' if progress else ''}; {where}"
    stopped_in = f" in {progress.describe()}" if progress else ""
    if unfinished and all(row.outcome != Outcome.CONVERGED for row in unfinished):
        release = f"'entrove labels {shlex.quote(str(workspace.folder))} --retry'"
        return (
            f"stopped{stopped_in}; {where}; no label is good: correct the cause, "
            f"release them with {release}, then 'entrove run' again"
        )
    return f"stopped{stopped_in}; {where}; the same 'entrove run' continues"


def _finish_of(records: Sequence[StageRecord]) -> StageRecord | None:
    """Return the end of the campaign, unless a stage was run after it."""
    return records[-1] if records and isinstance(records[-1].outcome, Finished) else None


def _compared(validations: Mapping[int, Validated], best: int) -> Validated | None:
    """The tuned model to compare with the untuned one: the best, or the latest without any."""
    latest = max(validations, default=0)
    return validations.get(best or latest) if latest else None


def _tables(validations: Mapping[int, Validated], best: int) -> dict[int, ErrorTable]:
    """The errors of each model; the untuned one as it is compared, if it is."""
    tables = {index: validated.table for index, validated in validations.items()}
    tuned = _compared(validations, best)
    if tuned is not None and tuned.untuned is not None:
        tables[0] = tuned.untuned
    elif 0 in tables and tables[0].reference_shifts_eV is None:
        tables[0] = _without_energies(tables[0])
    return tables


def _without_energies(table: ErrorTable) -> ErrorTable:
    """The errors of a model whose reference energies are not fitted: none of energies."""
    return replace(table, rows=tuple(replace(row, **NO_ENERGIES) for row in table.rows))


def _comparison(
    validations: Mapping[int, Validated], best: int, config: CampaignConfig
) -> Comparison | None:
    tuned = _compared(validations, best)
    if tuned is None or 0 not in validations:
        return None
    untuned = validations[0].table if tuned.untuned is None else tuned.untuned
    return compare(untuned, tuned.table, config.validation)


def _test_errors(end: StageRecord | None, config: CampaignConfig) -> tuple[ModelErrors, ...]:
    if end is None or not isinstance(end.outcome, Finished) or end.outcome.test is None:
        return ()
    tables = {0: end.outcome.untuned_test, end.outcome.model_round: end.outcome.test}
    return tuple(
        row
        for round_index, table in tables.items()
        if table is not None
        for row in _model_errors(table, round_index, config)
    )


def _test_comparison(end: StageRecord | None, config: CampaignConfig) -> Comparison | None:
    if end is None or not isinstance(end.outcome, Finished):
        return None
    if end.outcome.test is None or end.outcome.untuned_test is None:
        return None
    return compare(end.outcome.untuned_test, end.outcome.test, config.validation)


def _model_errors(
    table: ErrorTable, round_index: int, config: CampaignConfig
) -> list[ModelErrors]:
    """Return the errors of a model; a single phase is left out where it equals all phases."""
    one_phase = len({row.phase for row in table.rows} - {ALL}) == 1
    return [
        ModelErrors(round_index, _model_title(round_index, config), row)
        for row in table.rows
        if not (one_phase and (row.phase == ALL) != (row.kind == ALL))
    ]


def _parity(
    tables: Mapping[int, ErrorTable], best: int, workspace: Workspace, config: CampaignConfig
) -> list[Parity]:
    if not tables:
        return []
    reference = workspace.validation_labels()
    compared = {index: tables[index] for index in sorted({min(tables), best or max(tables)})}
    return [
        _compare(
            reference,
            read_structures(workspace.round(round_index).validation_predictions),
            round_index,
            _model_title(round_index, config),
            {} if round_index else table.reference_shifts_eV,
        )
        for round_index, table in compared.items()
    ]


def _states(
    tables: Mapping[int, ErrorTable], best: int, workspace: Workspace, config: CampaignConfig
) -> list[StateErrors]:
    """Errors by state, of the untuned model and the best one, or the latest where none is best."""
    if not tables:
        return []
    reference = workspace.validation_labels()
    return [
        row
        for index in sorted({min(tables), best or max(tables)})
        for row in errors_by_state(
            reference,
            read_structures(workspace.round(index).validation_predictions),
            {} if index else tables[index].reference_shifts_eV,
            round_index=index,
            model=_model_title(index, config),
        )
    ]


def _compare(
    reference: Sequence[Atoms],
    predicted: Sequence[Atoms],
    round_index: int,
    model: str,
    shifts_eV: Mapping[str, float] | None,
) -> Parity:
    sizes = np.array([len(atoms) for atoms in reference])
    energy = _energies(reference) / sizes
    shifts = np.array(
        [
            sum((shifts_eV or {}).get(symbol, 0.0) for symbol in atoms.symbols)
            for atoms in reference
        ]
    )
    error = (_energies(predicted) + shifts) / sizes - energy
    if shifts_eV is None:
        error = centre_by_composition(reference, error)
    energy = energy - energy.mean()
    return Parity(
        round=round_index,
        model=model,
        phases=np.array([str(provenance_of(atoms)[provenance.PHASE]) for atoms in reference]),
        kinds=np.array([str(provenance_of(atoms)[provenance.KIND]) for atoms in reference]),
        reference_energy_eV_per_atom=energy,
        predicted_energy_eV_per_atom=energy + error,
        reference_forces_eV_per_A=_counted_forces(reference),
        predicted_forces_eV_per_A=_forces(predicted),
        reference_stress_GPa=_stress_GPa(reference),
        predicted_stress_GPa=_stress_GPa(predicted),
        atom_counts=sizes,
        energy_is_centred=shifts_eV is None,
    )


def _energies(structures: Sequence[Atoms]) -> np.ndarray:
    return np.array([energy_of(atoms) for atoms in structures])


def _forces(structures: Sequence[Atoms]) -> np.ndarray:
    return np.concatenate([forces_of(atoms).ravel() for atoms in structures])


def _counted_forces(reference: Sequence[Atoms]) -> np.ndarray:
    """Forces of the labels; NaN, which is not drawn, where they vanish by symmetry."""
    forces = [
        np.where(counted_components(atoms), forces_of(atoms), np.nan).ravel()
        for atoms in reference
    ]
    return np.concatenate(forces)


def _stress_GPa(structures: Sequence[Atoms]) -> np.ndarray:
    """Six numbers per structure; NaN, which is not drawn, where a label has no stress."""
    stresses = [stress_of(atoms) if has_stress(atoms) else [np.nan] * 6 for atoms in structures]
    return np.concatenate(stresses) * EV_PER_A3_IN_GPA


def _map(ledger: Ledger, workspace: Workspace, config: CampaignConfig) -> FingerprintMap | None:
    if ledger.find(0, Relaxed) is None:
        return None
    groups: list[tuple[str, int, list[Atoms]]] = [
        ("seed", 0, read_structures(workspace.round(0).relaxed))
    ]
    rounds = list(ledger.each(Selected))
    for round_index in rounds:
        files = workspace.round(round_index)
        snapshots = read_sample(files.candidates, max(1, MOST_SNAPSHOTS // len(rounds)))
        groups.append(("walker", round_index, snapshots))
        selected = read_structures(files.selected, may_be_empty=True)
        if selected:
            groups.append(("selected", round_index, selected))
    # Imported here because it loads torch, which `entrove status` does not need.
    from entrove.campaign.results.fingerprint_map import draw_map

    return draw_map(groups, config.fingerprint)
