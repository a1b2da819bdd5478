"""From rows to the parameters of a ReLU network, by either family of solvers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .angles import angle_matrix
from .blocks import block_numbers, summarise_columns
from .likelihood import fit_likelihood
from .moments import (
    has_interior,
    make_box,
    solve_descent,
    solve_newton,
    solve_stochastic,
)
from .rowmodel import nearest_correlation
from .rows import collapse_rows, row_order, typical_entries


@dataclass(frozen=True)
class Fitted:
    """Parameters of the distribution and the trust in each row.

    ``as_asked`` says that a number of steps was what was asked for, so that not to
    have converged needs no warning.
    """

    mean: np.ndarray
    scale: np.ndarray
    correlation: np.ndarray
    angles: np.ndarray
    trust: np.ndarray
    n_iter: int
    converged: bool
    as_asked: bool = False


@dataclass(frozen=True)
class MomentOptions:
    """Parameters of the source's solvers, as the estimator documents them."""

    solver: str
    filter: str | None
    n_batches: int | str
    contamination: float
    trim: float
    angle: str
    radius: float
    learning_rate: str
    max_iter: int | None
    tol: float | None

    @property
    def counts_steps(self) -> bool:
        """Whether steps are to be counted, and nothing has to be met."""
        stated = self.max_iter is not None or self.tol is not None
        printed = self.learning_rate == "invscaling" and not stated
        return self.solver == "sgd" or (self.solver == "gd" and printed)


def column_constants(X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Find the columns without spread.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    weights : ndarray of shape (n_samples,)

    Returns
    -------
    live : ndarray of shape (n_features,), bool
        Whether the positive entries of a column differ.
    constant : ndarray of shape (n_features,)
        The positive entry of the others: zero where there is none, or where the
        zeros outweigh it.
    filled : ndarray of shape (n_features,)
        Weight of the positive entries.
    """
    d = X.shape[1]
    low, high, filled = np.full(d, np.inf), np.zeros(d), np.zeros(d)
    plain = bool(np.all(weights == 1.0))
    step = max(64, (1 << 20) // d)
    for start in range(0, len(X), step):
        # A copy always: a view of Fortran-ordered rows must not be written to.
        part = np.array(X[start : start + step].T, order="C", copy=True)
        positive = part > 0
        high = np.maximum(high, part.max(axis=1))
        count = np.count_nonzero(positive, axis=1)
        filled += count if plain else positive @ weights[start : start + step]
        if not positive.all():
            part[~positive] = np.inf
        low = np.minimum(low, part.min(axis=1))
    some = filled > 0
    live = some & (high - np.where(some, low, 0.0) > 1e-9 * high)
    constant = np.where(some & ~live & (filled >= 0.5 * weights.sum()), high, 0.0)
    return live, constant, filled


def fit_by_likelihood(
    X: np.ndarray,
    weights: np.ndarray,
    random_state: np.random.RandomState,
    max_iter: int | None,
    tol: float | None,
) -> Fitted:
    """Fit by the robust censored likelihood; all columns have spread."""
    rows, totals, inverse = collapse_rows(X, weights, random_state)
    # Units of a typical positive entry keep squares far from the limits of floats.
    unit = typical_entries(rows)
    rows /= unit
    model, trust = fit_likelihood(
        rows,
        totals,
        max_iter=50 if max_iter is None else max_iter,
        tol=1e-4 if tol is None else tol,
    )
    return Fitted(
        model.margins.mean * unit,
        model.margins.scale * unit,
        model.correlation,
        np.arccos(np.clip(model.correlation, -1.0, 1.0)),
        trust[inverse],
        max(model.n_iter, 1),
        model.converged,
    )


def fit_by_moments(
    X: np.ndarray,
    weights: np.ndarray,
    filled: np.ndarray,
    random_state: np.random.RandomState,
    options: MomentOptions,
) -> Fitted:
    """Fit by the source's two steps; all columns have spread."""
    order = row_order(X, random_state)
    ordered = weights[order]
    n_blocks, crowded = block_numbers(
        filled, weights.sum(), options.n_batches, options.contamination
    )
    if crowded.any() and options.filter is not None:
        _warn_crowded(crowded, options.contamination)
    columns = summarise_columns(
        X, order, ordered, n_blocks, filter=options.filter, trim=options.trim
    )
    scale, box = columns.scale, make_box(options.radius, columns.centre)
    if options.solver == "sgd":
        # The source's number of steps; a step looks at a few entries only.
        n_steps = np.maximum(filled / 100.0, 1.0).astype(int)
        if options.max_iter is not None:
            n_steps[:] = options.max_iter
        v, n_iter = solve_stochastic(
            X,
            order,
            ordered,
            scale,
            box,
            random_state,
            n_steps=n_steps,
            filter=options.filter,
            trim=options.trim,
        )
        converged = False  # a step looks at a few entries: it tells nothing
    else:
        _warn_without_interior(columns.moments)
        v, n_iter, converged = _solve(columns.moments, box, filled, options)
    sigma = scale / np.sqrt(v[0])
    mean = np.maximum(scale * v[1] / v[0], 0.0)
    angles = angle_matrix(X, weights, mean, options.angle)
    R = nearest_correlation(np.cos(angles))
    trust = np.ones(len(X))
    as_asked = options.counts_steps
    return Fitted(mean, sigma, R, angles, trust, n_iter, converged, as_asked)


def _warn_crowded(crowded: np.ndarray, contamination: float) -> None:
    warnings.warn(
        f"In columns {_names(crowded)} so few entries are positive that outliers "
        f"(contamination={contamination:g} of all rows) may be half of them or "
        "more: no block is small enough to be free of outliers more often than "
        "not. Blocks of one entry are used.",
        UserWarning,
        stacklevel=5,
    )


def _names(mask: np.ndarray) -> str:
    found = np.flatnonzero(mask)
    shown = ", ".join(str(j) for j in found[:5])
    return f"[{shown}{', ...' if len(found) > 5 else ''}]"


def _warn_without_interior(moments: np.ndarray) -> None:
    missing = ~has_interior(moments)
    if missing.any():
        warnings.warn(
            f"In columns {_names(missing)} no truncated normal law has the filtered "
            "moments (the second is at least twice the square of the first, or no "
            "larger than it); the best point of the box is used.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _solve(
    moments: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
    n_positive: np.ndarray,
    options: MomentOptions,
) -> tuple[np.ndarray, int, bool]:
    tol = 1e-10 if options.tol is None else options.tol
    if options.solver == "newton":
        n_steps = 100 if options.max_iter is None else options.max_iter
        return solve_newton(moments, box, n_steps=n_steps, tol=tol)
    constant = options.learning_rate == "constant"
    steps = np.maximum(n_positive / 100.0, 1.0).astype(int)
    if constant or options.max_iter is not None:
        steps[:] = 200_000 if options.max_iter is None else options.max_iter
    return solve_descent(
        moments, box, n_steps=steps, tol=tol, learning_rate=options.learning_rate
    )
