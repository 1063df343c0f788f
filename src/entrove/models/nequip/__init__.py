"""NequIP and Allegro: batches, features, files and loading.

Read in this order:

    model.py      a network, eager or compiled, as a torch-sim model for batches
    features.py   its last layer as per-atom features
    files.py      the entry `NEQUIP` of the registry; downloaded models, what can be trained
    loading.py    names and files to models

How these models are tuned is in `entrove.training.nequip`.
"""
