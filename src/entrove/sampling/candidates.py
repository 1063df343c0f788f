"""A candidate: a structure that a pool proposes for labelling, and where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ase import Atoms

from entrove import provenance
from entrove.errors import StructureError
from entrove.structures import copy_structure, read_structures, write_structures

Pool = Literal["entropy_md", "ordered", "anchors", "random_md", "validation", "test"]
Kind = Literal["md", "relaxed", "strain", "shear", "perturbed", "random", "hot_md"]
"""`hot_md` is in the validation sets of campaigns that were started with release 0.1."""


@dataclass(frozen=True)
class Candidate:
    """A structure with its provenance; fields that do not apply are None.

    Attributes:
        atoms: The structure.
        pool: The pool that proposes it.
        kind: How it was made: strained, sheared, by MD, ...
        phase: Name of the phase that it was made from.
        pressure_GPa, temperature_K: Those of the regime that made it: the target of barostat and
            thermostat, or the pressure of the relaxation.
        walker: Index of its walker.
        step: MD step of that walker.
        kappa_eV: Bias strength at that step, in eV.
        bias_fraction: Fraction of the thermal force scale that an adaptive strength aims at.
        entropy, mode: Entropy that the walker was biased by, and its mode.
    """

    atoms: Atoms
    pool: Pool
    kind: Kind
    phase: str
    pressure_GPa: float
    temperature_K: float | None = None
    walker: int | None = None
    step: int | None = None
    kappa_eV: float | None = None
    bias_fraction: float | None = None
    entropy: str | None = None
    mode: str | None = None

    @property
    def purpose(self) -> Literal["training", "validation", "test"]:
        """What it is labelled for."""
        return self.pool if self.pool in ("validation", "test") else "training"

    def to_atoms(self) -> Atoms:
        """Return a copy of the structure with the provenance as `entrove_*` keys in `info`."""
        atoms = copy_structure(self.atoms)
        for name, (key, _) in _KEYS.items():
            value = getattr(self, name)
            if value is not None:
                atoms.info[key] = value
        return atoms

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> "Candidate":
        """Read what `to_atoms` wrote, also after a round trip through extended XYZ.

        Raises `StructureError` when a required key is missing or has an unknown value.
        """
        found: dict[str, Any] = {}
        for name, (key, kind) in _KEYS.items():
            value = atoms.info.get(key)
            # Extended XYZ gives NumPy scalars, and files of ASE or older versions have a phase
            # called "1" as an integer.
            found[name] = None if value is None else kind(value)
        missing = [
            _KEYS[name][0]
            for name in ("pool", "kind", "phase", "pressure_GPa")
            if found[name] is None
        ]
        if missing:
            raise StructureError(
                f"the structure {atoms.get_chemical_formula()} lacks the keys "
                f"{', '.join(missing)}; it was not written by Candidate.to_atoms"
            )
        for name, allowed in (("pool", get_args(Pool)), ("kind", get_args(Kind))):
            if found[name] not in allowed:
                raise StructureError(
                    f"{_KEYS[name][0]}={found[name]!r} is unknown; "
                    f"allowed are {', '.join(allowed)}"
                )
        return cls(atoms=copy_structure(atoms), **found)


_KEYS: dict[str, tuple[str, type]] = {
    "pool": (provenance.POOL, str),
    "kind": (provenance.KIND, str),
    "phase": (provenance.PHASE, str),
    "pressure_GPa": (provenance.PRESSURE, float),
    "temperature_K": (provenance.TEMPERATURE, float),
    "walker": (provenance.WALKER, int),
    "step": (provenance.STEP, int),
    "kappa_eV": (provenance.KAPPA, float),
    "bias_fraction": (provenance.BIAS_FRACTION, float),
    "entropy": (provenance.ENTROPY, str),
    "mode": (provenance.MODE, str),
}
"""Key in `info`, and type, of every field of a `Candidate` but the structure."""


def read_candidates(path: str | Path) -> list[Candidate]:
    """Read the candidates of an extended XYZ file; a file without content holds none.

    Raises `StructureError` when there is no such file, or when a structure lacks its provenance.
    """
    structures = read_structures(path, may_be_empty=Path(path).is_file())
    return [Candidate.from_atoms(atoms) for atoms in structures]


def write_candidates(path: str | Path, candidates: Sequence[Candidate]) -> None:
    """Write candidates as extended XYZ, replacing `path` in one step."""
    write_structures(path, [candidate.to_atoms() for candidate in candidates])
