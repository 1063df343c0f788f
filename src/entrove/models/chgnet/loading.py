"""Load the CHGNet models that its wheel carries."""

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from entrove._optional import require
from entrove.models.chgnet.files import VERSIONS
from entrove.models.chgnet.model import CHGNetModel
from entrove.models.loaded import LoadedModel
from entrove.models.torch_settings import default_dtype, resolve_device

UNSEEN = frozenset({"Po", "At", "Rn", "Fr", "Ra"})
"""Elements that no training structure held; the network still has their random initial weights."""

UNSEEN_BY_R2SCAN = UNSEEN | {"Yb"}
"""The r2SCAN data have no ytterbium either: its reference energy is zero there, off by 50 eV."""


def load_chgnet(base: str, *, modal: str | None = None, device: str = "auto") -> LoadedModel:
    """Load a CHGNet model by name, for batches of crystals; `modal` must be None."""
    assert modal is None
    resolved = resolve_device(device)
    model = CHGNetModel(_build_network(base, resolved), resolved)
    known = chemical_symbols[1 : len(model.reference_energies_eV) + 1]
    unseen = UNSEEN_BY_R2SCAN if base == "chgnet-r2scan" else UNSEEN
    return LoadedModel(
        name=base,
        model=model,
        species=frozenset(known) - unseen,
        cutoff_A=model.search.cutoff_A,
        batched=True,
        make_calculator=functools.partial(_build_calculator, base, resolved),
    )


def _build_network(base: str, device: torch.device) -> Any:
    with _chgnet_settings():
        module = require("chgnet.model.model", extra="chgnet")
        return module.CHGNet.load(model_name=VERSIONS[base], use_device=str(device), verbose=False)


def _build_calculator(base: str, device: torch.device) -> Calculator:
    """Build CHGNet's own ASE calculator, with a network of its own."""
    with _chgnet_settings():
        module = require("chgnet.model.dynamics", extra="chgnet")

        class GuardedCalculator(module.CHGNetCalculator):
            """CHGNet's calculator, quiet and under the default dtype that it was written for."""

            def calculate(self, *args: Any, **kwargs: Any) -> None:
                with _chgnet_settings():
                    super().calculate(*args, **kwargs)

        return GuardedCalculator(
            _build_network(base, device), use_device=str(device), on_isolated_atoms="ignore"
        )


@contextmanager
def _chgnet_settings() -> Iterator[None]:
    """Give CHGNet its default dtype; ignore its prints and the warnings known to be harmless."""
    with (
        default_dtype(torch.float32),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        # A module that it imports, nvidia_smi, has strings such as '\A'.
        warnings.filterwarnings("ignore", "invalid escape sequence", SyntaxWarning)
        # Volumes are taken from tensors that are part of the graph.
        warnings.filterwarnings(
            "ignore", "Converting a tensor with requires_grad=True to a scalar", UserWarning
        )
        # pymatgen orders the formula of noble gases by an electronegativity that they lack.
        warnings.filterwarnings("ignore", "No Pauling electronegativity", UserWarning)
        yield
