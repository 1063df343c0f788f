"""Find and load SevenNet models: those of its package and checkpoint files of one's own."""

import functools
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.loaded import LoadedModel
from entrove.models.sevennet.cell_vectors import reorder_cell_vectors
from entrove.models.sevennet.features import SevenNetFeatures
from entrove.models.sevennet.files import IN_WHEEL, TO_DOWNLOAD, pretrained_checkpoint
from entrove.models.sevennet.model import SevenNetModel
from entrove.models.sevennet.weight_gradients import SevenNetWeightGradients
from entrove.models.torch_settings import default_dtype, ignoring_known_warnings, resolve_device


def load_sevennet(base: str, *, modal: str | None = None, device: str = "auto") -> LoadedModel:
    """Load a pre-trained model by name, or a checkpoint file, for batches.

    `modal` names the fidelity of a multi-fidelity model, such as "mpa". Raises `ModelError` when
    the checkpoint is not on this machine or cannot be read, or the fidelity does not fit it.
    """
    packaged = base in IN_WHEEL + TO_DOWNLOAD
    checkpoint = pretrained_checkpoint(base) if packaged else Path(base)
    name = base if packaged else checkpoint.name
    resolved = resolve_device(device)
    network = build_network(checkpoint)
    _check_modal(name, network, modal)
    model = SevenNetModel(network, modal, resolved)
    with_fidelity = name if modal is None else f"{name}@{modal}"
    return LoadedModel(
        name=name,
        model=model,
        species=frozenset(chemical_symbols[number] for number in network.type_map),
        cutoff_A=model.search.cutoff_A,
        batched=True,
        make_calculator=functools.partial(_build_calculator, checkpoint, modal, resolved),
        make_features=functools.partial(SevenNetFeatures, model, name=with_fidelity),
        make_weight_gradients=functools.partial(
            SevenNetWeightGradients, model, name=with_fidelity
        ),
    )


def build_network(checkpoint: str | Path) -> Any:
    """Build SevenNet's network from a checkpoint file or the name of a pre-trained model."""
    with default_dtype(torch.float32), ignoring_known_warnings():
        util = require("sevenn.util", extra="sevennet")
        try:
            return util.load_checkpoint(str(checkpoint)).build_model()
        except Exception as error:  # unpickling a foreign file can raise anything
            raise ModelError(
                f"{checkpoint}: not a SevenNet checkpoint ({error}); "
                "give a file that `sevenn` wrote, *.pth"
            ) from error


def _build_calculator(
    checkpoint: str | Path, modal: str | None, device: torch.device
) -> Calculator:
    """Build SevenNet's own ASE calculator, with a network of its own."""
    with default_dtype(torch.float32), ignoring_known_warnings():
        module = require("sevenn.calculator", extra="sevennet")

        class GuardedCalculator(module.SevenNetCalculator):
            """SevenNet's calculator, safe beside packages that change torch's default dtype.

            Atomic energies are summed in float64: a sum in float32 is wrong by meV/atom where they
            are thousands of eV, as those of all-electron codes.
            """

            def calculate(self, atoms: Atoms | None = None, *args: Any, **kwargs: Any) -> None:
                given = None if atoms is None else reorder_cell_vectors(atoms)
                with default_dtype(torch.float32):
                    super().calculate(given, *args, **kwargs)
                if atoms is not None:
                    self.atoms = atoms.copy()  # ASE compares the next structure with this one
                energy = float(self.results["energies"].sum(dtype=float))
                self.results |= {"energy": energy, "free_energy": energy}

        return GuardedCalculator(str(checkpoint), device=device, modal=modal)


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
