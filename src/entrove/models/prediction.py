"""Energy, forces and stress of a list of structures, in batches that fit into memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch_sim
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import Bool, Float
from torch import Tensor

from entrove import provenance
from entrove.errors import EntroveError, StructureError
from entrove.models.batches import expected_pairs, pairs_that_fit
from entrove.models.failures import cannot_evaluate, failures_of, text_of
from entrove.models.loaded import LoadedModel
from entrove.structures import copy_structure

DEFAULT_BATCH_SIZE = 64


def predict(
    model: LoadedModel, structures: Sequence[Atoms], *, batch_size: int = DEFAULT_BATCH_SIZE
) -> list[Atoms]:
    """Evaluate structures with a model.

    A batch holds at most `batch_size` structures, and fewer when they are large or dense, so that
    memory is bounded however long the list is. Structures of different periodicity may be mixed.

    Args:
        model: A model from `entrove.models.load`, or a committee.
        structures: Any number of structures; they are not changed.
        batch_size: Most structures of one batch.

    Returns copies of `structures` in their order, with energy (eV), forces (atoms, 3) (eV/A) and
    stress (6,) (eV/A^3, ASE's order and sign) in their ASE calculator. Info and arrays are kept,
    but for what says how an earlier label or prediction was computed. Of a structure that is not
    periodic in all directions, only the components of the stress along periodic directions are
    not zero: a molecule in a box has none, whatever the box.
    A committee adds the spread of its members: `info["entrove_energy_spread_eV"]`,
    `arrays["entrove_forces_spread_eV_per_A"]` and, of the same components of the stress,
    `info["entrove_stress_spread_eV_per_A3"]`.

    Raises `ModelError` for an element that the model does not know and for a structure that a
    calculator cannot evaluate, `StructureError` for a
    structure without atoms, and `ValueError` for a `batch_size` below one.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}; it must be at least 1")
    for index, atoms in enumerate(structures):
        if len(atoms) == 0:
            raise StructureError("{structure} has no atoms; remove it", index)
    model.check_species(structures)
    labelled: dict[int, Atoms] = {}
    for batch in plan_batches(
        structures, model.cutoff_A, batch_size, pairs_that_fit(model.model.device)
    ):
        chosen = [structures[index] for index in batch]
        state = torch_sim.initialize_state(
            [copy_structure(atoms) for atoms in chosen], model.model.device, model.model.dtype
        )
        results = {
            name: value.detach().cpu().double() for name, value in model.model(state).items()
        }
        for row, text in failures_of(model.model).items():
            raise cannot_evaluate(model.name, chosen[row], text)
        labelled |= zip(batch, _attach(chosen, results), strict=True)
    return [labelled[index] for index in range(len(structures))]


def try_on(model: LoadedModel, structures: Sequence[Atoms]) -> None:
    """Evaluate structures with a model that does not say which elements it knows.

    Raises `ModelError` when it cannot: foreign code raises what it likes.
    """
    if model.species is not None:
        return
    for atoms in structures:
        try:
            predict(model, [atoms])
        except EntroveError:
            raise
        except Exception as error:
            raise cannot_evaluate(model.name, atoms, text_of(error)) from error


def _attach(structures: Sequence[Atoms], results: dict[str, Tensor]) -> Iterator[Atoms]:
    sizes = [len(atoms) for atoms in structures]
    per_atom = {
        name: torch.split(results[name], sizes)
        for name in ("forces", "forces_spread")
        if name in results
    }
    for row, atoms in enumerate(structures):
        labelled = atoms.copy()
        for key in (*provenance.OF_LABEL, *provenance.OF_COMMITTEE):
            labelled.info.pop(key, None)
        labelled.arrays.pop(provenance.FORCES_SPREAD, None)
        properties = {
            "energy": float(results["energy"][row]),
            "forces": per_atom["forces"][row].numpy(),
        }
        if "stress" in results:
            stress = along_periodic_directions(results["stress"][row].numpy(), atoms)
            properties["stress"] = full_3x3_to_voigt_6_stress(stress)
        labelled.calc = SinglePointCalculator(labelled, **properties)
        if "energy_spread" in results:
            labelled.info[provenance.ENERGY_SPREAD] = float(results["energy_spread"][row])
            labelled.arrays[provenance.FORCES_SPREAD] = per_atom["forces_spread"][row].numpy()
        if "stress_spread" in results:
            labelled.info[provenance.STRESS_SPREAD] = float(results["stress_spread"][row])
        yield labelled


def along_periodic_directions(
    stress_eV_per_A3: Float[np.ndarray, "3 3"], atoms: Atoms
) -> Float[np.ndarray, "3 3"]:
    """Return P stress P, where P is the `periodic_projection` of a structure."""
    if atoms.pbc.all():
        return stress_eV_per_A3
    projection = periodic_projection(atoms.cell.array, atoms.pbc)
    return projection @ stress_eV_per_A3 @ projection


def periodic_projection(
    cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Return the matrix that projects on the span of the periodic cell vectors.

    Across the others a virial over the volume of the box is no stress: nothing resists a strain of
    empty space. Without a volume, as without a periodic direction, nothing is left.
    """
    if pbc.all():
        return np.eye(3)
    vectors = cell[pbc]
    if not cell.any(axis=1).all() or not len(vectors):
        return np.zeros((3, 3))
    return vectors.T @ np.linalg.pinv(vectors.T)


def plan_batches(
    structures: Sequence[Atoms], cutoff_A: float | None, batch_size: int, most_pairs: int
) -> Iterator[list[int]]:
    """Group the indices of `structures` into batches of one periodicity and bounded size.

    Structures of similar size share a batch. A structure that exceeds the bound on its own is a
    batch.
    """
    order = sorted(
        range(len(structures)),
        key=lambda index: (tuple(structures[index].pbc), len(structures[index])),
    )
    batch: list[int] = []
    pairs = 0.0
    for index in order:
        cost = _expected_pairs(structures[index], cutoff_A)
        full = len(batch) == batch_size or pairs + cost > most_pairs
        if batch and (full or (structures[index].pbc != structures[batch[0]].pbc).any()):
            yield batch
            batch, pairs = [], 0.0
        batch.append(index)
        pairs += cost
    if batch:
        yield batch


def _expected_pairs(atoms: Atoms, cutoff_A: float | None) -> float:
    if cutoff_A is None:
        return float(len(atoms))
    return expected_pairs(len(atoms), atoms.cell.volume, atoms.pbc.tolist(), cutoff_A)
