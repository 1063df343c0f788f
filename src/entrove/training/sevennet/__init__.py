"""Tuning SevenNet models, with a training loop of our own.

Read in this order:

    trainer.py          what the rest of training needs to know: `SevenNetTrainer`
    trainee.py          the model: graphs, predictions, reference energies, checkpoints
    low_rank.py         low-rank updates of its weights
    weight_average.py   running average of the weights
    fitting.py          epochs, and the state that is saved after each
    worker.py           the process that trains
"""
