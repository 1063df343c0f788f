"""Are the smallest and the largest volume of each phase worth a place among few labels?

Hypothesis: a tuned model with 25 DFT labels of ours is wrong where cells are compressed or
expanded the most, since representative picks are cells near those that are frequent; with the
strained cells of least and largest volume of each phase among the labels energies and stress of
strained cells become better, and forces no worse.

The study must have been run: its explorations, picks and labels are those of its folder. What it
has not labelled is labelled by the engine of its campaign, into its cache. Arms are the extremes
and then the first picks of ours; the extremes and then those of them that are snapshots of MD; the
same with the smallest volumes alone. Tests are the independent set of the study, and a mixture:
what both of its arms have picked in the other draws. It stops and continues like a study.

    python benchmarks/curves/extreme_volumes.py STUDY.yaml WORK_FOLDER [--arms ...] [--draws ...]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign, check_campaign
from entrove.campaign.configuration.config_file import read_config_file
from entrove.curves.config import StudentConfig, StudyConfig
from entrove.curves.learning import Classroom
from entrove.labelling.labeller import Labeller
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.structures import content_hash

sys.path.insert(0, str(Path(__file__).parents[1]))
from export_labels import only, picks_of
from results_file import write_result

ARMS = ("extremes, ours", "extremes, MD of ours", "smallest, MD of ours")
ARMS_OF_STUDY = ("random_md", "ours")


def extremes_of(anchors: Sequence[Candidate]) -> list[Candidate]:
    """Of each phase the strained cells of least and of largest volume per atom, in this order."""
    found = []
    for phase in sorted({candidate.phase for candidate in anchors}):
        strained = [c for c in anchors if c.phase == phase and c.kind == "strain"]
        strained.sort(key=lambda c: c.atoms.get_volume() / len(c.atoms))
        found += [strained[0], strained[-1]]
    return found


def choose(arm: str, extremes: list[Candidate], ours: list[Candidate]) -> list[Candidate]:
    """The structures of an arm in their order."""
    first, _, rest = arm.partition(", ")
    before = extremes[::2] if first == "smallest" else extremes
    there = {content_hash(candidate.atoms) for candidate in before}
    after = [c for c in ours if content_hash(c.atoms) not in there]
    return [*before, *(c for c in after if rest == "ours" or c.kind == "md")]


def label(campaign: CheckedCampaign, folder: Path, wanted: Sequence[Candidate]) -> list[Atoms]:
    """Label structures, those that the study has labelled from its cache; none may fail."""
    with (
        LabelCache(folder / "labels" / "labels.sqlite") as cache,
        Labeller(campaign.config.labelling, cache, folder / "labels" / "extremes") as labeller,
    ):
        labels = dict(labeller.label([candidate.atoms for candidate in wanted]))
    return [labels[index].attach(candidate.to_atoms()) for index, candidate in enumerate(wanted)]


def labelled_already(
    campaign: CheckedCampaign, folder: Path, candidates: Sequence[Candidate]
) -> list[Atoms]:
    """Those with a label in the cache of the study."""
    level = LevelOfTheory.of(campaign.config.labelling.engine)
    found = []
    with LabelCache(folder / "labels" / "labels.sqlite") as cache:
        for candidate in candidates:
            known = cache.get(candidate.atoms, level)
            if known is not None and known.converged:
                found.append(known.attach(candidate.to_atoms()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("work", type=Path, help="folder of the trainings")
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--draws", nargs="+", type=int)
    parser.add_argument("--count", type=int, default=25, help="labels that are learnt")
    parser.add_argument("--name", default="extreme-volumes", help="of the file of results")
    arguments = parser.parse_args()
    study = read_config_file(arguments.study, StudyConfig)
    folder = arguments.study.parent / study.folder
    campaign = check_campaign(arguments.study.parent / study.campaign)
    explorations = folder / "explorations"
    independent = labelled_already(
        campaign,
        folder,
        read_candidates(only(explorations, "independent-*/round-00/anchors.xyz")),
    )
    picks = picks_of(folder, study)
    room = Classroom(arguments.work / "students", arguments.study.parent, "cpu", 1)
    rows: list[dict[str, Any]] = []
    for draw in arguments.draws or range(study.draws):
        anchors = only(explorations, f"plain-{draw}-*/round-00/anchors.xyz")
        extremes = extremes_of(read_candidates(anchors))
        others = {
            content_hash(candidate.atoms): candidate
            for other in range(study.draws)
            for name in ARMS_OF_STUDY
            for candidate in picks[name][other][: arguments.count]
            if other != draw
        }
        for arm in arguments.arms:
            chosen = choose(arm, extremes, picks["ours"][draw])[: arguments.count]
            learnt = {content_hash(candidate.atoms) for candidate in chosen}
            unseen = [candidate for key, candidate in others.items() if key not in learnt]
            tests = {
                "independent": independent,
                "others": labelled_already(campaign, folder, unseen),
            }
            student = StudentConfig.model_validate({"base": "7net-0"})
            errors = room.teach_and_test(student, label(campaign, folder, chosen), tests, draw)
            for test, groups in errors.items():
                rows += [{"arm": arm, "draw": draw, "test": test} | vars(each) for each in groups]
    write_result(
        __file__,
        arguments.name,
        "with the extreme volumes of each phase among 25 labels energies and stress of strained "
        "cells are better, and forces no worse",
        {"errors": rows},
        study=study.name,
        count=arguments.count,
    )


if __name__ == "__main__":
    main()
