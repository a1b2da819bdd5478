"""Wrong labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ._common import RandomState, documented, draw_rows, marked


@documented
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
    rows = draw_rows(len(codes), rate, rng, "symmetric")
    _require_two_classes(classes, rows, "symmetric")
    codes[rows] += rng.randint(1, max(2, len(classes)), size=len(rows))
    return classes[codes % len(classes)], marked(len(codes), rows)


@documented
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
    rows = draw_rows(len(codes), rate, rng, "pairflip")
    _require_two_classes(classes, rows, "pairflip")
    codes[rows] += 1
    return classes[codes % len(classes)], marked(len(codes), rows)


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
