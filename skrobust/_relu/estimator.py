"""The distribution of a one-layer ReLU network, from samples with outliers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import (
    check_is_fitted,
    check_non_negative,
    validate_data,
)

from .._border import check_weights, to_numpy, whole_or_not
from .._words import DOC_LINK, require_samples
from .checks import check_parameters, check_sizes
from .fit import (
    Fitted,
    MomentOptions,
    column_constants,
    fit_by_likelihood,
    fit_by_moments,
)
from .rows import FAR, bounded, typical_entries
from .score import composite_log_density, joint_log_density, working_scale

_WHOM = (
    "ReLUDistributionEstimator. The output of a ReLU is never negative, so such rows "
    "belong to another model"
)


class ReLUDistributionEstimator(DensityMixin, BaseEstimator):
    r"""Law of ``x = max(W z + b, 0)``, z standard normal, from rows with outliers.

    W itself cannot be seen from x, as any rotation of z gives the same law;
    ``Sigma = W W^T`` and ``b >= 0`` can, and are estimated.

    Parameters
    ----------
    solver : {"likelihood", "newton", "gd", "sgd"}, default="likelihood"
        ``"likelihood"`` uses that each entry is a censored normal variable, zeros
        included, beside a mixture for outlying entries and rows; it goes beyond the
        source and was the more accurate in every setting tried. The others are the
        source's algorithm (positive entries, filtered block means, angles):
        ``"gd"`` as printed, ``"sgd"`` its stochastic form, ``"newton"`` the point
        that gradient descent converges to, in a few steps.
    filter : {"median", "trimmed_mean", None}, default="median"
        How block means are combined; None is the plain mean. Not for
        ``"likelihood"``, as the next seven.
    n_batches : int or "auto", default="auto"
        Number of blocks for each column. ``"auto"`` makes blocks just small enough
        that two in three hold no outlier at the stated contamination.
    contamination : float, default=0.1
        Share of outlying rows, in [0, 0.5), to choose blocks by. The likelihood
        estimates it.
    trim : float, default=0.25
        Share of the blocks that the trimmed mean drops at either end, in [0, 0.5).
    angle : {"corrected", "two_quadrant", "paper"}, default="corrected"
        Estimate of the angles. ``"paper"`` counts outliers in one quadrant and has
        an error floor that no sample size removes; ``"two_quadrant"`` counts
        disagreeing signs; ``"corrected"`` also discards the heavier of two opposite
        quadrants, whose masses are equal without outliers.
    radius : float, default=3.0
        The box of the natural parameters after rescaling, above 1 (source, eq. 10).
    learning_rate : {"invscaling", "constant"}, default="invscaling"
        Step of ``"gd"``: ``10 / t`` as in the source, or one over the curvature,
        which converges.
    max_iter : int or None, default=None
        Most iterations. None means 50 (likelihood), 100 (newton), a hundredth of
        the number of positive entries as in the source (gd and sgd), or 200000
        (gd with constant step).
    tol : float or None, default=None
        Change of the parameters that stops. None means 1e-4 of a standard
        deviation for the likelihood, 1e-10 otherwise. Not for ``"sgd"``.
    random_state : int, RandomState or None, default=0
        Salt of the row order that cuts the blocks, draws of sgd, and of ``sample``.
        Fixed by default so that equal data give equal fits.

    Attributes
    ----------
    covariance_ : ndarray of shape (n_features, n_features)
        Sigma, positive semidefinite.
    bias_ : ndarray of shape (n_features,)
        b, at least zero.
    angles_ : ndarray of shape (n_features, n_features)
        Angles between the rows of W in radians, before the projection of Sigma.
    weights_ : ndarray of shape (n_features, n_features)
        A factor: ``weights_ @ weights_.T`` is ``covariance_``.
    sample_weight_ : ndarray of shape (n_samples,)
        Trust in each training row, from 0 to 1: the probability that it is no
        outlier times the share of its entries that are none. All ones for the
        source's solvers, which filter blocks and not rows; zero where
        ``sample_weight`` is.
    support_ : ndarray of shape (n_samples,), bool
        Rows with a trust of at least one half.
    n_iter_ : int
        Iterations taken.
    converged_ : bool
        Whether ``tol`` was met; always False for ``"sgd"``, which takes its steps
        and does not look.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X has names that are all strings.

    Raises
    ------
    ValueError
        For a negative entry (a ReLU has none in its output), fewer than two rows,
        a column whose typical positive entry is beyond 1e100 or below 1e-100, or a
        parameter out of range.

    Warns
    -----
    ConvergenceWarning
        If ``tol`` was not met. Not where a number of steps was asked for and not
        that they arrive: by ``"sgd"``, and by ``"gd"`` as printed (its default step,
        neither ``max_iter`` nor ``tol`` given), which may end far from its limit.

    Notes
    -----
    The likelihood needs the clean rows to be the majority, and outliers that a
    censored normal law does not explain: outlying entries of a single column that
    overlap with the clean ones, or all-zero rows with a single column, cannot be
    told apart from clean ones by any method. Its sums go over pairs of columns: the
    cost is ``n_samples * n_features ** 2``.

    References
    ----------
    .. [1] "Learning Distributions Generated by Single-Layer ReLU Networks in the
       Presence of Arbitrary Outliers", Algorithms 1 and 2, equations 5 to 11.
    .. [2] S. Wu, A. Dimakis, S. Sanghavi, "Learning Distributions Generated by
       One-Layer ReLU Networks", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skrobust import ReLUDistributionEstimator
    >>> rng = np.random.RandomState(0)
    >>> X = np.maximum(rng.randn(2000, 2) @ np.diag([1.0, 2.0]) + [0.5, 1.0], 0)
    >>> X[:200] = 50.0
    >>> model = ReLUDistributionEstimator().fit(X)
    >>> bool(np.abs(model.bias_ - [0.5, 1.0]).max() < 0.15)
    True
    >>> int(model.support_[:200].sum())
    0
    """

    _doc_link_module, _doc_link_template = "skrobust", DOC_LINK

    def __init__(
        self,
        *,
        solver: str = "likelihood",
        filter: str | None = "median",
        n_batches: int | str = "auto",
        contamination: float = 0.1,
        trim: float = 0.25,
        angle: str = "corrected",
        radius: float = 3.0,
        learning_rate: str = "invscaling",
        max_iter: int | None = None,
        tol: float | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.solver = solver
        self.filter = filter
        self.n_batches = n_batches
        self.contamination = contamination
        self.trim = trim
        self.angle = angle
        self.radius = radius
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        """Declare that negative entries are refused."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> ReLUDistributionEstimator:
        """Estimate Sigma and b.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with entries of at least zero, at least two of them.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight of each row; an integer acts as that many equal rows, zero leaves
            the row out.

        Returns
        -------
        self : ReLUDistributionEstimator
            The fitted estimator.
        """
        with whole_or_not(self):
            fitted = self._fit(X, sample_weight)
        if not (fitted.converged or fitted.as_asked):
            warnings.warn(
                f"Solver {self.solver!r} did not converge in {self.n_iter_} "
                "iterations. Increase max_iter, or tol.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _fit(self, X: Any, sample_weight: Any) -> Fitted:
        check_parameters(self)
        X = to_numpy(X)
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        check_non_negative(X, _WHOM)
        weights = check_weights(sample_weight, len(X))
        used = weights > 0
        rows = X if used.all() else X[used]
        live, constant, filled = column_constants(rows, weights[used])
        columns = rows if live.all() else rows[:, live]
        typical = constant.copy()
        typical[live] = typical_entries(columns)
        check_sizes(typical)
        columns = bounded(columns, typical[live])
        fitted = self._fit_columns(columns, weights[used], filled[live])
        self._store(fitted, live, constant, used)
        return fitted

    def _fit_columns(
        self, X: np.ndarray, weights: np.ndarray, filled: np.ndarray
    ) -> Fitted:
        rng = check_random_state(self.random_state)
        if X.shape[1] == 0:
            empty = np.empty(0)
            square = np.empty((0, 0))
            return Fitted(empty, empty, square, square, np.ones(len(X)), 1, True)
        if self.solver == "likelihood":
            return fit_by_likelihood(X, weights, rng, self.max_iter, self.tol)
        names = MomentOptions.__dataclass_fields__
        options = MomentOptions(**{name: getattr(self, name) for name in names})
        return fit_by_moments(X, weights, filled, rng, options)

    def _store(
        self,
        fitted: Fitted,
        live: np.ndarray,
        constant: np.ndarray,
        used: np.ndarray,
    ) -> None:
        """Put the columns without spread back, and factor Sigma."""
        d = len(live)
        grid = np.ix_(live, live)
        self.bias_ = constant
        self.bias_[live] = fitted.mean
        self.covariance_ = np.zeros((d, d))
        scales = np.outer(fitted.scale, fitted.scale)
        correlation = (fitted.correlation + fitted.correlation.T) / 2  # to the last bit
        self.covariance_[grid] = correlation * scales
        # The direction of a zero row is open: call it orthogonal to the others.
        self.angles_ = np.full((d, d), 0.5 * np.pi)
        self.angles_[grid] = fitted.angles
        np.fill_diagonal(self.angles_, 0.0)
        # Not of Sigma: columns in small units would be lost in rounding.
        values, vectors = np.linalg.eigh(correlation)
        factor = vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0.0))
        self.weights_ = np.zeros((d, d))
        self.weights_[live, : factor.shape[1]] = fitted.scale[:, None] * factor
        self.sample_weight_ = np.zeros(len(used))
        self.sample_weight_[used] = fitted.trust
        self.support_ = self.sample_weight_ >= 0.5
        self.n_iter_ = int(fitted.n_iter)
        self.converged_ = bool(fitted.converged)

    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> np.ndarray:
        """Draw rows of the fitted distribution.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            Source of the draws; None takes the estimator's.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        require_samples(n_samples)
        seed = self.random_state if random_state is None else random_state
        rng = check_random_state(seed)
        latent = rng.standard_normal((n_samples, self.n_features_in_))
        return np.maximum(latent @ self.weights_.T + self.bias_, 0.0)

    def score_samples(self, X: Any) -> np.ndarray:
        """Robust composite log-density of each row; higher is more normal.

        The joint density has no closed form. This is the average over all pairs of
        columns of the logarithm of their censored bivariate normal density, mixed
        with one hundredth of a heavy-tailed one, times ``n_features / 2`` so that
        it counts every entry once. It is exact, but for the mixing, for one or two
        columns and for independent ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with entries of at least zero.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        X = self._check_rows(X)
        return composite_log_density(X, self.bias_, self.covariance_)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean of :meth:`score_samples`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with entries of at least zero.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the mean.

        Returns
        -------
        float
        """
        scores = self.score_samples(X)
        return float(np.average(scores, weights=check_weights(sample_weight, len(X))))

    def outlier_score_samples(self, X: Any) -> np.ndarray:
        """Score each row by how little the fitted distribution explains it.

        Minus an approximate joint log-density: positive entries are conditioned on
        exactly, the zeros one after the other as if they left a normal law behind
        (in runs of at most twelve columns). It sees the rows that are unusual only
        in their combination, and unlike :meth:`score_samples` has no floor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with entries of at least zero.

        Returns
        -------
        ndarray of shape (n_samples,)
            Higher is more outlying.
        """
        X = self._check_rows(X)
        return -joint_log_density(X, self.bias_, self.covariance_)

    def _check_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = to_numpy(X)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        check_non_negative(X, _WHOM)
        scale = working_scale(self.bias_, self.covariance_)
        return np.minimum(X, self.bias_ + FAR * scale)
