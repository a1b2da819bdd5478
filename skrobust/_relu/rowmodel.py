"""What a row can be: clean, clean but for some entries, or outlying as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .bins import (
    Binned,
    bin_columns,
    make_bins,
    tied_entries,
    too_often,
    typical_mass,
)
from .joint import log_density
from .margins import Margins, log_broad

_RIDGE = 0.01  # blurs the joint density, so that a singular Sigma rejects nobody


@dataclass(frozen=True)
class Cluster:
    """A group of outlying rows: a censored normal law of its own."""

    share: float
    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class RowModel:
    """Everything fitted; ``responsibility`` is the share of each row that is clean."""

    margins: Margins
    full: Margins
    correlation: np.ndarray
    clusters: tuple[Cluster, ...] = ()
    scattered: float = 0.0
    all_zero: float = 0.0
    log_likelihood: float = -np.inf
    responsibility: np.ndarray = field(default_factory=lambda: np.empty(0))
    n_iter: int = 0
    converged: bool = False

    @property
    def clean_share(self) -> float:
        """Share of the rows that belongs to the network."""
        taken = self.scattered + self.all_zero + sum(c.share for c in self.clusters)
        return max(1.0 - taken, 1e-12)


@dataclass(frozen=True)
class RowData:
    """Distinct rows, their weights and bins, and the entries that are mere copies."""

    X: np.ndarray
    weights: np.ndarray
    bins: np.ndarray
    gap: np.ndarray
    tied: np.ndarray | None

    def sample(self, n: int) -> RowData:
        """Rows that stand for all, each with the share it has among all.

        The first n rows are drawn at random, as the order is that of a hash, and
        would be right on average. But whether the one row that stands for a
        thousand equal ones is among them must not be left to chance: a row that
        is heavier than most even at its share is in, at its share.
        """
        share = n / len(self.X)
        if share >= 1:
            return self
        heavy = share * self.weights > typical_mass(self.weights)
        kept = heavy.copy()
        kept[:n] = True
        weights = np.where(heavy, share * self.weights, self.weights)[kept]
        tied = None if self.tied is None else self.tied[kept]
        return RowData(self.X[kept], weights, self.bins[kept], self.gap, tied)

    @classmethod
    def prepare(cls, X: np.ndarray, weights: np.ndarray) -> RowData:
        """Bin the rows and look for copies."""
        tied, gap = tied_entries(X, weights)
        return cls(X, weights, make_bins(X, weights), gap, tied)

    def binned(self, share: np.ndarray | float) -> Binned:
        """Bin a share of every row."""
        weights = self.weights * share
        return bin_columns(self.X, self.bins, weights, self.gap, self.tied)

    @property
    def known(self) -> np.ndarray | None:
        """Entries that are no copies; None if all are."""
        return None if self.tied is None else ~self.tied


def nearest_correlation(R: np.ndarray) -> np.ndarray:
    """Drop negative eigenvalues and restore the unit diagonal."""
    values, vectors = np.linalg.eigh(R)
    if values[0] >= 0:
        return R
    fixed = (vectors * np.maximum(values, 0.0)) @ vectors.T
    scale = np.sqrt(np.maximum(np.diag(fixed), 1e-300))
    fixed /= np.outer(scale, scale)
    np.fill_diagonal(fixed, 1.0)
    return fixed


def atoms(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Distinct rows with a positive entry that occur far too often.

    Copies that columns make on their own account (one repeated value, zeros
    elsewhere) are the columns' affair: a row is an atom if it occurs five times as
    often as its entries would meet by chance.
    """
    total = weights.sum()
    suspects = np.flatnonzero(too_often(weights, total) & (X > 0).any(axis=1))
    found = np.zeros(len(X), dtype=bool)
    for i in suspects:
        by_chance = np.prod([weights[x == x[i]].sum() / total for x in X.T])
        found[i] = weights[i] > 5.0 * by_chance * total
    return found


def _covariance(m: Margins, R: np.ndarray) -> np.ndarray:
    blurred = (1.0 - _RIDGE) * R + _RIDGE * np.eye(len(R))
    return blurred * np.outer(m.scale, m.scale)


def clean_log_density(data: RowData, model: RowModel) -> np.ndarray:
    """Log-density of clean rows, outlying entries replaced by their own law."""
    m, X = model.margins, data.X
    covariance = _covariance(m, model.correlation)
    if not np.any(m.bump + m.broad):
        return log_density(X, m.mean, covariance, data.known)
    clean, outlying = m.log_parts(X)
    known = clean >= outlying
    share = np.log(np.maximum(1.0 - m.bump - m.broad, 1e-12))
    entries = np.where(known, share, outlying)
    if data.tied is not None:
        entries[data.tied] = 0.0
        known &= ~data.tied
    return entries.sum(axis=1) + log_density(X, m.mean, covariance, known)


def cell_weights(data: RowData, margins: Margins) -> np.ndarray | None:
    """Trust in every entry; None if it is one throughout."""
    cells = margins.cell_weights(data.X)
    if data.tied is None:
        return cells
    return ~data.tied * (1.0 if cells is None else cells)


def scattered_log_density(data: RowData, m: Margins) -> np.ndarray:
    """Log-density of rows that no cluster holds: each entry heavy-tailed or zero."""
    half = np.log(0.5)
    parts = np.where(data.X > 0, half + log_broad(data.X, 2.0 * m.tail), half)
    if data.tied is not None:
        parts[data.tied] = 0.0
    return parts.sum(axis=1)
