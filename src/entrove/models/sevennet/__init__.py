"""SevenNet: batches, features and loading.

Read in this order:

    model.py              the network as a torch-sim model for batches
    features.py           its last layer as per-atom features
    weight_gradients.py   a sketch of the gradients of energies by all weights
    cell_vectors.py       layers and wires in SevenNet's own graphs
    files.py              the entry `SEVENNET` of the registry; files of models
    loading.py            networks and fidelities

How SevenNet models are tuned is in `entrove.training.sevennet`.
"""
