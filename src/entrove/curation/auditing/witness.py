"""What a witness says of every frame: a quick potential of the set itself, or a model and it.

With a model the quick potential is fitted to what the model leaves of the labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor

from entrove.curation.auditing.basis import Basis, Surroundings, choose_cutoff
from entrove.curation.auditing.frame_checks import OVERLAP_OF_RADII
from entrove.curation.auditing.quick_potential import (
    FOLDS,
    Predicted,
    QuickPotential,
    Rows,
    examine,
    make_rows,
    over_batches,
    solve_rows,
)
from entrove.curation.auditing.spool import Spool
from entrove.errors import StructureError
from entrove.fingerprints.batching import Batch, to_batches

SAMPLE_FRAMES = 400
SAMPLE_ATOMS = 8000
SIGNATURE_LENGTH = 16
FRAMES_PER_CHUNK = 512

PredictWithModel = Callable[[Sequence[Atoms]], Predicted]


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
    return Rows(rows.features[known], rows.values[known], rows.owner[known], rows.is_energy[known])


@dataclass(frozen=True)
class LabelFactors:
    """By the number of a file: what its labels are multiplied by to be in eV and eV/A."""

    energy: Float[np.ndarray, " files"]
    per_atom: np.ndarray
    forces: Float[np.ndarray, " files"]

    @classmethod
    def unity(cls, files: int) -> "LabelFactors":
        """Labels as they are."""
        return cls(np.ones(files), np.zeros(files, dtype=bool), np.ones(files))

    def of_energies(self, file: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The factors of energies of structures of these files and sizes."""
        return self.energy[file] * np.where(self.per_atom[file], sizes, 1)


@dataclass(frozen=True)
class Testimony:
    """Per frame of the spool, on disk: predictions, distances and a signature of the geometry.

    `energy_residuals` are label minus prediction in eV/atom, `force_errors` and `force_sizes`
    root mean squares over atoms in eV/A, `force_cosines` that between labelled and predicted
    forces. `signatures` are whitened means and spreads of the invariants of the atoms.
    `nearness` is the shortest distance over the sum of the covalent radii.
    """

    potential: QuickPotential | None
    basis: Basis
    energy_residuals: np.ndarray
    force_errors: np.ndarray
    force_sizes: np.ndarray
    force_cosines: np.ndarray
    stress_residuals: np.ndarray
    signatures: np.ndarray
    shortest_A: np.ndarray
    nearness: np.ndarray


def hear_witness(
    spool: Spool,
    sample: Sample,
    basis: Basis,
    potential: QuickPotential | None,
    whiten: "Whitening",
    *,
    factors: "LabelFactors",
    predict: PredictWithModel | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Testimony:
    """Predict every frame and describe its geometry, in chunks.

    Args:
        spool: The frames.
        sample: Frames of the fit, which are predicted without themselves.
        basis: The invariants.
        potential: The quick potential; without one only geometries are described.
        whiten: The directions of the signatures.
        factors: What labels of each file are multiplied by to be in eV and eV/A.
        predict: A model whose predictions are added.
        progress: Called with the frames done and their total.
    """
    fold_of = {int(frame): place % FOLDS for place, frame in enumerate(sample.frames)}
    column = spool.column
    heard = Testimony(
        potential,
        basis,
        column(()),
        column(()),
        column(()),
        column(()),
        column((6,)),
        column((len(whiten.directions),), "f4"),
        column((), "f4"),
        column((), "f4"),
    )
    for values in (heard.energy_residuals, heard.force_errors, heard.force_cosines):
        values[:] = np.nan
    heard.stress_residuals[:] = np.nan
    records = spool.records
    frames = np.flatnonzero(records["usable"] & (np.asarray(records["atoms"]) > 0))
    for start in range(0, len(frames), FRAMES_PER_CHUNK):
        chunk = frames[start : start + FRAMES_PER_CHUNK]
        _hear_chunk(spool, heard, whiten, chunk, fold_of, factors, predict)
        if progress is not None:
            progress(start + len(chunk), len(frames))
    return heard


def _hear_chunk(
    spool: Spool,
    heard: Testimony,
    whiten: "Whitening",
    chunk: np.ndarray,
    fold_of: dict[int, int],
    factors: "LabelFactors",
    predict: PredictWithModel | None,
) -> None:
    structures, forces = spool.with_forces(chunk)
    records = spool.records[chunk]
    sizes = np.array([len(atoms) for atoms in structures])
    width = heard.basis.width
    table = np.zeros((FOLDS + 1, width))
    if heard.potential is not None:
        table = np.vstack([heard.potential.fold_weights, heard.potential.weights])
    weights = table[[fold_of.get(int(frame), -1) for frame in chunk]]
    energies = np.zeros(len(chunk))
    virials = np.zeros((len(chunk), 3, 3))
    expected: list[np.ndarray] = [np.zeros(0)] * len(chunk)

    def hear(batch: Batch, members: np.ndarray) -> None:
        around = heard.basis.surroundings(batch)
        places = members[batch.structures]
        seen = examine(heard.basis, around, torch.as_tensor(weights[places]))
        rows = chunk[places]
        heard.signatures[rows] = whiten.signatures(around, seen.of_atoms)
        heard.shortest_A[rows] = around.shortest_distances_A(len(rows))
        heard.nearness[rows] = nearness(around, len(rows))
        energies[places], virials[places] = seen.energies_eV, seen.virials_eV
        split = np.split(seen.forces_eV_per_A, np.cumsum(sizes[places])[:-1])
        for place, part in zip(places, split, strict=True):
            expected[place] = part

    described = _over_fine_batches(hear, structures)
    heard.shortest_A[chunk[~described]] = heard.nearness[chunk[~described]] = 0.0
    chosen = np.flatnonzero(described & ~np.asarray(records["isolated"]))
    if heard.potential is None or not len(chosen):
        return
    if predict is not None:
        of_model = predict([structures[i] for i in chosen])
        energies[chosen] += of_model.energies_eV
        virials[chosen] += of_model.virials_eV
        for place, part in zip(chosen, of_model.forces_eV_per_A, strict=True):
            expected[place] = expected[place] + part
    rows = chunk[chosen]
    total = records["energy"] * factors.of_energies(records["file"], sizes)
    on_forces = factors.forces[records["file"]]
    heard.energy_residuals[rows] = ((total - energies) / sizes)[chosen]
    for row, place in zip(rows, chosen, strict=True):
        own, other = forces[place], expected[place]
        if own is None:
            continue
        own = own * on_forces[place]
        heard.force_errors[row] = np.sqrt(((own - other) ** 2).sum(axis=1).mean())
        heard.force_sizes[row] = np.sqrt((own**2).sum(axis=1).mean())
        norm = float(np.sqrt((own**2).sum() * (other**2).sum()))
        heard.force_cosines[row] = float((own * other).sum()) / norm if norm > 0 else np.nan
    volumes = np.abs(np.linalg.det(records["cell"]))
    volumes[~records["pbc"].all(axis=1)] = np.nan
    heard.stress_residuals[rows] = (records["stress"] - to_voigt(virials) / volumes[:, None])[
        chosen
    ]


def distances(basis: Basis, structures: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Shortest distance of each structure in Angstrom, and relative to sums of radii.

    Both are infinite beyond the cutoff of the basis, and zero for coincident atoms.
    """
    shortest, near = np.zeros(len(structures)), np.zeros(len(structures))

    def measure(batch: Batch, members: np.ndarray) -> None:
        around = basis.surroundings(batch)
        places = members[batch.structures]
        shortest[places] = around.shortest_distances_A(len(places))
        near[places] = nearness(around, len(places))

    _over_fine_batches(measure, structures)
    return shortest, near


def _over_fine_batches(
    function: Callable[[Batch, np.ndarray], None], structures: Sequence[Atoms]
) -> np.ndarray:
    """Apply a function to batches of structures; returns for which of them it could be done.

    The function raises `StructureError` for a batch with coincident atoms: then each structure of
    it becomes a batch of its own.
    """
    fine = np.ones(len(structures), dtype=bool)

    def attempt(batch: Batch) -> None:
        try:
            function(batch, np.arange(len(structures)))
        except StructureError:
            for place in batch.structures:
                try:
                    (alone,) = to_batches([structures[place]])
                    function(alone, np.array([place]))
                except StructureError:
                    fine[place] = False

    over_batches(attempt, structures)
    return fine


def add(first: Predicted, second: Predicted) -> Predicted:
    """The sum of two predictions."""
    return Predicted(
        first.energies_eV + second.energies_eV,
        [a + b for a, b in zip(first.forces_eV_per_A, second.forces_eV_per_A, strict=True)],
        first.virials_eV + second.virials_eV,
    )


def fit(basis: Basis, rows: Rows, *, with_energies: bool = True) -> QuickPotential | None:
    """Fit the quick potential to rows of the sample."""
    return solve_rows(basis, rows, with_energies=with_energies)


def to_voigt(matrices: Float[np.ndarray, "structures 3 3"]) -> Float[np.ndarray, "structures 6"]:
    """Six numbers in ASE's order."""
    return matrices.reshape(-1, 9)[:, [0, 4, 8, 5, 2, 1]]


def nearness(around: Surroundings, systems: int) -> np.ndarray:
    """The shortest distance of each system relative to the sum of the covalent radii."""
    state = around.batch.state
    if around.displacement.shape[1] == 0:
        return np.full(systems, np.inf)
    radii = torch.as_tensor(covalent_radii)[state.atomic_numbers.long()]
    sums = radii[:, None] + radii[around.neighbour]
    ratio = around.displacement.norm(dim=-1) / sums
    ratio = torch.where(around.is_neighbour > 0, ratio, torch.inf).amin(dim=1)
    shortest = torch.full((systems,), torch.inf, dtype=ratio.dtype)
    return shortest.scatter_reduce(0, state.system_idx, ratio, "amin").numpy()


@dataclass(frozen=True)
class Whitening:
    """Directions in the space of means and spreads of invariants in which the sample varies."""

    basis: Basis
    mean: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, basis: Basis, structures: Sequence[Atoms]) -> "Whitening":
        """Choose the directions by a sample."""
        raw = _raw_of_structures(basis, structures)
        mean = raw.mean(axis=0)
        scale = raw.std(axis=0)
        # What does not vary carries rounding errors only.
        scale = np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1e-6), scale, np.inf)
        _, spread, directions = np.linalg.svd((raw - mean) / scale, full_matrices=False)
        count = min(SIGNATURE_LENGTH, int((spread > 1e-6 * max(spread[0], 1e-300)).sum()))
        count = max(count, 1)
        norm = spread[:count] / np.sqrt(len(raw))
        # Weak directions are not blown up: they hold noise.
        norm = np.maximum(norm, 0.1 * max(float(norm[0]), 1e-12))
        return cls(basis, mean, directions[:count] / scale / norm[:, None])

    def signatures(
        self, around: Surroundings, of_atoms: Float[Tensor, "atoms features"]
    ) -> np.ndarray:
        """Signatures of the systems of a batch, from the invariants of its atoms."""
        raw = _raw_signatures(self.basis, around, of_atoms)
        return (raw - self.mean) @ self.directions.T

    def of_structures(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Signatures of structures, in their order."""
        return (_raw_of_structures(self.basis, structures) - self.mean) @ self.directions.T


def _raw_of_structures(basis: Basis, structures: Sequence[Atoms]) -> np.ndarray:
    raw: dict[int, np.ndarray] = {}

    def of_batch(batch: Batch) -> None:
        around = basis.surroundings(batch)
        made = _raw_signatures(basis, around, basis.of_atoms(around))
        raw.update(zip(batch.structures.tolist(), made, strict=True))

    over_batches(of_batch, structures)
    return np.array([raw[place] for place in range(len(structures))])


def _raw_signatures(
    basis: Basis, around: Surroundings, of_atoms: Float[Tensor, "atoms features"]
) -> np.ndarray:
    """Means and spreads of the invariants over the atoms of each element, side by side."""
    sums = basis.sums(around, of_atoms)
    squares = basis.sums(around, of_atoms.square())
    species = len(basis.species)
    counts = sums[:, :species].repeat_interleave(basis.per_atom, dim=1)
    if basis.blocks == 1:
        counts = sums[:, :species].sum(1, keepdim=True)
    means = sums[:, species:] / counts.clamp_min(1)
    spreads = (squares[:, species:] / counts.clamp_min(1) - means.square()).clamp_min(0).sqrt()
    return torch.cat([means, spreads], dim=1).numpy()


def _turns(sources: np.ndarray) -> np.ndarray:
    """The how-manieth frame of its source each one is."""
    turn = np.zeros(len(sources), dtype=int)
    for source in np.unique(sources):
        members = np.flatnonzero(sources == source)
        turn[members] = np.arange(len(members))
    return turn
