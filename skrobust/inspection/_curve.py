"""The training curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ._common import Display, fitted, innermost

Array = NDArray[Any]


class TrainingCurveDisplay(Display):
    """Training loss by epoch, and the validation score where there was one.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        Training loss of each epoch.
    validation_scores : array-like of shape (n_scores,), default=None
        Score of the held-out rows; higher is better. Those of the last epochs, if
        there are fewer than losses.
    name : str, default=None
        Name in the legend.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    line_ : matplotlib Line2D
        The losses.
    validation_ax_, validation_line_ : matplotlib Axes and Line2D, or None
        The scores, on an axis of their own at the right.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrobust import PRLClassifier
    >>> from skrobust.inspection import TrainingCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = PRLClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> TrainingCurveDisplay.from_estimator(model)
    <...>
    """

    def __init__(
        self,
        *,
        loss_curve: ArrayLike,
        validation_scores: ArrayLike | None = None,
        name: str | None = None,
    ):
        self.loss_curve = np.asarray(loss_curve, dtype=float)
        self.validation_scores = (
            None if validation_scores is None else np.asarray(validation_scores, float)
        )
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any
    ) -> TrainingCurveDisplay:
        """Draw the curve of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``loss_curve_``; it may be the last step of a pipeline or the
            best estimator of a search.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Name in the legend; that of the class if None.
        **kwargs : dict
            Passed to matplotlib's ``plot`` for the losses.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If it keeps no training curve.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        inner = innermost(estimator)
        display = cls(
            loss_curve=fitted(inner, "loss_curve_"),
            validation_scores=getattr(inner, "validation_scores_", None),
            name=type(inner).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **kwargs: Any
    ) -> TrainingCurveDisplay:
        """Draw on ``ax``, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Name in the legend; that of the display if None.
        **kwargs : dict
            Passed to matplotlib's ``plot`` for the losses.

        Returns
        -------
        display : TrainingCurveDisplay
        """
        ax, name = self._start(ax), self._called(name)
        n = len(self.loss_curve)
        options = {"label": name or "training loss", **kwargs}
        (self.line_,) = ax.plot(np.arange(1, n + 1), self.loss_curve, **options)
        ax.set(xlabel="epoch", ylabel="training loss")
        self.validation_ax_ = self.validation_line_ = None
        if self.validation_scores is not None:
            scores = self.validation_scores
            self.validation_ax_ = ax.twinx()
            (self.validation_line_,) = self.validation_ax_.plot(
                np.arange(n - len(scores) + 1, n + 1), scores, "C1--"
            )
            self.validation_ax_.set_ylabel("validation score (dashed)")
        if name is not None:
            ax.legend()
        return self
