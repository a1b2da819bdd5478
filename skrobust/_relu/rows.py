"""Rows with weights: one order that depends on nothing but the rows themselves.

Blocks, starts and sums that follow this order give the same numbers whatever the
order of the input, and treat a row of integer weight as that many equal rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_CHUNK = 1 << 17  # entries hashed at once: a chunk that stays in the cache


def row_order(X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Order rows by their `row_keys`; equal rows become neighbours."""
    return np.argsort(row_keys(X, random_state), kind="stable")


def row_keys(X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Hash rows by their values, with a salt.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        The rows. Read in chunks, never copied as a whole.
    random_state : RandomState
        Source of the salt.

    Returns
    -------
    ndarray of shape (n_samples,), uint64
        The same for equal rows, spread evenly over all 64-bit numbers.
    """
    bits = np.dtype(f"u{X.dtype.itemsize}")
    draws = random_state.randint(0, 2**63 - 1, size=X.shape[1], dtype=np.int64)
    salt = (draws.astype(np.uint64) << np.uint64(1)) | np.uint64(1)
    keys = np.empty(X.shape[0], dtype=np.uint64)
    step = max(1, _CHUNK // max(1, X.shape[1]))
    for start in range(0, X.shape[0], step):
        # Adding zero turns -0.0 into 0.0: equal values must share one key.
        part = np.ascontiguousarray(X[start : start + step] + X.dtype.type(0))
        words = part.view(bits).astype(np.uint64)
        # Round numbers have few bits set: spread them before they are added up.
        _mix(words)
        keys[start : start + step] = np.einsum("ij,j->i", words, salt)
    _mix(keys)
    return keys


def _mix(words: np.ndarray) -> None:
    """Spread the bits of 64-bit words, in place and one to one."""
    words ^= words >> np.uint64(32)
    words *= np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(29)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(32)


def collapse_rows(
    X: np.ndarray, weights: np.ndarray, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge equal rows and add up their weights.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows.
    weights : ndarray of shape (n_samples,)
        Positive weights.
    random_state : RandomState
        Source of the salt of the order.

    Returns
    -------
    rows : ndarray of shape (n_distinct, n_features), float64
        The distinct rows in the order of :func:`row_order`.
    totals : ndarray of shape (n_distinct,)
        The weight of each.
    inverse : ndarray of shape (n_samples,)
        For every input row its place in ``rows``.
    """
    order = row_order(X, random_state)
    rows = X[order].astype(np.float64, copy=False)
    first = np.ones(len(order), dtype=bool)
    for start in range(1, len(order), 4096):
        stop = min(start + 4096, len(order))
        different = rows[start:stop] != rows[start - 1 : stop - 1]
        first[start:stop] = different.any(axis=1)
    inverse = np.empty(len(order), dtype=np.intp)
    inverse[order] = np.cumsum(first) - 1
    totals = np.add.reduceat(weights[order], np.flatnonzero(first))
    if not first.all():
        rows = rows[first]
    return rows, totals, inverse


def weighted_quantile(
    x: np.ndarray, weights: np.ndarray, levels: ArrayLike
) -> np.ndarray:
    """Quantiles of one weighted column (smallest value that reaches the level)."""
    order = np.argsort(x, kind="stable")
    mass = np.cumsum(weights[order])
    place = np.searchsorted(mass, np.asarray(levels) * mass[-1])
    return x[order][np.minimum(place, len(x) - 1)]
