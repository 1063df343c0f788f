"""The demo, selected in two ways: errors on structures that neither has learnt from.

Hypothesis: labels picked by what they teach (`entropy: {kind: labels}`) leave smaller errors than
as many picked by information of atomic features, in energy, forces and stress.

Both campaigns start from the silicon example, which names no entropy; one has `entropy: {kind:
information}`. The structures are those of all their validation and test sets, without any that
either has learnt from.

    python benchmarks/demo/compare_selections.py INFORMATION_CAMPAIGN LABELS_CAMPAIGN
"""

import argparse
import math
import sys
from pathlib import Path

from ase import Atoms

from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import content_hash, read_structures
from entrove.validation.errors_by_kind import ALL, errors_by_kind

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

HELD_OUT = ("validation.xyz", "test.xyz")
ROUNDS = (1, 2)


def held_out(folders: list[Path]) -> list[Atoms]:
    """Structures that no campaign has learnt from, each once."""
    learnt = {
        content_hash(atoms)
        for folder in folders
        for atoms in read_structures(folder / "dataset.xyz")
    }
    found: dict[str, Atoms] = {}
    for folder in folders:
        for name in HELD_OUT:
            if (folder / name).is_file():
                for atoms in read_structures(folder / name):
                    found.setdefault(content_hash(atoms), atoms)
    return [atoms for key, atoms in found.items() if key not in learnt]


def errors_of(folder: Path, round_index: int, reference: list[Atoms]) -> dict[str, object]:
    checkpoint = folder / f"round-{round_index:02d}" / "training" / "member-0" / "model.pth"
    table = errors_by_kind(reference, predict(load(str(checkpoint), device="cpu"), reference))
    labels = [
        atoms
        for atoms in read_structures(folder / "dataset.xyz")
        if atoms.info["entrove_round"] <= round_index
    ]
    rows = {
        row.kind: {
            "structures": row.structures,
            "energy_meV_per_atom": round(row.energy_mae_meV_per_atom, 2),
            "force_meV_per_A": None  # all components of strained cells vanish by symmetry
            if math.isnan(row.force_mae_meV_per_A)
            else round(row.force_mae_meV_per_A, 1),
            "stress_meV_per_A3": round(row.stress_mae_meV_per_A3, 2),
            "intervals": [
                None if interval is None else [round(value, 2) for value in interval]
                for interval in (
                    row.energy_interval_meV_per_atom,
                    row.force_interval_meV_per_A,
                    row.stress_interval_meV_per_A3,
                )
            ],
        }
        for row in table.rows
        if row.phase == ALL
    }
    return {"labels": len(labels), "errors": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("information", type=Path)
    parser.add_argument("labels", type=Path)
    given = parser.parse_args()
    folders = {"information": given.information, "labels": given.labels}
    reference = held_out(list(folders.values()))
    numbers = {
        f"{name}, round {round_index}": errors_of(folder, round_index, reference)
        for name, folder in folders.items()
        for round_index in ROUNDS
    }
    write_result(
        __file__,
        "compare_selections",
        "labels picked by what they teach leave smaller errors than as many picked by information",
        numbers,
        structures=len(reference),
    )


if __name__ == "__main__":
    main()
