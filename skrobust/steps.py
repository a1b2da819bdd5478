"""Steps: what happens to a batch before the weighted gradient step.

A step is called as ``step(stack, batch, context)`` and returns a batch. Estimators
take a tuple of steps; they run in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ._batch import Batch
from ._comm import Alone
from ._words import IN_UNIT, is_number, require_field
from .criteria import Loss, Score
from .rules import Rule, Value, at_epoch

__all__ = [
    "Context",
    "Jitter",
    "Mixup",
    "RandomWeights",
    "Relabel",
    "Reweight",
    "SmoothLabels",
    "Step",
]


@dataclass
class Context:
    """What a step may know of the training run.

    Attributes
    ----------
    loss : Loss
        The loss that is descended.
    epoch : int
        Counted from 0.
    generator : torch.Generator
        For random draws, on the device of the batch.
    comm : Alone
        The other processes, if this one works with any.
    lengths : list of Tensor or None
        Where a list, each step adds how far it moved the parameters.
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


@dataclass(frozen=True)
class Reweight:
    """Score the rows, then let a rule set their weights.

    A score that is not a number counts as infinite. With a process group the rule
    sees the rows of all processes.

    Without ``every`` the rule judges each batch by itself, in every training step.
    With it the rule judges all rows together after so many epochs, in one further
    pass over them in evaluation mode, and batches hold its weights from then on. That
    pass sees rows and labels as they are, whatever other steps make of a batch.

    Parameters
    ----------
    rule : Rule
        For instance `rules.Trim`.
    score : Score, default=None
        For instance `criteria.LossLayer`; None: the loss that is descended.
    renormalize : bool, default=True
        Whether the loss is averaged with the new weights (dropping rows) or still
        divided by the mass before the rule (shrinking rows, as clipping does).
        Weights of all rows are always renormalized within the batch.
    every : float, default=None
        Epochs between two judgements of all rows, positive: 1 for each epoch, 0.5
        for each half. One judgement at most follows a batch. None: judge each batch.

    Examples
    --------
    >>> from skrobust import NetClassifier
    >>> from skrobust.rules import Trim
    >>> from skrobust.steps import Reweight
    >>> NetClassifier(steps=(Reweight(Trim(0.3)),)).steps[0].rule
    Trim(epsilon=0.3, reach=None)
    """

    rule: Rule
    score: Score | None = None
    renormalize: bool = True
    every: float | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        ok = is_number(self.every) and self.every > 0
        require_field(self, "every", ok, "None or a number in the range (0, inf)")

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with new weights."""
        if self.every:
            return batch
        scores = self.rate(stack, batch, context)
        weights = self.decide(scores, batch.weights, context)
        mass = None if self.renormalize else batch.weights.sum(-1, keepdim=True)
        return batch.reweighted(weights, mass, getattr(self.rule, "sparse", False))

    @property
    def by_order(self) -> bool:
        """Whether the rule looks at the order of the rows."""
        return bool(getattr(self.rule, "by_order", False))

    def bound(self, loss: Loss) -> Reweight:
        """Return the step with the descended loss filled in where none is given.

        Parameters
        ----------
        loss : Loss
            The loss that training descends.

        Returns
        -------
        Reweight
            With a score that can be called.
        """
        score = self.score or loss
        if hasattr(score, "bound"):
            score = score.bound(loss)
        return replace(self, score=score)

    def rate(self, stack: Any, batch: Batch, context: Context) -> Tensor:
        """Score the rows of a batch.

        Parameters
        ----------
        stack : object
            The K networks.
        batch : Batch
            n rows.
        context : Context
            Whose loss is the score where the step has none.

        Returns
        -------
        Tensor of shape (K, n)
        """
        return (self.score or context.loss)(stack, batch)

    def decide(
        self, scores: Tensor, weights: Tensor, context: Context, **more: Tensor
    ) -> Tensor:
        """Apply the rule to the rows of all processes; return this one's part.

        Parameters
        ----------
        scores : Tensor of shape (K, n)
            Those that are not numbers count as infinite.
        weights : Tensor of shape (1, n) or (K, n)
            The weights so far.
        context : Context
            The epoch, and the other processes.
        **more : Tensor
            Passed on to the rule.

        Returns
        -------
        Tensor of shape (K, n)
            The new weights.
        """
        comm, n = context.comm, scores.shape[-1]
        # a row that cannot be rated is the worst of all
        scores = scores.nan_to_num(nan=torch.inf, posinf=torch.inf)
        everyone, before = comm.gather(scores), comm.gather(weights)
        more = {name: comm.gather(tensor) for name, tensor in more.items()}
        return comm.mine(self.rule(everyone, before, epoch=context.epoch, **more), n)

    def revise(
        self, scores: Tensor, before: Tensor, own: Tensor, context: Context
    ) -> Tensor:
        """Judge all rows, whose weights were ``before`` and by themselves are ``own``.

        A rule that updates starts from what it said before, others start afresh.

        Parameters
        ----------
        scores : Tensor of shape (K, n)
            Of all rows.
        before : Tensor of shape (1, n) or (K, n)
            The weights that the last judgement gave.
        own : Tensor of shape (1, n)
            The weights of the rows by themselves.
        context : Context
            The epoch, and the other processes.

        Returns
        -------
        Tensor of shape (K, n)
            The new weights.
        """
        if getattr(self.rule, "updates", False):
            return self.decide(scores, before, context, own=own)
        return self.decide(scores, own, context)


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

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        a = self.amount
        require_field(self, "amount", is_number(a) and 0 <= a < 1, IN_UNIT)

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with soft targets."""
        amount = at_epoch(self.amount, context.epoch)
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
        require_field(self, "normal", ok, "a number in the range [0, inf)")

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with noise on its inputs."""
        x, rng = batch.x, context.generator
        like: dict[str, Any] = {"dtype": x.dtype, "device": x.device, "generator": rng}
        shape = (_N_NOISES, x.shape[-1])
        noise = torch.randn(shape, **like).mul_(self.normal)
        if self.uniform is not None:
            noise += torch.rand(shape, **like).sub_(0.5) * self.uniform.to(x)
        return batch.replaced(x=noise.index_select(0, _keys(x)).add_(x))


_N_NOISES = 256  # different noises in a batch


def _keys(x: Tensor) -> Tensor:
    """Numbers below ``_N_NOISES`` that depend on nothing but a row's values."""
    # rounded: what is left of scaling must not tell equal rows apart
    cells = x.mul(1024).round_().long()
    odd = torch.arange(1, 2 * x.shape[-1], 2, device=x.device)
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
        require_field(self, "alpha", ok, "a number in the range (0, inf)")

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
        return Batch(share * x + (1 - share) * x[other], mixed, total, batch.mass)


@dataclass(frozen=True)
class RandomWeights:
    """Multiply each weight by the positive part of a standard normal draw.

    Half of a batch is left out at random, anew in every step: the baseline that
    methods which choose weights with a reason must beat.

    References
    ----------
    M. Ren et al., "Learning to Reweight Examples for Robust Deep Learning", 2018;
    the MR paper: N. Bar, T. Koren and R. Giryes, "Multiplicative Reweighting for Robust
    Neural Network Optimization", 2024, section 5.

    Examples
    --------
    >>> from skrobust import NetClassifier
    >>> from skrobust.steps import RandomWeights
    >>> NetClassifier(steps=(RandomWeights(),))
    NetClassifier(steps=(RandomWeights(),))
    """

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with new weights."""
        shape = torch.zeros(stack.n_networks, batch.weights.shape[-1])
        shape = shape.to(batch.weights)
        draws = shape.normal_(generator=context.generator).clamp_(min=0)
        return batch.reweighted(batch.weights * draws, None)


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
