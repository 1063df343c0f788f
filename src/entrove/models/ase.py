"""Any ASE calculator as a model, and any batched model as an ASE calculator."""

import importlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
import torch_sim
from ase import Atoms
from ase.calculators.calculator import (
    BaseCalculator,
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove.errors import EntroveError, ModelError
from entrove.models.failures import cannot_evaluate, text_of
from entrove.models.loaded import LoadedModel

_log = logging.getLogger(__name__)


class SerialModel(ModelInterface):
    """An ASE calculator with the interface for batches: a loop over the systems, on the CPU.

    A calculator without stress gives none for periodic systems: `compute_stress` is False then,
    and the results hold no stress.

    What it raises for some systems of a batch makes the results of these NaN, which stops a walker
    or a relaxation alone; `failures` has the text for each of them until the next batch. It
    becomes a `ModelError` where no system could be evaluated, or where a system's elements never
    were: then the calculator is at fault and not the geometry. Positions that are not finite give
    NaN, too.
    """

    def __init__(self, calculator: BaseCalculator, name: str = "") -> None:
        super().__init__()
        self.name = name or type(calculator).__name__
        self._device = torch.device("cpu")
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = "stress" in calculator.implemented_properties
        self._memory_scales_with = "n_atoms"
        self.calculator = calculator
        self.failures: dict[int, str] = {}
        self._evaluated: set[frozenset[str]] = set()

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        """Compute energy (eV), forces (eV/A) and stress (eV/A^3, positive = tensile)."""
        del kwargs
        structures = atoms_of(state)
        systems = state.system_idx.cpu()
        energy = torch.full((len(structures),), torch.nan, dtype=self._dtype)
        forces = torch.full((len(systems), 3), torch.nan, dtype=self._dtype)
        stress = torch.full((len(structures), 3, 3), torch.nan, dtype=self._dtype)
        errors: dict[int, Exception] = {}
        asked = [row for row, atoms in enumerate(structures) if _is_finite(atoms)]
        for row in asked:
            try:
                found = self._evaluate(structures[row])
            except EntroveError:
                raise
            except Exception as error:  # foreign code raises what it likes
                errors[row] = error
                _forget_results(self.calculator)
            else:
                energy[row], forces[systems == row], stress[row] = found
        self._judge([structures[row] for row in asked], [errors.get(row) for row in asked])
        self.failures = {row: text_of(error) for row, error in errors.items()}
        results = {"energy": energy, "forces": forces}
        if self._compute_stress:
            results["stress"] = stress
        return {name: value.to(state.positions.device) for name, value in results.items()}

    def _evaluate(self, atoms: Atoms) -> tuple[float, Tensor, Tensor]:
        atoms.calc = self.calculator
        energy = float(atoms.get_potential_energy())
        forces = torch.as_tensor(atoms.get_forces(), dtype=self._dtype)
        stress = _stress(atoms) if self._compute_stress else np.zeros((3, 3))
        return energy, forces, torch.as_tensor(stress, dtype=self._dtype)

    def _judge(self, structures: Sequence[Atoms], errors: Sequence[Exception | None]) -> None:
        """Raise `ModelError` where errors are not of single geometries; log those that are."""
        species = [frozenset(atoms.symbols) for atoms in structures]
        all_failed = all(error is not None for error in errors)
        for atoms, own, error in zip(structures, species, errors, strict=True):
            if error is None:
                continue
            if all_failed or own not in self._evaluated:
                raise cannot_evaluate(self.name, atoms, text_of(error)) from error
            _log.warning(
                "%s cannot evaluate one of %d structures, %s (%s); the others go on",
                self.name,
                len(structures),
                atoms.get_chemical_formula(),
                text_of(error),
            )
        self._evaluated |= {
            own for own, error in zip(species, errors, strict=True) if error is None
        }


class OneByOneCalculator(Calculator):
    """A batched model as an ASE calculator: each structure is a batch of its own."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  ASE's way

    def __init__(self, model: ModelInterface) -> None:
        super().__init__()
        self.model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate all properties at once."""
        super().calculate(atoms, properties, system_changes)
        evaluated = cast("Atoms", self.atoms)
        state = torch_sim.initialize_state([evaluated], self.model.device, self.model.dtype)
        values = {name: value.detach().cpu().numpy() for name, value in self.model(state).items()}
        energy = float(values["energy"][0])
        self.results = {"energy": energy, "free_energy": energy, "forces": values["forces"]}
        if "stress" in values:
            self.results["stress"] = full_3x3_to_voigt_6_stress(values["stress"][0])


def atoms_of(state: SimState) -> list[Atoms]:
    """Turn a batch back into structures: species, positions, cell and periodicity."""
    positions = state.positions.detach().cpu().double().numpy()
    numbers = state.atomic_numbers.cpu().numpy()
    cells = state.row_vector_cell.detach().cpu().double().numpy()
    systems = state.system_idx.cpu().numpy()
    pbc = state.pbc.reshape(-1).cpu().numpy()
    return [
        Atoms(
            numbers=numbers[systems == index],
            positions=positions[systems == index],
            cell=cell,
            pbc=pbc,
        )
        for index, cell in enumerate(cells)
    ]


def from_calculator(calculator: BaseCalculator, *, name: str | None = None) -> LoadedModel:
    """Use an ASE calculator as a model; it is shared, not copied, and its batches are loops."""
    return serial_model(lambda: calculator, name=name or type(calculator).__name__)


def serial_model(make_calculator: Callable[[], BaseCalculator], *, name: str) -> LoadedModel:
    """Build a model that loops over the systems with one calculator."""
    _log.warning(
        "%s is an ASE calculator: systems are evaluated one after the other, "
        "a batch is not faster",
        name,
    )
    return LoadedModel(
        name=name,
        model=SerialModel(make_calculator(), name),
        species=None,
        cutoff_A=None,
        batched=False,
        make_calculator=make_calculator,
    )


def load_import_path(path: str) -> LoadedModel:
    """Call "module:factory" without arguments for an ASE calculator or a torch-sim model.

    A factory may also return a `LoadedModel` that it has filled in itself. Raises `ModelError`
    when the import or the call fails, or gives something else.
    """
    module_name, _, attribute = path.partition(":")
    try:
        factory: Any = getattr(importlib.import_module(module_name), attribute)
        made = factory()
    except Exception as error:  # foreign code can raise anything
        raise ModelError(
            f"{path}: cannot build this calculator ({type(error).__name__}: {error}); "
            "give 'module:factory' that needs no arguments, and put the folder of your module on "
            "PYTHONPATH"
        ) from error
    if isinstance(made, LoadedModel):
        return made
    if isinstance(made, ModelInterface):
        return from_torch_sim(made, name=path)
    if isinstance(made, BaseCalculator):
        # Those of ASE that write and read files, as that of pw.x, are no `Calculator`.
        return serial_model(lambda: made, name=path)
    raise ModelError(
        f"{path} gives {type(made).__name__}; "
        "an ASE calculator, a torch-sim model or a LoadedModel is needed"
    )


def from_torch_sim(
    model: ModelInterface,
    *,
    name: str,
    species: frozenset[str] | None = None,
    cutoff_A: float | None = None,
) -> LoadedModel:
    """Use any torch-sim model; it has no calculator, so batches of one verify it."""
    return LoadedModel(
        name=name,
        model=model,
        species=species,
        cutoff_A=cutoff_A,
        batched=True,
        make_calculator=lambda: OneByOneCalculator(model),
    )


def _forget_results(calculator: BaseCalculator) -> None:
    """Drop what a calculator may hold from before it raised."""
    if isinstance(calculator, Calculator):
        calculator.reset()
    else:
        calculator.atoms, calculator.results = None, {}


def _is_finite(atoms: Atoms) -> bool:
    return bool(np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all())


def _stress(atoms: Atoms) -> np.ndarray:
    if not atoms.pbc.any():
        return np.zeros((3, 3))
    try:
        return atoms.get_stress(voigt=False)
    except PropertyNotImplementedError as error:
        name = type(atoms.calc).__name__
        raise ModelError(
            f"{name} lists stress but gave none for {atoms.get_chemical_formula()} with "
            f"pbc={atoms.pbc}; use cells that are periodic in all directions, "
            "or another calculator"
        ) from error
