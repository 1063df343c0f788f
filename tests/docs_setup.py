"""Files and names that the code blocks of each page use when a reader types them in.

A page that needs nothing but what it imports is not listed with names of its own.
"""

import shutil
import sys
import tarfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from export_bundles import put_bundle as put_small_bundle
from small_sevennet import write_small_sevennet

TESTS = Path(__file__).parent


def rattled(symbol: str, count: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = bulk(symbol, cubic=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.03, 0.15), size=atoms.positions.shape)
        structures.append(atoms)
    return structures


def labelled_copper(count: int, seed: int) -> list[Atoms]:
    """Copper with energy, forces and stress of EMT."""
    from entrove.structures import attach_results

    return [
        attach_results(
            atoms,
            EMT().get_potential_energy(atoms),
            EMT().get_forces(atoms),
            EMT().get_stress(atoms),
        )
        for atoms in rattled("Cu", count, seed)
    ]


def put_bundle(folder: Path) -> None:
    """A model bundle: SevenNet-0 as if it had been tuned."""
    from entrove.files import hash_of_file
    from entrove.models.sevennet.files import pretrained_checkpoint
    from entrove.training.bundle import Regime, write_bundle
    from entrove.training.trained_model import TrainedModel

    own = folder.parent / "training"
    own.mkdir(parents=True)
    checkpoint = Path(shutil.copy(pretrained_checkpoint("7net-0"), own / "model.pth"))
    trained = TrainedModel(
        folder=own,
        checkpoint=checkpoint,
        framework="sevennet",
        base="7net-0",
        base_hash=hash_of_file(checkpoint),
        seed=1,
        epochs_run=1,
        best_epoch=1,
        training_loss=0.1,
        watched_loss=None,
        reference_shifts_eV={"Si": 0.0},
        training_labels=1,
        training_set_hash="0" * 32,
        seconds=1.0,
        accepted=True,
    )
    write_bundle(
        folder,
        [trained],
        species=["Si"],
        level_of_theory_hash="0" * 16,
        level_of_theory="test",
        metrics={},
        regime=Regime(phases=("diamond",), pressures_GPa=(0.0,), temperatures_K=(300.0,)),
    )


def put_campaign(folder: Path) -> None:
    """The folder of a campaign that was stopped in its second round."""
    with tarfile.open(TESTS / "campaign/data/release-0.1.tar.xz") as archive:
        archive.extractall(folder, filter="data")


def readme(folder: Path) -> dict[str, Any]:
    write(folder / "MgO_B1.cif", bulk("MgO", "rocksalt", a=4.21, cubic=True))
    write(folder / "MgO_B2.cif", bulk("MgO", "cesiumchloride", a=2.65))
    write(folder / "pool.xyz", rattled("Si", 12, seed=1))
    write(folder / "labelled.xyz", rattled("Si", 4, seed=2))
    write(folder / "labels.xyz", labelled_copper(12, seed=1))
    write(folder / "new.xyz", labelled_copper(4, seed=3))
    return {}


def run_mgo(folder: Path) -> None:
    (folder / "mgo").mkdir(exist_ok=True)
    put_campaign(folder / "mgo")
    put_bundle(folder / "mgo/campaign/model")


LEAVES: dict[tuple[str, str], Callable[[Path], None]] = {
    ("README.md", "entrove run mgo/campaign.yaml"): run_mgo,
}
"""What a command of a page that is not run leaves, for what comes after it."""


def entropies(folder: Path) -> dict[str, Any]:
    import entrove

    other = entrove.EntropyDataset("information", "per_atom")
    reference = rattled("Si", 6, seed=1)
    other.calibrate(reference)
    snapshots = rattled("Si", 40, seed=5)
    for index, atoms in enumerate(snapshots):
        atoms.info["entrove_pool"] = "anchors" if index % 2 else "entropy_md"
    write(folder / "snapshots.extxyz", snapshots)
    from entrove.features import AtomFeatures

    return {
        "reference": reference,
        "labelled": rattled("Si", 8, seed=2),
        "candidates": rattled("Si", 5, seed=3),
        "other": other,
        "pool": rattled("Si", 30, seed=4),
        "predicted_seconds": lambda atoms: 20.0 * len(atoms),
        "atom_features": AtomFeatures(
            values=torch.rand(8, 50, dtype=torch.float64),
            numbers=torch.full((8,), 14),
            system_idx=torch.zeros(8, dtype=torch.int64),
            n_systems=1,
        ),
    }


def fingerprints(folder: Path) -> dict[str, Any]:
    del folder
    return {"structures": rattled("Si", 3, seed=1), "g": np.ones((24, 50))}


def sampling(folder: Path) -> dict[str, Any]:
    del folder
    import entrove
    from entrove.models.ase import from_calculator

    dataset = entrove.EntropyDataset("information", "per_atom")
    dataset.calibrate(rattled("Cu", 6, seed=1))
    return {
        "atoms": rattled("Cu", 1, seed=2)[0],
        "dataset": dataset,
        "base_calculator": EMT(),
        "base_model": from_calculator(EMT()).model,
    }


def training(folder: Path) -> dict[str, Any]:
    put_bundle(folder / "campaign/model")
    validation = labelled_copper(3, seed=2)
    return {
        "labelled": labelled_copper(4, seed=1),
        "folder": folder / "tuning",
        "validation": validation,
        "untuned": validation,
        "tuned": validation,
    }


def validation(folder: Path) -> dict[str, Any]:
    from entrove.models.ase import from_calculator

    crystal = bulk("Cu", cubic=True)
    write(folder / "fcc.xyz", crystal)
    labels = labelled_copper(3, seed=1)
    write(folder / "labelled.xyz", labels)
    (folder / "suite.yaml").write_text(
        "phonons: {enabled: false}\ndynamics: {steps: 40, least_atoms: 8}\n"
    )
    return {"crystal": crystal, "labelled": labels, "model": from_calculator(EMT(), name="EMT")}


def python(folder: Path) -> dict[str, Any]:
    (folder / "mgo").mkdir()
    put_campaign(folder / "mgo")
    return {}


def report(folder: Path) -> dict[str, Any]:
    put_campaign(folder)
    return {"folder": folder / "campaign"}


def curation(folder: Path) -> dict[str, Any]:
    write(folder / "pool.xyz", labelled_copper(12, seed=1))
    mine = [atoms.copy() for atoms in labelled_copper(8, seed=2)]
    for atoms in mine:
        atoms.info["my_energy"] = -3.0
        atoms.set_array("my_forces", np.zeros((len(atoms), 3)))
    write(folder / "other.xyz", mine)
    write(folder / "new_test.xyz", labelled_copper(4, seed=3))
    return {}


def export(folder: Path) -> dict[str, Any]:
    checkpoint = write_small_sevennet(folder / "small.pth")
    put_small_bundle(folder / "model", checkpoint, "sevennet", ["Si", "Na", "Cl"])
    return {}


def nothing(folder: Path) -> dict[str, Any]:
    del folder
    return {}


def curves(folder: Path) -> dict[str, Any]:
    """The results of a study: one student, two arms."""
    from entrove.curves.learning import GroupErrors
    from entrove.curves.results import Point, StudyResults

    points = [
        Point("tuned", arm, draw, count, 4.0, 1.0, "independent", GroupErrors("all", 9, *[e] * 4))
        for arm, first in (("random_md", 80.0), ("ours", 60.0))
        for draw in range(3)
        for count, e in ((25, first + draw), (50, first / 2 + draw))
    ]
    (folder / "curves").mkdir()
    results = StudyResults("copper", "random_md", 3, tuple(points), {})
    results.write(folder / "curves" / "results.json")
    return {}


def one_crystal(folder: Path) -> dict[str, Any]:
    for name in ("fcc", "Cu_fcc"):
        bulk("Cu", cubic=True).write(folder / f"{name}.cif")
    return {}


def quick(folder: Path) -> dict[str, Any]:
    """A campaign that has run for a while, where the page would have started one."""
    one_crystal(folder)
    (folder / "demo").mkdir()
    put_campaign(folder / "demo")
    return {}


def programs(folder: Path) -> dict[str, Any]:
    """A campaign with its configuration, and labels of which some are there twice."""
    (folder / "mgo").mkdir()
    put_campaign(folder / "mgo")
    bulk("Cu", cubic=True).write(folder / "mgo/fcc.xyz")
    (folder / "mgo/campaign.yaml").write_text(
        "name: copper\nseeds: [{phase: fcc, file: fcc.xyz}]\n"
        "labelling: {engine: {name: ase, calculator: 'ase.calculators.emt:EMT'}}\n"
    )
    labels = labelled_copper(12, seed=1)
    write(folder / "labels.xyz", [*labels, *labels[:3]])
    return {}


def silicon_demo(folder: Path) -> dict[str, Any]:
    (folder / "examples/silicon").mkdir(parents=True)
    put_campaign(folder / "examples/silicon")
    return {}


def finished_mgo(folder: Path) -> dict[str, Any]:
    """A campaign folder with labels and a small model, and a configuration beside it."""
    (folder / "mgo").mkdir()
    put_campaign(folder / "mgo")
    checkpoint = write_small_sevennet(folder / "small.pth")
    put_small_bundle(folder / "mgo/campaign/model", checkpoint, "sevennet", ["Si", "Na", "Cl"])
    return {}


EMT_ENGINE = 'engine: {name: ase, calculator: "ase.calculators.emt:EMT"}'
SHORT = """
  thermalise_steps: 20
  anchors: {volume_strains: [0.95, 1.05], shears: [0.04], md_steps: 20, md_snapshots: 1}
"""
EXPLORED_BY_EMT = """
model: {name: 7net-0, explore_with: "ase.calculators.emt:EMT"}
entropy: {kind: information}
suite: {enabled: false}
training: {epochs: 4}
"""

SMALLER: dict[str, list[tuple[str, str]]] = {
    "docs/how-to/one-stage.md": [
        ("sampling:\n", f"{EXPLORED_BY_EMT}sampling:\n"),
        ("--epochs 10", "--epochs 4"),
        ("workers: 2", "workers: 1"),
        (
            "dynamics: {enabled: false}",
            "elastic: {enabled: false}\nforgetting: {enabled: false}\ndynamics: {enabled: false}",
        ),
    ],
    "docs/tutorials/your-crystal.md": [
        ("engine: {name: gpaw, kpoint_spacing_per_A: 0.3}", EMT_ENGINE),
        ("executor: {name: local, workers: 2}", "executor: {name: local, workers: 1}"),
        ("sampling:\n", f"{EXPLORED_BY_EMT.replace('epochs: 4', 'epochs: 15')}sampling:{SHORT}"),
        ("chunk_steps: 50\n", "chunk_steps: 20\n"),
        ("snapshot_every: 25", "snapshot_every: 5"),
        ("hold_out: {interval: 0.5}", "hold_out: {interval: 0.5, md_steps: 20}"),
    ],
    "docs/tutorials/labelled-set.md": [
        ("sampling:\n", f"{EXPLORED_BY_EMT}sampling:{SHORT}"),
        ("chunk_steps: 50\n", "chunk_steps: 20\n"),
        ("snapshot_every: 25", "snapshot_every: 5"),
        ("hold_out: {interval: 0.5}", "hold_out: {interval: 0.5, md_steps: 20}"),
        ("count: 8\n", "count: 3\n"),
        ("epochs=25", "epochs=1"),
    ],
    "docs/tutorials/tune-and-judge.md": [
        (
            "labelled(40, seed=1), labelled(20, seed=2)",
            "labelled(12, seed=1), labelled(6, seed=2)",
        ),
        ("epochs=25", "epochs=4"),
        ("dynamics: {steps: 200}", "dynamics: {steps: 40, least_atoms: 8}"),
    ],
    "docs/tutorials/entropy-md.md": [("steps=400", "steps=100")],
    "docs/tutorials/learning-curves.md": [
        ("draws: 3 ", "draws: 2 "),
        ("counts: [4, 8] ", "counts: [2] "),
        (
            "  snapshot_every: 4\n",
            "  snapshot_every: 4\n  hold_out: {interval: null, test: false, md_steps: 20}\n",
        ),
        ("{epochs: 20}", "{epochs: 1}"),
        ("  hold_out: 8\n", "  hold_out: 3\n"),
    ],
    "docs/tutorials/slurm.md": [
        ("engine: {name: gpaw, cutoff_eV: 400, kpoint_spacing_per_A: 0.3}", EMT_ENGINE),
        ("partition: standard ", "partition: debug\n    address: 127.0.0.1\n    poll_s: 2 "),
        ("max_jobs: 4", "max_jobs: 1"),
        ("workers_per_node: 16 ", "workers_per_node: 1 "),
        ("source $HOME/entrove/bin/activate", f"export PATH={Path(sys.executable).parent}:$PATH"),
        (
            "labelling:\n",
            f"{EXPLORED_BY_EMT}selection: {{count: 3}}\nstopping: {{rounds: 1}}\nsampling:{SHORT}"
            "  chunks: 2\n  chunk_steps: 20\n  snapshot_every: 5\n"
            "  ordered: {perturbed: 0, random: 0}\n"
            "  hold_out: {interval: null, test: false, md_steps: 20, md_snapshots: 1}\n"
            "labelling:\n",
        ),
        ("partition=standard", "partition=debug"),
        ("cpus-per-task=16", "cpus-per-task=1"),
        ("sbatch al/campaign.sh", "sbatch --wait al/campaign.sh"),
    ],
}
"""What the tests change in a tutorial, so that it ends soon: texts, and what replaces them."""

SLOW: dict[str, Any] = dict.fromkeys(
    (
        "docs/how-to/after-the-end.md",
        "docs/how-to/dft-settings.md",
        "docs/how-to/failed-labels.md",
        "docs/how-to/machine.md",
        "docs/how-to/one-stage.md",
        "docs/how-to/programs.md",
        "docs/tutorials/audit-and-curate.md",
        "docs/tutorials/entropy-md.md",
        "docs/tutorials/labelled-set.md",
        "docs/tutorials/learning-curves.md",
        "docs/tutorials/silicon-demo.md",
        "docs/tutorials/tune-and-judge.md",
        "docs/tutorials/your-crystal.md",
    ),
    pytest.mark.slow,
)
SLOW["docs/tutorials/slurm.md"] = (pytest.mark.slow, pytest.mark.slurm)
"""Marks of the tests of pages that take more than some seconds."""

PREPARE: dict[str, Callable[[Path], dict[str, Any]]] = defaultdict(
    lambda: nothing,
    {
        "README.md": readme,
        "docs/curation.md": curation,
        "docs/curves.md": curves,
        "docs/entropies.md": entropies,
        "docs/export.md": export,
        "docs/fingerprints.md": fingerprints,
        "docs/how-to/after-the-end.md": finished_mgo,
        "docs/how-to/failed-labels.md": finished_mgo,
        "docs/how-to/one-stage.md": one_crystal,
        "docs/how-to/programs.md": programs,
        "docs/how-to/quick.md": quick,
        "docs/python.md": python,
        "docs/report.md": report,
        "docs/sampling.md": sampling,
        "docs/training.md": training,
        "docs/tutorials/silicon-demo.md": silicon_demo,
        "docs/validation.md": validation,
    },
)
