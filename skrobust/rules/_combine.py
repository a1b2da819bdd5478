"""Rules made of other rules, and the one that networks help each other by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .._words import is_count, parameter_error, require
from ._base import Rule


def _require_members(owner: Any, name: str, *rules: Rule) -> None:
    """Refuse what is no rule, and rules that go on from their own last weights.

    Another rule's weights are not theirs: all that they found before would be lost.
    """
    for rule in rules:
        if isinstance(rule, type) or not callable(rule):  # a class makes rules
            raise parameter_error(name, type(owner).__name__, "made of rules", rule)
        if getattr(rule, "updates", False):
            expected = "rules that judge afresh (updates need a step of their own)"
            raise parameter_error(name, type(owner).__name__, expected, rule)


@dataclass(frozen=True)
class Exchange:
    """Give every network the weights that the next one chose (Co-teaching).

    Parameters
    ----------
    group_size : int, default=None
        Exchange among so many neighbours each; None: among all networks.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import Exchange
    >>> weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> Exchange()(torch.zeros(2, 2), weights, epoch=0)
    tensor([[0., 1.],
            [1., 0.]])
    """

    group_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        ok = self.group_size is None or is_count(self.group_size)
        require(self, "group_size", ok, "None or an int of at least 1")

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the weights, moved by one along the network axis."""
        weights = weights.expand_as(scores)
        if self.group_size is None:
            return weights.roll(-1, -2)
        groups = weights.unflatten(-2, (-1, self.group_size))
        return groups.roll(-1, -2).flatten(-3, -2)


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

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require(self, "n_epochs", is_count(self.n_epochs, 0), "an int of at least 0")
        _require_members(self, "first", self.first)
        _require_members(self, "then", self.then)

    @property
    def by_order(self) -> bool:
        """Whether one of the rules looks at the order of the rows."""
        return any(getattr(r, "by_order", False) for r in (self.first, self.then))

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return what the rule of this epoch makes of the weights."""
        rule = self.first if epoch < self.n_epochs else self.then
        return rule(scores, weights, epoch=epoch)


@dataclass(frozen=True)
class Chain:
    """Apply rules one after the other, each to the weights of the one before.

    Parameters
    ----------
    rules : tuple of Rule
        In the order in which they are applied, at least one. All see the same scores.

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import Cap, Chain, Trim
    >>> scores = torch.tensor([[3.0, 1.0, 2.0, 9.0]])
    >>> Chain((Trim(0.25), Cap(1.5)))(scores, torch.ones(1, 4), epoch=0)
    tensor([[0.5000, 1.0000, 0.7500, 0.0000]])
    """

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        ok = isinstance(self.rules, Sequence) and len(self.rules) > 0
        require(self, "rules", ok, "a tuple of at least one rule")
        _require_members(self, "rules", *self.rules)

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
    """Combine rules: ``chain(Trim(0.2), Exchange())`` is Co-teaching's selection.

    Parameters
    ----------
    *rules : Rule
        In the order in which they are applied, at least one.

    Returns
    -------
    Chain

    Examples
    --------
    >>> import torch
    >>> from skrobust.rules import Exchange, Trim, chain
    >>> scores = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    >>> chain(Trim(0.5), Exchange())(scores, torch.ones(1, 2), epoch=0)
    tensor([[0., 1.],
            [1., 0.]])
    """
    return Chain(rules)
