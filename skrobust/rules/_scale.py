"""Rules that shrink weights row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from .._words import AT_LEAST_0, is_count, is_number, require
from ._base import Value, at_epoch, require_value

_TINY = 1e-30
_APART = 1e-3  # of the spread of all scores, between the means of two groups


@dataclass(frozen=True)
class Cap:
    """Shrink the weight of rows whose score exceeds a limit, to limit / score.

    With `criteria.GradientNorm` this clips each row's gradient to the limit.

    Parameters
    ----------
    limit : float, schedule or Tensor
        Positive, in units of the score.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import Cap
    >>> scores = torch.tensor([[0.5, 1.0, 4.0]])
    >>> Cap(2.0)(scores, torch.ones(1, 3), epoch=0)
    tensor([[1.0000, 1.0000, 0.5000]])
    """

    limit: Value

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        c: Any = self.limit
        words = "a positive number, a schedule or a tensor"
        require_value(self, "limit", is_number(c) and c > 0, words)

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the shrunken weights."""
        limit = at_epoch(self.limit, epoch, 0)
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
        excess goes to the other rows in proportion; where these have lost all weight,
        mass is lost. None: no limit.

    References
    ----------
    N. Bar, T. Koren and R. Giryes, "Multiplicative Reweighting for Robust Neural
    Network Optimization", 2024 (the MR paper), Algorithm 1: with the loss as score,
    multiplicative reweighting.

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

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        e: Any = self.eta
        m: Any = self.max_weight
        ok = is_number(e) and 0 <= e < float("inf")
        require_value(self, "eta", ok, AT_LEAST_0)
        ok = m is None or (is_number(m) and m >= 1)
        words = "None, a number of at least 1, a schedule or a tensor"
        require_value(self, "max_weight", ok, words)

    def __call__(
        self, scores: Tensor, weights: Tensor, *, epoch: int, own: Tensor | None = None
    ) -> Tensor:
        """Return the new weights, in double precision.

        ``own`` (..., n) are the weights of the rows by themselves, whose mass is kept
        and that ``max_weight`` refers to; None: ``weights``.
        """
        eta = at_epoch(self.eta, epoch, 0)
        lost = (eta * scores.double()).nan_to_num(nan=0.0, posinf=torch.inf)
        before = weights.double().expand_as(lost)
        own = before if own is None else own.double()
        mass = own.sum(-1, keepdim=True)
        left = before.log() - lost
        best = left.amax(-1, keepdim=True)
        after = torch.where(best > -torch.inf, (left - best).exp(), before)
        after = after * (mass / after.sum(-1, keepdim=True).clamp_min(_TINY))
        limit = at_epoch(self.max_weight, epoch, 1)
        return after if limit is None else _capped(after, own * limit)


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
    # summed from the end: the difference of two sums would lose the smallest weights
    rest = pad(ranked.flip(-1).cumsum(-1).flip(-1)[..., 1:], (0, 1))
    limits = torch.finfo(rest.dtype)
    scale = torch.where((room >= 0) & (rest > 0), room / rest.clamp_min(limits.tiny), 0)
    scale = scale.clamp_max(limits.max)  # infinity times a weight of zero is no number
    scale = torch.cat([torch.ones_like(mass), scale], -1).amax(-1, keepdim=True)
    return torch.minimum(weights * scale, cap)


@dataclass(frozen=True)
class LossMixture:
    """Multiply weights by the chance that the row is of the lower of two groups.

    Scores are clipped to their 5th and 95th percentile, moved to (0, 1) and taken for
    draws from two beta distributions, which expectation-maximisation finds. Where these
    cannot be told apart, as with scores that are all alike, every row keeps its weight.

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

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require(self, "warm_up", is_count(self.warm_up, 0), "an int of at least 0")
        require(self, "n_iter", is_count(self.n_iter), "an int of at least 1")

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return what is left of each weight."""
        weights = weights.expand_as(scores)
        if epoch < self.warm_up:
            return weights
        # in double precision: rounding must not decide which group is the lower one
        mass = weights.double()
        x, spread = _to_unit(scores.double(), mass)
        lower, told_apart = _lower_of_two(x, mass, self.n_iter)
        lower = torch.where(spread & told_apart, lower, 1.0)
        return weights * lower.to(scores.dtype)


def _to_unit(scores: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Move scores between their outer percentiles to (0, 1); say whether they differ.

    By less than single precision can tell is not at all.
    """
    scores = scores.clamp(max=torch.finfo(torch.float32).max)
    ranked, order = scores.sort(-1)
    mass = weights.gather(-1, order).cumsum(-1)
    # a hair below: cumulated rounding must not skip a row
    total = mass[..., -1:] * (1 - 1e-6)
    low, high = (
        # the first score below which the share of the mass is reached
        ranked.gather(-1, (mass < q * total).sum(-1, keepdim=True))
        for q in (0.05, 0.95)
    )
    width = (high - low).clamp_min(_TINY)
    spread = width > 1e-6 * torch.maximum(low.abs(), high.abs()) + _TINY
    return ((scores.clamp(low, high) - low) / width).clamp(1e-4, 1 - 1e-4), spread


def _lower_of_two(x: Tensor, weights: Tensor, n_iter: int) -> tuple[Tensor, Tensor]:
    """Chance that x in (0, 1) is of the lower of two beta distributions.

    And whether there are two: neither without mass, nor both at one place.
    """
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
    (first, second), least = mean.unbind(-2), mass.amin(-2)
    told_apart = ((first - second).abs() > _APART) & (least > _TINY * mass.sum(-2))
    return chance.gather(-2, lower).squeeze(-2), told_apart
