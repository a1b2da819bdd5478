"""Scores of rows under a fitted ReLU distribution.

The joint density has no closed form, its margins and its pairs do.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

from .censored import bivariate_cdf
from .joint import log_density
from .margins import log_broad, log_censored

_FLOOR = 0.01
_RIDGE = 0.01
_CHUNK = 1 << 20
_LOG_2PI = float(np.log(2.0 * np.pi))


def working_scale(bias: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Find standard deviations, those of constant columns made small.

    Parameters
    ----------
    bias : ndarray of shape (n_features,)
    covariance : ndarray of shape (n_features, n_features)

    Returns
    -------
    ndarray of shape (n_features,)
        A thousandth of the constant, or of the typical scale for a zero column.
    """
    scale = np.sqrt(np.diag(covariance))
    typical = np.median(scale[scale > 0]) if np.any(scale > 0) else 1.0
    return np.where(scale > 0, scale, 1e-3 * np.where(bias > 0, bias, typical))


def composite_log_density(
    X: np.ndarray, bias: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    r"""Average log-density of the pairs, each with a heavy floor under it.

    .. math:: \frac{1}{d-1}\sum_{i<j}\log\{(1-\kappa) f_{ij}(x_i,x_j)
              + \kappa\, g_i(x_i) g_j(x_j)\}

    with :math:`f_{ij}` the censored bivariate normal density, :math:`g` half a point
    mass at zero and half a Lomax law, and :math:`\kappa = 0.01`. Each term is a
    density, so the sum is a proper score: its mean is largest at the true
    distribution. The floor bounds what one outlying entry can take away to the
    logarithm of its size. For one column the margin takes the place of the pairs.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    bias : ndarray of shape (n_features,)
    covariance : ndarray of shape (n_features, n_features)

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    n, d = X.shape
    scale = working_scale(bias, covariance)
    rho = np.clip(covariance / np.outer(scale, scale), -1 + 1e-6, 1 - 1e-6)
    out = np.empty(n)
    step = max(1, _CHUNK // d)
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        x = X[rows].astype(np.float64)
        wide = np.log(0.5) + np.where(x > 0, log_broad(x, 2.0 * (bias + scale)), 0.0)
        margin = log_censored(x, bias, scale)
        if d == 1:
            out[rows] = _floored(margin, wide)[:, 0]
            continue
        total = np.zeros(len(x))
        for i in range(d - 1):
            pairs = _pair_log_density(x, margin, bias / scale, scale, rho[i], i)
            total += _floored(pairs, wide[:, i, None] + wide[:, i + 1 :]).sum(axis=1)
        out[rows] = total / (d - 1)
    return out


def _floored(value: np.ndarray, wide: np.ndarray) -> np.ndarray:
    return np.logaddexp(np.log1p(-_FLOOR) + value, np.log(_FLOOR) + wide)


def _pair_log_density(
    x: np.ndarray,
    margin: np.ndarray,
    delta: np.ndarray,
    scale: np.ndarray,
    rho: np.ndarray,
    i: int,
) -> np.ndarray:
    """Log-density of column i with each later column."""
    later = slice(i + 1, None)
    r, root = rho[later], np.sqrt(1.0 - rho[later] ** 2)
    u, v = (
        x[:, i, None] / scale[i] - delta[i],
        x[:, later] / scale[later] - delta[later],
    )
    first, second = x[:, i, None] > 0, x[:, later] > 0
    both = -0.5 * ((v - r * u) / root) ** 2 - np.log(root * scale[later])
    both += margin[:, i, None] - 0.5 * _LOG_2PI
    left = margin[:, i, None] + log_ndtr((-delta[later] - r * u) / root)
    right = margin[:, later] + log_ndtr((-delta[i] - r * v) / root)
    none = np.log(bivariate_cdf(-delta[i], -delta[later], r))
    return np.where(first, np.where(second, both, left), np.where(second, right, none))


def joint_log_density(
    X: np.ndarray, bias: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Approximate joint log-density; the covariance is blurred by one part in 100."""
    scale = working_scale(bias, covariance)
    blurred = (1.0 - _RIDGE) * covariance
    blurred[np.diag_indices_from(blurred)] = scale**2
    return log_density(X.astype(np.float64, copy=False), bias, blurred)
