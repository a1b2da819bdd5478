"""Robust, weighted scaling of inputs and targets at the border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._batch import BLOCK

Array = NDArray[Any]

CLIP = 10.0  # scaled inputs stay within +- this many standard deviations
FAR = 1e12  # and scaled targets within this: squares and gradients stay finite
_CODE = 20  # quartile ranges that no 10-to-90-percent range of measurements has
_HUGE = 1e153  # values count as no larger, so that squares are numbers
_SAMPLE = 4000  # rows that locate the fences of a large table


def weighted_quantile(values: ArrayLike, q: ArrayLike, weights: ArrayLike) -> Array:
    """Quantiles of each column: the smallest value that reaches the mass q.

    Integer weights act like repeated rows, exactly.

    Parameters
    ----------
    values : array-like of shape (n, d)
    q : array-like of shape (m,), in [0, 1]
    weights : array-like of shape (n,), non-negative, not all zero

    Returns
    -------
    ndarray of shape (m, d)
    """
    values, weights = np.asarray(values), np.asarray(weights, dtype=np.float64)
    q = np.atleast_1d(q)
    if (weights == weights[0]).all():  # then selecting is enough, and much faster
        at = np.ceil(q * len(values) * (1 - 1e-12)).astype(int) - 1
        at = np.maximum(at, 0)
        # sorting whole columns beats selecting from them: it is vectorised
        return np.sort(np.ascontiguousarray(values.T), axis=1)[:, at].T
    order = np.argsort(values, axis=0, kind="stable")
    mass = np.cumsum(weights[order], axis=0)
    out = np.empty((len(q), values.shape[1]), dtype=values.dtype)
    for j in range(values.shape[1]):
        # a hair below the exact mass: cumulated rounding must not skip a value
        at = np.searchsorted(mass[:, j], q * mass[-1, j] * (1 - 1e-12))
        out[:, j] = values[order[np.minimum(at, len(values) - 1), j], j]
    return out


def robust_spread(away: Array, weights: Array, level: float = 0.5) -> Array:
    """1.4826 times the median of each column of absolute deviations.

    Where more than half of them are zero, a quantile of the others, so that gross ones
    among them count for nothing; 0 where all are.

    Parameters
    ----------
    away : ndarray of shape (n, d)
    weights : ndarray of shape (n,)
    level : float, default=0.5
        Of that quantile.

    Returns
    -------
    ndarray of shape (d,)
    """
    spread = weighted_quantile(away, 0.5, weights)[0].astype(np.float64)
    for j in np.flatnonzero(spread == 0):
        there = away[:, j] > 0
        if there.any():
            some = away[there, j : j + 1]
            spread[j] = weighted_quantile(some, level, weights[there])[0, 0]
    return 1.4826 * spread


def _fences(X: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Return what lies between the fences of each column, and the fences, (d,)."""
    some: Any = slice(None)
    if len(X) > _SAMPLE:  # at random: every tenth row may be of one kind
        rng = np.random.default_rng(0)
        some = np.sort(rng.choice(len(X), _SAMPLE, replace=False, shuffle=False))
    known = weighted_quantile(X[some], [0.1, 0.25, 0.75, 0.9], weights[some])
    low, first, third, high = np.clip(known.astype(np.float64), -_HUGE, _HUGE)
    beyond, quartiles = 2 * (high - low), third - first
    # a code such as -999 that a tenth of the values has, or more
    code = (quartiles > 0) & (high - low > _CODE * quartiles)
    low, high = np.where(code, first, low), np.where(code, third, high)
    beyond = np.where(code, 4.25 * quartiles, beyond)
    # moments about a point inside the fences: nothing cancels in one pass
    center = low / 2 + high / 2
    for j in np.flatnonzero(beyond == 0):
        with np.errstate(over="ignore"):
            away = np.abs(X[:, [j]].astype(np.float64) - low[j])
            beyond[j] = 5 * robust_spread(away, weights)[0]
    low, high = np.maximum(low - beyond, -_HUGE), np.minimum(high + beyond, _HUGE)
    return center, low, high


@dataclass
class InputScaler:
    """Mean and spread of each column, from values inside generous fences.

    The fences lie two 10-to-90-percent ranges outside that range (6.4 standard
    deviations of normal data), so clean data are hardly ever touched while gross
    values cannot move mean or spread. A range of more than 20 quartile ranges is that
    of gross values itself; the quartiles then take its place. Where the range is
    nothing, as in rare indicators, fences lie five robust deviations of the other
    values away. Scaled values are clipped to +-10 standard deviations: a row far
    outside has bounded leverage.

    Attributes
    ----------
    mean, variance : ndarray of shape (d,)
    mass : float
        Weight of the rows seen, for merging.
    """

    ABOUT: ClassVar[str] = ""  # what the documentation of estimators adds

    mean: Array
    variance: Array
    mass: float

    @classmethod
    def fit(cls, X: Array, weights: Array) -> InputScaler:
        """Estimate from rows X (n, d) with positive weights (n,)."""
        return cls._fit_within(X, weights, *_fences(X, weights))

    @classmethod
    def _fit_within(
        cls, X: Array, weights: Array, center: Array, low: Array, high: Array
    ) -> InputScaler:
        mean = np.zeros(X.shape[1])
        square = np.zeros(X.shape[1])
        mass = weights.sum()
        for start in range(0, len(X), BLOCK):
            block = slice(start, start + BLOCK)
            share = weights[block] / mass
            z = np.clip(X[block].astype(np.float64), low, high)
            z -= center
            mean += share @ z
            z *= z
            square += share @ z
        variance = np.maximum(square - mean**2, 0.0)
        return cls(center + mean, variance, float(mass))

    def update(self, X: Array, weights: Array) -> InputScaler:
        """Combine with the statistics of further rows.

        Fewer of them than there were cannot tell what is gross by themselves: they are
        bounded by what is known.
        """
        if weights.sum() < self.mass:
            reach = CLIP * self.scale
            X = np.clip(X, self.mean - reach, self.mean + reach)
        return self.merge(self.fit(X, weights))

    def merge(self, other: InputScaler) -> InputScaler:
        """Combine two parts of a table."""
        total = self.mass + other.mass
        part = other.mass / total
        gap = other.mean - self.mean
        mean = self.mean + part * gap
        variance = (
            (1 - part) * self.variance
            + part * other.variance
            + part * (1 - part) * gap**2
        )
        return type(self)(mean, variance, total)

    @property
    def scale(self) -> Array:
        """Standard deviation of each column, 1 where it is lost in rounding."""
        scale = np.sqrt(self.variance)
        tiny = scale <= 1e-12 * np.maximum(np.abs(self.mean), 1e-300)
        return np.where(tiny, 1.0, scale)

    def transform(self, X: Array) -> Array:
        """Scale and clip rows."""
        z = X - self.mean
        z /= self.scale
        return np.clip(z, -CLIP, CLIP, out=z)


@dataclass
class BendingScaler(InputScaler):
    """Scales like `InputScaler`, but bends values far outside instead of clipping.

    Beyond +-5 standard deviations scaled values grow with the logarithm, so that a
    value of 1e30 stays below 100. Unlike clipping this keeps different rows apart and
    has an inverse, so a density of scaled rows is a density of rows.
    """

    BEND = 5.0

    def _straight(self, X: Array) -> Array:
        with np.errstate(over="ignore"):
            scaled = (X.astype(np.float64) - self.mean) / self.scale
        return np.nan_to_num(scaled)

    def transform(self, X: Array) -> Array:
        """Scale and bend rows."""
        scaled = self._straight(X)
        beyond = np.maximum(np.abs(scaled) - self.BEND, 0)
        bent = np.sign(scaled) * np.log1p(beyond)
        return np.clip(scaled, -self.BEND, self.BEND) + bent

    def inverse_transform(self, Z: Array) -> Array:
        """Undo ``transform``."""
        beyond = np.clip(np.abs(Z) - self.BEND, 0, 700)  # exp(709) is the last number
        scaled = np.clip(Z, -self.BEND, self.BEND) + np.sign(Z) * np.expm1(beyond)
        with np.errstate(over="ignore"):
            return np.nan_to_num(scaled * self.scale + self.mean)

    def log_slope(self, X: Array) -> Array:
        """Log-determinant of ``transform``'s derivative at each row."""
        beyond = np.maximum(np.abs(self._straight(X)) - self.BEND, 0)
        return -np.log1p(beyond).sum(1) - np.log(self.scale).sum()


@dataclass
class TargetScaler:
    """Median and median absolute deviation of each target.

    Both withstand corruption of nearly half the rows, where mean and maximum fall to
    one. Where more than half the targets are equal it is the lower quartile of the
    others' deviations.

    Attributes
    ----------
    center, scale : ndarray of shape (n_outputs,)
        A scale of 0 undoes to the center, whatever is scaled back.
    """

    center: Array
    scale: Array

    @classmethod
    def fit(cls, y: Array, weights: Array, constant: float = 1.0) -> TargetScaler:
        """Estimate from targets (n, n_outputs) with positive weights (n,).

        ``constant`` is the scale where all are equal.
        """
        center = weighted_quantile(y, 0.5, weights)[0].astype(np.float64)
        away = np.abs(y - center)
        # where targets are seldom other than zero, most of those may be gross
        scale = robust_spread(away, weights, 0.25)
        return cls(center, np.where(scale > 0, scale, constant))

    def transform(self, y: Array) -> Array:
        """Scale targets; those beyond 1e12 scales are moved there."""
        scale = np.where(self.scale > 0, self.scale, 1.0)
        return np.clip((y - self.center) / scale, -FAR, FAR)

    def inverse_transform(self, z: Array) -> Array:
        """Undo the scaling."""
        return z * self.scale + self.center
