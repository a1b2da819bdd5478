"""NetClassifier: any composition of steps as a classifier."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from ._base import NetBase
from ._batch import Rows
from ._choice import Choice, Choosing, decay_choice, decay_rule
from ._compat import with_callbacks
from ._documented import documented
from ._hooks import DECAY, Call, Fitted
from ._params import check_composition, check_stopping, is_number, keep, require
from ._progress import Progress
from ._units import UnitScaler
from .steps import Reweight

Array = NDArray[Any]

EPOCHS = 200  # where nothing is said
EARLY = 10  # epochs before which classes may be merely not yet learned
# decays that are tried, and how many standard errors a weaker one may be behind: with
# one, median of means lost up to 13 points of accuracy, with three 1
DECAYS = decay_choice((DECAY, 10.0, 30.0), 3.0)
DECAY_RULE = decay_rule(
    DECAYS,
    "squared error of probabilities (Brier score)",
    ", and no rule weighs them or leaves some out",
)


class ClassifierBase(ClassifierMixin, Choosing, NetBase):
    """What all classifiers share; a subclass declares its parameters."""

    _input_scaler = UnitScaler
    _automatic = NetBase._automatic | {
        "weight_decay": DECAY_RULE,
        "max_iter": f"{EPOCHS}",
    }
    _choices: ClassVar = (DECAYS,)
    _cure: str | None = None  # where rules may give up a whole class: what to do then

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
        y : array-like of shape (n_samples,)
            Class labels, of which some may be wrong.
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
            If a parameter is out of range, the data are not finite numbers, there
            are fewer than two classes, or the device cannot be used.
        """
        return self._fit(X, y, sample_weight, X_val=X_val, y_val=y_val)

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Train one epoch on the given rows, from where the last call ended.

        The input scaling goes on as a running mean and variance.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All classes there will ever be; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, classes=classes, partial=True)

    def _check_params(self) -> None:
        super()._check_params()
        check_stopping(self)
        given = self.class_weight
        ok = given is None or isinstance(given, str) and given == "balanced"
        if isinstance(given, dict):
            ok = all(is_number(w) and 0 <= w < np.inf for w in given.values())
        words = "'balanced', None or a dict of numbers in [0, inf)"
        require(self, "class_weight", ok, words)

    def _epochs(self, X: Array, target: Array, n_batches: int) -> int:
        return EPOCHS if self.max_iter == "auto" else int(self.max_iter)

    def _learned(self, rows: Rows, progress: Progress, *rest: Any) -> Array:
        final = super()._learned(rows, progress, *rest)
        if self._cure and progress.n_epochs >= EARLY:
            self._name_lost(rows, final)
        return final

    def _name_lost(self, rows: Rows, final: Array) -> None:
        """Warn of classes that were given and of which no row is trusted."""
        own = rows.weights.cpu().numpy()
        codes, k = rows.y.cpu().numpy(), len(self.classes_)
        given, trusted = (np.bincount(codes, w, k) for w in (own, final > 0.5 * own))
        lost = self.classes_[(given > 0) & (trusted == 0)]
        if len(lost):
            warnings.warn(
                f"{type(self).__name__} trusts no row of the classes {lost.tolist()}, "
                "so these are hardly learned: rows of rare or hard classes look like "
                f"wrong ones. To keep them {self._cure}, or take PRLClassifier, which "
                "judges rows among those of their label.",
                ConvergenceWarning,
                stacklevel=7,
            )

    def _weighs(self) -> bool:
        """Whether rules find wrong labels, in place of a strong decay.

        They leave networks surer than a share of wrong labels among those held out
        would bear, which would call for too much.
        """
        return False

    def _worth(self, choice: Choice, X: Array) -> bool:
        found = "weight_decay" in choice.usual and self._weighs()
        return super()._worth(choice, X) and not found

    def _nearness(
        self, choice: Choice, outputs: torch.Tensor, targets: Any
    ) -> torch.Tensor:
        errors = torch.softmax(outputs.double(), -1) - targets
        # of inputs that were not scaled outputs may be anything
        return -errors.square().sum(-1).nan_to_num(2.0)

    def _learn_targets(self, X: Array, y: Any, weights: Array, call: Call) -> Fitted:
        check_classification_targets(y)
        y, classes = column_or_1d(y, warn=True), call.classes
        if call.resume:
            if classes is not None and not np.array_equal(
                np.unique(classes), self.classes_
            ):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to "
                    f"partial_fit, was: {self.classes_!r}"
                )
            return {"classes_": self.classes_, "n_outputs_": len(self.classes_)}
        if call.partial and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        found = np.unique(y if classes is None else classes)
        if len(found) < 2:
            raise ValueError(
                f"{type(self).__name__} requires at least 2 classes; got 1 class."
            )
        return {"classes_": found, "n_outputs_": len(found)}

    def _encode(self, y: Any, about: dict[str, Any]) -> Array:
        y, classes = column_or_1d(y), about["classes_"]
        strange = np.setdiff1d(y, classes)
        if len(strange):
            raise ValueError(f"y contains previously unseen labels: {strange}")
        return np.searchsorted(classes, y)

    def _class_weights(self, y: Any, weights: Array, about: dict[str, Any]) -> Any:
        if self.class_weight is None:
            return 1.0
        y = column_or_1d(y)
        if self.class_weight == "balanced":  # repeated rows count like their weight
            classes, place = np.unique(y, return_inverse=True)
            mass = np.bincount(place, weights)
            return (weights.sum() / (len(classes) * mass))[place]
        classes = about["classes_"]  # of which a chunk of a stream may lack some
        factors = compute_class_weight(self.class_weight, classes=classes, y=classes)
        factors = factors[np.minimum(np.searchsorted(classes, y), len(classes) - 1)]
        if not factors.any():
            raise ValueError("class_weight is zero for all samples.")
        return factors

    def _drawn(self, rows: Array, target: Any) -> Array:
        """Hold out the same fraction of every class, as far as it goes."""
        counts = np.bincount(target[rows])
        # the only row of a class is for training
        several = rows[counts[target[rows]] > 1]
        n = len(several)
        if n == 0:
            raise ValueError(
                "early_stopping needs at least 2 samples of a class, got n_samples = "
                f"{len(rows)} of {(counts > 0).sum()} classes. Give X_val and y_val "
                "instead."
            )
        by_class = several[np.argsort(target[several], kind="stable")]
        n_out = min(max(1, round(self.validation_fraction * len(rows))), n)
        outer = by_class[((np.arange(n_out) + 0.5) * n / n_out).astype(int)]
        left = counts - np.bincount(target[outer], minlength=len(counts))
        _, first = np.unique(target[outer], return_index=True)
        return np.delete(outer, first[left[target[outer[first]]] == 0])

    def _score_outputs(self, outputs: Array, target: Array, weights: Array) -> float:
        right = outputs.mean(0).argmax(1) == target
        return float(np.average(right, weights=weights))

    def decision_function(self, X: ArrayLike) -> Array:
        """Logits of the classes, averaged over the networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            With two classes of shape (n_samples,): the second's logit minus the
            first's, positive where the second is predicted.
        """
        logits = self._outputs(X).mean(0)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities of the classes, in the order of ``classes_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return softmax(self._outputs(X).mean(0), axis=1)

    def predict(self, X: ArrayLike) -> Array:
        """Predict classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        decision = self.decision_function(X)
        index = decision > 0 if decision.ndim == 1 else decision.argmax(1)
        return self.classes_[index.astype(int)]

    def to_module(self) -> torch.nn.Module:
        """Return scaling and networks as one plain torch module, for serving.

        Returns
        -------
        torch.nn.Module
            On the CPU, in evaluation mode and of its own memory. It maps a tensor
            (n_samples, n_features) of rows as ``predict`` takes them to
            probabilities of classes (n_samples, n_classes), in double precision.

        Examples
        --------
        >>> import torch
        >>> from skrobust import NetClassifier
        >>> X, y = torch.rand(60, 2).numpy(), [0, 1, 2] * 20
        >>> module = NetClassifier(max_iter=2).fit(X, y).to_module()
        >>> module(torch.as_tensor(X[:5])).shape
        torch.Size([5, 3])
        """
        return self._served(None)


@documented
class NetClassifier(ClassifierBase):
    """Neural network classifier that trains through any composition of steps.

    With ``steps=()`` it is an ordinary multilayer perceptron. Steps re-weight rows
    or change targets before each gradient step; see `skrobust.steps`,
    `skrobust.rules` and `skrobust.criteria` for the pieces and `skrobust.recipes` for
    ready compositions.

    Parameters
    ----------
    steps : tuple of Step, default=()
        Applied to each batch in order.
    criterion : str, Loss or callable, default='cross_entropy'
        The loss, see `skrobust.criteria.as_loss`.
    n_networks : int, default=1
        Networks trained side by side; predictions average their logits.
    {network_parameters}
    {stopping_parameters}
    {border_parameters}
    class_weight : dict or 'balanced', default=None
        Weights of the classes, multiplied with ``sample_weight``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
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
    PRLClassifier : Drops the rows that would move the gradient most.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from skrobust import NetClassifier
    >>> from skrobust.rules import Trim
    >>> from skrobust.steps import Reweight
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> model = NetClassifier(steps=(Reweight(Trim(0.1)),), random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.9
    True
    >>> int(model.inlier_mask_.sum())
    180
    """

    def __init__(
        self,
        steps=(),
        *,
        criterion="cross_entropy",
        n_networks=1,
        hidden_layer_sizes=(256, 256),
        activation="relu",
        network=None,
        dropout=0.0,
        solver="adam",
        alpha=1e-4,
        weight_decay="auto",
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=1e-3,
        max_iter="auto",
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
        class_weight=None,
    ):
        keep(self, locals())

    def _check_params(self) -> None:
        super()._check_params()
        check_composition(self)

    def _weighs(self) -> bool:
        return any(isinstance(step, Reweight) for step in self.steps)
