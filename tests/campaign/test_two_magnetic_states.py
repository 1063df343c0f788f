"""Two magnetic states of one structure are two labels in every file of a campaign."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from cheap_campaign import SETTINGS, Bench, Labels, Scaled, make_bench
from entrove import provenance
from entrove.campaign.configuration.check import CheckedCampaign, Seed
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Labelled, LabelRow, Selected
from entrove.campaign.journal.progress import Silence
from entrove.campaign.journal.records import label_rows, quarantined
from entrove.campaign.results.labels import rows_in_progress
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.imported import enter_imported, to_train_on, withdraw_import
from entrove.campaign.stages.label import label_hold_out, label_picked
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.workspace import Workspace
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.labelling.store.moments import key_of, magnetic_state
from entrove.models.ase import from_calculator
from entrove.sampling.candidates import Candidate, write_candidates
from entrove.structures import content_hash

FERRO, ANTI = [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]
HIGHER_EV = 0.3
"""Energy of the ferromagnet above all others."""


class Magnetic(Labels):
    """EMT, with another energy for each state."""

    def calculate(self, atoms=None, *arguments, **keywords):
        super().calculate(atoms, *arguments, **keywords)
        assert atoms is not None
        shift = HIGHER_EV * float(atoms.get_initial_magnetic_moments().sum() != 0)
        self.results |= {key: self.results[key] + shift for key in ("energy", "free_energy")}


def copper(moments: list[float] | None, seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, rng=np.random.default_rng(seed))
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    return atoms


def running(tmp_path: Path, monkeypatch) -> tuple[Bench, CampaignRun]:
    """A campaign of two phases that are one crystal in two states."""
    monkeypatch.setattr("cheap_campaign.Labels", Magnetic)
    bench = make_bench(tmp_path, monkeypatch)
    seeds = tuple(
        Seed(phase, copper(moments)) for phase, moments in (("fm", FERRO), ("afm", ANTI))
    )
    files = [{"phase": seed.phase, "file": f"{seed.phase}.xyz"} for seed in seeds]
    campaign = CheckedCampaign(
        CampaignConfig.model_validate(SETTINGS | {"seeds": files}),
        tmp_path / "campaign.yaml",
        bench.files,
        seeds,
        "cheap",
        from_calculator(Scaled(0.8), name="cheap"),
    )
    for round_index in (0, 1):
        bench.files.round(round_index).folder.mkdir(parents=True)
    ledger = Ledger(bench.files.ledger)
    return bench, CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), Silence())


def test_both_states_of_one_structure_are_labelled_and_kept(tmp_path: Path, monkeypatch):
    """Relaxation can make one cell of two seeds, whose strained cells are then the same."""
    bench, run = running(tmp_path, monkeypatch)
    candidates = [
        Candidate(copper(None, seed), "validation", "strain", phase, 0.0)
        for seed in (1, 2)
        for phase in ("fm", "afm")
    ]
    write_candidates(bench.files.round(0).hold_out, candidates)
    labelled = label_hold_out(run, 0)

    kept = bench.files.validation_labels()
    assert [atoms.info[provenance.PHASE] for atoms in kept] == ["fm", "afm", "fm", "afm"]
    assert [row.key for row in labelled.labels] == [key_of(atoms) for atoms in kept]
    assert len(set(bench.computed)) == len(bench.computed) == 4
    for atoms in kept:
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, calculator=EMT())
        shift = HIGHER_EV * (atoms.info[provenance.PHASE] == "fm")
        expected = bare.get_potential_energy() + shift
        assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-6)
    # While a stage runs, its labels are known from the folders of the engine.
    in_progress = rows_in_progress(run.ledger, bench.files, run.config.labelling)
    assert {row.key for row in in_progress} == {row.key for row in labelled.labels}
    # Another cache takes them from the files of the campaign, each as what it is.
    bench.files.label_cache.unlink()
    label_hold_out(run, 0)
    assert len(bench.computed) == 4


def test_a_state_is_asked_for_although_the_other_one_is_trained_on(tmp_path: Path, monkeypatch):
    bench, run = running(tmp_path, monkeypatch)
    for round_index, phase in ((1, "fm"), (2, "afm")):
        files = bench.files.round(round_index)
        files.folder.mkdir(exist_ok=True)
        write_candidates(files.selected, [Candidate(copper(None), "entropy_md", "md", phase, 0.0)])
        selected = Selected(summary="", picked=1, gain_nats=1.0, gains_nats=(1.0,))
        run.ledger.enter(round_index, selected, 1.0)
        run.ledger.enter(round_index, label_picked(run, round_index), 1.0)
    states = [magnetic_state(atoms) for atoms in bench.files.training_labels()]
    assert states == [magnetic_state(copper(FERRO)), magnetic_state(copper(ANTI))]
    assert len(label_rows(run.ledger.each(Labelled))) == 2


def row_of(atoms: Atoms, round_index: int, **changes) -> LabelRow:
    structure_hash, key = content_hash(atoms), key_of(atoms)
    row = LabelRow(
        "training", round_index, structure_hash, "fm", "md", "anchors", 0.0, None, 1.0,
        "converged", "", 1.0, False, "" if key == structure_hash else key,
    )  # fmt: skip
    return replace(row, **changes)


def test_the_ledger_tells_states_apart():
    ferro, anti, silent = copper(FERRO), copper(ANTI), copper(None)
    labellings = {
        1: Labelled(summary="", labels=(row_of(ferro, 1), row_of(anti, 1), row_of(silent, 1))),
        2: Labelled(summary="", labels=(), withdrawn={key_of(anti): "too high"}),
    }
    outcomes = {row.key: row.outcome for row in label_rows(labellings)}
    assert outcomes == {
        key_of(ferro): "converged",
        key_of(anti): "rejected",
        key_of(silent): "converged",
    }
    assert quarantined(labellings) == {key_of(anti)}
    # A row of an earlier version has no state: it is known by its content hash.
    assert row_of(silent, 1).key == content_hash(silent)


def imported(files: Workspace, path: Path, moments: list[float], energy_eV: float) -> int | None:
    """What `entrove import --train` does with a file that has one state."""
    atoms = copper(moments)
    results = {"energy": energy_eV, "forces": np.zeros((4, 3)), "stress": np.zeros(6)}
    computed = atoms.copy()
    computed.set_initial_magnetic_moments(None)
    # The program wrote the moments that it ended with.
    computed.calc = SinglePointCalculator(computed, magmoms=np.array(moments) * 1.04, **results)
    write(path, computed, format="extxyz")
    labelled: list[Atoms] = []
    level = LevelOfTheory.of(CampaignConfig.model_validate(SETTINGS).labelling.engine)
    with LabelCache(files.label_cache) as cache:
        report = import_labels(
            path,
            level,
            cache,
            on_label=lambda atoms, label: labelled.append(to_train_on(atoms, label)),
        )
        assert enter_imported(files, labelled, cache) == (1, 0)
    return report.import_id


def test_both_states_of_imported_labels_are_trained_on_and_withdrawn_alone(tmp_path: Path):
    files = Workspace(tmp_path / "campaign")
    files.folder.mkdir()
    first = imported(files, tmp_path / "fm.xyz", FERRO, -1.0)
    imported(files, tmp_path / "afm.xyz", ANTI, -2.0)

    def trained_on() -> dict[str, float]:
        return {magnetic_state(a): a.get_potential_energy() for a in files.training_labels()}

    both = {magnetic_state(copper(FERRO)): -1.0, magnetic_state(copper(ANTI)): -2.0}
    assert trained_on() == both
    assert first is not None
    with LabelCache(files.label_cache) as cache:
        gone = withdraw_import(files, cache, first)
    assert (gone.labels, gone.trained_on, gone.validated_on) == (1, 1, 0)
    assert trained_on() == {magnetic_state(copper(ANTI)): -2.0}
