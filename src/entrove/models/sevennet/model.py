"""SevenNet: pre-trained models of its package and checkpoint files of one's own, in batches.

SevenNet's own torch-sim wrapper walks over the systems of a batch in Python, fails on dense crystals
(see `neighbours`), takes float32 states only, and gives absurd stresses for left-handed cells. This one
hands the network all edges of the batch at once.
Ref: Park et al., J. Chem. Theory Comput. 20, 4857 (2024).
"""

import functools
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.edge_features import ModelFeatureMap
from entrove.models.loaded import LoadedModel, resolve_device
from entrove.models.neighbours import Neighbours, NeighbourSearch
from entrove.models.predict import pairs_that_fit
from entrove.models.results import finish_results
from entrove.models.torch_settings import default_dtype, known_warnings_hushed
from entrove.threads import claim_threads, even_pieces, map_over_threads

IN_WHEEL = ("7net-0", "7net-l3i5", "7net-mf-0")
"""Pre-trained models that SevenNet's wheel carries."""

TO_DOWNLOAD = ("7net-mf-ompa", "7net-omat", "7net-omni")
"""Pre-trained models that SevenNet fetches from its release page, once, when the user says so."""

PIECE_PAIRS = 1800
"""Pairs of neighbours that the network sees at once on a CPU: 64 atoms of silicon.

Larger graphs leave the cache (8 ms instead of 7 ms per atom), and threads side by side on pieces do more than
threads inside the network's small operations (3.6 ms instead of 7 ms per atom on two).
"""


class SevenNetModel(ModelInterface):
    """A SevenNet network as a torch-sim model for batches.

    Edges and the sum of atomic energies are computed in float64, the network in its own precision. A
    state may have either precision; results are float64. For molecules and non-finite positions see
    `finish_results`.
    """

    def __init__(self, network: Any, modal: str | None, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = True
        self._memory_scales_with = "n_atoms_x_density"
        self.network = network.to(device).eval().requires_grad_(False)
        self.network.set_is_batch_data(True)
        # The index of the fidelity is handed over with the batch.
        self.network.eval_modal_map = False
        self.modal_index = None if modal is None else int(network.modal_map[modal])
        self.network_dtype = next(network.parameters()).dtype
        self.search = NeighbourSearch(float(network.cutoff))

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        """Compute energy (eV), forces (eV/A) and stress (eV/A^3, positive = tensile) of every system."""
        del kwargs
        state = state.to(device=self._device, dtype=self._dtype)
        neighbours = self.search(state)
        with claim_threads(self._device), default_dtype(self.network_dtype):
            pieces = self._cut(self.graph(state, neighbours), state, neighbours)
            outputs = map_over_threads(self._run, pieces, self._device)
        return self._results(state, outputs)

    def count_neighbours(self, state: SimState) -> Int[Tensor, " systems"]:
        """Count the directed pairs that each system of a batch has within the cutoff."""
        state = state.to(device=self._device, dtype=self._dtype)
        centres = self.search(state).centre
        return state.system_idx[centres].bincount(minlength=state.n_systems)

    def graph(self, state: SimState, neighbours: Neighbours) -> dict[str, Tensor]:
        """Put a batch and its neighbours into the dictionary that the network's modules read."""
        key = require("sevenn._keys", extra="sevennet")
        numbers = state.atomic_numbers.long()
        graph = {
            key.NODE_FEATURE: numbers,
            key.ATOMIC_NUMBERS: numbers,
            key.POS: state.positions.to(self.network_dtype),
            key.EDGE_IDX: torch.stack([neighbours.centre, neighbours.neighbour]),
            key.EDGE_VEC: neighbours.vectors.to(self.network_dtype),
            key.CELL_VOLUME: torch.linalg.det(state.cell).abs().to(self.network_dtype),
            key.NUM_ATOMS: state.system_idx.bincount(minlength=state.n_systems),
            key.BATCH: state.system_idx,
        }
        if self.modal_index is not None:
            graph[key.MODAL_TYPE] = torch.full(
                (state.n_systems,), self.modal_index, device=self._device
            )
        return graph

    def _cut(
        self, graph: dict[str, Tensor], state: SimState, neighbours: Neighbours
    ) -> list[dict[str, Tensor]]:
        """Cut a graph between systems into pieces of about equal numbers of pairs.

        They fit into the cache of a CPU, and into the memory of a GPU, where a batch that fits stays whole.
        """
        pairs = len(neighbours.centre)
        wanted = count_pieces(pairs, self._device)
        if min(wanted, state.n_systems) < 2:
            return [graph]
        key = require("sevenn._keys", extra="sevennet")
        # Atoms are sorted by system and pairs by their centre: what belongs to a system ends here.
        ends_of_atoms = graph[key.NUM_ATOMS].cumsum(0)
        ends_of_pairs = torch.searchsorted(neighbours.centre, ends_of_atoms)
        shares = torch.arange(1, wanted, device=self._device) * pairs // wanted
        cuts = torch.searchsorted(ends_of_pairs, shares).add_(1).unique().tolist()
        cuts = [0, *(cut for cut in cuts if cut < state.n_systems), state.n_systems]
        of_atoms, of_pairs = [0, *ends_of_atoms.tolist()], [0, *ends_of_pairs.tolist()]
        pieces = []
        for first, last in pairwise(cuts):
            atoms = slice(of_atoms[first], of_atoms[last])
            in_pairs = slice(of_pairs[first], of_pairs[last])
            piece = {name: values[first:last] for name, values in graph.items()}
            for name in (key.NODE_FEATURE, key.ATOMIC_NUMBERS, key.POS):
                piece[name] = graph[name][atoms]
            piece[key.BATCH] = graph[key.BATCH][atoms] - first
            piece[key.EDGE_IDX] = graph[key.EDGE_IDX][:, in_pairs] - atoms.start
            piece[key.EDGE_VEC] = graph[key.EDGE_VEC][in_pairs]
            pieces.append(piece)
        return pieces

    def _run(self, graph: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Atomic energies, forces, and SevenNet's own stress of a graph."""
        key = require("sevenn._keys", extra="sevennet")
        output = self.network(graph)
        found = (
            output[name].detach() for name in (key.ATOMIC_ENERGY, key.PRED_FORCE, key.PRED_STRESS)
        )
        energies, forces, stress = (values.to(self._dtype) for values in found)
        return energies.reshape(-1), forces, stress

    def _results(
        self, state: SimState, outputs: Sequence[tuple[Tensor, Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        atomic, forces, stress = (torch.cat(values) for values in zip(*outputs, strict=True))
        energy = torch.zeros(state.n_systems, dtype=self._dtype, device=self._device)
        results = {
            "energy": energy.index_add(0, state.system_idx, atomic),
            "forces": forces,
            # SevenNet's order is xx, yy, zz, xy, yz, zx and its sign is that of a pressure.
            "stress": -full_matrix(stress),
        }
        return finish_results(state, results)


def count_pieces(pairs: int, device: torch.device) -> int:
    """Into how many pieces a graph is cut: by the cache and the threads of a CPU, by the memory of a GPU."""
    if device.type == "cpu":
        return even_pieces(-(-pairs // PIECE_PAIRS), device)
    return -(-pairs // pairs_that_fit(device))


def full_matrix(six: Float[Tensor, "systems 6"]) -> Float[Tensor, "systems 3 3"]:
    """Turn xx, yy, zz, xy, yz, zx into a symmetric matrix."""
    return six[:, [0, 3, 5, 3, 1, 4, 5, 4, 2]].reshape(-1, 3, 3)


def load_sevennet(
    name: str, *, checkpoint: str | Path, modal: str | None = None, device: str = "auto"
) -> LoadedModel:
    """Load a SevenNet checkpoint, or a pre-trained model that the package carries, for batches.

    `modal` names the fidelity of a multi-fidelity model, such as "mpa". Raises `ModelError` when
    the checkpoint cannot be read or the fidelity does not fit it.
    """
    resolved = resolve_device(device)
    network = build_network(checkpoint)
    _check_modal(name, network, modal)
    model = SevenNetModel(network, modal, resolved)
    return LoadedModel(
        name=name,
        model=model,
        species=frozenset(chemical_symbols[number] for number in network.type_map),
        cutoff_A=model.search.cutoff_A,
        batched=True,
        make_calculator=functools.partial(build_calculator, checkpoint, modal, resolved),
        make_features=functools.partial(
            _features, model, name if modal is None else f"{name}@{modal}"
        ),
    )


def build_network(checkpoint: str | Path) -> Any:
    """Build SevenNet's network from a checkpoint file or the name of a pre-trained model."""
    with default_dtype(torch.float32), known_warnings_hushed():
        util = require("sevenn.util", extra="sevennet")
        try:
            return util.load_checkpoint(str(checkpoint)).build_model()
        except Exception as error:  # unpickling a foreign file can raise anything
            raise ModelError(
                f"{checkpoint}: not a SevenNet checkpoint ({error}); give a file that `sevenn` wrote, *.pth"
            ) from error


def pretrained_checkpoint(name: str) -> Path:
    """Find the file of a pre-trained SevenNet model on this machine; nothing is downloaded.

    Raises `ModelError`, which says how to fetch it, when it is not here.
    """
    with known_warnings_hushed():
        constants = require("sevenn._const", extra="sevennet")
    packaged = {
        "7net-0": constants.SEVENNET_0_11Jul2024,
        "7net-l3i5": constants.SEVENNET_l3i5,
        "7net-mf-0": constants.SEVENNET_MF_0,
        "7net-mf-ompa": constants.SEVENNET_MF_ompa,
        "7net-omat": constants.SEVENNET_omat,
        "7net-omni": constants.SEVENNET_omni,
    }[name]
    cached = packaged.replace(constants._prefix, str(Path("~/.cache/sevennet").expanduser()))
    for path in (Path(packaged), Path(cached)):
        if path.is_file():
            return path
    raise ModelError(
        f"{name}: SevenNet's wheel does not carry this model and it is not in ~/.cache/sevennet; "
        f"fetch it once, with a network, by: "
        f"python -c \"from sevenn.util import load_checkpoint; load_checkpoint('{name}')\""
    )


def build_calculator(
    checkpoint: str | Path, modal: str | None, device: torch.device
) -> Calculator:
    """Build SevenNet's own ASE calculator, with a network of its own."""
    with default_dtype(torch.float32), known_warnings_hushed():
        module = require("sevenn.calculator", extra="sevennet")

        class GuardedCalculator(module.SevenNetCalculator):
            """SevenNet's calculator, safe beside packages that change torch's default dtype."""

            def calculate(self, *args: Any, **kwargs: Any) -> None:
                with default_dtype(torch.float32):
                    super().calculate(*args, **kwargs)

        return GuardedCalculator(str(checkpoint), device=device, modal=modal)


def _features(model: SevenNetModel, name: str) -> ModelFeatureMap:
    from entrove.models.sevennet.features import SevenNetFeatures

    return SevenNetFeatures(model, name=name)


def _check_modal(name: str, network: Any, modal: str | None) -> None:
    known = sorted(network.modal_map or {})
    if known and modal not in known:
        given = (
            "no fidelity is given" if modal is None else f"'{modal}' is not one of its fidelities"
        )
        choices = ", ".join(f"{name}@{choice}" for choice in known)
        raise ModelError(f"{name} is a multi-fidelity model and {given}; use one of: {choices}")
    if not known and modal is not None:
        raise ModelError(
            f"{name} has a single fidelity but '{modal}' is asked for; leave out '@{modal}'"
        )
