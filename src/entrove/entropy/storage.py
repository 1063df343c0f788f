"""The file of a dataset: a NumPy archive with a JSON header, replaced in one step.

Written to a temporary file beside its target and renamed, so that a reader, or a restart after a
crash, sees the old file or the new one, never half of one.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from entrove.errors import SelectionError

FORMAT = "entrove-entropy-dataset"
SCHEMA = 1


def write_archive(path: str | Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write header and arrays."""
    path = Path(path)
    stamped = {"format": FORMAT, "schema": SCHEMA, **header}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as handle:
            np.savez(handle, allow_pickle=False, header=np.array(json.dumps(stamped)), **arrays)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and arrays.

    Raises `SelectionError` when the file is missing, is something else, is damaged, or has another schema.
    """
    path = Path(path)
    if not path.is_file():
        raise SelectionError(f"{path}: no such file; check the path of the saved entropy dataset")
    try:
        # A handle of our own: NumPy leaves its open when the file turns out to be damaged.
        with path.open("rb") as handle:
            archive = np.load(handle, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop("header")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SelectionError(
            f"{path}: not an entropy dataset, or damaged ({error}); use a file written by EntropyDataset.save"
        ) from error
    if header.get("format") != FORMAT:
        raise SelectionError(
            f"{path}: not an entropy dataset; use a file written by EntropyDataset.save"
        )
    if header.get("schema") != SCHEMA:
        raise SelectionError(
            f"{path}: schema {header.get('schema')}, but this version of Entrove reads schema {SCHEMA}; "
            "add the structures to a new dataset"
        )
    return header, arrays


def as_json(description: dict[str, object]) -> dict[str, Any]:
    """What a description reads like after a round trip through JSON (tuples become lists)."""
    return json.loads(json.dumps(description))


def differences(stored: dict[str, Any], given: dict[str, Any]) -> str:
    """Name the entries in which two descriptions differ, for an error message."""
    keys = [
        key for key in sorted(stored.keys() | given.keys()) if stored.get(key) != given.get(key)
    ]
    return "; ".join(
        f"{key}: stored {stored.get(key)!r}, given {given.get(key)!r}" for key in keys
    )
