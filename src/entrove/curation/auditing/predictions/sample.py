"""Frames that are looked at closely, and the rows of a fit to them."""

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from entrove.curation.auditing.frame_checks import OVERLAP_OF_RADII
from entrove.curation.auditing.predictions.basis import Basis, choose_cutoff
from entrove.curation.auditing.predictions.distances import distances
from entrove.curation.auditing.predictions.quick_potential import (
    Predicted,
    PredictWithModel,
    Rows,
    make_rows,
)
from entrove.curation.auditing.spool import Spool

SAMPLE_FRAMES = 400
SAMPLE_ATOMS = 8000


@dataclass(frozen=True)
class Sample:
    """Frames that are looked at closely: a share of every source, at random, bounded in size.

    Labels are as the files give them; `model` is what a model says of the same structures.
    """

    frames: Int[np.ndarray, " sample"]
    structures: list[Atoms]
    forces: list[np.ndarray | None]
    energies_eV: Float[np.ndarray, " sample"]
    stresses: Float[np.ndarray, "sample 6"]
    files: Int[np.ndarray, " sample"]
    sources: Int[np.ndarray, " sample"]
    model: Predicted | None = None

    @property
    def sizes(self) -> Int[np.ndarray, " sample"]:
        """Numbers of atoms."""
        return np.array([len(atoms) for atoms in self.structures])

    @property
    def volumes_A3(self) -> Float[np.ndarray, " sample"]:
        """Volumes, not a number where a direction is not periodic."""
        return np.array(
            [atoms.get_volume() if atoms.pbc.all() else np.nan for atoms in self.structures]
        )

    def corrected(self, energy_factors: np.ndarray, force_factors: np.ndarray) -> "Sample":
        """The sample with energies and forces of each frame multiplied by these factors."""
        return replace(
            self,
            energies_eV=self.energies_eV * energy_factors,
            forces=[
                None if own is None else own * factor
                for own, factor in zip(self.forces, force_factors, strict=True)
            ],
        )

    def with_one_zero(self, upper: np.ndarray, gap_eV_per_atom: float) -> "Sample":
        """The sample without the constant per atom that sets some of its energies apart."""
        shifts = np.where(upper, gap_eV_per_atom, 0.0) * self.sizes
        return replace(self, energies_eV=self.energies_eV - shifts)

    def forces_left(self) -> list[np.ndarray | None]:
        """Forces, less those of the model."""
        if self.model is None:
            return self.forces
        return [
            None if own is None else own - predicted
            for own, predicted in zip(self.forces, self.model.forces_eV_per_A, strict=True)
        ]

    @property
    def model_energies_eV(self) -> Float[np.ndarray, " sample"]:
        """Energies of the model, zero without one."""
        return np.zeros(len(self.frames)) if self.model is None else self.model.energies_eV


def draw_sample(
    spool: Spool, seed: int, predict: PredictWithModel | None = None
) -> tuple[Sample, Basis | None]:
    """Draw the sample, and choose a basis for all elements of the set and its density.

    Sources take turns, so that a small one is in the sample, too. Frames whose atoms overlap are
    left out. There is no basis without a frame.
    """
    records = spool.records
    wanted = records["usable"] & ~records["against"] & ~records["isolated"]
    frames = np.flatnonzero(wanted)
    generator = np.random.default_rng(seed)
    frames = frames[generator.permutation(len(frames))]
    turn = _turns(np.asarray(records["source"])[frames])
    frames = frames[np.argsort(turn, kind="stable")]
    sizes = np.cumsum(np.asarray(records["atoms"])[frames])
    frames = np.sort(frames[: max(min(SAMPLE_FRAMES, int((sizes <= SAMPLE_ATOMS).sum())), 8)])
    structures, forces = spool.with_forces(frames)
    cutoff = choose_cutoff(
        [atoms.get_volume() / len(atoms) for atoms in structures if atoms.pbc.all()]
    )
    usable = np.flatnonzero(records["usable"])
    # Elements by reduced composition: every frame of a formula has the same.
    _, first = np.unique(np.asarray(records["formula"])[usable], return_index=True)
    species = sorted({int(z) for atoms in spool.structures(usable[first]) for z in atoms.numbers})
    basis = Basis(tuple(species), cutoff, 0.5 * cutoff) if species else None
    kept = np.zeros(0, dtype=int)
    if basis is not None and structures:
        shortest, near = distances(basis, structures)
        kept = np.flatnonzero(near >= OVERLAP_OF_RADII)
        finite = shortest[kept][np.isfinite(shortest[kept])]
        low = float(np.quantile(finite, 0.05)) if len(finite) else 0.5 * cutoff
        basis = Basis(basis.species, cutoff, min(0.9 * low, 0.6 * cutoff))
    frames = frames[kept]
    structures = [structures[i] for i in kept]
    sample = Sample(
        frames,
        structures,
        [forces[i] for i in kept],
        np.array(records["energy"][frames], dtype=float),
        np.array(records["stress"][frames], dtype=float),
        np.array(records["file"][frames], dtype=int),
        np.array(records["source"][frames], dtype=int),
        None if predict is None or not structures else predict(structures),
    )
    return sample, basis if structures else None


def sample_rows(basis: Basis, sample: Sample, seed: int) -> Rows:
    """Rows of the sample for fits; energies that are missing have no row."""
    left = sample.energies_eV - sample.model_energies_eV
    rows = make_rows(
        basis, sample.structures, np.nan_to_num(left), sample.forces_left(), seed=seed
    )
    known = ~rows.is_energy | np.isfinite(left)[rows.owner]
    return rows.only(known)


def _turns(sources: np.ndarray) -> np.ndarray:
    """The how-manieth frame of its source each one is."""
    # In the order of sources, each turn is the distance from the first frame of its source.
    order = np.argsort(sources, kind="stable")
    in_order = sources[order]
    turn = np.empty(len(sources), dtype=int)
    turn[order] = np.arange(len(sources)) - np.searchsorted(in_order, in_order)
    return turn
