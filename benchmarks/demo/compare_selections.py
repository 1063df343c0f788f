"""The demo, selected in several ways: errors on structures that none has learnt from.

Hypothesis: labels picked by what they teach, the demo's way, leave smaller errors than as many
that are picked by information of atomic features, represent the regime, or are snapshots of random
MD, in energy, forces and stress.

Each campaign is the silicon example with other settings; those are in README.md. The structures
are those of all validation and test sets, without any that one of the campaigns has learnt from.

    python benchmarks/demo/compare_selections.py RESULT NAME=CAMPAIGN NAME=CAMPAIGN ...
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
    parser.add_argument("result", help="Name of the file in `results`, without its ending.")
    parser.add_argument("campaigns", nargs="+", metavar="NAME=CAMPAIGN")
    given = parser.parse_args()
    folders = {
        name: Path(folder) for name, _, folder in (each.partition("=") for each in given.campaigns)
    }
    reference = held_out(list(folders.values()))
    numbers = {
        f"{name}, round {round_index}": errors_of(folder, round_index, reference)
        for name, folder in folders.items()
        for round_index in ROUNDS
    }
    write_result(
        __file__,
        given.result,
        "labels picked by what they teach leave smaller errors than as many picked otherwise",
        numbers,
        structures=len(reference),
    )


if __name__ == "__main__":
    main()
