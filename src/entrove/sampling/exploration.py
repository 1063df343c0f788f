"""Explore with biased walkers that share one dataset, from relaxed seeds to candidates."""

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from ase import Atoms
from torch_sim.models.interface import ModelInterface

from entrove.entropy.config import EntropyConfig
from entrove.entropy.views import DatasetViews
from entrove.errors import ConfigError, StructureError
from entrove.features import FeatureMap
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import resolve
from entrove.models.loaded import LoadedModel
from entrove.provenance import PHASE, provenance_of
from entrove.sampling.candidates import Candidate
from entrove.sampling.config import SamplingConfig
from entrove.sampling.correlation import independent_snapshots
from entrove.sampling.pools.entropy_md import Exploration, advance, begin
from entrove.sampling.pools.random_md import run_plain_md
from entrove.sampling.reference import elements_lacking, with_all_elements
from entrove.sampling.relax_layers import relax_crystals_and_layers
from entrove.sampling.vacuum import find_closing
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.restarts import describe_reasons
from entrove.sampling.walkers.trajectories import TrajectoryRecorder
from entrove.structures import as_written

logger = logging.getLogger(__name__)

Admit = Callable[[Sequence[Candidate]], Sequence[int]]
"""Chooses which snapshots of a chunk join the dataset, by index."""

OnStep = Callable[[int, int], None]
"""Called with the MD steps done and the MD steps in all."""


def explore(
    seeds: Iterable[Atoms],
    model: LoadedModel,
    *,
    temperatures_K: Iterable[float],
    pressures_GPa: Iterable[float] = (0.0,),
    labelled: Iterable[Atoms] = (),
    config: SamplingConfig | None = None,
    entropy: EntropyConfig | None = None,
    fingerprint: FingerprintConfig | None = None,
    features: FeatureMap | None = None,
    admit: Admit | None = None,
    independent: float = 0.0,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[Candidate]:
    """Explore around crystals with walkers that are driven away from what the dataset holds.

    Each seed is relaxed at each pressure, and its cell keeps its length across vacuum; a short
    unbiased run calibrates the features; then a walker per phase, pressure, temperature and bias
    strength runs, all in one batch. After each chunk new snapshots join the dataset, so that
    walkers of the next chunk move away from them. The paper's entropy starts from the relaxed
    cells and the unbiased run.

    Args:
        seeds: Crystals to start from, all with the same periodicity. `info["entrove_phase"]` names
            the phase; by default it is the formula and the number of the seed.
        model: What explores, see `entrove.models.load`; it must give a stress.
        temperatures_K, pressures_GPa: The regime: every temperature is combined with every
            pressure.
        labelled: What is labelled already: walkers are driven away from it from the start.
        config: Steps, chunks, biases, guards; see `SamplingConfig`.
        entropy: Parameters of the entropies; its `kind` and `mode` are one more view of the
            dataset.
        fingerprint: Parameters of the Gaussian overlap fingerprints.
        features: What the entropies see of an atom, instead of these fingerprints.
        admit: Chooses which snapshots of a chunk join the dataset; by default all do. To admit the
            best 8 by their gain: `lambda new: entrove.select([c.atoms for c in new], 8,
            given=d).indices`.
        independent: Beyond `config.chunks` further chunks run until the snapshots are worth this
            many independent ones (`independent_snapshots`), at most `config.most_chunks` in all.
        seed: Seed of everything random.
        on_step: Called with MD steps done and MD steps in all.

    Returns the healthy snapshots of all walkers, in the order in which they were taken.

    Raises `StructureError` when no seed can be relaxed or no walker reaches a snapshot,
    `ConfigError` for a pressure or an ensemble that would close the vacuum of a seed, and what
    `relax_at_pressure`, `plan_walkers` and the walkers raise.
    """
    config, entropy = config or SamplingConfig(), entropy or EntropyConfig()
    temperatures_K = list(temperatures_K)
    starts = _relax_seeds(list(seeds), model, [float(value) for value in pressures_GPa], config)
    reference = run_plain_md(
        starts,
        temperatures_K,
        model.model,
        config,
        np.random.default_rng([seed, 1]),
        steps=config.anchors.md_steps,
        snapshots=config.anchors.md_snapshots,
    )
    thermal = [candidate.atoms for candidate in reference]
    cells = [start.atoms for start in starts]
    if thermal and (lacking := elements_lacking(thermal, cells)):
        logger.warning(
            "no snapshot of the unbiased MD has %s: its features are calibrated on relaxed cells, "
            "which show no thermal scale; lower the temperatures, or take another model",
            " or ".join(lacking),
        )
    thermal = with_all_elements(thermal, cells)
    if features is None:
        resolved = resolve(fingerprint or FingerprintConfig(), thermal)
        features = GaussianOverlap(resolved, model.model.device)
    dataset = DatasetViews(features, entropy, ((b.entropy, b.mode) for b in config.biases))
    dataset.calibrate(thermal)
    dataset.start_from([*(start.atoms for start in starts), *(c.atoms for c in reference)])
    dataset.add(list(labelled))
    walkers, structures = plan_walkers(starts, temperatures_K, config)
    exploration = begin(
        walkers,
        structures,
        model.model,
        config,
        np.random.default_rng([seed, 2]),
        on_step=_counted(on_step, 0, config),
    )
    admit = admit or (lambda snapshots: range(len(snapshots)))
    exploration = run_chunks(
        exploration, model.model, dataset, config, admit, independent=independent, on_step=on_step
    )
    if not exploration.candidates:
        raise StructureError(
            f"none of {len(walkers)} walkers reached a snapshot; the guards stopped them "
            f"({describe_reasons(exploration.walkers.restarts)}): lower the temperatures, the "
            "bias strengths or timestep_fs, or take another model; the limits are in "
            "sampling.guards"
        )
    return list(exploration.candidates)


def run_chunks(
    exploration: Exploration,
    model: ModelInterface,
    dataset: DatasetViews,
    config: SamplingConfig,
    admit: Admit,
    *,
    independent: float = 0.0,
    on_step: OnStep | None = None,
    on_chunk: Callable[[Exploration], None] | None = None,
    recorder: TrajectoryRecorder | None = None,
) -> Exploration:
    """Run the chunks that are left of an exploration, each under the dataset as it is then.

    Chunks beyond `config.chunks` run until the snapshots are worth `independent` ones, at most
    `config.most_chunks` in all.

    What `admit` chooses joins the dataset, as a file keeps it and one by one, so that a run that
    was continued from files gets the same bits. `on_chunk` gets the exploration after each chunk.
    """

    def admit_and_add(snapshots: Sequence[Candidate]) -> Sequence[int]:
        chosen = admit(snapshots)
        add_as_written(dataset, [snapshots[index] for index in chosen])
        return chosen

    while exploration.walkers.rows and _goes_on(exploration, config, independent):
        exploration = advance(
            exploration,
            model,
            dataset.biases(),
            config,
            admit_and_add,
            on_step=_counted(on_step, steps_done(exploration, config), config),
            recorder=recorder,
        )
        if on_chunk is not None:
            on_chunk(exploration)
    return exploration


def steps_done(exploration: Exploration, config: SamplingConfig) -> int:
    """MD steps that the walkers of an exploration have run, thermalisation included."""
    return config.thermalise_steps + exploration.chunks_done(config) * config.chunk_steps


def steps_in_all(config: SamplingConfig) -> int:
    """MD steps of an exploration of `config.chunks`, thermalisation included."""
    return config.thermalise_steps + config.chunks * config.chunk_steps


def _goes_on(exploration: Exploration, config: SamplingConfig, independent: float) -> bool:
    """Whether a further chunk is needed."""
    done = exploration.chunks_done(config)
    if done < config.chunks or done >= config.most_chunks:
        return done < config.chunks
    if all(len(candidate.atoms) == 1 for candidate in exploration.candidates):
        return False  # one atom has no displacements beside the motion of the centre of mass
    worth = independent_snapshots(exploration.candidates)
    # Of runs too short for a correlation nothing is known.
    return worth is not None and worth < independent


def add_as_written(dataset: DatasetViews, candidates: Sequence[Candidate]) -> None:
    """Add candidates one by one, as a file keeps them: a continued run then gets the same bits."""
    for candidate in candidates:
        dataset.add([as_written(candidate.atoms)])


def _counted(on_step: OnStep | None, first: int, config: SamplingConfig) -> OnStep | None:
    """Report steps of a part of the run as steps of the whole run."""
    if on_step is None:
        return None
    planned = steps_in_all(config)
    return lambda done, of_part: on_step(first + done, max(planned, first + of_part))


def _relax_seeds(
    seeds: Sequence[Atoms],
    model: LoadedModel,
    pressures_GPa: Sequence[float],
    config: SamplingConfig,
) -> list[Start]:
    phases = [
        str(provenance_of(atoms).get(PHASE, f"{atoms.get_chemical_formula()}-{index}"))
        for index, atoms in enumerate(seeds)
    ]
    pairs = [
        (phase, pressure, atoms)
        for phase, atoms in zip(phases, seeds, strict=True)
        for pressure in pressures_GPa
    ]
    if problem := config.problem_of_barostat:
        raise ConfigError(f"sampling.barostat_time_fs: {problem}")
    for phase, atoms in zip(phases, seeds, strict=True):
        closing = find_closing(phase, atoms, pressures_GPa, config.ensemble)
        if closing is not None:
            key, reason = closing
            raise ConfigError(f"{'.'.join(key)}: {reason}")
    relaxed = relax_crystals_and_layers(
        model.model,
        [atoms for _, _, atoms in pairs],
        [pressure for _, pressure, _ in pairs],
        config.relaxation,
    )
    starts = [
        Start(phase, pressure, relaxation.atoms)
        for (phase, pressure, _), relaxation in zip(pairs, relaxed, strict=True)
        if relaxation.converged
    ]
    if not starts:
        outcomes = ", ".join(sorted({str(relaxation.outcome) for relaxation in relaxed}))
        raise StructureError(
            f"none of {len(pairs)} relaxations with {model.name} converged "
            f"({outcomes or 'no seeds'}); check the seeds or raise config.relaxation.largest_steps"
        )
    return starts
