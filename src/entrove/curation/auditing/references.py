"""Single atoms, and what the energies of a set are measured from."""

from collections.abc import Iterator

import numpy as np

from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.residual_findings import files_of, named
from entrove.curation.auditing.spool import Spool
from entrove.formats.energy_zero import count_elements, judge_energy_zero

ENERGY_ZEROS = {
    "total": "zero of energy: total energies",
    "cohesive": "zero of energy: free atoms (cohesive energies)",
    "formation": "zero of energy: the elements (formation energies)",
    "undecided": "zero of energy: undecided",
}
_MOST_FOR_ZERO = 2000


def reference_findings(spool: Spool, energies_eV: np.ndarray, seed: int) -> Iterator[Finding]:
    """One-atom cells, and where the zero of energy lies."""
    records = spool.records
    alone = np.flatnonzero(np.asarray(records["isolated"]))
    if len(alone):
        yield Finding(
            "isolated_atoms",
            Severity.NOTE,
            "single atoms as energy references",
            "; ".join(
                f"{atoms.symbols}: {energies_eV[frame]:.6g} eV"
                for frame, atoms in zip(alone, spool.structures(alone[:8]), strict=False)
            ),
            "nothing has to be done; they take no part in fits and comparisons",
            named(spool, alone),
            len(alone),
            files_of(spool, alone),
        )
    zero = _energy_zero(spool, energies_eV, seed)
    if zero is not None:
        yield zero


def _energy_zero(spool: Spool, energies: np.ndarray, seed: int) -> Finding | None:
    """What energies are measured from, by single atoms, elements and their size."""
    records = spool.records
    alone = np.asarray(records["isolated"])
    sizes = np.asarray(records["atoms"])
    # A crystal of one atom per cell is no free atom.
    known = np.asarray(records["usable"]) & np.isfinite(energies) & (alone | (sizes > 1))
    frames = np.flatnonzero(known & ~np.asarray(records["against"]))
    few = frames[np.random.default_rng(seed).permutation(len(frames))[:_MOST_FOR_ZERO]]
    few = np.union1d(few, frames[alone[frames]][:_MOST_FOR_ZERO])
    if not len(few):
        return None
    counts, numbers = count_elements(spool.structures(few))
    smearing = np.array(records["smearing"][few], dtype=float)
    zero = judge_energy_zero(energies[few], counts, numbers, smearing)
    return Finding(
        "energy_reference",
        Severity.NOTE,
        ENERGY_ZEROS[zero.kind],
        "; ".join(said for said in (zero.evidence, zero.smearing, zero.doubt) if said),
        "compare with other sets after one shift per element only",
        count=len(frames),
    )
