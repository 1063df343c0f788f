"""An error names a structure by its position in the list that was given, not in a batch of it."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from entrove.entropy.dataset import EntropyDataset
from entrove.errors import EntroveError, StructureError
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.from_structures import fingerprint
from entrove.fingerprints.lengths import resolve_length
from entrove.selection.config import SelectionConfig
from entrove.selection.farthest_point import select_farthest
from entrove.selection.from_structures import select

BAD = 23


def pool(damage: Callable[[Atoms], None]) -> list[Atoms]:
    """Structures of two periodicities, one of which is damaged; ten of them fill a batch."""
    structures = []
    for index in range(30):
        atoms = bulk("Cu", cubic=True) * (6, 3, 3)
        atoms.rattle(0.05, seed=index)
        atoms.pbc = (True, True, index % 2)
        structures.append(atoms)
    damage(structures[BAD])
    return structures


def lose_a_position(atoms: Atoms) -> None:
    atoms.positions[2, 0] = np.nan


def put_one_on_another(atoms: Atoms) -> None:
    atoms.positions[2] = atoms.positions[1]


def flatten(atoms: Atoms) -> None:
    atoms.set_cell([atoms.cell[0], 2 * atoms.cell[0], atoms.cell[2]])


def remove_all_atoms(atoms: Atoms) -> None:
    del atoms[:]


DAMAGES = (lose_a_position, put_one_on_another, flatten, remove_all_atoms)
USES: dict[str, Callable[[Sequence[Atoms]], object]] = {
    "fingerprint": fingerprint,
    "length of a fingerprint": lambda structures: resolve_length(
        FingerprintConfig(length="auto"), structures
    ),
    "dataset": lambda structures: EntropyDataset().add(structures),
    "calibration": lambda structures: EntropyDataset().calibrate(structures),
    "selection": lambda structures: select(structures, 5),
    "selection by labels": lambda structures: select(structures, 5, entropy="labels"),
    "farthest points": lambda structures: select_farthest(structures, 5),
    "clusters": lambda structures: select(structures, 5, config=SelectionConfig(method="lcmd")),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_the_damaged_structure_is_named_by_its_position(use, damage):
    with pytest.raises(StructureError, match=rf"structure {BAD}\b") as caught:
        use(pool(damage))
    assert caught.value.structure == BAD


def test_atoms_are_counted_within_their_structure():
    with pytest.raises(StructureError, match=rf"atoms \[2\] are not finite .* structure {BAD};"):
        fingerprint(pool(lose_a_position))
    with pytest.raises(StructureError, match=rf"atoms 1 and 2 of structure {BAD} are at one"):
        fingerprint(pool(put_one_on_another))


def test_a_cost_that_is_no_time_is_named_by_its_position():
    structures = [bulk("Cu", a=3.5 + 0.01 * index) for index in range(9)]
    costs = iter([1.0] * 7 + [-1.0] * 2)
    config = SelectionConfig(rank_by="gain_per_second")
    with pytest.raises(EntroveError, match=r"structure 7 \(Cu\) is -1\.0 s"):
        select(structures, 2, config=config, cost_s=lambda _: next(costs))
