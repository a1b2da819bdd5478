"""Multiplicative reweighting: rows whose loss stays high lose their say."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ._border import make_generator
from ._choice import Choice, Choosing
from ._classifier import ClassifierBase
from ._documented import documented
from ._linear import LinearStack
from ._optim import SGD
from ._params import is_number, keep, require, require_number
from ._regressor import RegressorBase
from ._scaling import robust_spread
from ._train import Recipe
from .criteria import CrossEntropy, Loss, SquaredError
from .rules import MultiplicativeWeights
from .steps import Mixup, Reweight, SmoothLabels, Step

Array = NDArray[Any]

PAPER_ETA = 0.01  # where there is nothing to choose by
SMOOTHING = 0.1  # the paper's
FEW = 0.01  # of the rows: what may be given up unseen
SETTLED = 60  # epochs that a chosen step size acts: what it does later nobody tried


class _MR(Choosing):
    """The declaration that both estimators share."""

    def _steps(self) -> tuple[Step, ...]:
        usual = self._choices[0].usual
        return self._steps_with({n: getattr(self, f"{n}_", usual[n]) for n in usual})

    def _with(self, recipe: Recipe, settled: dict[str, Any]) -> Recipe:
        if "eta" not in settled:
            return super()._with(recipe, settled)
        return replace(recipe, steps=self._bound(self._steps_with(settled)))

    def _steps_with(self, settled: dict[str, Any]) -> tuple[Step, ...]:
        eta = settled["eta"]
        tried = isinstance(eta, torch.Tensor) or eta != PAPER_ETA
        if isinstance(self.eta, str) and tried:
            eta = _for_a_while(eta)
        rule = MultiplicativeWeights(eta, self.max_weight)
        steps: list[Step] = [Reweight(rule, every=self.every)]
        amount = settled.get("label_smoothing", 0)
        if isinstance(amount, torch.Tensor):  # of targets (n, n_classes), by network
            steps.append(SmoothLabels(amount[..., None]))
        elif amount:
            steps.append(SmoothLabels(amount))
        if self.mixup:
            steps.append(Mixup(self.mixup))
        return tuple(steps)

    def _networks(self) -> int:
        return 1

    def _check_params(self) -> None:
        super()._check_params()
        eta = self.eta
        ok = callable(eta) or (isinstance(eta, str) and eta == "auto")
        ok = ok or (is_number(eta) and 0 <= eta < float("inf"))
        require(self, "eta", ok, "'auto', a float in the range [0, inf) or a callable")
        require_number(self, "every", 0, open_low=True)
        require_number(self, "mixup", 0)
        require_number(self, "max_weight", 1, or_none=True)

    def _keep_weights(self, used: Array, n: int, prior: Array, final: Array) -> None:
        super()._keep_weights(used, n, prior, final)
        left, before = _effective_number(final), _effective_number(prior)
        if left < 0.05 * before:
            warnings.warn(
                f"The weights collapsed: what is left counts like {left:.1f} rows of "
                f"{before:.1f}. Try a smaller eta, or a max_weight.",
                ConvergenceWarning,
                stacklevel=6,
            )


def _for_a_while(eta: Any) -> Any:
    """Return the schedule of a step size that acts in the first epochs only."""
    return lambda epoch: eta if epoch < SETTLED else 0 * eta


def _effective_number(weights: Array) -> float:
    """Rows of equal weight that would average as well as these (Kish)."""
    share = weights / weights.sum()  # rows of weight zero add nothing
    return float(1 / (share**2).sum())


@documented
class MRClassifier(_MR, ClassifierBase):
    """Classifier for corrupted labels: multiplicative reweighting (MR).

    After every epoch the weight of each training row is multiplied by
    ``exp(-eta * loss)``. Rows that fit what the network has learned from the others
    gain, rows that never do fade out, before the network can learn them by heart. No
    share of wrong labels has to be known.

    Parameters
    ----------
    eta : float, schedule or 'auto', default='auto'
        Step size of the weights, not negative; 0 is plain training. A schedule is a
        function of the epoch, from 0. 'auto' tries 0, 0.03 and 0.1: networks trained
        with each on one half of the rows, for 30 epochs, or 300 steps where rows are
        few, predict the labels of the other half, corrupted as they are, and the other
        way round. The smallest step size within two standard errors of the best is
        used; the best itself if plain training learns rows by heart, that is predicts
        the labels it has seen better than the others by over 10 % of the rows. It acts
        in the first 60 epochs; then weights stay as they are. The choice takes about
        as long as 150 epochs, or 1500 steps where rows are few, two thirds of that if
        `label_smoothing` is a number; no candidate takes more than ``max_iter``
        epochs. Where a network learns wrong labels by heart, 0.1 saves much; where
        classes overlap or are hard to learn, it throws hard rows away. Less than 30
        rows, and ``partial_fit``, take the paper's 0.01.
    label_smoothing : float or 'auto', default='auto'
        Share of each label's mass that is moved to all classes evenly, in [0, 1).
        'auto' is the paper's 0.1 (0 where `eta` is 0: plain training), or, if `eta` is
        'auto' too, chosen with it: 0.03 is tried with 0.1, the other step sizes with 0
        and 0.1. Smoothing helps where classes are apart and hurts where they are hard
        to tell.
    mixup : float, default=0.0
        Train on convex combinations of rows with shares from Beta(mixup, mixup); the
        paper uses 1 with 'sgd' and 0.5 with 'adam'. 0: none. Pairs are drawn by row,
        so a row of weight two is then not quite the same as two rows.
    every : float, default=1.0
        Epochs between two updates of the weights, each of which costs a forward pass
        over all rows.
    max_weight : float, default=None
        Largest multiple of its own weight that a row may reach, at least 1.
    {network_parameters}
    {stopping_parameters}
    {border_parameters}
    class_weight : dict or 'balanced', default=None
        Weights of the classes, multiplied with ``sample_weight``.

    Attributes
    ----------
    eta_ : float or callable
        The step size that was used.
    label_smoothing_ : float
        The share that was moved.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    sample_weight_ : ndarray of shape (n_samples,)
        The final distribution over the training rows, with the mass of
        ``sample_weight`` (times ``class_weight``), from which it started. A fit with
        ``warm_start`` on the same rows goes on from it.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether more than half of a row's weight is left.
    weight_decay_ : float
        The decay that was used, chosen after `eta`.
    {fitted_attributes}

    See Also
    --------
    MRRegressor : The same for numbers.
    PRLClassifier : Leaves out a share of each batch that has to be stated.

    References
    ----------
    N. Bar, T. Koren and R. Giryes, "Multiplicative Reweighting for Robust Neural
    Network Optimization", 2024, Algorithm 1; with ``batch_size`` of all rows and
    ``solver='sgd'``, Algorithm 2. The weights are updated with the plain losses of
    unmixed rows. 'auto' is ours.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrobust import MRClassifier
    >>> from skrobust.corruption import symmetric
    >>> X, y = load_digits(return_X_y=True)
    >>> noisy, wrong = symmetric(y, 0.4, random_state=0)
    >>> model = MRClassifier(0.1, max_iter=30, random_state=0).fit(X, noisy)
    >>> model.score(X, y) > 0.95
    True
    >>> bool(model.inlier_mask_[wrong].mean() < 0.1)
    True
    """

    _choices: ClassVar = (
        Choice(
            {"eta": PAPER_ETA, "label_smoothing": SMOOTHING},
            ((0.0, 0.0), (0.0, 0.1), (0.03, 0.1), (0.1, 0.1), (0.1, 0.0)),
            by_heart=0.1,  # of the rows, predicted only because they were learned
        ),
        *ClassifierBase._choices,
    )
    _cure = "try a smaller eta"

    def __init__(
        self,
        eta="auto",
        *,
        label_smoothing="auto",
        mixup=0.0,
        every=1.0,
        max_weight=None,
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
        amount = self.label_smoothing
        ok = (isinstance(amount, str) and amount == "auto") or is_number(amount)
        ok = ok and (isinstance(amount, str) or 0 <= amount < 1)
        require(self, "label_smoothing", ok, "'auto' or a float in the range [0, 1)")

    def _loss(self) -> Loss:
        return CrossEntropy()

    def _usually(self, choice: Choice, given: dict[str, Any]) -> dict[str, float]:
        eta = given.get("eta", PAPER_ETA)
        plain = not callable(eta) and eta == 0
        return choice.usual | {"label_smoothing": 0.0} if plain else choice.usual

    def _weighs(self) -> bool:
        return callable(self.eta_) or self.eta_ > 0

    def _nearness(
        self, choice: Choice, outputs: torch.Tensor, targets: Any
    ) -> torch.Tensor:
        if "eta" not in choice.usual:
            return super()._nearness(choice, outputs, targets)
        return (outputs.argmax(-1) == targets.argmax(-1)).double()


@documented
class MRRegressor(_MR, RegressorBase):
    """Regressor for corrupted targets: multiplicative reweighting (MR).

    After every epoch the weight of each training row is multiplied by
    ``exp(-eta * loss)``, so rows that never fit what the others say fade out. The
    loss is that of robustly scaled targets.

    Parameters
    ----------
    eta : float, schedule or 'auto', default='auto'
        Step size of the weights, not negative; 0 is plain training. A schedule is a
        function of the epoch, from 0. 'auto' tries 0, 0.03 and 0.1: networks trained
        with each on one half of the rows, for 30 epochs, or 300 steps where rows are
        few, predict the other half, and the other way round. Of those that come nearer
        to as many targets as the best, within three standard errors, the smallest is
        used, in the first 60 epochs; then weights stay as they are. One is out of
        question that is five robust deviations away from targets most of which plain
        training meets. The choice takes about as long as 90 epochs, or 900 steps where
        rows are few. Less than 30 rows, and ``partial_fit``, take the paper's 0.01.
    mixup : float, default=0.0
        Train on convex combinations of rows and of their targets, with shares from
        Beta(mixup, mixup). 0: none.
    every : float, default=1.0
        Epochs between two updates of the weights, each of which costs a forward pass
        over all rows.
    max_weight : float, default=None
        Largest multiple of its own weight that a row may reach, at least 1.
    criterion : str, Loss or callable, default='squared_error'
        The loss of scaled targets, see `skrobust.criteria.as_loss`.
    {network_parameters}
    {stopping_parameters}
    {border_parameters}

    Attributes
    ----------
    eta_ : float or callable
        The step size that was used.
    sample_weight_ : ndarray of shape (n_samples,)
        The final distribution over the training rows, with the mass of
        ``sample_weight``, from which it started. A fit with ``warm_start`` on the
        same rows goes on from it.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether more than half of a row's weight is left.
    weight_decay_ : float
        The decay that was used, chosen after `eta`; 'lstsq' has none.
    {fitted_attributes}

    See Also
    --------
    MRClassifier : The same for classes.

    References
    ----------
    See `MRClassifier`; 'lstsq' is Algorithm 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skrobust import MRRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> y = 3 * X[:, 0] + 1
    >>> y[::10] = 50.0
    >>> line = MRRegressor(0.1, hidden_layer_sizes=(), solver="lstsq").fit(X, y)
    >>> line.predict([[1.0]]).round(2)
    array([4.])
    """

    _solvers = ("adam", "lstsq", "sgd")  # closed form is for regression only
    _automatic = RegressorBase._automatic | {
        "clip_norm": "1 unless ``eta`` is 0: before weights tell them apart, gross\n"
        "    errors would throw weights and step sizes far off",
    }
    _choices: ClassVar = (
        # errors as large as one likes must not decide, so rows vote; but who is
        # nearer to most may be far from the others
        Choice({"eta": PAPER_ETA}, ((0.0,), (0.03,), (0.1,)), margin=3.0, votes=True),
        *RegressorBase._choices,
    )

    def __init__(
        self,
        eta="auto",
        *,
        mixup=0.0,
        every=1.0,
        max_weight=None,
        criterion="squared_error",
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
        clip_norm="auto",
        standardize=True,
        device="auto",
        dtype="auto",
    ):
        keep(self, locals())

    def _merits(
        self, choice: Choice, found: torch.Tensor, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not choice.votes:
            return super()._merits(choice, found, share)
        # rows that a step size gives up but plain training meets are no errors: near
        # to most of the others it may have lost a whole kind of rows
        errors, mass = -found.cpu().numpy(), share.cpu().numpy()
        far = errors > 5 * robust_spread(errors.T, mass)[:, None]
        lost = far & (errors[:1] < 0.5 * errors)
        sound = (far @ mass <= FEW) | (lost @ mass <= 0.5 * far @ mass)
        return found, torch.from_numpy(sound)

    def _made(self) -> tuple[Choice, ...]:
        return self._choices[:1] if self.solver == "lstsq" else self._choices

    def _clips(self) -> bool:
        return callable(self.eta) or self.eta != 0

    def _check_params(self) -> None:
        super()._check_params()
        if self.solver == "lstsq":
            linear = self.network is None and np.size(self.hidden_layer_sizes) == 0
            if not (linear and isinstance(self._loss(), SquaredError)):
                raise ValueError(
                    "solver='lstsq' of MRRegressor solves a linear model: it needs "
                    "hidden_layer_sizes=(), network=None and "
                    "criterion='squared_error'."
                )

    def _design(self, row_shape: tuple[int, ...], n_outputs: int) -> dict[str, Any]:
        closed = self.solver == "lstsq"
        return super()._design(row_shape, n_outputs) | {"closed_form": closed}

    def _build(
        self, design: dict[str, Any], seed: int, dtype: torch.dtype, device: Any
    ) -> Any:
        if not design["closed_form"]:
            return super()._build(design, seed, dtype, device)
        generator = make_generator(seed)
        kind = {"generator": generator, "dtype": dtype, "device": device}
        return LinearStack(design["sizes"], design["n_networks"], **kind)

    def _optimizer(self, stack: Any) -> Any:
        if self.solver == "lstsq":
            return SGD(stack.theta, momentum=0.0, nesterov=False)
        return super()._optimizer(stack)

    def _batches(self, X: Any, target: Any, weights: Any) -> tuple[int, int | None]:
        if self.solver == "lstsq":
            return len(X), None
        return super()._batches(X, target, weights)

    def _recipe(self, first: int, n_epochs: int, size: int, n_batches: int) -> Recipe:
        if self.solver == "lstsq":  # the gradient leads to the solution in one step
            return Recipe(self._bound(self._steps()), size, lambda epoch: 1.0)
        return super()._recipe(first, n_epochs, size, n_batches)
