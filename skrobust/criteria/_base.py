"""What a score is, and what a loss is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .._batch import Batch


class Score(Protocol):
    """A number a row: ``score(stack, batch)`` returns (K, n)."""

    def __call__(self, stack: Any, batch: Batch) -> Tensor:
        """Rate the rows of a batch.

        Parameters
        ----------
        stack : object
            The K networks.
        batch : Batch
            With the inputs ``x``, the targets ``y`` and the ``weights`` of n rows.

        Returns
        -------
        Tensor of shape (K, n)
        """


@dataclass(frozen=True)
class Loss:
    """Base of the losses; a subclass writes ``value`` and may write the gradient."""

    def value(self, output: Tensor, target: Any) -> Tensor:
        """Loss of each row.

        Parameters
        ----------
        output : Tensor of shape (K, n, n_outputs)
        target : Tensor
            What `target` returned.

        Returns
        -------
        Tensor of shape (K, n)
        """
        raise NotImplementedError

    def target(self, batch: Batch) -> Any:
        """Return what the outputs are compared with, unless overridden.

        That is ``y``, or the inputs of a network that has no targets.

        Parameters
        ----------
        batch : Batch
            With the inputs ``x``, the targets ``y`` and the ``weights`` of n rows.

        Returns
        -------
        Tensor
            With the n rows on its last axis but one.
        """
        return batch.x.flatten(1) if batch.y is None else batch.y

    def gradient(self, output: Tensor, target: Any) -> Tensor:
        """Differentiate the losses by the output: (K, n, n_outputs).

        The default differentiates ``value`` alone, never the network.

        Parameters
        ----------
        output : Tensor of shape (K, n, n_outputs)
        target : Tensor
            What `target` returned.

        Returns
        -------
        Tensor of shape (K, n, n_outputs)
        """
        with torch.inference_mode(False), torch.enable_grad():
            # clones: tensors made in inference mode cannot enter a graph
            leaf = output.clone().requires_grad_()
            target = target.clone() if isinstance(target, Tensor) else target
            values = self.value(leaf, target)
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        # a row may be rejected for such a derivative, but never followed
        return gradient.nan_to_num_(0.0, 0.0, 0.0)

    def __call__(self, stack: Any, batch: Batch) -> Tensor:
        """Loss of each row of a batch, (K, n)."""
        return self.value(batch.tape(stack).output, self.target(batch))
