"""Where a structure came from and what it was labelled with: the `entrove_*` keys of `atoms.info`.

Every structure file of a campaign is extended XYZ with these keys, so that a structure carries its
history wherever it is copied. All of the keys are defined here and nowhere else.
"""

from typing import Any

from ase import Atoms

POOL = "entrove_pool"
"""The pool that proposed the structure, see `entrove.sampling.candidates.Pool`."""
IMPORTED = "imported"
"""Pool, kind and phase of a label that was imported to be trained on; its round is 0."""
KIND = "entrove_kind"
"""How it was made: strained, sheared, molecular dynamics, ..."""
PHASE = "entrove_phase"
"""The phase of the seed that it started from."""
PRESSURE = "entrove_pressure_GPa"
"""Pressure at which it was made, in GPa."""
TEMPERATURE = "entrove_temperature_K"
"""Temperature at which it was made, in K."""
WALKER = "entrove_walker"
"""Index of the walker that visited it."""
RUN = "entrove_run"
"""Run of `entrove explore` whose walker that is; a campaign has no such key."""
STEP = "entrove_step"
"""MD step of that walker."""
KAPPA = "entrove_kappa_eV"
"""Strength of the bias at that step, in eV."""
BIAS_FRACTION = "entrove_bias_fraction"
"""Fraction of the thermal force scale that an adaptive strength aims at."""
ENTROPY = "entrove_entropy"
"""Entropy that the walker was biased by."""
MODE = "entrove_mode"
"""Mode of that entropy: per_atom or per_config."""

ADMITTED = "entrove_admitted"
"""Whether a snapshot was added to the dataset that later steps are biased away from."""

ROUND = "entrove_round"
"""Round of the campaign that labelled it."""
EXPLORED_IN = "entrove_explored_in"
"""Round whose exploration it comes from, where a later one labelled it: it was released then."""
GAIN = "entrove_gain_nats"
"""Information gain that the selection expected of its label, in nats."""

STRUCTURE_HASH = "entrove_structure_hash"
"""Content hash of the structure, see `entrove.structures.content_hash`."""
LEVEL_OF_THEORY = "entrove_level_of_theory"
"""Hash of the level of theory of its label."""
ENGINE = "entrove_engine"
"""Engine that labelled it, with its version."""
IMPORT = "entrove_import"
"""Number of the import that brought its label, as `entrove labels` lists it."""
ENGINE_SECONDS = "entrove_engine_seconds"
"""Wall time of the engine, in s."""

ENERGY_SPREAD = "entrove_energy_spread_eV"
"""Spread of a committee's energies, in eV."""
FORCES_SPREAD = "entrove_forces_spread_eV_per_A"
"""Spread of a committee's forces on each atom, in eV/A; in `atoms.arrays`."""
STRESS_SPREAD = "entrove_stress_spread_eV_per_A3"
"""Spread of a committee's stress, in eV/A^3, as a Frobenius norm."""

OF_LABEL = (LEVEL_OF_THEORY, ENGINE, ENGINE_SECONDS, IMPORT)
"""What says how the energy and forces of a structure were computed."""
OF_COMMITTEE = (ENERGY_SPREAD, STRESS_SPREAD)
"""What a committee has added to `atoms.info`; the spread of its forces is in `atoms.arrays`."""


def provenance_of(atoms: Atoms) -> dict[str, Any]:
    """Return `atoms.info`, to which ASE gives no type."""
    return atoms.info


def is_biased(atoms: Atoms) -> bool:
    """Whether a structure is a snapshot of a walker that an entropy has biased."""
    return provenance_of(atoms).get(ENTROPY) not in (None, "none")


OF_PREPARATION = ("anchors", "validation", "test")
"""Pools whose MD ran once, in whichever round a structure of it was labelled."""


def trajectory_of(atoms: Atoms) -> str | None:
    """Name the MD trajectory that a structure is a snapshot of.

    Args:
        atoms: A structure; its pool, the round that explored it, its walker and its run tell.

    Returns the name, equal for snapshots of one trajectory of one campaign or one run of
    `entrove explore`, or None for a structure without a walker. Snapshots of one trajectory
    resemble each other: they are not independent, and must not be divided between training and
    validation.
    """
    info = provenance_of(atoms)
    if info.get(WALKER) is None:
        return None
    pool = str(info.get(POOL, ""))
    explored_in = info.get(EXPLORED_IN, info.get(ROUND, 0))
    round_index = 0 if pool in OF_PREPARATION else int(explored_in)
    state = "-".join(f"{info.get(key)}" for key in (PHASE, PRESSURE, TEMPERATURE))
    run = f"-{info[RUN]}" if RUN in info else ""
    return f"{pool}-{round_index}-{int(info[WALKER])}-{state}{run}"
