"""One frame of a file with labels, and the names under which a file keeps its labels."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float
from numpy.typing import ArrayLike

from entrove.errors import StructureError
from entrove.formats.addresses import without_password

OTHER_RESULTS_OF_ATOMS = ("stresses", "charges", "magmoms", "energies")
"""Results of single atoms that are kept beside the labels."""
OTHER_RESULTS = ("free_energy", "dipole", "magmom")
"""Results of whole frames that are kept beside the labels."""
_QUANTITIES = ("energy", "forces", "stress", "virial")


@dataclass(frozen=True)
class LabelKeys:
    """Names of the keys to take labels from; None takes the usual ones.

    With a name for the energy no free energy is taken: it may be that of another calculator.
    `forces` names a column of atoms; the others name values of the whole frame. A virial is in
    eV, with virial = -volume * stress.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None

    def named(self) -> dict[str, str]:
        """Return the names that are given, by quantity."""
        names = (self.energy, self.forces, self.stress, self.virial)
        return {
            quantity: name
            for quantity, name in zip(_QUANTITIES, names, strict=True)
            if name is not None
        }

    def refuse_missing(
        self, found: Collection[str], files: Sequence[str | Path], *, crystals: bool
    ) -> None:
        """Raise `StructureError` when a label that is named here is in no frame of some files.

        Args:
            found: Which of "energy", "forces" and "stress" occur in any frame.
            files: The files, for the message.
            crystals: Whether any frame is periodic in all directions: others have no stress,
                whatever a key says.
        """
        missing = [
            f"{quantity} '{name}'"
            for quantity, name in self.named().items()
            if (label := "stress" if quantity == "virial" else quantity) not in found
            and (crystals or label != "stress")
        ]
        if missing:
            shown = without_password(", ".join(map(str, files)))
            raise StructureError(
                f"{shown}: no frame has {' or '.join(missing)}; look at the "
                "second line of a frame for the names of its keys"
            )


@dataclass(frozen=True, eq=False)
class Frame:
    """One structure of a file, or why it cannot be used.

    `source` is the file as it was given (the file inside, where a folder was given; an address
    without its password) and `index` the position in it, from 0. `atoms` carries energy (eV),
    `free_energy` where the file has one, forces (eV/A) and stress (eV/A^3, ASE's sign and Voigt
    order) in a `SinglePointCalculator`, as far as the file has them; it is None exactly where
    `problem` is not empty. `converged` is whether the electronic steps converged, None where the
    file does not say. `notes` say what was done with the conventions of the file, such as "stress
    from virial in eV".
    """

    source: str
    index: int
    atoms: Atoms | None = None
    problem: str = ""
    converged: bool | None = None
    notes: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The frame as messages name it."""
        return f"{self.source}: frame {self.index}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Which of "energy", "forces" and "stress" the frame carries."""
        results = getattr(getattr(self.atoms, "calc", None), "results", {})
        return tuple(name for name in ("energy", "forces", "stress") if name in results)


def nine_numbers_of(stress: ArrayLike) -> Float[np.ndarray, "9"]:
    """A stress of six numbers in ASE's order, or a matrix, as the nine numbers of a matrix."""
    given = np.asarray(stress, dtype=float).ravel()
    return given[[0, 5, 4, 5, 1, 3, 4, 3, 2]] if len(given) == 6 else given
