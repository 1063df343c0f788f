"""`entrove explore`: candidates for labels, from crystals or relaxed cells."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms

from entrove import provenance
from entrove.campaign.configuration.config import CampaignConfig
from entrove.cli.commands.options import print_json, say
from entrove.cli.stages.settings import Given
from entrove.cli.stages.structures import check_output, read_crystals, read_pool
from entrove.cli.stages.watch import Watch
from entrove.sampling.candidates import Candidate
from entrove.sampling.exploration import explore
from entrove.structures import content_hash, write_structures
from entrove.threads import usable_threads

STOPPED = "stopped; nothing was written: 'entrove run' keeps what its walkers have done"


def explore_files(
    files: Sequence[Path], known: Sequence[Path], out: Path, given: Given, *, as_json: bool
) -> None:
    """Run biased walkers from each crystal, and write their snapshots.

    Args:
        files: Crystals, one per file; without any, those of the configuration.
        known: Structures that are labelled already, which the walkers are driven away from.
        out: Extended XYZ to write.
        given: Settings.
        as_json: Print numbers as JSON.
    """
    check_output(out, [*(files or given.seed_files), *known])
    settings = given.settings
    torch.set_num_threads(usable_threads(settings.model.threads))
    with Watch("explore", "biased MD of all walkers", "steps", STOPPED) as watch:
        given.say_that_it_samples_here(watch.messages)
        without_effect = _without_effect(settings)
        if without_effect:
            say(
                f"{', '.join(without_effect)}: without effect here, as there are no labels: "
                "exactly sampling.chunks run, all snapshots join the dataset, and no trajectory "
                "is written beside them",
                to=watch.messages,
            )
        seeds = read_crystals(files, given, watch.messages)
        structures = [seed.atoms.copy() for seed in seeds]
        for seed, atoms in zip(seeds, structures, strict=True):
            atoms.info[provenance.PHASE] = seed.phase
        model = given.exploring_model(structures)
        labelled = read_pool(known, watch.messages, "--given") if known else []
        candidates = explore(
            structures,
            model,
            temperatures_K=settings.regime.temperatures_K,
            pressures_GPa=settings.regime.pressures_GPa,
            labelled=labelled,
            config=settings.sampling,
            entropy=settings.entropy,
            fingerprint=settings.fingerprint,
            seed=settings.random_seed,
            on_step=watch.advanced,
        )
    write_structures(out, _of_one_run(candidates))
    walkers = len({candidate.walker for candidate in candidates})
    by_phase = Counter(candidate.phase for candidate in candidates)
    if as_json:
        print_json(
            {
                "model": model.name,
                "out": str(out),
                "candidates": len(candidates),
                "walkers": walkers,
                "candidates_by_phase": dict(by_phase),
            }
        )
        return
    counts = ", ".join(f"{count} of {phase}" for phase, count in by_phase.items())
    say(f"wrote {len(candidates)} snapshots of {walkers} walkers to {out} ({counts})")


def _without_effect(settings: CampaignConfig) -> list[str]:
    """Keys that were given and belong to a round of a campaign."""
    return [
        f"{name}.{key}"
        for name, section, keys in (
            (
                "sampling",
                settings.sampling,
                ("independent_per_label", "largest_chunks", "trajectory_every"),
            ),
            (
                "selection",
                settings.selection,
                ("admissions_per_label", "duplicate_tolerance", "least_gain"),
            ),
        )
        for key in keys
        if key in section.model_fields_set and getattr(section, key) is not None
    ]


def _of_one_run(candidates: Sequence[Candidate]) -> list[Atoms]:
    """Give snapshots a name of their run: walkers of another run may have the same numbers."""
    snapshots = [candidate.to_atoms() for candidate in candidates]
    hashes = "".join(content_hash(atoms) for atoms in snapshots)
    # With letters, because readers of extended XYZ take digits for a number.
    run = f"explore-{hashlib.sha256(hashes.encode()).hexdigest()[:12]}"
    for atoms in snapshots:
        atoms.info[provenance.RUN] = run
    return snapshots
