"""Tuned models of a study, tested on what the arms have picked in its other draws: a mixture.

A study labels a mixture of its own for each draw. Where that is too dear, the labels of the other
draws serve: their walkers have other seeds, so no trajectory is both learnt from and tested on.
Structures that a model has learnt (anchors are the same in all draws) are left out.

    python benchmarks/curves/other_draws.py LABELS.xyz.gz WORK_FOLDER [WORK_FOLDER ...]

LABELS is written by `export_labels.py`, and the folders are those of the study, whose models are
found by the labels that they have learnt. With `--train`, models that are not found are tuned
as the study does, SevenNet-0 with default settings on one thread, in the first folder. With
`--tested 25` models of fewer labels are tested on the mixture that those of 25 are tested on.
"""

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove.curves.learning import test_errors
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import content_hash, read_structures
from entrove.training.config import TrainingConfig
from entrove.training.tuning import fine_tune

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

PICKED = re.compile(r"(?P<arm>\S+)(?: of draw (?P<draw>\d+))? (?P<number>\d+)")
SEED = 1
"""Seed of the first draw of the studies; that of the next is one larger."""

Picks = dict[tuple[str, int], dict[str, Atoms]]
"""Labelled structures by content hash, of each arm and draw, in the order of the picks."""


def read_picks(labels: Path, count: int) -> Picks:
    """The first `count` picks of each arm and draw, without arms and draws that lack one."""
    numbered: dict[tuple[str, int], dict[int, Atoms]] = defaultdict(dict)
    for atoms in read_structures(labels):
        for use in filter(None, atoms.info.get("picked_by", "").split(", ")):
            found = PICKED.fullmatch(use)
            assert found is not None, use
            if int(found["number"]) < count:
                numbered[found["arm"], int(found["draw"] or 0)][int(found["number"])] = atoms
    return {
        key: {content_hash(of[number]): of[number] for number in range(count)}
        for key, of in numbered.items()
        if len(of) == count
    }


def find_model(folders: list[Path], learnt: set[str]) -> Path | None:
    """The checkpoint of the tuned model that has learnt these structures."""
    for folder in folders:
        for path in sorted(folder.glob("students/trained/*/model.pth")):
            if {content_hash(a) for a in read_structures(path.with_name("labels.xyz"))} == learnt:
                return path
    return None


def train(folder: Path, arm: str, draw: int, learnt: list[Atoms]) -> Path:
    """SevenNet-0 tuned to the labels, as `entrove curves` does by default."""
    trained = fine_tune(
        learnt,
        "7net-0",
        folder / "students" / "trained" / f"{arm}-{draw}-{len(learnt)}",
        TrainingConfig(),
        seed=SEED + draw,
        device="cpu",
        threads=1,
    )
    return trained.checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("folders", type=Path, nargs="+", help="`folder` of the study")
    parser.add_argument("--count", type=int, default=25, help="labels that the models have learnt")
    parser.add_argument("--tested", type=int, help="picks of each arm that are tested on: --count")
    parser.add_argument("--train", action="store_true", help="tune models that are not found")
    parser.add_argument("--name", default="other-draws", help="of the file of results")
    arguments = parser.parse_args()
    picks = read_picks(arguments.labels, arguments.count)
    mixtures = read_picks(arguments.labels, arguments.tested or arguments.count)
    rows: list[dict[str, Any]] = []
    for (arm, draw), learnt in sorted(picks.items(), key=lambda item: item[0][1]):
        checkpoint = find_model(arguments.folders, {*learnt})
        if checkpoint is None and arguments.train:
            checkpoint = train(arguments.folders[0], arm, draw, list(learnt.values()))
        if checkpoint is None:
            print(f"no model of {arm}, draw {draw}", file=sys.stderr)
            continue
        known = {key for (_, of_draw), of in mixtures.items() if of_draw == draw for key in of}
        others = {
            key: atoms for (_, o), of in mixtures.items() if o != draw for key, atoms in of.items()
        }
        tested = [atoms for key, atoms in others.items() if key not in known]
        found = test_errors(tested, predict(load(str(checkpoint), device="cpu"), tested))
        rows += [{"arm": arm, "draw": draw} | errors.to_dict() for errors in found]
    write_result(
        __file__,
        arguments.name,
        "ours has smaller errors than random MD on a mixture, too",
        {"errors": rows},
        labels=arguments.labels.name,
        count=arguments.count,
        tested=arguments.tested or arguments.count,
    )


if __name__ == "__main__":
    main()
