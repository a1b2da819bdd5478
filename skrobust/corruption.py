"""Corruptions of labels and targets, as the experiments on robust learning use them.

Every function has the one signature ``f(y, rate, *, X=None, random_state=None)`` and
returns ``(y_corrupted, mask)``, so that a benchmark can loop over them:

- labels: :func:`symmetric`, :func:`pairflip`;
- regression targets: :func:`linadv`, :func:`signflip`, :func:`uninoise`,
  :func:`target_shuffle`, :func:`maximum`, :func:`mixture`.

Exactly ``round(rate * n)`` rows are corrupted (the nearest integer, a tie goes to the
even one), drawn without replacement. With one integer seed the rows of a lower rate
are among the rows of a higher one, so that a curve over rates compares like with like.
The input is never modified.

The corruptions of regression targets were designed for targets that are standardised
(mean 0, variance 1 for each output). On raw targets `signflip` and `uninoise` may be
far too easy or too hard to spot: standardise first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ._words import filled_doc, is_number, parameter_error

__all__ = [
    "linadv",
    "maximum",
    "mixture",
    "pairflip",
    "signflip",
    "symmetric",
    "target_shuffle",
    "uninoise",
]

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


def _documented(function: _F) -> _F:
    """Fill ``{target parameters}`` and its like into a docstring."""
    function.__doc__ = filled_doc(function, _SHARED_DOCS)
    return function


@_documented
def symmetric(
    y: Any, rate: float, *, X: Any = None, random_state: RandomState = None
) -> tuple[np.ndarray, np.ndarray]:
    """Give the corrupted rows another label, each other label being as likely [1]_.

    The number of corrupted rows is exact. Some published experiments draw the fate of
    each row on its own, so that their number varies around the rate.

    {label parameters}

    {label outcome}

    Examples
    --------
    >>> from skrobust.corruption import symmetric
    >>> y, mask = symmetric(["a", "b", "c", "a"], 0.5, random_state=0)
    >>> int(mask.sum())
    2
    """
    codes, classes = _encode(y, "symmetric")
    rng = check_random_state(random_state)
    rows = _draw_rows(len(codes), rate, rng, "symmetric")
    _require_two_classes(classes, rows, "symmetric")
    codes[rows] += rng.randint(1, max(2, len(classes)), size=len(rows))
    return classes[codes % len(classes)], _mask(len(codes), rows)


@_documented
def pairflip(
    y: Any, rate: float, *, X: Any = None, random_state: RandomState = None
) -> tuple[np.ndarray, np.ndarray]:
    """Give the corrupted rows the next label in sorted order, cyclically [1]_.

    What the papers call pairflip for regression is :func:`target_shuffle`.

    {label parameters}

    {label outcome}

    Examples
    --------
    >>> from skrobust.corruption import pairflip
    >>> pairflip([0, 1, 2, 2], 1.0)[0].tolist()
    [1, 2, 0, 0]
    """
    codes, classes = _encode(y, "pairflip")
    rng = check_random_state(random_state)
    rows = _draw_rows(len(codes), rate, rng, "pairflip")
    _require_two_classes(classes, rows, "pairflip")
    codes[rows] += 1
    return classes[codes % len(classes)], _mask(len(codes), rows)


@_documented
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
    rows = _draw_rows(len(y), rate, rng, "linadv")
    wrong = rng.normal(scale=scale, size=(X.shape[1], *y.shape[1:]))
    with np.errstate(over="ignore", invalid="ignore"):  # said below, in clearer words
        _write(y, rows, X[rows] @ wrong, "linadv")
    return y, _mask(len(y), rows)


@_documented
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
    rows = _draw_rows(len(y), rate, rng, "signflip")
    y[rows] = -y[rows]
    return y, _mask(len(y), rows)


@_documented
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
    rows = _draw_rows(len(y), rate, rng, "uninoise")
    drawn = rng.uniform(low, high, size=(len(rows), *y.shape[1:]))
    _write(y, rows, drawn, "uninoise")
    return y, _mask(len(y), rows)


@_documented
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
    rows = _draw_rows(len(y), rate, rng, "target_shuffle")
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
    return y, _mask(len(y), rows)


@_documented
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
    rows = _draw_rows(len(y), rate, rng, "maximum")
    y[rows] = y.max(axis=0)
    return y, _mask(len(y), rows)


@_documented
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
    rows = _draw_rows(len(y), rate, rng, "mixture")
    corrupted = y.copy()
    shares = np.array_split(rows, len(corruptions))
    for corrupt, share in zip(corruptions, shares, strict=True):
        if len(share) > 0:
            if X is None and getattr(corrupt, "func", corrupt) is linadv:
                expected = "an array of features, as linadv is among the corruptions"
                raise parameter_error("X", "mixture", expected, X)
            # Corrupt all rows and take the share: this works for any size of it.
            corrupted[share] = corrupt(y, 1.0, X=X, random_state=rng)[0][share]
    return corrupted, _mask(len(y), rows)


def _encode(y: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels as positions in their sorted classes, and the classes."""
    y = column_or_1d(y)
    if len(y) == 0:
        shape = "0 sample(s) (shape=(0,))"
        raise ValueError(f"Found array with {shape} while a minimum of 1 is required.")
    if y.dtype == object and any(map(_is_missing, y)):
        raise ValueError("Input y contains NaN, or None in place of a label.")
    try:
        check_classification_targets(y)
    except ValueError as error:
        if "type: continuous" not in str(error):
            raise
        raise ValueError(
            f"Unknown label type: continuous. {name} corrupts labels; regression "
            "targets are corrupted by target_shuffle, which the papers call pairflip "
            "too, and by other functions of this module."
        ) from error
    classes, codes = np.unique(y, return_inverse=True)
    return codes, classes


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas' NA is neither equal nor unequal
        return True


def _require_two_classes(classes: np.ndarray, rows: np.ndarray, name: str) -> None:
    if len(rows) > 0 and len(classes) < 2:
        raise ValueError(f"{name} needs at least 2 classes in y. Got 1 class instead.")


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


def _draw_rows(
    n_samples: int, rate: float, rng: np.random.RandomState, name: str
) -> np.ndarray:
    """Draw the rows to corrupt, in random order."""
    if not is_number(rate) or not 0 <= rate <= 1:
        raise parameter_error("rate", name, "a float in the range [0, 1]", rate)
    # A prefix of one permutation: a higher rate adds rows and drops none.
    return rng.permutation(n_samples)[: round(float(rate) * n_samples)]


def _mask(n_samples: int, rows: np.ndarray) -> np.ndarray:
    mask = np.zeros(n_samples, dtype=bool)
    mask[rows] = True
    return mask
