"""Rows with weights: one order that depends on nothing but the rows themselves.

Blocks, starts and sums that follow this order give the same numbers whatever the
order of the input, and treat a row of integer weight as that many equal rows.
"""

from __future__ import annotations

import numpy as np

from .._keys import row_keys

FAR = 1e30  # typical entries; one further out counts as this far: squares are numbers


def typical_entries(X: np.ndarray) -> np.ndarray:
    """Median positive entry of each column; every column has one."""
    return np.array([np.median(x[x > 0]) for x in X.T])


def bounded(X: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Move entries beyond `FAR` typical positive ones of their column there.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Non-negative.
    typical : ndarray of shape (n_features,)
        See :func:`typical_entries`.
    """
    largest = X.max(axis=0, initial=0.0)
    gross = largest / FAR > typical
    return np.minimum(X, np.where(gross, FAR * typical, largest)) if gross.any() else X


def row_order(X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Order rows by their `row_keys`; equal rows become neighbours."""
    return np.argsort(row_keys(X, random_state), kind="stable")


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
