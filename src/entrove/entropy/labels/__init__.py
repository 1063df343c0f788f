"""What labels teach: rows of energy, forces and stress, and two objectives on them.

A model that is linear in features summed per species, X_c = sum_i x_i, predicts the labels of a
configuration by the rows

    energy   X_c / (n sigma_E)           per atom, centred
    forces   -dX_c/dr / sigma_F
    stress   (dX_c/dstrain) / (V sigma_S)

With whitened features and a unit prior of the weights, M = 1 + sum_D R^T R over the labels D, and
M^-1 is the covariance of the weights that these labels leave.

Read in this order:

    directions.py   the displacements and strains whose derivatives are the rows of a structure
    derivatives.py  features summed per species, and their derivatives along these directions
    remembered.py   derivatives that several selections from one pool share
    rows.py         `LabelRowMap`: structures to `LabelRows`, with noise that grows with energy
    posterior.py    `LabelPosterior`: M, the information of labels, and the variance of a target
"""

# lazy_loader has no types:
# pyright: basic
import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
