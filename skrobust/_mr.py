"""Multiplicative reweighting: rows whose loss stays high lose their say."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ._batch import Rows
from ._border import make_generator
from ._classifier import ClassifierBase
from ._compat import Silence
from ._keys import row_keys
from ._linear import LinearStack
from ._optim import SGD
from ._params import documented, is_number, keep, require, require_number
from ._progress import Progress, Watch, run_epochs
from ._regressor import RegressorBase
from ._train import Recipe
from .criteria import CrossEntropy, Loss, SquaredError
from .rules import MultiplicativeWeights
from .steps import Context, Mixup, Reweight, SmoothLabels, Step

Array = NDArray[Any]

PAPER_ETA = 0.01  # where there is nothing to choose by
ETAS = (0.0, 0.03, 0.1)  # tried by 'auto'; the first is plain training
SMOOTHING = 0.1  # the paper's
FEWEST = 30  # rows, below which held-out ones decide nothing
PILOT = 60  # epochs at most: wrong labels are learned by heart before that, or late


class _MR:
    """The declaration that both estimators share."""

    _by_heart = float("inf")  # distances to targets have no common scale
    # what 'auto' tries, plain training first, and what it is where it cannot try
    _tried: ClassVar[dict[str, tuple[float, ...]]] = {"eta": ETAS}
    _usual: ClassVar[dict[str, float]] = {"eta": PAPER_ETA}

    def _steps(self) -> tuple[Step, ...]:
        settled = {n: getattr(self, f"{n}_", usual) for n, usual in self._usual.items()}
        return self._steps_with(settled)

    def _steps_with(self, settled: dict[str, Any]) -> tuple[Step, ...]:
        rule = MultiplicativeWeights(settled["eta"], self.max_weight)
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
        if self.max_weight is not None:
            require_number(self, "max_weight", 1)

    def _settle(
        self, rows: Rows, progress: Progress, recipe: Recipe, X: Array, partial: bool
    ) -> Recipe:
        """Settle on what is 'auto' before training starts."""
        given = {name: getattr(self, name) for name in self._usual}
        auto = [name for name, value in given.items() if isinstance(value, str)]
        settled = given | {name: self._usual[name] for name in auto}
        if progress.n_epochs:  # a fit that goes on keeps to what it chose
            settled |= {name: getattr(self, f"{name}_") for name in auto}
        elif "eta" in auto and not partial:
            settled |= self._choose(auto, rows, progress, recipe, X)
        for name, value in settled.items():
            setattr(self, f"{name}_", value)
        return replace(recipe, steps=self._bound(self._steps()))

    def _choose(
        self, names: list[str], rows: Rows, progress: Progress, recipe: Recipe, X: Array
    ) -> dict[str, float]:
        """Train with each candidate on one half of the rows; ask the other, and back.

        Of the step sizes that are not behind the best by more than two standard errors
        the smallest is taken, so that reweighting is not done where nothing speaks
        for it; but the largest where plain training learns rows by heart, which
        makes it the one to distrust.
        """
        half = _halves(X, rows.weights, progress.order.initial_seed())
        mass, total = float(rows.weights[half].sum()), float(rows.weights.sum())
        if total < FEWEST or not 0 < mass < total:
            return {name: self._usual[name] for name in names}
        tried = list(product(*(self._tried[name] for name in names)))
        like = progress.stack.theta
        columns = like.new_tensor(tried).T[..., None]  # of each name, (K, 1)
        candidates = dict(zip(names, columns, strict=True))
        shown, seen, weights = [], [], []
        for held in (half, ~half):
            known, unseen = rows.part(~held), rows.part(held)
            stack = self._pilot(candidates, known, progress, recipe)
            shown.append(self._near(stack, unseen))
            seen.append(self._near(stack, known))
            weights += [unseen.weights.double() / total, known.weights.double() / total]
        found, learned = torch.cat(shown, -1), torch.cat(seen, -1)
        share, share_known = torch.cat(weights[::2]), torch.cat(weights[1::2])
        ahead = ((found - found[:1]).sign() * share).sum(-1)
        behind = (found[ahead.argmax()] - found).sign().double()
        gap = (behind * share).sum(-1)
        error = (((behind - gap[:, None]).square() * share).sum(-1) / total).sqrt()
        gap_known = (learned[0] * share_known).sum() - (found[0] * share).sum()
        by_heart = bool(gap_known > self._by_heart)
        etas = columns[names.index("eta"), :, 0]
        good = etas[gap <= 2 * error]
        eta = good.max() if by_heart else good.min()
        best = int(ahead.masked_fill(etas != eta, -torch.inf).argmax())
        return dict(zip(names, tried[best], strict=True))

    def _near(self, stack: Any, rows: Rows) -> torch.Tensor:
        """How near each network's outputs are to the rows' targets, (K, n)."""
        with stack.mode():
            parts = [self._nearness(stack.predict(b.x), b.y) for b in rows.blocks(1024)]
        return torch.cat(parts, -1).double()

    def _pilot(
        self,
        candidates: dict[str, torch.Tensor],
        rows: Rows,
        progress: Progress,
        recipe: Recipe,
    ) -> Any:
        """Train networks with each candidate, side by side, from equal weights.

        From equal weights and by equal batches they differ by their settings alone.
        """
        like, seed = progress.stack.theta, progress.order.initial_seed()
        n_networks = len(next(iter(candidates.values())))
        design = {**progress.design, "n_networks": n_networks}
        stack = self._build(design, seed, like.dtype, like.device)
        stack.theta.view(n_networks, -1)[1:] = stack.theta.view(n_networks, -1)[:1]
        stack.generator = make_generator(seed, like.device)
        order = make_generator(seed)
        steps = self._bound(
            self._steps_with({n: getattr(self, n) for n in self._usual} | candidates)
        )
        watch = Watch(
            n_epochs=min(self.max_iter, PILOT),
            tol=self.tol,
            patience=self.n_iter_no_change,
            validate=None,
            callbacks=Silence(),
            tell={},
            attributes=dict,
            verbose=False,
        )
        pilot = Progress(stack, self._optimizer(stack), None, design, order)
        context = Context(self._loss(), 0, stack.generator)
        size = min(recipe.batch_size, rows.n)
        recipe = replace(recipe, steps=steps, batch_size=size)
        run_epochs(rows, pilot, recipe, context, watch)
        return stack

    def _nearness(self, outputs: torch.Tensor, targets: Any) -> torch.Tensor:
        """How near outputs are to targets (n, n_outputs), (K, n), higher is nearer."""
        raise NotImplementedError

    def _finish(self, X: Array, weights: Array) -> None:
        left = _effective_number(self.sample_weight_)
        before = _effective_number(weights)
        if left < 0.05 * before:
            warnings.warn(
                f"The weights collapsed: what is left counts like {left:.1f} rows of "
                f"{before:.1f}. Try a smaller eta, or a max_weight.",
                ConvergenceWarning,
                stacklevel=6,
            )


def _effective_number(weights: Array) -> float:
    """Rows of equal weight that would average as well as these (Kish)."""
    share = weights / weights.sum()  # rows of weight zero add nothing
    return float(1 / (share**2).sum())


def _halves(X: Array, weights: torch.Tensor, seed: int) -> torch.Tensor:
    """Mask of the rows that hold half of the mass.

    The order is that of salted keys, so equal rows stay on one side, and a row of
    weight two is dealt with like two rows.
    """
    keys = row_keys(X.reshape(len(X), -1), np.random.RandomState(seed % 2**32))
    order = np.argsort(keys, kind="stable")
    mass = np.cumsum(weights.double().cpu().numpy()[order])
    last = keys[order[np.searchsorted(mass, mass[-1] / 2)]]
    return torch.as_tensor(keys < last, device=weights.device)


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
        with each on one half of the rows, for 60 epochs at most, predict the labels
        of the other half, corrupted as they are, and the other way round. Of those
        within two standard errors of the best the smallest is used; the largest if
        plain training learns rows by heart, that is predicts the labels it has seen
        better than the others by over 10 % of the rows. That takes about as long as
        360 epochs, or half of that if `label_smoothing` is a number. Where a network
        learns wrong labels by heart, 0.1 saves much; where classes overlap or are
        hard to learn, it throws hard rows away. Less than 30 rows, and
        ``partial_fit``, take the paper's 0.01.
    label_smoothing : float or 'auto', default='auto'
        Share of each label's mass that is moved to all classes evenly, in [0, 1).
        'auto' is the paper's 0.1, or, if `eta` is 'auto' too, the better of 0.1 and
        0, which are then tried with each step size: smoothing helps where classes
        are apart and hurts where they are hard to tell.
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
        ``sample_weight``, from which it started. A fit with ``warm_start`` on the
        same rows goes on from it.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether at least half of a row's weight is left.
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

    _by_heart = 0.1  # of the rows, predicted only because they were learned
    _tried: ClassVar = _MR._tried | {"label_smoothing": (0.0, SMOOTHING)}
    _usual: ClassVar = _MR._usual | {"label_smoothing": SMOOTHING}

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
        weight_decay=1.0,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=1e-3,
        max_iter=200,
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

    def _nearness(self, outputs: torch.Tensor, targets: Any) -> torch.Tensor:
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
        with each on one half of the rows, for 60 epochs at most, predict the other
        half, and the other way round. Of those that come nearer to as many targets as
        the best, within two standard errors, the smallest is used. That takes about
        as long as 180 epochs. Less than 30 rows, and ``partial_fit``, take the
        paper's 0.01.
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
        'lstsq' solves weighted least squares in closed form in every epoch. It is
        for a linear model, ``hidden_layer_sizes=()``, with squared errors, and does
        not use the parameters of gradient steps and penalties.
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
        Whether at least half of a row's weight is left.
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
        weight_decay=1.0,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=1e-3,
        max_iter=200,
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

    def _nearness(self, outputs: torch.Tensor, targets: Any) -> torch.Tensor:
        return -(outputs.double() - targets).abs().sum(-1)

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

    def _recipe(self, n: int, n_epochs: int) -> Recipe:
        if self.solver == "lstsq":  # the gradient leads to the solution in one step
            return Recipe(self._bound(self._steps()), n, lambda epoch: 1.0)
        return super()._recipe(n, n_epochs)
