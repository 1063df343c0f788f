"""Explore with biased walkers against the shared dataset, then pick what is worth a label."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.progress import ProgressListener
from entrove.campaign.journal.runner import StageOutcome
from entrove.campaign.stages.datasets import SharedDataset
from entrove.campaign.stages.label import cache_path
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.prepare import read_starts, reference_run
from entrove.entropy.dataset import EntropyDataset
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import resolve_length
from entrove.labelling.cost import CostModel
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.sampling.pools.entropy_md import Exploration, advance, begin
from entrove.sampling.pools.ordered import generate_ordered
from entrove.sampling.walkers.checkpoint import load_walkers, save_walkers
from entrove.sampling.walkers.grid import plan_walkers
from entrove.sampling.walkers.restarts import summarise_restarts
from entrove.sampling.walkers.trajectories import TrajectoryRecorder
from entrove.selection.config import SelectionConfig
from entrove.selection.farthest_point import select_farthest
from entrove.selection.select import select as pick
from entrove.structures import as_written, content_hash, read_structures, write_structures

ADMITTED = "entrove_admitted"
ORDERED_STREAM, SELECTION_STREAM = 2, 3
"""Streams of random numbers of the ordered pool and of a random selection, beside that of the walkers."""


def explore(
    campaign: CheckedCampaign, models: CampaignModels, round: int, listener: ProgressListener
) -> StageOutcome:
    """Run all walkers of a round; a run that was interrupted goes on after its last chunk."""
    config, files = campaign.config, campaign.workspace
    model = models.exploring(round).model
    dataset = shared_dataset(campaign, device=str(model.device))
    sampling = config.sampling
    total = sampling.thermalise_steps + sampling.chunks * sampling.chunk_steps
    walkers_file, candidates_file = (
        files.in_round(round, "walkers.pt"),
        files.in_round(round, "walker_snapshots.xyz"),
    )

    def report_from(first: int) -> Callable[[int, int], None]:
        return lambda done, _: listener.advanced(first + done, total)

    if walkers_file.exists():
        exploration = _read_exploration(walkers_file, candidates_file, model.device)
        _take_in(dataset, [exploration.candidates[index] for index in exploration.admitted])
        listener.resumed(
            sampling.thermalise_steps + exploration.chunks_done(sampling) * sampling.chunk_steps
        )
    else:
        walkers, structures = plan_walkers(
            read_starts(campaign, round), config.regime.temperatures_K, sampling
        )
        rng = np.random.default_rng([config.random_seed, round])
        exploration = begin(walkers, structures, model, sampling, rng, on_step=report_from(0))
    admissions = math.ceil(
        config.selection.admissions_per_label * config.selection.count / sampling.chunks
    )

    def admit(snapshots: Sequence[Candidate]) -> list[int]:
        chosen = pick_new(dataset, snapshots, admissions, config.selection)
        _take_in(dataset, [snapshots[index] for index in chosen])
        return chosen

    recorder = (
        TrajectoryRecorder(files.in_round(round, "trajectories"))
        if sampling.trajectory_every
        else None
    )
    while exploration.chunks_done(sampling) < sampling.chunks and exploration.walkers.rows:
        done = sampling.thermalise_steps + exploration.chunks_done(sampling) * sampling.chunk_steps
        exploration = advance(
            exploration,
            model,
            dataset.features,
            dataset.functionals(),
            sampling,
            admit,
            on_step=report_from(done),
            recorder=recorder,
        )
        _write_exploration(exploration, walkers_file, candidates_file)
    write_candidates(files.in_round(round, "candidates.xyz"), exploration.candidates)
    return _outcome(exploration, round)


def wants_ordered(campaign: CheckedCampaign) -> bool:
    """Whether the configuration asks for the pool of ordered cells."""
    return "ordered" in campaign.config.pools


def order(campaign: CheckedCampaign, models: CampaignModels, round: int) -> StageOutcome:
    """Relax perturbed seeds and random crystals towards order, with the model that explores in this round."""
    config, starts = campaign.config, read_starts(campaign, round)
    model = models.exploring(round).model
    length = resolve_length(config.fingerprint, [one.atoms for one in starts])
    cells = generate_ordered(
        starts,
        model,
        GaussianOverlap(length, model.device),
        config.sampling,
        np.random.default_rng([config.random_seed, round, ORDERED_STREAM]),
    )
    kept = [cell for cell in cells if cell.kept]
    write_candidates(
        campaign.workspace.in_round(round, "ordered.xyz"), [cell.candidate for cell in kept]
    )
    groups = Counter(cell.space_group for cell in kept)
    dropped = Counter(cell.dropped_because for cell in cells if not cell.kept)
    found = ", ".join(f"{count} x {group}" for group, count in groups.most_common())
    return StageOutcome(
        f"{len(kept)} of {len(cells)} cells kept" + (f": {found}" if found else ""),
        {
            "space_groups": groups,
            "dropped": {str(reason): count for reason, count in dropped.items()},
        },
    )


def select(campaign: CheckedCampaign, round: int) -> StageOutcome:
    """Pick the labels of a round from walkers, ordered cells and anchors, against the whole dataset."""
    config, files = campaign.config, campaign.workspace
    dataset = shared_dataset(campaign).selecting
    known = _hashes_spent(campaign, round)
    pool = [
        *read_candidates(files.in_round(round, "candidates.xyz")),
        *(
            read_candidates(files.in_round(round, "ordered.xyz"))
            if wants_ordered(campaign)
            else []
        ),
        *read_candidates(files.in_round(0, "anchors.xyz")),
    ]
    pool = [candidate for candidate in pool if content_hash(candidate.atoms) not in known]
    wanted = config.selection.count
    if config.stopping.labels is not None:
        wanted = min(wanted, max(0, config.stopping.labels - len(_training_labels(campaign))))
    if not pool or not wanted:
        write_candidates(files.in_round(round, "selected.xyz"), [])
        return StageOutcome(
            "nothing to pick", {"picked": 0, "gain_nats": 0.0, "gains_nats": [], "rejected": {}}
        )
    settings = config.selection
    if settings.method != "gain":
        pool = _control_arm(campaign, round, pool, min(wanted, len(pool)), dataset)
        # A control arm buys near-duplicates too: both arms get the same number of labels.
        settings = settings.model_copy(update={"duplicate_tolerance": 0.0})
    selection = pick(
        [candidate.to_atoms() for candidate in pool],
        min(wanted, len(pool)),
        given=dataset,
        config=settings,
        cost_s=_cost(campaign) if settings.rank_by == "gain_per_second" else None,
    )
    write_candidates(
        files.in_round(round, "selected.xyz"), [pool[index] for index in selection.indices]
    )
    gain = float(selection.gains.sum())
    quotas = {use.pool or "any": use.picked for use in selection.quotas}
    reserved = {use.pool or "any": use.reserved for use in selection.quotas}
    return StageOutcome(
        f"{len(selection)} of {len(pool)} candidates, together {gain:.1f} nats ({_in_words(quotas)})",
        {
            "picked": len(selection),
            "gain_nats": gain,
            "gains_nats": [float(value) for value in selection.gains],
            "rejected": selection.rejections_by_filter(),
            "picked_by_pool": quotas,
            "reserved_by_pool": reserved,
        },
    )


def _control_arm(
    campaign: CheckedCampaign,
    round: int,
    pool: list[Candidate],
    count: int,
    dataset: EntropyDataset,
) -> list[Candidate]:
    """What a control arm would label; their order, and the gains that the report shows, come after."""
    if campaign.config.selection.method == "random":
        rng = np.random.default_rng([campaign.config.random_seed, round, SELECTION_STREAM])
        chosen = rng.permutation(len(pool))[:count]
    else:
        chosen = select_farthest(
            [one.atoms for one in pool],
            count,
            _training_labels(campaign),
            features=dataset.features,
        ).indices
    return [pool[index] for index in chosen]


def shared_dataset(campaign: CheckedCampaign, device: str = "cpu") -> SharedDataset:
    """The dataset of the training labels so far, whitened on the unbiased reference run."""
    anchors = read_candidates(campaign.workspace.in_round(0, "anchors.xyz"))
    # The length is fixed by the anchors, which hold the densest cells, and so is the same in every round.
    config = resolve_length(campaign.config.fingerprint, [one.atoms for one in anchors])
    dataset = SharedDataset(campaign.config, GaussianOverlap(config, device))
    dataset.calibrate(reference_run(anchors))
    dataset.add(_training_labels(campaign))
    return dataset


def _training_labels(campaign: CheckedCampaign) -> list[Atoms]:
    path = campaign.workspace.dataset
    return read_structures(path) if path.exists() and path.stat().st_size else []


def pick_new(
    dataset: SharedDataset, snapshots: Sequence[Candidate], count: int, settings: SelectionConfig
) -> list[int]:
    """Choose the snapshots of a chunk that join the dataset: at most `count`, under the filters of the selection.

    Only the filters are taken over: a control arm admits by gain, too, and quotas are for labels.
    """
    if not snapshots or not count:
        return []
    filters = SelectionConfig(
        least_gain=settings.least_gain,
        duplicate_tolerance=settings.duplicate_tolerance,
        storage=settings.storage,
    )
    atoms = [one.atoms for one in snapshots]
    chosen = pick(atoms, min(count, len(snapshots)), given=dataset.selecting, config=filters)
    return sorted(int(index) for index in chosen.indices)


def _take_in(dataset: SharedDataset, admitted: Sequence[Candidate]) -> None:
    """Add snapshots so that a resumed run gets the same bits: as written, one by one, in their order."""
    for candidate in admitted:
        dataset.add([as_written(candidate.atoms)])


def _hashes_spent(campaign: CheckedCampaign, round: int) -> set[str]:
    """Structures of the hold-out, and all that earlier rounds have sent to the engine, whatever came of it."""
    files = campaign.workspace
    spent = {content_hash(atoms) for atoms in read_structures(files.in_round(0, "hold_out.xyz"))}
    for earlier in range(1, round):
        spent |= {
            content_hash(one.atoms)
            for one in read_candidates(files.in_round(earlier, "selected.xyz"))
        }
    return spent


def _cost(campaign: CheckedCampaign) -> Callable[[Atoms], float]:
    engine = campaign.config.labelling.engine
    with LabelCache(cache_path(campaign)) as cache:
        model = CostModel(engine, cache.costs(LevelOfTheory.of(engine)))
    return lambda atoms: model.predict(atoms).seconds


def _write_exploration(
    exploration: Exploration, walkers_file: Path, candidates_file: Path
) -> None:
    # Candidates first: those of a chunk that the walkers' file does not know yet are dropped on reading.
    admitted = set(exploration.admitted)
    structures = [candidate.to_atoms() for candidate in exploration.candidates]
    for index, atoms in enumerate(structures):
        atoms.info[ADMITTED] = index in admitted
    write_structures(candidates_file, structures)
    save_walkers(walkers_file, exploration.walkers)


def _read_exploration(
    walkers_file: Path, candidates_file: Path, device: torch.device
) -> Exploration:
    walkers = load_walkers(walkers_file, device)
    structures = read_structures(candidates_file) if candidates_file.stat().st_size else []
    structures = [atoms for atoms in structures if atoms.info["entrove_step"] <= walkers.step]
    admitted = tuple(index for index, atoms in enumerate(structures) if atoms.info[ADMITTED])
    return Exploration(
        walkers, tuple(Candidate.from_atoms(atoms) for atoms in structures), admitted
    )


def _outcome(exploration: Exploration, round: int) -> StageOutcome:
    summaries = summarise_restarts(exploration.walkers.walkers, exploration.walkers.restarts)
    rows = [
        {
            "round": round,
            "walker": one.walker.index,
            "phase": one.walker.phase,
            "pressure_GPa": one.walker.pressure_GPa,
            "temperature_K": one.walker.temperature_K,
            "strength": one.walker.strength_in_words,
            "restarts": one.restarts,
            "reasons": ", ".join(f"{count} x {reason}" for reason, count in one.by_reason.items()),
            "ended_at_step": one.ended_at_step,
        }
        for one in summaries
    ]
    restarts = sum(one.restarts for one in summaries)
    ended = sum(one.ended_at_step is not None for one in summaries)
    summary = (
        f"{len(exploration.candidates)} snapshots of {len(summaries)} walkers, {restarts} restarts"
    )
    summary += f", {ended} ended for good" if ended else ""
    return StageOutcome(summary, {"walkers": rows})


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count
    )
