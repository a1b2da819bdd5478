"""What the displays share: axes, and fitted attributes in clear words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

Array = NDArray[Any]


class Display:
    """What the displays share: axes to draw on."""

    def _start(self, ax: Any) -> Any:
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        self.ax_ = plt.subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        return self.ax_


def innermost(estimator: Any) -> Any:
    """Return the model of a search or at the end of a pipeline."""
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return innermost(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return innermost(estimator[-1])
    return estimator


def fitted(estimator: Any, attribute: str) -> Any:
    """Return an attribute of a fitted estimator, or say that it has none."""
    check_is_fitted(estimator)
    if not hasattr(estimator, attribute):
        raise ValueError(f"{type(estimator).__name__} has no {attribute} to draw.")
    return getattr(estimator, attribute)


def row_scores(estimator: Any, X: Any) -> Array:
    """Return ``score_samples(X)`` as finite numbers."""
    check_is_fitted(estimator)
    if not hasattr(estimator, "score_samples"):
        raise ValueError(f"{type(estimator).__name__} has no score_samples to draw.")
    return np.asarray(estimator.score_samples(X), dtype=float)
