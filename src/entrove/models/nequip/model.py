"""NequIP and Allegro: compiled files for batches, packages and checkpoints.

Ref: Musaelian et al., Nat. Commun. 14, 579 (2023) (Allegro); Batzner et al., Nat. Commun. 13, 2453 (2022).
"""

import functools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from jaxtyping import Int
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.ase import OneByOneCalculator
from entrove.models.edge_features import ModelFeatureMap
from entrove.models.loaded import LoadedModel, resolve_device
from entrove.models.neighbours import NeighbourSearch
from entrove.models.predict import expected_pairs, pairs_that_fit
from entrove.models.results import finish_results
from entrove.models.torch_settings import default_dtype, known_warnings_hushed

COMPILED_SUFFIX = ".nequip.pt2"
PACKAGE_SUFFIX = ".nequip.zip"
CHECKPOINT_SUFFIX = ".ckpt"

TRAINABLE = (PACKAGE_SUFFIX, CHECKPOINT_SUFFIX)
"""What can be trained; a compiled file holds no graph to train."""

MODELS_FOLDER_VARIABLE = "ENTROVE_MODELS"
"""Environment variable with the folder in which downloaded models lie."""

FOUNDATION_MODELS = {"allegro-oam-l": "mir-group/Allegro-OAM-L:0.1"}
"""Models that users fetch from nequip.net, and their identifiers there."""

NEIGHBOUR_BACKEND = "entrove"


@dataclass(frozen=True)
class Network:
    """A network of the NequIP framework, eager or compiled, and what it says about itself."""

    module: Any
    metadata: dict[str, Any]
    type_names: tuple[str, ...]
    cutoff_A: float
    compiled: bool

    def transforms(self, neighbour_backend: str) -> list[Any]:
        """Build what turns a batch into the network's input: atom types and neighbours."""
        integration = require("nequip.integrations.utils", extra="nequip")
        return integration.basic_transforms(
            self.metadata,
            self.cutoff_A,
            list(self.type_names),
            {name: name for name in self.type_names},
            neighborlist_backend=neighbour_backend,
        )


class NequIPModel(ModelInterface):
    """NequIP's own torch-sim wrapper with a neighbour list that takes dense crystals; see `neighbours`."""

    def __init__(
        self, network: Network, device: torch.device, neighbour_backend: str = NEIGHBOUR_BACKEND
    ) -> None:
        super().__init__()
        wrapper = require("nequip.integrations.torchsim", extra="nequip")
        self._device = device
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = True
        self._memory_scales_with = "n_atoms_x_density"
        self.network = network
        self.inner = wrapper.NequIPTorchSimCalc(
            model=network.module, device=device, transforms=network.transforms(neighbour_backend)
        )

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        """Compute energy (eV), forces (eV/A) and stress (eV/A^3, positive = tensile) of every system.

        A batch whose pairs do not fit into memory at once is evaluated in pieces.
        """
        del kwargs
        state = state.to(device=self._device, dtype=self._dtype)
        with default_dtype(torch.float64):
            outputs = [self.inner(piece) for piece in self._cut(state)]
        results = {
            name: torch.cat([one[name] for one in outputs]).to(self._dtype) for name in outputs[0]
        }
        if "stress" not in results:
            results["stress"] = torch.zeros(
                state.n_systems, 3, 3, dtype=self._dtype, device=self._device
            )
        return finish_results(state, results)

    def _cut(self, state: SimState) -> list[SimState]:
        """Cut a batch between systems into pieces whose pairs fit into memory; one system stays whole."""
        most = pairs_that_fit(self._device)
        pbc = state.pbc.reshape(-1).tolist()
        volumes = torch.linalg.det(state.cell).abs().tolist()
        pieces: list[list[int]] = [[]]
        held = 0.0
        for index, atoms in enumerate(state.n_atoms_per_system.tolist()):
            pairs = expected_pairs(atoms, volumes[index], pbc, self.network.cutoff_A)
            if pieces[-1] and held + pairs > most:
                pieces.append([])
                held = 0.0
            pieces[-1].append(index)
            held += pairs
        return [state] if len(pieces) == 1 else [state[piece] for piece in pieces]

    def graph(self, state: SimState) -> dict[str, Tensor]:
        """Put a batch and its neighbours into the dictionary that the network's modules read."""
        key = require("nequip.data.AtomicDataDict", extra="nequip")
        data = {
            key.POSITIONS_KEY: state.positions,
            key.CELL_KEY: state.row_vector_cell.contiguous(),
            key.PBC_KEY: state.pbc.reshape(-1, 3).expand(state.n_systems, 3).contiguous(),
            key.BATCH_KEY: state.system_idx,
            key.NUM_NODES_KEY: state.system_idx.bincount(minlength=state.n_systems),
            key.ATOMIC_NUMBERS_KEY: state.atomic_numbers,
        }
        for transform in self.inner.transforms:
            data = transform(data)
        return data

    def count_neighbours(self, state: SimState) -> Int[Tensor, " systems"]:
        """Count the directed pairs that each system of a batch has within the cutoff."""
        key = require("nequip.data.AtomicDataDict", extra="nequip")
        state = state.to(device=self._device, dtype=self._dtype)
        centres = self.graph(state)[key.EDGE_INDEX_KEY][0]
        return state.system_idx[centres].bincount(minlength=state.n_systems)


def load_nequip(path: str | Path, *, name: str | None = None, device: str = "auto") -> LoadedModel:
    """Load a compiled model (`*.nequip.pt2`), a package (`*.nequip.zip`) or a checkpoint (`*.ckpt`).

    A compiled model is fastest; it must have been compiled for batches and for the device in use. Packages
    and checkpoints run eagerly. Raises `ModelError`, with the command that helps, for anything else.
    """
    path = Path(path)
    resolved = resolve_device(device)
    with nequip_settings(), known_warnings_hushed():
        _register_neighbour_search()
        network = _load_compiled(path, resolved) if _is_compiled(path) else _load_saved(path)
        model = NequIPModel(network, resolved)
    name = name or path.name
    # Cutoffs that differ by pair of species cannot be compared with one radius.
    uniform = network.metadata.get("per_edge_type_cutoff") is None
    make_features: Callable[[], ModelFeatureMap] | None = None
    if not network.compiled:
        make_features = functools.partial(_features, model, name)
    return LoadedModel(
        name=name,
        model=model,
        species=frozenset(network.type_names) & frozenset(chemical_symbols),
        cutoff_A=network.cutoff_A if uniform else None,
        batched=True,
        make_calculator=functools.partial(_build_calculator, path, resolved),
        make_features=make_features,
    )


def find_foundation_model(name: str) -> Path:
    """Find the file to evaluate of a model that its users download themselves.

    It looks into the folder that ENTROVE_MODELS names; a compiled file comes before a package.
    Raises `ModelError`, which says what to fetch and how, when there is none, and when there are several.
    """
    found = _find_file(name, COMPILED_SUFFIX) or _find_file(name, PACKAGE_SUFFIX)
    if found is None:
        raise ModelError(
            f"{name} is not shipped with Entrove and no file {name}*{COMPILED_SUFFIX} or *{PACKAGE_SUFFIX} is in "
            f"{_models_folder()}. Fetch and compile it once, with a network, by: nequip-compile "
            f"nequip.net:{FOUNDATION_MODELS[name]} {name}{COMPILED_SUFFIX} --mode aotinductor --target batch "
            "--device cuda (or cpu); or download the package from nequip.net. "
            "Put it into that folder, or give the path of the file"
        )
    return found


def find_trainable_model(base: str | Path) -> Path:
    """Find the package or checkpoint to train: the file itself, or that of a model of `FOUNDATION_MODELS`.

    Raises `ModelError`, which says what to fetch, when there is none.
    """
    name = str(base)
    if name in FOUNDATION_MODELS:
        found = _find_file(name, PACKAGE_SUFFIX)
        if found is None:
            raise ModelError(
                f"{name}: to train it, its package {name}*{PACKAGE_SUFFIX} must be in {_models_folder()}, and there "
                f"is none; a compiled file (*{COMPILED_SUFFIX}) can be evaluated, but not trained. Download the "
                f"package of {FOUNDATION_MODELS[name]} from nequip.net and put it beside the compiled file"
            )
        return found
    path = Path(base)
    if not path.is_file() or not path.name.endswith(TRAINABLE):
        raise ModelError(
            f"{path}: NequIP trains packages and checkpoints ({', '.join(TRAINABLE)}); "
            "a compiled model cannot be trained, give the package that it came from"
        )
    return path


def _find_file(name: str, suffix: str) -> Path | None:
    folder = os.environ.get(MODELS_FOLDER_VARIABLE)
    if not folder:
        return None
    found = sorted(
        path for path in Path(folder).glob(f"*{suffix}") if path.name.lower().startswith(name)
    )
    if len(found) > 1:
        # The names do not tell which version or device is meant.
        raise ModelError(
            f"{name}: {', '.join(path.name for path in found)} are all in {folder}; "
            "keep one of them there, or give the path of the file instead of the name"
        )
    return found[0] if found else None


def _models_folder() -> str:
    folder = os.environ.get(MODELS_FOLDER_VARIABLE)
    return (
        f"{folder} ({MODELS_FOLDER_VARIABLE})"
        if folder
        else f"a folder named by {MODELS_FOLDER_VARIABLE}"
    )


@contextmanager
def nequip_settings() -> Iterator[None]:
    """Let NequIP set up torch as it needs, and undo what it does to everybody else.

    Its first call seeds every random generator and changes the defaults of torch and e3nn.
    """
    with known_warnings_hushed():
        e3nn = require("e3nn", extra="nequip")
        global_state = require("nequip.utils.global_state", extra="nequip")
    optimisation = e3nn.get_optimization_defaults()
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with default_dtype(torch.float64), torch.random.fork_rng():
        try:
            global_state.set_global_state()
            yield
        finally:
            e3nn.set_optimization_defaults(**optimisation)
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _is_compiled(path: Path) -> bool:
    return path.name.endswith(COMPILED_SUFFIX)


def _load_compiled(path: Path, device: torch.device) -> Network:
    targets = require("nequip.scripts._compile_utils", extra="nequip")
    inference = require("nequip.model.inference_models", extra="nequip")
    batch = targets.COMPILE_TARGET_DICT[targets.AOTI_BATCH_TARGET]
    try:
        module, metadata = inference.load_compiled_model(
            str(path), device, list(batch["input"]), list(batch["output"])
        )
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path}: this compiled model cannot be used here ({error}). "
            "Compile it for batches and this device: "
            f"nequip-compile MODEL{PACKAGE_SUFFIX} {path.name} --mode aotinductor --target batch "
            f"--device {device.type}"
        ) from error
    names = tuple(metadata["type_names"])
    return Network(module, metadata, names, float(metadata["r_max"]), compiled=True)


def _load_saved(path: Path) -> Network:
    saved = require("nequip.model.saved_models.load_utils", extra="nequip")
    try:
        module = saved.load_saved_model(str(path))
    except Exception as error:  # unpickling a foreign file can raise anything
        raise ModelError(
            f"{path}: not a NequIP or Allegro model ({type(error).__name__}: {error}); give a package "
            f"*{PACKAGE_SUFFIX}, a checkpoint *{CHECKPOINT_SUFFIX} or a compiled file *{COMPILED_SUFFIX}"
        ) from error
    metadata = dict(module.metadata)
    names = tuple(metadata["type_names"].split(" "))
    return Network(module.eval(), metadata, names, float(metadata["r_max"]), compiled=False)


def _build_calculator(path: Path, device: torch.device) -> Calculator:
    """NequIP's own ASE calculator; a model that is compiled for batches goes through batches of one.

    Either way neighbours come from matscipy, one structure at a time, not from our search.
    """
    with nequip_settings(), known_warnings_hushed():
        if _is_compiled(path):
            network = _load_compiled(path, device)
            return OneByOneCalculator(NequIPModel(network, device, neighbour_backend="matscipy"))
        network = _load_saved(path)
        integration = require("nequip.integrations.ase", extra="nequip")

        class GuardedCalculator(integration.NequIPCalculator):
            """NequIP's calculator under the default dtype that it was written for."""

            def calculate(self, *args: Any, **kwargs: Any) -> None:
                with default_dtype(torch.float64):
                    super().calculate(*args, **kwargs)

        return GuardedCalculator(network.module, device, transforms=network.transforms("matscipy"))


def _register_neighbour_search() -> None:
    key = require("nequip.data.AtomicDataDict", extra="nequip")
    lists = require("nequip.data._nl", extra="nequip")

    @functools.cache
    def search_within(cutoff_A: float) -> NeighbourSearch:
        return NeighbourSearch(cutoff_A)

    def add_neighbours(data: dict[str, Any], cutoff_A: float) -> dict[str, Any]:
        cell = data[key.CELL_KEY].view(-1, 3, 3)
        found = search_within(float(cutoff_A)).find(
            data[key.POSITIONS_KEY], cell, data[key.PBC_KEY].view(-1, 3), data[key.BATCH_KEY]
        )
        data[key.EDGE_INDEX_KEY] = torch.stack([found.centre, found.neighbour])
        data[key.EDGE_CELL_SHIFT_KEY] = found.shifts.to(cell.dtype)
        return data

    lists.register_neighborlist_backend(
        NEIGHBOUR_BACKEND, add_neighbours, supports_cuda=True, overwrite=True
    )


def _features(model: NequIPModel, name: str) -> ModelFeatureMap:
    from entrove.models.nequip.features import NequIPFeatures

    return NequIPFeatures(model, name=name)
