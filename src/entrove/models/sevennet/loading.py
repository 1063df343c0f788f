"""Find and load SevenNet models: those of its package and checkpoint files of one's own."""

import functools
from pathlib import Path
from typing import Any

import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.frameworks import Framework
from entrove.models.loaded import LoadedModel, resolve_device
from entrove.models.sevennet.features import SevenNetFeatures
from entrove.models.sevennet.model import SevenNetModel
from entrove.models.sevennet.weight_gradients import SevenNetWeightGradients
from entrove.models.torch_settings import default_dtype, ignoring_known_warnings

IN_WHEEL = ("7net-0", "7net-l3i5", "7net-mf-0")
"""Pre-trained models that SevenNet's wheel carries."""

TO_DOWNLOAD = ("7net-mf-ompa", "7net-omat", "7net-omni")
"""Pre-trained models that SevenNet fetches from its release page, once, when the user says so."""


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


def pretrained_checkpoint(name: str) -> Path:
    """Find the file of a pre-trained SevenNet model on this machine; nothing is downloaded.

    Raises `ModelError`, which says how to fetch it, when it is not here.
    """
    with ignoring_known_warnings():
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


def _build_calculator(
    checkpoint: str | Path, modal: str | None, device: torch.device
) -> Calculator:
    """Build SevenNet's own ASE calculator, with a network of its own."""
    with default_dtype(torch.float32), ignoring_known_warnings():
        module = require("sevenn.calculator", extra="sevennet")

        class GuardedCalculator(module.SevenNetCalculator):
            """SevenNet's calculator, safe beside packages that change torch's default dtype."""

            def calculate(self, *args: Any, **kwargs: Any) -> None:
                with default_dtype(torch.float32):
                    super().calculate(*args, **kwargs)

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


SEVENNET = Framework(
    name="sevennet",
    package="sevenn",
    extra="sevennet",
    models=(*IN_WHEEL, *TO_DOWNLOAD),
    suffixes=(".pth",),
    load=load_sevennet,
    has_fidelities=True,
    packaged=IN_WHEEL,
    distributions=("sevenn", "e3nn"),
    reference="Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024)",
    trainable=(*IN_WHEEL, *TO_DOWNLOAD, ".pth"),
    trainable_kinds="SevenNet models",
)
