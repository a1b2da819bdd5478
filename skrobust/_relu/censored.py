"""Censored normal margins and censored bivariate normal pairs, all at once.

A coordinate of ``ReLU(W z + b)`` is a normal variable censored at zero, a pair of
coordinates is a censored bivariate normal. The zeros carry information: using them
is what removes the error floor of estimators that see positive entries only.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx, ndtr

_ROOT_2_PI = float(np.sqrt(2.0 / np.pi))
_ROOT_HALF = float(np.sqrt(0.5))
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(24)


def mills(t: np.ndarray) -> np.ndarray:
    """Return ``phi(t) / Phi(t)`` without underflow.

    Examples
    --------
    >>> round(float(mills(0.0)), 6)
    0.797885
    """
    return _ROOT_2_PI / erfcx(-_ROOT_HALF * np.asarray(t, dtype=np.float64))


def censored_margins(
    zero: np.ndarray,
    total: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    *,
    nonnegative: bool = True,
    n_steps: int = 50,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Maximise the likelihood of normal variables censored at zero.

    In ``(delta, theta) = (mean / sd, 1 / sd)`` the log-likelihood
    :math:`n_0 \log\Phi(-\delta) + n_+\log\theta - \sum(\theta x-\delta)^2/2` is
    concave (Olsen, Econometrica 46, 1978), so damped Newton steps always arrive.

    Parameters
    ----------
    zero, total, first, second : ndarray of shape (n_problems,)
        Weight of the zeros, and weight, sum and sum of squares of the positive
        entries.
    nonnegative : bool, default=True
        Whether the mean is held at zero or above, as the model asks of ``b``.
    n_steps : int, default=50
        Most Newton steps.

    Returns
    -------
    mean, scale : ndarray of shape (n_problems,)
        Scale zero means that the positive entries are constant, or that there are
        none.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> m, s = censored_margins(*np.array([[0.0], [3.0], [x.sum()], [(x**2).sum()]]))
    >>> float(m[0].round(6)), float(s[0].round(6))
    (2.0, 0.816497)
    """
    live = total > 1e-9 * zero + 1e-100
    n_pos = np.where(live, total, 1.0)
    m1 = np.where(live, first / n_pos, 0.0)
    m2 = np.where(live, second / n_pos, 0.0)
    spread = np.maximum(m2 - m1 * m1, 0.0)
    live &= spread > 1e-10 * m2
    # Work in units of the root mean square, so one tolerance serves all columns.
    unit = np.sqrt(np.where(live, m2, 1.0))
    m1, m2 = np.where(live, m1 / unit, 0.0), np.ones_like(m2)
    ratio = np.where(live, zero / n_pos, 0.0)
    spread = np.where(live, spread / unit**2, 1.0)
    theta = 1.0 / np.sqrt(spread)
    # Few zeros: start from the uncensored fit, which is then close.
    few = ratio < 0.3
    delta = np.where(few, m1 * theta, 0.0)
    theta = np.where(few, theta, 1.0)
    for _ in range(n_steps):
        step_delta, step_theta = _tobit_step(delta, theta, ratio, m1, m2)
        # Bounded steps: theta stays positive and neither can overshoot far.
        step_theta = np.clip(step_theta, -0.8 * theta, 4.0 * theta)
        step_delta = np.clip(step_delta, -2.0 - abs(delta), 2.0 + abs(delta))
        delta = np.maximum(delta + step_delta, -6.0)
        theta = theta + step_theta
        if np.all(np.abs(step_theta) + np.abs(step_delta) <= 1e-12 * (1 + theta)):
            break
    if nonnegative:
        theta = np.where(delta < 0, 1.0, theta)
        delta = np.maximum(delta, 0.0)
    scale = np.where(live, unit / theta, 0.0)
    fixed = np.where(total > 0, first / n_pos, 0.0)
    # A constant column beside a majority of zeros has no positive mean to speak of.
    fixed = np.where(zero < total, fixed, 0.0)
    return np.where(live, unit * delta / theta, fixed), scale


def _tobit_step(
    delta: np.ndarray,
    theta: np.ndarray,
    ratio: np.ndarray,
    m1: np.ndarray,
    m2: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return one Newton step of the concave censored likelihood."""
    lam = mills(-delta)
    g_delta = -ratio * lam + theta * m1 - delta
    g_theta = 1.0 / theta - theta * m2 + delta * m1
    h_dd = 1.0 + ratio * lam * (lam - delta)
    h_tt = 1.0 / theta**2 + m2
    det = np.maximum(h_dd * h_tt - m1 * m1, 1e-300)
    return (
        (h_tt * g_delta + m1 * g_theta) / det,
        (m1 * g_delta + h_dd * g_theta) / det,
    )


def bivariate_cdf(h: np.ndarray, k: np.ndarray, rho: np.ndarray) -> np.ndarray:
    r"""Probability that two standard normals of correlation rho stay below h and k.

    Gauss-Legendre quadrature of :math:`\partial\Phi_2/\partial\rho=\phi_2` in the
    arcsine of rho (Drezner and Wesolowsky, 1990).

    Parameters
    ----------
    h, k, rho : ndarray of one shape
        Limits, and correlations inside (-1, 1).

    Returns
    -------
    ndarray of the same shape

    Examples
    --------
    >>> round(float(bivariate_cdf(0.0, 0.0, 0.5)), 6)
    0.333333
    """
    h, k, rho = np.broadcast_arrays(h, k, np.asarray(rho, dtype=np.float64))
    top = np.arcsin(rho)
    total = np.zeros(h.shape)
    for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
        sine = np.sin(0.5 * top * (1.0 + node))
        quad = (h * h + k * k - 2.0 * h * k * sine) / (2.0 * (1.0 - sine * sine))
        total += weight * np.exp(-quad)
    value = ndtr(h) * ndtr(k) + top * total / (4.0 * np.pi)
    return np.clip(value, 1e-300, 1.0)
