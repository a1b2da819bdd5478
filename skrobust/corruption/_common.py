"""What all corruptions share: documentation, and which rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from .._words import filled_doc, is_number, parameter_error

Corruption = Callable[..., tuple[np.ndarray, np.ndarray]]
RandomState = int | np.random.RandomState | None

_F = TypeVar("_F", bound=Corruption)

_RANDOM_STATE = """
random_state : int, RandomState instance or None, default=None
    Draws all that is random. Pass an int for reproducible output."""
_UNUSED_X = """
X : object, default=None
    Ignored, here for the common signature."""
_LABELS = """
Parameters
----------
y : array-like of shape (n_samples,)
    Labels of any kind: integers, strings, booleans.
rate : float
    Share of rows to corrupt, in [0, 1]."""
_TARGETS = """
Parameters
----------
y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    Regression targets.
rate : float
    Share of rows to corrupt, in [0, 1]."""
_OUTCOME = """
mask : ndarray of shape (n_samples,), dtype bool
    True where a row was corrupted.

Raises
------
ValueError
    If `rate` is not in [0, 1], another parameter is out of its range, or the data
    cannot be corrupted so (one class, a single row, no `X`).

References
----------
.. [1] "Provable Robust Learning for Deep Neural Networks under Agnostic Corrupted
       Supervision", section 6.
.. [2] Liu, "Robust Learning of Deep Neural Networks under Data Corruption",
       dissertation, 2022, sections 4.4 and 4.4.3."""
_SHARED_DOCS = {
    "label parameters": _LABELS + _UNUSED_X + _RANDOM_STATE,
    "target parameters": _TARGETS + _UNUSED_X + _RANDOM_STATE,
    "target parameters, used X": _TARGETS + _RANDOM_STATE,
    "label outcome": """
Returns
-------
y_corrupted : ndarray of shape (n_samples,)
    A corrupted copy of `y`, of its dtype. Every corrupted row has another label."""
    + _OUTCOME,
    "target outcome": """
Returns
-------
y_corrupted : ndarray of the shape of `y`
    A corrupted copy of `y`, float32 if `y` is and float64 otherwise."""
    + _OUTCOME,
}


def documented(function: _F) -> _F:
    """Fill ``{target parameters}`` and its like into a docstring."""
    function.__doc__ = filled_doc(function, _SHARED_DOCS)
    return function


def draw_rows(
    n_samples: int, rate: float, rng: np.random.RandomState, name: str
) -> np.ndarray:
    """Draw the rows to corrupt, in random order."""
    if not is_number(rate) or not 0 <= rate <= 1:
        raise parameter_error("rate", name, "a float in the range [0, 1]", rate)
    # A prefix of one permutation: a higher rate adds rows and drops none.
    return rng.permutation(n_samples)[: round(float(rate) * n_samples)]


def marked(n_samples: int, rows: np.ndarray) -> np.ndarray:
    """Return the mask of rows, (n_samples,)."""
    mask = np.zeros(n_samples, dtype=bool)
    mask[rows] = True
    return mask
