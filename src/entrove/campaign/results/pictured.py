"""Structures that a report shows as pictures: relaxed seeds, and picks of the last round."""

from ase import Atoms

from entrove import provenance
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Relaxed, Selected
from entrove.campaign.results.results import PicturedStructure
from entrove.campaign.workspace import Workspace
from entrove.structures import read_structures

MOST_PICKS = 8
"""Picks of the last round, those with the largest gains first, or in the order of the picks."""


def read_pictured(ledger: Ledger, workspace: Workspace) -> list[PicturedStructure]:
    """Read the structures that are worth a picture, as far as the campaign has them."""
    if ledger.find(0, Relaxed) is None:
        return []
    found = [_pictured(0, atoms) for atoms in read_structures(workspace.round(0).relaxed)]
    last = max(ledger.each(Selected), default=0)
    if last:
        picked = read_structures(workspace.round(last).selected, may_be_empty=True)
        picked.sort(
            key=lambda atoms: -float(provenance.provenance_of(atoms).get(provenance.GAIN, 0))
        )
        found += [_pictured(last, atoms) for atoms in picked[:MOST_PICKS]]
    return found


def _pictured(round_index: int, atoms: Atoms) -> PicturedStructure:
    phase = str(provenance.provenance_of(atoms).get(provenance.PHASE, ""))
    return PicturedStructure(round_index, phase, describe_structure(atoms), atoms)


def describe_structure(atoms: Atoms) -> str:
    """Say of a structure what it is and where it comes from."""
    info = provenance.provenance_of(atoms)
    parts = [
        atoms.get_chemical_formula(),
        str(info.get(provenance.POOL, "")),
        str(info.get(provenance.KIND, "")),
    ]
    if provenance.PRESSURE in info:
        parts.append(f"{info[provenance.PRESSURE]:g} GPa")
    if provenance.TEMPERATURE in info:
        parts.append(f"{info[provenance.TEMPERATURE]:g} K")
    if provenance.GAIN in info:
        parts.append(f"gain {info[provenance.GAIN]:.2f} nats")
    return ", ".join(part for part in parts if part)
