"""The source's first step: from filtered moments to the law of each coordinate.

Positive entries of a coordinate follow a normal law truncated at zero. Its two natural
parameters descend to the point where that law has the filtered moments; the filtered
moments are fixed, so there is nothing stochastic left in the descent, and Newton's
method reaches the same point in a few steps.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx

from .censored import mills

Box = tuple[np.ndarray, np.ndarray]


def truncated_moments(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and second moment of a normal law truncated to the positive half-line.

    Parameters
    ----------
    v : ndarray of shape (2, ...)
        Natural parameters ``(1 / sigma^2, mu / sigma^2)``, the first positive.

    Returns
    -------
    mean, second : ndarray
        ``E[z]`` and ``E[z^2]`` for z > 0 (equations 5 and 6 of the source).

    Examples
    --------
    >>> mean, second = truncated_moments(np.array([1.0, 0.0]))
    >>> round(float(mean), 6), round(float(second), 6)
    (0.797885, 1.0)
    """
    sigma = 1.0 / np.sqrt(v[0])
    mu = v[1] * sigma * sigma
    ratio = mu / sigma
    mean = mu + sigma * mills(ratio)
    return mean, sigma * sigma + mu * mean


def _gradient(v: np.ndarray, moments: np.ndarray) -> np.ndarray:
    mean, second = truncated_moments(v)
    return np.stack([0.5 * (moments[1] - second), mean - moments[0]])


def _hessian(v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariance of ``(-z^2 / 2, z)``: the curvature of the convex objective."""
    sigma2 = 1.0 / v[0]
    mu = v[1] * sigma2
    mean, second = truncated_moments(v)
    third = mu * second + 2.0 * sigma2 * mean
    fourth = mu * third + 3.0 * sigma2 * second
    return (
        0.25 * (fourth - second**2),
        -0.5 * (third - mean * second),
        second - mean**2,
    )


def make_box(radius: float, centre: np.ndarray) -> Box:
    """Box ``[1/r, r] x [-r, r]`` (equation 10), widened where the mean is large.

    Parameters
    ----------
    radius : float
        The radius r.
    centre : ndarray of shape (n_features,)
        Typical positive entry in units of the scale. The second side is multiplied
        by it where it exceeds one: a unit fits either the spread or the mean of a
        column far from zero, not both.

    Returns
    -------
    low, high : ndarray of shape (2, n_features)
    """
    side = radius * np.maximum(1.0, centre)
    first = np.full_like(side, radius)
    return np.stack([1.0 / first, -side]), np.stack([first, side])


def project(v: np.ndarray, box: Box) -> np.ndarray:
    """Nearest point of the box."""
    return np.clip(v, box[0], box[1])


def solve_descent(
    moments: np.ndarray,
    box: Box,
    *,
    n_steps: np.ndarray | int,
    tol: float,
    learning_rate: str,
) -> tuple[np.ndarray, int, bool]:
    """Projected gradient descent (Algorithm 2) on all columns at once.

    Parameters
    ----------
    moments : ndarray of shape (2, n_features)
        Filtered means of x and x^2.
    box : tuple of ndarray
        Lower and upper limits, see :func:`make_box`.
    n_steps : int or ndarray of shape (n_features,)
        Steps of each column.
    tol : float
        Stop when no parameter moves by more than this in a step.
    learning_rate : {"invscaling", "constant"}
        ``10 / t`` as in the source, or one over the curvature's bound on the box,
        which converges at a linear rate.

    Returns
    -------
    v : ndarray of shape (2, n_features)
        Natural parameters.
    n_iter : int
        Steps taken.
    converged : bool
        Whether ``tol`` was met in every column.
    """
    # The source starts at (0, 0), where mu = v2 / v1 is undefined.
    v = np.stack([np.ones(moments.shape[1]), np.zeros(moments.shape[1])])
    last = np.broadcast_to(n_steps, v[0].shape)
    constant = 1.0 / curvature_bound(box)
    met = np.zeros(v.shape[1], dtype=bool)
    step = 0
    for step in range(1, int(last.max(initial=1)) + 1):
        rate = constant if learning_rate == "constant" else 10.0 / step
        new = project(v - rate * _gradient(v, moments), box)
        # A column that has taken its steps stands still, and is no nearer for it.
        going = step <= last
        met = np.where(going, np.abs(new - v).max(axis=0) <= tol, met)
        v = np.where(going, new, v)
        if (met | ~going).all():
            break
    return v, step, bool(met.all())


def curvature_bound(box: Box) -> np.ndarray:
    """Largest curvature of the objective on the box, for every column."""
    bound = np.zeros(box[0].shape[1])
    for first in np.linspace(0.0, 1.0, 9):
        for second in np.linspace(0.0, 1.0, 33):
            ratio = box[1][0] / box[0][0]
            at = box[0][1] + second * (box[1][1] - box[0][1])
            a, b, c = _hessian(np.stack([box[0][0] * ratio**first, at]))
            bound = np.maximum(bound, 0.5 * (a + c) + np.hypot(0.5 * (a - c), b))
    return bound


def solve_stochastic(
    X: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    scale: np.ndarray,
    box: Box,
    random_state: np.random.RandomState,
    *,
    n_steps: np.ndarray,
    filter: str | None,
    trim: float,
    draws: int = 9,
) -> tuple[np.ndarray, int]:
    """Stochastic form: each step looks at a few positive entries drawn by weight.

    One entry a step without a filter. With one, ``draws`` entries are drawn and
    their statistics filtered, as the filters need several to choose from (the
    source leaves this number open). Steps are ``10 / t`` as for the descent.

    Returns
    -------
    v : ndarray of shape (2, n_features)
        Natural parameters.
    n_iter : int
        Most steps of a column.
    """
    d = X.shape[1]
    draws = 1 if filter is None else draws
    longest = int(n_steps.max(initial=1))
    picks = random_state.uniform(size=(longest, draws))
    drawn = np.zeros((2, longest, d))
    for j in range(d):
        x = X[order, j].astype(np.float64) / scale[j]
        positive = x > 0
        if not positive.any():
            continue
        x, mass = x[positive], np.cumsum(weights[positive])
        sample = x[np.minimum(np.searchsorted(mass, picks * mass[-1]), len(x) - 1)]
        drawn[:, :, j] = _filter_draws(sample, filter, trim)
    v = np.stack([np.ones(d), np.zeros(d)])
    for step in range(1, longest + 1):
        new = project(v - 10.0 / step * _gradient(v, drawn[:, step - 1]), box)
        v = np.where(step <= n_steps, new, v)
    return v, longest


def _filter_draws(sample: np.ndarray, filter: str | None, trim: float) -> np.ndarray:
    values = np.stack([sample, sample**2])
    if filter == "median":
        return np.median(values, axis=2)
    values.sort(axis=2)
    n = values.shape[2]
    drop = min(max(int(np.ceil(trim * n)), 1), (n - 1) // 2)
    return values[:, :, drop : n - drop].mean(axis=2)


def has_interior(moments: np.ndarray) -> np.ndarray:
    """Columns whose moments some truncated normal law has: ``m1^2 < m2 < 2 m1^2``.

    At the upper limit the law has become exponential, beyond it there is none.
    """
    ratio = moments[1] / np.maximum(moments[0] ** 2, 1e-300)
    return (ratio > 1.0) & (ratio < 2.0)


def solve_newton(
    moments: np.ndarray, box: Box, *, n_steps: int, tol: float
) -> tuple[np.ndarray, int, bool]:
    """Projected Newton method on all columns at once.

    Parameters and returns are those of :func:`solve_descent`; the point reached is
    the minimiser of the convex objective over the box, also where the unconstrained
    problem has no solution.
    """
    v = np.stack([np.ones(moments.shape[1]), np.zeros(moments.shape[1])])
    low, high = box
    step, converged = 0, False
    for step in range(1, n_steps + 1):  # noqa: B007
        g = _gradient(v, moments)
        a, b, c = _hessian(v)
        # A coordinate on the border that the gradient pushes outward stays there.
        stuck = ((v <= low) & (g > 0)) | ((v >= high) & (g < 0))
        b = np.where(stuck.any(axis=0), 0.0, b)
        g = np.where(stuck, 0.0, g)
        det = np.maximum(a * c - b * b, 1e-300)
        move = -np.stack([c * g[0] - b * g[1], a * g[1] - b * g[0]]) / det
        new = _line_search(v, move, moments, box)
        moved = np.abs(new - v).max(initial=0.0)
        v = new
        if moved <= tol:
            converged = True
            break
    return v, step, converged


def _objective(v: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of a truncated normal law with these moments."""
    ratio = v[1] / np.sqrt(v[0])
    # log of the normalising constant: erfcx holds for every sign of the ratio.
    log_mass = np.log(erfcx(-ratio * np.sqrt(0.5))) - 0.5 * np.log(v[0])
    return 0.5 * v[0] * moments[1] - v[1] * moments[0] + log_mass


def _line_search(
    v: np.ndarray, move: np.ndarray, moments: np.ndarray, box: Box
) -> np.ndarray:
    value = _objective(v, moments)
    rate = np.ones(v.shape[1])
    for _ in range(30):
        new = project(v + rate * move, box)
        worse = _objective(new, moments) > value + 1e-15 * (1 + np.abs(value))
        if not worse.any():
            break
        rate = np.where(worse, 0.5 * rate, rate)
    return new
