"""Gradient descent on the labels: explicit state, one epoch at a time, the same after a resume.

Nothing random is kept between epochs: the order of epoch e follows from (seed, e), the cosine step
length from the step number. What must survive is therefore the weights, their running average,
Adam's moments and the plateau counter, which `save_state` writes and `restore_state` reads.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from entrove.errors import ModelError
from entrove.files import replacing
from entrove.training.config import TrainingConfig
from entrove.training.job import Epoch
from entrove.training.loss import Targets, huber_sum
from entrove.training.replay import ReplayTurns
from entrove.training.sevennet.trainee import (
    SHIFT_WEIGHT,
    Sample,
    SevenNetTrainee,
    atom_counts,
    stack_targets,
)
from entrove.training.sevennet.weight_average import (
    copy_weights,
    trainable_weights,
    update_average,
    weights_swapped_in,
)
from entrove.training.worker_process import DivergenceError

logger = logging.getLogger(__name__)

STATE_VERSION = 2
"""States of version 1 have reference energies among the weights, where these are trained."""


@dataclass(frozen=True)
class Problem:
    """A model, the labels that it learns, those that only say when to stop, and how."""

    trainee: SevenNetTrainee
    training: Sequence[Sample]
    watched: Sequence[Sample]
    config: TrainingConfig
    seed: int
    replayed: Sequence[Sample] = ()

    @property
    def turns(self) -> ReplayTurns:
        """Which structures with labels of the untuned model join each batch."""
        config = self.config
        return ReplayTurns(config.replay, config.batch_size, len(self.replayed), self.seed)


@dataclass
class FitState:
    """Everything that the next epoch depends on."""

    optimizer: torch.optim.Adam
    plateau: ReduceLROnPlateau
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    best_epoch: int = 0
    best_loss: float = math.inf
    history: list[Epoch] = field(default_factory=list)


def init_fit(problem: Problem) -> FitState:
    """State before the first epoch."""
    module, config = problem.trainee.module, problem.config
    optimizer = torch.optim.Adam(trainable_weights(module).values(), lr=config.fixed_learning_rate)
    return FitState(
        optimizer=optimizer,
        plateau=ReduceLROnPlateau(
            optimizer, factor=config.plateau_factor, patience=config.plateau_patience
        ),
        average=copy_weights(module),
        best=copy_weights(module),
    )


def run_epoch(problem: Problem, state: FitState) -> Epoch:
    """Train on every sample once, then evaluate the averaged weights on the watched labels.

    Raises `DivergenceError` when the loss, or that of the watched labels, is no longer finite.
    """
    trainee, config, count = problem.trainee, problem.config, len(problem.training)
    number = len(state.history) + 1
    steps = math.ceil(count / config.batch_size)
    order = np.random.default_rng([problem.seed, number]).permutation(count)
    trainee.module.train()
    losses: list[float] = []
    norms: list[float] = []
    for step in range(steps):
        chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
        done = (number - 1) * steps + step
        if config.schedule == "cosine":
            _set_learning_rate(
                state.optimizer,
                cosine_rate(done, config.fixed_epochs * steps, config.fixed_learning_rate),
            )
        batch = [problem.training[i] for i in chosen]
        loss, norm = _take_step(problem, state.optimizer, [*batch, *replayed_in(problem, done)])
        _require_finite("loss", loss, number, config)
        losses.append(loss * len(chosen))
        norms.append(norm)
        update_average(state.average, trainee.module, done, config.ema_decay)
    training_loss = sum(losses) / count
    watched_loss = _mean_watched_loss(problem, state.average) if problem.watched else None
    if watched_loss is not None:
        _require_finite("watched loss", watched_loss, number, config)
    record = Epoch(
        number,
        config.fixed_epochs,
        training_loss,
        watched_loss,
        _learning_rate(state.optimizer),
        max(norms),
    )
    if config.schedule == "plateau":
        state.plateau.step(training_loss if watched_loss is None else watched_loss)
    _remember_best(state, record)
    state.history.append(record)
    return record


def replayed_in(problem: Problem, step: int) -> list[Sample]:
    """The replayed structures of a step, see `ReplayTurns`."""
    return [problem.replayed[index] for index in problem.turns.of_step(step)]


def is_finished(state: FitState, config: TrainingConfig) -> bool:
    """Whether all epochs are run, or the watched loss has not improved for `stop_patience`."""
    done = len(state.history)
    watched = done > 0 and state.history[-1].watched_loss is not None
    return done >= config.fixed_epochs or (
        watched and done - state.best_epoch >= config.stop_patience
    )


def cosine_rate(step: int, steps: int, highest: float) -> float:
    """Step length: linear rise over the first twentieth, then half a cosine down to zero."""
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return highest * (step + 1) / warm_up
    return highest * 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def evaluate(
    trainee: SevenNetTrainee, samples: Sequence[Sample], batch_size: int
) -> list[Targets]:
    """Predictions without gradients of the weights, batch by batch, detached."""
    trainee.module.eval()
    results = []
    for start in range(0, len(samples), batch_size):
        predicted = trainee.predict(samples[start : start + batch_size])
        results.append(
            Targets(
                predicted.energy_eV.detach(),
                predicted.forces_eV_per_A.detach(),
                predicted.stress_eV_per_A3.detach(),
            )
        )
    return results


def save_state(path: Path, state: FitState, trainee: SevenNetTrainee) -> None:
    """Write all that the next epoch needs; the file is replaced in one step."""
    content: dict[str, Any] = {
        "version": STATE_VERSION,
        "weights": copy_weights(trainee.module),
        "average": state.average,
        "best": state.best,
        "best_epoch": state.best_epoch,
        "best_loss": state.best_loss,
        "optimizer": state.optimizer.state_dict(),
        "plateau": state.plateau.state_dict(),
        "history": [vars(epoch) for epoch in state.history],
    }
    with replacing(path) as unfinished:
        torch.save(content, unfinished)


def restore_state(path: Path, state: FitState, trainee: SevenNetTrainee) -> None:
    """Restore a saved state; `state` comes from `init_fit` with the same model and settings."""
    content = torch.load(path, map_location=trainee.device, weights_only=True)
    has_references = any(name.endswith(SHIFT_WEIGHT) for name in content.get("weights", ()))
    if content.get("version") not in ({STATE_VERSION} if has_references else {1, STATE_VERSION}):
        raise ModelError(
            f"{path}: training state of another version of Entrove; delete it to train anew"
        )
    trainee.module.load_state_dict(content["weights"], strict=False)
    state.average, state.best = content["average"], content["best"]
    state.best_epoch, state.best_loss = content["best_epoch"], content["best_loss"]
    state.optimizer.load_state_dict(content["optimizer"])
    state.plateau.load_state_dict(content["plateau"])
    state.history = [Epoch(**epoch) for epoch in content["history"]]
    logger.info("resumed after epoch %d", len(state.history))


def _require_finite(what: str, loss: float, epoch: int, config: TrainingConfig) -> None:
    if not math.isfinite(loss):
        raise DivergenceError(
            f"the {what} of epoch {epoch} is {loss}; "
            f"lower learning_rate ({config.learning_rate}) or look for a damaged label"
        )


def _take_step(
    problem: Problem, optimizer: torch.optim.Adam, samples: Sequence[Sample]
) -> tuple[float, float]:
    """Return the loss, and the norm of its gradient before the clip."""
    trainee = problem.trainee
    optimizer.zero_grad()
    loss = _loss(problem, trainee.predict(samples), samples)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(
        trainable_weights(trainee.module).values(), problem.config.gradient_clip
    )
    optimizer.step()
    return float(loss.detach()), float(norm)


def _loss(problem: Problem, predicted: Targets, samples: Sequence[Sample]) -> Float[Tensor, ""]:
    device = problem.trainee.device
    return huber_sum(
        predicted,
        stack_targets(samples, device),
        atom_counts(samples, device),
        problem.config.loss,
    )


def _mean_watched_loss(problem: Problem, weights: dict[str, Tensor]) -> float:
    size, watched = problem.config.batch_size, problem.watched
    with weights_swapped_in(problem.trainee.module, weights):
        predictions = evaluate(problem.trainee, watched, size)
    total = 0.0
    for index, predicted in enumerate(predictions):
        batch = watched[index * size : (index + 1) * size]
        total += float(_loss(problem, predicted, batch)) * len(batch)
    return total / len(watched)


def _remember_best(state: FitState, record: Epoch) -> None:
    """Keep the averaged weights of the best epoch; without watched labels, that is the last one.

    The training loss says nothing about labels that were not trained on.
    """
    if record.watched_loss is None or record.watched_loss < state.best_loss:
        state.best_loss = (
            record.training_loss if record.watched_loss is None else record.watched_loss
        )
        state.best_epoch = record.number
        state.best = {name: weight.clone() for name, weight in state.average.items()}


def _set_learning_rate(optimizer: torch.optim.Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _learning_rate(optimizer: torch.optim.Adam) -> float:
    return float(optimizer.param_groups[0]["lr"])
