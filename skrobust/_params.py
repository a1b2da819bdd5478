"""Checks of the estimators' parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import get_tags
from torch import nn

from ._nets import ACTIVATIONS
from ._words import is_count, is_number, is_share, require, takes
from .criteria import (
    BootstrapCrossEntropy,
    CrossEntropy,
    NegativeLogLikelihood,
    ReconstructionError,
)

LEARNING_RATES = ("constant", "cosine")
SOLVERS = ("adam", "sgd")
# losses that may be named, by the type of the estimator: labels are one-hot, so that
# they have a distance too, and detectors have no targets
DISTANCES = ("squared_error", "absolute_error", "huber")
CRITERIA = {
    "classifier": ("cross_entropy", *DISTANCES),
    "regressor": DISTANCES,
    "outlier_detector": ("reconstruction_error", "negative_log_likelihood"),
}
DENSITIES = (NegativeLogLikelihood, ReconstructionError)
OF_CLASSES = (BootstrapCrossEntropy, CrossEntropy)
FOREIGN = {  # losses of other tasks
    "classifier": DENSITIES,
    "regressor": (*DENSITIES, *OF_CLASSES),
    "outlier_detector": OF_CLASSES,
}
BOOL = "an instance of 'bool' or an instance of 'numpy.bool'"


def keep(estimator: Any, parameters: dict[str, Any]) -> None:
    """Assign the arguments of ``__init__`` as attributes, unchanged."""
    for name, value in parameters.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def require_number(
    estimator: Any, name: str, low: float, high: float = float("inf"), **ends: bool
) -> None:
    """Require a float in a range; ``open_low=True`` and ``open_high`` exclude ends.

    ``or_none=True`` takes None, too.
    """
    value, or_none = getattr(estimator, name), ends.get("or_none", False)
    below, above = ends.get("open_low", False), ends.get("open_high", True)
    ok = is_number(value) and low <= value <= high
    ok = ok and not (below and value == low) and not (above and value == high)
    left, right = "(" if below else "[", ")" if above else "]"
    words = f"a float in the range {left}{low}, {high}{right}"
    ok, words = (ok or value is None, f"None or {words}") if or_none else (ok, words)
    require(estimator, name, ok, words)


def require_count(estimator: Any, name: str, low: int = 1) -> None:
    """Require an int of at least ``low``."""
    ok = is_count(getattr(estimator, name), low)
    require(estimator, name, ok, f"an int in the range [{low}, inf)")


def require_bool(estimator: Any, name: str) -> None:
    """Require a bool of Python or NumPy."""
    ok = isinstance(getattr(estimator, name), bool | np.bool_)
    require(estimator, name, ok, BOOL)


def require_among(estimator: Any, name: str, options: Any) -> None:
    """Require one of some strings."""
    value = getattr(estimator, name)
    ok = isinstance(value, str) and value in options
    require(estimator, name, ok, _among(options))


def _among(options: Any) -> str:
    return "a str among {" + ", ".join(repr(o) for o in sorted(options)) + "}"


def check_criterion(est: Any) -> None:
    """Check the loss; by name only those that make sense of the targets."""
    value, names = est.criterion, CRITERIA[get_tags(est).estimator_type]
    named = isinstance(value, str) and value in names
    ok = named or (callable(value) and not isinstance(value, type))
    ok = ok and not isinstance(value, FOREIGN[get_tags(est).estimator_type])
    require(est, "criterion", ok, f"{_among(names)}, a Loss or a callable")


def check_network(est: Any) -> None:
    """Check the parameters that all networks share."""
    if isinstance(est.network, nn.Module):
        raise ValueError(
            f"The 'network' parameter of {type(est).__name__} must be a factory, such "
            "as a class or a function of (n_features, n_outputs) that returns a new "
            "module, or None. Got an instance of "
            f"{type(est.network).__name__} instead."
        )
    named = isinstance(est.network, str) and est.network in est._named_networks
    ok = est.network is None or callable(est.network) or named
    names = "".join(f"{name!r}, " for name in est._named_networks)
    require(est, "network", ok, f"{names}None or a callable" if names else "a callable")
    if callable(est.network) and not takes(est.network, "n_features", "n_outputs"):
        expected = "a callable that takes (n_features, n_outputs)"
        require(est, "network", False, expected)
    sizes = est.hidden_layer_sizes
    listed = isinstance(sizes, tuple | list) or len(getattr(sizes, "shape", ())) == 1
    ok = all(is_count(s) for s in (sizes if listed else (sizes,)))
    require(est, "hidden_layer_sizes", ok, "an array-like of positive ints or an int")
    require_among(est, "activation", ACTIVATIONS)
    require_number(est, "dropout", 0, 1)
    require_among(est, "solver", getattr(est, "_solvers", SOLVERS))
    require_among(est, "learning_rate", LEARNING_RATES)
    require_number(est, "learning_rate_init", 0, open_low=True)
    require_number(est, "alpha", 0)
    require_number(est, "momentum", 0, 1)
    require_number(est, "tol", 0)
    for name in ("batch_size", "max_iter", "weight_decay"):
        if name in est._automatic and getattr(est, name) == "auto":
            continue
        if name == "weight_decay":
            require_number(est, name, 0)
        elif name == "batch_size" and is_share(est.batch_size):
            require_number(est, name, 0, 1, open_low=True, open_high=False)
        else:
            require_count(est, name)
    if est.n_iter_no_change is not None:
        require_count(est, "n_iter_no_change")
    chosen = "clip_norm" in est._automatic and est.clip_norm == "auto"
    if est.clip_norm is not None and not chosen:
        require_number(est, "clip_norm", 0, open_low=True)
    if hasattr(est, "criterion"):
        check_criterion(est)
    for name in ("standardize", "warm_start", "nesterovs_momentum"):
        require_bool(est, name)
    ok = isinstance(est.verbose, bool | np.bool_) or is_count(est.verbose, 0)
    require(est, "verbose", ok, f"an int in the range [0, inf), {BOOL}")


def check_stopping(est: Any) -> None:
    """Check the parameters of early stopping."""
    require_bool(est, "early_stopping")
    require_number(est, "validation_fraction", 0, 1, open_low=True)


def check_composition(est: Any) -> None:
    """Check the parameters of the three open bases."""
    require_count(est, "n_networks")
    ok = isinstance(est.steps, tuple | list) and all(map(_is_step, est.steps))
    expected = "a tuple of steps: instances, not classes, and rules as Reweight(rule)"
    require(est, "steps", ok, expected)
    if est.n_networks == 1:
        ok = not any(getattr(step, "compares_networks", False) for step in est.steps)
        require(est, "n_networks", ok, "2 or more for steps that compare networks")
    if not is_classifier(est):
        ok = not any(getattr(step, "for_labels", False) for step in est.steps)
        require(est, "steps", ok, "free of steps for class labels")


def _is_step(value: Any) -> bool:
    """Whether a value can be called like a step, as classes and rules cannot."""
    is_class = isinstance(value, type)
    return not is_class and takes(value, "stack", "batch", "context")
