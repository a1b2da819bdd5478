"""Wrong targets of regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state

from .._words import is_number, parameter_error
from ._common import Corruption, RandomState, documented, draw_rows, marked


@documented
def linadv(
    y: Any,
    rate: float,
    *,
    X: Any = None,
    random_state: RandomState = None,
    scale: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Let a wrong linear map of the features make the corrupted targets [1]_.

    ``y_corrupted = X @ W`` with one random W for all corrupted rows.

    {target parameters, used X}
    X : array-like of shape (n_samples, n_features)
        Features. Required.
    scale : float, default=1.0
        Standard deviation of the entries of W. The paper does not state it; with 1,
        corrupted targets grow with the square root of the number of features.

    {target outcome}

    Examples
    --------
    >>> from skrobust.corruption import linadv
    >>> y, mask = linadv([1.0, 2.0], 0.5, X=[[1.0], [2.0]], random_state=0)
    >>> int(mask.sum())
    1
    """
    y = _check_targets(y)
    if X is None:
        raise parameter_error("X", "linadv", "an array of features", X)
    if not is_number(scale) or not 0 < scale < np.inf:
        raise parameter_error("scale", "linadv", "a positive float", scale)
    X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
    check_consistent_length(X, y)
    rng = check_random_state(random_state)
    rows = draw_rows(len(y), rate, rng, "linadv")
    wrong = rng.normal(scale=scale, size=(X.shape[1], *y.shape[1:]))
    with np.errstate(over="ignore", invalid="ignore"):  # said below, in clearer words
        _write(y, rows, X[rows] @ wrong, "linadv")
    return y, marked(len(y), rows)


@documented
def signflip(
    y: Any, rate: float, *, X: Any = None, random_state: RandomState = None
) -> tuple[np.ndarray, np.ndarray]:
    """Flip the sign of the corrupted targets [1]_.

    Presupposes centred targets: standardise them first.

    {target parameters}

    {target outcome}

    Examples
    --------
    >>> from skrobust.corruption import signflip
    >>> signflip([1, -2, 3], 1.0)[0].tolist()
    [-1.0, 2.0, -3.0]
    """
    y = _check_targets(y)
    rng = check_random_state(random_state)
    rows = draw_rows(len(y), rate, rng, "signflip")
    y[rows] = -y[rows]
    return y, marked(len(y), rows)


@documented
def uninoise(
    y: Any,
    rate: float,
    *,
    X: Any = None,
    random_state: RandomState = None,
    low: float = -5.0,
    high: float = 5.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the corrupted targets from a uniform distribution [1]_.

    Presupposes standardised targets: the default range is five of their standard
    deviations to either side.

    {target parameters}
    low, high : float, default=-5.0 and 5.0
        The range, in units of `y`. The defaults are the papers'.

    {target outcome}

    Examples
    --------
    >>> from skrobust.corruption import uninoise
    >>> y, mask = uninoise([0.0, 0.0], 0.5, random_state=0, low=7, high=8)
    >>> bool(7 <= y[mask][0] <= 8)
    True
    """
    y = _check_targets(y)
    if not is_number(low) or not -np.inf < low < np.inf:
        raise parameter_error("low", "uninoise", "a finite float", low)
    if not is_number(high) or not low < high < np.inf:
        raise parameter_error("high", "uninoise", f"a float above low={low!r}", high)
    if not np.isfinite(float(high) - float(low)):
        expected = f"so close to low={low!r} that their difference is finite"
        raise parameter_error("high", "uninoise", expected, high)
    rng = check_random_state(random_state)
    rows = draw_rows(len(y), rate, rng, "uninoise")
    drawn = rng.uniform(low, high, size=(len(rows), *y.shape[1:]))
    _write(y, rows, drawn, "uninoise")
    return y, marked(len(y), rows)


@documented
def target_shuffle(
    y: Any, rate: float, *, X: Any = None, random_state: RandomState = None
) -> tuple[np.ndarray, np.ndarray]:
    """Swap the outputs of the corrupted rows, or their targets among themselves.

    With several outputs, one random permutation of the outputs that leaves none in
    place is applied to all corrupted rows (eyes become mouth corners): the papers'
    pairflip for regression [1]_. With one output there is nothing to swap within a
    row, so the corrupted rows exchange their targets among themselves, none keeping
    its own; a single corrupted row takes the target of another row drawn at random.
    Rows that happen to have equal targets, or equal outputs, may come out unchanged.

    {target parameters}

    {target outcome}

    Examples
    --------
    >>> from skrobust.corruption import target_shuffle
    >>> target_shuffle([[1, 2], [3, 4]], 1.0, random_state=0)[0].tolist()
    [[2.0, 1.0], [4.0, 3.0]]
    """
    y = _check_targets(y)
    rng = check_random_state(random_state)
    rows = draw_rows(len(y), rate, rng, "target_shuffle")
    if y.ndim == 2 and y.shape[1] > 1:
        outputs = rng.permutation(y.shape[1])
        y[np.ix_(rows, outputs)] = y[np.ix_(rows, np.roll(outputs, 1))]
    elif len(rows) > 1:
        # The rows come in random order, so the next one is a random other one.
        y[rows] = y[np.roll(rows, 1)]
    elif len(rows) == 1:
        if len(y) == 1:
            raise ValueError("target_shuffle needs another row. Got n_samples = 1.")
        y[rows] = y[(rows + rng.randint(1, len(y))) % len(y)]
    return y, marked(len(y), rows)


@documented
def maximum(
    y: Any, rate: float, *, X: Any = None, random_state: RandomState = None
) -> tuple[np.ndarray, np.ndarray]:
    """Set the corrupted targets to the largest clean target of all rows [2]_.

    {target parameters}

    {target outcome}

    Examples
    --------
    >>> from skrobust.corruption import maximum
    >>> maximum([1, 5, 2], 1.0)[0].tolist()
    [5.0, 5.0, 5.0]
    """
    y = _check_targets(y)
    rng = check_random_state(random_state)
    rows = draw_rows(len(y), rate, rng, "maximum")
    y[rows] = y.max(axis=0)
    return y, marked(len(y), rows)


@documented
def mixture(
    y: Any,
    rate: float,
    *,
    X: Any = None,
    random_state: RandomState = None,
    corruptions: Sequence[Corruption] = (linadv, signflip, uninoise, target_shuffle),
) -> tuple[np.ndarray, np.ndarray]:
    """Split the corrupted rows evenly over several corruptions [1]_.

    Presupposes standardised targets, as `signflip` and `uninoise` do. Every corruption
    sees the clean targets of all rows: `maximum` would use their maximum, and
    `target_shuffle` takes the targets of one-output rows from the whole data.

    {target parameters, used X}
    X : array-like of shape (n_samples, n_features)
        Features, handed to every corruption. `linadv` requires them.
    corruptions : sequence of callables
        Corruptions of regression targets with the common signature, by default all
        but `maximum`; fix an extra keyword by `functools.partial`. Their numbers of
        rows differ by at most one, the first ones having more.

    {target outcome}

    Examples
    --------
    >>> from skrobust.corruption import maximum, mixture, signflip
    >>> y = [1.0, 2.0, 3.0, 3.0]
    >>> y, mask = mixture(y, 1.0, random_state=0, corruptions=(maximum, signflip))
    >>> int((y < 0).sum()), int((y == 3).sum())
    (2, 2)
    """
    y = _check_targets(y)
    known = isinstance(corruptions, Sequence) and len(corruptions) > 0
    if not known or not all(map(callable, corruptions)):
        expected = "a non-empty sequence of corruptions, which are functions"
        raise parameter_error("corruptions", "mixture", expected, corruptions)
    rng = check_random_state(random_state)
    rows = draw_rows(len(y), rate, rng, "mixture")
    corrupted = y.copy()
    shares = np.array_split(rows, len(corruptions))
    for corrupt, share in zip(corruptions, shares, strict=True):
        if len(share) > 0:
            if X is None and getattr(corrupt, "func", corrupt) is linadv:
                expected = "an array of features, as linadv is among the corruptions"
                raise parameter_error("X", "mixture", expected, X)
            # Corrupt all rows and take the share: this works for any size of it.
            corrupted[share] = corrupt(y, 1.0, X=X, random_state=rng)[0][share]
    return corrupted, marked(len(y), rows)


def _check_targets(y: Any) -> np.ndarray:
    """Return a float copy of the targets."""
    y = check_array(y, dtype=[np.float64, np.float32], ensure_2d=False, input_name="y")
    return np.array(y)  # what check_array copies from pandas may be read-only


def _write(y: np.ndarray, rows: np.ndarray, values: np.ndarray, name: str) -> None:
    """Put targets into rows, or refuse them where their dtype cannot hold them."""
    with np.errstate(over="ignore"):
        y[rows] = values
    if not np.isfinite(y[rows]).all():
        raise ValueError(
            f"{name} made targets that are too large for {y.dtype!r}. Standardise the "
            "features and targets, or pass y as float64."
        )
