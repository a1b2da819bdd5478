"""Scores of a detector, and its threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ._common import (
    Display,
    bounded,
    check_cuts,
    check_mask,
    check_threshold,
    innermost,
    ordinary,
    row_scores,
    widened,
)

Array = NDArray[Any]


class ScoreHistogramDisplay(Display):
    """Histogram of a detector's scores, with the threshold.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        The higher, the more normal.
    threshold : float, default=None
        Rows with lower scores are called outliers.
    outlier_mask : array-like of bool of shape (n_samples,), default=None
        Which rows are known to be outliers; they get a histogram of their own.
    bins : int or array-like, default=50
        Number of bins, or their edges in increasing order. Bins of equal width reach
        to six interquartile ranges beyond the quartiles, but no further than the scores
        and the threshold do. Scores beyond the outermost edges count in the outermost
        bins, so that no row is left out and one wild row does not flatten the rest.
    name : str, default=None
        Name in the legend.

    Attributes
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Finite, whatever the scores are.
    counts : ndarray of shape (n_bins,)
        Rows in each bin that are not known to be outliers.
    outlier_counts : ndarray of shape (n_bins,), or None
    ax_, figure_ : matplotlib Axes and Figure
    stairs_, outlier_stairs_ : matplotlib StepPatch, the second may be None
    threshold_line_ : matplotlib Line2D or None

    Examples
    --------
    >>> import numpy as np
    >>> from skrobust import NetOutlierDetector
    >>> from skrobust.inspection import ScoreHistogramDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = NetOutlierDetector(random_state=0, max_iter=20).fit(X)
    >>> ScoreHistogramDisplay.from_estimator(detector, X)
    <...>
    """

    def __init__(
        self,
        *,
        scores: ArrayLike,
        threshold: float | None = None,
        outlier_mask: ArrayLike | None = None,
        bins: int | ArrayLike = 50,
        name: str | None = None,
    ):
        self.name = name
        self.scores = _check_scores(scores)
        self.threshold = check_threshold(threshold)
        odd = np.zeros(len(self.scores), bool)
        if outlier_mask is not None:
            odd = check_mask(outlier_mask, "outlier_mask", "predict(X) == -1")
            check_consistent_length(self.scores, odd)
        self.outlier_mask = odd
        self.edges = _edges(self.scores, self.threshold, check_cuts(bins, "bins", 1))
        inside = np.clip(self.scores, self.edges[0], self.edges[-1])
        self.counts = np.histogram(inside[~odd], self.edges)[0]
        self.outlier_counts = (
            None if outlier_mask is None else np.histogram(inside[odd], self.edges)[0]
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        outlier_mask: ArrayLike | None = None,
        bins: int | ArrayLike = 50,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> ScoreHistogramDisplay:
        """Draw the ``score_samples`` of a fitted detector, and its ``offset_``.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``score_samples``: any detector of this package or of
            scikit-learn, also at the end of a pipeline.
        X : array-like of shape (n_samples, n_features)
            Rows to score.
        outlier_mask : array-like of bool of shape (n_samples,), default=None
            Which rows are known to be outliers.
        bins : int or array-like, default=50
            Number of bins, or their edges.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Name in the legend; none if None.
        **kwargs : dict
            Passed to matplotlib's ``stairs``.

        Returns
        -------
        display : ScoreHistogramDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If it has no ``score_samples``.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        return cls.from_predictions(
            row_scores(estimator, X),
            threshold=getattr(innermost(estimator), "offset_", None),
            outlier_mask=outlier_mask,
            bins=bins,
            ax=ax,
            name=name,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        scores: ArrayLike,
        *,
        threshold: float | None = None,
        outlier_mask: ArrayLike | None = None,
        bins: int | ArrayLike = 50,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> ScoreHistogramDisplay:
        """Draw scores of your own.

        Parameters
        ----------
        scores : array-like of shape (n_samples,)
            The higher, the more normal.
        threshold : float, default=None
            Rows with lower scores are called outliers.
        outlier_mask : array-like of bool of shape (n_samples,), default=None
            Which rows are known to be outliers.
        bins : int or array-like, default=50
            Number of bins, or their edges.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Name in the legend; none if None.
        **kwargs : dict
            Passed to matplotlib's ``stairs``.

        Returns
        -------
        display : ScoreHistogramDisplay

        Raises
        ------
        ValueError
            If there are no scores, if some are NaN, if the mask holds anything but
            booleans, 0 and 1, or differs from the scores in length, or if bins are
            neither at least one nor edges in increasing order.
        TypeError
            If bins are a number but no int.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        display = cls(
            scores=scores,
            threshold=threshold,
            outlier_mask=outlier_mask,
            bins=bins,
            name=name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **kwargs: Any
    ) -> ScoreHistogramDisplay:
        """Draw on ``ax``, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Name in the legend; that of the display if None.
        **kwargs : dict
            Passed to matplotlib's ``stairs`` for both histograms.

        Returns
        -------
        display : ScoreHistogramDisplay
        """
        ax, name = self._start(ax), self._called(name)
        options = {"fill": True, "alpha": 0.6, **kwargs}
        known = self.outlier_counts is not None
        prefix = "" if name is None else f"{name}: "
        first = {"label": f"{prefix}inliers" if known else name, **options}
        self.stairs_ = ax.stairs(self.counts, self.edges, **first)
        self.outlier_stairs_ = self.threshold_line_ = None
        if known:
            second = {"label": f"{prefix}outliers", "color": "C3", **options}
            self.outlier_stairs_ = ax.stairs(self.outlier_counts, self.edges, **second)
        if self.threshold is not None:
            line = {"color": "black", "linestyle": "--", "label": "threshold"}
            self.threshold_line_ = ax.axvline(bounded(self.threshold), **line)
        if known or name is not None or self.threshold is not None:
            ax.legend()
        ax.set(xlabel="score (higher is more normal)", ylabel="rows")
        return self


def _check_scores(scores: ArrayLike) -> Array:
    """Return scores as floats: at least one, any of them infinite, none NaN."""
    names = {"estimator": "ScoreHistogramDisplay", "input_name": "scores"}
    options = {"ensure_2d": False, "ensure_all_finite": False, **names}
    numbers = column_or_1d(check_array(scores, dtype=float, **options))
    if np.isnan(numbers).any():
        raise ValueError("Input scores contains NaN.")
    return numbers


def _edges(scores: Array, threshold: float | None, bins: int | Array) -> Array:
    """Return the edges of the bins, see `ScoreHistogramDisplay`."""
    if not isinstance(bins, int):
        return bins
    low, high = np.quantile(ordinary(scores), [0.25, 0.75])
    reach = 6 * (high - low)
    limits = [] if threshold is None else [bounded(threshold)]
    ends = np.append(bounded(scores), limits)
    first, last = max(ends.min(), low - reach), min(ends.max(), high + reach)
    first, last = min([first, *limits]), max([last, *limits])
    return np.histogram_bin_edges(widened(first, last, bins), bins)
