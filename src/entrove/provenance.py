"""Where a structure came from and what it was labelled with: the `entrove_*` keys of `atoms.info`.

Every file of a campaign is extended XYZ with these keys, so that a structure tells its own story
wherever it is copied to. All of them are named here and nowhere else.
"""

PREFIX = "entrove_"

POOL = "entrove_pool"
"""The pool that proposed the structure, see `entrove.sampling.candidates.Pool`."""
KIND = "entrove_kind"
"""How it was made: strained, sheared, molecular dynamics, ..."""
PHASE = "entrove_phase"
"""The phase of the seed that it descends from."""
PRESSURE = "entrove_pressure_GPa"
"""Pressure of the regime that made it, in GPa."""
TEMPERATURE = "entrove_temperature_K"
"""Temperature of the regime that made it, in K."""
WALKER = "entrove_walker"
"""Number of its walker."""
STEP = "entrove_step"
"""MD step of its walker."""
KAPPA = "entrove_kappa_eV"
"""Strength of the bias at that step, in eV."""

ADMITTED = "entrove_admitted"
"""Whether a snapshot joined the dataset that later walkers were driven away from."""

ROUND = "entrove_round"
"""Round of the campaign that labelled it."""
GAIN = "entrove_gain_nats"
"""What the selection expected of its label, in nats."""

STRUCTURE_HASH = "entrove_structure_hash"
"""Content hash of the structure, see `entrove.structures.content_hash`."""
LEVEL_OF_THEORY = "entrove_level_of_theory"
"""Hash of the level of theory of its label."""
ENGINE = "entrove_engine"
"""Engine that labelled it, and its version."""
ENGINE_SECONDS = "entrove_engine_seconds"
"""Time that the engine took, in s."""

ENERGY_SPREAD = "entrove_energy_spread_eV"
"""Spread of a committee's energies, in eV."""
FORCES_SPREAD = "entrove_forces_spread_eV_per_A"
"""Spread of a committee's forces on each atom, in eV/A; in `atoms.arrays`."""
