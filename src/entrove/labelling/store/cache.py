"""Labels on disk: one SQLite file, one transaction per label, shared between campaigns."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from entrove.errors import LabelError
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store import claims, import_records
from entrove.labelling.store.cache_file import CacheFile
from entrove.labelling.store.cache_rows import (
    LABEL_COLUMNS,
    insert_label,
    label_from_row,
    row_of_label,
)
from entrove.labelling.store.import_records import ImportRecord
from entrove.labelling.store.moments import (
    NONE,
    UNKNOWN,
    copy_moments,
    label_key,
    magnetic_state,
    says_moments,
)
from entrove.labelling.store.nearby import Nearby, NearbyStructures, Turned
from entrove.labelling.store.superseded import remove_superseded
from entrove.structures import canonical_order, content_hash


@dataclass(frozen=True)
class LabelState:
    """A label without its numbers, as `entrove labels` lists it.

    `level_of_theory` is a hash, `moments` the magnetic state (see `moments.py`).
    """

    structure_hash: str
    level_of_theory: str
    formula: str
    outcome: Outcome
    cause: str
    attempts: int
    engine_seconds: float
    folder: str
    finished_utc: str
    moments: str = NONE

    @property
    def key(self) -> str:
        """What the label is known by, which also names the folder of its attempts."""
        return label_key(self.structure_hash, self.moments)


class LabelCache(CacheFile):
    """Every label that was ever computed, by content hash of the structure and level of theory.

    A structure has one label for each magnetic state, see `moments`; labels whose state nobody
    wrote down are found for every one. Atoms are stored in canonical order, so a label is found
    for any order and any periodic images
    of the same structure. Where a level is asked for, its hash will do.

    Args:
        path: The SQLite file; it is created when it does not exist.
        busy_timeout_s: How long to wait for another process that writes, in s.
        read_only: Neither the file nor its folder is changed, which may be read-only; what would
            change it raises `LabelError`.

    All methods raise `LabelError` when the file is locked for longer than that, full, not
    writable, not a cache, or of a newer Entrove.
    """

    def __init__(self, path: str | Path, *, busy_timeout_s: float = 30.0, read_only: bool = False):
        super().__init__(path, busy_timeout_s=busy_timeout_s, read_only=read_only)
        self._nearby = NearbyStructures(self._connection)

    def __enter__(self) -> "LabelCache":
        return self

    def get(self, atoms: Atoms, level: LevelOfTheory | str) -> Label | None:
        """The label of this structure at this level, in the atom order of `atoms`, or None."""
        return self.get_by_hash(content_hash(atoms), atoms, level)

    def get_by_hash(
        self, structure_hash: str, atoms: Atoms, level: LevelOfTheory | str
    ) -> Label | None:
        """As `get`, for a caller who knows the content hash of `atoms` already.

        Args:
            structure_hash: That hash, from `entrove.structures.content_hash`.
            atoms: The structure.
            level: The level of theory, or its hash.
        """
        found = self._find_exactly(structure_hash, atoms, _hash_of(level))
        if found is not None and not self.read_only:
            self._settle_state(structure_hash, atoms, level)
        if found is not None or isinstance(level, str):
            return found
        found = self.find(atoms, level)
        if found is not None and not self.read_only:
            # From now on it is known under this structure too, and can be rejected or withdrawn.
            self._adopt(atoms, found, level)
        return found

    def find(self, atoms: Atoms, level: LevelOfTheory) -> Label | None:
        """The label of this structure, also where it is not stored under its content hash.

        That is a label of the same program and settings from a cache of release 0.1, whose levels
        had no version; and an imported label whose file had few decimals, with atoms and cell
        within `nearby.SAME_GEOMETRY_A`. The label names the level that is asked for.
        """
        structure_hash = content_hash(atoms)
        unversioned = level.without_version()
        levels = (level,) if unversioned == level else (level, unversioned)
        for searched in levels:
            label = self._find_exactly(structure_hash, atoms, searched.hash)
            if label is None:
                with self._errors():
                    nearby = self._nearby.find(atoms, searched.hash, magnetic_state(atoms))
                if nearby is None:
                    continue
                label = self._stored(nearby.structure_hash, searched.hash, magnetic_state(atoms))
                assert label is not None  # it was just found
                label = label.reordered(nearby.order)
            # A failure stays where it is: it could not be released from two levels.
            same_program = label.attempts == 0 or label.engine_version == level.version
            if searched == level or (label.converged and same_program):
                return replace(label, structure_hash=structure_hash, level_of_theory=level.hash)
        return None

    def find_stored(self, atoms: Atoms, level: LevelOfTheory) -> tuple[Atoms, Label] | None:
        """The structure and label as they are stored that `find` finds within the decimals.

        The structure says the magnetic moments of `atoms`. None where the label is stored for
        exactly `atoms`, or there is none.
        """
        if self._find_exactly(content_hash(atoms), atoms, level.hash) is not None:
            return None
        with self._errors():
            nearby = self._nearby.find(atoms, level.hash, magnetic_state(atoms))
        if nearby is None:
            return None
        label = self._stored(nearby.structure_hash, level.hash, magnetic_state(atoms))
        assert label is not None  # it was just found
        return _in_state_of(atoms, nearby), label

    def find_turned(self, atoms: Atoms, level: LevelOfTheory) -> Turned | None:
        """The crystal with a label that is this one in another orientation, as it is stored.

        It says the magnetic moments of `atoms`. None where there is none; a label of this very
        orientation is found by `find`.
        """
        with self._errors():
            turned = self._nearby.find_turned(atoms, level.hash, magnetic_state(atoms))
        return None if turned is None else replace(turned, atoms=_in_state_of(atoms, turned))

    def _find_exactly(self, structure_hash: str, atoms: Atoms, level_hash: str) -> Label | None:
        label = self._stored(structure_hash, level_hash, magnetic_state(atoms))
        return None if label is None else label.reordered(np.argsort(canonical_order(atoms)))

    def _stored(self, structure_hash: str, level_hash: str, state: str) -> Label | None:
        """A label as it is stored, its atoms in canonical order."""
        with self._errors():
            row = self._connection.execute(
                f"SELECT {LABEL_COLUMNS} FROM labels WHERE structure_hash = ? AND level_hash = ? "
                # A failure must not hide a label that was imported for any state.
                f"AND moments IN (?, '{UNKNOWN}') ORDER BY outcome != ?, moments = '{UNKNOWN}'",
                (structure_hash, level_hash, state, Outcome.CONVERGED.value),
            ).fetchone()
        return None if row is None else label_from_row(row)

    def is_labelled(self, atoms: Atoms, level: LevelOfTheory | str) -> bool:
        """Whether nothing is left to compute for this structure at this level.

        A label that failed counts. A crystal whose label was imported without a stress does not.
        """
        label = self.get(atoms, level)
        return label is not None and (label.import_id is None or not label.lacks_stress_of(atoms))

    def knows(self, atoms: Atoms, level: LevelOfTheory) -> bool:
        """Whether there is a label of this structure at this level.

        One that says its magnetic moments has to be there in this state, others in any.
        """
        if says_moments(atoms):
            return self.find(atoms, level) is not None
        with self._errors():
            row = self._connection.execute(
                "SELECT 1 FROM labels WHERE structure_hash = ? AND level_hash = ?",
                (content_hash(atoms), level.hash),
            ).fetchone()
        return row is not None or self.find(atoms, level) is not None

    def knows_import(self, atoms: Atoms, level: LevelOfTheory) -> bool:
        """Whether there is an imported label of this geometry, of whichever magnetic state."""
        with self._errors():
            return any(
                self._connection.execute(
                    "SELECT 1 FROM labels WHERE rowid = ? AND structure_hash = ? AND "
                    "level_hash = ? AND import_id IS NOT NULL AND outcome = 'converged'",
                    (match.rowid, match.structure_hash, level.hash),
                ).fetchone()
                for match in self._nearby.find_all(atoms, level.hash)
            )

    def _settle_state(self, structure_hash: str, atoms: Atoms, level: LevelOfTheory | str) -> None:
        """Let a computed label of unknown magnetic state be one of the state that asked first.

        Caches before schema 3 did not keep states; the campaign that continues with such a cache
        asks for those that it had computed. Imported labels stay open.
        """
        where = "structure_hash = ? AND level_hash = ?"
        values = (structure_hash, _hash_of(level))
        with self._errors():
            row = self._connection.execute(
                f"SELECT 1 FROM labels WHERE {where} AND moments = '{UNKNOWN}' AND "
                f"import_id IS NULL AND (SELECT count(*) FROM labels WHERE {where}) = 1",
                (*values, *values),
            ).fetchone()
        if row is None:
            return
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE OR IGNORE labels SET moments = ? WHERE {where} AND moments = '{UNKNOWN}'",
                (magnetic_state(atoms), *values),
            )

    def _adopt(self, atoms: Atoms, label: Label, level: LevelOfTheory) -> None:
        with self._errors():
            row = self._connection.execute(
                "SELECT electrons, kpoints FROM labels WHERE folder = ? AND level_hash IN (?, ?)",
                (label.folder, level.hash, level.without_version().hash),
            ).fetchone()
        electrons, kpoints = row or (0, 1)
        self.put(atoms, label, level, electrons=electrons, kpoints=kpoints)

    def put(
        self,
        atoms: Atoms,
        label: Label,
        level: LevelOfTheory,
        *,
        electrons: int = 0,
        kpoints: int = 1,
        replacing: bool = False,
        state_is_known: bool = True,
    ) -> None:
        """Store a label in one transaction, and end this process's claim of its structure.

        Args:
            atoms: The structure; its magnetic state is that of the label.
            label: The label, with forces in the order of `atoms`.
            level: Its level of theory.
            electrons, kpoints: What its cost depends on, see `entrove.labelling.cost`.
            replacing: Whether it takes the place of an imported label. Any other converged label
                that is there already stays.
            state_is_known: Without it, atoms that say nothing of their moments may have any.

        Raises `LabelError` when the label is of another level.
        """
        _require_level(label, level)
        row = row_of_label(
            atoms, label, electrons=electrons, kpoints=kpoints, state_is_known=state_is_known
        )
        with self._transaction() as connection:
            self._write(connection, row, level, replacing=replacing)

    def correct(self, atoms: Atoms, label: Label, level: LevelOfTheory) -> None:
        """Store an imported label in the place of all imported ones that are found for its atoms.

        They are removed in the same transaction, with the copies that were kept of them for
        structures that asked for them. Labels of other magnetic states and those that were
        computed stay.

        Args:
            atoms: The structure; without moments of its own the label is one of any state.
            label: The label, with forces in the order of `atoms`.
            level: Its level of theory.

        Raises `LabelError` when the label is of another level.
        """
        _require_level(label, level)
        row = row_of_label(atoms, label, electrons=0, kpoints=1, state_is_known=False)
        with self._transaction() as connection:
            remove_superseded(connection, self._nearby, atoms, label)
            self._write(connection, row, level, replacing=True)

    def _write(
        self,
        connection: sqlite3.Connection,
        row: dict[str, Any],
        level: LevelOfTheory,
        *,
        replacing: bool,
    ) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO levels (hash, engine, settings) VALUES (?, ?, ?)",
            (level.hash, level.engine, level.settings),
        )
        rowid = insert_label(connection, row, replacing=replacing)
        claims.release(connection, label_key(row["structure_hash"], row["moments"]), level.hash)
        if rowid is not None and row["outcome"] == Outcome.CONVERGED.value:
            self._nearby.stored(rowid, row)

    def add_import(self, level: LevelOfTheory, source: str, conventions: str) -> int:
        """Enter a file whose labels are to be stored.

        Args:
            level: The level of theory that they are stored at.
            source: The file, as a text.
            conventions: What was done with its units and signs, one per line.

        Returns the number of the import, for `Label.import_id` and `withdraw_import`.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._transaction() as connection:
            return import_records.add(connection, level.hash, source, conventions, now)

    def imports(self) -> list[ImportRecord]:
        """Every file whose labels were imported, oldest first."""
        with self._errors():
            return import_records.read(self._connection)

    def withdraw_import(self, import_id: int) -> list[str]:
        """Delete all labels of an import; returns the content hashes of their structures.

        Raises `LabelError` when there is no such import.
        """
        known = [record.id for record in self.imports()]
        if import_id not in known:
            raise LabelError(
                f"{self.path}: there is no import {import_id}; the numbers that there are: "
                f"{', '.join(map(str, known)) or 'none'}"
            )
        with self._transaction() as connection:
            return import_records.remove(connection, import_id)

    def engine_versions(self, level: LevelOfTheory | str) -> set[str]:
        """Versions by which the converged labels of a level were computed; imports say none."""
        with self._errors():
            rows = self._connection.execute(
                "SELECT DISTINCT engine_version FROM labels WHERE level_hash = ? AND outcome = ? "
                "AND attempts > 0 AND engine_version != ''",
                (_hash_of(level), Outcome.CONVERGED.value),
            ).fetchall()
        return {version for (version,) in rows}

    def claim(self, key: str, level: LevelOfTheory | str) -> bool:
        """Claim a structure for this process; False when a process that is alive has claimed it.

        Args:
            key: `moments.label_key` of the structure.
            level: The level of theory that it is to be labelled at, or its hash.

        Look at the cache again afterwards: the other process may just have finished.
        """
        with self._transaction(durable=False) as connection:
            return claims.take(connection, key, _hash_of(level))

    def renew_claims(self) -> None:
        """Keep the claims of this process; needed every `claims.HEARTBEAT_S` seconds."""
        with self._transaction(durable=False) as connection:
            claims.renew(connection)

    def release_claims(self, keys: Iterable[str], level: LevelOfTheory | str) -> None:
        """End claims of this process, so that others may compute these structures.

        Args:
            keys: `moments.label_key` of each structure.
            level: The level of theory that they were claimed at, or its hash.
        """
        with self._transaction(durable=False) as connection:
            for key in keys:
                claims.release(connection, key, _hash_of(level))

    def reject(
        self,
        structure_hash: str,
        level: LevelOfTheory | str,
        cause: str,
        *,
        moments: str | None = None,
    ) -> None:
        """Quarantine a label that had converged.

        Args:
            structure_hash: Content hash of its structure.
            level: Its level of theory.
            cause: What is wrong with it.
            moments: Its magnetic state; None: labels of all states are quarantined. A structure
                without moments has the label of another state where there is no other: datasets
                of earlier versions kept no moments.

        Raises `LabelError` when there is no such label.
        """
        values = (Outcome.REJECTED.value, cause, structure_hash, _hash_of(level))
        update = (
            "UPDATE labels SET outcome = ?, cause = ? WHERE structure_hash = ? AND level_hash = ?"
        )
        of_state = f"{update} AND moments IN (?, '{UNKNOWN}')"
        with self._transaction() as connection:
            changed = (
                connection.execute(of_state, (*values, moments)).rowcount
                if moments is not None
                else 0
            )
            if not changed and moments in (None, NONE):
                changed = connection.execute(update, values).rowcount
        if not changed:
            raise LabelError(
                f"{self.path}: holds no label of structure {structure_hash} that could be rejected"
            )

    def states(
        self,
        level: LevelOfTheory | str | None = None,
        structure_hashes: Iterable[str] | None = None,
    ) -> list[LabelState]:
        """The state of every label, oldest first.

        Args:
            level: Only labels of this level of theory, or of the one with this hash.
            structure_hashes: Only labels of structures with these content hashes.
        """
        wanted = None if structure_hashes is None else set(structure_hashes)
        with self._errors():
            rows = self._connection.execute(
                "SELECT structure_hash, level_hash, formula, outcome, cause, attempts, "
                "engine_seconds, folder, finished_utc, moments FROM labels "
                "WHERE level_hash = coalesce(?, level_hash) ORDER BY rowid",
                (None if level is None else _hash_of(level),),
            ).fetchall()
        names = [field.name for field in fields(LabelState)]
        records: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
        for record in records:
            record["outcome"] = Outcome(record["outcome"])
        states = [LabelState(**record) for record in records]
        return [state for state in states if wanted is None or state.structure_hash in wanted]

    def forget_failure(
        self, structure_hash: str, level: LevelOfTheory | str, *, moments: str | None = None
    ) -> bool:
        """Delete a quarantined label, so that it is tried again; False when there is none.

        Args:
            structure_hash: Content hash of its structure.
            level: Its level of theory, or the hash of that.
            moments: Its magnetic state; None: labels of all states.
        """
        with self._transaction() as connection:
            deleted = connection.execute(
                "DELETE FROM labels WHERE structure_hash = ? AND level_hash = ? AND outcome != ? "
                "AND moments = coalesce(?, moments)",
                (structure_hash, _hash_of(level), Outcome.CONVERGED.value, moments),
            ).rowcount
        return deleted > 0

    def levels(self) -> list[LevelOfTheory]:
        """Every level of theory that a label was ever stored at."""
        with self._errors():
            rows = self._connection.execute(
                "SELECT engine, settings FROM levels ORDER BY rowid"
            ).fetchall()
        return [LevelOfTheory(*row) for row in rows]

    def labelled_structures(self, level: LevelOfTheory | str) -> Iterator[Atoms]:
        """Every converged label of a level as `Atoms` with results, in the order of storing."""
        with self._errors():
            rows = self._connection.execute(
                f"SELECT structure, {LABEL_COLUMNS} FROM labels "
                "WHERE level_hash = ? AND outcome = ? ORDER BY rowid",
                (_hash_of(level), Outcome.CONVERGED.value),
            ).fetchall()
        for structure, *row in rows:
            yield label_from_row(row).attach(Atoms(**json.loads(structure)))

    def costs(self, level: LevelOfTheory | str) -> list[tuple[int, int, int, float]]:
        """Atoms, electrons, k-points and engine seconds of every converged label of a level.

        Of a level with a version those that other versions computed count too: the cost is alike.
        """
        hashes = [_hash_of(level)]
        if not isinstance(level, str):
            hashes.append(level.without_version().hash)
        with self._errors():
            return self._connection.execute(
                "SELECT DISTINCT atom_count, electrons, kpoints, engine_seconds FROM labels "
                "WHERE level_hash IN (?, ?) AND outcome = ? AND engine_seconds > 0 ORDER BY rowid",
                (hashes[0], hashes[-1], Outcome.CONVERGED.value),
            ).fetchall()


def _hash_of(level: LevelOfTheory | str) -> str:
    return level if isinstance(level, str) else level.hash


def _require_level(label: Label, level: LevelOfTheory) -> None:
    if label.level_of_theory != level.hash:
        raise LabelError(
            f"a label at level {label.level_of_theory} cannot be stored at {level.hash}; "
            "label it again"
        )


def _in_state_of(atoms: Atoms, found: Nearby | Turned) -> Atoms:
    """A stored structure that was found for `atoms`, with the magnetic moments that these say."""
    stored = found.atoms.copy()
    stored.calc = SinglePointCalculator(stored)  # computed moments are results
    copy_moments(atoms, stored, np.argsort(found.order))
    return stored
