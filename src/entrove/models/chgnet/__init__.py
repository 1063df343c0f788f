"""CHGNet: batches and loading.

Read in this order:

    model.py      the network as a torch-sim model for batches
    files.py      names of models; the entry `CHGNET` of the registry
    loading.py    names to models

Its models explore, and label as teachers; they are not tuned here.
"""
