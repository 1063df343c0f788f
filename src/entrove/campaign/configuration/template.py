"""Write a commented configuration to start from, as `entrove init` does."""

import re
from pathlib import Path
from shutil import copyfile
from typing import Any

from entrove.campaign.configuration.check_magnetism import moments_to_start_from
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.reference import write_commented_yaml
from entrove.campaign.configuration.seeds import Seed, read_seed, repeats_of_one_atom
from entrove.errors import ConfigError
from entrove.sampling.vacuum import describe_vacuum
from entrove.structures import write_structures

_HEADER = """\
# A campaign of Entrove. Start it, or continue it after an interruption:  entrove run {name}
# Keys that are commented out are at their defaults, which are the recommended values.
# Paths are relative to this file. Unknown keys are errors.
"""


def write_starting_point(folder: Path, seed_files: list[Path]) -> Path:
    """Create a folder with a commented campaign.yaml and its seed structures.

    Args:
        folder: The folder; the campaign gets its name.
        seed_files: Structure files, one per phase; each phase gets the name of its file. Without
            any, the seed is silicon in the diamond structure.

    Cells of one atom are repeated, magnetic elements get two spin channels, and slabs, layers,
    wires and molecules no pressure. Characters that a name must not contain are replaced by an
    underscore. Returns the path of the configuration.

    Raises `ConfigError` when the folder has a configuration already or two seeds share a name,
    and `StructureError` for a file that cannot be a seed.
    """
    target = folder / "campaign.yaml"
    if target.exists():
        raise ConfigError(f"{target}: exists already; choose another folder, or edit this file")
    names = [_as_name(path.stem) for path in seed_files]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"two seed files have the same name ({', '.join(names)}), and each phase is named "
            "after its file; rename one of them"
        )
    crystals = [read_seed(path)[0] for path in seed_files]
    moments = moments_to_start_from(
        [Seed(name, atoms) for name, atoms in zip(names, crystals, strict=True)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    seeds = []
    for name, path, atoms in zip(names, seed_files, crystals, strict=True):
        if path.resolve() != (folder / path.name).resolve():
            copyfile(path, folder / path.name)
        seed: dict[str, Any] = {"phase": name, "file": path.name}
        if len(atoms) == 1:
            seed["repeat"] = list(repeats_of_one_atom(atoms))
        seeds.append(seed)
    if not seeds:
        from ase.build import bulk

        write_structures(folder / "diamond.xyz", [bulk("Si", cubic=True)])
        seeds.append({"phase": "diamond", "file": "diamond.xyz"})
    given: dict[str, Any] = {
        "name": _as_name(folder.resolve().name),
        "seeds": seeds,
        "regime": {"pressures_GPa": [0.0, 10.0], "temperatures_K": [300.0, 1000.0]},
        "labelling": {"engine": {"name": "gpaw"}},
    }
    if moments:
        given["labelling"]["engine"] |= {"spin_polarised": True, "magnetic_moments": moments}
    if any(describe_vacuum(atoms) for atoms in crystals):
        # A pressure would close the vacuum, and random crystals have none.
        given["regime"]["pressures_GPa"] = [0.0]
        given["sampling"] = {"ordered": {"perturbed": 0, "random": 0}}
    target.write_text(
        _HEADER.format(name=target.name) + write_commented_yaml(CampaignConfig, given),
        encoding="utf-8",
    )
    return target


def _as_name(text: str) -> str:
    """Turn the name of a file into that of a campaign or phase.

    >>> _as_name("MgO (B1)"), _as_name("my project"), _as_name("beta-Sn_0.5")
    ('MgO_B1', 'my_project', 'beta-Sn_0.5')
    """
    return re.sub(r"[^\w.+-]+", "_", text).strip("_")[:60] or "unnamed"
