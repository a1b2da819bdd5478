"""Columns of discrete numbers: which they are, and how far apart their values lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._words import require

Array = NDArray[Any]


def discrete_columns(estimator: Any, name: str, X: Array) -> Array:
    """Return the indices of the columns that an estimator's parameter chooses.

    It is None, 'auto' (the columns of whole numbers), indices or a boolean mask.
    """
    columns, d = getattr(estimator, name), X.shape[1]
    if columns is None:
        return np.arange(0)
    if isinstance(columns, str) and columns == "auto":
        return np.flatnonzero((X == np.round(X)).all(0))
    try:
        columns = np.asarray(columns)
    except ValueError:  # ragged
        columns = np.empty((0, 0))
    if columns.shape == (0,):
        return np.arange(0)
    if columns.dtype == bool and columns.shape == (d,):
        return np.flatnonzero(columns)
    ok = columns.dtype.kind in "iu" and columns.ndim == 1
    ok = ok and ((columns >= -d) & (columns < d)).all()
    expected = f"'auto', None, indices or a boolean mask of {d} columns"
    require(estimator, name, bool(ok), expected)
    return columns


def smallest_gaps(X: Array, chosen: Array, scale: Array) -> Array:
    """Smallest distance between the values of each chosen column, 0 for others.

    Far below the scale of its column a distance is rounding: 0.1 * 3 is not 0.3.
    """
    rounding = (1e-6 if X.dtype == np.float32 else 1e-9) * scale
    widths = np.zeros(X.shape[1])
    for j in chosen:
        gaps = np.diff(np.unique(X[:, j]).astype(np.float64))
        gaps = gaps[gaps > rounding[j]]
        widths[j] = gaps.min() if len(gaps) else 0.0
    return widths
