"""Steps that change what a batch holds: its inputs, its targets, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._batch import Batch
from .._words import IN_UNIT, is_number, require
from ..rules import Value, at_epoch
from ._base import Context


@dataclass(frozen=True)
class SmoothLabels:
    """Move a share of each label's mass to all classes evenly.

    Parameters
    ----------
    amount : float, default=0.1
        The share, in [0, 1).

    Examples
    --------
    >>> from skrobust import NetClassifier
    >>> from skrobust.steps import SmoothLabels
    >>> NetClassifier(steps=(SmoothLabels(0.2),))
    NetClassifier(steps=(SmoothLabels(amount=0.2),))
    """

    amount: Value = 0.1
    for_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        a: Any = self.amount
        varies = callable(a) or isinstance(a, Tensor)  # judged where it is used
        ok = varies or (is_number(a) and 0 <= a < 1)
        require(self, "amount", ok, IN_UNIT)

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with soft targets."""
        amount = at_epoch(self.amount, context.epoch, 0, 1)
        y: Any = batch.y
        return batch.replaced(y=(y * (1 - amount)).add_(amount / y.shape[-1]))


@dataclass(frozen=True)
class Jitter:
    """Move the inputs a little, by other random numbers in each step.

    Equal rows of a batch move alike, so a weight means the same as repeated rows.

    Parameters
    ----------
    normal : float, default=0.1
        Standard deviation of normal noise in every column, in the units that the
        network sees (the estimators scale columns to unit spread).
    uniform : Tensor of shape (n_features,), default=None
        Width of uniform noise around zero: the distance of neighbouring values makes
        a discrete column continuous.

    Examples
    --------
    >>> from skrobust import NetClassifier
    >>> from skrobust.steps import Jitter
    >>> NetClassifier(steps=(Jitter(0.05),))
    NetClassifier(steps=(Jitter(normal=0.05, uniform=None),))
    """

    normal: float = 0.1
    uniform: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        ok = is_number(self.normal) and 0 <= self.normal < float("inf")
        require(self, "normal", ok, "a number in the range [0, inf)")

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with noise on its inputs."""
        x, rng = batch.x, context.generator
        like: dict[str, Any] = {"dtype": x.dtype, "device": x.device, "generator": rng}
        shape = (_N_NOISES, *x.shape[1:])
        noise = torch.randn(shape, **like).mul_(self.normal)
        if self.uniform is not None:
            noise += torch.rand(shape, **like).sub_(0.5) * self.uniform.to(x)
        return batch.replaced(x=noise.index_select(0, _keys(x)).add_(x))


_N_NOISES = 256  # different noises in a batch


def _keys(x: Tensor) -> Tensor:
    """Numbers below ``_N_NOISES`` that depend on nothing but a row's values."""
    # rounded: what is left of scaling must not tell equal rows apart
    cells = x.flatten(1).mul(1024).round_().long()
    odd = torch.arange(1, 2 * cells.shape[-1], 2, device=x.device)
    keys = (cells * (odd * 0x1E3779B97F4A7C15)).sum(-1) * 0x3F58476D1CE4E5B9
    return (keys >> 40) & (_N_NOISES - 1)


@dataclass(frozen=True)
class Mixup:
    """Train on convex combinations of pairs of rows (Zhang et al. 2018).

    Both rows of a pair bring their own weight to the combined loss.

    Parameters
    ----------
    alpha : float, default=1.0
        The share of the first row is drawn from Beta(alpha, alpha), once a batch.

    Examples
    --------
    >>> from skrobust import NetClassifier
    >>> from skrobust.steps import Mixup
    >>> NetClassifier(steps=(Mixup(0.4),))
    NetClassifier(steps=(Mixup(alpha=0.4),))
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        ok = is_number(self.alpha) and 0 < self.alpha < float("inf")
        require(self, "alpha", ok, "a number in the range (0, inf)")

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the mixed batch."""
        x, weights, rng = batch.x, batch.weights, context.generator
        shape = torch.full((2,), self.alpha, dtype=x.dtype, device=x.device)
        a, b = torch._standard_gamma(shape, generator=rng)
        share = a / (a + b).clamp(min=1e-30)
        other = torch.randperm(len(x), generator=rng, device=x.device)
        first, second = share * weights, (1 - share) * weights[..., other]
        total = first + second
        part = (first / total.clamp(min=1e-30)).unsqueeze(-1)
        y = mixed = batch.y
        if y is not None:
            mixed = part * y + (1 - part) * y[..., other, :]
        x = share * x + (1 - share) * x[other]
        own = batch.prior
        if own is not None:
            own = share * own + (1 - share) * own[..., other]
        return Batch(x, mixed, total, batch.mass, own)


@dataclass(frozen=True)
class Relabel:
    """Replace the distrusted part of each label by the predicted class.

    What a rule that judges all rows (`Reweight` with ``every``) took from a row's
    weight is taken from its label instead, and the row gets its weight back. So no
    row is lost: those with wrong labels teach what the network itself thinks of them.

    References
    ----------
    E. Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", 2019,
    section 3.2: dynamic hard bootstrapping.

    Examples
    --------
    >>> from skrobust.rules import LossMixture
    >>> from skrobust.steps import Relabel, Reweight
    >>> steps = (Reweight(LossMixture(), every=1), Relabel())
    """

    for_labels: ClassVar[bool] = True

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with its own weights and mixed targets, (K, n, C)."""
        own, y = batch.prior, batch.y
        if own is None or y is None:  # nobody has judged yet
            return batch
        trust = (batch.weights / own).clamp(max=1).unsqueeze(-1)
        output = batch.tape(stack).output
        guess = torch.nn.functional.one_hot(output.argmax(-1), output.shape[-1])
        mixed = trust * y + (1 - trust) * guess.to(y)
        return batch.replaced(y=mixed).reweighted(own.expand_as(batch.weights), None)
