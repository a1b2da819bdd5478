"""Contours of a score over two columns."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_scalar, get_tags
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from ._common import (
    Display,
    bounded,
    check_cuts,
    check_threshold,
    innermost,
    ordinary,
    row_scores,
    widened,
)

Array = NDArray[Any]


class ScoreContourDisplay(Display):
    """Contours of a detector's score, or of a log density, over two columns.

    Parameters
    ----------
    xx0, xx1 : ndarray of shape (grid_resolution, grid_resolution)
        The grid, as `numpy.meshgrid` makes it.
    response : ndarray of shape (grid_resolution, grid_resolution)
        The score at each point of the grid.
    threshold : float, default=None
        Drawn as a line around what is called normal.
    labels : tuple of two str, default=("", "")
        Names of the axes.
    name : str, default=None
        Title of the drawing.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    surface_ : matplotlib QuadContourSet
    threshold_ : matplotlib QuadContourSet or None

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from skrobust import NetOutlierDetector
    >>> from skrobust.inspection import ScoreContourDisplay
    >>> X, _ = make_moons(100, noise=0.1, random_state=0)
    >>> detector = NetOutlierDetector(code_size=1, random_state=0, max_iter=20).fit(X)
    >>> ScoreContourDisplay.from_estimator(detector, X)
    <...>
    """

    def __init__(
        self,
        *,
        xx0: Array,
        xx1: Array,
        response: Array,
        threshold: float | None = None,
        labels: tuple[str, str] = ("", ""),
        name: str | None = None,
    ):
        self.xx0, self.xx1, self.response = xx0, xx1, response
        self.threshold = check_threshold(threshold)
        self.labels, self.name = labels, name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        grid_resolution: int = 100,
        margin: float = 0.1,
        levels: int | ArrayLike = 12,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> ScoreContourDisplay:
        """Draw the ``score_samples`` of a fitted estimator around the rows of X.

        Parameters
        ----------
        estimator : estimator
            Fitted to two columns, with ``score_samples``. Where it has ``offset_``,
            that level is drawn as a line.
        X : array-like of shape (n_samples, 2)
            Rows that the grid is to cover; they are not drawn. Missing values (NaN)
            are left out.
        grid_resolution : int, default=100
            Points of the grid on each axis, at least 2.
        margin : float, default=0.1
            Room around the rows, as a part of their range; none below 0 where the
            estimator takes no negative numbers.
        levels : int or array-like, default=12
            Number of levels, at least 2, or the levels in increasing order. A number
            is spread over the upper 90 % of the grid's scores, because densities fall
            without end.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Title of the drawing; none if None.
        **kwargs : dict
            Passed to matplotlib's ``contourf``.

        Returns
        -------
        display : ScoreContourDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have two columns, there is no ``score_samples``, or levels or
            grid_resolution are less than 2.
        TypeError
            If levels or grid_resolution are a number but no int.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        check_scalar(grid_resolution, "grid_resolution", Integral, min_val=2)
        check_cuts(levels, "levels", 2)
        floats = [np.float64, np.float32]  # a grid of integers would be rounded
        rows = check_array(X, dtype=floats, ensure_all_finite="allow-nan")
        if rows.shape[1] != 2:
            raise ValueError(
                f"Contours need X with two columns, got {rows.shape[1]} features."
            )
        rows = np.where(np.isnan(rows).all(0), 0, rows)
        low, high = np.nanmin(rows, 0), np.nanmax(rows, 0)
        room = margin * np.where(high > low, high - low, 1.0)
        low, high = low - room, high + room
        if _refuses_negative(estimator):
            low = np.maximum(low, 0)
        xx0, xx1 = np.meshgrid(*np.linspace(low, high, grid_resolution).T)
        grid = np.column_stack([xx0.ravel(), xx1.ravel()]).astype(rows.dtype)
        names = [str(column) for column in getattr(X, "columns", ("", ""))]
        response = row_scores(estimator, _like(X, grid)).reshape(xx0.shape)
        display = cls(
            xx0=xx0,
            xx1=xx1,
            response=response,
            threshold=getattr(innermost(estimator), "offset_", None),
            labels=(names[0], names[1]),
            name=name,
        )
        return display.plot(ax=ax, levels=levels, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        levels: int | ArrayLike = 12,
        **kwargs: Any,
    ) -> ScoreContourDisplay:
        """Draw on ``ax``, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Title of the drawing; that of the display if None.
        levels : int or array-like, default=12
            Number of levels, or the levels, see ``from_estimator``.
        **kwargs : dict
            Passed to matplotlib's ``contourf``.

        Returns
        -------
        display : ScoreContourDisplay
        """
        cuts = check_cuts(levels, "levels", 2)
        ax, name = self._start(ax), self._called(name)
        if isinstance(cuts, int):
            low, high = np.quantile(ordinary(self.response), [0.1, 1.0])
            cuts = np.linspace(*widened(low, high, cuts), cuts)
        grid = self.xx0, self.xx1, bounded(self.response)
        options = {"levels": cuts, "extend": "min", **kwargs}
        self.surface_ = ax.contourf(*grid, **options)
        self.threshold_ = None
        if self.threshold is not None:
            line = {"colors": "black", "linestyles": "--"}
            level = bounded(self.threshold)
            self.threshold_ = ax.contour(*grid, levels=[level], **line)
        ax.set(xlabel=self.labels[0], ylabel=self.labels[1])
        if name is not None:
            ax.set_title(name)
        return self


def _refuses_negative(estimator: Any) -> bool:
    """Say whether what the rows meet first takes no negative numbers."""
    if hasattr(estimator, "best_estimator_"):
        return _refuses_negative(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        parts = [part for _, part in estimator.steps]
        first = [part for part in parts if part not in (None, "passthrough")][:1]
        return any(map(_refuses_negative, first))
    tagged = hasattr(estimator, "__sklearn_tags__")
    return tagged and get_tags(estimator).input_tags.positive_only


def _like(X: Any, values: Array) -> Any:
    """Return an array as the kind of table that X is, with the names of its columns."""
    if hasattr(X, "iloc"):  # pandas
        return type(X)(values, columns=list(X.columns))
    if hasattr(X, "columns"):  # polars
        return type(X)(values, schema=list(X.columns))
    return values
