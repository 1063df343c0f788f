"""Errors that a user can act on.

Every message says what happened, what was given, what is allowed and what to do. Outcomes that are
expected (a label that does not converge, a walker that leaves the physical range) are values, not
errors.
"""


class EntroveError(Exception):
    """Base of every error that Entrove raises on purpose."""


class ConfigError(EntroveError):
    """A campaign configuration, or an argument that stands for one, cannot be used."""


class StructureError(EntroveError):
    """An atomic structure cannot be used: unreadable, empty, two atoms in the same place, ...

    Args:
        message: The message; `{structure}` in it stands for "structure" and its number, or for
            "the structure" without a number.
        structure: Position of the structure in the list or batch that was given, counted from 0.
            Code that takes a list apart into batches catches the error and raises
            `error.at(position in the list)`, so that a user reads the position in their own list.
    """

    def __init__(self, message: str, structure: int | None = None):
        self.template, self.structure = message, structure
        name = "the structure" if structure is None else f"structure {structure}"
        super().__init__(message.replace("{structure}", name))

    def at(self, structure: int) -> "StructureError":
        """The same error with another position."""
        return StructureError(self.template, structure)


class SelectionError(EntroveError):
    """A dataset or a selection cannot do what it was asked to do."""


class ModelError(EntroveError):
    """A model cannot be loaded, trained or trusted for these structures."""


class LabelError(EntroveError):
    """Labelling as a whole cannot continue (a single failed label is a value, see `Label`)."""


class CampaignError(EntroveError):
    """A campaign folder is locked, damaged, or belongs to another configuration."""
