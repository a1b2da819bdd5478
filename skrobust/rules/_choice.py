"""Rules that keep some rows and drop the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._blocks import choose_even, choose_weighted
from .._words import AT_LEAST_0, IN_UNIT, is_count, is_number, is_share, require
from ._base import Value, at_epoch, require_value


@dataclass(frozen=True)
class Trim:
    """Drop the rows with the highest scores.

    The fraction is one of *weight*: rows are kept from the lowest score upwards until
    they hold ``1 - epsilon`` of the mass, the last one in part. So a row of weight 3
    acts like three rows. Among equal scores the first row goes first. A row whose score
    is minus infinity is kept, however few others are left to drop.

    Parameters
    ----------
    epsilon : float, schedule or Tensor, default=0.2
        Fraction of the mass to drop, in [0, 1).
    reach : float, default=None
        Drop rows, too, whose score is more than so many times the one up to which
        85 % of the kept mass lies. By chance a batch has more wrong rows than
        ``epsilon``, and those left over count as much as good ones. For scores that
        are not negative. None: only ``epsilon`` decides, as in the papers.
    spare : float, schedule or Tensor, default=None
        Keep rows, however few others are left to drop, whose score is at most so many
        times that one: they need not be wrong. For scores that are not negative. What
        is out of reach is dropped all the same. None: as in the papers.

    References
    ----------
    "Provable Robust Learning for Deep Neural Networks under Agnostic Corrupted
    Supervision" (the PRL paper), Algorithms 1 and 3; B. Liu's dissertation "Robust
    Learning of Deep Neural Networks under Data Corruption", 2022, Algorithm 1. The
    reach is ours. To take rows back that are near by the scale of the kept ones is
    the idea of reweighted least squares: P. J. Rousseeuw and A. M. Leroy, "Robust
    Regression and Outlier Detection", 1987.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import Trim
    >>> scores = torch.tensor([[3.0, 1.0, 2.0, 9.0]])
    >>> Trim(0.25)(scores, torch.ones(1, 4), epoch=0)
    tensor([[1., 1., 1., 0.]])
    """

    epsilon: Value = 0.2
    reach: float | None = None
    spare: Value | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        e: Any = self.epsilon
        r: Any = self.reach
        s: Any = self.spare
        require_value(self, "epsilon", is_number(e) and 0 <= e < 1, IN_UNIT)
        ok = r is None or isinstance(r, Tensor) or (is_number(r) and r >= 1)
        require(self, "reach", ok, "None or a number of at least 1")
        ok = s is None or (is_number(s) and s >= 0)
        require_value(self, "spare", ok, f"None or {AT_LEAST_0}")

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the kept part of each weight."""
        epsilon = at_epoch(self.epsilon, epoch, 0, 1)
        if weights.shape != scores.shape:
            weights = weights.expand_as(scores)
        if isinstance(epsilon, (float, int)) and epsilon == 0:
            return weights
        ranked, order = scores.sort(dim=-1, stable=True)
        bounded = self.reach is not None or self.spare is not None
        if weights.stride(-1) == 0 and isinstance(epsilon, (float, int)):
            # one number for all rows: what is kept of each rank is known beforehand
            n = scores.shape[-1]
            part = _kept(n, epsilon, scores.dtype, scores.device).expand_as(order)
            if bounded:
                most = max(math.ceil(_MOST * n * (1 - epsilon)), 1)
                bound = ranked.narrow(-1, most - 1, 1)
                part = self._bounded(part, ranked, bound, part.new_ones(()), epoch)
            part = part.maximum(ranked.isneginf())
            return torch.empty_like(scores).scatter_(-1, order, part).mul_(weights)
        own = weights.gather(-1, order)
        mass = own.cumsum(-1)
        kept = mass.narrow(-1, -1, 1) * (1 - epsilon)
        # each row loses what its mass and that of the rows before it exceed `kept` by
        part = (own - (mass - kept).relu_()).relu_()
        if bounded:
            most = (mass < _MOST * kept).sum(-1, keepdim=True)
            part = self._bounded(part, ranked, ranked.gather(-1, most), own, epoch)
        part = torch.where(ranked == -torch.inf, own, part)
        return torch.empty_like(part).scatter_(-1, order, part)

    def _bounded(
        self, part: Tensor, ranked: Tensor, bound: Tensor, own: Tensor, epoch: int
    ) -> Tensor:
        """Keep what is near and drop what is far, by the score of most kept rows."""
        if self.spare is not None:
            limit = at_epoch(self.spare, epoch, 0) * bound
            part = torch.where((ranked <= limit) & (ranked < torch.inf), own, part)
        if self.reach is not None:
            part = part.masked_fill(_beyond(ranked, self.reach * bound), 0)
        return part


def _beyond(ranked: Tensor, limit: Tensor) -> Tensor:
    """Say whose score is beyond a limit; none is one where it fell on a spared row."""
    return (ranked > limit) & (limit > -torch.inf)


_MOST = 0.85 * (1 - 1e-6)  # of the kept mass; a hair less, as sums are rounded


@lru_cache(maxsize=16)
def _kept(n: int, epsilon: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Part of each of n equal rows that trimming keeps, from the lowest score up."""
    rank = torch.arange(n, dtype=dtype, device=device)
    return (n * (1 - epsilon) - rank).clamp_(0, 1)


@dataclass(frozen=True)
class MedianOfMeans:
    """Keep the block of rows whose mean score is the median of all blocks.

    Blocks are consecutive rows, so they are drawn anew wherever the order of the rows
    is: the estimators see to it that it is a random one in every step. Blocks differ
    by one row at most. Weights that are whole numbers count rows; of others the
    mean is one row.

    Parameters
    ----------
    n_blocks : int or float, default=0.5
        Blocks of a batch, or if a float their share of its rows: 0.5 makes blocks of
        two. At most as many as rows. More than half of the blocks must hold no bad
        row, so blocks must be small where many rows are bad. 1 keeps all rows.
    n_central : int or float, default=1
        How many blocks around the median to keep (an even number counts as the odd
        one below), or if a float their share. 1 is the source's; more make steady
        steps and leave room for fewer bad blocks.

    References
    ----------
    S.-T. Huang and J. Lederer, "DeepMoM: Robust Deep Learning With Median-of-Means",
    2022, equation 6.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import MedianOfMeans
    >>> scores = torch.tensor([[1.0, 1.0, 2.0, 2.0, 1.0, 9.0]])
    >>> MedianOfMeans(3)(scores, torch.ones(1, 6), epoch=0)
    tensor([[0., 0., 1., 1., 0., 0.]])
    """

    n_blocks: int | float = 0.5
    n_central: int | float = 1

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name in ("n_blocks", "n_central"):
            value = getattr(self, name)
            share = is_share(value) and 0 < value <= 1
            expected = "an int of at least 1 or a float in the range (0, 1]"
            require(self, name, share or is_count(value), expected)

    by_order = True  # rows that all fit one batch must be shuffled
    sparse = True  # few rows keep weight

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with all rows outside the central blocks set to zero."""
        if self.n_blocks == 1 and not is_share(self.n_blocks):
            return weights.expand_as(scores)
        # asked where the answer is at hand: a GPU would make the host wait
        if weights.device.type == "cpu" and _all_one(weights):
            chosen = choose_even(scores, self.n_blocks, self.n_central)
            return chosen.to(weights.dtype)
        return choose_weighted(scores, weights, self.n_blocks, self.n_central)


def _all_one(weights: Tensor) -> bool:
    if weights.stride(-1) == 0 and len(weights) == 1:  # one number for all rows
        return weights.narrow(-1, 0, 1).item() == 1
    return bool((weights == 1).all())


@dataclass(frozen=True)
class NearMedian:
    """Keep the rows whose score is at most a multiple of the median score.

    Parameters
    ----------
    factor : float, schedule or Tensor, default=55.0
        The multiple. For squared errors 55 is five robust standard deviations of
        normal errors.
    floor : float, default=1e-6
        Scores up to this are kept, whatever the median.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import NearMedian
    >>> scores = torch.tensor([[3.0, 1.0, 2.0, 90.0]])
    >>> NearMedian(5.0)(scores, torch.ones(1, 4), epoch=0)
    tensor([[1., 1., 1., 0.]])
    """

    factor: Value = 55.0
    floor: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        factor: Any = self.factor
        require_value(self, "factor", is_number(factor) and factor >= 0, AT_LEAST_0)
        ok = isinstance(self.floor, Tensor) or (
            is_number(self.floor) and self.floor >= 0
        )
        require(self, "floor", ok, "a number of at least 0")

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with rows of larger scores set to zero."""
        weights = weights.expand_as(scores)
        factor = at_epoch(self.factor, epoch, 0)
        limit = _lower_median(scores, weights) * factor
        return weights * (scores <= limit.clamp(min=self.floor))


def _lower_median(scores: Tensor, weights: Tensor) -> Tensor:
    """Lowest score up to which lies half of the weight, (K, 1)."""
    if weights.stride(-1) == 0:  # one number for all rows
        middle = (scores.shape[-1] + 1) // 2
        return scores.kthvalue(middle, dim=-1, keepdim=True).values
    ranked, order = scores.sort(dim=-1, stable=True)
    mass = weights.gather(-1, order).cumsum(-1)
    # a hair below one half: cumulated rounding must not skip a row
    half = mass[..., -1:] * (0.5 - 1e-6)
    return ranked.gather(-1, (mass < half).sum(-1, keepdim=True))


@dataclass(frozen=True)
class SmallestLoss:
    """Keep nothing but the row with the lowest score (Min-SGD, Shah et al. 2020).

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import SmallestLoss
    >>> scores = torch.tensor([[3.0, 1.0, 2.0, 9.0]])
    >>> SmallestLoss()(scores, torch.ones(1, 4), epoch=0)
    tensor([[0., 1., 0., 0.]])
    """

    sparse = True

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with all but the best rows set to zero."""
        scores = scores.masked_fill(weights.expand_as(scores) == 0, torch.inf)
        return weights * (scores == scores.amin(-1, keepdim=True))


@dataclass(frozen=True)
class SelfPaced:
    """Keep the rows whose score is below a threshold (Kumar et al. 2010).

    Parameters
    ----------
    threshold : float, schedule or Tensor
        In units of the score. Self-paced learning lets it grow; to keep a fraction of
        the rows instead, as the PRL paper and B. Liu's dissertation do under this
        name, use `Trim`.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import SelfPaced
    >>> scores = torch.tensor([[3.0, 1.0, 2.0, 9.0]])
    >>> SelfPaced(2.5)(scores, torch.ones(1, 4), epoch=0)
    tensor([[0., 1., 1., 0.]])
    """

    threshold: Value

    def __post_init__(self) -> None:
        """Refuse what no score can be compared with; scores may be negative."""
        t: Any = self.threshold
        words = "a number, a schedule or a tensor"
        require_value(self, "threshold", is_number(t) and t == t, words)

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with rows at or above the threshold set to zero."""
        return weights * (scores < at_epoch(self.threshold, epoch))


@dataclass(frozen=True)
class Disagreement:
    """Keep the rows on which the networks differ (Decouple, Malach et al. 2017).

    Scores are compared for equality: use it with `criteria.Prediction`.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import Disagreement
    >>> predicted = torch.tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 2.0]])
    >>> Disagreement()(predicted, torch.ones(1, 3), epoch=0)
    tensor([[0., 1., 0.],
            [0., 1., 0.]])
    """

    compares_networks: ClassVar[bool] = True

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with rows of one mind set to zero."""
        differs = (scores != scores[..., :1, :]).any(-2, keepdim=True)
        return weights * differs.expand_as(scores)
