"""Which settings a label was computed with, as one hash: a dataset never mixes two levels."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove import provenance
from entrove.errors import LabelError
from entrove.files import replace_text
from entrove.labelling.engines.base import Engine

VERSION_KEY = "program_version"
"""The setting that holds the version of the program."""

LEVEL_FILE = "level_of_theory.json"
"""File of a labels' work folder that says at which level they are."""


@dataclass(frozen=True)
class LevelOfTheory:
    """Engine and settings that define energies.

    Attributes:
        engine: Kind of the engine, such as "gpaw".
        settings: The settings as canonical JSON: sorted keys, no blanks.
    """

    engine: str
    settings: str

    @classmethod
    def of(cls, engine: Engine) -> "LevelOfTheory":
        """The level of theory of an engine's settings, and of its version where one is set."""
        theory = dict(engine.theory())
        theory.pop(VERSION_KEY, None)
        if engine.program_version:
            theory[VERSION_KEY] = engine.program_version
        return cls(engine.kind, _canonical_json(theory))

    @property
    def version(self) -> str:
        """Version of the program, or an empty string where it does not count."""
        return str(self.settings_dict().get(VERSION_KEY, ""))

    def without_version(self) -> "LevelOfTheory":
        """The same settings of any version: the level that releases before 0.2 wrote."""
        settings = self.settings_dict()
        settings.pop(VERSION_KEY, None)
        return LevelOfTheory(self.engine, _canonical_json(settings))

    @property
    def hash(self) -> str:
        """16 hexadecimal digits."""
        return hashlib.sha256(f"{self.engine}\n{self.settings}".encode()).hexdigest()[:16]

    def settings_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return json.loads(self.settings)

    def describe(self) -> str:
        """Engine and settings as text for people: 'gpaw, functional PBE, cutoff_eV 300.0'.

        Settings that are off or empty are left out.
        """
        shown = [
            f"{key} {_describe_setting(value)}"
            for key, value in self.settings_dict().items()
            if key != "name" and value not in (None, False, "", [], {})
        ]
        return ", ".join([self.engine, *shown])

    def differences(self, other: "LevelOfTheory") -> str:
        """What differs between two levels, as text: 'cutoff_eV: 300 against 400'."""
        mine = {"engine": self.engine} | json.loads(self.settings)
        theirs = {"engine": other.engine} | json.loads(other.settings)
        keys = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
        return "; ".join(f"{key}: {mine.get(key)} against {theirs.get(key)}" for key in keys)


def _canonical_json(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))


def _describe_setting(value: object) -> str:
    """Write a setting without the punctuation of Python."""
    if isinstance(value, dict):
        return " ".join(f"{key} {_describe_setting(inner)}" for key, inner in value.items())
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def read_level(work_folder: str | Path) -> LevelOfTheory:
    """The level of theory that `claim_folder` wrote. Raises `LabelError` when there is none."""
    path = Path(work_folder) / LEVEL_FILE
    if not path.is_file():
        raise LabelError(
            f"{work_folder}: nothing was labelled here yet (no {LEVEL_FILE}); run the "
            "campaign first"
        )
    return LevelOfTheory(**json.loads(path.read_text()))


def claim_folder(work_folder: Path, level: LevelOfTheory) -> None:
    """Write the level of theory into a work folder, or check that it is the one written there.

    Raises `LabelError` when the folder belongs to another level, and says what differs.
    """
    path = work_folder / LEVEL_FILE
    if not path.exists():
        replace_text(path, json.dumps({"engine": level.engine, "settings": level.settings}))
        return
    owner = read_level(work_folder)
    if owner.hash == level.without_version().hash:
        # Written before versions counted: each attempt says itself by which one it was made.
        replace_text(path, json.dumps({"engine": level.engine, "settings": level.settings}))
    elif owner.hash != level.hash:
        raise LabelError(
            f"{work_folder}: its labels have another level of theory than the configuration "
            f"({owner.differences(level)}); restore those settings, or start a new campaign folder"
        )


def require_one_level(labelled: Iterable[Atoms], level: LevelOfTheory) -> None:
    """Raise `LabelError` unless every labelled structure says that it has this level of theory."""
    found = {str(atoms.info.get(provenance.LEVEL_OF_THEORY)) for atoms in labelled}
    others = sorted(found - {level.hash})
    if others:
        raise LabelError(
            "labels of different levels of theory cannot be one dataset: "
            f"{', '.join(others)} beside {level.hash} ({level.settings}); label those "
            "structures again, or start a campaign for each"
        )
