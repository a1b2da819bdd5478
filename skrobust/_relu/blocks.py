"""Blocks of positive entries: their size, their means, and the filter over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._scaling import weighted_quantile

_COLUMNS = 64


def block_size(contamination: float) -> int:
    """Largest block that is free of outliers two times in three.

    More than half of the blocks have to be clean; at hardly more than half, the
    median of all blocks is the largest of the clean ones, which errs as much as an
    outlier. Two thirds was the best of six shares tried.

    Parameters
    ----------
    contamination : float
        Share of outliers among the entries cut into blocks, in [0, 0.5).

    Returns
    -------
    int
        From 1 to 1000; larger blocks gain nothing.

    Raises
    ------
    ValueError
        If even a block of one entry is an outlier half the time.

    Examples
    --------
    >>> block_size(0.02), block_size(0.095), block_size(0.18), block_size(0.33)
    (20, 4, 2, 1)
    """
    if contamination >= 0.5:
        raise ValueError(
            "No block is small enough: half or more of the positive entries may be "
            f"outliers (share {contamination:.3g}), so most blocks hold one."
        )
    if contamination <= 0:
        return 1000
    return int(np.clip(np.log(2 / 3) / np.log1p(-contamination), 1, 1000))


@dataclass(frozen=True)
class Columns:
    """What one pass over the positive entries of each column yields.

    ``scale`` is a robust unit, ``centre`` the median in that unit, ``moments`` the
    filtered means of x and x^2 in that unit, shape (2, n_features).
    """

    scale: np.ndarray
    centre: np.ndarray
    moments: np.ndarray


def block_numbers(
    n_positive: np.ndarray, total: float, n_batches: int | str, contamination: float
) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of each column, from the share of outliers among its positives.

    Returns
    -------
    n_blocks : ndarray of shape (n_features,), int
    crowded : ndarray of shape (n_features,), bool
        Columns where no block is small enough; theirs have one entry each.
    """
    if n_batches != "auto":
        n_blocks = np.full(len(n_positive), int(n_batches))
        return n_blocks, np.zeros(len(n_positive), dtype=bool)
    share = contamination * total / n_positive
    sizes = np.array([block_size(min(s, 0.4999)) for s in share])
    return np.maximum(n_positive / sizes, 1.0).astype(int), share >= 0.5


def summarise_columns(
    X: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    n_blocks: np.ndarray,
    *,
    filter: str | None,
    trim: float,
) -> Columns:
    """Filter the block means of ``(x, x^2)`` over the positive entries (equation 7).

    Blocks hold equal weight. A row on the border of two blocks belongs to both by
    parts, so that integer weights act as repeated rows. Unit and centre come from
    the lower half of the positive entries, where outliers above the bulk reach
    last: ``(median - lower quartile) / 0.49`` is within a factor 1.4 of sigma for
    every ``b >= 0``.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Non-negative rows; every column has a positive entry.
    order : ndarray of shape (n_samples,)
        The order in which blocks are cut.
    weights : ndarray of shape (n_samples,)
        Weight of each row in that order.
    n_blocks : ndarray of shape (n_features,), int
        Number of blocks of each column.
    filter : {"median", "trimmed_mean", None}
        How the blocks are combined; None takes their mean.
    trim : float
        Share of the blocks dropped at each end by the trimmed mean.

    Returns
    -------
    Columns
    """
    d = X.shape[1]
    plain = bool(np.all(weights == 1.0))
    quartiles, moments = np.ones((2, d)), np.ones((2, d))
    for start in range(0, d, _COLUMNS):
        # Gathering a strip of columns once beats strided access column by column.
        strip = X[:, start : start + _COLUMNS][order].T.astype(np.float64, order="C")
        for j, column in enumerate(strip, start):
            positive = column > 0
            x = column[positive]
            w = None if plain else weights[positive]
            moments[:, j] = _filtered(x, w, int(n_blocks[j]), filter, trim)
            quartiles[:, j] = _lower_half(x, w)
    low, middle = quartiles
    scale = (middle - low) / 0.49
    scale = np.where(scale < 1e-6 * middle, middle, scale)
    return Columns(scale, middle / scale, moments / np.stack([scale, scale**2]))


def _lower_half(x: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    """Lower quartile and median."""
    if w is not None:
        return weighted_quantile(x[:, None], (0.25, 0.5), w)[:, 0]
    places = [max(int(np.ceil(level * len(x))) - 1, 0) for level in (0.25, 0.5)]
    return np.partition(x, places)[places]


def _filtered(
    x: np.ndarray, w: np.ndarray | None, n_blocks: int, filter: str | None, trim: float
) -> np.ndarray:
    total = len(x) if w is None else w.sum()
    n_blocks = 1 if filter is None else max(1, min(n_blocks, round(total) or 1))
    blocks = np.stack([_block_means(v, w, n_blocks) for v in (x, x * x)])
    if filter == "median":
        return np.median(blocks, axis=1)
    blocks.sort(axis=1)
    drop = min(int(trim * n_blocks), (n_blocks - 1) // 2)
    return blocks[:, drop : n_blocks - drop].mean(axis=1)


def _block_means(x: np.ndarray, w: np.ndarray | None, n_blocks: int) -> np.ndarray:
    if w is not None:
        mass = np.concatenate([[0.0], np.cumsum(w)])
        sums = np.concatenate([[0.0], np.cumsum(w * x)])
        edges = np.linspace(0.0, mass[-1], n_blocks + 1)
        return np.diff(np.interp(edges, mass, sums)) / np.diff(edges)
    # Unit weights: the same sums without the running totals.
    edges = np.linspace(0.0, len(x), n_blocks + 1)
    whole = np.minimum(edges.astype(np.intp), len(x) - 1)
    part = (edges - whole) * x[whole]
    sums = np.add.reduceat(x, whole[:-1])
    sums[-1] -= x[whole[-1]]
    return (sums - part[:-1] + part[1:]) / np.diff(edges)
