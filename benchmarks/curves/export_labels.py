"""Write the labelled structures of a study into one file, each once, with what it is for.

    python benchmarks/curves/export_labels.py STUDY.yaml LABELS.xyz.gz

Of each structure, `picked_by` says which arms have picked it, and as which of their labels
("ours 17" is the eighteenth of the first draw, "ours of draw 1 17" of the second), and `test` in
which test set it is ("mixture of draw 1"; a mixture is named where all of it is labelled). The
engine and its settings are those of the campaign beside the study. Structures without a label are
left out, and nothing is computed.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from ase import Atoms
from ase.io import write

from entrove.campaign.configuration.check import check_campaign
from entrove.campaign.configuration.config_file import read_config_file
from entrove.curves.config import StudyConfig
from entrove.curves.test_sets import hold_outs, mix, never_picked
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.structures import content_hash


def picks_of(folder: Path, study: StudyConfig) -> dict[str, list[list[Candidate]]]:
    """The picks of each arm, draw by draw."""
    return {
        arm: [
            read_candidates(only(folder / "picks", f"{arm}-{draw}-*.xyz"))
            for draw in range(study.draws_picked)
        ]
        for arm in study.arms
    }


def only(folder: Path, pattern: str) -> Path:
    """The one file of this name."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{len(found)} files {pattern} in {folder}, where there should be one")
    return found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--independent", help="name of the folder of the independent exploration")
    arguments = parser.parse_args()
    study = read_config_file(arguments.study, StudyConfig)
    folder = arguments.study.parent / study.folder
    picks = picks_of(folder, study)
    pattern = f"{arguments.independent or 'independent-*'}/round-00/anchors.xyz"
    independent = read_candidates(only(folder / "explorations", pattern))
    uses: dict[str, list[str]] = defaultdict(list)
    tests: dict[str, list[str]] = defaultdict(list)
    structures: dict[str, Atoms] = {}
    of_tests = {"independent": never_picked(independent, picks)}
    for draw in range(study.draws):
        suffix = f" of draw {draw}" if draw else ""
        for arm, of_arm in picks.items():
            for number, pick in enumerate(of_arm[draw]):
                uses[content_hash(pick.atoms)].append(f"{arm}{suffix} {number}")
                structures[content_hash(pick.atoms)] = pick.to_atoms()
        found = hold_outs(picks, draw, study.tests.hold_out, study.random_seed)
        of_tests[f"mixture{suffix}"] = mix(found, list(study.mixed_arms))
    config = check_campaign(arguments.study.parent / study.campaign).config
    level = LevelOfTheory.of(config.labelling.engine)
    for of_test in of_tests.values():
        structures |= {content_hash(c.atoms): c.to_atoms() for c in of_test}
    with LabelCache(folder / "labels" / "labels.sqlite") as cache:
        labels = {key: cache.get(atoms, level) for key, atoms in structures.items()}
    labels = {key: label for key, label in labels.items() if label and label.converged}
    for name, of_test in of_tests.items():
        keys = [content_hash(candidate.atoms) for candidate in of_test]
        if name == "independent" or labels.keys() >= {*keys}:
            for key in keys:
                tests[key].append(name)
    written = []
    for key, label in labels.items():
        labelled = label.attach(structures[key])
        for name, of in (("picked_by", uses), ("test", tests)):
            if of[key]:
                labelled.info[name] = ", ".join(of[key])
        written.append(labelled)
    write(arguments.labels, written, format="extxyz")
    print(f"{len(written)} of {len(structures)} structures are labelled")


if __name__ == "__main__":
    main()
