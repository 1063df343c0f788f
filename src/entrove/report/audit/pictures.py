"""A structure as a small drawing that needs nothing but the page it is on."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors

MOST_ATOMS_DRAWN = 300
_SIZE_PX = 150.0
_MARGIN_PX = 8.0
_ROUNDING = 1e-4
# A view from slightly above and to the side, so that no axis points at the reader.
_TILT, _TURN = np.radians(18.0), np.radians(-28.0)
_VIEW = np.array(
    [[1, 0, 0], [0, np.cos(_TILT), -np.sin(_TILT)], [0, np.sin(_TILT), np.cos(_TILT)]]
) @ np.array([[np.cos(_TURN), 0, np.sin(_TURN)], [0, 1, 0], [-np.sin(_TURN), 0, np.cos(_TURN)]])


def draw_structure(atoms: Atoms) -> str:
    """Draw atoms as discs in the colours of their elements, and the edges of the cell, as SVG.

    Of very large structures the first `MOST_ATOMS_DRAWN` atoms are drawn.
    """
    positions = atoms.positions[:MOST_ATOMS_DRAWN]
    numbers = atoms.numbers[:MOST_ATOMS_DRAWN]
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    has_cell = bool(atoms.pbc.any()) and atoms.cell.rank == 3
    if has_cell:
        fractions = np.linalg.solve(atoms.cell.array.T, positions.T).T
        # Rounding must not put an atom from one face of the cell onto the opposite one.
        inside = (fractions + _ROUNDING) % 1.0 - _ROUNDING
        positions = np.where(atoms.pbc, inside, fractions) @ atoms.cell.array
    box = corners @ atoms.cell.array if has_cell else positions
    seen, frame = positions @ _VIEW.T, box @ _VIEW.T
    everything = np.concatenate([seen, frame])
    low, high = everything.min(axis=0), everything.max(axis=0)
    extent = max(float((high - low)[:2].max()), 1.0)
    scale = (_SIZE_PX - 2 * _MARGIN_PX) / (extent + 1.5)
    centre = (low + high) / 2

    def place(points: np.ndarray) -> np.ndarray:
        x = (points[:, 0] - centre[0]) * scale + _SIZE_PX / 2
        y = _SIZE_PX / 2 - (points[:, 1] - centre[1]) * scale
        return np.column_stack([x, y])

    parts = [
        f'<svg class="structure" viewBox="0 0 {_SIZE_PX:g} {_SIZE_PX:g}" role="img" '
        f'aria-label="{atoms.get_chemical_formula()}">'
    ]
    if has_cell:
        drawn = place(frame)
        for a in range(8):
            for b in range(a + 1, 8):
                if np.abs(corners[a] - corners[b]).sum() == 1:
                    (x1, y1), (x2, y2) = drawn[a], drawn[b]
                    parts.append(
                        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
                    )
    drawn = place(seen)
    for atom in np.argsort(seen[:, 2]):
        red, green, blue = (round(255 * float(share)) for share in jmol_colors[numbers[atom]])
        radius = max(0.55 * float(covalent_radii[numbers[atom]]) * scale, 1.5)
        parts.append(
            f'<circle cx="{drawn[atom, 0]:.1f}" cy="{drawn[atom, 1]:.1f}" r="{radius:.1f}" '
            f'fill="#{red:02x}{green:02x}{blue:02x}"/>'
        )
    return "".join([*parts, "</svg>"])
