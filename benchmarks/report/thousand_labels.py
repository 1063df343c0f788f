"""The report of a campaign with 1,000 labels: time, size, memory, and no network.

Hypothesis: a report of 1,000 training labels in ten rounds takes under 20 s and is under 15 MB.
The campaign is synthetic, but its folder is complete: it is written through Entrove's own ledger,
workspace and structure files, labels and predictions come from a Lennard-Jones potential, and the
report is made from it by the command `entrove report`, in a network namespace without any network
where the system allows one.

Run: python benchmarks/report/thousand_labels.py [--keep FOLDER]
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from entrove import provenance
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.settled import settle_config
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import (
    Anchored,
    Explored,
    Finished,
    HeldOut,
    Labelled,
    LabelRow,
    Relaxed,
    Selected,
    StageOutcome,
    Trained,
    Validated,
    Verified,
    WalkerRow,
)
from entrove.campaign.workspace import Workspace
from entrove.labelling.attempt import describe_host
from entrove.labelling.level_of_theory import LevelOfTheory, claim_folder
from entrove.structures import attach_results, content_hash, write_structures
from entrove.validation.errors_by_kind import ErrorTable, errors_by_kind

ROUNDS, PER_ROUND, WALKERS, SNAPSHOTS = 10, 100, 64, 10
PHASES = {"fcc": ("fcc", 4.0), "hcp": ("hcp", 2.83), "bcc": ("bcc", 3.2)}
PRESSURES = (0.0, 10.0, 50.0)
TEMPERATURES = (300.0, 1000.0, 2000.0)
MOST_SECONDS, MOST_MB = 20.0, 15.0
SEED = 5


def structure(phase: str, pressure: float, temperature: float | None, rng) -> Atoms:
    """A strained or a hot cell of 16 to 54 atoms."""
    kind, length = PHASES[phase]
    atoms = bulk("Cu", kind, a=length * (1 - 0.001 * pressure), orthorhombic=kind == "hcp")
    atoms = (atoms if kind == "hcp" else bulk("Cu", kind, a=length, cubic=True)).repeat((2, 2, 2))
    strain = np.eye(3) + rng.normal(0.0, 0.02, (3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    if temperature is not None:
        atoms.positions += rng.normal(0.0, 0.004 * temperature**0.5, atoms.positions.shape)
    atoms.info |= {
        provenance.PHASE: phase,
        provenance.PRESSURE: pressure,
        provenance.KIND: "strain" if temperature is None else "md",
    }
    if temperature is not None:
        atoms.info[provenance.TEMPERATURE] = temperature
    return atoms


def labelled(atoms: Atoms, round_index: int, pool: str) -> Atoms:
    work = atoms.copy()
    work.calc = LennardJones(sigma=2.3, epsilon=0.4, rc=5.0, smooth=True)
    label = attach_results(
        atoms, work.get_potential_energy(), work.get_forces(), work.get_stress()
    )
    label.info |= atoms.info | {
        provenance.ROUND: round_index,
        provenance.POOL: pool,
        provenance.STRUCTURE_HASH: content_hash(atoms),
    }
    return label


def predicted(label: Atoms, error: float, rng) -> Atoms:
    """The label with an error that shrinks with the rounds."""
    forces = label.get_forces()
    prediction = attach_results(
        label,
        label.get_potential_energy() + len(label) * error * rng.normal(0.0, 0.1),
        forces * (1 - 0.2 * error) + rng.normal(0.0, 0.1 * error, forces.shape),
        label.get_stress() + rng.normal(0.0, 0.01 * error, 6),
    )
    prediction.info |= label.info
    return prediction


def row_of(label: Atoms, purpose: str, gain: float | None, seconds: float) -> LabelRow:
    info = label.info
    return LabelRow(
        purpose=purpose,
        round=info[provenance.ROUND],
        structure_hash=info[provenance.STRUCTURE_HASH],
        phase=info[provenance.PHASE],
        kind=info[provenance.KIND],
        pool=info[provenance.POOL],
        pressure_GPa=info[provenance.PRESSURE],
        temperature_K=info.get(provenance.TEMPERATURE),
        gain_nats=gain,
        outcome="converged",
        cause="",
        engine_seconds=seconds,
        from_cache=False,
    )


def states(rng, count: int) -> list[tuple[str, float, float | None]]:
    phases, temperatures = list(PHASES), [None, *TEMPERATURES]
    return [
        (
            phases[rng.integers(len(phases))],
            PRESSURES[rng.integers(len(PRESSURES))],
            temperatures[rng.integers(len(temperatures))],
        )
        for _ in range(count)
    ]


def settings() -> CampaignConfig:
    return CampaignConfig.model_validate(
        {
            "name": "copper-1000",
            "seeds": [{"phase": phase, "file": f"{phase}.xyz"} for phase in PHASES],
            "regime": {"pressures_GPa": PRESSURES, "temperatures_K": TEMPERATURES},
            "selection": {"count": PER_ROUND},
            "labelling": {"engine": {"name": "gpaw", "program_version": "26.7.0"}},
            "stopping": {"rounds": ROUNDS},
        }
    )


class Synthetic:
    """A campaign folder that is being written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.rng = np.random.default_rng(SEED)
        self.files = Workspace(folder)
        config = settings()
        settle_config(self.files.config, config)
        self.ledger = Ledger(self.files.ledger)
        self.files.label_work.mkdir()
        claim_folder(self.files.label_work, LevelOfTheory.of(config.labelling.engine))
        self.validation, self.test = (
            [labelled(structure(*state, self.rng), 0, pool) for state in states(self.rng, 200)]
            for pool in ("validation", "test")
        )
        self.untuned = self.measure(self.validation, 1.0)
        self.dataset: list[Atoms] = []

    def enter(self, index: int, outcome: StageOutcome, seconds: float) -> None:
        self.ledger.enter(index, outcome.model_copy(update={"cores": 8}), seconds)

    def measure(self, labels: list[Atoms], error: float) -> tuple[list[Atoms], ErrorTable]:
        predictions = [predicted(label, error, self.rng) for label in labels]
        # Nothing has to be added: these models count from the zero of the labels.
        return predictions, errors_by_kind(labels, predictions, {})

    def validate(self, index: int, error: float) -> None:
        predictions, table = self.measure(self.validation, error) if index else self.untuned
        write_structures(self.files.round(index).validation_predictions, predictions)
        validated = Validated(
            summary="validated",
            errors=table.rows,
            structures=table.structures,
            reference_shifts_eV={},
            untuned=self.untuned[1] if index else None,
            accepted=index > 0 or None,
        )
        self.enter(index, validated, 20.0)

    def prepare(self) -> None:
        self.files.round(0).folder.mkdir()
        relaxed = [structure(phase, 0.0, None, self.rng) for phase in PHASES]
        write_structures(self.files.round(0).relaxed, relaxed)
        write_structures(self.files.validation, self.validation)
        self.enter(0, Verified(summary="batches agree"), 12.0)
        self.enter(0, Relaxed(summary="9 cells"), 30.0)
        self.enter(0, Anchored(summary="200 anchors"), 60.0)
        self.enter(0, HeldOut(summary="400 structures"), 70.0)
        held = [
            row_of(label, purpose, None, 900.0)
            for purpose, labels in (("validation", self.validation), ("test", self.test))
            for label in labels
        ]
        self.enter(0, Labelled(summary="400 labels", labels=tuple(held)), 9000.0)
        self.validate(0, 1.0)

    def run_round(self, index: int) -> None:
        rng, own = self.rng, self.files.round(index)
        own.folder.mkdir()
        snapshots = [structure(*state, rng) for state in states(rng, WALKERS * SNAPSHOTS)]
        write_structures(own.candidates, snapshots)
        walkers = tuple(
            WalkerRow(index, number, phase, pressure, temperature or 300.0, "adaptive 0.6", 0, "")
            for number, (phase, pressure, temperature) in enumerate(states(rng, WALKERS))
        )
        self.enter(index, Explored(summary="snapshots", walkers=walkers), 3600.0)
        numbers = np.arange(1, PER_ROUND + 1) + PER_ROUND * (index - 1)
        gains = np.sort(40.0 * numbers**-0.6 * np.exp(rng.normal(0.0, 0.2, PER_ROUND)))[::-1]
        picked = [
            labelled(atoms, index, ("entropy_md", "anchors")[number % 4 == 0])
            for number, atoms in enumerate(snapshots[:PER_ROUND])
        ]
        write_structures(own.selected, picked)
        selected = Selected(
            summary="picked",
            picked=PER_ROUND,
            gain_nats=float(gains.sum()),
            gains_nats=tuple(gains.tolist()),
            picked_by_pool={"entropy_md": 75, "anchors": 25},
            reserved_by_pool={"anchors": 25},
        )
        self.enter(index, selected, 40.0)
        rows = tuple(
            row_of(label, "training", float(gain), 900.0)
            for label, gain in zip(picked, gains, strict=True)
        )
        rows = (replace(rows[0], from_cache=True), *rows[1:])
        self.enter(index, Labelled(summary="100 labels", labels=rows), 12000.0)
        self.dataset += picked
        self.enter(index, Trained(summary="trained", checkpoint="model.pth"), 1800.0)
        self.validate(index, index**-0.7)

    def finish(self) -> None:
        write_structures(self.files.dataset, self.dataset)
        finished = Finished(
            summary="all 10 rounds are done; the model is that of round 10",
            reason="all 10 rounds are done",
            model_round=ROUNDS,
            test=self.measure(self.test, ROUNDS**-0.7)[1],
            untuned_test=self.measure(self.test, 1.0)[1],
        )
        self.enter(ROUNDS, finished, 1.0)


def write_campaign(folder: Path) -> None:
    campaign = Synthetic(folder)
    campaign.prepare()
    for index in range(1, ROUNDS + 1):
        campaign.run_round(index)
    campaign.finish()


def report(folder: Path) -> dict[str, float | bool]:
    command = [sys.executable, "-m", "entrove.cli.main", "report", str(folder)]
    isolated = (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode
        == 0
    )
    if isolated:
        command = ["unshare", "-rn", *command]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_memory_MB": round(used.ru_maxrss / 1024),
        "html_MB": round((folder / "report.html").stat().st_size / 1e6, 2),
        "json_MB": round((folder / "report.json").stat().st_size / 1e6, 2),
        "without_network": isolated,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="Write the campaign here, and keep it.")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary) / "campaign"
        if not folder.exists():
            write_campaign(folder)
        numbers = report(folder)
        record = json.loads((folder / "report.json").read_text())
        numbers["training_labels"] = record["learning_curves"]["curves"][0]["points"][-1]["labels"]
    result = {
        "benchmark": "report of 1,000 labels",
        "limits": {"seconds": MOST_SECONDS, "html_MB": MOST_MB},
        "reached": numbers["seconds"] < MOST_SECONDS and numbers["html_MB"] < MOST_MB,
        "numbers": numbers,
        "settings": {"rounds": ROUNDS, "labels_per_round": PER_ROUND, "seed": SEED},
        "machine": {"host": describe_host(), "load_average": os.getloadavg()},
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "versions": {name: version(name) for name in ("ase", "numpy", "plotly", "torch")}
        | {"python": platform.python_version()},
    }
    text = json.dumps(result, indent=2) + "\n"
    place = Path(__file__).parent / "results"
    place.mkdir(exist_ok=True)
    (place / "thousand_labels.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
