"""Does it pay to label with coarse k-points? Models of several studies, judged by the same labels.

Hypothesis: judged by labels whose k-points are dense, SevenNet-0 has smaller errors tuned to 200
labels of silicon with coarse ones (0.35 1/A, silicon/dft.yaml) than to 25 with dense ones
(0.25 1/A, silicon/dft-dense.yaml), which take a fifth to a quarter of the time. It was
written down after a first look at the errors, which contradict it.

All models that the studies have tuned are evaluated on the tests of a file of labels. Their arms
are those that have picked most of what they have learnt.

    python benchmarks/curves/judge_trained.py WORK_FOLDER [WORK_FOLDER ...]
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from entrove.curves.learning import LOWEST, test_errors
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import content_hash, read_structures
from entrove.validation.errors_by_kind import ALL

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

DATA = Path(__file__).parent / "silicon" / "data"
TESTS = ("independent", "mixture")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="`folder` of each study")
    parser.add_argument("--judged-by", default="pbe-labels-dense", help="a file of silicon/data")
    parser.add_argument("--picks", default="pbe-labels-200", help="the file that names the picks")
    arguments = parser.parse_args()
    judges = read_structures(DATA / f"{arguments.judged_by}.xyz.gz")
    picked_by = {
        content_hash(atoms): [use.rpartition(" ")[0] for use in picked.split(", ")]
        for atoms in read_structures(DATA / f"{arguments.picks}.xyz.gz")
        if (picked := atoms.info.get("picked_by"))
    }
    rows: list[dict[str, Any]] = []
    checkpoints = [
        path
        for folder in arguments.folders
        for path in sorted(folder.glob("students/trained/*/model.pth"))
    ]
    for checkpoint in checkpoints:
        learnt = read_structures(checkpoint.with_name("labels.xyz"))
        arms = Counter(arm for atoms in learnt for arm in picked_by[content_hash(atoms)])
        model = load(str(checkpoint), device="cpu")
        for test in TESTS:
            tested = [a for a in judges if test in a.info.get("test", "").split(", ")]
            errors = {of.group: of for of in test_errors(tested, predict(model, tested))}
            for group in (ALL, LOWEST):
                found = errors[group]
                rows.append(
                    {
                        "level": learnt[0].info["entrove_level_of_theory"],
                        "labels": len(learnt),
                        "arm": arms.most_common(1)[0][0],
                        "test": test,
                        "group": group,
                        "structures": found.structures,
                        "energy": round(found.energy, 2),
                        "force": round(found.force, 1),
                        "stress": round(found.stress, 2),
                    }
                )
    rows.sort(key=lambda row: (row["level"], row["labels"], row["arm"]))
    write_result(
        __file__,
        "judge-trained",
        "200 labels with coarse k-points teach more than 25 with dense ones",
        {"models": rows},
        judged_by=arguments.judged_by,
        picks=arguments.picks,
    )


if __name__ == "__main__":
    main()
