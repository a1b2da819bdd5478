"""Scaling that knows columns in one unit, such as pixels, by their common range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ._scaling import InputScaler

Array = NDArray[Any]

_DIGITS = 5  # to which ends of ranges agree: scaling beforehand rounds them


@dataclass
class UnitScaler(InputScaler):
    """Scales like `InputScaler`, but columns in one unit by one number.

    Most columns of a table that have the same smallest and the same largest value are
    in one unit: pixels, answers on one scale, indicators. Columns with one of these
    ends and no value beyond them are too, though they seldom leave it. Their common
    scale is the root of their mean variance. By its own a pixel that is seldom lit
    would weigh as much as ten others in the few rows that have it, and networks would
    know wrong labels by it.

    Values outside the fences, which may be gross, count for no range.

    Attributes
    ----------
    low, high : ndarray of shape (d,)
        Smallest and largest value of each column.
    shared : ndarray of shape (d,), or None
        Whether a column is in the common unit. None: no column is.
    """

    ABOUT: ClassVar[str] = """ Where most columns have the same smallest and the same
    largest value (pixels, ratings, indicators) they are in one unit and share one
    scale: by its own a column that seldom leaves one end would be blown up, and wrong
    targets known by it."""

    low: Array | None = None
    high: Array | None = None
    shared: Array | None = None

    @classmethod
    def _fit_within(
        cls, X: Array, weights: Array, center: Array, low: Array, high: Array
    ) -> UnitScaler:
        scaler: Any = super()._fit_within(X, weights, center, low, high)
        scaler._know(*_ends(X, low, high))
        return scaler

    def _know(self, low: Array, high: Array) -> None:
        self.low, self.high, self.shared = low, high, in_one_unit(low, high)

    def merge(self, other: Any) -> UnitScaler:
        """Combine two parts of a table."""
        merged: Any = super().merge(other)
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        merged._know(low, high)
        return merged

    @property
    def scale(self) -> Array:
        """Standard deviation of each column, in a common unit that of all of them."""
        scale = super().scale
        if self.shared is not None and self.shared.any():
            spread = self.variance[self.shared]
            varying = spread[spread > 0]
            if len(varying):  # divided first: the sum of the largest is no number
                scale[self.shared] = np.sqrt((varying / len(varying)).sum())
        return scale


def _ends(X: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Return the smallest and the largest value of each column within fences."""
    smallest, largest = X.min(0).astype(np.float64), X.max(0).astype(np.float64)
    for j in np.flatnonzero((smallest < low) | (largest > high)):
        x = X[:, j]
        inside = x[(x >= low[j]) & (x <= high[j])]
        if len(inside):
            smallest[j], largest[j] = inside.min(), inside.max()
    return smallest, largest


def in_one_unit(low: Array, high: Array) -> Array:
    """Mask of the columns that share the unit of most.

    Parameters
    ----------
    low, high : ndarray of shape (d,)
        Smallest and largest value of each column.

    Returns
    -------
    ndarray of shape (d,)
    """
    mantissa, exponent = np.frexp(np.stack([low, high], axis=1))
    ends = np.ldexp(np.round(mantissa, _DIGITS), exponent)
    varies = high > low
    pairs, counts = np.unique(ends[varies], axis=0, return_counts=True)
    if not len(counts) or 2 * counts.max() <= varies.sum():
        return np.zeros(len(low), dtype=bool)
    bottom, top = pairs[counts.argmax()]
    first, last = ends.T
    within = (first >= bottom) & (last <= top)
    mask: Array = within & ((first == bottom) | (last == top))
    return mask
