"""Angles between the rows of W, read off the quadrants around b."""

from __future__ import annotations

import numpy as np


def quadrants(
    X: np.ndarray, weights: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight of every pair of columns in three quadrants around b.

    Returns
    -------
    both, first, neither : ndarray of shape (n_features, n_features)
        Both entries above, the row's column alone above, none above; sums to one.
    """
    n, d = X.shape
    both, above, total = np.zeros((d, d)), np.zeros(d), weights.sum()
    step = max(64, (1 << 23) // d)
    # Counts of unit weights are exact in float32, at twice the speed.
    plain = bool(np.all(weights == 1.0))
    kind: type = np.float32 if plain else np.float64
    for start in range(0, n, step):
        part: np.ndarray = (X[start : start + step] > bias).astype(kind)
        weighted = part if plain else part * weights[start : start + step, None]
        both += weighted.T @ part
        above += weighted.sum(axis=0, dtype=np.float64)
    first = above[:, None] - both
    neither = total - both - first - first.T
    return both / total, first / total, neither / total


def angle_matrix(
    X: np.ndarray, weights: np.ndarray, bias: np.ndarray, method: str
) -> np.ndarray:
    r"""Angles between the rows of W.

    ``"paper"`` is equation 11, :math:`\pi - 2\pi P(x_i > b_i, x_j > b_j)`; outliers
    above b shift it by a floor that no sample size removes. ``"two_quadrant"`` is
    :math:`\pi P(\text{signs differ})`. ``"corrected"`` uses that opposite quadrants
    have equal mass under the model: an excess of one over the other is outliers, so
    the lighter of each pair is kept and the masses are normalised anew.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    weights : ndarray of shape (n_samples,)
        Their weights.
    bias : ndarray of shape (n_features,)
        The centre.
    method : {"paper", "two_quadrant", "corrected"}
        See above.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        Angles in [0, pi], zeros on the diagonal.
    """
    both, first, neither = quadrants(X, weights, bias)
    if method == "paper":
        angles = np.pi - 2.0 * np.pi * both
    elif method == "two_quadrant":
        angles = np.pi * (first + first.T)
    else:
        equal = np.minimum(both, neither)
        differ = np.minimum(first, first.T)
        mass = equal + differ
        angles = np.pi * np.where(mass > 0, differ / np.where(mass > 0, mass, 1), 0.5)
    angles = np.clip(angles, 0.0, np.pi)
    np.fill_diagonal(angles, 0.0)
    return angles
