"""NetRegressor: any composition of steps as a regressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d

from ._base import NetBase
from ._choice import MOST, Choice, Choosing, decay_choice, decay_rule
from ._compat import with_callbacks
from ._documented import documented
from ._hooks import BATCH, IN_MEMORY, Call, Fitted, count_distinct
from ._params import check_composition, check_stopping, keep
from ._scaling import TargetScaler, robust_spread, weighted_quantile
from ._train import HUGE
from ._units import UnitScaler

Array = NDArray[Any]

# 'auto' batches: a tenth of few rows but at least so many
PARTS, SMALLEST = 10, 128
# 'auto' epochs, or as many as make so many steps, but no more than these for each row
EPOCHS, STEPS, PER_ROW = 200, 1000, 5
CAP = 2.0  # robust deviations: further out wrong targets would decide
_COST = f"absolute error (where {CAP:g} robust deviations are as bad as any)"
# with a margin two fifths of wrong targets would be met by too weak a decay; without
# the strongest a few hundred rows that are mostly noise would be learned by heart
DECAYS = decay_choice((0.5, 2.5, 10.0, 20.0), 0.0)


class RegressorBase(RegressorMixin, Choosing, NetBase):
    """What all regressors share; a subclass declares its parameters."""

    _input_scaler = UnitScaler
    _automatic = {
        "batch_size": "a tenth of the weight, as it takes some steps to learn a\n"
        f"    function, but no fewer than {SMALLEST} different rows (or all rows,\n"
        f"    if these are fewer) and no more than {BATCH}",
        "weight_decay": decay_rule(DECAYS, _COST),
        "max_iter": f"{EPOCHS}, or as many as make {STEPS} steps if these are more,\n"
        f"    or {PER_ROW} steps for each different row if rows are few",
    }

    _choices: ClassVar = (DECAYS,)

    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Any:
        """Fit the networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows; a torch tensor on any device will do. With ``network``
            also of shape (n_samples, ...).
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, of which some may be wrong.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; an integer weight acts like that many repeated rows.
        X_val, y_val : array-like, default=None
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
        return self._fit(X, y, sample_weight, X_val=X_val, y_val=y_val)

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Train one epoch on the given rows, from where the last call ended.

        Inputs are scaled by running statistics, targets by those of the first call,
        whose rows should therefore be typical.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, partial=True)

    def _check_params(self) -> None:
        super()._check_params()
        check_stopping(self)

    def _y_options(self) -> dict[str, Any]:
        return {"multi_output": True, "y_numeric": True}

    def _epochs(self, X: Array, target: Array, n_batches: int) -> int:
        if self.max_iter != "auto":
            return int(self.max_iter)
        if n_batches * EPOCHS >= STEPS:
            return EPOCHS
        steps = min(STEPS, PER_ROW * count_distinct(X, target))
        return max(EPOCHS, -(-steps // n_batches))

    def _auto_parts(self, X: Array, target: Array) -> int | None:
        if len(X) > MOST or X.nbytes > IN_MEMORY:
            return None
        distinct = count_distinct(X, target)
        if distinct >= PARTS * BATCH:
            return None
        return max(1, min(PARTS, distinct // SMALLEST))

    def _nearness(
        self, choice: Choice, outputs: torch.Tensor, targets: Any
    ) -> torch.Tensor:
        return -torch.linalg.vector_norm(outputs.double() - targets, dim=-1)

    def _merits(
        self, choice: Choice, found: torch.Tensor, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # of inputs that were not scaled outputs may be anything
        errors, mass = -found.cpu().nan_to_num(-HUGE).numpy(), share.cpu().numpy()
        errors = np.minimum(
            errors, CAP * (robust_spread(errors.T, mass).min() or np.inf)
        )
        merits = -torch.from_numpy(errors).to(found.device)
        return merits, torch.ones(len(found), dtype=torch.bool)

    def _learn_targets(self, X: Array, y: Any, weights: Array, call: Call) -> Fitted:
        flat = y.ndim == 1 or y.shape[1] == 1
        columns = column_or_1d(y, warn=True)[:, None] if flat else y
        if call.resume:
            # what was constant so far may vary from now on
            scale = np.where(self._y_scale > 0, self._y_scale, 1.0)
            scaler = TargetScaler(self._y_center, scale)
        else:
            constant = 1.0 if call.partial else 0.0  # predicted as it is, in any unit
            scaler = TargetScaler.fit(columns.astype(np.float64), weights, constant)
        return {
            "n_outputs_": columns.shape[1],
            "_y_flat": flat,
            "_y_center": scaler.center,
            "_y_scale": scaler.scale,
        }

    def _encode(self, y: Any, about: dict[str, Any]) -> Array:
        columns = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        n_outputs = len(about["_y_center"])
        if columns.shape[1] != n_outputs:
            raise ValueError(
                f"y has {columns.shape[1]} outputs, but {type(self).__name__} is "
                f"expecting {n_outputs} outputs."
            )
        return TargetScaler(about["_y_center"], about["_y_scale"]).transform(columns)

    def _score_outputs(self, outputs: Array, target: Array, weights: Array) -> float:
        errors = np.abs(outputs.mean(0) - target).reshape(-1, 1)
        weights = np.repeat(weights, target.shape[1])
        return -float(weighted_quantile(errors, 0.5, weights)[0, 0])

    def predict(self, X: ArrayLike) -> Array:
        """Predict targets, averaged over the networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        scaled = self._outputs(X).mean(0)
        y = TargetScaler(self._y_center, self._y_scale).inverse_transform(scaled)
        return y[:, 0] if self._y_flat else y

    def to_module(self) -> torch.nn.Module:
        """Return scaling and networks as one plain torch module, for serving.

        Returns
        -------
        torch.nn.Module
            On the CPU, in evaluation mode and of its own memory. It maps a tensor
            (n_samples, n_features) of rows as ``predict`` takes them to
            predictions (n_samples, n_outputs), in double precision.

        Examples
        --------
        >>> import torch
        >>> from skrobust import NetRegressor
        >>> X, y = torch.rand(60, 2).numpy(), [0, 1, 2] * 20
        >>> module = NetRegressor(max_iter=2).fit(X, y).to_module()
        >>> module(torch.as_tensor(X[:5])).shape
        torch.Size([5, 1])
        """
        return self._served((self._y_center, self._y_scale))

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags


@documented
class NetRegressor(RegressorBase):
    """Neural network regressor that trains through any composition of steps.

    With ``steps=()`` it is an ordinary multilayer perceptron, except that targets are
    scaled by their median and median absolute deviation, so that wrong targets do not
    set the scale. See `skrobust.recipes` for ready compositions.

    Parameters
    ----------
    steps : tuple of Step, default=()
        Applied to each batch in order.
    criterion : str, Loss or callable, default='squared_error'
        The loss of scaled targets, see `skrobust.criteria.as_loss`.
    n_networks : int, default=1
        Networks trained side by side; predictions are their mean.
    {network_parameters}
    {stopping_parameters}
    {border_parameters}

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weight of each training row after the steps' last word: what is left of its
        own weight once the rules have seen all rows together.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether more than half of a row's weight is left.
    weight_decay_ : float
        The decay that was used.
    {fitted_attributes}

    See Also
    --------
    PRLRegressor : Drops the rows that would move the gradient most.

    Examples
    --------
    >>> import numpy as np
    >>> from skrobust import NetRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> y = np.sin(3 * X[:, 0])
    >>> y[::20] = 50.0
    >>> model = NetRegressor(criterion="absolute_error", random_state=0).fit(X, y)
    >>> bool(abs(model.predict([[0.5]])[0] - np.sin(1.5)) < 0.2)
    True
    """

    def __init__(
        self,
        steps=(),
        *,
        criterion="squared_error",
        n_networks=1,
        hidden_layer_sizes=(256, 256),
        activation="relu",
        network=None,
        dropout=0.0,
        solver="adam",
        alpha=1e-4,
        weight_decay="auto",
        batch_size="auto",
        learning_rate="cosine",
        learning_rate_init=4e-3,
        max_iter="auto",
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=None,
        clip_norm=None,
        standardize=True,
        device="auto",
        dtype="auto",
    ):
        keep(self, locals())

    def _check_params(self) -> None:
        super()._check_params()
        check_composition(self)
