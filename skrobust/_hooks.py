"""What a method and a task say about themselves; everything else is shared."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ._batch import Rows
from ._blocks import REPEATS
from ._border import target_keys
from ._building import build_stack
from ._keys import all_differ
from ._params import check_network
from ._progress import Progress
from ._scaling import InputScaler
from ._train import Recipe
from ._words import is_share
from .criteria import Loss, as_loss

Array = NDArray[Any]

BATCH = 256  # rows, where nothing is said
DECAY = 1.0  # decoupled, where nothing is chosen
HEAVY = 0.05  # of a batch: rows of one kind that may all be in one
IN_MEMORY = 2**30  # bytes of X above which rows are read batch by batch

Fitted = dict[str, Any]  # attributes by name


class Call(NamedTuple):
    """How a fit was called."""

    resume: bool  # there is an earlier fit to go on from
    partial: bool
    classes: Any


class Hooks:
    """What `NetBase` asks its subclasses, with the usual answers."""

    _named_networks: tuple[str, ...] = ()  # strings that `network` may be

    # -- what a method declares --------------------------------------------------
    _input_scaler = InputScaler  # scales inputs and comes back from a stored state
    # counts that may be "auto", and what they are then
    _automatic = {"batch_size": f"{BATCH}, or all rows if these are fewer"}

    def _build(
        self, design: dict[str, Any], seed: int, dtype: torch.dtype, device: Any
    ) -> Any:
        """Build the networks of a design with fresh weights."""
        return build_stack(design, seed, dtype, device)

    def _steps(self) -> tuple[Any, ...]:
        return tuple(self.steps)

    def _clips(self) -> bool:
        """Whether gradients are clipped where ``clip_norm`` is "auto"."""
        return False

    def _epochs(self, X: Array, target: Any, n_batches: int) -> int:
        """Largest number of epochs, of so many batches."""
        return self.max_iter

    def _steps_within(self, n_epochs: int, n_batches: int) -> tuple[Any, ...]:
        """Return the steps of a method whose schedule depends on how long it trains."""
        return self._steps()

    def _verdict(self) -> tuple[Any, ...] | None:
        """Return the steps that say who is trusted in the end; None: those trained."""
        return None

    def _networks(self) -> int:
        return self.n_networks

    def _by_change(self) -> bool:
        """Whether training ends with a short step instead of a flat loss."""
        return False

    def _loss(self) -> Loss:
        return as_loss(self.criterion)

    def _check_params(self) -> None:
        check_network(self)
        self._loss()

    def _layers(self, n_features: int, n_outputs: int) -> tuple[int, ...]:
        hidden = np.ravel(self.hidden_layer_sizes).astype(int).tolist()
        return (n_features, *hidden, n_outputs)

    # -- what a task declares ----------------------------------------------------
    def _X_options(self) -> dict[str, Any]:
        """Options of validate_data about X."""
        allow_nd = callable(self.network)
        return {"dtype": [np.float64, np.float32], "allow_nd": allow_nd}

    def _needs_y(self) -> bool:
        return True

    def _y_options(self) -> dict[str, Any]:
        """Options of validate_data about y."""
        return {}

    def _learn_targets(self, X: Array, y: Any, weights: Array, call: Call) -> Fitted:
        """Return fitted attributes about the targets."""
        raise NotImplementedError

    def _encode(self, y: Any, about: dict[str, Any]) -> Any:
        """Targets as the loss wants them, an array or None."""
        raise NotImplementedError

    def _class_weights(self, y: Any, weights: Array, about: dict[str, Any]) -> Any:
        """Return factors for the weights of rows, not negative and not all zero."""
        return 1.0

    def _score_outputs(self, outputs: Array, target: Array, weights: Array) -> float:
        """Robust validation score of outputs (K, n, n_outputs)."""
        raise NotImplementedError

    def _auto_parts(self, X: Array, target: Any) -> int | None:
        """Batches an epoch if ``batch_size`` is "auto"; None: batches of BATCH rows."""
        return None

    def _batches(self, X: Array, target: Any, weights: Array) -> tuple[int, int | None]:
        """Rows of a batch; batches an epoch where they are shares of all weight."""
        size, parts = self.batch_size, None
        if is_share(size):
            # a hair less: a tenth makes ten batches, whatever the last digit
            parts = int(np.ceil(1 / size - 1e-9))
        elif size == "auto":
            size, parts = BATCH, self._auto_parts(X, target)
        parts = parts or _parts_by_weight(size, X, target, weights)
        return (min(size, len(X)) if parts is None else -(-len(X) // parts)), parts

    def _prepare(self, X: Array, weights: Array, resume: bool) -> tuple[Array, Array]:
        """Rows and weights to train with: 0 for rows that training is not to see."""
        return X, weights

    def _settle(
        self, rows: Rows, progress: Progress, recipe: Recipe, X: Array, partial: bool
    ) -> Recipe:
        """Settle what depends on the rows; called before training starts."""
        return recipe

    def _finish(self, X: Array, weights: Array) -> None:
        """Compute further fitted attributes from the rows and weights given."""


def epochs_of(n_steps: int, n_batches: int, least: int) -> int:
    """Epochs that take at least so many steps: where rows are few, one takes few."""
    return max(least, -(-n_steps // n_batches))


def _parts_by_weight(size: int, X: Array, target: Any, weights: Array) -> int | None:
    """Batches an epoch for repeated rows to act like weights; None: none are."""
    whole = X.nbytes <= IN_MEMORY and (weights == np.round(weights)).all()
    rows = weights.sum()
    if not whole or not size < rows <= REPEATS * len(X):
        return None
    if weights.max() <= 1 and all_differ(X):
        return None
    place = np.unique(target_keys(X, target), return_inverse=True)[1]
    heaviest = np.bincount(place, weights).max()
    # equal rows share a batch: rows by number are drawn faster, and where there are
    # many of one kind no batch should get them all
    return int(-(-rows // size)) if 1 < heaviest <= HEAVY * size else None


def count_distinct(X: Array, target: Any) -> int:
    """Rows without repeats: a row given twice is to act like a weight of two."""
    return len(X) if all_differ(X) else len(np.unique(target_keys(X, target)))
