"""Robust collaborative autoencoders: RCA and RCVA."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _border
from ._base import NetBase
from ._batch import BLOCK
from ._building import to_tensor
from ._contamination import repeats
from ._detector import DetectorBase
from ._documented import documented
from ._ensemble import Read, mean_over_passes
from ._hooks import Call, Fitted, count_distinct
from ._params import is_number, keep, require, require_count, require_number
from ._progress import Progress
from ._scaling import TargetScaler
from .criteria import Loss, ReconstructionError, VariationalError
from .rules import Exchange, Ramp, Trim, chain
from .steps import Reweight

Array = NDArray[Any]

ROWS = 8192  # rows scored per draw of thinned networks
STEPS, EPOCHS = 600, 10  # of training by default: at most, and at least
PER_ROW = 0.7  # steps for each row of a small set


@documented
class RCAOutlierDetector(DetectorBase):
    """Outlier detector of autoencoders that choose rows for each other (RCA, RCVA).

    Outliers that an autoencoder has seen it learns to rebuild, and then its error no
    longer tells. Here several networks are trained side by side. In every batch each
    ranks the rows by its error, without dropout; the rows with the lowest error are
    what *another* network learns from. The score is the mean error of all networks
    over several passes, in which dropout silences units as in training.

    Parameters
    ----------
    {contamination_parameters}
    {epsilon_parameter}
    n_networks : int, default=2
        Networks that exchange their choices, in a ring. With 1 a network learns from
        its own choice.
    ramp : float, default=0.5
        Part of the epochs, in [0, 1], over which the left-out share grows to
        ``epsilon``.
    n_passes : int, default=20
        Passes with dropout whose errors are averaged. A pass silences the same units
        for all rows it scores, so equal rows have equal scores, whatever is scored
        with them; for each row, the distribution is that of dropout. 0 scores once,
        with all units (RCA-E).
    network : {'autoencoder', 'vae'} or callable, default='autoencoder'
        'vae' is a variational autoencoder without dropout (RCVA), whose loss is
        squared error plus divergence, see `skrobust.criteria.VariationalError`. A
        callable is a factory of your own network: a class or function called with the
        number of features (the shape of a row when X has more than two dimensions) and
        the number of outputs, that returns a new ``torch.nn.Module`` which rebuilds
        its input, flattened. Its dropout layers take part in the passes.
    imputer : {'mean', 'median'} or transformer, default=None
        Fills in missing values (NaN), by a column's mean, as in the source's study, or
        its median, or by a transformer of yours such as
        `sklearn.impute.KNNImputer`, fitted on the rows trained on. None refuses NaN.
        A weight that is a whole number repeats its row for the imputer too. Other
        weights it does not know, nor whole ones of more than 16 on average.
    code_size : int, default=10
        Units in the middle of the default networks.
    {layer_parameters}
    {training_parameters}
    capacities : tuple of float, default=None
        For accuracy at a higher price: dropout rates of as many groups of
        ``n_networks``. Networks exchange choices within a group. The losses of each
        group, and those of groups with dropout also without it, are centred and scaled
        by the median and the median absolute deviation of the training rows, then
        added up. ``(0.5, 0.0)`` sees what stands out from the whole and what stands out
        from its neighbours.
    {border_parameters}

    Attributes
    ----------
    {detector_attributes}
    sample_weight_ : ndarray of shape (n_samples,)
        What the final networks, ranking all rows together, leave of each training row's
        weight, on average over the networks: 0 for distrusted rows.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether more than half of a row's weight is left.
    {training_attributes}
    {shape_attributes}

    Notes
    -----
    By default (``max_iter='auto'``) training takes as many epochs as make
    ``0.7 * max(n, 128)`` steps, at most 600, but no fewer than 10: small sets are
    overfitted by what large sets need, and n counts different rows. It does not end
    earlier unless ``n_iter_no_change`` is a number.

    The source's ablations are ``epsilon=0`` (RCA-SS, nothing left out), ``n_passes=0``
    (RCA-E, no ensemble) and ``n_networks=1, epsilon=0, dropout=0`` (a plain
    autoencoder). As there, dropout acts on all hidden layers but the last,
    and always on the code.

    See Also
    --------
    NetOutlierDetector : Any composition of steps, any criterion.

    References
    ----------
    B. Liu, "Robust Learning of Deep Neural Networks under Data Corruption", 2022,
    chapter 2, Algorithm 1. Networks are separate and selections exchanged, as the text
    says. Other than in the source the output is linear, and inputs are standardised
    and clipped, not brought to [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from skrobust import RCAOutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 1)) * [1.0, -2.0, 0.5]
    >>> X += 0.1 * rng.normal(size=(300, 3))
    >>> X[7] = [2.0, 4.0, 1.0]
    >>> detector = RCAOutlierDetector(contamination=0.02, random_state=0).fit(X)
    >>> int(detector.training_scores_.argmin())
    7
    >>> int(detector.feature_scores(X[[7]]).argmax())
    1
    """

    _named_networks = ("autoencoder", "vae")
    _automatic = NetBase._automatic | {"max_iter": "described in the notes"}

    def __init__(
        self,
        contamination=0.1,
        *,
        epsilon=None,
        calibration_fraction=0.0,
        n_networks=2,
        ramp=0.5,
        n_passes=20,
        network="autoencoder",
        imputer=None,
        code_size=10,
        hidden_layer_sizes=(64, 64),
        activation="leaky_relu",
        dropout=0.5,
        capacities=None,
        solver="adam",
        alpha=0.0,
        weight_decay=0.0,
        batch_size=128,
        learning_rate="constant",
        learning_rate_init=1e-3,
        max_iter="auto",
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        n_iter_no_change=None,
        clip_norm=None,
        standardize=True,
        device="auto",
        dtype="auto",
    ):
        keep(self, locals())

    # -- declarations ------------------------------------------------------------
    def _loss(self) -> Loss:
        return VariationalError() if self.network == "vae" else ReconstructionError()

    def _rates(self) -> tuple[float, ...]:
        """Dropout rate of each group of networks."""
        return (self.dropout,) if self.capacities is None else tuple(self.capacities)

    def _networks(self) -> int:
        return self.n_networks * len(self._rates())

    def _steps_within(self, n_epochs: int, n_batches: int) -> tuple[Any, ...]:
        epsilon = self._trimmed_fraction()
        if epsilon == 0:
            return ()
        trim = Trim(Ramp(epsilon, round(self.ramp * n_epochs)))
        group = getattr(self, "_group", self.n_networks)
        return (Reweight(chain(trim, Exchange(group))),)

    def _begin(
        self, X: Array, weights: Array, n_outputs: int, resume: bool, partial: bool
    ) -> Progress:
        progress = super()._begin(X, weights, n_outputs, resume, partial)
        # of the networks there are: parameters may have changed since they were built
        self._group = progress.stack.n_networks // progress.design["n_groups"]
        return progress

    def _epochs(self, X: Array, target: Any, n_batches: int) -> int:
        if self.max_iter != "auto":
            return self.max_iter
        # small sets are overfitted by as many steps as large ones need
        steps = min(STEPS, PER_ROW * max(count_distinct(X, target), 128))
        return max(EPOCHS, round(steps / n_batches))

    def _layers(self, n_features: int, n_outputs: int) -> tuple[int, ...]:
        encoder = super()._layers(n_features, self.code_size)
        if self.network == "vae":
            return (*encoder[:-1], n_outputs)
        return (*encoder, *encoder[-2::-1])

    def _learn_targets(self, X: Array, y: Any, weights: Array, call: Call) -> Fitted:
        n_outputs = int(np.prod(X.shape[1:]))
        if self.network == "vae":
            n_outputs += 2 * self.code_size
        return {"n_outputs_": n_outputs}

    def _design(self, row_shape: tuple[int, ...], n_outputs: int) -> dict[str, Any]:
        design = super()._design(row_shape, n_outputs)
        named = None if self.network == "autoencoder" else self.network
        rates = tuple(r for r in self._rates() for _ in range(self.n_networks))
        # noise next to the output only blurs what is rebuilt
        n_noisy = max(1, len(design["sizes"]) - 3)
        more = {"dropout_layers": n_noisy, "n_groups": len(self._rates())}
        return {**design, "network": named, "dropout": rates, **more}

    def _check_params(self) -> None:
        super()._check_params()
        require_number(self, "epsilon", 0, 1, or_none=True)
        require_number(self, "ramp", 0, 1, open_high=False)
        require_count(self, "n_networks")
        require_count(self, "n_passes", 0)
        require_count(self, "code_size")
        rates = self.capacities
        ok = rates is None or (
            isinstance(rates, tuple | list)
            and len(rates) > 0
            and all(is_number(r) and 0 <= r < 1 for r in rates)
            and self.network in (None, "autoencoder")
        )
        words = "None or a tuple of floats in [0, 1), with network='autoencoder'"
        require(self, "capacities", ok, words)
        named = isinstance(self.imputer, str) and self.imputer in ("mean", "median")
        fills = hasattr(self.imputer, "fit_transform") and not isinstance(
            self.imputer, type
        )
        ok = self.imputer is None or named or fills
        require(self, "imputer", ok, "None, 'mean', 'median' or a transformer")

    # -- missing values ----------------------------------------------------------
    def _X_options(self) -> dict[str, Any]:
        finite = True if self.imputer is None else "allow-nan"
        return {**super()._X_options(), "ensure_all_finite": finite}

    def _prepare(self, X: Array, weights: Array, resume: bool) -> tuple[Array, Array]:
        X, weights = super()._prepare(X, weights, resume)
        if self.imputer is None:
            self._imputer = None
        elif not (resume and self._imputer is not None):
            imputer = self.imputer
            if isinstance(imputer, str):
                imputer = SimpleImputer(strategy=imputer, keep_empty_features=True)
            rows = np.repeat(X.reshape(len(X), -1), repeats(weights), axis=0)
            self._imputer = clone(imputer).fit(rows)
        return self._impute(X), weights

    def _impute(self, X: Array) -> Array:
        if self._imputer is None:
            return X
        rows = X.reshape(len(X), -1)
        filled = np.asarray(self._imputer.transform(rows), dtype=X.dtype)
        if filled.shape != rows.shape or not np.isfinite(filled).all():
            raise ValueError(
                "The transformer given as imputer must fill every missing value and "
                f"keep the columns. It made {filled.shape} of {rows.shape}."
            )
        return filled.reshape(X.shape)

    def _check_new(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        # the parameter may have changed since
        finite = True if self._imputer is None else "allow-nan"
        options = {**self._X_options(), "ensure_all_finite": finite, "reset": False}
        X = validate_data(self, _border.to_numpy(X), **options)
        _border.require_row_shape(X, self._stack_design["row_shape"])
        return self._impute(X)

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.imputer is not None
        return tags

    # -- scores ------------------------------------------------------------------
    def _attributes(self, progress: Progress, about: dict[str, Any]) -> dict[str, Any]:
        stack, rates = progress.stack, progress.design["dropout"]
        size = self._group
        n_passes = self.n_passes if stack.droppable else 0
        # of several groups, those with dropout are looked at without it too
        several = n_passes and progress.design["n_groups"] > 1
        twice = [g for g, r in enumerate(rates[::size]) if r > 0] if several else []
        seed = _border.stream_seed(progress.seed, _border.DRAWS) + 1
        more = {"_passes": (n_passes, seed), "_groups": (size, twice)}
        return {**super()._attributes(progress, about), "_loss_scaler": None, **more}

    def _finish(self, X: Array, weights: Array) -> None:
        losses = self._losses(X)
        trained = weights - self._held_out
        there = trained > 0
        if len(losses) > 1:
            self._loss_scaler = TargetScaler.fit(losses[:, there].T, trained[there])
        self._conclude(self._combine(losses), weights)

    def _losses(self, X: Array) -> Array:
        """Mean losses of each row in each view, (V, n)."""
        loss = self._fitted_loss

        def read(outputs: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return loss.value(outputs, x.flatten(1))

        return self._views(X, read)

    def _views(self, X: Array, read: Read) -> Array:
        """Average over passes and the networks of a group, (V, n, ...).

        The views are the groups, then those of them that are looked at twice.
        """
        stack, views, (size, twice) = self._precise(), [], self._groups

        def look(x: torch.Tensor, n_passes: int) -> torch.Tensor:
            found = mean_over_passes(stack, x, read, n_passes, self._passes[1], BLOCK)
            return found.unflatten(0, (-1, size)).double().mean(1)

        with _border.few_threads(stack.theta.numel() * BLOCK):
            for start in range(0, len(X), ROWS):
                x = to_tensor(X[start : start + ROWS], self._scaler, stack)
                found = look(x, self._passes[0])
                if twice:
                    found = torch.cat([found, look(x, 0)[twice]])
                views.append(found.cpu().numpy())
        return np.concatenate(views, axis=1)

    def _combine(self, losses: Array) -> Array:
        if self._loss_scaler is not None:
            losses = self._loss_scaler.transform(losses.T).T
        return -np.nan_to_num(losses.sum(0), nan=np.finfo(float).max)

    def _precise(self) -> Any:
        # the passes would take twice the time, for digits that dropout blurs anyway
        return self._stack

    def _scores(self, X: Array) -> Array:
        return self._combine(self._losses(X))

    def feature_scores(self, X: ArrayLike) -> Array:
        """Say which column made a row an outlier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Squared error of each scaled value, averaged like the score: the mean of a
            row is ``-score_samples``. With ``capacities`` the two differ by a number
            that is the same for all rows, with 'vae' by what the code costs.
        """
        X = self._check_new(X)
        d = int(np.prod(X.shape[1:]))

        def read(outputs: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return (outputs[..., :d] - x.flatten(1)).square()

        errors = self._views(X, read)
        if self._loss_scaler is not None:
            errors = errors / self._loss_scaler.scale[:, None, None]
        return errors.sum(0).reshape(X.shape)
