"""Rows that training kept, and rows that it trimmed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ._common import Display, bounded, check_mask, fitted, innermost

Array = NDArray[Any]

_ASKED = ("inlier_mask", "predict(X) == 1")


class KeptRowsDisplay(Display):
    """Training rows in the plane: those that training kept, and those it trimmed.

    Two columns are drawn as they are. More are standardised and projected on two
    principal components, both learned from the kept rows, since outliers would turn
    the plane towards themselves. One column is drawn against the number of the row.
    Missing values (NaN) are drawn at the mean of the kept rows, and numbers beyond
    1e100 there, since their squares would not be finite.

    Parameters
    ----------
    points : array-like of shape (n_samples, 2)
    inlier_mask : array-like of bool of shape (n_samples,)
    labels : tuple of two str, default=("", "")
        Names of the axes.
    name : str, default=None
        Title of the drawing.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    kept_, trimmed_ : matplotlib PathCollection

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrobust import PRLClassifier
    >>> from skrobust.inspection import KeptRowsDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = PRLClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> KeptRowsDisplay.from_estimator(model, X)
    <...>
    """

    def __init__(
        self,
        *,
        points: ArrayLike,
        inlier_mask: ArrayLike,
        labels: tuple[str, str] = ("", ""),
        name: str | None = None,
    ):
        self.name = name
        self.points = np.asarray(points)
        self.inlier_mask = check_mask(inlier_mask, *_ASKED)
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> KeptRowsDisplay:
        """Draw the ``inlier_mask_`` of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``inlier_mask_``; it may be the last step of a pipeline or
            the best estimator of a search.
        X : array-like of shape (n_samples, n_features)
            The rows it was fitted to, in their order. Those that it was not trained
            on (weight zero, or held out by early stopping) are outside the mask too,
            and cannot be told from the trimmed ones.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Title of the drawing; none if None.
        **kwargs : dict
            Passed to matplotlib's ``scatter``.

        Returns
        -------
        display : KeptRowsDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If it keeps no mask, or X has another number of rows.
        """
        mask = fitted(innermost(estimator), "inlier_mask_")
        return cls.from_predictions(X, mask, ax=ax, name=name, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        X: ArrayLike,
        inlier_mask: ArrayLike,
        *,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> KeptRowsDisplay:
        """Draw rows and a mask of your own.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        inlier_mask : array-like of bool of shape (n_samples,)
            True for the rows that were kept.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Title of the drawing; none if None.
        **kwargs : dict
            Passed to matplotlib's ``scatter``.

        Returns
        -------
        display : KeptRowsDisplay

        Raises
        ------
        ValueError
            If X and the mask differ in length, or the mask holds anything but
            booleans, 0 and 1.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        names = list(getattr(X, "columns", []))
        options = {"allow_nd": True, "ensure_all_finite": "allow-nan"}
        X = bounded(check_array(X, dtype=np.float64, **options))
        kept = check_mask(inlier_mask, *_ASKED)
        check_consistent_length(X, kept)
        points, labels = _plane(_filled(X.reshape(len(X), -1), kept), kept, names)
        display = cls(points=points, inlier_mask=kept, labels=labels, name=name)
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **kwargs: Any
    ) -> KeptRowsDisplay:
        """Draw on ``ax``, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Title of the drawing; that of the display if None.
        **kwargs : dict
            Passed to matplotlib's ``scatter`` for both clouds.

        Returns
        -------
        display : KeptRowsDisplay
        """
        ax, name = self._start(ax), self._called(name)
        kept, out = self.points[self.inlier_mask], self.points[~self.inlier_mask]
        first = {"s": 12, "color": "C0", "alpha": 0.5, "label": f"kept: {len(kept)}"}
        second = {
            "s": 24,
            "color": "C3",
            "marker": "x",
            "label": f"trimmed: {len(out)}",
        }
        if "c" in kwargs:  # matplotlib takes one of the two
            del first["color"], second["color"]
        self.kept_ = ax.scatter(*kept.T, **{**first, **kwargs})
        self.trimmed_ = ax.scatter(*out.T, **{**second, **kwargs})
        ax.set(xlabel=self.labels[0], ylabel=self.labels[1])
        if name is not None:
            ax.set_title(name)
        ax.legend()
        return self


def _filled(X: Array, kept: Array) -> Array:
    """Put the kept rows' mean, 0 where they have none, in place of missing values."""
    missing = np.isnan(X)
    if not missing.any():
        return X
    known = ~missing & (kept | ~kept.any())[:, None]
    total = np.sum(X, axis=0, where=known, dtype=np.float64)
    return np.where(missing, total / np.maximum(known.sum(0), 1), X)


def _plane(X: Array, kept: Array, names: list[Any]) -> tuple[Array, tuple[str, str]]:
    """Bring rows to two dimensions; return points and names of the axes."""
    if X.shape[1] == 1:
        label = str(names[0]) if names else "x0"
        return np.column_stack([np.arange(len(X)), X]), ("row", label)
    if X.shape[1] == 2:
        first, second = names or ("x0", "x1")
        return X, (str(first), str(second))
    base = X[kept] if kept.sum() > 1 else X
    scaler = StandardScaler().fit(base)
    pair = np.repeat(base, 2, axis=0) if len(base) == 1 else base  # PCA(2) wants two
    with np.errstate(invalid="ignore"):  # rows that are all alike have no variance
        pca = PCA(2, random_state=0).fit(scaler.transform(pair))
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    one, two = (f"component {i + 1} ({share:.0%})" for i, share in enumerate(shares))
    return pca.transform(scaler.transform(X)), (one, two)
