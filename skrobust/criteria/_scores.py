"""Scores that are no losses: what else rows can be ranked by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._batch import Batch
from ._base import Loss


@dataclass(frozen=True)
class _OfLoss:
    """A score that is made of a loss."""

    loss: Loss | None = None

    def bound(self, loss: Loss) -> Any:
        """Return the score with its loss filled in.

        Parameters
        ----------
        loss : Loss
            Taken where the score has none of its own.

        Returns
        -------
        Score
        """
        return self if self.loss is not None else replace(self, loss=loss)


@dataclass(frozen=True)
class LossIncrement(_OfLoss):
    """Loss of the first network minus that of the last: median-of-means' score.

    One number a row for both networks, so no rule before it may tell them apart.

    Computed in double precision where the device has it: two losses of a wrong
    target differ by less than either is rounded to in single precision.

    Parameters
    ----------
    loss : Loss, default=None
        None: the loss that training descends.

    References
    ----------
    The DeepMoM paper, equation 5.
    """

    compares_networks: ClassVar[bool] = True  # networks

    def __call__(self, stack: Any, batch: Batch) -> Tensor:
        """Return the increments, (1, n)."""
        if stack.n_networks < 2:
            raise ValueError("LossIncrement compares networks, but there is only one.")
        assert self.loss is not None, "not bound to a loss"
        output, target = batch.tape(stack).output.double(), self.loss.target(batch)
        target = target.double() if isinstance(target, Tensor) else target
        losses = self.loss.value(output, target)
        return losses[:1] - losses[-1:]


def _worst_if_unsound(norms: Tensor, stack: Any, batch: Batch, loss: Any) -> Tensor:
    """Rank rows without a finite loss as the worst: theirs may be no derivative."""
    if type(loss).gradient is not Loss.gradient:
        return norms  # a closed form is finite wherever the outputs are
    return norms.masked_fill(~torch.isfinite(loss(stack, batch)), torch.inf)


@dataclass(frozen=True)
class LossLayer(_OfLoss):
    """Norm of the loss's derivative by the network's output: PRL(L)'s score.

    For soft-max cross entropy it is ``|softmax - one_hot|``, for squared error a
    monotone function of the loss itself (the PRL paper, Algorithm 3 and section 3.3).

    Parameters
    ----------
    loss : Loss, default=None
        None: the loss that training descends.

    Examples
    --------
    >>> from skrobust import NetRegressor
    >>> from skrobust.criteria import LossLayer
    >>> from skrobust.rules import Trim
    >>> from skrobust.steps import Reweight
    >>> NetRegressor(steps=(Reweight(Trim(0.2), LossLayer()),)).steps[0].score
    LossLayer(loss=None)
    """

    def __call__(self, stack: Any, batch: Batch) -> Tensor:
        """Return the norms, (K, n)."""
        norms = torch.linalg.vector_norm(batch.gradient(stack, self.loss), dim=-1)
        return _worst_if_unsound(norms, stack, batch, self.loss)


@dataclass(frozen=True)
class GradientNorm(_OfLoss):
    """Norm of the loss's derivative by all parameters: PRL(G)'s score.

    Exact for linear and convolution layers without per-row gradients; other layers
    of a user's own network cost one gradient a row (the PRL paper, Algorithm 2).

    Parameters
    ----------
    loss : Loss, default=None
        None: the loss that training descends.

    Examples
    --------
    >>> from skrobust import NetRegressor
    >>> from skrobust.criteria import GradientNorm
    >>> from skrobust.rules import Trim
    >>> from skrobust.steps import Reweight
    >>> NetRegressor(steps=(Reweight(Trim(0.2), GradientNorm()),)).steps[0].score
    GradientNorm(loss=None)
    """

    def __call__(self, stack: Any, batch: Batch) -> Tensor:
        """Return the norms, (K, n)."""
        gradient = batch.gradient(stack, self.loss)
        norms = stack.gradient_norms(batch.tape(stack), gradient)
        return _worst_if_unsound(norms, stack, batch, self.loss)


@dataclass(frozen=True)
class Prediction:
    """The predicted class, as a number: what `rules.Disagreement` compares.

    Examples
    --------
    >>> from skrobust.criteria import Prediction
    >>> from skrobust.rules import Disagreement
    >>> from skrobust.steps import Reweight
    >>> Reweight(Disagreement(), Prediction()).score
    Prediction()
    """

    def __call__(self, stack: Any, batch: Batch) -> Tensor:
        """Return the classes, (K, n)."""
        output = batch.tape(stack).output
        return output.argmax(-1).to(output.dtype)
