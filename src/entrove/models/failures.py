"""Structures that a model could not evaluate: what foreign code raised, system by system."""

from ase import Atoms
from torch_sim.models.interface import ModelInterface

from entrove.errors import ModelError

_LONGEST_TEXT = 300


def text_of(error: Exception) -> str:
    """Return kind and message of an exception in one line of bounded length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def cannot_evaluate(name: str, atoms: Atoms, text: str) -> ModelError:
    """Make the error for a structure that a model could not evaluate.

    Args:
        name: The model.
        atoms: The structure.
        text: What it raised, see `text_of`.
    """
    return ModelError(
        f"{name} cannot evaluate {atoms.get_chemical_formula()} ({text}); evaluate this structure "
        "with the calculator alone: it may not know an element, or lack a file, a parameter, a "
        "licence or memory"
    )


def failures_of(model: ModelInterface) -> dict[int, str]:
    """Return what was raised in the last evaluation, for each system that failed.

    Args:
        model: Any model; those of foreign code (`SerialModel`) may be inside others.
    """
    failures: dict[int, str] = {}
    for part in model.modules():
        failures |= getattr(part, "failures", {})
    return failures
