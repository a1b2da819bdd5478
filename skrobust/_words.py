"""What is said of parameters: scikit-learn's words for bad ones, documentation shared.

One place, so that the same mistake reads the same wherever it is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

IN_UNIT = "a number in the range [0, 1), a schedule or a tensor"
AT_LEAST_0 = "a number of at least 0, a schedule or a tensor"


def parameter_error(name: str, owner: str, expected: str, got: Any) -> ValueError:
    """Return the error about a parameter of a function or class."""
    return ValueError(
        f"The {name!r} parameter of {owner} must be {expected}. Got {got!r} instead."
    )


def is_number(value: Any) -> bool:
    """Whether a value is a real number (not a bool)."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_count(value: Any, low: int = 1) -> bool:
    """Whether a value is an int (not a bool) of at least ``low``."""
    is_int = isinstance(value, Integral) and not isinstance(value, bool)
    return is_int and int(value) >= low


def is_share(value: Any) -> bool:
    """Whether a value is a real number but no int, so a share and not a count."""
    return is_number(value) and not isinstance(value, Integral)


def require_samples(n_samples: Any) -> None:
    """Refuse to draw other than a whole number of rows."""
    if not is_count(n_samples):
        expected = "an int in the range [1, inf)"
        raise parameter_error("n_samples", "sample", expected, n_samples)


def takes(value: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether a value can be called with such arguments, as far as can be told."""
    if not callable(value):
        return False
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # Python cannot tell of all callables
        return True
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def require(owner: Any, name: str, ok: bool, expected: str) -> None:
    """Refuse a parameter, in scikit-learn's words, unless all is well with it."""
    if not ok:
        value = getattr(owner, name)
        raise parameter_error(name, type(owner).__name__, expected, value)


# where the "?" on an estimator's HTML page leads
DOC_LINK = (
    "https://skrobust.readthedocs.io/en/latest/generated/"
    "{estimator_module}.{estimator_name}.html"
)


def filled_doc(owner: Any, parts: Mapping[str, str]) -> str:
    """Return a docstring in which each ``{name}`` is replaced by the part so named."""
    doc = inspect.cleandoc(owner.__doc__ or "")
    for name, text in parts.items():
        doc = doc.replace("{" + name + "}", inspect.cleandoc(text))
    return doc + "\n"
