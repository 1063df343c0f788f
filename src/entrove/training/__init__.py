"""Fine-tuning: from labelled structures and a foundation model to a potential, and its bundle.

Read in this order:

    config.py              settings of a training
    tuning.py              `fine_tune`: one model, in a process of its own; continues after a stop
    cross_validation/      strategy and learning rate chosen on the training labels, when asked
    choice.py              which of them, by which losses
    committee.py           several models that differ in the order of their labels and their start
    bundle/                a folder with a potential and what is known about it
    trainers.py            one line per framework that can be tuned; the protocol `Trainer`
    sevennet/ nequip/      one folder per framework: its trainer, and the worker that trains

Below them: request.py (what a training is asked for, checked), job.py (a training on disk),
launch.py and worker_process.py (the two ends of its process), loss.py, reference_energies.py,
folds.py (parts of the labels that have nothing in common), split.py (labels that decide when to
stop), replay.py (structures that the untuned model labels),
trained_model.py.

A framework that can be tuned is a folder here with a `Trainer` and a worker, a line in
trainers.py, and its counterpart in `entrove.models`.
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
