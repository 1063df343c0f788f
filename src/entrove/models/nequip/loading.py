"""Load NequIP and Allegro models: compiled files for batches, packages and checkpoints."""

import functools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from entrove._optional import require
from entrove.errors import ModelError
from entrove.features import FeatureMap
from entrove.models.ase import OneByOneCalculator
from entrove.models.loaded import LoadedModel
from entrove.models.neighbours import NeighbourSearch
from entrove.models.nequip.features import NequIPFeatures
from entrove.models.nequip.files import (
    CHECKPOINT_SUFFIX,
    COMPILED_SUFFIX,
    FOUNDATION_MODELS,
    PACKAGE_SUFFIX,
    find_foundation_model,
)
from entrove.models.nequip.model import NEIGHBOUR_BACKEND, NequIPModel, Network
from entrove.models.nequip.weight_gradients import NequIPWeightGradients
from entrove.models.torch_settings import default_dtype, ignoring_known_warnings, resolve_device


def load_nequip(base: str, *, modal: str | None = None, device: str = "auto") -> LoadedModel:
    """Load a foundation model by name, a compiled file, a package or a checkpoint, for batches.

    A compiled file (`*.nequip.pt2`) is fastest; it must have been compiled for batches and for the
    device in use. Packages (`*.nequip.zip`) and checkpoints (`*.ckpt`) run eagerly. `modal` is
    there for `Framework.load` and must be None: these models have a single fidelity. Raises
    `ModelError`, with the command that helps, when there is no such file or it cannot be used.
    """
    assert modal is None
    named = base in FOUNDATION_MODELS
    path = find_foundation_model(base) if named else Path(base)
    name = base if named else path.name
    resolved = resolve_device(device)
    with nequip_settings(), ignoring_known_warnings():
        _register_neighbour_search()
        network = _load_compiled(path, resolved) if _is_compiled(path) else _load_saved(path)
        model = NequIPModel(network, resolved)
    # Cutoffs that differ by pair of species cannot be compared with one radius.
    uniform = network.metadata.get("per_edge_type_cutoff") is None
    make_features: Callable[[], FeatureMap] | None = None
    make_gradients: Callable[[], FeatureMap] | None = None
    if not network.compiled:
        make_features = functools.partial(NequIPFeatures, model, name=name)
        make_gradients = functools.partial(NequIPWeightGradients, model, name=name)
    return LoadedModel(
        name=name,
        model=model,
        species=frozenset(network.type_names) & frozenset(chemical_symbols),
        cutoff_A=network.cutoff_A if uniform else None,
        batched=True,
        make_calculator=functools.partial(_build_calculator, path, resolved),
        make_features=make_features,
        make_weight_gradients=make_gradients,
    )


@contextmanager
def nequip_settings() -> Iterator[None]:
    """Let NequIP set up torch as it needs, and undo afterwards what it did to other packages.

    Its first call seeds every random generator and changes the defaults of torch and e3nn.
    """
    with ignoring_known_warnings():
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
            f"{path}: not a NequIP or Allegro model ({type(error).__name__}: {error}); "
            f"give a package *{PACKAGE_SUFFIX}, a checkpoint *{CHECKPOINT_SUFFIX} "
            f"or a compiled file *{COMPILED_SUFFIX}"
        ) from error
    metadata = dict(module.metadata)
    names = tuple(metadata["type_names"].split(" "))
    return Network(module.eval(), metadata, names, float(metadata["r_max"]), compiled=False)


def _build_calculator(path: Path, device: torch.device) -> Calculator:
    """Build NequIP's own ASE calculator; a model compiled for batches takes batches of one.

    Either way neighbours come from matscipy, one structure at a time, not from our search.
    """
    with nequip_settings(), ignoring_known_warnings():
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
