"""What the displays share: axes, numbers that can be drawn, fitted attributes."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import check_scalar, column_or_1d
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

Array = NDArray[Any]

# Fallbacks such as the largest float say no more than "far". Up to here squares stay
# finite, and matplotlib's axes and contours (which end at 1e250) can show the number.
FAR = 1e100


class Display:
    """What the displays share: axes to draw on, and a name."""

    name: str | None = None

    def _called(self, name: str | None) -> str | None:
        """Return what this drawing is to be called: that of all, unless it has one."""
        return self.name if name is None else name

    def _start(self, ax: Any) -> Any:
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        self.ax_ = plt.subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        return self.ax_


def innermost(estimator: Any) -> Any:
    """Return the model of a search or at the end of a pipeline."""
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return innermost(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return innermost(estimator[-1])
    return estimator


def fitted(estimator: Any, attribute: str) -> Any:
    """Return an attribute of a fitted estimator, or say that it has none."""
    check_is_fitted(estimator)
    if not hasattr(estimator, attribute):
        raise ValueError(f"{type(estimator).__name__} has no {attribute} to draw.")
    return getattr(estimator, attribute)


def row_scores(estimator: Any, X: Any) -> Array:
    """Return ``score_samples(X)`` as floats."""
    check_is_fitted(estimator)
    if not hasattr(estimator, "score_samples"):
        raise ValueError(f"{type(estimator).__name__} has no score_samples to draw.")
    return np.asarray(estimator.score_samples(X), dtype=float)


def check_mask(mask: Any, name: str, example: str) -> Array:
    """Return a mask as booleans; refuse scikit-learn's +1 and -1, both of them true."""
    mask = np.asarray(mask)
    if mask.dtype == object:  # pandas keeps nullable booleans so
        mask = np.array(mask.tolist())
    mask = column_or_1d(mask)
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"{name} must hold booleans, or 0 and 1 only. Labels of another kind have "
            f"to be compared first, for instance {example!r}."
        )
    return mask.astype(bool)


def check_threshold(threshold: Any) -> float | None:
    """Return a threshold as a number; some detectors keep an array of one."""
    if threshold is None:
        return None
    if np.size(threshold) != 1:
        raise ValueError(
            f"threshold must be a single number, got shape {np.shape(threshold)}."
        )
    number = float(np.asarray(threshold).item())
    if np.isnan(number):
        raise ValueError("threshold must be a number, got NaN.")
    return number


def check_cuts(cuts: Any, name: str, least: int) -> int | Array:
    """Return a number of levels or bins, or the numbers that are given themselves."""
    if np.ndim(cuts) == 0:
        check_scalar(cuts, name, Integral, min_val=least)
        return int(cuts)
    numbers = np.asarray(cuts, dtype=float)
    rising = numbers.ndim == 1 and len(numbers) > 1 and (np.diff(numbers) > 0).all()
    if not rising or not np.isfinite(numbers).all():
        raise ValueError(
            f"{name} must be an int of at least {least}, or at least two increasing "
            f"numbers. Got {cuts!r} instead."
        )
    return numbers


def bounded(values: Any) -> Array:
    """Return numbers that can be drawn: those beyond ``FAR`` come to its edge."""
    return np.clip(np.asarray(values, dtype=float), -FAR, FAR)


def ordinary(values: Array) -> Array:
    """Return the numbers that tell something of the range to draw, all if none does."""
    known = values[np.abs(values) < FAR]
    return known if len(known) else bounded(values)


def widened(low: float, high: float, n: int) -> tuple[float, float]:
    """Return a range that n levels divide without rounding to each other."""
    least = 8 * n * np.spacing(max(abs(low), abs(high)))
    room = max(0.5, least) if high - low < least else 0.0
    return low - room, high + room
