"""A SevenNet model in training: graphs in, predictions in eV and A out, weights that change.

SevenNet's stress is the negative of ASE's, in the order xx, yy, zz, xy, yz, zx; here it is turned
into ASE's, in ASE's Voigt order.

Reference energies of species, thousands of eV in all-electron labels, stand apart from the module
and are added to its energies in float64: in float32 they would leave no digits to what is learnt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor

from entrove._optional import require
from entrove.errors import ModelError
from entrove.files import replacing
from entrove.models.sevennet.cell_vectors import reorder_cell_vectors
from entrove.models.torch_settings import default_dtype, ignoring_known_warnings
from entrove.structures import species_of
from entrove.training.config import TrainingConfig
from entrove.training.loss import Targets, concatenated, targets_of
from entrove.training.sevennet.low_rank import LowRankUpdates

SEVENNET_TO_VOIGT = [0, 1, 2, 4, 5, 3]
HEAD_WEIGHTS = ("reduce_input_to_hidden.linear.weight", "reduce_hidden_to_energy.linear.weight")
RESCALE = "rescale_atomic_energy"
SHIFT_WEIGHT = f"{RESCALE}.shift"


@dataclass(frozen=True)
class Sample:
    """One labelled structure: its graph, which SevenNet understands, and its labels."""

    graph: Any
    targets: Targets


@dataclass
class SevenNetTrainee:
    """A SevenNet module with the configuration that its checkpoint needs.

    `reference_energies_eV` is what is added to the module's energies, by atomic number.
    """

    module: torch.nn.Module
    config: dict[str, Any]
    modal: str | None
    device: torch.device
    reference_energies_eV: Float[Tensor, " numbers"] = field(
        default_factory=lambda: torch.zeros(len(chemical_symbols), dtype=torch.float64)
    )

    def sample(self, atoms: Atoms) -> Sample:
        """Turn a labelled structure into a graph and targets.

        Raises `ModelError` when energy or forces are missing.
        """
        return Sample(graph=self._graph(atoms), targets=targets_of(atoms))

    def label(self, structures: Sequence[Atoms]) -> list[Sample]:
        """Samples of a batch with the labels that the model itself predicts now.

        Only structures that are periodic in all directions have a stress.
        """
        unknown = Targets(torch.zeros(0), torch.zeros(0, 3), torch.zeros(0, 6))
        graphs = [Sample(self._graph(atoms), unknown) for atoms in structures]
        self.module.eval()
        found = self.predict(graphs)
        forces = found.forces_eV_per_A.detach().cpu().split([len(atoms) for atoms in structures])
        stress = found.stress_eV_per_A3.detach().cpu()
        periodic = torch.tensor([bool(atoms.pbc.all()) for atoms in structures])
        stress[~periodic] = torch.nan
        return [
            Sample(
                sample.graph,
                Targets(
                    found.energy_eV[index : index + 1].detach().cpu(),
                    forces[index],
                    stress[index : index + 1],
                ),
            )
            for index, sample in enumerate(graphs)
        ]

    def _graph(self, atoms: Atoms) -> Any:
        dataload = require("sevenn.train.dataload", extra="sevennet")
        graph_data = require("sevenn.atom_graph_data", extra="sevennet")
        graph = graph_data.AtomGraphData.from_numpy_dict(
            dataload.unlabeled_atoms_to_graph(
                reorder_cell_vectors(atoms), float(self.config["cutoff"])
            )
        )
        if self.modal is not None:
            graph["data_modality"] = self.modal
        return graph

    def predict(self, samples: Sequence[Sample]) -> Targets:
        """Energies, forces and stresses; in training mode, differentiable in the weights.

        Energies are float64: a sum of the module's in float32 and of reference energies.
        """
        from torch_geometric.loader.dataloader import Collater

        batch = Collater([], None, None)([sample.graph for sample in samples]).to(self.device)
        references = [
            self.reference_energies_eV[sample.graph["atomic_numbers"]].sum() for sample in samples
        ]
        output = self.module(batch)
        return Targets(
            energy_eV=output["inferred_total_energy"].reshape(-1).double()
            + torch.stack(references).to(self.device),
            forces_eV_per_A=output["inferred_force"],
            stress_eV_per_A3=-output["inferred_stress"].reshape(-1, 6)[:, SEVENNET_TO_VOIGT],
        )

    def take_out_reference_energies(self) -> None:
        """Move the energies per species from the module to `reference_energies_eV`."""
        with torch.no_grad():
            shift = self._shift_in(self.module.get_parameter(SHIFT_WEIGHT))
            numbers, entries = self._entries_of(shift)
            self.reference_energies_eV[numbers] += shift[entries].double().cpu()
            shift.zero_()

    def shift_reference_energies(self, shifts_eV: Mapping[str, float]) -> None:
        """Add to the model's energy per species, to predict at another level of theory."""
        type_map: dict[int, int] = self.config["_type_map"]
        if self.module.get_parameter(SHIFT_WEIGHT).shape == (1,) and len(type_map) > 1:
            self._give_each_species_a_shift()
        for symbol, value in shifts_eV.items():
            self.reference_energies_eV[atomic_numbers[symbol]] += value

    def _shift_in(self, weight: Tensor) -> Tensor:
        """Energies per species of the fidelity in their weight, as a view."""
        if weight.dim() == 2:  # one row per fidelity of a multi-fidelity model
            return weight[self.config["_modal_map"][self.modal]]
        return weight

    def _entries_of(self, shift: Tensor) -> tuple[list[int], list[int]]:
        """Atomic numbers, and where the energy of each is in `shift`, which may be one for all."""
        type_map: dict[int, int] = self.config["_type_map"]
        return list(type_map), [kind if len(shift) > 1 else 0 for kind in type_map.values()]

    def _give_each_species_a_shift(self) -> None:
        """Replace the one energy of all species, SevenNet's default, by an equal one for each."""
        scale = require("sevenn.nn.scale", extra="sevennet")
        of_all: Any = self.module.get_submodule(RESCALE)
        count = len(self.config["_type_map"])
        of_each = scale.SpeciesWiseRescale(
            shift=[float(of_all.shift)] * count,
            scale=[float(of_all.scale)] * count,
            data_key_in=of_all.key_input,
            data_key_out=of_all.key_output,
            train_shift_scale=of_all.shift.requires_grad,
        )
        setattr(self.module, RESCALE, of_each.to(self.device))
        # A checkpoint with a list of energies is loaded as a model with one for each species.
        self.config = self.config | {"shift": of_each.get_shift(self.config["_type_map"])}

    def perturb_head(self, relative: float, seed: int) -> None:
        """Add normal noise to the energy head, `relative` to the spread of each weight tensor."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name in HEAD_WEIGHTS:
                weight = self.module.get_parameter(name)
                noise = torch.randn(weight.shape, generator=generator).to(weight)
                weight += relative * weight.std() * noise

    def prepare(self, config: TrainingConfig, seed: int) -> None:
        """Decide by the strategy which weights are trained; the seed is that of the training."""
        if config.strategy == "frozen":
            self.freeze_trunk()
        if config.strategy == "lora":
            rank, alpha = config.low_rank.rank, config.low_rank.alpha
            self.module = LowRankUpdates(self.module, rank=rank, alpha=alpha, seed=seed)

    def freeze_trunk(self) -> None:
        """Hold all weights fixed but those of the last interaction and of the energy head."""
        layers = [name.split("_")[0] for name, _ in self.module.named_parameters()]
        last = max(int(layer) for layer in layers if layer.isdigit())
        for name, weight in self.module.named_parameters():
            if not name.startswith((f"{last}_", *HEAD_WEIGHTS)):
                weight.requires_grad_(False)

    def save(self, path: Path, weights: Mapping[str, Tensor], epoch: int) -> None:
        """Write a checkpoint that SevenNet's own loaders read; `path` is replaced in one step.

        `weights` are those that training may change, by name, low-rank ones among them: these are
        added to the weights that they update.
        """
        sevenn = require("sevenn", extra="sevennet")
        tensors = (
            self.module.merged_state(weights)
            if isinstance(self.module, LowRankUpdates)
            else self.module.state_dict() | dict(weights)
        )
        state = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        shift = self._shift_in(state[SHIFT_WEIGHT])
        numbers, entries = self._entries_of(shift)
        total = shift[entries].double() + self.reference_energies_eV[numbers]
        shift[entries] = total.to(shift.dtype)
        config = dict(self.config)
        config.update(
            version=sevenn.__version__, shift=_by_atomic_number(state[SHIFT_WEIGHT], config)
        )
        checkpoint = {
            "model_state_dict": state,
            "optimizer_state_dict": {},
            "scheduler_state_dict": {},
            "epoch": epoch,
            "config": config,
            "time": "not recorded: equal runs give equal files",
            "hash": "see the bundle",
        }
        # A handle, because torch writes the name of a path into the file, here an unfinished one.
        with replacing(path) as unfinished, unfinished.open("wb") as handle:
            torch.save(checkpoint, handle)


def load_trainee(base: str, device: torch.device, modal: str | None = None) -> SevenNetTrainee:
    """Load a SevenNet checkpoint, by packaged name or path, to train it further.

    Raises `ModelError` when there is no such checkpoint, or when no fidelity, or an unknown one,
    is given for a multi-fidelity model.
    """
    with default_dtype(torch.float32), ignoring_known_warnings():
        util = require("sevenn.util", extra="sevennet")
        try:
            checkpoint = util.load_checkpoint(base)
            module, config = checkpoint.build_model(), checkpoint.config
        except Exception as error:  # unpickling a foreign file can raise anything
            raise ModelError(f"{base}: SevenNet cannot load this checkpoint ({error})") from error
    modals = list(module.modal_map or {})
    if modals and modal not in modals:
        raise ModelError(
            f"{base} is a multi-fidelity model; name the fidelity to tune: {', '.join(modals)} "
            f"(got {modal})"
        )
    module.set_is_batch_data(True)
    module.to(device)
    trainee = SevenNetTrainee(
        module=module, config=config, modal=modal if modals else None, device=device
    )
    trainee.take_out_reference_energies()
    return trainee


def check_species(trainee: SevenNetTrainee, base: str, structures: Sequence[Atoms]) -> None:
    """Raise `ModelError` when a label holds an element that the model does not know."""
    known = trainee.config["_type_map"]
    unknown = [symbol for symbol in species_of(structures) if atomic_numbers[symbol] not in known]
    if unknown:
        raise ModelError(
            f"{base} does not know {', '.join(unknown)}; choose a model that covers them"
        )


def atom_counts(samples: Sequence[Sample], device: torch.device) -> Int[Tensor, " systems"]:
    """Atoms of each sample."""
    return torch.tensor([len(sample.targets.forces_eV_per_A) for sample in samples], device=device)


def stack_targets(samples: Sequence[Sample], device: torch.device) -> Targets:
    """Labels of a batch."""
    targets = concatenated([sample.targets for sample in samples])
    return Targets(
        energy_eV=targets.energy_eV.to(device),
        forces_eV_per_A=targets.forces_eV_per_A.to(device),
        stress_eV_per_A3=targets.stress_eV_per_A3.to(device),
    )


def _by_atomic_number(shift: Tensor, config: Mapping[str, Any]) -> Any:
    """Energies per species, as the checkpoint's configuration lists them, from its weights."""
    if shift.dim() == 2 or shift.numel() == 1:
        return config["shift"]
    values = list(config["shift"])
    for number, kind in config["_type_map"].items():
        values[number] = float(shift[kind])
    return values
