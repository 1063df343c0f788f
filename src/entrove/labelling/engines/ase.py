"""Any ASE calculator, by the import path of its class or of a function that returns it."""

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import SCFError
from pydantic import Field, JsonValue, PrivateAttr

from entrove.errors import LabelError
from entrove.labelling.engines.base import (
    Computation,
    Engine,
    NotConvergedError,
    evaluate_calculator,
)


class AseCalculator(Engine):
    """A calculator of the user's own.

    It says that it did not converge by raising `ase.calculators.calculator.SCFError`, or by an
    attribute `converged` that is false after the calculation: False, 0, a `bool` of NumPy, an
    array in which one is false, or a method without arguments that returns one of these. None
    says nothing, as with ASE's `Vasp` where its output does not tell.

    Arguments: `calculator`, the import path 'module:function' of what makes it; `arguments` of
    that function by name, which define the level of theory; `denser_arguments`, which replace
    them to check the k-points; `species`, the chemical symbols that it knows (None means all).

    >>> AseCalculator(calculator="ase.calculators.emt:EMT", species=["Cu", "Al"]).uncovered(["Si"])
    ['Si']
    """

    reference_seconds: ClassVar[float] = 0.1
    labels_per_process: ClassVar[int] = 1000

    name: Literal["ase"] = "ase"
    calculator: str = Field(
        description="Import path 'module:function' of what makes the calculator.",
        pattern=r"^[\w.]+:[\w.]+$",
    )
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Keyword arguments of that function; they define the level of theory.",
    )
    denser_arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Arguments with denser k-points, which replace those of the same name in the "
        "check of k-points (`kpoint_check`), and nowhere else. Empty: that is not checked.",
    )
    species: list[str] | None = Field(
        default=None, description="Chemical symbols that the calculator knows; nothing means all."
    )
    _made: Any = PrivateAttr(None)

    @property
    def kind(self) -> str:
        """Name of the engine."""
        return self.name

    def theory(self) -> dict[str, object]:
        """The calculator and its arguments."""
        return {"name": self.name, "calculator": self.calculator, "arguments": self.arguments}

    def check_available(self) -> None:
        """Raise `LabelError` when the calculator cannot be made with these arguments."""
        self._make()

    def uncovered(self, species: Iterable[str]) -> list[str]:
        """Those that `species` of the configuration does not list."""
        return (
            []
            if self.species is None
            else [symbol for symbol in species if symbol not in self.species]
        )

    def version(self) -> str:
        """Version of the package that the calculator comes from, if it has one."""
        package = importlib.import_module(self.calculator.partition(":")[0].partition(".")[0])
        return str(getattr(package, "__version__", ""))

    def with_denser_kpoints(
        self,
        atoms: Atoms,  # noqa: ARG002
        factor: float,  # noqa: ARG002
    ) -> "AseCalculator | None":
        """The calculator with `denser_arguments`; None without them."""
        if not self.denser_arguments:
            return None
        arguments = self.arguments | self.denser_arguments
        return self.model_copy(update={"arguments": arguments, "denser_arguments": {}})

    def warm_up(self) -> None:
        """Make the calculator."""
        self._made = self._make()

    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:  # noqa: ARG002
        """One calculation; a retry starts from a calculator without history."""
        calculator = self._made if rung == 0 and self._made is not None else self._make()
        # Calculators keep results, some of them also those of a calculation that then failed, and
        # return them when asked for the same structure again. Only one that succeeded is used
        # again.
        self._made = None
        try:
            computation = evaluate_calculator(calculator, atoms)
        except SCFError as error:
            raise NotConvergedError(str(error) or "the calculator raised SCFError") from error
        if _says_unconverged(calculator):
            raise NotConvergedError("the calculator says converged = False")
        self._made = calculator
        return computation

    def _make(self) -> Any:
        factory = self._factory()
        try:
            return factory(**self.arguments)
        except Exception as error:  # a user's own calculator can raise anything
            raise LabelError(
                f"engine ase: '{self.calculator}' cannot be made with arguments {self.arguments} "
                f"({type(error).__name__}: {error}); correct labelling: engine: arguments"
            ) from error

    def _factory(self) -> Callable[..., Any]:
        module_name, _, attribute = self.calculator.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
            for part in attribute.split("."):
                found = getattr(found, part)
        except Exception as error:  # a user's own module can raise anything
            raise LabelError(
                f"engine ase: cannot import '{self.calculator}' ({type(error).__name__}: "
                f"{error}); install its package or put it on PYTHONPATH, and write "
                "'module:function'"
            ) from error
        return found


def _says_unconverged(calculator: Any) -> bool:
    said: Any = getattr(calculator, "converged", None)
    if callable(said):
        said = said()
    return said is not None and not bool(np.all(said))
