"""A key for each row that depends on nothing but the row's values.

What is drawn or ordered by such keys is the same whatever the order of the rows, and
treats a row of weight two as it treats two equal rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 17  # entries hashed at once: a chunk that stays in the cache
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MARKS = 4  # columns looked at before all are hashed


def all_differ(X: NDArray[Any]) -> bool:
    """Whether a glance at a few columns shows that no two rows are equal.

    False says nothing: the rows may differ elsewhere. Far quicker than `row_keys`
    where columns are continuous.
    """
    table = X.reshape(len(X), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        mark = np.zeros(len(X))
        for j in range(min(_MARKS, table.shape[1])):
            # by element, and not by a product of matrices: equal rows must come
            # out equal to the last digit wherever they stand
            mark = 0.7548776662466927 * mark + table[:, j]
    return len(np.unique(mark)) == len(X)


def row_keys(
    X: NDArray[Any], random_state: np.random.RandomState
) -> NDArray[np.uint64]:
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
    # without it a row of zeros would have the key zero, the smallest of all
    salted = salt[:1] * _ODD if len(salt) else np.zeros(1, np.uint64)
    keys = np.empty(X.shape[0], dtype=np.uint64)
    step = max(1, _CHUNK // max(1, X.shape[1]))
    for start in range(0, X.shape[0], step):
        # Adding zero turns -0.0 into 0.0: equal values must share one key.
        part = np.ascontiguousarray(X[start : start + step] + X.dtype.type(0))
        words = part.view(bits).astype(np.uint64)
        # Round numbers have few bits set: spread them before they are added up.
        _mix(words)
        keys[start : start + step] = np.einsum("ij,j->i", words, salt) + salted
    _mix(keys)
    return keys


def unit_keys(
    keys: NDArray[np.uint64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Give a key to each time that a row is given, which equal rows do not share.

    Parameters
    ----------
    keys : ndarray of shape (n,)
        Of the rows, see `row_keys`.
    counts : ndarray of shape (n,)
        How often each row is given.

    Returns
    -------
    row, key : ndarrays of shape (sum of counts,)
        Of each time. The keys are the same for a row given twice and two equal rows.
    """
    order = np.argsort(keys, kind="stable")
    row = np.repeat(order, counts[order])
    of_row = keys[row]
    number = np.arange(len(row)) - np.searchsorted(of_row, of_row)
    unit = of_row + number.astype(np.uint64) * _ODD
    _mix(unit)
    return row, unit


def _mix(words: NDArray[np.uint64]) -> None:
    """Spread the bits of 64-bit words, in place and one to one."""
    words ^= words >> np.uint64(32)
    words *= _ODD
    words ^= words >> np.uint64(29)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(32)
