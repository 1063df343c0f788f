"""Read what a campaign has found so far from its folder, and from nothing outside it; nothing is changed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove import __version__
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.settled import read_settled
from entrove.campaign.journal.ledger import Ledger, StageRecord
from entrove.campaign.journal.lock import is_held
from entrove.campaign.journal.records import best_round, error_rows, label_rows
from entrove.campaign.journal.runner import FINISH
from entrove.campaign.results.results import (
    CampaignResults,
    ErrorRow,
    FingerprintMap,
    Parity,
    PoolRow,
    StageTime,
    WalkerRow,
)
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.labelling.level_of_theory import LEVEL_FILE, read_level
from entrove.structures import read_structures
from entrove.units import EV_PER_A3_IN_GPA
from entrove.validation.errors_by_kind import centre_by_composition


def read_results(folder: Path, *, figures: bool = False) -> CampaignResults:
    """Read the campaign in `folder`, finished or not.

    With `figures` also what the figures of the report need: predictions, and fingerprints for the map, which
    are computed. Raises `CampaignError` when the folder holds no campaign.
    """
    workspace = Workspace(Path(folder))
    if not workspace.ledger.is_file() or not workspace.config.is_file():
        raise CampaignError(
            f"{folder}: holds no campaign (no {workspace.ledger.name}); give the folder that 'entrove run' filled"
        )
    config = read_settled(workspace.config)
    stages = Ledger(workspace.ledger).stages()
    level = (
        read_level(workspace.label_work) if (workspace.label_work / LEVEL_FILE).is_file() else None
    )
    rounds_done = max((record.round for record in stages if record.stage == "validate"), default=0)
    return CampaignResults(
        folder=workspace.folder,
        name=config.name,
        entrove_version=__version__,
        finished=_finish_of(stages) is not None,
        verdict=_verdict(stages, is_held(workspace.folder)),
        rounds_done=rounds_done,
        rounds_planned=config.stopping.rounds,
        level_of_theory=level.describe()
        if level
        else f"{config.labelling.engine.kind}, nothing labelled yet",
        level_of_theory_hash=level.hash if level else "",
        foundation_model=_models_in_words(config),
        config_yaml=workspace.config.read_text(encoding="utf-8"),
        errors=tuple(_errors(stages, config)),
        labels=tuple(label_rows(stages)),
        stages=tuple(
            StageTime(record.round, record.stage, record.seconds, record.summary)
            for record in stages
        ),
        parity=tuple(_parity(stages, workspace, config)) if figures else (),
        walkers=tuple(
            WalkerRow(**row) for record in stages for row in record.payload.get("walkers", ())
        ),
        pools=tuple(row for record in stages for row in _pools(record)),
        next_gain_nats={
            record.round: record.payload["gain_nats"]
            for record in stages
            if record.stage == "select"
        },
        fingerprint_map=_map(stages, workspace, config) if figures else None,
        best_round=best_round(stages),
    )


def _model_title(round: int, config: CampaignConfig) -> str:
    """Name the model of a round; 0 is the foundation model."""
    return config.model.name if round == 0 else f"{config.name}-round{round}"


def _pools(record: StageRecord) -> list[PoolRow]:
    reserved = record.payload.get("reserved_by_pool", {})
    picked = record.payload.get("picked_by_pool", {})
    return [PoolRow(record.round, pool, places, picked[pool]) for pool, places in reserved.items()]


def _models_in_words(config: CampaignConfig) -> str:
    given = config.model.explore_with
    if given is None:
        return config.model.name
    return f"{config.model.name}, explored with {given if isinstance(given, str) else ', '.join(given)}"


def _verdict(stages: Sequence[StageRecord], is_running: bool) -> str:
    finish = _finish_of(stages)
    if finish is not None:
        return finish.summary
    last = stages[-1] if stages else None
    where = (
        f"last finished: round {last.round}, {last.stage}" if last else "nothing is finished yet"
    )
    return (
        f"running now; {where}"
        if is_running
        else f"stopped; {where}; the same 'entrove run' continues"
    )


def _finish_of(stages: Sequence[StageRecord]) -> StageRecord | None:
    """The end of the campaign; one that anything was done after does not count."""
    return stages[-1] if stages and stages[-1].stage == FINISH else None


def _errors(stages: Sequence[StageRecord], config: CampaignConfig) -> list[ErrorRow]:
    return [
        row
        for record in stages
        if record.stage == "validate"
        for row in error_rows(record.payload, record.round, _model_title(record.round, config))
    ]


def _parity(
    stages: Sequence[StageRecord], workspace: Workspace, config: CampaignConfig
) -> list[Parity]:
    rounds = [record.round for record in stages if record.stage == "validate"]
    if not rounds:
        return []
    reference = read_structures(workspace.validation)
    return [
        _compare(
            reference,
            read_structures(workspace.in_round(round, "validation_predictions.xyz")),
            round,
            _model_title(round, config),
        )
        for round in rounds
    ]


def _compare(
    reference: Sequence[Atoms], predicted: Sequence[Atoms], round: int, model: str
) -> Parity:
    sizes = np.array([len(atoms) for atoms in reference])
    energy = np.array([atoms.get_potential_energy() for atoms in reference]) / sizes
    error = np.array([atoms.get_potential_energy() for atoms in predicted]) / sizes - energy
    energy = energy - energy.mean()
    return Parity(
        round=round,
        model=model,
        phases=np.array([str(atoms.info["entrove_phase"]) for atoms in reference]),
        kinds=np.array([str(atoms.info["entrove_kind"]) for atoms in reference]),
        reference_energy_eV_per_atom=energy,
        predicted_energy_eV_per_atom=energy + centre_by_composition(reference, error),
        reference_forces_eV_per_A=np.concatenate(
            [atoms.get_forces().ravel() for atoms in reference]
        ),
        predicted_forces_eV_per_A=np.concatenate(
            [atoms.get_forces().ravel() for atoms in predicted]
        ),
        reference_stress_GPa=np.concatenate([atoms.get_stress() for atoms in reference])
        * EV_PER_A3_IN_GPA,
        predicted_stress_GPa=np.concatenate([atoms.get_stress() for atoms in predicted])
        * EV_PER_A3_IN_GPA,
        atom_counts=sizes,
    )


def _map(
    stages: Sequence[StageRecord], workspace: Workspace, config: CampaignConfig
) -> FingerprintMap | None:
    done = {(record.round, record.stage) for record in stages}
    if (0, "relax") not in done:
        return None
    groups: list[tuple[str, int, list[Atoms]]] = [
        ("seed", 0, read_structures(workspace.in_round(0, "relaxed.xyz")))
    ]
    for round in sorted({number for number, stage in done if stage == "select"}):
        groups.append(
            ("walker", round, read_structures(workspace.in_round(round, "candidates.xyz")))
        )
        selected = workspace.in_round(round, "selected.xyz")
        if selected.stat().st_size:
            groups.append(("selected", round, read_structures(selected)))
    from entrove.campaign.results.fingerprint_map import (
        draw_map,  # loads torch, which `entrove status` does without
    )

    return draw_map(groups, config.fingerprint)
