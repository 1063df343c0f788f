"""What a set covers: compositions, phases, densities, distances, temperatures."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float

from entrove.curation.auditing.predictions.frames import FramePredictions
from entrove.curation.auditing.predictions.sample import Sample
from entrove.curation.auditing.spool import Spool
from entrove.symmetry import space_group
from entrove.units import DALTON_PER_A3_IN_G_PER_CM3

HISTOGRAM_BINS = 40
PHASE_TOLERANCE_A = 0.1
PHASE_FRAMES = 100
MOST_PHASE_ATOMS = 128
MOST_MAP_POINTS = 3000


@dataclass(frozen=True)
class Histogram:
    """Counts between edges; `quantity` carries the unit."""

    quantity: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Coverage:
    """What there is. Phases are those of a sample of `phase_frames` frames, by spglib.

    `map_points` are the first two components of signatures of at most `MOST_MAP_POINTS` frames,
    `map_frames` their numbers in the order of reading, and `map_sources` the places of their
    sources in `source_names`.
    """

    compositions: dict[str, int]
    sources: dict[str, int]
    atoms: tuple[int, int]
    phases: dict[str, int]
    phase_frames: int
    histograms: tuple[Histogram, ...]
    labels: dict[str, int]
    map_points: Float[np.ndarray, "points 2"]
    map_frames: tuple[int, ...]
    map_sources: tuple[int, ...]
    source_names: tuple[str, ...]


def describe_coverage(
    spool: Spool,
    sample: Sample,
    predicted: FramePredictions | None,
    energies_eV: np.ndarray,
    seed: int,
) -> Coverage:
    """Count what the frames of the set are."""
    records = spool.records
    frames = np.flatnonzero(np.asarray(records["usable"]) & ~np.asarray(records["against"]))
    part = records[frames]
    sizes = np.asarray(part["atoms"], dtype=float)
    volumes = np.abs(np.linalg.det(part["cell"])) if len(frames) else np.zeros(0)
    periodic = part["pbc"].all(axis=1) & (volumes > 0)
    masses = _masses(spool)[np.asarray(part["formula"])]
    quantities = {
        "energy (eV/atom)": np.asarray(energies_eV)[frames] / np.maximum(sizes, 1),
        "volume (Å³/atom)": (volumes / np.maximum(sizes, 1))[periodic],
        "density (g/cm³)": DALTON_PER_A3_IN_G_PER_CM3
        * (masses * sizes)[periodic]
        / volumes[periodic],
        "temperature (K)": np.asarray(part["temperature"], dtype=float),
        "atoms": sizes,
    }
    if predicted is not None:
        quantities |= {
            "shortest distance (Å)": np.asarray(predicted.shortest_A[frames], dtype=float),
            "force, root mean square (eV/Å)": np.asarray(predicted.force_sizes[frames]),
        }
        left = np.asarray(predicted.energy_residuals[frames]) * 1000
        quantities["energy less predicted (meV/atom)"] = left
    points = frames
    if len(points) > MOST_MAP_POINTS:
        points = np.sort(
            np.random.default_rng(seed).choice(points, MOST_MAP_POINTS, replace=False)
        )
    plane = np.zeros((len(points), 2))
    if predicted is not None:
        shown = np.asarray(predicted.signatures[points], dtype=float)[:, :2]
        plane[:, : shown.shape[1]] = shown
    phases = _phases(sample)
    sources = _counted(spool.sources, part["source"])
    place_of = {name: place for place, name in enumerate(sources)}
    by_size = np.array([place_of.get(name, 0) for name in spool.sources], dtype=int)
    return Coverage(
        _counted(spool.formulas, part["formula"]),
        sources,
        (int(sizes.min()), int(sizes.max())) if len(sizes) else (0, 0),
        dict(phases.most_common()),
        sum(phases.values()),
        tuple(
            made
            for name, values in quantities.items()
            if (made := histogram(name, values)) is not None
        ),
        {
            "energy": int(np.isfinite(part["energy"]).sum()),
            "forces": int(part["has_forces"].sum()),
            "stress": int(np.isfinite(part["stress"]).all(axis=1).sum()),
        },
        plane,
        tuple(points.tolist()),
        tuple(by_size[np.asarray(records["source"])[points]].tolist()),
        tuple(sources),
    )


def _masses(spool: Spool) -> np.ndarray:
    """Mean mass of an atom of each composition, in dalton."""
    structures = [Atoms(formula) for formula in spool.formulas]
    return np.array([atoms.get_masses().mean() for atoms in structures])


def histogram(quantity: str, values: np.ndarray) -> Histogram | None:
    """Count values between the 0.1 and 99.9 percentiles, the outer ones in the outer bins."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return None
    low, high = np.quantile(values, [0.001, 0.999])
    if high <= low:
        low, high = (
            low - 0.5 * max(abs(low), 1e-3) * 0.01,
            high + 0.5 * max(abs(high), 1e-3) * 0.01,
        )
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(np.clip(values, low, high), edges)
    return Histogram(quantity, tuple(edges.tolist()), tuple(counts.tolist()))


def _counted(names: list[str], numbers: np.ndarray) -> dict[str, int]:
    counts = np.bincount(numbers, minlength=len(names)) if len(names) else []
    return {
        name: int(count)
        for name, count in sorted(zip(names, counts, strict=True), key=lambda row: -row[1])
        if count
    }


def _phases(sample: Sample) -> Counter[str]:
    phases: Counter[str] = Counter()
    every = max(1, len(sample.structures) // PHASE_FRAMES)
    for atoms in sample.structures[::every]:
        if not atoms.pbc.all() or len(atoms) > MOST_PHASE_ATOMS:
            continue
        formula = atoms.get_chemical_formula(empirical=True)
        phases[f"{formula} {space_group(atoms, PHASE_TOLERANCE_A) or 'unknown'}"] += 1
    return phases
