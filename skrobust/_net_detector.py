"""NetOutlierDetector: any composition of steps as an outlier detector."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if

from ._compat import with_callbacks
from ._detector import DetectorBase
from ._documented import documented
from ._params import check_composition, check_stopping, keep, require, require_count
from ._served import ServedScores
from .criteria import NegativeLogLikelihood, ReconstructionError

Array = NDArray[Any]


def _rebuilds(detector: Any) -> bool:
    """Whether scores are errors of rebuilt rows; a bad criterion is said by fit."""
    criterion = detector.criterion
    if isinstance(criterion, str):
        return criterion == "reconstruction_error"
    return type(criterion) is ReconstructionError


@documented
class NetOutlierDetector(DetectorBase):
    """Neural network outlier detector that trains through any composition of steps.

    Scores rows by the loss of a network; the default network is an autoencoder, whose
    loss is the error of reconstruction. As it comes it is a baseline: nothing keeps it
    from learning the outliers too, and with about as many units in the middle as there
    are columns it may rebuild them better than other rows. `RCAOutlierDetector` leaves
    rows out, and has dropout against that.

    Parameters
    ----------
    steps : tuple of Step, default=()
        Applied to each batch in order, for instance
        ``(Reweight(Trim(0.1)),)`` to keep training away from the worst rows.
    criterion : str, Loss or callable, default='reconstruction_error'
        The loss, see `skrobust.criteria.as_loss`. With ``network`` it may also be
        'negative_log_likelihood' of a network with a single output.
    {contamination_parameters}
    n_networks : int, default=1
        Networks trained side by side; scores are averaged.
    code_size : int, default=10
        Units in the middle of the default network.
    {network_parameters}
    early_stopping : bool, default=False
        Whether to hold out part of the rows and to end when minus their median loss,
        which outliers among them cannot move, has not improved by ``tol`` for
        ``n_iter_no_change`` epochs. The best weights are kept. Giving ``X_val`` to
        ``fit`` turns this on as well.
    validation_fraction : float, default=0.1
        Part of the rows held out, in (0, 1).
    {border_parameters}

    Attributes
    ----------
    {detector_attributes}
    sample_weight_ : ndarray of shape (n_samples,)
        Weight of each training row after the steps' last word.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether more than half of a row's weight is left: what training kept, which is
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
        calibration_fraction=0.0,
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
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        clip_norm=None,
        standardize=True,
        device="auto",
        dtype="auto",
    ):
        keep(self, locals())

    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
    ) -> Any:
        """Fit the networks to rows of which some may be outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows; a torch tensor on any device will do. With ``network``
            also of shape (n_samples, ...).
        y : Ignored
            There for scikit-learn's convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative. Whole numbers act like that many repeated rows; of others the
            mean is one row, so their unit does not matter to thresholds and p-values.
        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Rows to judge early stopping by.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, the data are not finite numbers, or the
            device cannot be used.
        """
        return self._fit(X, None, sample_weight, X_val=X_val)

    @available_if(_rebuilds)
    def feature_scores(self, X: ArrayLike) -> Array:
        """Say which column made a row an outlier, where rows are rebuilt.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Squared error of each scaled value: the mean of a row is
            ``-score_samples``.
        """
        X = self._check_new(X)

        def read(outputs: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return (outputs.double() - x.flatten(1).double()).square()

        errors = self._apply(X, self._precise(), self._scaler, read).mean(0)
        return errors.reshape(X.shape)

    @available_if(_rebuilds)
    def to_module(self) -> torch.nn.Module:
        """Return scaling, networks and score as one plain torch module, for serving.

        There for networks that rebuild rows.

        Returns
        -------
        torch.nn.Module
            On the CPU, in evaluation mode and of its own memory. It maps a tensor
            (n_samples, n_features) of rows as ``predict`` takes them to their scores
            (n_samples,), in double precision. Rows below ``offset_`` are outliers.

        Examples
        --------
        >>> import torch
        >>> from skrobust import NetOutlierDetector
        >>> X = torch.rand(60, 2).numpy()
        >>> module = NetOutlierDetector(max_iter=2).fit(X).to_module()
        >>> module(torch.as_tensor(X[:5])).shape
        torch.Size([5])
        """
        return self._served(None, ServedScores)

    def _check_params(self) -> None:
        super()._check_params()
        check_composition(self)
        check_stopping(self)
        require_count(self, "code_size")
        # the outputs of an autoencoder are no density
        density = isinstance(self._loss(), NegativeLogLikelihood)
        expected = "a loss of reconstructed rows where 'network' is None"
        require(self, "criterion", not density or self.network is not None, expected)

    def _layers(self, n_features: int, n_outputs: int) -> tuple[int, ...]:
        encoder = super()._layers(n_features, self.code_size)
        return (*encoder, *encoder[-2:0:-1], n_outputs)
