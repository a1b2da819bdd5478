"""NetOutlierDetector: any composition of steps as an outlier detector."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin

from ._base import Call, Fitted, NetBase
from ._batch import Batch
from ._compat import with_callbacks
from ._params import check_composition, documented, is_number, keep, require
from ._scaling import weighted_quantile
from .criteria import NegativeLogLikelihood

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
            Non-negative; an integer weight acts like that many repeated rows.

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
        c = self.contamination
        ok = (isinstance(c, str) and c == "auto") or (is_number(c) and 0 <= c <= 0.5)
        require(self, "contamination", ok, "'auto' or a float in the range [0.0, 0.5]")

    def _needs_y(self) -> bool:
        return False

    def _learn_targets(self, X: Array, y: Any, weights: Array, call: Call) -> Fitted:
        density = isinstance(self._loss(), NegativeLogLikelihood)
        return {"n_outputs_": 1 if density else int(np.prod(X.shape[1:]))}

    def _encode(self, y: Any, about: dict[str, Any]) -> None:
        return None

    def _finish(self, X: Array, weights: Array) -> None:
        self.offset_ = self._threshold(self._scores(X), weights)

    def _threshold(self, scores: Array, weights: Array) -> float:
        """Return the score below which a row is an outlier."""
        if self.contamination == "auto":
            return _fence(scores, weights)
        order = np.argsort(scores, kind="stable")
        ranked, mass = scores[order], np.cumsum(weights[order])
        # floor(contamination * mass) of the mass lies below, up to ties
        cut = np.floor(self.contamination * mass[-1] * (1 + 1e-12))
        at = np.searchsorted(mass, cut, side="right")
        return _between(ranked, min(at, len(ranked) - 1))

    def _scores(self, X: Array) -> Array:
        loss = self._fitted_loss

        def read(outputs: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            batch = Batch(x, None, x.new_ones(1, len(x)))
            return loss.value(outputs.double(), loss.target(batch).double())

        values = self._apply(X, self._stack, self._scaler, read).mean(0)
        return -np.nan_to_num(values, nan=np.finfo(float).max)

    def score_samples(self, X: ArrayLike) -> Array:
        """Minus the loss of each row, averaged over the networks.

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


def _between(ranked: Array, at: int) -> float:
    """Return a threshold below ``ranked[at]`` and above the next lower score.

    In the middle of the gap, so that rounding never moves a training row across.
    """
    here = ranked[at]
    slack = 1e-9 * max(abs(here), np.finfo(float).tiny)
    lower = ranked[ranked < here - slack]
    return float((here + lower[-1]) / 2 if len(lower) else here - slack)


def _fence(scores: Array, weights: Array) -> float:
    """Return the median plus three robust standard deviations, of log losses."""
    logs = np.log(np.maximum(-scores, 1e-300))[:, None]
    center = weighted_quantile(logs, [0.5], weights)
    spread = 1.4826 * weighted_quantile(np.abs(logs - center), [0.5], weights)
    return -float(np.exp(center + 3 * spread)[0, 0])


@documented
class NetOutlierDetector(DetectorBase):
    """Neural network outlier detector that trains through any composition of steps.

    Scores rows by the loss of a network; the default network is an autoencoder, whose
    loss is the error of reconstruction.

    Parameters
    ----------
    steps : tuple of Step, default=()
        Applied to each batch in order, for instance
        ``(Reweight(Trim(0.1)),)`` to keep training away from the worst rows.
    criterion : str, Loss or callable, default='reconstruction_error'
        The loss, see `skrobust.criteria.as_loss`. With ``network`` it may also be
        'negative_log_likelihood' of a network with a single output.
    contamination : float or "auto", default=0.1
        Fraction of outliers in the training rows, in [0, 0.5]; it sets ``offset_``
        and nothing else. 0 puts the threshold at the lowest training score. 'auto'
        puts it where the logarithm of the loss exceeds its median by three robust
        standard deviations (1.4826 times the median absolute deviation).
    n_networks : int, default=1
        Networks trained side by side; scores are averaged.
    code_size : int, default=10
        Units in the middle of the default network.
    {network_parameters}
    {border_parameters}

    Attributes
    ----------
    offset_ : float
        ``decision_function = score_samples - offset_``. It may be set by hand.
    sample_weight_ : ndarray of shape (n_samples,)
        Weight of each training row after the steps' last word.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether at least half of a row's weight is left: what training kept, which is
        not the same as ``predict``.
    {fitted_attributes}

    Examples
    --------
    >>> import numpy as np
    >>> from skrobust import NetOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> X[0] = 20.0
    >>> detector = NetOutlierDetector(random_state=0, max_iter=20).fit(X)
    >>> int(detector.predict(X)[0])
    -1
    """

    def __init__(
        self,
        steps=(),
        *,
        criterion="reconstruction_error",
        contamination=0.1,
        n_networks=1,
        code_size=10,
        hidden_layer_sizes=(64, 64),
        activation="leaky_relu",
        network=None,
        dropout=0.0,
        solver="adam",
        alpha=1e-4,
        weight_decay=0.0,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=1e-3,
        max_iter=100,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        n_iter_no_change=10,
        clip_norm=None,
        standardize=True,
        device="auto",
        dtype="auto",
    ):
        keep(self, locals())

    def _check_params(self) -> None:
        super()._check_params()
        check_composition(self)

    def _layers(self, n_features: int, n_outputs: int) -> tuple[int, ...]:
        encoder = super()._layers(n_features, self.code_size)
        return (*encoder, *encoder[-2::-1])
