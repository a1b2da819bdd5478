"""Aggregates of the rows' losses that a few gross ones cannot move."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import column_or_1d

from ._words import is_count, is_number, parameter_error

RandomState = int | np.random.RandomState | None

# Integer weights mean repeated rows; where they are huge, memory has to end somewhere.
_MAX_PIECES = 2**20
N_DEALS = 20  # medians of five blocks that are averaged


def trimmed_mean(values: Any, trim: float = 0.4, sample_weight: Any = None) -> float:
    """Mean of the values without the largest ones.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Losses, say. NaN and infinities of either sign count as +inf, the largest.
    trim : float, default=0.4
        Share of the total weight to drop from the top, in [0, 1). It should be at
        least the share of corrupted rows; dropping more costs little.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of rows. A weight of 2 is the row taken twice.

    Returns
    -------
    mean : float
        The mean over exactly a share ``1 - trim`` of the weight: the row on the border
        is kept in part. It is inf if non-finite values are among the kept ones.

    Raises
    ------
    ValueError
        If `trim` is not in [0, 1), or the weights are negative or all zero.

    Examples
    --------
    >>> from skrobust.metrics import trimmed_mean
    >>> trimmed_mean([1.0, 2.0, 3.0, 4.0, 1000.0], trim=0.2)
    2.5
    """
    if not is_number(trim) or not 0 <= trim < 1:
        expected = "a float in the range [0, 1)"
        raise parameter_error("trim", "trimmed_mean", expected, trim)
    values, mass = _check_values(values, sample_weight)
    mass = _near_one(mass)
    order = np.argsort(values, kind="stable")
    values, mass = values[order], mass[order]
    total = mass.sum()
    kept = np.clip((1 - trim) * total - (np.cumsum(mass) - mass), 0, mass)
    # Rounding must not keep a trace of a row that is dropped: its value may be inf.
    inside = kept > 4 * np.sqrt(len(mass)) * np.finfo(float).eps * total
    inside[0] = True
    return float(np.average(values[inside], weights=kept[inside]))


def median_of_means(
    values: Any,
    n_blocks: int | None = None,
    sample_weight: Any = None,
    random_state: RandomState = 0,
) -> float:
    """Median of the means of random blocks of the values.

    Fewer than half as many gross values as there are blocks cannot carry the result
    beyond the other values, however large they are.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Losses, say. NaN and infinities of either sign count as +inf.
    n_blocks : int, default=None
        Number of blocks, at most the number of rows. None makes a block of every two
        rows, which withstands a quarter of gross values at a small loss of precision.
        With 1 the result is the mean.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of rows. Integers mean rows taken so many times; such
        copies may go to different blocks. Others are shares of the total weight.
    random_state : int, RandomState instance or None, default=0
        Deals the values to blocks. An int, so that models are compared alike.

    Returns
    -------
    median : float
        The median of the block means; inf if half of the blocks hold non-finite
        values.

    Raises
    ------
    ValueError
        If `n_blocks` is not in [1, number of rows], or the weights are negative or
        all zero.

    Notes
    -----
    The values are dealt by rank: they are sorted first and then permuted by the seed.
    The blocks are as exchangeable as those of a random permutation of rows, yet the
    result does not depend on the order of rows, equals that of repeated rows where
    weights are integers, and never falls when a value rises.

    Examples
    --------
    >>> from skrobust.metrics import median_of_means
    >>> median_of_means([1.0, 1.0, 1.0, 1.0, 1000.0], n_blocks=3)
    1.0
    """
    return _median_of_blocks(values, n_blocks, sample_weight, random_state, None, 1)


def median_of_few_means(
    values: Any,
    n_blocks: int | None = None,
    sample_weight: Any = None,
    random_state: RandomState = 0,
) -> float:
    """Median of means, of 5 blocks if not said otherwise, averaged over deals.

    By default there is one block a row where rows are fewer. Errors of zero and one in
    few blocks have few medians: one deal calls models equal that are not, and others
    different by its luck.
    """
    return _median_of_blocks(values, n_blocks, sample_weight, random_state, 5, N_DEALS)


def _median_of_blocks(
    values: Any,
    n_blocks: int | None,
    sample_weight: Any,
    random_state: RandomState,
    usual: int | None,
    n_deals: int,
) -> float:
    """Average over deals to `n_blocks`; None: to at most `usual`, or half the rows."""
    values, mass = _check_values(values, sample_weight)
    values, mass, n_rows = _cut_into_pieces(values, mass)
    if n_blocks is None:
        n_blocks = max(1, n_rows // 2) if usual is None else min(usual, n_rows)
    if not is_count(n_blocks) or n_blocks > n_rows:
        expected = f"an int in the range [1, {n_rows}], the number of rows"
        raise parameter_error("n_blocks", "median_of_means", expected, n_blocks)
    random = check_random_state(random_state)
    medians = []
    for _ in range(n_deals):
        deal = random.permutation(len(values))
        dealt, weight = values[deal], mass[deal]
        end = np.cumsum(weight)
        # A piece belongs where its middle lies, whatever the rounding of the weights.
        middle = (2 * end - weight) * n_blocks / (2 * end[-1])
        block = np.minimum((middle + 1e-9).astype(np.intp), n_blocks - 1)
        sums = np.bincount(block, weights=weight * dealt)
        masses = np.bincount(block, weights=weight)
        medians.append(np.median(sums[masses > 0] / masses[masses > 0]))
    return float(np.mean(medians))


def _cut_into_pieces(
    values: np.ndarray, mass: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return pieces of about equal weight, sorted by value, and the number of rows.

    Only the weight that each distinct value has in total goes in, so neither the order
    of rows nor their repetition can matter.
    """
    whole = (mass == np.floor(mass)).all()
    values, group = np.unique(values, return_inverse=True)
    with np.errstate(over="ignore"):  # more than enough is enough
        n_rows = int(min(mass.sum() if whole else len(mass), _MAX_PIECES))
    mass = np.bincount(group, weights=_near_one(mass))
    count = np.ceil(mass * (n_rows / mass.sum()) - 1e-6).astype(np.intp).clip(1)
    return np.repeat(values, count), np.repeat(mass / count, count), n_rows


def _near_one(mass: np.ndarray) -> np.ndarray:
    """Scale weights, by a power of two and so exactly, to sums that are numbers."""
    return np.ldexp(mass, -np.frexp(mass.max())[1])


def _check_values(values: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the values and weights of the rows of positive weight."""
    values = check_array(
        values, dtype=np.float64, ensure_2d=False, ensure_all_finite=False
    )
    values = column_or_1d(values)
    values = np.where(np.isfinite(values), values, np.inf)
    if sample_weight is None:
        return values, np.ones(len(values))
    mass = column_or_1d(
        check_array(
            sample_weight,
            dtype=np.float64,
            ensure_2d=False,
            input_name="sample_weight",
        )
    )
    check_consistent_length(values, mass)
    if (mass < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`")
    if not mass.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return values[mass > 0], mass[mass > 0]
