"""Another machine-learned potential computes the labels."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase import Atoms
from pydantic import Field, PrivateAttr

from entrove.labelling.engines.base import Computation, Engine, evaluate_calculator
from entrove.models.registry import NAMES, split_modal


class Mlip(Engine):
    """Labels from a model of `entrove.models`, by name or path.

    Arguments: `model`, the name or path of the model; `device`, where it runs: 'cpu', 'cuda' or
    'auto'.
    """

    reference_seconds: ClassVar[float] = 0.1
    labels_per_process: ClassVar[int] = 100_000
    version_counts: ClassVar[bool] = False  # its weights count by their content

    name: Literal["mlip"] = "mlip"
    model: str = Field(
        description="Name or path of the model, as under the key `model` of the campaign."
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="cpu", description="Where it runs: 'cpu', 'cuda' or 'auto'."
    )
    _model: Any = PrivateAttr(None)

    @property
    def kind(self) -> str:
        """Name of the engine."""
        return self.name

    def theory(self) -> dict[str, object]:
        """The model: by name, or by the content of its file or folder."""
        path, fidelity = self._find(Path())
        identity = self.model if path is None else f"sha256:{_hash_files(path)}{fidelity}"
        return {"name": self.name, "model": identity}

    def resolved_against(self, folder: Path) -> Engine:
        """The same engine; a model that is a file in `folder` by its full path."""
        path, fidelity = self._find(folder)
        return self if path is None else self.model_copy(update={"model": f"{path}{fidelity}"})

    def check_available(self) -> None:
        """Raise `EntroveError` when the model cannot be loaded, or the device is not there."""
        self._model = self._load(self.device)

    def check_settings(self) -> None:
        """Raise `EntroveError` when the model cannot be loaded.

        The device must be there only where the workers run.
        """
        self._model = self._load("cpu")

    def uncovered(self, species: Iterable[str]) -> list[str]:
        """Species that the model was not trained on."""
        known = (self._model or self._load("cpu")).species
        return [] if known is None else [symbol for symbol in species if symbol not in known]

    def version(self) -> str:
        """The model's own name."""
        return self.model

    def warm_up(self) -> None:
        """Load the model."""
        if self._model is None:
            self._model = self._load(self.device)

    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:  # noqa: ARG002
        """One evaluation."""
        # As a batch of one: SevenNet's own calculator takes five seconds more to import.
        from entrove.models.prediction import predict

        self.warm_up()
        (labelled,) = predict(self._model, [atoms])
        return evaluate_calculator(labelled.calc, atoms)

    def _find(self, folder: Path) -> tuple[Path | None, str]:
        """The model's file, None for one by name, and its fidelity with the at sign before it."""
        base, fidelity = split_modal(self.model, folder)
        path = folder / base
        found = base not in NAMES and path.exists()
        return path if found else None, "" if fidelity is None else f"@{fidelity}"

    def _load(self, device: str) -> Any:
        # Loads torch and the framework of the model: only where it really runs.
        from entrove.models.registry import load

        return load(self.model, device=device)


def _hash_files(path: Path) -> str:
    digest = hashlib.sha256()
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
