"""Tuning NequIP and Allegro models, in NequIP's own training loop.

Read in this order:

    trainer.py    what the rest of training needs to know: `NequIPTrainer`
    settings.py   a training job as the configuration of `nequip-train`
    worker.py     the process that trains

What NequIP's loop calls:

    batches.py            batches with replayed structures among them
    last_interaction.py   the weights that strategy `frozen` trains
    known_components.py   the loss, where a stress is unknown
    progress.py           a callback that reports epochs

And `from_scratch.py`, for models from random weights.
"""
