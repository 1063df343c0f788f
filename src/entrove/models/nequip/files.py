"""NequIP in the registry of frameworks, and its files: those to evaluate, and those to train."""

import os
from pathlib import Path

from entrove.errors import ModelError
from entrove.models.frameworks import Framework

COMPILED_SUFFIX = ".nequip.pt2"
PACKAGE_SUFFIX = ".nequip.zip"
CHECKPOINT_SUFFIX = ".ckpt"

TRAINABLE = (PACKAGE_SUFFIX, CHECKPOINT_SUFFIX)
"""What can be trained; a compiled file holds no graph to train."""

MODELS_FOLDER_VARIABLE = "ENTROVE_MODELS"
"""Environment variable with the folder in which downloaded models lie."""

FOUNDATION_MODELS = {"allegro-oam-l": "mir-group/Allegro-OAM-L:0.1"}
"""Models that users fetch from nequip.net, and their identifiers there."""

NEQUIP = Framework(
    name="nequip",
    package="nequip",
    extra="nequip",
    models=tuple(FOUNDATION_MODELS),
    suffixes=(CHECKPOINT_SUFFIX, PACKAGE_SUFFIX, COMPILED_SUFFIX),
    loader="entrove.models.nequip.loading:load_nequip",
    distributions=("nequip", "nequip-allegro", "e3nn"),
    reference="S. Batzner et al., Nat. Commun. 13, 2453 (2022); of Allegro: A. Musaelian et al., "
    "Nat. Commun. 14, 579 (2023)",
    trainable=(*FOUNDATION_MODELS, CHECKPOINT_SUFFIX, PACKAGE_SUFFIX),
    trainable_kinds="NequIP or Allegro packages and checkpoints",
    untrainable_because="a compiled model cannot be trained, give the package that it came from",
)


def find_foundation_model(name: str) -> Path:
    """Find the file to evaluate of a model that its users download themselves.

    It looks into the folder that ENTROVE_MODELS names; a compiled file comes before a package.
    Raises `ModelError`, which says what to fetch and how, when there is none, and when there are
    several.
    """
    found = _find_file(name, COMPILED_SUFFIX) or _find_file(name, PACKAGE_SUFFIX)
    if found is None:
        raise ModelError(
            f"{name} is not shipped with Entrove and no file {name}*{COMPILED_SUFFIX} or "
            f"*{PACKAGE_SUFFIX} is in {_models_folder()}. "
            "Fetch and compile it once, with a network, by: nequip-compile "
            f"nequip.net:{FOUNDATION_MODELS[name]} {name}{COMPILED_SUFFIX} --mode aotinductor "
            "--target batch --device cuda (or cpu); or download the package from nequip.net. "
            "Put it into that folder, or give the path of the file"
        )
    return found


def find_trainable_model(base: str | Path) -> Path:
    """Find the package or checkpoint to train: the file itself, or that of a foundation model.

    Raises `ModelError`, which says what to fetch, when there is none.
    """
    name = str(base)
    if name in FOUNDATION_MODELS:
        found = _find_file(name, PACKAGE_SUFFIX)
        if found is None:
            raise ModelError(
                f"{name}: to train it, its package {name}*{PACKAGE_SUFFIX} must be in "
                f"{_models_folder()}, and there is none; a compiled file (*{COMPILED_SUFFIX}) "
                "can be evaluated, but not trained. Download the package of "
                f"{FOUNDATION_MODELS[name]} from nequip.net and put it beside the compiled file"
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
