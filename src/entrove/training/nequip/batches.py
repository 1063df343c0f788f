"""Batches of training labels among which structures are replayed, for NequIP's training loop.

One file holds both: first the training labels, then what is replayed.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from entrove.training.replay import ReplayTurns


class ReplayingBatches(Sampler[list[int]]):
    """All training labels once in each epoch, and in each step the structures whose turn it is.

    Nothing random is kept between epochs: the order of epoch e follows from (seed, e), and so is
    the same after an interruption.

    Args:
        labels: Number of training labels, whose indices come first.
        turns: Which replayed structures join them, by index after the last label.
    """

    def __init__(self, labels: int, turns: ReplayTurns) -> None:
        self.labels = labels
        self.turns = turns
        self.epoch = 0
        # Lightning tells the `sampler` of a sampler of batches which epoch begins.
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return math.ceil(self.labels / self.turns.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each step's structures."""
        size = self.turns.batch_size
        order = np.random.default_rng([self.turns.seed, self.epoch]).permutation(self.labels)
        for step in range(len(self)):
            chosen = order[step * size : (step + 1) * size].tolist()
            replayed = self.turns.of_step(self.epoch * len(self) + step)
            yield [*chosen, *(self.labels + index for index in replayed)]


def replaying_loader(
    dataset: Any,
    generator: torch.Generator,
    collate_fn: Callable[[list[Any]], Any],
    *,
    labels: int,
    share: float,
    batch_size: int,
    seed: int,
) -> "DataLoader[Any]":
    """Load batches in which a share of the structures is replayed.

    NequIP calls this with the first three arguments (`data.train_dataloader`); its generator is
    not used. `dataset` holds the training labels, as many as `labels`, and then what is replayed.
    """
    del generator
    turns = ReplayTurns(share, batch_size, len(dataset) - labels, seed)
    return DataLoader(
        dataset, batch_sampler=ReplayingBatches(labels, turns), collate_fn=collate_fn
    )
