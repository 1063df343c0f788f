"""The file of a dataset: a NumPy archive with a JSON header, replaced in one step."""

import json
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Shaped

from entrove.entropy.config import EntropyConfig
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.whitening import Scaling, Whitening
from entrove.errors import SelectionError
from entrove.files import replacing
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap

FORMAT = "entrove-entropy-dataset"
SCHEMA = 1

Arrays = dict[str, Shaped[np.ndarray, "..."]]


@dataclass(frozen=True)
class StoredDataset:
    """All that a dataset is: settings, the description of its feature map, and statistics."""

    config: EntropyConfig
    features: dict[str, Any]
    moments: SpeciesMoments
    whitening: Whitening
    members: Counter[str]
    """Content hashes of the structures, and how often each was added."""


def write_dataset(path: str | Path, stored: StoredDataset) -> None:
    """Write a dataset to one file, replacing `path` in one step."""
    moments, whitening = stored.moments, stored.whitening
    arrays: Arrays = {
        "hashes": np.array(list(stored.members), dtype="S32"),
        "hash_counts": np.array(list(stored.members.values()), dtype=np.int64),
    }
    for number in moments.species:
        arrays[f"count_{number}"] = np.array(moments[number].count)
        arrays[f"total_{number}"] = moments[number].total.numpy()
        arrays[f"outer_{number}"] = moments[number].outer.numpy()
    for number in whitening.species:
        arrays[f"mean_{number}"] = whitening[number].mean.numpy()
        arrays[f"scale_{number}"] = whitening[number].scale.numpy()
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "species": list(moments.species),
        "calibrated": list(whitening.species),
        "config": stored.config.model_dump(),
        "features": stored.features,
    }
    # Into a handle: NumPy would add ".npz" to the name of the unfinished file.
    with replacing(path) as unfinished, unfinished.open("wb") as handle:
        np.savez(handle, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)


def read_dataset(path: str | Path) -> StoredDataset:
    """Read a dataset back.

    Raises `SelectionError` when the file is missing, damaged, no entropy dataset, or of another
    schema.
    """
    header, arrays = _read_archive(Path(path))

    def tensor(name: str) -> torch.Tensor:
        return cast("Any", torch).from_numpy(arrays[name])

    moments = {
        number: Moments(
            int(arrays[f"count_{number}"]), tensor(f"total_{number}"), tensor(f"outer_{number}")
        )
        for number in header["species"]
    }
    scalings = {
        number: Scaling(tensor(f"mean_{number}"), tensor(f"scale_{number}"))
        for number in header["calibrated"]
    }
    hashes = [digest.decode() for digest in arrays["hashes"].tolist()]
    return StoredDataset(
        EntropyConfig.model_validate(header["config"]),
        header["features"],
        SpeciesMoments(moments),
        Whitening(scalings),
        Counter(dict(zip(hashes, arrays["hash_counts"].tolist(), strict=True))),
    )


def _read_archive(path: Path) -> tuple[dict[str, Any], Arrays]:
    if not path.is_file():
        raise SelectionError(f"{path}: no such file; check the path of the saved entropy dataset")
    try:
        # From a handle: NumPy leaves a file that it opened itself open when it is damaged.
        with path.open("rb") as handle:
            archive = np.load(handle, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            arrays: Arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop("header")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SelectionError(
            f"{path}: not an entropy dataset, or damaged ({error}); "
            "use a file written by EntropyDataset.save"
        ) from error
    if header.get("format") != FORMAT:
        raise SelectionError(
            f"{path}: not an entropy dataset; use a file written by EntropyDataset.save"
        )
    if header.get("schema") != SCHEMA:
        raise SelectionError(
            f"{path}: schema {header.get('schema')}, but this version of Entrove reads schema "
            f"{SCHEMA}; add the structures to a new dataset"
        )
    return header, arrays


def fingerprints_from(description: dict[str, Any]) -> GaussianOverlap:
    """Rebuild Gaussian overlap fingerprints from their description.

    Raises `SelectionError` for features of another kind.
    """
    if description.get("kind") != "gaussian_overlap":
        raise SelectionError(
            f"the dataset was made with features of kind {description.get('kind')!r}, which its "
            "file does not contain; pass the feature map as features=..."
        )
    settings = {key: description[key] for key in ("cutoff_A", "length", "orbitals")}
    return GaussianOverlap(FingerprintConfig(radii_A=description["radii_A"] or None, **settings))


def as_json(description: dict[str, object]) -> dict[str, Any]:
    """What a description reads like after a round trip through JSON (tuples become lists)."""
    return cast("dict[str, Any]", json.loads(json.dumps(description)))


def differences(stored: dict[str, Any], given: dict[str, Any]) -> str:
    """Name the entries in which two descriptions differ, for an error message."""
    keys = [
        key for key in sorted(stored.keys() | given.keys()) if stored.get(key) != given.get(key)
    ]
    return "; ".join(
        f"{key}: stored {stored.get(key)!r}, given {given.get(key)!r}" for key in keys
    )
