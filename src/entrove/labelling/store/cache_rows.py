"""One label as a row of the cache: arrays as bytes, the structure as JSON."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ase import Atoms

from entrove.labelling.labels import Label, Outcome
from entrove.labelling.store.moments import NONE, UNKNOWN, magnetic_state, says_moments
from entrove.structures import canonical_order

LABEL_COLUMNS = (
    "structure_hash, level_hash, outcome, cause, folder, energy, forces, stress, attempts, "
    "engine_seconds, engine, engine_version, host_class, started_utc, import_id"
)


def label_from_row(row: Iterable) -> Label:
    """The label of a row of `LABEL_COLUMNS`, its atoms in canonical order."""
    columns = dict(zip(LABEL_COLUMNS.split(", "), row, strict=True))
    stress = _from_blob(columns["stress"])
    return Label(
        structure_hash=columns["structure_hash"],
        level_of_theory=columns["level_hash"],
        outcome=Outcome(columns["outcome"]),
        cause=columns["cause"],
        folder=columns["folder"],
        energy_eV=columns["energy"],
        forces_eV_per_A=_from_blob(columns["forces"]),
        stress_eV_per_A3=stress,
        attempts=columns["attempts"],
        engine_seconds=columns["engine_seconds"],
        engine=columns["engine"],
        engine_version=columns["engine_version"],
        host_class=columns["host_class"],
        started_utc=columns["started_utc"],
        import_id=columns["import_id"],
    )


def row_of_label(
    atoms: Atoms, label: Label, *, electrons: int, kpoints: int, state_is_known: bool
) -> dict[str, Any]:
    """The columns of a label, see `LabelCache.put`."""
    order = canonical_order(atoms)
    label = label.reordered(order)
    state = magnetic_state(atoms)
    is_open = state == NONE and not state_is_known and not says_moments(atoms)
    return {
        "structure_hash": label.structure_hash,
        "level_hash": label.level_of_theory,
        "outcome": label.outcome.value,
        "cause": label.cause,
        "folder": label.folder,
        "energy": label.energy_eV,
        "forces": _to_blob(label.forces_eV_per_A),
        "stress": _to_blob(label.stress_eV_per_A3),
        "attempts": label.attempts,
        "engine_seconds": label.engine_seconds,
        "engine": label.engine,
        "engine_version": label.engine_version,
        "host_class": label.host_class,
        "started_utc": label.started_utc,
        "formula": atoms.get_chemical_formula(),
        "atom_count": len(atoms),
        "structure": _structure_to_json(atoms, order),
        "import_id": label.import_id,
        "electrons": electrons,
        "kpoints": kpoints,
        "moments": UNKNOWN if is_open else state,
    }


def insert_label(
    connection: sqlite3.Connection, row: Mapping[str, Any], *, replacing: bool = False
) -> int | None:
    """Write a row where there is none, or a failure; with `replacing` also over an imported label.

    Returns its number; None where another label was kept.
    """
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    updates = ", ".join(f"{name} = excluded.{name}" for name in row)
    written = connection.execute(
        f"INSERT INTO labels ({names}) VALUES ({values}) ON CONFLICT DO UPDATE SET "
        f"{updates}, finished_utc = CURRENT_TIMESTAMP WHERE labels.outcome != "
        f"'{Outcome.CONVERGED}'"
        + (" OR labels.import_id IS NOT NULL" if replacing else "")
        + " RETURNING rowid",
        row,
    ).fetchone()
    return None if written is None else written[0]


def _to_blob(array: np.ndarray | None) -> bytes | None:
    """Numbers as little-endian float64, whatever the machine."""
    return None if array is None else np.ascontiguousarray(array, dtype="<f8").tobytes()


def _from_blob(blob: bytes | None) -> np.ndarray | None:
    return None if blob is None else np.frombuffer(blob, dtype="<f8").reshape(-1, 3).copy()


def _structure_to_json(atoms: Atoms, order: np.ndarray) -> str:
    """Numbers, positions and cell in A, and periodicity, with the atoms in `order`."""
    return json.dumps(
        {
            "numbers": atoms.numbers[order].tolist(),
            "positions": atoms.positions[order].tolist(),
            "cell": atoms.cell.array.tolist(),
            "pbc": atoms.pbc.tolist(),
        }
    )
