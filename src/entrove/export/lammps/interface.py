"""What the export for LAMMPS needs to know of a framework."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ase import Atoms

from entrove.export.agreement import Prediction


@dataclass(frozen=True)
class PairStyle:
    """The commands of an input that select an exported potential.

    Attributes:
        name: Name of the pair style, without arguments.
        file: The file of the potential, relative to the folder of the input.
        newton: What the pair style needs of the command `newton`: "on" or "off".
        ranks: On how many MPI ranks it runs, in words.
        sums_in_single: Whether it sums the energies of atoms in float32.
    """

    name: str
    file: str
    newton: str
    ranks: str
    sums_in_single: bool = False

    def commands(self, species: Sequence[str]) -> list[str]:
        """The commands; `species` are the elements of the atom types 1, 2, ..."""
        return [
            f"pair_style      {self.name}",
            f"pair_coeff      * * {self.file} {' '.join(species)}",
        ]


@runtime_checkable
class LammpsExporter(Protocol):
    """Writes the potential of one framework for its pair style."""

    how_to_build: str
    """How LAMMPS is built with the pair style, in Markdown."""

    what_python_runs: str
    """What `evaluate` runs, in words."""

    def write(self, model_name: str, checkpoint: Path, folder: Path, device: str) -> PairStyle:
        """Write the file of the potential into `folder` with the framework's own exporter.

        Args:
            model_name: The model as `entrove.models.load` takes it, with its fidelity.
            checkpoint: Its file.
            folder: Where the file goes.
            device: "cpu" or "cuda"; a framework whose files run on both may ignore it.

        Raises `ModelError` when the framework cannot export the model.
        """
        ...

    def evaluate(
        self, folder: Path, style: PairStyle, structures: Sequence[Atoms], device: str
    ) -> list[Prediction]:
        """Evaluate the written file in Python, with the inputs that the pair style gives it."""
        ...
