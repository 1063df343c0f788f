"""Did tuning make a model worse in any kind or quantity? The verdict of a campaign, for a study.

    python benchmarks/curves/against_untuned.py STUDY.yaml [--json RESULT]

Every model that the study has tuned is judged on its independent test set (without what an arm has
picked), against the model that it was tuned from with the energy shift per element that fits the
labels it has learnt. The labels are those of the study; nothing is computed anew.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from entrove.campaign.configuration.check import check_campaign
from entrove.campaign.configuration.config_file import read_config_file
from entrove.curves.config import StudyConfig
from entrove.curves.labels import StudyLabels
from entrove.models import predict
from entrove.models.registry import load
from entrove.sampling.candidates import read_candidates
from entrove.structures import content_hash, energy_of, read_structures
from entrove.training.job import read_job
from entrove.training.reference_energies import fit_reference_shifts
from entrove.validation import compare, errors_by_kind


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    study = read_config_file(arguments.study, StudyConfig)
    folder = arguments.study.parent / study.folder
    campaign = check_campaign(arguments.study.parent / study.campaign)
    picked = {
        content_hash(atoms)
        for file in (folder / "picks").glob("*.xyz")
        for atoms in read_structures(file)
    }
    found = [
        candidate
        for file in (folder / "explorations").glob("independent-*/round-00/anchors.xyz")
        for candidate in read_candidates(file)
        if content_hash(candidate.atoms) not in picked
    ]
    labels = StudyLabels(campaign, folder / "labels")
    labels.compute(found)
    test = labels.attach(found)
    rows: list[dict[str, Any]] = []
    for training in sorted(path.parent for path in folder.glob("students/trained/*/result.json")):
        job = read_job(training)
        assert job is not None
        learnt = read_structures(training / "labels.xyz")
        untuned = load(job.base, device="cpu")
        energies = [energy_of(atoms) for atoms in predict(untuned, learnt)]
        shifts = fit_reference_shifts(learnt, energies)
        before = errors_by_kind(test, predict(untuned, test), reference_shifts_eV=shifts)
        tuned = load(str(next(training.glob("model.*"))), device="cpu")
        verdict = compare(
            before, errors_by_kind(test, predict(tuned, test), reference_shifts_eV={})
        )
        rows.append(
            {
                "labels": len(learnt),
                "test_structures": len(test),
                "accepted": verdict.accepted,
                "reason": verdict.reason,
                "worse": [change.describe() for change in verdict.worse],
            }
        )
    rows.sort(key=lambda row: row["labels"])
    print(json.dumps(rows, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
