"""A campaign whose learning rate is chosen on its training labels, and on nothing else."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from entrove import provenance
from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.train import train
from entrove.campaign.workspace import Workspace
from entrove.execution.program import Program
from entrove.execution.running import ProgramsHere
from entrove.models.ase import from_calculator
from entrove.structures import attach_results, content_hash, read_structures, write_structures
from entrove.training.sevennet import worker
from small_sevennet import write_small_sevennet

CONFIG = CampaignConfig.model_validate(
    {
        "name": "silicon",
        "seeds": [{"phase": "diamond", "file": "diamond.xyz"}],
        "regime": {"pressures_GPa": [0], "temperatures_K": [300]},
        "model": {"device": "cpu"},
        "training": {
            "epochs": 1,
            "learning_rate": "auto",
            "cross_validation": {"folds": 2, "recipes": [{"learning_rate": 0.01}]},
        },
    }
)


def labelled(count: int, seed: int, *, poisoned: bool = False) -> list[Atoms]:
    """Strained cells of silicon; a poisoned label makes every loss that it enters NaN."""
    rng = np.random.default_rng(seed)
    structures = []
    for number in range(count):
        atoms = bulk("Si", "diamond", a=5.43 * rng.uniform(0.93, 1.07))
        atoms.positions[1] += rng.normal(scale=0.1, size=3)
        atoms.info |= {provenance.ROUND: 1, provenance.WALKER: 100 * seed + number}
        work = atoms.copy()
        work.calc = LennardJones(sigma=2.2, epsilon=0.3, rc=4.0, smooth=True)
        results = (work.get_potential_energy(), work.get_forces(), work.get_stress())
        structures.append(
            attach_results(atoms, *(np.nan * np.asarray(result) for result in results))
            if poisoned
            else attach_results(atoms, *results)
        )
    return structures


@pytest.fixture
def run(tmp_path: Path) -> CampaignRun:
    """A campaign with eight training labels, and with poisoned validation and test labels."""
    files = Workspace(tmp_path / "campaign")
    files.folder.mkdir()
    write_structures(files.dataset, labelled(8, 1))
    write_structures(files.validation, labelled(3, 2, poisoned=True))
    write_structures(files.test, labelled(3, 3, poisoned=True))
    campaign = CheckedCampaign(
        CONFIG,
        tmp_path / "campaign.yaml",
        files,
        (),
        str(write_small_sevennet(tmp_path / "small.pth")),
        from_calculator(LennardJones(), name="untuned"),
    )
    ledger = Ledger(files.ledger)
    return CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), Silence())


def test_validation_and_test_labels_have_no_part_in_the_choice(
    run: CampaignRun, monkeypatch: pytest.MonkeyPatch
):
    trained_on: list[set[str]] = []

    def run_here(_: object, program: Program) -> SimpleNamespace:
        folder = Path(program.folder)
        trained_on.append({content_hash(a) for a in read_structures(folder / "labels.xyz")})
        worker.run_job(folder)
        return SimpleNamespace(poll=lambda: 0, end=lambda: None)

    monkeypatch.setattr(ProgramsHere, "start", run_here)
    fusion = torch.jit.set_fusion_strategy([])
    try:
        trained = train(run, 1)
    finally:
        torch.jit.set_fusion_strategy(fusion)
    training = {content_hash(atoms) for atoms in read_structures(run.files.dataset)}
    one_fold, other_fold, model = trained_on
    assert model == training
    assert one_fold | other_fold == training
    assert not one_fold & other_fold
    choice = trained.choice
    assert choice is not None
    assert [row.strategy for row in choice.tried] == ["naive", "untuned"]
    assert all(loss is not None for row in choice.tried for loss in row.fold_losses)
    assert "; learning rate 0.01, naive: chosen by 2 folds of 8 labels (" in trained.summary
    kept = run.files.round(1).training / "cross-validation"
    assert len(list(kept.glob("naive-0.01/fold-*/score.json"))) == 2
