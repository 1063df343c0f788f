"""Explore with walkers that are biased away from the shared dataset."""

import logging
import math
import shutil
from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms

from entrove import provenance
from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.outcomes import Explored, Stage, Verified, WalkerRow
from entrove.campaign.stages.anchors import reference_run
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.relax import read_starts
from entrove.campaign.workspace import RoundFiles
from entrove.entropy.views import DatasetViews
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import resolve
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.sampling.config import SamplingConfig
from entrove.sampling.correlation import independent_snapshots
from entrove.sampling.exploration import (
    add_as_written,
    run_chunks,
    steps_done,
    steps_in_all,
)
from entrove.sampling.pools.entropy_md import Exploration, begin
from entrove.sampling.walkers.checkpoint import load_walkers, save_walkers
from entrove.sampling.walkers.grid import plan_walkers
from entrove.sampling.walkers.restarts import describe_reasons, summarise_restarts
from entrove.sampling.walkers.trajectories import TrajectoryRecorder
from entrove.selection.config import SelectionConfig
from entrove.selection.from_structures import select as pick
from entrove.structures import content_hash, read_structures, write_structures

logger = logging.getLogger(__name__)


def explore(run: CampaignRun, round_index: int) -> Explored:
    """Run all walkers of a round; a run that was interrupted continues after its last chunk."""
    config, files = run.config, run.files.round(round_index)
    sampling, listener = config.sampling, run.listener
    model = run.models.exploring(round_index).model
    dataset = shared_dataset(run.campaign, device=str(model.device))
    if files.walkers.exists():
        exploration = _read_exploration(files, model.device)
        add_as_written(dataset, [exploration.candidates[i] for i in exploration.admitted])
        listener.resumed(steps_done(exploration, sampling))
    else:
        total = steps_in_all(sampling)
        walkers, structures = plan_walkers(
            read_starts(run.files, round_index), config.regime.temperatures_K, sampling
        )
        exploration = begin(
            walkers,
            structures,
            model,
            sampling,
            np.random.default_rng([config.random_seed, round_index]),
            on_step=lambda done, _: listener.advanced(done, total),
        )
    admissions = math.ceil(
        config.selection.admissions_per_label * config.selection.count / sampling.chunks
    )
    exploration = run_chunks(
        exploration,
        model,
        dataset,
        sampling,
        lambda snapshots: pick_new(dataset, snapshots, admissions, config.selection),
        independent=sampling.independent_per_label * config.selecting.count,
        on_step=listener.advanced,
        on_chunk=lambda reached: _write_exploration(reached, files),
        recorder=TrajectoryRecorder(files.trajectories) if sampling.trajectory_every else None,
    )
    write_candidates(files.candidates, exploration.candidates)
    return _outcome(exploration, round_index, sampling, config.selecting.count)


def forget_other_explorer(run: CampaignRun, round_index: int) -> None:
    """Let an interrupted exploration begin anew where another model explores by now.

    That is so where models were judged again since. Its cells were relaxed and its walkers driven
    with the earlier one.
    """
    files = run.files.round(round_index)
    explored = run.ledger.find(round_index, Explored) is not None
    if explored or not run.models.began_with_another(round_index):
        return
    begun = [file for file in (files.walkers, files.relaxed) if file.exists()]
    if begun or run.ledger.find(round_index, Verified) is not None:
        logger.warning(
            "round %d begins anew: models were judged again since it began, and another one is "
            "the best of those before it",
            round_index,
        )
    for file in begun:
        file.unlink()
    shutil.rmtree(files.trajectories, ignore_errors=True)
    run.ledger.forget([(round_index, Stage.VERIFY), (round_index, Stage.RELAX)])


def shared_dataset(
    campaign: CheckedCampaign, device: str = "cpu", *, given: Sequence[Atoms] = ()
) -> DatasetViews:
    """Return the dataset of all training labels so far, whitened on the unbiased reference run.

    The paper's entropy starts from the relaxed cells and that run, labelled or not. `given` are
    structures that count as labelled, too, as those of a study do.
    """
    config = campaign.config
    anchors = read_candidates(campaign.workspace.round(0).anchors)
    # The anchors have the densest cells, and all elements. Resolved from them, length and widths
    # are the same in every round.
    fingerprint = resolve(config.fingerprint, [anchor.atoms for anchor in anchors])
    biases = ((bias.entropy, bias.mode) for bias in config.sampling.biases)
    dataset = DatasetViews(GaussianOverlap(fingerprint, device), config.entropy, biases)
    dataset.calibrate(reference_run(anchors))
    labelled = campaign.workspace.training_labels()
    known = {content_hash(atoms) for atoms in labelled}
    labelled = [*labelled, *(atoms for atoms in given if content_hash(atoms) not in known)]
    known |= {content_hash(atoms) for atoms in given}
    near_crystals = [anchor.atoms for anchor in anchors if anchor.kind in ("relaxed", "md")]
    dataset.start_from([atoms for atoms in near_crystals if content_hash(atoms) not in known])
    dataset.add(labelled)
    return dataset


def pick_new(
    dataset: DatasetViews,
    snapshots: Sequence[Candidate],
    count: int,
    settings: SelectionConfig,
) -> list[int]:
    """Return the indices of the snapshots of a chunk that are added to the dataset, by their gain.

    These are at most `count`. Of the settings of the selection only the filters apply: control
    arms admit by gain, too, and quotas concern labels only.
    """
    if not snapshots or not count:
        return []
    filters = SelectionConfig(
        least_gain=settings.least_gain,
        duplicate_tolerance=settings.duplicate_tolerance,
        storage=settings.storage,
        phase_share=0.0,
        rank_by="gain",  # an admission costs no label
    )
    atoms = [snapshot.atoms for snapshot in snapshots]
    chosen = pick(atoms, min(count, len(snapshots)), given=dataset.selecting, config=filters)
    return sorted(int(index) for index in chosen.indices)


def _write_exploration(exploration: Exploration, files: RoundFiles) -> None:
    # Snapshots first: when the process dies in between, those that are newer than the file of the
    # walkers are dropped on reading.
    admitted = set(exploration.admitted)
    structures = [candidate.to_atoms() for candidate in exploration.candidates]
    for index, atoms in enumerate(structures):
        atoms.info[provenance.ADMITTED] = index in admitted
    write_structures(files.walker_snapshots, structures)
    save_walkers(files.walkers, exploration.walkers)


def _read_exploration(files: RoundFiles, device: torch.device) -> Exploration:
    walkers = load_walkers(files.walkers, device)
    structures = [
        atoms
        for atoms in read_structures(files.walker_snapshots, may_be_empty=True)
        if atoms.info[provenance.STEP] <= walkers.step
    ]
    admitted = tuple(
        index for index, atoms in enumerate(structures) if atoms.info[provenance.ADMITTED]
    )
    candidates = tuple(Candidate.from_atoms(atoms) for atoms in structures)
    return Exploration(walkers, candidates, admitted)


def _outcome(
    exploration: Exploration, round_index: int, sampling: SamplingConfig, labels: int
) -> Explored:
    summaries = summarise_restarts(exploration.walkers.walkers, exploration.walkers.restarts)
    rows = tuple(
        WalkerRow(
            round=round_index,
            walker=restarted.walker.index,
            phase=restarted.walker.phase,
            pressure_GPa=restarted.walker.pressure_GPa,
            temperature_K=restarted.walker.temperature_K,
            strength=restarted.walker.describe_bias(),
            restarts=restarted.restarts,
            reasons=describe_reasons(
                [
                    restart
                    for restart in exploration.walkers.restarts
                    if restart.walker == restarted.walker.index
                ]
            ),
            ended_at_step=restarted.ended_at_step,
        )
        for restarted in summaries
    )
    restarts = sum(row.restarts for row in rows)
    ended = sum(row.ended_at_step is not None for row in rows)
    summary = (
        f"{len(exploration.candidates)} snapshots of {len(rows)} walkers, {restarts} restarts"
    )
    summary += f", {ended} ended for good" if ended else ""
    if not exploration.candidates:
        summary += (
            "; warning: no snapshots, because the guards stopped every walker before "
            f"({describe_reasons(exploration.walkers.restarts)}); see sampling.guards"
        )
    independent = independent_snapshots(exploration.candidates)
    if independent is not None:
        summary += f"; worth about {independent:.0f} independent ones"
        chunks = exploration.chunks_done(sampling)
        if chunks > sampling.chunks:
            summary += f" after {chunks} chunks instead of {sampling.chunks}"
        if independent < labels:
            summary += (
                f", fewer than the {labels} labels of a round: raise sampling.chunk_steps and "
                "sampling.snapshot_every, or sampling.replicas"
            )
    return Explored(
        summary=summary,
        walkers=rows,
        independent_snapshots=independent,
        snapshots=len(exploration.candidates),
    )
