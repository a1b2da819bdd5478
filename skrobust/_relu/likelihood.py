"""The robust censored likelihood: margins, pairs, and whole outlying rows.

An extension of the source. Clean rows follow the censored normal law of the network;
outlying entries are described column by column, outlying rows by a small mixture
(scattered rows, all-zero rows, clusters). Every part of the mixture has to earn its
place by the likelihood, so clean data are fitted as if no protection were there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .joint import blocks, log_density
from .margins import Margins, fit_margins
from .pairs import PairData, censored_correlations
from .rowmodel import (
    Cluster,
    RowData,
    RowModel,
    atoms,
    cell_weights,
    clean_log_density,
    nearest_correlation,
    scattered_log_density,
)

_SEARCH_ROWS = 5000


def _expect(data: RowData, model: RowModel) -> tuple[RowModel, np.ndarray]:
    """Share of every row that each part of the mixture claims."""
    parts = [np.log(model.clean_share) + clean_log_density(data, model)]
    if model.scattered > 0:
        density = scattered_log_density(data, model.margins)
        parts.append(np.log(model.scattered) + density)
    if model.all_zero > 0:
        empty = ~data.X.any(axis=1)
        parts.append(np.where(empty, np.log(model.all_zero), -np.inf))
    for c in model.clusters:
        density = log_density(data.X, c.mean, c.covariance, data.known)
        parts.append(np.log(max(c.share, 1e-300)) + density)
    joint = np.stack(parts)
    top = joint.max(axis=0)
    shares = np.exp(joint - top)
    total = shares.sum(axis=0)
    value = float(data.weights @ (np.log(total) + top))
    shares /= total
    return replace(model, log_likelihood=value, responsibility=shares[0]), shares


def _fit_cluster(data: RowData, share: np.ndarray, m: Margins) -> Cluster:
    """Censored normal law of the rows of one cluster."""
    d = data.X.shape[1]
    weights = data.weights * share
    binned = data.binned(share)
    ones = np.ones_like(binned.zero)
    mean, scale = binned.fit(ones, np.ones_like(binned.count), nonnegative=False)
    scale = np.maximum(scale, 0.02 * m.scale)
    covariance = np.diag(scale**2)
    if weights.sum() > 5 * min(d, 12):
        pairs = PairData(data.X, data.bins, mean, scale, weights, data.known)
        for group in blocks(d):
            part = pairs.columns(group)
            R = nearest_correlation(censored_correlations(part))
            R = 0.98 * R + 0.02 * np.eye(len(R))
            covariance[group, group] = R * np.outer(scale[group], scale[group])
    return Cluster(float(weights.sum() / data.weights.sum()), mean, covariance)


def _maximise(data: RowData, model: RowModel, shares: np.ndarray) -> RowModel:
    """Refit every part to the rows it claims."""
    total = data.weights.sum()
    claimed = iter(shares)
    model = _fit_clean(data, replace(model, responsibility=next(claimed)))
    scattered = all_zero = 0.0
    if model.scattered > 0:
        scattered = float(data.weights @ next(claimed) / total)
    if model.all_zero > 0:
        all_zero = float(data.weights @ next(claimed) / total)
    clusters = tuple(_fit_cluster(data, s, model.margins) for s in claimed)
    return replace(model, scattered=scattered, all_zero=all_zero, clusters=clusters)


def _fit_clean(data: RowData, model: RowModel | None) -> RowModel:
    """Margins, then correlations, of the clean part."""
    claimed = 1.0 if model is None else model.responsibility
    weights = data.weights * claimed
    margins, full = fit_margins(
        data.binned(claimed), None if model is None else model.full
    )
    pairs = PairData(
        data.X,
        data.bins,
        margins.mean,
        margins.scale,
        weights,
        cell_weights(data, margins),
    )
    start = None if model is None else model.correlation
    R = nearest_correlation(censored_correlations(pairs, start))
    if model is None:
        return RowModel(margins, full, R)
    return replace(model, margins=margins, full=full, correlation=R)


def _iterate(
    data: RowData,
    model: RowModel,
    n_steps: int,
    tol: float,
    goal: float = -np.inf,
) -> RowModel:
    """Alternate expectation and maximisation until the network's parameters settle.

    Also stop where the log-likelihood would miss the goal even if the steps left
    gained twice as much as the last: gains shrink from step to step.
    """
    model, shares = _expect(data, model)
    converged = False
    step = 0
    for step in range(1, n_steps + 1):
        old = model
        model, shares = _expect(data, _maximise(data, model, shares))
        if _movement(model, old) < tol:
            converged = True
            break
        # The first step only mends the start.
        gained = abs(model.log_likelihood - old.log_likelihood)
        hope = model.log_likelihood + 2.0 * (n_steps - step) * gained
        if step > 1 and hope < goal:
            break
    return replace(model, n_iter=model.n_iter + step, converged=converged)


def _movement(new: RowModel, old: RowModel) -> float:
    """Largest change of standardised means, log scales and correlations."""
    m, o = new.margins, old.margins
    return max(
        np.abs((m.mean - o.mean) / m.scale).max(),
        np.abs(m.scale / o.scale - 1.0).max(),
        np.abs(new.correlation - old.correlation).max(),
    )


def _seeds(data: RowData, model: RowModel) -> list[Cluster]:
    """Where a further cluster may lie.

    Unlikely rows, rows high throughout, and rows of many distrusted entries.
    """
    m = model.margins
    claimed = data.weights * model.responsibility
    height = ((data.X - m.mean) / m.scale).clip(-2, 4).mean(axis=1)
    found = []
    ranks = [clean_log_density(data, model), -height]
    cells = cell_weights(data, m)
    if cells is not None:
        ranks.append(cells.sum(axis=1))
    for rank in ranks:
        order = np.argsort(rank, kind="stable")
        mass = np.cumsum(claimed[order])
        chosen = order[: max(2, int((mass <= 0.07 * mass[-1]).sum()))]
        share = np.zeros(len(data.X))
        share[chosen] = model.responsibility[chosen]
        found.append(_fit_cluster(data, share, m))
    return found


def _gain_needed(n_parameters: int, weights: np.ndarray) -> float:
    """Log-likelihood that further parameters must add to be believed."""
    return 0.5 * n_parameters * np.log(max(weights.sum(), 2.0)) + 2.0


def _proposals(data: RowData, model: RowModel) -> list[tuple[RowModel, int]]:
    """Mixtures with one part more, and the number of parameters it costs."""
    d = data.X.shape[1]
    found = []
    if model.scattered == 0:
        found.append((replace(model, scattered=0.01), 1))
    empty = ~data.X.any(axis=1)
    seen = data.weights[empty].sum() / data.weights.sum()
    if model.all_zero == 0 and d > 1 and seen > 0:
        found.append((replace(model, all_zero=0.5 * seen), 1))
    n_parameters = (
        1
        + 2 * d
        + sum((g.stop - g.start) * (g.stop - g.start - 1) // 2 for g in blocks(d))
    )
    if d > 1 and len(model.clusters) < 3:
        for seed in _seeds(data, model):
            clusters = (*model.clusters, seed)
            found.append((replace(model, clusters=clusters), n_parameters))
    return found


def fit_likelihood(
    X: np.ndarray, weights: np.ndarray, *, max_iter: int = 50, tol: float = 1e-4
) -> tuple[RowModel, np.ndarray]:
    """Fit the censored normal law of the clean rows.

    Parameters
    ----------
    X : ndarray of shape (n_distinct, n_features)
        Distinct non-negative rows in hash order; every column has positive entries
        that are not all equal.
    weights : ndarray of shape (n_distinct,)
        Positive weights.
    max_iter : int, default=50
        Most refits on all rows for each description of the outliers.
    tol : float, default=1e-4
        Change of standardised means, log scales and correlations that stops.

    Returns
    -------
    model : RowModel
        The fit.
    trust : ndarray of shape (n_distinct,)
        Probability that a row is clean, times the clean share of its entries.
    """
    kept = ~atoms(X, weights)
    rows = X[kept]
    data = RowData.prepare(rows, weights[kept])
    model, _ = _expect(data, _fit_clean(data, None))
    sample = data.sample(max(_SEARCH_ROWS, len(rows) // 4))
    while len(rows) >= 50:
        best = _search(sample, model)
        if best is None:
            break
        trial, cost = best
        trial = _iterate(data, trial, max_iter, tol)
        needed = _gain_needed(cost, data.weights)
        if trial.clean_share < 0.5 or _mere_misfit(data, trial):
            break
        if trial.log_likelihood < model.log_likelihood + needed:
            break
        model = trial
    model = _iterate(data, model, max_iter, tol)
    trust = np.zeros(len(X))
    trust[kept] = model.responsibility
    cells = cell_weights(data, model.margins)
    if cells is not None:
        trust[kept] *= cells.mean(axis=1)
    return model, trust


def _mere_misfit(data: RowData, model: RowModel) -> bool:
    """Whether an excess of all-zero rows is within the error of the joint density."""
    empty = ~data.X.any(axis=1)
    seen = data.weights[empty].sum() / data.weights.sum()
    return 0 < model.all_zero < 0.1 * seen


def _search(sample: RowData, model: RowModel) -> tuple[RowModel, int] | None:
    """Best part to add, judged on a sample after a few steps."""
    base, _ = _expect(sample, model)
    best, gain = None, 0.0
    for trial, cost in _proposals(sample, base):
        needed = base.log_likelihood + _gain_needed(cost, sample.weights)
        trial = _iterate(sample, trial, 8, 1e-3, goal=needed + gain)
        if trial.clean_share < 0.5 or _mere_misfit(sample, trial):
            continue
        more = trial.log_likelihood - needed
        if more > gain:
            best, gain = (trial, cost), more
    return best
