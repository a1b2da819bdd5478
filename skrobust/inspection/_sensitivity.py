"""A score against a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import validation_curve
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ._common import Display, fitted

Array = NDArray[Any]


class SensitivityDisplay(Display):
    """A score against a parameter, by default ``epsilon``.

    Parameters
    ----------
    param_range : sequence of length n_values
        Values of the parameter; drawn to scale where they are all numbers.
    scores : array-like of shape (n_values, n_splits)
        Score of each value on each split.
    param_name, score_name : str, default='epsilon' and 'score'
        Names of the axes.
    chosen : int, default=None
        Place in ``param_range`` of the value that a search chose; None: nobody chose.
    name : str, default=None
        Name in the legend.

    Attributes
    ----------
    means, spreads : ndarray of shape (n_values,)
        Mean and standard deviation over the splits.
    ax_, figure_ : matplotlib Axes and Figure
    line_ : matplotlib Line2D
    band_ : matplotlib PolyCollection
        One standard deviation on either side.
    chosen_line_ : matplotlib Line2D or None

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skrobust import PRLClassifier
    >>> from skrobust.inspection import SensitivityDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = PRLClassifier(max_iter=20, random_state=0)
    >>> search = GridSearchCV(model, {"epsilon": [0.0, 0.2, 0.4]}).fit(X, y)
    >>> SensitivityDisplay.from_search(search)
    <...>
    """

    def __init__(
        self,
        *,
        param_range: Sequence[Any],
        scores: ArrayLike,
        param_name: str = "epsilon",
        score_name: str = "score",
        chosen: int | None = None,
        name: str | None = None,
    ):
        self.param_range = list(param_range)
        self.scores = np.asarray(scores, dtype=float)
        self.param_name, self.score_name = param_name, score_name
        self.chosen, self.name = chosen, name
        self.means, self.spreads = self.scores.mean(1), self.scores.std(1)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        param_range: Sequence[Any],
        param_name: str = "epsilon",
        scoring: Any = None,
        cv: Any = None,
        n_jobs: int | None = None,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> SensitivityDisplay:
        """Refit a clone for every value and split, and draw the held-out scores.

        Parameters
        ----------
        estimator : estimator
            Need not be fitted.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Targets; for detectors what ``scoring`` needs, for instance 1 for inliers
            and -1 for outliers with ``scoring="roc_auc"``.
        param_range : sequence
            Values to try.
        param_name : str, default='epsilon'
            Parameter to vary; in a pipeline ``"<step>__epsilon"``.
        scoring, cv, n_jobs : as in `sklearn.model_selection.validation_curve`
            Judge by a robust score of `skrobust.metrics` where the held-out rows are
            corrupted too.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Name in the legend; none if None.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : SensitivityDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        _, scores = validation_curve(
            estimator,
            X,
            y,
            param_name=param_name,
            param_range=param_range,
            scoring=scoring,
            cv=cv,
            n_jobs=n_jobs,
        )
        score_name = scoring if isinstance(scoring, str) else "score"
        display = cls(
            param_range=param_range,
            scores=scores,
            param_name=param_name,
            score_name=score_name.replace("_", " "),
            name=name,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_search(
        cls,
        search: Any,
        *,
        param_name: str = "epsilon",
        metric: str | None = None,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> SensitivityDisplay:
        """Draw what a fitted search found.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or the like
            Fitted, with ``cv_results_``.
        param_name : str, default='epsilon'
            The parameter on the horizontal axis. Where the search varied others too,
            each value stands with the best mean score among them. Where the search
            gave candidates more rows step by step (``HalvingGridSearchCV``), only the
            last step that a value reached counts, since scores on few rows are often
            lucky.
        metric : str, default=None
            Which score, if the search was given several.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Name in the legend; none if None.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : SensitivityDisplay

        Raises
        ------
        NotFittedError
            If the search is not fitted.
        ValueError
            If it did not vary the parameter, or kept no such score.
        """
        check_matplotlib_support(f"{cls.__name__}.from_search")
        found = fitted(search, "cv_results_")
        suffix = f"_test_{metric or 'score'}"
        splits = [k for k in found if k.startswith("split") and k.endswith(suffix)]
        if not splits or f"param_{param_name}" not in found:
            missing = f"{param_name!r}" if splits else f"a score {metric or 'score'!r}"
            raise ValueError(f"The search did not record {missing}.")
        scores = np.column_stack([found[k] for k in splits])
        tried = found[f"param_{param_name}"]
        # A later step of a halving search comes before any mean; failed fits come last.
        steps = found.get("iter", np.zeros(len(tried)))
        means = np.nan_to_num(scores.mean(1), nan=-np.inf)
        best: dict[str, int] = {}  # by what they look like: lists have no hash
        for i, value in enumerate(tried):
            if value is np.ma.masked:  # a grid of several that leaves it out
                continue
            known = best.setdefault(repr(value), i)
            if (steps[i], means[i]) > (steps[known], means[known]):
                best[repr(value)] = i
        at = list(best.values())
        try:
            at = sorted(at, key=lambda i: tried[i])
        except TypeError:
            pass  # in the order of the search
        winner = getattr(search, "best_index_", None)
        look = None if winner is None else repr(tried[winner])
        display = cls(
            param_range=[tried[i] for i in at],
            scores=scores[at],
            param_name=param_name,
            score_name=metric or "score",
            chosen=at.index(best[look]) if look in best else None,
            name=name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **kwargs: Any
    ) -> SensitivityDisplay:
        """Draw on ``ax``, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Name in the legend; that of the display if None.
        **kwargs : dict
            Passed to matplotlib's ``plot`` for the line of means.

        Returns
        -------
        display : SensitivityDisplay
        """
        ax, name = self._start(ax), self._called(name)
        at = self._positions()
        low, high = self.means - self.spreads, self.means + self.spreads
        (self.line_,) = ax.plot(
            at, self.means, **{"marker": "o", "label": name, **kwargs}
        )
        color = self.line_.get_color()
        self.band_ = ax.fill_between(at, low, high, alpha=0.2, color=color, linewidth=0)
        self.chosen_line_ = None
        if self.chosen is not None:
            line = ax.axvline(at[self.chosen], color="gray", linestyle=":")
            self.chosen_line_ = line
        ax.set(xlabel=self.param_name, ylabel=self.score_name)
        if name is not None:
            ax.legend()
        if at.dtype.kind == "i":
            ax.set_xticks(at, [str(value) for value in self.param_range])
        return self

    def _positions(self) -> Array:
        """Return the values themselves, or 0, 1, ... where they are not numbers."""
        numeric = (int, float, np.integer, np.floating)
        if all(
            isinstance(v, numeric) and not isinstance(v, bool) for v in self.param_range
        ):
            return np.asarray(self.param_range, dtype=float)
        return np.arange(len(self.param_range))
