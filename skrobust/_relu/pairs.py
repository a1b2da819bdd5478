"""Correlations of all pairs by the censored bivariate normal likelihood.

Pairs of positive entries enter through sums of products, pairs of zeros through one
probability, and mixed pairs through counts by bin, so the cost of a step of the
solver does not depend on the number of rows.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from scipy import sparse

from .censored import bivariate_cdf, mills

RHO_MAX = 1.0 - 1e-6
_FAR = 1e6  # standardised entries beyond this are as far as can be


class PairTables:
    """Sufficient statistics of all pairs between two groups of columns.

    Parameters
    ----------
    data : PairData
        Standardised entries and weights.
    columns, others : slice
        The two groups.
    """

    def __init__(self, data: PairData, columns: slice, others: slice) -> None:
        a, b = columns, others
        u, pos, zero, r = data.u, data.positive, data.zero, data.row_weight[:, None]
        pa, ua = pos[:, a] * r, u[:, a]
        pb, ub = pos[:, b], u[:, b]
        self.n_pp = pa.T @ pb
        self.s_ab = (pa * ua).T @ (pb * ub)
        self.s_aa = (pa * ua * ua).T @ pb
        self.s_bb = pa.T @ (pb * ub * ub)
        self.n_00 = (zero[:, a] * r).T @ zero[:, b]
        self.delta_a = data.delta[a][:, None] + np.zeros_like(self.n_pp)
        self.delta_b = data.delta[b][None, :] + np.zeros_like(self.n_pp)
        self.pos_zero, self.at_a = data.table(a, b)
        flipped, self.at_b = data.table(b, a)
        self.zero_pos = np.swapaxes(flipped, 0, 2)
        self.at_b = self.at_b.T[None, :, :]
        self.at_a = self.at_a[:, :, None]

    def score(self, eta: np.ndarray) -> np.ndarray:
        """Return the derivative of the log-likelihood in ``atanh(rho)``."""
        rho = np.clip(np.tanh(eta), -RHO_MAX, RHO_MAX)
        rest = 1.0 - rho * rho
        cross = rho * (self.s_aa + self.s_bb) - (1.0 + rho * rho) * self.s_ab
        slope = self.n_pp * rho - cross / rest
        slope += self._mixed(rho, rest, self.pos_zero, self.at_a, self.delta_b)
        slope += self._mixed(rho, rest, self.zero_pos, self.at_b, self.delta_a)
        h, k = -self.delta_a, -self.delta_b
        quad = (h * h + k * k - 2.0 * rho * h * k) / (2.0 * rest)
        density = np.exp(-quad) / (2.0 * np.pi * np.sqrt(rest))
        slope += self.n_00 * rest * density / bivariate_cdf(h, k, rho)
        return slope

    @staticmethod
    def _mixed(
        rho: np.ndarray,
        rest: np.ndarray,
        counts: np.ndarray,
        u: np.ndarray,
        delta: np.ndarray,
    ) -> np.ndarray:
        """Rows where one coordinate is positive and the other is zero."""
        root = np.sqrt(rest)[:, None, :]
        t = -(delta[:, None, :] + rho[:, None, :] * u) / root
        # d t / d eta, with d rho / d eta = 1 - rho^2.
        slope = -(u + rho[:, None, :] * delta[:, None, :]) / root
        return np.einsum("abc,abc->ac", counts, mills(t) * slope)


class PairData:
    """Standardised entries, masks and bins from which pair tables are cut.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Non-negative rows.
    bins : ndarray of shape (n_samples, n_features), int
        Bin of every positive entry.
    mean, scale : ndarray of shape (n_features,)
        Margins; scales are positive.
    row_weight : ndarray of shape (n_samples,)
        Weight of each row.
    cell_weight : ndarray of shape (n_samples, n_features) or None
        Weight of each entry; None means one.
    """

    def __init__(
        self,
        X: np.ndarray,
        bins: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        row_weight: np.ndarray,
        cell_weight: np.ndarray | None = None,
    ) -> None:
        positive = X > 0
        self.u = np.where(positive, (X - mean) / scale, 0.0).clip(-_FAR, _FAR)
        self.positive = positive.astype(np.float64)
        self.zero = 1.0 - self.positive
        if cell_weight is not None:
            self.positive *= cell_weight
            self.zero *= cell_weight
        self.delta = (mean / scale).clip(-_FAR, _FAR)
        self.row_weight = row_weight
        self.bins = bins
        self.n_bins = int(bins.max(initial=0)) + 1

    def columns(self, group: slice) -> PairData:
        """Return the same rows with some of the columns."""
        part = copy(self)
        for name in ("u", "positive", "zero", "bins"):
            setattr(part, name, getattr(self, name)[:, group])
        part.delta = self.delta[group]
        return part

    def table(self, columns: slice, others: slice) -> tuple[np.ndarray, np.ndarray]:
        """Weight by (column, bin of its positive entry, other column at zero)."""
        weights = self.positive[:, columns] * self.row_weight[:, None]
        n, width = weights.shape
        place = np.arange(width) * self.n_bins + self.bins[:, columns]
        onehot = sparse.csr_matrix(
            (weights.ravel(), place.ravel(), np.arange(n + 1) * width),
            shape=(n, width * self.n_bins),
        )
        counts = onehot.T @ self.zero[:, others]
        size = np.asarray(onehot.sum(axis=0)).ravel()
        value = np.bincount(
            place.ravel(),
            weights=(weights * self.u[:, columns]).ravel(),
            minlength=width * self.n_bins,
        )
        centre = value / np.where(size > 0, size, 1.0)
        return (
            counts.reshape(width, self.n_bins, -1),
            centre.reshape(width, self.n_bins),
        )


def censored_correlations(
    data: PairData, start: np.ndarray | None = None, *, tile: int = 48
) -> np.ndarray:
    """Correlation of every pair by the censored bivariate normal likelihood.

    Parameters
    ----------
    data : PairData
        Standardised entries and weights.
    start : ndarray of shape (n_features, n_features) or None
        Correlations to start from; None starts at zero.
    tile : int, default=48
        Columns handled at once; bounds the memory of the tables.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        Symmetric, ones on the diagonal.
    """
    d = data.u.shape[1]
    rho = np.eye(d)
    for i in range(0, d, tile):
        for j in range(i, d, tile):
            a, b = slice(i, min(i + tile, d)), slice(j, min(j + tile, d))
            guess = np.zeros((a.stop - i, b.stop - j)) if start is None else start[a, b]
            wanted = np.arange(d)[a][:, None] < np.arange(d)[b]
            part = _solve(PairTables(data, a, b), guess, wanted)
            rho[a, b] = np.where(wanted, part, rho[a, b])
            rho[b, a] = np.where(wanted, part, rho[b, a].T).T
    np.fill_diagonal(rho, 1.0)
    return 0.5 * (rho + rho.T)


def _solve(
    tables: PairTables, guess: np.ndarray, wanted: np.ndarray, n_steps: int = 40
) -> np.ndarray:
    """Safeguarded secant steps on the score of every wanted pair at once."""
    low = np.full(guess.shape, -np.arctanh(RHO_MAX))
    high = -low
    eta = np.arctanh(np.clip(guess, -0.99, 0.99))
    weight = tables.n_pp + tables.n_00 + tables.pos_zero.sum(1) + tables.zero_pos.sum(1)
    weight = np.where(wanted, np.maximum(weight, 1e-300), np.inf)
    value = tables.score(eta) / weight
    slope = np.full(eta.shape, -0.3)
    for _ in range(n_steps):
        low = np.where(value > 0, eta, low)
        high = np.where(value < 0, eta, high)
        new = eta + np.clip(-value / slope, -0.7, 0.7)
        new = np.where((new < low) | (new > high), 0.5 * (low + high), new)
        moved = new - eta
        if np.all(np.abs(moved) < 1e-8):
            break
        after = tables.score(new) / weight
        far = np.abs(moved) > 1e-11
        secant = (after - value) / np.where(far, moved, 1.0)
        slope = np.where(far & (secant < -1e-3), secant, slope)
        eta, value = new, after
    return np.clip(np.tanh(eta), -RHO_MAX, RHO_MAX)
