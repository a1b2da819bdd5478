"""RobustRealNVPDetector: a normalizing flow that looks away from unlikely rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from . import _border
from ._base import NetBase
from ._batch import BLOCK
from ._contamination import EPSILON, in_rows
from ._dequantize import discrete_columns, smallest_gaps
from ._detector import DetectorBase
from ._documented import documented
from ._flow import FlowStack
from ._hooks import Call, Fitted, count_distinct
from ._optim import SpectralNorm
from ._params import (
    is_number,
    keep,
    require,
    require_among,
    require_count,
    require_number,
)
from ._progress import Progress
from ._scaling import BendingScaler
from ._words import require_samples
from .criteria import Loss, NegativeLogLikelihood
from .rules import Ramp, Trim
from .steps import Jitter, Reweight

Array = NDArray[Any]

STEPS, EPOCHS = 400, 10  # of training by default: at most, and at least
PER_ROW, FEW = 0.5, 64  # steps for each row of a small set, which has so many at least


@documented
class RobustRealNVPDetector(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, DetectorBase
):
    """Density-based outlier detector: RealNVP, trimmed and smooth.

    Learns the density of the rows by a normalizing flow, an invertible network that
    maps rows to a normal variable. In every batch the least likely rows are left out,
    and spectral norms keep the density too smooth to close in on a small cluster of
    outliers. Outliers are rows of low density.

    Parameters
    ----------
    epsilon : float, default=None
        Share of every batch that training leaves out, in [0, 1). None: 0.1, and twice
        what ``contamination`` has beyond that, 0.5 at most; 0 where ``contamination``
        is 0. More than there are outliers, as batches differ, and batches that keep a
        few of a dense cluster's rows are enough for the flow to learn the cluster. What
        is left out of normal rows is the edge of their density, which becomes too low
        there. 0 and ``lipschitz=None`` give RealNVP.
    {contamination_parameters}
    lipschitz : float, default=3.0
        Bound on the spectral norm of each weight matrix. Smaller is smoother: 1 keeps
        a dense cluster out more surely and blurs the density elsewhere. None: no
        bound (TrimRealNVP).
    spectral : {'cap', 'rescale'}, default='cap'
        'cap' shrinks matrices whose norm exceeds ``lipschitz``, as the authors'
        program does; 'rescale' gives every matrix exactly this norm, as the source's
        formula says.
    noise : float or "auto", default="auto"
        Standard deviation of the noise added to scaled rows in each training step.
        Without it the density of few rows in many columns is too narrow. 'auto' is
        ``0.2 * n_samples ** (-1 / (n_features + 4))``, which falls as kernel density
        estimation's bandwidth does. 0: none.
    dequantize : "auto" or array-like, default=None
        Discrete columns, as indices or a boolean mask: each training step adds
        uniform noise as wide as the smallest distance between their values, apart
        from distances that are mere rounding. Without it the density may rise without
        end on their values. 'auto': columns that hold nothing but integers.
    ramp : float, default=0.0
        Part of the epochs, in [0, 1], over which the left-out share grows to
        ``epsilon``. A flow that has trained on a dense cluster for a few epochs finds
        it likely and never leaves it out again, while one that has not trained ranks
        rows by their distance from the middle.
    n_couplings : int, default=6
        Layers of the flow. Each moves about half of the columns.
    hidden_layer_sizes : array-like of int or int, default={hidden_layer_sizes}
        Hidden layers of the perceptron in each coupling.
    activation : str, default={activation}
        Their activation: 'relu', 'tanh', 'logistic', 'leaky_relu' (of slope 0.1) or
        'identity'.
    solver : {'adam', 'sgd'}, default='adam'
        Optimizer.
    alpha : float, default=0.0
        Strength of the L2 penalty, see `NetOutlierDetector`.
    weight_decay : float, default={weight_decay}
        Decoupled decay of the weights.
    batch_size : int, float or 'auto', default=128
        Rows of a training step, or if a float their share of all weight; 'auto' is
        ``min(256, n_samples)``.
    learning_rate : {'constant', 'cosine'}, default='cosine'
        'cosine' lets the step size fall to zero over all epochs.
    learning_rate_init : float, default=1e-3
        Step size at the start.
    max_iter : int or 'auto', default='auto'
        Largest number of epochs; 'auto' is as many as make 400 steps, or half a step
        for each different row (32 steps at least) where rows are few, but at least 10
        epochs. Small sets are overfitted by what large ones need.
    random_state : int, RandomState instance or None, default=None
        Seed of first weights, order of rows and noise. An int makes fits on one
        machine equal to the bit.
    {loop_parameters}
    n_iter_no_change : int or None, default=100
        Epochs without improvement before training ends; None: never. Noise makes the
        loss of an epoch vary, so this is more than elsewhere.
    clip_norm : float or None, default=None
        Largest norm of the gradient of a batch; longer ones are scaled back.
    standardize : bool, default=True
        Whether to scale columns inside the estimator, as other estimators do, except
        that values beyond 5 standard deviations are not clipped but grow with the
        logarithm from there on. So the density of a row of any size is a number.
    device : str or torch.device, default='auto'
        'auto' is a CUDA GPU if there is one, else the CPU. Apple's MPS cannot be used:
        it has no double precision.
    dtype : {'auto', 'float32', 'float64'}, default='auto'
        Precision of training. 'auto' is that of X.

    Attributes
    ----------
    {detector_attributes}
    sample_weight_ : ndarray of shape (n_samples,)
        What is left of each training row's weight when all rows are ranked together:
        0 for rows that training would leave out.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether more than half of a row's weight is left: what training kept, which is
        not the same as ``predict``.
    {training_attributes}
    {shape_attributes}

    See Also
    --------
    NetOutlierDetector : Any network and any composition of steps.

    Notes
    -----
    Log-scales of a coupling are bounded to +-1, and every second coupling moves a
    column, so the flow can stretch a column by ``exp(n_couplings / 2)`` at most. With
    one column there is nothing to condition on and the density is that of a normal
    variable, except far outside.

    References
    ----------
    B. Liu, "Robust Learning of Deep Neural Networks under Data Corruption", 2022,
    chapter 3, Algorithm 2 and section 3.4.3. Its coupling networks for scale and shift
    are one network here.

    L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skrobust import RobustRealNVPDetector
    >>> X, _ = make_moons(500, noise=0.1, random_state=0)
    >>> X[:25] = [2.5, 2.5]
    >>> detector = RobustRealNVPDetector(contamination=0.05, random_state=0).fit(X)
    >>> int((detector.predict(X[:25]) == -1).sum())
    25
    >>> detector.sample(3, random_state=0).shape
    (3, 2)
    """

    # said of every network, but not for users to choose here
    network = None
    dropout = 0.0
    _input_scaler = BendingScaler
    _automatic = NetBase._automatic | {
        "max_iter": f"as many as make {STEPS} steps, or half a step for each\n"
        f"    different row where rows are few, but at least {EPOCHS}"
    }

    def __init__(
        self,
        epsilon=None,
        *,
        contamination=0.1,
        calibration_fraction=0.0,
        lipschitz=3.0,
        spectral="cap",
        noise="auto",
        dequantize=None,
        ramp=0.0,
        n_couplings=6,
        hidden_layer_sizes=(64, 64),
        activation="leaky_relu",
        solver="adam",
        alpha=0.0,
        weight_decay=0.0,
        batch_size=128,
        learning_rate="cosine",
        learning_rate_init=1e-3,
        max_iter="auto",
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        n_iter_no_change=100,
        clip_norm=None,
        standardize=True,
        device="auto",
        dtype="auto",
    ):
        keep(self, locals())

    # -- the method --------------------------------------------------------------
    def _loss(self) -> Loss:
        return NegativeLogLikelihood()

    def _steps_within(self, n_epochs: int, n_batches: int) -> tuple[Any, ...]:
        steps: list[Any] = []
        if self._noise > 0 or self._grid is not None:
            grid = None if self._grid is None else torch.tensor(self._grid)
            steps.append(Jitter(self._noise, grid))
        if (epsilon := self._trimmed_fraction()) > 0:
            steps.append(Reweight(Trim(Ramp(epsilon, round(self.ramp * n_epochs)))))
        return tuple(steps)

    def _trimmed_fraction(self) -> float:
        if self.epsilon is None and self.contamination:
            if self.contamination == "auto":
                return EPSILON
            # as much again as there is beyond a tenth
            return max(EPSILON, min(2 * self.contamination - EPSILON, 0.5))
        return super()._trimmed_fraction()

    def _epochs(self, X: Array, target: Any, n_batches: int) -> int:
        if self.max_iter != "auto":
            return int(self.max_iter)
        if n_batches * EPOCHS >= STEPS:
            return EPOCHS
        # small sets are overfitted by as many steps as large ones need
        steps = min(STEPS, PER_ROW * max(count_distinct(X, target), FEW))
        return max(EPOCHS, int(np.ceil(steps / n_batches)))

    def _design(self, row_shape: tuple[int, ...], n_outputs: int) -> dict[str, Any]:
        return {
            "n_features": row_shape[0],
            "hidden": self._layers(row_shape[0], 1)[1:-1],
            "n_couplings": self.n_couplings,
            "activation": self.activation,
        }

    def _build(
        self, design: dict[str, Any], seed: int, dtype: torch.dtype, device: Any
    ) -> FlowStack:
        generator = _border.make_generator(seed)
        return FlowStack(**design, generator=generator, dtype=dtype, device=device)

    def _optimizer(self, stack: FlowStack) -> Any:
        optimizer = super()._optimizer(stack)
        if self.lipschitz is None:
            return optimizer
        exact = self.spectral == "rescale"
        return SpectralNorm(optimizer, stack.layers, self.lipschitz, exact=exact)

    def _attributes(self, progress: Progress, about: dict[str, Any]) -> dict[str, Any]:
        if self.lipschitz is not None:
            # the power iteration of a step lags behind a little
            progress.stack.bound_norms(self.lipschitz, exact=self.spectral == "rescale")
        return super()._attributes(progress, about)

    def _begin(
        self, X: Array, weights: Array, n_outputs: int, resume: bool, partial: bool
    ) -> Progress:
        progress = super()._begin(X, weights, n_outputs, resume, partial)
        self._noise, self._grid = self.noise, None
        if self.noise == "auto":
            self._noise = 0.2 * float(in_rows(weights).sum()) ** (-1 / (X.shape[1] + 4))
        if len(discrete := discrete_columns(self, "dequantize", X)):
            scaler = progress.scaler or self._input_scaler.fit(X, weights)
            widths = smallest_gaps(X, discrete, scaler.scale)
            widths = widths if progress.scaler is None else widths / scaler.scale
            self._grid = widths if widths.any() else None
        return progress

    def _learn_targets(self, X: Array, y: Any, weights: Array, call: Call) -> Fitted:
        return {"n_outputs_": 1}

    def _check_params(self) -> None:
        super()._check_params()
        if self.epsilon is not None:
            require_number(self, "epsilon", 0, 1)
        if self.lipschitz is not None:
            require_number(self, "lipschitz", 0, open_low=True)
        require_among(self, "spectral", ("cap", "rescale"))
        if self.noise != "auto":
            require(
                self,
                "noise",
                is_number(self.noise) and 0 <= self.noise < np.inf,
                "'auto' or a float in the range [0.0, inf)",
            )
        require_number(self, "ramp", 0, 1, open_high=False)
        require_count(self, "n_couplings", 2)

    # -- what a fitted density can do ----------------------------------------------
    def _scores(self, X: Array) -> Array:
        log_p = self._apply(X, self._precise(), self._scaler)[0, :, 0]
        if self._scaler is not None:
            blocks = range(0, len(X), BLOCK)
            slopes = [self._scaler.log_slope(X[i : i + BLOCK]) for i in blocks]
            log_p = log_p + np.concatenate(slopes)
        return np.nan_to_num(log_p, nan=-np.finfo(float).max)

    def score_samples(self, X: ArrayLike) -> Array:
        """Log density of each row, in the units of X.

        Scaling inside the estimator is accounted for: the exponential of the scores
        integrates to one over all rows X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats. The higher, the more normal.
        """
        return super().score_samples(X)

    def transform(self, X: ArrayLike) -> Array:
        """Map rows to latent space, where normal rows are standard normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        X, flow = self._check_new(X), self._precise()
        Z = X if self._scaler is None else self._scaler.transform(X)
        return _in_blocks(lambda z: flow.to_latent(z)[0], Z, flow)

    def inverse_transform(self, X: ArrayLike) -> Array:
        """Map points of latent space to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        Z = check_array(_border.to_numpy(X), dtype=np.float64)
        if Z.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {Z.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        flow = self._precise()
        rows = _in_blocks(flow.from_latent, Z, flow)
        return rows if self._scaler is None else self._scaler.inverse_transform(rows)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw new rows from the density.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        require_samples(n_samples)
        rng = check_random_state(random_state)
        return self.inverse_transform(rng.normal(size=(n_samples, self.n_features_in_)))

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_


def _in_blocks(function: Any, Z: Array, flow: FlowStack) -> Array:
    parts: Iterable[torch.Tensor] = torch.tensor(
        Z, dtype=torch.float64, device=flow.theta.device
    ).split(BLOCK)
    with _border.few_threads(flow.theta.numel() * BLOCK), flow.mode():
        return torch.cat([function(part[None])[0] for part in parts]).cpu().numpy()
