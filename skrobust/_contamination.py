"""From scores to decisions: thresholds, rows held out, conformal p-values.

Scores are those of `score_samples`: the higher, the more normal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._keys import row_keys, unit_keys
from ._scaling import robust_spread, weighted_quantile

Array = NDArray[Any]

EPSILON = 0.1  # what training leaves out where nothing is known of contamination
REPEATS = 16  # repetitions of each row, on average, beyond which rows are not split
KEYS = 2**20  # rows in all that are always drawn one by one
ROUNDING = {8: 1e-9, 4: 1e-5}  # by bytes of a number: what may be mere rounding


def in_rows(weights: Array) -> Array:
    """Rescale weights so that they count rows.

    Weights that are whole numbers do so as they are; of others the mean positive one
    is one row, so their unit does not matter.

    Parameters
    ----------
    weights : ndarray of shape (n,), non-negative, not all zero
    """
    if (weights == np.round(weights)).all():
        return weights
    return weights / weights[weights > 0].mean()


def repeats(weights: Array, most: int = 0) -> NDArray[np.int64]:
    """Say how often each row is given.

    Weights that are whole numbers say so, up to 16 times on average; of others each
    positive one is one row.

    Parameters
    ----------
    weights : ndarray of shape (n,), non-negative
    most : int
        Rows in all that whole numbers may always stand for.
    """
    there = (weights > 0).astype(np.int64)
    whole = (weights == np.round(weights)).all()
    if whole and weights.sum() <= max(REPEATS * there.sum(), most):
        return weights.astype(np.int64)
    return there


def _slack(at: Any, scores: Array, weights: Array, rounding: float) -> Any:
    """Return what scores may differ by and still count as equal to ``at``.

    Scores may be differences of larger numbers, so that their spread matters too.
    """
    low, high = weighted_quantile(scores[:, None], [0.25, 0.75], weights)[:, 0]
    size = np.maximum(np.abs(at), high - low)
    return rounding * np.maximum(size, np.finfo(float).tiny)


def threshold(
    scores: Array, weights: Array, contamination: float, rounding: float = ROUNDING[8]
) -> float:
    """Return a threshold that floor(contamination * n) of the rows lie below.

    Equal scores cannot be told apart: where the boundary runs through a group of
    them, the whole group stays above.

    Parameters
    ----------
    scores, weights : ndarray of shape (n,)
        Rows are counted by their weights, see `in_rows`.
    contamination : float in [0, 0.5]
    rounding : float
        How far, relatively, below all scores the threshold is that no row lies below.
    """
    order = np.argsort(scores, kind="stable")
    ranked, mass = scores[order], np.cumsum(in_rows(weights)[order])
    # a hair more: 0.29 * 100 is 28.999999999999996
    hair = 1 + 1e-12
    cut = np.floor(contamination * mass[-1] * hair)
    at = min(np.searchsorted(mass, cut * hair, side="right"), len(ranked) - 1)
    here = ranked[at]
    # a count is exact however near scores are, unless they are equal
    lower = ranked[ranked < _below(here, _slack(here, scores, weights, ROUNDING[8]))]
    if len(lower):  # the middle of the gap, which rounding hardly ever crosses
        return float(here / 2 + lower[-1] / 2)
    return _below(here, _slack(here, scores, weights, rounding))


def automatic_threshold(
    scores: Array, weights: Array, rounding: float = ROUNDING[8]
) -> float:
    """Return the median score minus three robust standard deviations.

    Where more than half of the scores are equal, the deviation is that of the others.
    Follows any shift and scaling of the scores, so errors, log densities and sums of
    standardised losses are judged alike.

    Parameters
    ----------
    scores, weights : ndarray of shape (n,)
    rounding : float
    """
    column = scores[:, None]
    center = weighted_quantile(column, [0.5], weights)
    spread = robust_spread(np.abs(column - center), weights)
    return _below(center[0, 0], max(3 * spread.item(), rounding * abs(center.item())))


def _below(value: float, slack: float) -> float:
    """Subtract, but stay finite: scores may be the lowest number there is."""
    lowest = float(np.finfo(np.float64).min)
    return lowest if value < lowest + slack else float(value - slack)


def held_out(X: Array, weights: Array, fraction: float) -> Array:
    """Choose rows by a hash of their values, about a fraction of them.

    Whether a row is chosen depends on the row alone, so a row that one call of
    ``partial_fit`` holds out no other call trains on. Of equal rows each is drawn for
    itself: held together, few different ones would be no sample of all. Weights that
    are whole numbers count as so many equal rows.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
    weights : ndarray of shape (n,)
        Non-negative.
    fraction : float in [0, 1)

    Returns
    -------
    ndarray of shape (n,)
        What is held out of each row's weight.
    """
    if fraction == 0:
        return np.zeros(len(X))
    rows = X.reshape(len(X), -1).astype(np.float64, copy=False)
    counts = repeats(weights, KEYS)
    keys = row_keys(rows, np.random.RandomState(0))
    row, unit = unit_keys(keys, counts)
    chosen = np.bincount(row, unit < fraction * 2.0**64, len(X))
    return chosen * (weights / np.maximum(counts, 1))


def conformal_p_values(
    scores: Array, known: Array, weights: Array, rounding: float = ROUNDING[8]
) -> Array:
    """Rank scores among those of rows that training has not seen.

    Parameters
    ----------
    scores : ndarray of shape (n,)
    known, weights : ndarray of shape (m,)
        Scores and weights of the calibration rows, which `in_rows` counts.
    rounding : float
        Scores nearer than this, relatively, count as equal.
    """
    order = np.argsort(known, kind="stable")
    mass = np.concatenate([[0.0], np.cumsum(in_rows(weights)[order])])
    slack = _slack(scores, known, weights, rounding)
    below = np.searchsorted(known[order], scores + slack, side="right")
    return (mass[below] + 1) / (mass[-1] + 1)
