"""Whole campaigns in seconds: real stages on four copper atoms, in this process.

Labels are computed with EMT. Models are EMT with all energies scaled, so that errors are known,
and small when the scale is near one. Two parts are replaced, because starting their processes
takes longer than their work: Parsl, by running each attempt in this process, and training, by a
"tuned model" whose scale the test chooses for each round.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from entrove.campaign import loop
from entrove.campaign.configuration.check import CheckedCampaign, Seed
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Finished
from entrove.campaign.journal.progress import ProgressListener, Silence
from entrove.campaign.workspace import Workspace
from entrove.labelling import labeller
from entrove.labelling.attempt import Attempt, AttemptResult
from entrove.labelling.engines.registry import engine_from_json
from entrove.labelling.execution.engine_process import run_engine
from entrove.labelling.execution.executor import AttemptExecutor
from entrove.models.ase import from_calculator
from entrove.structures import content_hash, read_structures, write_structures
from entrove.training.committee import labels_of_members, mark_finished
from entrove.training.config import TrainingConfig
from entrove.training.job import Job, Result, prepare_folder, write_json
from entrove.training.launch import read_trained
from entrove.training.trained_model import TrainedModel, training_set_hash

FOUNDATION_SCALE = 0.8

SETTINGS: dict[str, Any] = {
    "name": "copper",
    "random_seed": 7,
    "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
    "regime": {"pressures_GPa": [0], "temperatures_K": [900]},
    "sampling": {
        "thermalise_steps": 0,
        "chunk_steps": 8,
        "chunks": 1,
        "independent_per_label": 0,
        "snapshot_every": 2,
        "biases": [{"entropy": "none"}],
        "anchors": {
            "volume_strains": [0.95, 1.05],
            "shears": [0.04],
            "md_steps": 4,
            "md_snapshots": 2,
        },
        "hold_out": {"md_steps": 4, "md_snapshots": 1, "interval": None, "test": False},
        "ordered": {"perturbed": 0, "random": 0},
    },
    # Few candidates: rows of labels would leave near-duplicates of earlier labels out.
    "entropy": {"kind": "information"},
    "selection": {"count": 3},
    "labelling": {
        "engine": {"name": "ase", "calculator": "cheap_campaign:Labels"},
        "max_attempts": 1,
        "stress_check": {"on_mismatch": "warn"},
    },
    "training": {"epochs": 1},
    "suite": {"enabled": False},
}


class Scaled(EMT):
    """EMT whose energies, forces and stresses are `scale` times as large."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def calculate(self, *arguments: Any, **keywords: Any) -> None:
        super().calculate(*arguments, **keywords)
        self.results = {
            name: self.scale * value
            if name in ("energy", "free_energy", "forces", "stress")
            else value
            for name, value in self.results.items()
        }


class Labels(EMT):
    """The engine: EMT, except that it fails for some structures and shifts the energy of others.

    `failing` has the content hashes of the former, `shifts_eV` those of the latter with the shift.
    All stresses are multiplied by `stress_factor`.
    """

    failing: set[str] = set()  # noqa: RUF012  set by a test, for all instances
    shifts_eV: dict[str, float] = {}  # noqa: RUF012
    stress_factor: float = 1.0

    def calculate(self, atoms: Atoms | None = None, *arguments: Any, **keywords: Any) -> None:
        super().calculate(atoms, *arguments, **keywords)
        assert atoms is not None
        name = content_hash(atoms)
        if name in self.failing:
            raise RuntimeError("fails on purpose")
        shift = self.shifts_eV.get(name, 0.0)
        self.results |= {key: self.results[key] + shift for key in ("energy", "free_energy")}
        if "stress" in self.results:
            self.results["stress"] = self.results["stress"] * self.stress_factor


@dataclass
class Bench:
    """A campaign folder, with a record of what its engine and its training were given.

    `computed` has the content hashes of all attempts of the engine, `trained_on` the number of
    labels of each training. Members of a committee beyond the first have its scale and one of
    `member_scales` in addition.
    """

    folder: Path
    scales: dict[int, float] = field(default_factory=dict)
    member_scales: tuple[float, ...] = ()
    computed: list[str] = field(default_factory=list)
    trained_on: list[int] = field(default_factory=list)
    on_train: Callable[[int], None] = lambda labels: None
    on_attempt: Callable[[str], None] = lambda structure_hash: None

    @property
    def files(self) -> Workspace:
        return Workspace(self.folder / "campaign")

    def campaign(self, **changes: dict[str, Any]) -> CheckedCampaign:
        """The campaign; `changes` replace keys of sections: `stopping={"rounds": 2}`."""
        settings = SETTINGS | {
            name: SETTINGS.get(name, {}) | values for name, values in changes.items()
        }
        return CheckedCampaign(
            CampaignConfig.model_validate(settings),
            self.folder / "campaign.yaml",
            self.files,
            (Seed("fcc", bulk("Cu", cubic=True)),),
            "cheap",
            from_calculator(Scaled(FOUNDATION_SCALE), name="cheap"),
        )

    def run(self, listener: ProgressListener | None = None, **changes: dict[str, Any]) -> None:
        """Run or continue `campaign`."""
        loop.run_campaign(self.campaign(**changes), listener or Silence())

    def stages(self) -> set[tuple[int, str]]:
        return {(record.round, record.stage) for record in Ledger(self.files.ledger).records()}

    def verdict(self) -> str:
        [finished] = Ledger(self.files.ledger).each(Finished).values()
        return finished.summary

    def dataset(self) -> list[str]:
        return [content_hash(atoms) for atoms in read_structures(self.files.dataset)]

    # The replacements of Parsl and of training.

    def submit(self, attempt: Attempt) -> "Future[AttemptResult]":
        name = Path(attempt.folder).parent.name
        self.on_attempt(name)
        self.computed.append(name)
        attempt.write()
        result = run_engine(engine_from_json(attempt.engine), "1", attempt)
        result.write(attempt.folder)
        future: Future[AttemptResult] = Future()
        future.set_result(result)
        return future

    def train_committee(
        self,
        structures: Sequence[Atoms],
        base: str,
        folder: Path,
        config: TrainingConfig,
        **_: Any,
    ) -> tuple[TrainedModel, ...]:
        learnt = labels_of_members(structures, config, 1)
        members = tuple(
            self._train_member([structures[index] for index in own], base, folder, config, member)
            for member, own in enumerate(learnt)
        )
        mark_finished(folder, len(members))
        return members

    def _train_member(
        self,
        structures: Sequence[Atoms],
        base: str,
        folder: Path,
        config: TrainingConfig,
        number: int,
    ) -> TrainedModel:
        member = folder / f"member-{number}"
        job = Job(
            base=base,
            base_hash="0",
            seed=1,
            labels_hash=training_set_hash(structures),
            config=config,
        )
        prepare_folder(member, job)
        if number == 0:
            self.on_train(len(structures))
        if not (member / "result.json").exists():
            if number == 0:
                self.trained_on.append(len(structures))
            write_structures(member / "labels.xyz", structures)
            round_index = int(folder.parent.name.rpartition("-")[2])
            scale = self.scales.get(round_index, 1 - 0.1 / len(structures))
            scale += self.member_scales[number - 1] if number else 0.0
            (member / "model.pth").write_text(str(scale))
            result = {
                "epochs_run": 1,
                "best_epoch": 1,
                "training_loss": 0.1,
                "watched_loss": None,
                "seconds": 0.0,
            }
            write_json(
                member / "result.json",
                Result.model_validate(result | {"reference_shifts_eV": {"Cu": 0.0}}),
            )
        return read_trained(member)


class _InProcessExecutor(AttemptExecutor):
    """Runs attempts in this process."""

    capacity = 1  # pyright: ignore[reportAssignmentType]
    running = False  # pyright: ignore[reportAssignmentType]

    def __init__(self, bench: Bench):
        self._bench = bench

    def start(self) -> None:
        self.running = True

    def submit(self, task: Attempt) -> "Future[AttemptResult]":
        assert self.running  # who labels starts the workers first
        return self._bench.submit(task)

    def stop(self) -> None:
        self.running = False


def make_bench(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A new campaign folder whose labels and trainings run in this process."""
    folder.mkdir(exist_ok=True)
    bench = Bench(folder)
    monkeypatch.setattr(labeller, "AttemptExecutor", lambda *_: _InProcessExecutor(bench))
    monkeypatch.setattr("entrove.campaign.stages.train.train_committee", bench.train_committee)
    monkeypatch.setattr(
        "entrove.campaign.stages.models.load",
        lambda path, **_: from_calculator(Scaled(float(Path(path).read_text())), name=path),
    )
    monkeypatch.setattr(Labels, "failing", set())
    monkeypatch.setattr(Labels, "shifts_eV", {})
    monkeypatch.setattr(Labels, "stress_factor", 1.0)
    return bench
