"""Columns cut into bins, and the values that a column merely repeats.

Every step of the likelihood works on a few hundred bins a column, each with the
weight, sum and sum of squares of its entries, whatever the number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._scaling import weighted_quantile
from .censored import censored_margins

_N_LOW, _N_MID, _N_HIGH = 16, 224, 32
N_BINS = _N_LOW + _N_MID + _N_HIGH


@dataclass(frozen=True)
class Binned:
    """Positive entries by bin: weight, sum, sum of squares; weight of the zeros.

    ``gap`` is the typical distance of neighbouring values: rounded data have one,
    and no cluster may be narrower.
    """

    gap: np.ndarray
    zero: np.ndarray
    count: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def x(self) -> np.ndarray:
        """Mean entry of each bin, bins first."""
        return (self.first / np.where(self.count > 0, self.count, 1.0)).clip(1e-300)

    def fit(
        self, share_zero: np.ndarray, share: np.ndarray, *, nonnegative: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit a censored normal to a share of every bin."""
        return censored_margins(
            self.zero * share_zero,
            (self.count * share).sum(0),
            (self.first * share).sum(0),
            (self.second * share).sum(0),
            nonnegative=nonnegative,
            n_steps=30,
        )


def make_bins(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bin of every entry: fine around the centre, geometric beyond it."""
    bins = np.zeros(X.shape, dtype=np.int32)
    for j in range(X.shape[1]):
        x = X[:, j]
        pos = x > 0
        if not pos.any():
            continue
        quartiles = weighted_quantile(x[pos, None], (0.25, 0.5, 0.75), weights[pos])
        low, mid, high = quartiles[:, 0]
        spread = (high - low) / 1.35 or 0.5 * mid
        start, stop = max(0.0, mid - 5.0 * spread), mid + 5.0 * spread
        edges = np.linspace(start, stop, _N_MID + 1)
        if start > 0:
            edges = np.r_[np.linspace(0, start, _N_LOW + 1)[1:-1], edges]
        top = max(x.max() / stop, 1.0 + 1e-9)
        edges = np.r_[edges, stop * np.geomspace(1, top, _N_HIGH + 1)[1:]]
        bins[:, j] = np.where(pos, np.searchsorted(edges[1:-1], x), 0)
    return bins


def tied_entries(
    X: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """Find positive values that a column repeats far too often.

    A continuous law repeats no value, so many copies of one are outliers. The limit
    is twenty times the repetitions of the typical entry, and half a percent of the
    rows: rounded data and moderate weights are left alone.

    Returns
    -------
    tied : ndarray of shape (n_samples, n_features), bool, or None
        None where there is no such value.
    gap : ndarray of shape (n_features,)
        Typical distance of neighbouring values.
    """
    tied, gap = None, np.zeros(X.shape[1])
    for j, x in enumerate(X.T):
        pos = x > 0
        values, place = np.unique(x[pos], return_inverse=True)
        if len(values) < 2:
            continue
        mass = np.bincount(place, weights[pos])
        gap[j] = weighted_quantile(np.diff(values)[:, None], 0.5, mass[1:])[0, 0]
        often = too_often(mass, weights.sum())
        if often.any():
            tied = np.zeros(X.shape, dtype=bool) if tied is None else tied
            tied[pos, j] = often[place]
    return tied, gap


def typical_mass(mass: np.ndarray) -> float:
    """Mass that half of all mass lies in values of no more than."""
    return float(weighted_quantile(mass[:, None], 0.5, mass)[0, 0])


def too_often(mass: np.ndarray, total: float) -> np.ndarray:
    """Which of several values weigh far more than the typical one."""
    return mass > max(20.0 * typical_mass(mass), 0.005 * total)


def bin_columns(
    X: np.ndarray,
    bins: np.ndarray,
    weights: np.ndarray,
    gap: np.ndarray,
    tied: np.ndarray | None = None,
) -> Binned:
    """Sum weights, entries and squares by bin, for every column, without the tied."""
    d = X.shape[1]
    sums = np.zeros((3, N_BINS, d))
    zero = np.zeros(d)
    for j in range(d):
        x, place = X[:, j], bins[:, j]
        w = weights if tied is None else np.where(tied[:, j], 0.0, weights)
        total = w.sum()
        w = np.where(x > 0, w, 0.0)
        zero[j] = max(total - w.sum(), 0.0)
        for power in range(3):
            sums[power, :, j] = np.bincount(place, w, minlength=N_BINS)
            w = w * x
    return Binned(gap, zero, *sums)
