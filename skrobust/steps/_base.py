"""What a step is, and what it may know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from .._batch import Batch
from .._comm import Alone
from ..criteria import Loss


@dataclass
class Context:
    """What a step may know of the training run.

    Parameters
    ----------
    loss : Loss
        The loss that is descended.
    epoch : int
        Counted from 0.
    generator : torch.Generator
        For random draws, on the device of the batch.
    comm : Alone, default=Alone()
        The other processes, if this one works with any.
    lengths : list of Tensor, default=None
        Where given, each step adds how far it moved the parameters.
    """

    loss: Loss
    epoch: int
    generator: torch.Generator
    comm: Alone = field(default_factory=Alone)
    lengths: list[Tensor] | None = None


class Step(Protocol):
    """Maps a batch to a batch."""

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch to train on.

        Parameters
        ----------
        stack : object
            The K networks.
        batch : Batch
            With the inputs ``x``, the targets ``y`` and the ``weights`` of n rows.
        context : Context
            The loss, the epoch and the source of random numbers.

        Returns
        -------
        Batch
        """
