"""`entrove relax`: crystals at pressures."""

from collections.abc import Sequence
from pathlib import Path

from entrove.campaign.configuration.config_file import problem_at
from entrove.cli.commands.options import print_json, say
from entrove.cli.stages.settings import Given
from entrove.cli.stages.structures import check_output, read_crystals
from entrove.cli.stages.watch import Watch
from entrove.sampling.candidates import Candidate, write_candidates
from entrove.sampling.relax import Relaxation
from entrove.sampling.relax_layers import relax_crystals_and_layers
from entrove.sampling.vacuum import find_closing


def relax_files(files: Sequence[Path], out: Path, given: Given, *, as_json: bool) -> int:
    """Relax each crystal at each pressure, write those that converged, return the exit status.

    That is 1 when a relaxation did not converge.
    """
    check_output(out, files or given.seed_files)
    settings = given.settings
    with Watch("relax", "positions and cells", "steps", "stopped; nothing was written") as watch:
        given.say_that_it_samples_here(watch.messages)
        seeds = read_crystals(files, given, watch.messages)
        for seed in seeds:
            closing = find_closing(seed.phase, seed.atoms, settings.regime.pressures_GPa)
            if closing is not None:
                raise problem_at(given.path, *closing)
        model = given.exploring_model([seed.atoms for seed in seeds])
        pairs = [(seed, pressure) for seed in seeds for pressure in settings.regime.pressures_GPa]
        relaxations = relax_crystals_and_layers(
            model.model,
            [seed.atoms for seed, _ in pairs],
            [pressure for _, pressure in pairs],
            settings.sampling.relaxation,
        )
    found = [(seed.phase, relaxed) for (seed, _), relaxed in zip(pairs, relaxations, strict=True)]
    kept = [
        Candidate(relaxed.atoms, "anchors", "relaxed", phase, relaxed.pressure_GPa)
        for phase, relaxed in found
        if relaxed.converged
    ]
    if kept:
        write_candidates(out, kept)
    if as_json:
        rows = [_row(phase, relaxed) for phase, relaxed in found]
        print_json({"model": model.name, "out": str(out) if kept else None, "relaxations": rows})
    else:
        for phase, relaxed in found:
            say(_line(phase, relaxed))
        say(f"wrote {len(kept)} relaxed cells to {out}" if kept else "nothing was written")
    if len(kept) < len(found) and not as_json:
        say(
            "what helps where a relaxation does not converge: another model, a better start, or "
            "--set sampling.relaxation.largest_steps=2000"
        )
    return 0 if len(kept) == len(found) else 1


def _line(phase: str, relaxed: Relaxation) -> str:
    atoms = relaxed.atoms
    return (
        f"{phase} at {relaxed.pressure_GPa:g} GPa: {relaxed.outcome} after {relaxed.steps} steps, "
        f"{relaxed.energy_eV / len(atoms):.4f} eV/atom, "
        f"{atoms.get_volume() / len(atoms):.3f} A^3/atom"
    )


def _row(phase: str, relaxed: Relaxation) -> dict[str, object]:
    atoms = relaxed.atoms
    return {
        "phase": phase,
        "pressure_GPa": relaxed.pressure_GPa,
        "outcome": str(relaxed.outcome),
        "converged": relaxed.converged,
        "steps": relaxed.steps,
        "energy_eV_per_atom": relaxed.energy_eV / len(atoms),
        "enthalpy_eV_per_atom": relaxed.enthalpy_eV / len(atoms),
        "volume_A3_per_atom": atoms.get_volume() / len(atoms),
        "largest_force_eV_per_A": relaxed.largest_force_eV_per_A,
        "stress_deviation_GPa": relaxed.stress_deviation_GPa,
    }
