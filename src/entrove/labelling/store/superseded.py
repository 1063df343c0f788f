"""Imported labels whose place a corrected one takes, wherever they would still be found.

A label is found under the content hash of its structure, within the decimals of a file, and under
the hashes of the structures that it was found for, which are copies of its row.
"""

import sqlite3

from ase import Atoms

from entrove.labelling.labels import Label
from entrove.labelling.store.moments import UNKNOWN, magnetic_state
from entrove.labelling.store.nearby import NearbyStructures


def remove_superseded(
    connection: sqlite3.Connection, nearby: NearbyStructures, atoms: Atoms, label: Label
) -> None:
    """Delete the imported labels that are found for a structure, and all copies of them.

    Args:
        connection: The cache, in a transaction.
        nearby: Its structures.
        atoms: The structure. Labels of another magnetic state than its own stay.
        label: The label that takes their place. Those of its own import stay, where they have all
            that it has: a file corrects nothing of its own.
    """
    for match in nearby.find_all(atoms, label.level_of_theory):
        found = connection.execute(
            "SELECT import_id, folder FROM labels WHERE rowid = ? AND structure_hash = ? AND "
            "level_hash = ? AND import_id IS NOT NULL AND outcome = 'converged' AND "
            f"moments IN (?, '{UNKNOWN}') AND (import_id != ? OR stress IS NULL)",
            (
                match.rowid,
                match.structure_hash,
                label.level_of_theory,
                magnetic_state(atoms),
                label.import_id,
            ),
        ).fetchone()
        if found is None:
            continue
        for copy in nearby.find_all(match.atoms, label.level_of_theory):
            connection.execute(
                "DELETE FROM labels WHERE rowid = ? AND structure_hash = ? AND level_hash = ? AND "
                "import_id = ? AND folder = ?",
                (copy.rowid, copy.structure_hash, label.level_of_theory, *found),
            )
