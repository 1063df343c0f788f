"""What energy, forces and stress of each frame should be, by the others or by a model.

Read in this order::

    basis.py            two- and three-body functions of the surroundings of atoms
    quick_potential.py  a potential that is linear in them, fitted to the set itself
    distances.py        shortest distances, and batches of structures that may overlap
    sample.py           the frames that are looked at closely
    whitening.py        a signature of each geometry
    frames.py           `predict_frames`: what is predicted for every frame of the spool
"""
