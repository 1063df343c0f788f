"""The labels of a campaign with their provenance, as extended XYZ, and what is known of them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove import provenance
from entrove._version import __version__
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Labelled
from entrove.campaign.journal.records import lost_labels
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.export.agreement import Check
from entrove.files import hash_of_file, replace_text
from entrove.labelling.level_of_theory import LEVEL_FILE, read_level
from entrove.structures import read_structures, species_of, write_structures
from entrove.training.trained_model import training_set_hash

KEYS = (
    ("energy, forces, stress", "the label: eV, eV/Angstrom, eV/Angstrom^3 (positive = tensile)"),
    (provenance.POOL, "the pool that proposed the structure"),
    (provenance.KIND, "how it was made: strain, shear, md, ..."),
    (provenance.PHASE, "the phase of the seed that it started from"),
    (provenance.PRESSURE, "pressure at which it was made, GPa"),
    (provenance.TEMPERATURE, "temperature at which it was made, K"),
    (provenance.WALKER, "index of the walker that visited it"),
    (provenance.STEP, "MD step of the walker"),
    (provenance.KAPPA, "strength of the bias at that step, eV"),
    (provenance.BIAS_FRACTION, "fraction of the thermal force scale that the bias aims at"),
    (provenance.ENTROPY, "entropy that the walker was biased by"),
    (provenance.MODE, "mode of that entropy: per_atom or per_config"),
    (provenance.ROUND, "round of the campaign that labelled it; 0 for validation and test"),
    (provenance.GAIN, "information that its label was expected to add, nats"),
    (provenance.STRUCTURE_HASH, "hash of the structure"),
    (provenance.LEVEL_OF_THEORY, "hash of the level of theory of the label"),
    (provenance.ENGINE, "program that labelled it, with its version"),
    (provenance.ENGINE_SECONDS, "wall time of the program, s"),
    (provenance.IMPORT, "number of the import that brought the label"),
)
"""The keys that a reader of the file meets, and what they say."""


def write_dataset(campaign: Workspace, folder: Path, name: str) -> list[Check]:
    """Write training, validation and test labels, a description, and a README.

    Args:
        campaign: The files of the campaign.
        folder: An empty folder.
        name: Name of the campaign.

    Returns that the files were read again, and hold the same labels.

    Raises `CampaignError` when the campaign has no labels yet, or its files have lost some.
    """
    lost = lost_labels(campaign, Ledger(campaign.ledger, read_only=True).each(Labelled))
    if computed := [row for row in lost if not row.from_cache]:
        raise CampaignError(
            f"{campaign.folder}: {len(computed)} labels are missing in its files, although it has "
            "computed them; 'entrove run' takes them from the label cache again"
        )
    parts = {
        "training": campaign.training_labels(),
        "validation": read_structures(campaign.validation, may_be_empty=True),
        "test": campaign.test_labels(),
    }
    parts = {part: labels for part, labels in parts.items() if labels}
    if not parts:
        raise CampaignError(
            f"{campaign.folder}: this campaign has no labels yet; 'entrove status' says where it "
            "stands"
        )
    has_level = (campaign.label_work / LEVEL_FILE).is_file()
    level = read_level(campaign.label_work) if has_level else None
    description: dict[str, Any] = {
        "name": name,
        "entrove_version": __version__,
        "level_of_theory": level.describe() if level else "",
        "level_of_theory_hash": level.hash if level else "",
        "files": {},
    }
    for part, labels in parts.items():
        path = folder / f"{part}.xyz"
        write_structures(path, labels)
        description["files"][path.name] = _describe(path, labels)
    replace_text(folder / "dataset.json", json.dumps(description, indent=2) + "\n")
    replace_text(folder / "README.md", _readme(description))
    return [_read_again(folder, parts)]


def _describe(path: Path, labels: list[Atoms]) -> dict[str, Any]:
    parts = Counter(
        f"{atoms.info.get(provenance.PHASE, 'unknown')}, "
        f"{atoms.info.get(provenance.KIND, 'unknown')}"
        for atoms in labels
    )
    return {
        "labels": len(labels),
        "atoms": sum(map(len, labels)),
        "species": list(species_of(labels)),
        "hash_of_structures_and_energies": training_set_hash(labels),
        "sha256": hash_of_file(path),
        "by_phase_and_kind": dict(parts),
    }


def _read_again(folder: Path, parts: dict[str, list[Atoms]]) -> Check:
    for part, labels in parts.items():
        again = read_structures(folder / f"{part}.xyz")
        if training_set_hash(again) != training_set_hash(labels):
            raise CampaignError(
                f"{part}.xyz: what was read again differs from the labels; is the disk full? "
                "Nothing was written"
            )
    return Check(
        ", ".join(f"{part}.xyz" for part in parts),
        note="read again with ASE: the same structures and energies, to 1e-6 eV",
    )


def _readme(description: dict[str, Any]) -> str:
    files = "\n".join(
        f"| `{name}` | {entry['labels']} | {entry['atoms']} | {', '.join(entry['species'])} | "
        f"`{entry['hash_of_structures_and_energies']}` |"
        for name, entry in description["files"].items()
    )
    keys = "\n".join(f"| `{key}` | {meaning} |" for key, meaning in KEYS)
    level = description["level_of_theory"] or "not recorded"
    return f"""\
# {description["name"]}: labels

Extended XYZ, which ASE reads: `ase.io.read("training.xyz", ":")`. Validation labels took no part
in training, but chose the model; test labels took no part in any decision. `dataset.json` has the
SHA-256 of each file, and the number of labels of each phase and kind.

Level of theory: {level} (hash `{description["level_of_theory_hash"]}`).

| file | labels | atoms | elements | hash of structures and energies |
| --- | --- | --- | --- | --- |
{files}

| key | meaning |
| --- | --- |
{keys}

Other formats: `entrove convert training.xyz OUT`.
"""
