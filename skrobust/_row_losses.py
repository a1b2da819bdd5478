"""Losses row by row, as robust scores average them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import column_or_1d


def zero_one(y_true: Any, y_pred: Any) -> np.ndarray:
    """Whether each row's label, or any of its labels, is wrong."""
    check_consistent_length(y_true, y_pred)
    unique_labels(y_true, y_pred)
    wrong = _columns(np.asarray(y_true)) != _columns(np.asarray(y_pred))
    return wrong.any(axis=1).astype(float)


def log_loss(y_true: Any, y_proba: Any, labels: Any = None) -> np.ndarray:
    """Minus the log of the probability that each row gave to its label."""
    y_true = column_or_1d(y_true)
    labels = np.unique(y_true) if labels is None else column_or_1d(labels)
    kinds = [np.float64, np.float32]
    proba = _numbers(y_proba, dtype=kinds, input_name="y_proba")
    check_consistent_length(y_true, proba)
    proba = _columns(proba)
    if proba.shape[1] == 1:
        proba = np.hstack([1 - proba, proba])
    if proba.shape[1] != len(labels):
        raise ValueError(
            f"y_proba has {proba.shape[1]} columns and there are {len(labels)} labels: "
            f"{labels}. Pass the classes of the columns as `labels`."
        )
    if (proba < 0).any() or (proba > 1).any():
        raise ValueError("y_proba contains values outside the range [0, 1]")
    is_label = y_true[:, None] == labels
    if not np.any(is_label):
        raise ValueError(f"y_true contains none of the labels {labels}")
    # A label that the model has never seen has probability zero.
    chosen = np.where(is_label, proba, 0).sum(axis=1)
    least = np.finfo(proba.dtype).eps
    return 0.0 - np.log(np.maximum(chosen, least), dtype=np.float64)


def squared_error(y_true: Any, y_pred: Any) -> np.ndarray:
    with np.errstate(over="ignore"):  # inf is what an overflow means here
        return np.mean(_residuals(y_true, y_pred) ** 2, axis=1)


def absolute_error(y_true: Any, y_pred: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.mean(np.abs(_residuals(y_true, y_pred)), axis=1)


def _residuals(y_true: Any, y_pred: Any) -> np.ndarray:
    y_true = _columns(check_array(y_true, dtype=np.float64, ensure_2d=False))
    y_pred = _columns(_numbers(y_pred, dtype=np.float64, input_name="y_pred"))
    check_consistent_length(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "y_true and y_pred have different number of output "
            f"({y_true.shape[1]}!={y_pred.shape[1]})"
        )
    return y_pred - y_true


def _numbers(y: Any, **options: Any) -> np.ndarray:
    """Return predictions as an array: infinite ones are bad, NaN ones are none."""
    y = check_array(y, ensure_2d=False, ensure_all_finite=False, **options)
    if np.isnan(y).any():
        raise ValueError(f"Input {options['input_name']} contains NaN.")
    return y


def _columns(y: np.ndarray) -> np.ndarray:
    return y.reshape(len(y), -1)
