"""Epoch after epoch: stopping, validation, callbacks around the training loop."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from ._batch import Rows
from ._compat import Silence
from ._scaling import InputScaler
from ._train import Diverged, Recipe, drawn, train_epoch
from .steps import Context


@dataclass
class Progress:
    """What a fit works on, and a later one may take up again.

    Attributes
    ----------
    stack, optimizer : the networks and their optimizer
    scaler : InputScaler or None
    design : dict
        What the networks were built from.
    order : torch.Generator
        Draws the order of the rows, on the CPU whatever the device.
    seed : int
        What all random numbers of the fit come from.
    n_epochs : int
        Epochs done, earlier fits included.
    loss_curve, scores : list of float
        Training loss and validation score of each epoch.
    n_restarts : int
        How often training diverged and began again.
    """

    stack: Any
    optimizer: Any
    scaler: InputScaler | None
    design: dict[str, Any]
    order: torch.Generator
    seed: int
    n_epochs: int = 0
    loss_curve: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    n_restarts: int = 0

    def frozen(self) -> Progress:
        """Return a copy whose networks training does not touch any more."""
        twin = copy.copy(self)
        twin.stack = self.stack.clone()
        return twin


@dataclass
class Watch:
    """When to stop, and whom to tell.

    Attributes
    ----------
    n_epochs : int
        Largest number of epochs.
    tol, patience : float, int or None
        Stop after ``patience`` epochs that improved by less than ``tol``; None: never.
    validate : callable or None
        Gives a validation score, higher is better; None: watch the training loss.
    callbacks : CallbackContext
    tell : dict
        The estimator and data that callbacks are told about.
    attributes : callable
        Gives the fitted attributes as they are now, for callbacks that ask.
    verbose : bool
    restart : callable
        Called where training diverged: begins again and returns True, or False where
        training should end.
    """

    n_epochs: int
    tol: float
    patience: int | None
    validate: Callable[[], float] | None
    callbacks: Any
    tell: dict[str, Any]
    verbose: bool
    attributes: Callable[[], dict[str, Any]] = dict
    restart: Callable[[], bool] = lambda: False


def run_epochs(
    rows: Rows, progress: Progress, recipe: Recipe, context: Context, watch: Watch
) -> None:
    """Train until the epochs are used up, nothing improves, or somebody asks."""
    stopper = _Stopper(watch, progress.stack)
    asking = {**watch.tell, "reconstruction_attributes": watch.attributes}
    watch.callbacks.call_on_fit_task_begin(**watch.tell)
    left, told, asked = watch.n_epochs, 0, False
    while left and not asked:
        # an epoch that is done once more has been told of
        new = watch.n_epochs - left >= told
        task = watch.callbacks.subcontext(task_name="epoch") if new else Silence()
        told += new
        task.call_on_fit_task_begin(**watch.tell)
        trusted = rows.revised
        try:
            ended = _epoch(rows, progress, recipe, context, watch, stopper)
            left = 0 if ended else left - 1
        except Diverged:
            left, rows.revised = 0, trusted
            if _begins_again(progress, watch):
                left, rows.revised = watch.n_epochs, None
                stopper = _Stopper(watch, progress.stack)
        asked = task.call_on_fit_task_end(**asking)
    stopper.restore()
    watch.callbacks.call_on_fit_task_end(**asking)


def _epoch(
    rows: Rows,
    progress: Progress,
    recipe: Recipe,
    context: Context,
    watch: Watch,
    stopper: _Stopper,
) -> bool:
    """Train one epoch; return whether it should be the last."""
    context.epoch = progress.n_epochs
    if context.lengths is not None:
        context.lengths.clear()
    stack = progress.stack
    batches = drawn(stack, rows, recipe, context, progress.order)
    loss = train_epoch(stack, batches, progress.optimizer, recipe, context)
    progress.n_epochs += 1  # one that diverged does not count
    progress.loss_curve.append(loss)
    value = -loss
    if watch.validate is not None:
        value = watch.validate()
        progress.scores.append(value)
    if watch.verbose:
        print(f"Epoch {progress.n_epochs}, loss = {loss:.8f}")
    if context.lengths is None:
        return stopper(value)
    shortest = float(torch.stack(context.lengths).min())
    enough = watch.validate is not None and stopper(value)
    return shortest <= watch.tol or enough


def _begins_again(progress: Progress, watch: Watch) -> bool:
    """Begin again where that is wanted; say what happens and return whether it does.

    A new beginning has all epochs before it: what is left of them, and of a schedule,
    would make a poor model.
    """
    happened = (
        "The loss or the weights became infinite or NaN in epoch "
        f"{progress.n_epochs + 1}: training "
    )
    again = watch.restart()
    if again:
        progress.n_epochs = 0
        progress.loss_curve.clear()
        progress.scores.clear()
        happened += "begins again with new weights and a tenth of the step size."
    else:
        happened += (
            "ended with the weights before it. Try a smaller learning_rate_init or "
            "scaled inputs."
        )
    warnings.warn(happened, ConvergenceWarning, stacklevel=7)
    return again


class _Stopper:
    """Early stopping; with a validation score it keeps the best networks."""

    def __init__(self, watch: Watch, stack: Any):
        self.watch, self.stack = watch, stack
        self.best, self.waited = -np.inf, 0
        # buffers as well: weights without them are another network
        self.kept = [] if watch.validate is None else _copies(stack)

    def __call__(self, value: float) -> bool:
        """Whether ``value`` (higher is better) says that training should end."""
        if value > self.best and self.kept:
            self.kept = _copies(self.stack)
        tol, patience = self.watch.tol, self.watch.patience
        self.waited = self.waited + 1 if value < self.best + tol else 0
        self.best = max(self.best, value)
        return patience is not None and self.waited >= patience

    def restore(self) -> None:
        """Go back to the best networks, where a validation score found them."""
        if np.isfinite(self.best):
            for tensor, kept in zip(self.stack.memory(), self.kept, strict=False):
                tensor.copy_(kept)


def _copies(stack: Any) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in stack.memory()]
