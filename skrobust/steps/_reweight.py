"""Steps that set weights: rules at work on a batch, and weights drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._batch import Batch
from .._comm import Alone
from .._words import is_number, parameter_error, require, takes
from ..criteria import Loss, Score
from ..rules import Rule
from ._base import Context


@dataclass(frozen=True)
class Reweight:
    """Score the rows, then let a rule set their weights.

    A score that is not a number counts as infinite. Where the context has a process
    group the rule sees the rows of all processes.

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
    Trim(epsilon=0.3, reach=None, spare=None)
    """

    rule: Rule
    score: Score | None = None
    renormalize: bool = True
    every: float | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        rule, score = self.rule, self.score
        if isinstance(rule, type) or not takes(rule, "scores", "weights", epoch=0):
            expected = "a rule: an instance, not a class"
            raise parameter_error("rule", "Reweight", expected, rule)
        known = score is None or takes(score, "stack", "batch")
        if isinstance(score, type) or not known:
            expected = "None or a score: an instance, not a class"
            raise parameter_error("score", "Reweight", expected, score)
        every: Any = self.every
        ok = every is None or (is_number(every) and every > 0)
        require(self, "every", ok, "None or a number in the range (0, inf)")

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with new weights."""
        if self.every:
            return batch
        return self._judged(self.rate(stack, batch, context), batch, context)

    def _judged(self, scores: Tensor, batch: Batch, context: Context) -> Batch:
        weights = self.decide(scores, batch.weights, context)
        weights = weights.to(batch.weights.dtype)  # scores may be more precise
        mass = None if self.renormalize else batch.weights.sum(-1, keepdim=True)
        return batch.reweighted(weights, mass, getattr(self.rule, "sparse", False))

    @property
    def compares_networks(self) -> bool:
        """Whether the rule or the score compares networks with one another."""
        parts = self.rule, self.score
        return any(getattr(part, "compares_networks", False) for part in parts)

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
        scores = (self.score or context.loss)(stack, batch)
        if scores.ndim != 2 or scores.shape[-1] != len(batch.x):
            raise ValueError(
                f"Scores must have the shape (n_networks, n_samples), where n_samples "
                f"= {len(batch.x)}. {self.score!r} gave {tuple(scores.shape)} instead."
            )
        return scores

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
        if len(scores) < len(weights):  # one opinion of all networks
            scores = scores.expand_as(weights)
        # a row that cannot be rated is the worst of all
        scores = scores.nan_to_num(torch.inf, torch.inf, -torch.inf)
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


_TINY, _HAIR = 1e-30, 1 + 1e-6  # means are rounded


@dataclass(frozen=True)
class ReweightByLabel(Reweight):
    """Reweight, but spare the rows that score no worse than the mean of their label.

    Rules for rows of all labels at once fill the share that they leave out with a rare
    or hard label, before that is learned, and so it never is. Here a label loses none
    but those of its rows that are worse than its usual ones. Where these are fewer
    than the share, less is left out. The rule sees minus infinity in place of the
    spared rows' scores, so it is for rules that keep the lowest ones, as `rules.Trim`.
    Weights of all rows (``every``) are set by the rule alone.

    Parameters
    ----------
    rule : Rule
        One that keeps the lowest scores, for instance `rules.Trim`.
    score : Score, default=None
        For instance `criteria.LossLayer`; None: the loss that is descended.
    renormalize : bool, default=True
        Whether the loss is averaged with the new weights or still divided by the mass
        before the rule, as in `Reweight`.
    every : float, default=None
        Epochs between two judgements of all rows, as in `Reweight`; with it no row is
        spared. None: judge each batch.

    Examples
    --------
    >>> from skrobust import NetClassifier
    >>> from skrobust.rules import Trim
    >>> from skrobust.steps import ReweightByLabel
    >>> model = NetClassifier((ReweightByLabel(Trim(0.2)),))
    """

    for_labels: ClassVar[bool] = True

    def __call__(self, stack: Any, batch: Batch, context: Context) -> Batch:
        """Return the batch with new weights."""
        if self.every:
            return batch
        scores = self.rate(stack, batch, context)
        spared = _spared(scores, batch.weights, batch.y, context.comm)
        return self._judged(scores.masked_fill(spared, -torch.inf), batch, context)


def _spared(scores: Tensor, weights: Tensor, y: Any, comm: Alone) -> Tensor:
    """Mark the rows whose score is at most the mean of their label's, (K, n).

    ``y`` (n, n_classes) or (K, n, n_classes) are labels or their probabilities. Where
    a score is no number no mean is, and no row is spared.
    """
    if y.ndim == 2:
        total, mass = (weights * scores) @ y, weights @ y
    else:
        total = torch.einsum("kn,knc->kc", weights * scores, y)
        mass = torch.einsum("kn,knc->kc", weights.expand_as(scores), y)
    total, mass = comm.add_up(total), comm.add_up(mass)
    mean = total.div_(mass.clamp_min_(_TINY)).mul_(_HAIR)
    return scores < (mean @ y.mT if y.ndim == 2 else (y @ mean[..., None])[..., 0])


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
