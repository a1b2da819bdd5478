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

LEAST = 3.0  # scores below are never rejected: 0.3 % of normal ones lie above
SHAPES = 0.3, 0.6  # of the tail of good scores, see `read_tail`
ROUNDS = 10  # in which the scale of all rows becomes that of the kept ones
WINDOW = 70.0  # weight from which a local scale is read, at least
MOST_WINDOWS = 5
_NORMAL = 1.4826  # the median absolute deviation of normal values, inverted
_HALF = 1 / _NORMAL  # the median score
_NORMAL_REACH = 1.8627 - _HALF  # from it to the upper sixteenth of normal scores


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


def alike(opinion: Array, X: Any) -> Array:
    """Let equal rows have equal opinions, to the bit.

    What a model predicts of a row may differ in the last digits with the place of the
    row in a matrix product. Equal rows are to be rejected together or not at all.

    Parameters
    ----------
    opinion : ndarray of shape (n, n_columns)
        By one model.
    X : array-like of shape (n, ...)

    Returns
    -------
    ndarray of shape (n, n_columns)
        For each row the opinion of the first that equals it.
    """
    rows = distinct_rows(X, np.zeros(len(opinion)), 0)
    _, first, place = np.unique(rows, return_index=True, return_inverse=True)
    return opinion[first[place]]


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


def scores_of(
    residuals: Array, predicted: Array, weights: Array, kept: Any = True
) -> Array:
    """Largest absolute residual of each row in robust scales, over the outputs.

    Parameters
    ----------
    residuals, predicted : ndarray of shape (n, n_outputs)
    weights : ndarray of shape (n,)
    kept : ndarray of shape (n,) or True
        Rows from which the scales are read.
    """
    columns = zip(residuals.T, predicted.T, strict=True)
    return np.max([abs(r) / robust_scale(r, p, weights, kept) for r, p in columns], 0)


def robust_scale(
    residuals: Array, predicted: Array, weights: Array, kept: Any = True
) -> Array:
    """Scale of each residual: that of all, or of those with like predictions if larger.

    Errors often grow with what is predicted. Against one scale for all, good rows
    where errors are large would look like wrong ones.

    Parameters
    ----------
    residuals, predicted, weights : ndarray of shape (n,)
    kept : ndarray of shape (n,) or True
        Rows from which the scales are read.

    Returns
    -------
    ndarray of shape (n,)
        1.4826 times medians of absolute residuals, positive.
    """
    size, used = np.abs(residuals), weights * kept
    overall = _median(size, used)
    if overall == 0:  # more than half are met exactly
        top = size.max() or 1.0
        overall = top * np.average(size / top, weights=weights) or 1.0
    values, place = np.unique(predicted, return_inverse=True)
    mass = np.bincount(place, used)
    ends = np.cumsum(mass)
    n_windows = int(np.clip(ends[-1] // WINDOW, 1, MOST_WINDOWS))
    if n_windows == 1:
        return np.full(len(size), _NORMAL * overall)
    # the mass of each row that lies in each window: rows at a border count in part
    borders = np.linspace(0, ends[-1], n_windows + 1)
    start, share = (ends - mass)[place], used / np.where(mass > 0, mass, 1)[place]
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


def judge(residuals: Array, predicted: Array, weights: Array) -> tuple[Array, float]:
    """Scores of rows and the threshold, both as the rows below it would have them.

    Wrong rows widen the scale of all residuals: by 1.4 to 1.6 where a quarter is wrong.
    So the scale, the tail of the good scores and the threshold are found in turns,
    until the same rows are kept. The first turn takes the tail for Laplace's up to its
    sixteenth. A later turn that would reject nothing ends them: once far rows have
    shown that there are wrong ones, those left among the kept lengthen the tail.

    Parameters
    ----------
    residuals, predicted : ndarray of shape (n, n_outputs)
    weights : ndarray of shape (n,)

    Returns
    -------
    scores : ndarray of shape (n,)
    threshold : float
        Infinity if nothing is to be rejected.
    """
    kept, tail = np.ones(len(weights), dtype=bool), (SHAPES[0], 3 * _HALF)
    for turn in range(ROUNDS):
        new = scores_of(residuals, predicted, weights, kept)
        if turn > 0:
            tail = read_tail(new, weights * kept)
        limit = auto_threshold(new, weights, (weights * kept).sum(), tail)
        if turn > 0 and limit == np.inf:
            break
        scores, threshold = new, limit
        before, kept = kept, scores < threshold
        if (before == kept).all():
            break
    return scores, threshold


def read_tail(scores: Array, weights: Array) -> tuple[float, float]:
    """Shape of the tail of good scores, and how far its last eighth lies out.

    Above their median good scores are taken to have a generalized Pareto distribution,
    as exceedances usually have nearly. The upper fourth and sixteenth tell its shape
    (J. Pickands, "Statistical Inference Using Extreme Order Statistics", 1975, with
    other fractions). It is kept within `SHAPES`: what is no tail of 0.3 by these
    fractions may still have one farther out. So have the residuals of networks on
    concrete, airfoil, red wine and California housing, whose hardest good rows lie at
    6 to 15 medians, and to which a network owes most: five of them that were
    rejected cost a fifth to a third more error.

    Parameters
    ----------
    scores, weights : ndarray of shape (n,)
        Of the rows that are taken to be good.

    Returns
    -------
    shape, reach : float
        Reach is the distance of the upper sixteenth from the median, and no less than
        with normal residuals.
    """
    fourth, sixteenth = weighted_quantile(scores[:, None], [3 / 4, 15 / 16], weights)
    reach = float(sixteenth[0]) - _HALF
    ratio = reach / max(float(fourth[0]) - _HALF, 0.5 * _HALF)
    # with u = 2**shape the ratio is u * u + u + 1
    root = (np.sqrt(max(4 * ratio - 3, 1.0)) - 1) / 2
    shape = np.clip(np.log2(max(root, 1.0)), *SHAPES)
    return float(shape), max(reach, _NORMAL_REACH)


def auto_threshold(
    scores: Array, weights: Array, good: float, tail: tuple[float, float]
) -> float:
    """Score from which rejecting costs as many good rows as it removes wrong ones.

    Let ``S(t)`` be the share of the ``good`` weight that scores ``t`` or more. Of the
    weight ``N(t)`` that scores less, ``N(t) - good (1 - S(t))`` is wrong. With the good
    weight that is rejected, ``good S(t)``, this makes ``N(t) + 2 good S(t)`` errors but
    for a constant, and the threshold makes them least: from there on rows are more
    than twice as many as good ones would be. In the empty room before gross errors it
    lies far out, by the first of these, so that hard good rows are safe. A few rows far
    out are rather good than wrong: where no threshold rejects more than twice as many
    rows as good ones would be, all are kept.

    Parameters
    ----------
    scores, weights : ndarray of shape (n,)
    good : float
        Weight of the rows that are taken to be good.
    tail : tuple
        From `read_tail`.

    Returns
    -------
    float
        At least `LEAST` and the median; infinity if nothing is to be rejected.
    """
    shape, reach = tail
    levels, place = np.unique(scores, return_inverse=True)
    mass = np.bincount(place, weights)
    below = np.cumsum(mass) - mass
    far = np.maximum(levels - _HALF, 0) / reach * (8**shape - 1)
    lost = good * 0.5 * (1 + far) ** (-1 / shape)
    errors = below + 2 * lost
    errors[(levels < LEAST) | (below < mass.sum() / 2)] = np.inf
    at = errors.argmin()
    return float(levels[at]) if errors[at] < mass.sum() else np.inf


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
