"""The only loop: batches, steps, weighted gradient, optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ._batch import Batch, Rows
from ._comm import Group
from ._turns import Team
from .steps import Context, Reweight, Step

TINY, HUGE = 1e-30, 1e30
LARGE = 30.0  # weights up to this cannot overflow, unless networks are very deep
FAR = 1e6  # inputs beyond this may be gross values, whose outputs do not matter
ROWS_TOGETHER = 8192

Followed = tuple[Tensor, Any, Tensor]


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
    weight_decay : float or tensor
        Decoupled: every step shrinks the weights by learning rate times this, a tensor
        (K, 1) those of each network by its own.
    clip_norm : float or None
        Largest norm of a network's gradient.
    turns : bool
        Whether the networks of a stack step one after the other, each after the
        steps were asked anew, instead of all at once.
    n_parts : int or None
        Batches an epoch where these are shares of all weight.
    """

    steps: tuple[Step, ...]
    batch_size: int
    learning_rate: Callable[[int], float]
    alpha: float = 0.0
    weight_decay: Any = 0.0
    clip_norm: float | None = None
    turns: bool = False
    n_parts: int | None = None


def reweighting(recipe: Recipe) -> list[Reweight]:
    """Return the steps of a recipe that set weights."""
    return [step for step in recipe.steps if isinstance(step, Reweight)]


def train_batch(
    stack: Any, batch: Batch, optimizer: Any, recipe: Recipe, context: Context
) -> Followed:
    """Take one step; return outputs (K, n, c), targets and shares (K, n) or (1, n).

    Rows without weight may be left out of all three.
    """
    prior = _mass(batch.own_mass, batch, context)
    if not recipe.turns:
        for step in recipe.steps:
            batch = step(stack, batch, context)
        return _descend(stack, batch, optimizer, prior, recipe, context)
    team = Team(stack)
    optimizers, done = optimizer.networks(team.n_networks), []
    for k, player in enumerate(team.players):
        seen = batch.anew()
        for step in recipe.steps:
            seen = step(team, seen, context)
        own = seen.of_network(k)
        done.append(_descend(player, own, optimizers[k], prior, recipe, context))
        team.moved(k)
    return _joined(done)


def _descend(
    stack: Any,
    batch: Batch,
    optimizer: Any,
    mass: Any,
    recipe: Recipe,
    context: Context,
) -> Followed:
    """Follow the weighted gradient."""
    before = None if context.lengths is None else stack.theta.clone()
    # on a GPU the host would have to wait to learn which rows those are
    if batch.sparse and len(batch.weights) == 1 and batch.x.device.type == "cpu":
        batch = batch.narrowed(stack)
    lr = recipe.learning_rate(context.epoch)
    gradient = batch.gradient(stack, context.loss, training=True)
    tape, shares = batch.tape(stack, training=True), _shares(batch, context)
    stack.backward(tape, gradient, shares)
    context.comm.add_up(stack.grad)
    _regularize(stack, mass, recipe, lr)
    optimizer.step(stack.theta, stack.grad, lr)
    if before is not None and context.lengths is not None:
        context.lengths.append(torch.dist(stack.theta, before))
    return tape.output, context.loss.target(batch), shares


def _joined(done: list[Followed]) -> Followed:
    """Return the rows of several batches as those of one."""
    outputs, targets, shares = zip(*done, strict=True)
    target = None if targets[0] is None else torch.cat(targets, -2)
    return torch.cat(outputs, -2), target, torch.cat(shares, -1)


def _mass(mass: Any, batch: Batch, context: Context) -> Any:
    """Mass over all processes; a float stays one where this process is alone."""
    if not isinstance(context.comm, Group):
        return mass
    if isinstance(mass, float):
        mass = batch.weights.new_full((), mass)
    return context.comm.add_up(mass.clone())


def _shares(batch: Batch, context: Context) -> Tensor:
    """Weights that add up to one over the rows of all processes."""
    mass = batch.mass
    mass = batch.weights.sum(-1, keepdim=True) if mass is None else mass
    mass = _mass(mass, batch, context)
    if isinstance(mass, float):  # all weights are equal
        return batch.weights.new_full(batch.weights.shape, 1 / len(batch.x))
    return batch.weights / mass.clamp_min(TINY)


def _regularize(stack: Any, mass: Any, recipe: Recipe, lr: float) -> None:
    weights, grads = stack.decaying
    if recipe.clip_norm is not None:
        each = stack.grad.view(stack.n_networks, -1)
        norms = torch.linalg.vector_norm(each, dim=1, keepdim=True)
        each.mul_((recipe.clip_norm / norms.clamp_min_(TINY)).clamp_(max=1))
    if recipe.alpha and isinstance(mass, float):
        grads.add_(weights, alpha=recipe.alpha / mass)
    elif recipe.alpha:
        grads.addcmul_(weights, recipe.alpha / mass.clamp(min=TINY))
    if isinstance(recipe.weight_decay, Tensor):
        weights.addcmul_(weights, recipe.weight_decay, value=-lr)
    elif recipe.weight_decay:
        weights.add_(weights, alpha=-lr * recipe.weight_decay)


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
        If the loss, the parameters or the outputs are not finite; networks and
        optimizer then hold what they held before this epoch.
    """
    memory = [(t, t.clone()) for t in (*stack.memory(), *optimizer.memory())]
    last: list[Batch] = []

    def train(batch: Batch) -> Followed:
        last[:] = [batch]
        return train_batch(stack, batch, optimizer, recipe, context)

    total, n_batches, ahead = stack.theta.new_zeros(()), 0, iter(batches)
    together = max(1, ROWS_TOGETHER // recipe.batch_size)
    with stack.mode():
        while done := [train(batch) for batch in islice(ahead, together)]:
            total, n_batches = total + _lost(done, context), n_batches + len(done)
        total = context.comm.add_up(total)
    # the one place in an epoch where the host waits for the device
    mean = float(total) / n_batches / stack.n_networks
    if not (abs(mean) < HUGE and _sound(stack, last[0].x, context)):
        for tensor, before in memory:
            tensor.copy_(before)
        raise Diverged
    return mean


def _sound(stack: Any, x: Tensor, context: Context) -> bool:
    """Whether networks give numbers: losses know nothing of the last step.

    Where weights are large the rows ``x`` (n, ...) that are not far off are tried.
    """
    largest = float(stack.theta.abs().amax())
    if not LARGE < largest < HUGE:
        return largest <= LARGE
    with torch.no_grad(), stack.mode():
        outputs = stack.forward(x, training=False).output
    near = x.flatten(1).abs().amax(1) <= FAR
    wild = ~(outputs.abs() < HUGE).flatten(2).all(-1) & near
    return not float(context.comm.add_up(wild.any().to(stack.theta.dtype)))


def _lost(done: list[Followed], context: Context) -> Tensor:
    """Return the weighted loss of some steps; NaN if a followed row's is no number.

    Steps need its derivative only, so it is left for many steps together.
    """
    output, target, shares = _joined(done)
    values = context.loss.value(output, target)
    # a rejected row's loss may be anything
    unsound = ((shares > 0) & ~torch.isfinite(values)).any()
    total = (shares * values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)).sum()
    return total.masked_fill(unsound, torch.nan)


def drawn(
    stack: Any, rows: Rows, recipe: Recipe, context: Context, order: torch.Generator
) -> Iterator[Batch]:
    """Yield an epoch's batches; when due, let rules revise the weights of all rows.

    Whoever asks for the next batch has trained on the one before, and batches hold
    the weights of the moment they are asked for.
    """
    due = [s for s in recipe.steps if isinstance(s, Reweight) and s.every]
    if due and rows.revised is None:
        rows.revised = rows.weights.expand(stack.n_networks, -1)
    length = 1 / rows.n_batches(recipe.batch_size)
    for i, batch in enumerate(rows.epoch(recipe.batch_size, order)):
        yield batch
        for step in due:
            start, end = ((context.epoch + j * length) / step.every for j in (i, i + 1))
            if int(end + 1e-6) > int(start + 1e-6):
                rows.revised = _revise(stack, rows, step, context)


def _rate(stack: Any, rows: Rows, step: Reweight, context: Context) -> Tensor:
    """Score all rows, (K, n)."""
    blocks = rows.blocks(stack.block)
    return torch.cat([step.rate(stack, b, context) for b in blocks], -1)


def _revise(stack: Any, rows: Rows, step: Reweight, context: Context) -> Tensor:
    """Return what a rule makes of the weights of all rows, (K, n)."""
    scores = _rate(stack, rows, step, context)
    return step.revise(scores, rows.revised, rows.weights[None], context)


def posterior(stack: Any, rows: Rows, recipe: Recipe, context: Context) -> Tensor:
    """Weights (K, n) that the steps give the rows when they see all at once.

    Only rules are asked: what other steps do to inputs or targets does not count.
    """
    weights = rows.weights[None] if rows.revised is None else rows.revised
    weights = weights.expand(stack.n_networks, -1)
    with stack.mode():
        for step in reweighting(recipe):
            if not step.every:
                scores = _rate(stack, rows, step, context)
                weights = step.decide(scores, weights, context)
    return weights
