"""Central differences of an entropy with respect to features."""

from dataclasses import replace

import torch

STEP = 1e-5
"""Values are O(100): rounding leaves 100 * 2e-16 / 1e-5 = 2e-9, truncation about 1e-10."""


def central_differences(functional, batch, atoms):
    """dS/dvalues of some atoms, S summed over systems."""
    gradient = torch.zeros(len(atoms), batch.values.shape[1], dtype=torch.float64)
    for row, atom in enumerate(atoms):
        for feature in range(batch.values.shape[1]):
            ends = []
            for sign in (1, -1):
                moved = batch.values.clone()
                moved[atom, feature] += sign * STEP
                ends.append(functional.value_and_gradient(replace(batch, values=moved))[0].sum())
            gradient[row, feature] = (ends[0] - ends[1]) / (2 * STEP)
    return gradient
