"""Tuning NequIP and Allegro models, in NequIP's own training loop.

Read in this order:

    trainer.py    what the rest of training needs to know: `NequIPTrainer`
    settings.py   a training job as the configuration of `nequip-train`
    progress.py   a callback that reports epochs
    worker.py     the process that trains
"""
