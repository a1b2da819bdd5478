"""The only loop: batches, steps, weighted gradient, optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _comm
from ._batch import Batch, Rows
from .steps import Context, Reweight, Step

TINY = 1e-30


class Diverged(ArithmeticError):
    """Raised when the loss or the parameters stop being numbers."""


@dataclass
class Recipe:
    """How to train, apart from the rows.

    Attributes
    ----------
    steps : tuple of Step
    batch_size : int
    learning_rate : callable
        Maps the epoch (from 0) to a step size.
    alpha : float
        Strength of the L2 penalty alpha / 2 |weights|^2, divided by a batch's mass.
    weight_decay : float
        Decoupled: every step shrinks the weights by learning rate times this.
    clip_norm : float or None
        Largest norm of a network's gradient.
    """

    steps: tuple[Step, ...]
    batch_size: int
    learning_rate: Callable[[int], float]
    alpha: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = None


def train_batch(
    stack: Any, batch: Batch, optimizer: Any, recipe: Recipe, context: Context
) -> tuple[Tensor, Tensor]:
    """Take one step; return the weighted sum of the losses and its mass."""
    prior = batch.weights
    for step in recipe.steps:
        batch = step(stack, batch, context)
    values, gradient = batch.loss(stack, context.loss, training=True)
    weights = batch.weights.expand_as(values)
    mass = weights.sum(-1, keepdim=True) if batch.mass is None else batch.mass
    mass = _comm.add_up(mass).clamp(min=TINY)
    stack.backward(batch.tape(stack, training=True), gradient, weights / mass)
    _comm.add_up(stack.grad)
    _regularize(stack, prior, recipe, recipe.learning_rate(context.epoch))
    optimizer.step(stack.theta, stack.grad, recipe.learning_rate(context.epoch))
    if recipe.steps:  # a rejected row's loss may be infinite
        values = values.masked_fill(weights == 0, 0)
    return (weights * values).sum(), weights.sum()


def _regularize(stack: Any, prior: Tensor, recipe: Recipe, lr: float) -> None:
    n = stack.n_weights
    if recipe.clip_norm is not None:
        for grads in stack.network_grads():
            norm = torch.stack([torch.linalg.vector_norm(g) for g in grads]).norm()
            scale = (recipe.clip_norm / norm.clamp(min=TINY)).clamp(max=1)
            for g in grads:
                g.mul_(scale)
    if recipe.alpha:
        share = recipe.alpha / prior.sum().clamp(min=TINY)
        stack.grad[:n].addcmul_(stack.theta[:n], share)
    if recipe.weight_decay:
        stack.theta[:n].mul_(1 - lr * recipe.weight_decay)


def train_epoch(
    stack: Any,
    batches: Iterable[Batch],
    optimizer: Any,
    recipe: Recipe,
    context: Context,
) -> float:
    """Pass over the batches once; return the mean loss of what was trained on.

    Raises
    ------
    Diverged
        If the loss or the parameters are not finite; the stack then holds what it
        held before this epoch.
    """
    before = stack.theta.clone()
    loss = mass = 0.0
    for batch in batches:
        batch_loss, batch_mass = train_batch(stack, batch, optimizer, recipe, context)
        loss, mass = loss + batch_loss, mass + batch_mass
    # the one place in an epoch where the host waits for the device
    mean = float(loss) / max(float(mass), TINY) if float(mass) > 0 else math.nan
    if not (math.isfinite(mean) and bool(torch.isfinite(stack.theta).all())):
        stack.theta.copy_(before)
        raise Diverged
    return mean


def posterior(
    stack: Any, rows: Rows, recipe: Recipe, context: Context, block: int = 1024
) -> Tensor:
    """Weights (K, n) that the steps give the rows when they see all at once.

    Only rules are asked: what other steps do to inputs or targets does not count.
    """
    weights = rows.weights[None].expand(stack.n_networks, -1)
    for step in recipe.steps:
        if isinstance(step, Reweight):
            blocks = [step.rate(stack, b, context) for b in rows.blocks(block)]
            weights = step.decide(torch.cat(blocks, -1), weights, context.epoch)
    return weights
