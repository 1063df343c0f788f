"""What is predicted for every frame: by a potential of the set itself, or by a model and it.

With a model the potential of the set is fitted to what the model leaves of the labels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from entrove.curation.auditing.predictions.basis import Basis
from entrove.curation.auditing.predictions.distances import nearness, over_fine_batches
from entrove.curation.auditing.predictions.quick_potential import (
    FOLDS,
    PredictWithModel,
    QuickPotential,
    examine,
)
from entrove.curation.auditing.predictions.sample import Sample
from entrove.curation.auditing.predictions.whitening import Whitening
from entrove.curation.auditing.spool import Spool
from entrove.fingerprints.batching import Batch

FRAMES_PER_CHUNK = 512


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
class FramePredictions:
    """Per frame of the spool, on disk: predicted, distances and a signature of the geometry.

    `energy_residuals` are label minus prediction in eV/atom, `energy_leverages` say how far that
    prediction is extrapolated (`QuickPotential.energy_leverages`). `force_errors` and
    `force_sizes` are root mean squares over atoms in eV/A, `force_cosines` that between labelled
    and predicted forces. `signatures` are whitened means and spreads of the invariants of the
    atoms. `nearness` is the shortest distance over the sum of the covalent radii. `folds` are
    those of frames of the fit, -1 for others.
    """

    potential: QuickPotential | None
    basis: Basis
    energy_residuals: np.ndarray
    energy_leverages: np.ndarray
    force_errors: np.ndarray
    force_sizes: np.ndarray
    force_cosines: np.ndarray
    stress_residuals: np.ndarray
    signatures: np.ndarray
    shortest_A: np.ndarray
    nearness: np.ndarray
    folds: np.ndarray


def predict_frames(
    spool: Spool,
    sample: Sample,
    basis: Basis,
    potential: QuickPotential | None,
    whiten: Whitening,
    *,
    factors: LabelFactors,
    predict: PredictWithModel | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FramePredictions:
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
    predicted = FramePredictions(
        potential,
        basis,
        column(()),
        column(()),
        column(()),
        column(()),
        column(()),
        column((6,)),
        column((len(whiten.directions),), "f4"),
        column((), "f4"),
        column((), "f4"),
        column((), "i1"),
    )
    for values in (
        predicted.energy_residuals,
        predicted.force_errors,
        predicted.force_cosines,
    ):
        values[:] = np.nan
    predicted.stress_residuals[:] = np.nan
    records = spool.records
    frames = np.flatnonzero(records["usable"] & (np.asarray(records["atoms"]) > 0))
    for start in range(0, len(frames), FRAMES_PER_CHUNK):
        chunk = frames[start : start + FRAMES_PER_CHUNK]
        _predict_chunk(spool, predicted, whiten, chunk, fold_of, factors, predict)
        if progress is not None:
            progress(start + len(chunk), len(frames))
    return predicted


def _predict_chunk(
    spool: Spool,
    predicted: FramePredictions,
    whiten: Whitening,
    chunk: np.ndarray,
    fold_of: dict[int, int],
    factors: LabelFactors,
    predict: PredictWithModel | None,
) -> None:
    structures, forces = spool.with_forces(chunk)
    records = spool.records[chunk]
    sizes = np.array([len(atoms) for atoms in structures])
    potential = predicted.potential
    table = np.zeros((FOLDS + 1, predicted.basis.width)) if potential is None else potential.table
    folds = np.array([fold_of.get(int(frame), -1) for frame in chunk])
    predicted.folds[chunk] = folds
    weights = table[folds]
    energies = np.zeros(len(chunk))
    virials = np.zeros((len(chunk), 3, 3))
    expected: list[np.ndarray] = [np.zeros(0)] * len(chunk)

    def predict_batch(batch: Batch, members: np.ndarray) -> None:
        around = predicted.basis.surroundings(batch)
        places = members[batch.structures]
        seen = examine(predicted.basis, around, torch.as_tensor(weights[places]))
        rows = chunk[places]
        predicted.signatures[rows] = whiten.signatures(around, seen.of_atoms)
        predicted.shortest_A[rows] = around.shortest_distances_A(len(rows))
        predicted.nearness[rows] = nearness(around, len(rows))
        energies[places], virials[places] = seen.energies_eV, seen.virials_eV
        if potential is not None:
            predicted.energy_leverages[rows] = potential.energy_leverages(
                seen.sums, sizes[places], folds[places]
            )
        split = np.split(seen.forces_eV_per_A, np.cumsum(sizes[places])[:-1])
        for place, part in zip(places, split, strict=True):
            expected[place] = part

    described = over_fine_batches(predict_batch, structures)
    predicted.shortest_A[chunk[~described]] = predicted.nearness[chunk[~described]] = 0.0
    chosen = np.flatnonzero(described & ~np.asarray(records["isolated"]))
    if potential is None or not len(chosen):
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
    predicted.energy_residuals[rows] = ((total - energies) / sizes)[chosen]
    for row, place in zip(rows, chosen, strict=True):
        own, other = forces[place], expected[place]
        if own is None:
            continue
        own = own * on_forces[place]
        predicted.force_errors[row] = np.sqrt(((own - other) ** 2).sum(axis=1).mean())
        predicted.force_sizes[row] = np.sqrt((own**2).sum(axis=1).mean())
        norm = float(np.sqrt((own**2).sum() * (other**2).sum()))
        predicted.force_cosines[row] = float((own * other).sum()) / norm if norm > 0 else np.nan
    volumes = np.abs(np.linalg.det(records["cell"]))
    volumes[~records["pbc"].all(axis=1)] = np.nan
    predicted.stress_residuals[rows] = (records["stress"] - to_voigt(virials) / volumes[:, None])[
        chosen
    ]


def to_voigt(matrices: Float[np.ndarray, "structures 3 3"]) -> Float[np.ndarray, "structures 6"]:
    """Six numbers in ASE's order."""
    return matrices.reshape(-1, 9)[:, [0, 4, 8, 5, 2, 1]]
