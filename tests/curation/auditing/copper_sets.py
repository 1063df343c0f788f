"""Sets of copper labelled with EMT: strained, rattled, of several sizes, and all of one level."""

from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin

from entrove.curation import audit
from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.report import AuditReport


def alarms(report: AuditReport) -> dict[str, Finding]:
    """Blockers and warnings, by their kind."""
    return {
        finding.kind: finding
        for finding in report.findings
        if finding.severity is not Severity.NOTE
    }


def audited(tmp_path: Path, frames: list[Atoms], **settings) -> AuditReport:
    """Write a set, and audit it."""
    return audit(saved(tmp_path / "set.xyz", frames), **settings)


def labelled(atoms: Atoms, **changes) -> Atoms:
    """A copy with its EMT labels, or those of `changes`, frozen."""
    results = dict(getattr(atoms.calc, "results", {})) if atoms.calc else {}
    if not results:
        computed = atoms.copy()
        computed.calc = EMT()
        results = {
            "energy": computed.get_potential_energy() - 3.7 * len(computed),
            "forces": computed.get_forces(),
            "stress": computed.get_stress(),
        }
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **(results | changes))
    return copy


def copper(count=48, seed=1) -> list[Atoms]:
    """Clean frames: every one differs from every other."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        atoms = bulk("Cu", cubic=True).repeat((1 + number % 2, 1, 1))
        strain = rng.normal(scale=0.02, size=(3, 3))
        deformation = (1 + rng.normal(scale=0.02)) * (np.eye(3) + (strain + strain.T) / 2)
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        atoms.positions += rng.normal(scale=0.06, size=atoms.positions.shape)
        frames.append(labelled(atoms))
    return frames


def crystal_and_snapshots(seed=1, snapshots=10) -> list[Atoms]:
    """A crystal, three strained and two sheared cells of it, and MD: what a campaign labels."""
    crystal = bulk("Cu", cubic=True)
    deformations = [(1 + strain) ** (1 / 3) * np.eye(3) for strain in (-0.06, 0.04, 0.08)]
    shear = np.outer([1.0, 0, 0], [0, 1.0, 0])
    deformations += [np.eye(3) + 0.04 * shear, np.eye(3) - 0.08 * shear]
    frames = [crystal]
    for deformation in deformations:
        cell = crystal.copy()
        cell.set_cell(crystal.cell.array @ deformation, scale_atoms=True)
        frames.append(cell)
    moving = crystal.copy()
    moving.calc = EMT()
    dynamics = Langevin(
        moving,
        2 * units.fs,
        temperature_K=600,
        friction=0.02 / units.fs,
        rng=np.random.default_rng(seed),
        fixcm=False,
    )
    for _ in range(snapshots):
        dynamics.run(15)
        frames.append(moving.copy())
    return [labelled(atoms) for atoms in frames]


def saved(path, frames):
    """The path of a new extended XYZ file."""
    write(path, frames, format="extxyz")
    return path
