"""Rules: from scores and weights of rows to new weights.

A rule is a frozen dataclass called as ``rule(scores, weights, epoch=epoch)`` with
tensors of shape (..., n), usually (K, n) for K networks; it returns weights of the
scores' shape. Rules are pure, never loop over networks and never see labels or
networks. Scores are numbers or +inf. Fields that are fractions or thresholds may be a
float, a schedule (a function of the epoch, counted from 0), or a tensor that
broadcasts against (..., 1).

A rule may say two things about itself: ``by_order = True`` if what it does depends on
the order of the rows, and ``sparse = True`` if it leaves weight to few of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ._blocks import choose_even, choose_weighted

__all__ = [
    "Cap",
    "Disagreement",
    "Exchange",
    "LossMixture",
    "MedianOfMeans",
    "MultiplicativeWeights",
    "NearMedian",
    "Phases",
    "Ramp",
    "Rule",
    "SelfPaced",
    "SmallestLoss",
    "Trim",
    "chain",
]

Value = float | Tensor | Callable[[int], Any]


class Rule(Protocol):
    """Maps scores and weights (..., n) to weights (..., n)."""

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the new weights."""


def at_epoch(value: Any, epoch: int) -> Any:
    """Return a field's value in an epoch: schedules are called, the rest stays."""
    return value(epoch) if callable(value) else value


@dataclass(frozen=True)
class Ramp:
    """A schedule that rises linearly to ``end`` in ``n_epochs`` epochs and stays.

    Parameters
    ----------
    end : float
        The final value.
    n_epochs : int, default=10
        Epochs until it is reached (Co-teaching's and PRL's T_k). 0: from the start.

    Examples
    --------
    >>> from skrobust.rules import Ramp
    >>> [Ramp(0.4, 4)(epoch) for epoch in range(5)]
    [0.1, 0.2, 0.30000000000000004, 0.4, 0.4]
    """

    end: float
    n_epochs: int = 10

    def __call__(self, epoch: int) -> float:
        """Value in epoch ``epoch`` (the first is 0)."""
        if epoch + 1 >= self.n_epochs:
            return self.end
        return self.end * ((epoch + 1) / self.n_epochs)


@dataclass(frozen=True)
class Trim:
    """Drop the rows with the highest scores.

    The fraction is one of *weight*: rows are kept from the lowest score upwards until
    they hold ``1 - epsilon`` of the mass, the last one in part. So a row of weight 3
    acts like three rows. Among equal scores the first row goes first.

    Parameters
    ----------
    epsilon : float, schedule or Tensor, default=0.2
        Fraction of the mass to drop, in [0, 1).

    References
    ----------
    Paper 001, Algorithms 1 and 3; paper 002, Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import Trim
    >>> scores = torch.tensor([[3.0, 1.0, 2.0, 9.0]])
    >>> Trim(0.25)(scores, torch.ones(1, 4), epoch=0)
    tensor([[1., 1., 1., 0.]])
    """

    epsilon: Value = 0.2

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the kept part of each weight."""
        epsilon = at_epoch(self.epsilon, epoch)
        if weights.shape != scores.shape:
            weights = weights.expand_as(scores)
        if isinstance(epsilon, (float, int)) and epsilon == 0:
            return weights
        order = scores.argsort(dim=-1, stable=True)
        if weights.stride(-1) == 0 and isinstance(epsilon, (float, int)):
            # one number for all rows: what is kept of each rank is known beforehand
            part = _kept(scores.shape[-1], epsilon, scores.dtype, scores.device)
            whole = torch.empty_like(scores).scatter_(-1, order, part.expand_as(order))
            return whole.mul_(weights)
        ranked = weights.gather(-1, order)
        mass = ranked.cumsum(-1)
        kept = mass.narrow(-1, -1, 1) * (1 - epsilon)
        # each row loses what its mass and that of the rows before it exceed `kept` by
        part = (ranked - (mass - kept).relu_()).relu_()
        return torch.empty_like(part).scatter_(-1, order, part)


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
    Paper 000, equation 6.

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

    by_order = True  # rows that all fit one batch must be shuffled
    sparse = True  # few rows keep weight

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with all rows outside the central blocks set to zero."""
        if self.n_blocks == 1 and not isinstance(self.n_blocks, float):
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

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with rows of larger scores set to zero."""
        weights = weights.expand_as(scores)
        limit = _lower_median(scores, weights) * at_epoch(self.factor, epoch)
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
class Phases:
    """Apply one rule in the first epochs and another one from then on.

    Parameters
    ----------
    first, then : Rule
    n_epochs : int, default=10
        Epochs of the first one.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import MedianOfMeans, NearMedian, Phases
    >>> scores = torch.tensor([[3.0, 1.0, 2.0, 90.0]])
    >>> rule = Phases(MedianOfMeans(1.0), NearMedian())
    >>> rule(scores, torch.ones(1, 4), epoch=0)
    tensor([[0., 0., 1., 0.]])
    >>> rule(scores, torch.ones(1, 4), epoch=10)
    tensor([[1., 1., 1., 1.]])
    """

    first: Rule
    then: Rule
    n_epochs: int = 10

    @property
    def by_order(self) -> bool:
        """Whether one of the rules looks at the order of the rows."""
        return any(getattr(r, "by_order", False) for r in (self.first, self.then))

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return what the rule of this epoch makes of the weights."""
        rule = self.first if epoch < self.n_epochs else self.then
        return rule(scores, weights, epoch=epoch)


@dataclass(frozen=True)
class SmallestLoss:
    """Keep nothing but the row with the lowest score (Min-SGD, Shah et al. 2020)."""

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
        the rows instead, as papers 001 and 002 do under this name, use `Trim`.
    """

    threshold: Value

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with rows at or above the threshold set to zero."""
        return weights * (scores < at_epoch(self.threshold, epoch))


@dataclass(frozen=True)
class Disagreement:
    """Keep the rows on which the networks differ (Decouple, Malach et al. 2017).

    Scores are compared for equality: use it with `criteria.Prediction`.
    """

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights with rows of one mind set to zero."""
        differs = (scores != scores[..., :1, :]).any(-2, keepdim=True)
        return weights * differs.expand_as(scores)


@dataclass(frozen=True)
class Cap:
    """Shrink the weight of rows whose score exceeds a limit, to limit / score.

    With `criteria.GradientNorm` this clips each row's gradient to the limit.

    Parameters
    ----------
    limit : float, schedule or Tensor
        Positive, in units of the score.
    """

    limit: Value

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the shrunken weights."""
        limit = at_epoch(self.limit, epoch)
        return weights * (limit / scores.clamp(min=_TINY)).clamp_(max=1)


@dataclass(frozen=True)
class MultiplicativeWeights:
    """Multiply each weight by ``exp(-eta * score)``: bad advice loses its say.

    An *update*: it goes on from the weights that it last returned, so after many
    calls a row has lost ``eta`` times the sum of its scores in the exponent. Use it
    with ``Reweight(rule, every=1)``. Mass is kept: the weights sum to what the rows'
    own weights sum to. Computed in logarithms and double precision; a weight of zero
    stays zero, and where every score is infinite nothing changes.

    Parameters
    ----------
    eta : float, schedule or Tensor, default=0.01
        Step size, not negative, in units of one over the score. A schedule acts on
        the scores of its own epoch only.
    max_weight : float, schedule or Tensor, default=None
        Largest multiple of its own weight that a row may reach, at least 1. The
        excess goes to the other rows in proportion. None: no limit.

    References
    ----------
    Paper 004, Algorithm 1: with the loss as score, multiplicative reweighting.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import MultiplicativeWeights
    >>> scores = torch.tensor([[0.0, 0.0, 1000.0]])
    >>> MultiplicativeWeights(1.0)(scores, torch.ones(1, 3), epoch=0)
    tensor([[1.5000, 1.5000, 0.0000]], dtype=torch.float64)
    """

    eta: Value = 0.01
    max_weight: Value | None = None
    updates: ClassVar[bool] = True

    def __call__(
        self, scores: Tensor, weights: Tensor, *, epoch: int, own: Tensor | None = None
    ) -> Tensor:
        """Return the new weights, in double precision where the device has it.

        ``own`` (..., n) are the weights of the rows by themselves, whose mass is kept
        and that ``max_weight`` refers to; None: ``weights``.
        """
        eta, dtype = at_epoch(self.eta, epoch), _double(scores)
        lost = (eta * scores.to(dtype)).nan_to_num(nan=0.0, posinf=torch.inf)
        before = weights.to(dtype).expand_as(lost)
        own = before if own is None else own.to(dtype)
        mass = own.sum(-1, keepdim=True)
        left = before.log() - lost
        best = left.amax(-1, keepdim=True)
        after = torch.where(best > -torch.inf, (left - best).exp(), before)
        after = after * (mass / after.sum(-1, keepdim=True).clamp_min(_TINY))
        limit = at_epoch(self.max_weight, epoch)
        return after if limit is None else _capped(after, own * limit)


def _double(tensor: Tensor) -> torch.dtype:
    """Double precision, except on devices that have none."""
    return tensor.dtype if tensor.device.type == "mps" else torch.float64


def _capped(weights: Tensor, cap: Tensor) -> Tensor:
    """Cap weights and spread the excess over the others in proportion.

    Where even all caps together hold less than the weights did, rows with any weight
    are at their caps.
    """
    cap = torch.where(weights > 0, cap, 0.0)
    # rows reach their caps in the order of weight over cap, as all are scaled up
    order = (weights / cap.clamp_min(_TINY)).argsort(-1, descending=True)
    ranked, caps = weights.gather(-1, order), cap.gather(-1, order)
    mass = weights.sum(-1, keepdim=True)
    # by how much the rest is scaled if this row and all before it were at their caps
    room = mass - caps.cumsum(-1)
    rest = ranked.flip(-1).cumsum(-1).flip(-1) - ranked
    scale = torch.where((room >= 0) & (rest > 0), room / rest.clamp_min(_TINY), 0.0)
    scale = torch.cat([torch.ones_like(mass), scale], -1).amax(-1, keepdim=True)
    return torch.minimum(weights * scale, cap)


@dataclass(frozen=True)
class LossMixture:
    """Multiply weights by the chance that the row is of the lower of two groups.

    Scores are clipped to their 5th and 95th percentile, moved to (0, 1) and taken for
    draws from two beta distributions, which expectation-maximisation finds.

    Parameters
    ----------
    warm_up : int, default=10
        Epochs during which weights are left alone.
    n_iter : int, default=10
        Rounds of expectation-maximisation.

    References
    ----------
    E. Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", 2019,
    section 3.1.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import LossMixture
    >>> scores = torch.tensor([[0.1, 0.2, 0.15, 0.1, 3.0, 2.8]])
    >>> LossMixture(warm_up=0)(scores, torch.ones(1, 6), epoch=0).round()
    tensor([[1., 1., 1., 1., 0., 0.]])
    """

    warm_up: int = 10
    n_iter: int = 10

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return what is left of each weight."""
        weights = weights.expand_as(scores)
        if epoch < self.warm_up:
            return weights
        x = _to_unit(scores, weights)
        return weights * _lower_of_two(x, weights, self.n_iter)


def _to_unit(scores: Tensor, weights: Tensor) -> Tensor:
    """Move scores between their outer percentiles to (0, 1)."""
    scores = scores.clamp(max=torch.finfo(scores.dtype).max)
    ranked, order = scores.sort(-1)
    mass = weights.gather(-1, order).cumsum(-1)
    low, high = (
        # the first score below which the share of the mass is reached
        ranked.gather(-1, (mass < q * mass[..., -1:]).sum(-1, keepdim=True))
        for q in (0.05, 0.95)
    )
    part = (scores.clamp(low, high) - low) / (high - low).clamp_min(_TINY)
    return part.clamp(1e-4, 1 - 1e-4)


def _lower_of_two(x: Tensor, weights: Tensor, n_iter: int) -> Tensor:
    """Chance that x in (0, 1) is of the lower of two beta distributions."""
    # rows of components: the axis -2 of (..., 2, n)
    x, weights = x.unsqueeze(-2), weights.unsqueeze(-2)
    chance = torch.cat([1 - x, x], -2)  # who is low is of the lower, to begin with
    for _ in range(n_iter):
        share = chance * weights
        mass = share.sum(-1, keepdim=True).clamp_min(_TINY)
        mean = ((share * x).sum(-1, keepdim=True) / mass).clamp(1e-4, 1 - 1e-4)
        variance = (share * (x - mean).square()).sum(-1, keepdim=True) / mass
        # a beta distribution by its moments, with one mode: a, b >= 1
        size = mean * (1 - mean) / variance.clamp_min(1e-5) - 1
        size = torch.maximum(size, 1 / torch.minimum(mean, 1 - mean))
        a, b = mean * size, (1 - mean) * size
        log = (a - 1) * x.log() + (b - 1) * (1 - x).log() + mass.log()
        log = log - torch.lgamma(a) - torch.lgamma(b) + torch.lgamma(a + b)
        chance = log.softmax(-2)
    lower = mean.argmin(-2, keepdim=True).expand_as(x)
    return chance.gather(-2, lower).squeeze(-2)


@dataclass(frozen=True)
class Exchange:
    """Give every network the weights that the next one chose (Co-teaching).

    Parameters
    ----------
    group_size : int, default=None
        Exchange among so many neighbours each; None: among all networks.
    """

    group_size: int | None = None

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights, moved by one along the network axis."""
        weights = weights.expand_as(scores)
        if self.group_size is None:
            return weights.roll(-1, -2)
        groups = weights.unflatten(-2, (-1, self.group_size))
        return groups.roll(-1, -2).flatten(-3, -2)


@dataclass(frozen=True)
class Chain:
    """Apply rules one after the other, each to the weights of the one before."""

    rules: tuple[Rule, ...]

    @property
    def by_order(self) -> bool:
        """Whether one of the rules looks at the order of the rows."""
        return any(getattr(rule, "by_order", False) for rule in self.rules)

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights after the last rule."""
        weights = weights.expand_as(scores)
        for rule in self.rules:
            weights = rule(scores, weights, epoch=epoch)
        return weights


def chain(*rules: Rule) -> Chain:
    """Combine rules: ``chain(Trim(0.2), Exchange())`` is Co-teaching's selection."""
    return Chain(rules)


_TINY = 1e-30


@lru_cache(maxsize=16)
def _kept(n: int, epsilon: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Part of each of n equal rows that trimming keeps, from the lowest score up."""
    rank = torch.arange(n, dtype=dtype, device=device)
    return (n * (1 - epsilon) - rank).clamp_(0, 1)
