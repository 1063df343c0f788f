"""Fine-tuning: from labelled structures and a foundation model to a potential, and its bundle.

Read in this order:

    config.py              settings of a training tuning.py              `fine_tune`: one model, in
    a process of its own, continued when interrupted committee.py           several models that
    differ in the order of their labels and their start bundle.py              a folder with a
    potential and what is known about it trainers.py            one line per framework that can be
    tuned; the protocol `Trainer` sevennet/ nequip/      one folder per framework: its trainer, and
    the worker that trains

Below them: job.py (a training on disk), launch.py and worker_process.py (the two ends of its
process), reference_energies.py, split.py (labels that decide when to stop), trained_model.py.

A framework that can be tuned is a folder here with a `Trainer` and a worker, a line in
trainers.py, and its counterpart in `entrove.models`.
"""

import importlib
from typing import Any

_PUBLIC = {
    "TrainedModel": "entrove.training.trained_model",
    "TrainingConfig": "entrove.training.config",
    "fine_tune": "entrove.training.tuning",
}

__all__ = ["TrainedModel", "TrainingConfig", "fine_tune"]  # loaded on first use, below


def __getattr__(name: str) -> Any:
    # Loaded on first use: settings must not wait for torch.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'entrove.training' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
