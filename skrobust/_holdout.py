"""Rows to validate with: those given, or some held out of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import _border
from ._contamination import KEYS, repeats
from ._hooks import Hooks
from ._keys import unit_keys
from ._progress import Progress

Array = NDArray[Any]
Data = tuple[Any, ...]  # rows, targets, weights, and places among the rows given


class HoldOut(Hooks):
    """How a fit comes to rows that it does not train on."""

    def _given_validation(
        self, X_val: Any, y_val: Any, row_shape: tuple[int, ...], about: dict[str, Any]
    ) -> Data | None:
        """Return rows to validate with that the caller brings, if any."""
        if X_val is None and y_val is None:
            return None
        if X_val is None or (y_val is None and self._needs_y()):
            raise ValueError("X_val and y_val must be given together.")
        X_val, y_val = self._check_arrays(X_val, y_val, reset=False)
        _border.require_row_shape(X_val, row_shape)
        return X_val, self._encode(y_val, about), np.ones(len(X_val))

    def _validated(self, held_out: Data, progress: Progress) -> float:
        """Score networks on rows to validate with; the higher, the better."""
        X_val, target, weights = held_out
        outputs = self._apply(X_val, progress.stack, progress.scaler)
        return self._score_outputs(outputs, target, weights)

    def _hold_out(
        self, data: Data, progress: Progress, resume: bool
    ) -> tuple[Data, Data]:
        """Return a share of the rows to validate with, and what is left."""
        X, target, weights, used = data
        order = progress.order
        if resume:  # rows once held out are never trained on
            order = _border.make_generator(self._seed, stream=_border.ORDER)
        out = self._split(X, target, weights, order)
        left = weights - out
        held = rows_at(np.flatnonzero(out), X, target, out)
        return held, rows_at(np.flatnonzero(left), X, target, left, used)

    def _split(
        self, X: Array, target: Any, weights: Array, order: torch.Generator
    ) -> Array:
        """Return what of each row's weight is held out to validate with.

        The order is that of salted keys, and a row of weight two stands in it twice.
        """
        counts = repeats(weights, KEYS)
        salt = int(torch.randint(2**31, (), generator=order, device="cpu"))
        keys = _border.target_keys(X, target, salt).view(np.uint64)
        row, unit = unit_keys(keys, counts)
        held = self._drawn(row[np.argsort(unit, kind="stable")], target)
        return np.bincount(held, minlength=len(X)) * (weights / np.maximum(counts, 1))

    def _drawn(self, rows: Array, target: Any) -> Array:
        """Choose from rows in random order those to hold out."""
        n = len(rows)
        n_out = max(1, round(self.validation_fraction * n))
        if n - n_out < 1:
            raise ValueError(
                f"early_stopping with validation_fraction={self.validation_fraction} "
                f"leaves no row to train on: n_samples = {n}."
            )
        return rows[:n_out]


def rows_at(index: Array, *arrays: Any) -> tuple[Any, ...]:
    """Return some rows of each array; all of them as they are, which copies no map."""
    if len(index) == len(arrays[0]):
        return arrays
    return tuple(None if array is None else array[index] for array in arrays)
