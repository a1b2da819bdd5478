"""Checks of the estimator's parameters, in scikit-learn's words."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._words import is_count, is_number, parameter_error

_CHOICES: dict[str, tuple[str | None, ...]] = {
    "solver": ("likelihood", "newton", "gd", "sgd"),
    "filter": ("median", "trimmed_mean", None),
    "angle": ("corrected", "two_quadrant", "paper"),
    "learning_rate": ("invscaling", "constant"),
}

_LARGEST = 1e100  # squares of entries 1e30 times as large are numbers, and inverses


def check_parameters(estimator: Any) -> None:
    """Refuse parameters of a ReLUDistributionEstimator that are out of range.

    Raises
    ------
    ValueError
        Names the parameter, what it must be, and what it is.
    """
    p = estimator.get_params()
    for name, allowed in _CHOICES.items():
        if p[name] not in allowed:
            _refuse(p, name, "one of " + ", ".join(repr(a) for a in allowed))
    for name in ("contamination", "trim"):
        if not _is_real(p[name], 0.0, 0.5):
            _refuse(p, name, "a float in the range [0, 0.5)")
    if not _is_real(p["radius"], 1.0 + 1e-9, np.inf):
        _refuse(p, "radius", "a float in the range (1, inf)")
    if p["tol"] is not None and not _is_real(p["tol"], 0.0, np.inf):
        _refuse(p, "tol", "None or a float in the range [0, inf)")
    if p["max_iter"] is not None and not is_count(p["max_iter"]):
        _refuse(p, "max_iter", "None or an int in the range [1, inf)")
    if p["n_batches"] != "auto" and not is_count(p["n_batches"]):
        _refuse(p, "n_batches", "'auto' or an int in the range [1, inf)")


def check_sizes(typical: np.ndarray) -> None:
    """Refuse columns whose variances would be no numbers, or zero.

    Parameters
    ----------
    typical : ndarray of shape (n_features,)
        Typical positive entry of each column, or zero.
    """
    wrong = (typical > _LARGEST) | ((typical > 0) & (typical < 1.0 / _LARGEST))
    if wrong.any():
        raise ValueError(
            "Input X contains values too large or too small for their squares: the "
            f"typical positive entry of columns {np.flatnonzero(wrong).tolist()} is "
            f"not between {1.0 / _LARGEST:g} and {_LARGEST:g}. Scale them."
        )


def _refuse(parameters: dict[str, Any], name: str, wanted: str) -> None:
    owner = "ReLUDistributionEstimator"
    raise parameter_error(name, owner, wanted, parameters[name])


def _is_real(value: Any, low: float, high: float) -> bool:
    return is_number(value) and low <= float(value) < high
