"""What all detectors of networks share: thresholds, p-values, decisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from ._base import NetBase
from ._batch import Batch
from ._compat import with_callbacks
from ._contamination import (
    EPSILON,
    ROUNDING,
    automatic_threshold,
    conformal_p_values,
    held_out,
    threshold,
)
from ._holdout import Data
from ._hooks import Call, Fitted
from ._params import is_number, require, require_number
from ._progress import Progress
from ._scaling import weighted_quantile
from ._words import parameter_error
from .criteria import Loss, NegativeLogLikelihood

Array = NDArray[Any]


class DetectorBase(OutlierMixin, NetBase):
    """What all detectors share; a subclass declares its parameters."""

    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Fit the networks to rows of which some may be outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows; a torch tensor on any device will do.
        y : Ignored
            There for scikit-learn's convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative. Whole numbers act like that many repeated rows; of others the
            mean is one row, so their unit does not matter to thresholds and p-values.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, the data are not finite numbers, or the
            device cannot be used.
        """
        return self._fit(X, None, sample_weight)

    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Train one epoch on the given rows, from where the last call ended.

        The threshold is set anew by the rows of this call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self
        """
        return self._fit(X, None, sample_weight, partial=True)

    def fit_predict(self, X: ArrayLike, y: Any = None, **kwargs: Any) -> Array:
        """Fit, then say which of the training rows are outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
        **kwargs : dict
            Passed on to ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,)
            1 for inliers, -1 for outliers.
        """
        return self.fit(X, **kwargs).predict(X)

    def _check_params(self) -> None:
        super()._check_params()
        self._check_contamination()
        require_number(self, "calibration_fraction", 0, 1)

    def _check_contamination(self) -> None:
        c = self.contamination
        ok = c is None or (isinstance(c, str) and c == "auto")
        ok = ok or (is_number(c) and 0 <= c <= 0.5)
        expected = "'auto', None or a float in the range [0.0, 0.5]"
        require(self, "contamination", ok, expected)

    def _needs_y(self) -> bool:
        return False

    def _learn_targets(self, X: Array, y: Any, weights: Array, call: Call) -> Fitted:
        density = isinstance(self._loss(), NegativeLogLikelihood)
        return {"n_outputs_": 1 if density else int(np.prod(X.shape[1:]))}

    def _encode(self, y: Any, about: dict[str, Any]) -> None:
        return None

    def _trimmed_fraction(self) -> float:
        """Return what training leaves out, for detectors that have ``epsilon``."""
        if self.epsilon is not None:
            return self.epsilon
        return EPSILON if self.contamination == "auto" else self.contamination or 0.0

    def _prepare(self, X: Array, weights: Array, resume: bool) -> tuple[Array, Array]:
        self._held_out = held_out(X, weights, self.calibration_fraction)
        self.calibration_mask_ = self._held_out > 0
        left = weights - self._held_out
        if not left.any():
            raise ValueError(
                f"calibration_fraction={self.calibration_fraction} leaves none of "
                f"{np.count_nonzero(weights)} samples to train on. Give more of them "
                "at once, or a smaller fraction."
            )
        return X, left

    def _finish(self, X: Array, weights: Array) -> None:
        self._conclude(self._scores(X), weights)

    def _conclude(self, scores: Array, weights: Array) -> None:
        """Keep the scores of the rows given to ``fit``; set the threshold."""
        self.training_scores_, self._prior = scores, weights
        self.offset_ = self._offset(self.contamination)

    def _offset(self, contamination: float | str | None) -> float:
        """Return the score below which a row is an outlier."""
        there = self._prior > 0
        scores, weights = self.training_scores_[there], self._prior[there]
        if contamination == "auto":
            return automatic_threshold(scores, weights, self._rounding())
        return threshold(scores, weights, contamination or 0.0, self._rounding())

    def set_contamination(self, contamination: float | str | None) -> Any:
        """Move the threshold of a fitted detector; nothing is trained again.

        Parameters
        ----------
        contamination : float in [0, 0.5], "auto" or None
            As the parameter of that name, which takes this value. What training left
            out stays as it was.

        Returns
        -------
        self
            With a new ``offset_``.
        """
        check_is_fitted(self)
        before, self.contamination = self.contamination, contamination
        try:
            self._check_contamination()
        except ValueError:
            self.contamination = before
            raise
        self.offset_ = self._offset(contamination)
        return self

    def set_offset(self, offset: float) -> Any:
        """Move the threshold of a fitted detector to a score of your own choice.

        Parameters
        ----------
        offset : float
            In the unit of ``score_samples``: rows that score less are outliers. It
            holds until the next fit, or `set_contamination`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If it is no finite number.
        """
        check_is_fitted(self)
        if not is_number(offset) or not np.isfinite(offset):
            raise parameter_error("offset", "set_offset", "a finite float", offset)
        self.offset_ = float(offset)
        return self

    def p_values(self, X: ArrayLike, X_calibration: ArrayLike | None = None) -> Array:
        """Conformal p-values: how unusual a row is among rows kept from training.

        With m calibration rows, k of them at or below the score of a row, its p-value
        is ``(k + 1) / (m + 1)``. A new row that comes from where the calibration rows
        come from has a p-value of at most ``a`` with probability at most ``a``,
        whatever the network and the data, on average over calibration sets. No p-value
        falls below ``1 / (m + 1)``.

        Outliers among the calibration rows, a share c of them, mostly have low scores
        and so make p-values larger: fewer outliers are found, and p-values hardly fall
        below c. In the worst case, where they look perfectly normal, a normal row has
        a p-value of at most ``a`` with probability ``a / (1 - c)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows. Rows trained on get p-values that are too large.
        X_calibration : array-like of shape (m, n_features), default=None
            Rows that were not given to ``fit``, preferably free of outliers. None:
            those that ``calibration_fraction`` held out.

        Returns
        -------
        ndarray of shape (n_samples,)
            In (0, 1]; small for outliers.

        Raises
        ------
        ValueError
            If there are no calibration rows.

        References
        ----------
        S. Bates, E. Candes, L. Lei, Y. Romano, M. Sesia, "Testing for outliers with
        conformal p-values", 2023.
        """
        scores = self.score_samples(X)
        out = self.calibration_mask_
        known, weights = self.training_scores_[out], self._held_out[out]
        if X_calibration is not None:
            known = self.score_samples(X_calibration)
            weights = np.ones(len(known))
        if len(known) == 0:
            raise ValueError(
                f"p_values of {type(self).__name__} need rows that training has not "
                f"seen, but the fit kept none of {len(out)}. Set calibration_fraction, "
                "for instance to 0.2 or to more where rows are few, and fit again, or "
                "pass X_calibration."
            )
        return conformal_p_values(scores, known, weights, self._rounding())

    def _precise(self) -> Any:
        """Return the networks to score with, in double precision if they can.

        In single precision the last digits of a score depend on the rows beside it,
        and so would decisions.
        """
        stack = self._stack
        # a user's network may hold numbers of single precision that it makes itself
        return stack.double() if hasattr(stack, "double") else stack

    def _rounding(self) -> float:
        return ROUNDING[self._precise().theta.element_size()]

    def _validated(self, held_out: Data, progress: Progress) -> float:
        """Return minus the median loss, which outliers among the rows cannot move."""
        X_val, _, weights = held_out
        losses = self._losses_of(X_val, progress.stack, progress.scaler, self._loss())
        return -float(weighted_quantile(losses[:, None], 0.5, weights)[0, 0])

    def _losses_of(self, X: Array, stack: Any, scaler: Any, loss: Loss) -> Array:
        """Return the loss of each row, averaged over the networks."""

        def read(outputs: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            batch = Batch(x, None, x.new_ones(1, len(x)))
            target = loss.target(batch)  # a density has none
            target = target.double() if isinstance(target, torch.Tensor) else target
            return loss.value(outputs.double(), target)

        values = self._apply(X, stack, scaler, read).mean(0)
        return np.nan_to_num(values, nan=np.finfo(float).max)

    def _scores(self, X: Array) -> Array:
        stack, scaler = self._precise(), self._scaler
        return -self._losses_of(X, stack, scaler, self._fitted_loss)

    def score_samples(self, X: ArrayLike) -> Array:
        """Minus the loss of each row, averaged over the networks.

        Computed in double precision, except by RCA and by networks of your own: so a
        row has one score, whatever rows are scored with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            The higher, the more normal.
        """
        return self._scores(self._check_new(X))

    def decision_function(self, X: ArrayLike) -> Array:
        """``score_samples(X) - offset_``: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> Array:
        """Tell inliers from outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            1 for inliers, -1 for outliers.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)
