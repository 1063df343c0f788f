"""Which settings a label was computed with, as one hash: a dataset never mixes two."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from entrove.errors import LabelError
from entrove.labelling.engines.base import Engine
from entrove.labelling.label import LEVEL_KEY

LEVEL_FILE = "level_of_theory.json"
"""File of a labels' work folder that says at which level they are."""


@dataclass(frozen=True)
class LevelOfTheory:
    """Engine and settings that define energies, as canonical JSON."""

    engine: str
    settings: str

    @classmethod
    def of(cls, engine: Engine) -> "LevelOfTheory":
        """The level of theory of an engine's settings."""
        return cls(engine.kind, json.dumps(engine.theory(), sort_keys=True, separators=(",", ":")))

    @property
    def hash(self) -> str:
        """16 hexadecimal digits."""
        return hashlib.sha256(f"{self.engine}\n{self.settings}".encode()).hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """Engine and settings as JSON values."""
        return {"engine": self.engine, "settings": json.loads(self.settings)}

    def differences(self, other: "LevelOfTheory") -> str:
        """What distinguishes two levels, in words: 'cutoff_eV: 300 against 400'."""
        mine = {"engine": self.engine} | json.loads(self.settings)
        theirs = {"engine": other.engine} | json.loads(other.settings)
        keys = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
        return "; ".join(f"{key}: {mine.get(key)} against {theirs.get(key)}" for key in keys)


def require_one_level(labelled: Iterable[Atoms], level: LevelOfTheory) -> None:
    """Raise `LabelError` unless every labelled structure says that it has this level of theory."""
    strangers = {str(atoms.info.get(LEVEL_KEY)) for atoms in labelled} - {level.hash}
    if strangers:
        raise LabelError(
            f"labels of different levels of theory cannot be one dataset: {', '.join(sorted(strangers))} "
            f"beside {level.hash} ({level.settings}); label those structures again, "
            "or start a campaign for each"
        )
