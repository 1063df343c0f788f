"""CHGNet: batches and loading.

Read in this order:

    model.py      the network as a torch-sim model for batches
    loading.py    names to models; the entry `CHGNET` of the registry

Its models explore, and label as teachers; they are not tuned here.
"""
