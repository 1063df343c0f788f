"""Several models as one: their mean, and how far they are apart.

The spread is that of the members' predictions themselves, never of norms or of differences of
norms: two members whose forces are equally large but opposite disagree as much as they can.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import Float
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove import provenance
from entrove.errors import ModelError
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import periodic_projection, predict
from entrove.structures import copy_structure


class Committee(ModelInterface):
    """Mean energy, forces and stress of M members, with their spread.

    Extra results: `energy_spread` (systems,), sqrt(1/M sum_m (E_m - E)^2) in eV; `forces_spread`
    (atoms,), sqrt(1/M sum_m |F_m - F|^2) in eV/A, |.| being the length of the deviation vector;
    and `stress_spread` (systems,), sqrt(1/M sum_m |P (S_m - S) P|^2) in eV/A^3 with the Frobenius
    norm, P being the projection on periodic directions that `predict` applies to stresses.
    """

    def __init__(self, members: Sequence[ModelInterface]) -> None:
        super().__init__()
        _check_members(members)
        self.members = torch.nn.ModuleList(members)
        self._device = members[0].device
        self._dtype = members[0].dtype
        self._compute_forces = True
        self._compute_stress = all(member.compute_stress for member in members)
        self._memory_scales_with = members[0].memory_scales_with

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        """Evaluate every member; see the class for the results."""
        return combine(
            [member(state, **kwargs) for member in self.members], _projections_of(state)
        )


class CommitteeCalculator(Calculator):
    """Mean of the members' own ASE calculators; its results have the spreads of `Committee`."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  ASE's way

    def __init__(self, members: Sequence[BaseCalculator]) -> None:
        super().__init__()
        self.members = tuple(members)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate every member."""
        super().calculate(atoms, properties, system_changes)
        cell = cast("Atoms", self.atoms)
        projection = torch.as_tensor(periodic_projection(cell.cell.array, cell.pbc))
        combined = combine([self._evaluate(member) for member in self.members], projection[None])
        values = {name: value.numpy() for name, value in combined.items()}
        forces = {name: values[name] for name in ("forces", "forces_spread")}
        self.results = {
            name: float(values[name][0]) for name in ("energy", "energy_spread")
        } | forces
        self.results["free_energy"] = self.results["energy"]
        if "stress" in values:
            self.results["stress"] = full_3x3_to_voigt_6_stress(values["stress"][0])
            self.results["stress_spread"] = float(values["stress_spread"][0])

    def _evaluate(self, member: BaseCalculator) -> dict[str, Tensor]:
        atoms = copy_structure(cast("Atoms", self.atoms))
        atoms.calc = member
        results = {
            "energy": torch.tensor([atoms.get_potential_energy()], dtype=torch.float64),
            "forces": torch.as_tensor(atoms.get_forces(), dtype=torch.float64),
        }
        if "stress" in member.implemented_properties and atoms.pbc.any():
            results["stress"] = torch.as_tensor(
                atoms.get_stress(voigt=False), dtype=torch.float64
            )[None]
        return results


def combine(
    predictions: Sequence[Mapping[str, Tensor]],
    projections: Float[Tensor, "systems 3 3"] | None = None,
) -> dict[str, Tensor]:
    """Turn the members' results into mean and spread.

    Args:
        predictions: The results of each member.
        projections: P of each system, where the spread of P stress P is wanted.
    """
    results: dict[str, Tensor] = {}
    for name in ("energy", "forces", "stress"):
        if not all(name in prediction for prediction in predictions):
            continue
        values = torch.stack([prediction[name] for prediction in predictions])
        results[name] = values.mean(dim=0)
        if name == "stress" and projections is not None:
            values = projections @ values @ projections
        results[f"{name}_spread"] = spread(values)
    return results


def _projections_of(state: SimState) -> Float[Tensor, "systems 3 3"] | None:
    """On the periodic directions of each system; None where these are all."""
    periodic = state.pbc.reshape(-1, 3).expand(state.n_systems, 3).cpu().numpy()
    if periodic.all():
        return None
    cells = state.row_vector_cell.detach().cpu().numpy()
    found = [periodic_projection(cell, pbc) for cell, pbc in zip(cells, periodic, strict=True)]
    return torch.as_tensor(np.stack(found)).to(state.positions)


def spread(values: Float[Tensor, "members items *components"]) -> Float[Tensor, " items"]:
    """Root mean square, over members, of the deviation from their mean; 1/M, not 1/(M - 1)."""
    deviation = values - values.mean(dim=0)
    squares = deviation.square().reshape(*values.shape[:2], -1).sum(dim=2)
    return squares.mean(dim=0).sqrt()


def force_spreads(committee: LoadedModel, structures: Sequence[Atoms]) -> list[float]:
    """Compute the largest spread of the force on an atom, in eV/A, of each structure.

    Args:
        committee: A model that `committee_of` made.
        structures: The structures, in any order and of any size.

    Raises `ModelError` for a model that is no committee.
    """
    if not committee.members:
        raise ModelError(f"{committee.name} is one model; the spread needs a committee of several")
    predicted = predict(committee, structures)
    return [float(atoms.arrays[provenance.FORCES_SPREAD].max()) for atoms in predicted]


def committee_of(members: Iterable[LoadedModel]) -> LoadedModel:
    """Make one model of several: mean and spread of their results, and their common species.

    Args:
        members: At least two models on one device.

    Raises `ModelError` when there are fewer than two members or they live on different devices.
    """
    members = tuple(members)
    model = Committee([member.model for member in members])
    known = [member.species for member in members if member.species is not None]
    cutoffs = [member.cutoff_A for member in members if member.cutoff_A is not None]

    def make_calculator() -> Calculator:
        return CommitteeCalculator([member.calculator() for member in members])

    return LoadedModel(
        name=f"committee of {', '.join(member.name for member in members)}",
        model=model,
        species=frozenset.intersection(*known) if known else None,
        cutoff_A=max(cutoffs) if cutoffs else None,
        batched=all(member.batched for member in members),
        make_calculator=make_calculator,
        members=members,
    )


def _check_members(members: Sequence[ModelInterface]) -> None:
    if len(members) < 2:
        raise ModelError(
            f"a committee needs at least two members, got {len(members)}; add one or use it alone"
        )
    places = {(str(member.device), str(member.dtype)) for member in members}
    if len(places) > 1:
        listed = ", ".join(" ".join(place) for place in sorted(places))
        raise ModelError(
            f"the members of a committee live in different places ({listed}); load all in one"
        )
