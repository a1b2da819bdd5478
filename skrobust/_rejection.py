"""Which rows a first look would reject: folds, scales of residuals, thresholds.

Everything counts weight and not rows, so that a weight of two is a row given twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._keys import row_keys
from ._scaling import weighted_quantile

Array = NDArray[Any]

FALSE_SHARE = 0.1  # of the rejected weight that "auto" expects to be good
WINDOW = 70.0  # weight from which a local scale is read, at least
MOST_WINDOWS = 5
_NORMAL = 1.4826  # the median absolute deviation of normal values, inverted


def distinct_rows(X: Any, y: Array, seed: int) -> Array:
    """Give each distinct row of (X, y) a number, whatever their order.

    Parameters
    ----------
    X : array-like of shape (n, ...)
        Numbers, strings or both; rows of a sparse matrix all count as distinct.
    y : ndarray of shape (n,) or (n, n_outputs)
        Numbers.
    seed : int

    Returns
    -------
    ndarray of shape (n,)
    """
    n = len(y)
    table = np.arange(n)[:, None]
    if not hasattr(X, "tocsr"):
        table = np.asarray(X).reshape(n, -1)
        if table.dtype.kind not in "fiub":
            columns = (np.asarray(column, dtype=str) for column in table.T)
            codes = [np.unique(column, return_inverse=True)[1] for column in columns]
            table = np.column_stack(codes)
    rows = np.column_stack([table, y]).astype(np.float64)
    # a stream of its own: the caller's seed may have dealt the wrong rows too
    salt = np.random.RandomState([seed % 2**32, 1618033988])
    return np.unique(row_keys(rows, salt), return_inverse=True)[1]


def deal_folds(rows: Array, kinds: Array, weights: Array, n_folds: int) -> Array:
    """Deal distinct rows to folds of equal weight, in each kind of row.

    Parameters
    ----------
    rows : ndarray of shape (n,)
        Numbers of the distinct rows, from `distinct_rows`.
    kinds : ndarray of shape (n,)
        What is to be spread evenly, such as a class.
    weights : ndarray of shape (n,)
        Positive.
    n_folds : int

    Returns
    -------
    ndarray of shape (n,)
        The fold of each row; -1 for the only distinct row of its kind, which is to
        be trained on always. The rest of a kind never falls into one fold.
    """
    folds = np.empty(len(rows), dtype=int)
    for kind in np.unique(kinds):
        here = np.flatnonzero(kinds == kind)
        _, order = np.unique(rows[here], return_inverse=True)
        mass = np.bincount(order, weights[here])
        middle = (np.cumsum(mass) - mass / 2) / mass.sum()
        fold = np.minimum(n_folds * middle, n_folds - 1).astype(int)
        folds[here] = fold[order] if len(mass) > 1 else -1
    return folds


def robust_scale(residuals: Array, predicted: Array, weights: Array) -> Array:
    """Scale of each residual: that of all, or of those with like predictions if larger.

    Errors often grow with what is predicted. Against one scale for all, good rows
    where errors are large would look like wrong ones.

    Parameters
    ----------
    residuals, predicted, weights : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
        1.4826 times medians of absolute residuals, positive.
    """
    size = np.abs(residuals)
    overall = _median(size, weights)
    if overall == 0:  # more than half are met exactly
        top = size.max() or 1.0
        overall = top * np.average(size / top, weights=weights) or 1.0
    values, place = np.unique(predicted, return_inverse=True)
    mass = np.bincount(place, weights)
    ends = np.cumsum(mass)
    n_windows = int(np.clip(ends[-1] // WINDOW, 1, MOST_WINDOWS))
    if n_windows == 1:
        return np.full(len(size), _NORMAL * overall)
    # the mass of each row that lies in each window: rows at a border count in part
    borders = np.linspace(0, ends[-1], n_windows + 1)
    start, share = (ends - mass)[place], weights / mass[place]
    local = []
    for low, high in zip(borders[:-1], borders[1:], strict=True):
        inside = np.minimum(start + mass[place], high) - np.maximum(start, low)
        part = np.clip(inside, 0, None) * share
        local.append(_median(size[part > 0], part[part > 0]))
    middles = (borders[:-1] + borders[1:]) / 2
    here = np.interp((ends - mass / 2)[place], middles, local)
    return _NORMAL * np.maximum(overall, here)


def _median(values: Array, weights: Array) -> float:
    return float(weighted_quantile(values[:, None], 0.5, weights)[0, 0])


def auto_threshold(scores: Array, weights: Array, n_outputs: int = 1) -> float:
    """Smallest score to reject so that few of the rejected rows should be good.

    Half of the good residuals lie within their median. Of the rest, half are taken to
    lie within each further median: the tails of Laplace's distribution. Then
    Benjamini and Hochberg's procedure applies: of what is rejected, a tenth are good
    rows by expectation.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Absolute residuals in robust scales, the largest of the outputs.
    weights : ndarray of shape (n,)
    n_outputs : int, default=1

    Returns
    -------
    float
        Infinity if nothing is to be rejected.
    """
    chance = np.minimum(1.0, n_outputs * 0.5 ** np.minimum(_NORMAL * scores, 1000))
    fails = chance * weights.sum() <= FALSE_SHARE * weight_at_least(scores, weights)
    return float(scores[fails].min()) if fails.any() else np.inf


def weight_at_least(scores: Array, weights: Array) -> Array:
    """Weight of the rows whose score is at least that of each row."""
    values, place = np.unique(-scores, return_inverse=True)
    return np.cumsum(np.bincount(place, weights, len(values)))[place]


def reject(
    scores: Array, weights: Array, kinds: Array, threshold: float, most: float
) -> Array:
    """Mask of the rows that reach the threshold, the highest scores if too many do.

    Of no kind of row a larger share of weight than ``most`` is rejected. Equal scores
    are rejected together or not at all.

    Parameters
    ----------
    scores, weights, kinds : ndarray of shape (n,)
    threshold, most : float
    """
    rejected = scores >= threshold
    for kind in np.unique(kinds):
        here = kinds == kind
        limit = most * weights[here].sum() * (1 + 1e-12)
        rejected[here] &= weight_at_least(scores[here], weights[here]) <= limit
    return rejected
