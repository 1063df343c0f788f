"""`entrove select`: the candidates whose labels add or teach most."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove import provenance
from entrove.campaign.configuration.config import CampaignConfig
from entrove.cli.commands.options import print_json, say
from entrove.cli.stages.settings import Given
from entrove.cli.stages.structures import check_output, read_pool
from entrove.cli.stages.watch import Watch
from entrove.errors import ConfigError
from entrove.features import FeatureMap
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import resolve
from entrove.labelling.cost import CostModel
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.models.committee import force_spreads
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.selection.from_structures import select
from entrove.selection.result import Selection
from entrove.structures import energy_of, species_of, write_structures


def select_files(
    files: Sequence[Path],
    known: Sequence[Path],
    target: Sequence[Path],
    out: Path,
    given: Given,
    *,
    as_json: bool,
) -> None:
    """Pick structures of a pool as a campaign picks its candidates, and write them best first.

    Args:
        files: The pool.
        known: Structures that are labelled already.
        target: A sample of what the potential will be used for; by default the pool.
        out: Extended XYZ to write.
        given: Settings.
        as_json: Print numbers as JSON.
    """
    check_output(out, [*files, *known, *target])
    settings = given.settings
    if target and not _has_target(settings):
        raise ConfigError(
            f"--target has no effect: {settings.describe_selection()}, and only method "
            "representative, or gain with entropy.kind labels and selection.objective target, "
            "looks at a target; leave --target out, or change these keys"
        )
    with Watch("select", "gains of the candidates", "", "stopped; nothing was written") as watch:
        pool = read_pool(files, watch.messages, "pool")
        labelled = read_pool(known, watch.messages, "--given") if known else []
        aims = read_pool(target, watch.messages, "--target") if target else None
        if settings.control and any(map(provenance.is_biased, pool)):
            say(
                "the pool has snapshots of biased walkers: random picks of it are no random-MD "
                "control arm; give 'entrove explore' control: random_md, too",
                to=watch.messages,
            )
        fingerprint = resolve(settings.fingerprint, [*pool, *labelled])
        selection = _select(pool, labelled, aims, given, GaussianOverlap(fingerprint))
    picked = []
    for index, gain in zip(selection.indices, selection.gains, strict=True):
        atoms = pool[int(index)].copy()
        atoms.calc = pool[int(index)].calc
        if settings.gains_in_nats:
            atoms.info[provenance.GAIN] = float(gain)
        picked.append(atoms)
    write_structures(out, picked)
    _report(selection, pool, out, as_json=as_json)


def _select(
    pool: list[Atoms],
    labelled: list[Atoms],
    target: list[Atoms] | None,
    given: Given,
    fingerprints: FeatureMap,
) -> Selection:
    """Select as the configuration says; rows of labels are those of the model that learns."""
    settings = given.settings
    config, entropy = settings.selecting, settings.entropy
    by_gain, by_labels = config.by_gain, entropy.kind == "labels"
    count = min(config.count, len(pool))
    cost_s = _cost(given, pool)
    if by_gain and not by_labels:
        kind = "paper" if entropy.kind == "paper" else "information"
        return select(
            pool,
            count,
            given=labelled,
            entropy=kind,
            mode=entropy.mode,
            features=fingerprints,
            config=config,
            cost_s=cost_s,
        )
    model = given.learning_model([*pool, *labelled]) if by_labels else None
    features = fingerprints
    if model is not None:
        of_atoms = config.method == "representative"
        features = model.feature_map(config.features, lambda: fingerprints, of_atoms=of_atoms)
    return select(
        pool,
        count,
        given=labelled,
        entropy="labels" if by_gain else None,
        features=features,
        config=config,
        cost_s=cost_s,
        labels=entropy.labels if by_gain else None,
        target=target,
        energies_eV=None if model is None or not by_gain else partial(_energies, model),
        spreads=_spreads(given, pool),
        seed=settings.random_seed,
    )


def _has_target(settings: CampaignConfig) -> bool:
    config = settings.selecting
    by_target = settings.entropy.kind == "labels" and config.objective == "target"
    return config.method == "representative" or (config.by_gain and by_target)


def _cost(given: Given, pool: Sequence[Atoms]) -> Callable[[Atoms], float] | None:
    """Engine seconds of a label, predicted as in a campaign; None where they decide nothing."""
    settings = given.settings
    if not settings.selecting.needs_seconds([len(atoms) for atoms in pool]):
        return None
    labelling = settings.labelling.resolved_against(given.path.absolute().parent)
    engine, costs = labelling.engine, []
    if labelling.cache is not None and labelling.cache.exists():
        engine = engine.bound_to(species_of(pool))
        with LabelCache(labelling.cache, read_only=True) as cache:
            costs = cache.costs(LevelOfTheory.of(engine))
    model = CostModel(engine, costs)
    return lambda atoms: model.predict(atoms).seconds


def _spreads(given: Given, pool: list[Atoms]) -> Callable[..., Any] | None:
    """How far the exploring committee disagrees, for the control arm that asks for it."""
    if given.settings.selecting.method != "committee_spread":
        return None
    return partial(force_spreads, given.exploring_model(pool))


def _energies(model: LoadedModel, structures: Sequence[Atoms]) -> list[float]:
    """Energies in eV by which the noise of labels grows."""
    return [energy_of(atoms) for atoms in predict(model, structures)]


def _report(selection: Selection, pool: list[Atoms], out: Path, *, as_json: bool) -> None:
    rejected = selection.rejections_by_filter()
    phases = Counter(
        str(pool[int(index)].info.get(provenance.PHASE, "unknown")) for index in selection.indices
    )
    if as_json:
        print_json(
            {
                "out": str(out),
                "candidates": len(pool),
                "picked": [int(index) for index in selection.indices],
                "gains": [float(gain) for gain in selection.gains],
                "rejected": rejected,
                "picked_by_phase": dict(phases),
            }
        )
        return
    counts = ", ".join(f"{count} of {phase}" for phase, count in phases.items())
    say(f"wrote {len(selection)} of {len(pool)} candidates to {out}, best first ({counts})")
    for name, count in rejected.items():
        if count:
            say(f"  left out: {count} by {name.replace('_', ' ')}")
