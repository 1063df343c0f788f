"""SevenNet in the registry of frameworks, and the files of its pre-trained models."""

from pathlib import Path

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.frameworks import Framework

IN_WHEEL = ("7net-0", "7net-l3i5", "7net-mf-0")
"""Pre-trained models that SevenNet's wheel carries."""

TO_DOWNLOAD = ("7net-mf-ompa", "7net-omat", "7net-omni")
"""Pre-trained models that SevenNet fetches from its release page, once, when the user says so."""

SEVENNET = Framework(
    name="sevennet",
    package="sevenn",
    extra="sevennet",
    models=(*IN_WHEEL, *TO_DOWNLOAD),
    suffixes=(".pth",),
    loader="entrove.models.sevennet.loading:load_sevennet",
    has_fidelities=True,
    packaged=IN_WHEEL,
    distributions=("sevenn", "e3nn"),
    reference="Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024)",
    trainable=(*IN_WHEEL, *TO_DOWNLOAD, ".pth"),
    trainable_kinds="SevenNet models",
)


def pretrained_checkpoint(name: str) -> Path:
    """Find the file of a pre-trained SevenNet model on this machine; nothing is downloaded.

    Raises `ModelError`, which says how to fetch it, when it is not here.
    """
    from entrove.models.torch_settings import ignoring_known_warnings  # loads torch

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
