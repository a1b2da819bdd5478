"""Provable robust learning: drop the rows that would move the gradient most."""

from __future__ import annotations

from typing import Any

from sklearn.base import ClassifierMixin, RegressorMixin

from ._classifier import ClassifierBase
from ._documented import documented
from ._hooks import epochs_of
from ._params import (
    keep,
    require,
    require_among,
    require_bool,
    require_count,
    require_number,
)
from ._regressor import RegressorBase
from ._score_name import ScoreName, ScoreParameterMixin
from ._words import is_count
from .criteria import CrossEntropy, GradientNorm, Loss, LossLayer
from .rules import Exchange, Ramp, Trim, chain
from .steps import Reweight, ReweightByLabel

RAMP, RAMP_STEPS = 10, 40  # epochs as in the papers, or steps where rows are few

# what ranks the rows; None: the loss itself
SCORES = {"loss_gradient": LossLayer(), "gradient": GradientNorm(), "loss": None}


class _PRL(ScoreParameterMixin):
    """The declaration that both estimators share."""

    def _verdict(self) -> tuple[Reweight, ...]:
        # however soon training ended, and however few a batch lost
        return self._leaving_out(Trim(self.epsilon))

    def _leaving_out(self, trim: Trim, kind: Any = Reweight) -> tuple[Reweight, ...]:
        if self.epsilon == 0:
            return ()
        rule = chain(trim, Exchange()) if self.co_training else trim
        return (kind(rule, SCORES[self.score]),)

    def _networks(self) -> int:
        return 2 if self.co_training else 1

    def _check_params(self) -> None:
        super()._check_params()
        require_number(self, "epsilon", 0, 1)
        require_among(self, "score", SCORES)
        require_bool(self, "co_training")


@documented
class PRLClassifier(_PRL, ClassifierBase):
    """Classifier for corrupted labels: provable robust learning (PRL, Co-PRL).

    In every batch the rows that would move the gradient most are left out of it.
    Whatever a wrong label is, what it can do to a step is then bounded.

    Parameters
    ----------
    epsilon : float, default=0.2
        Fraction of the training weight to leave out, in [0, 1): the share of wrong
        labels, rather a little more than less. 0 is plain training. To choose it
        without clean labels, search over it with a score of
        `skrobust.metrics.make_robust_scorer`.
    score : {'loss_gradient', 'gradient', 'loss'}, default='loss_gradient'
        What ranks the rows. 'loss_gradient' (PRL(L)): norm of softmax minus one-hot;
        'gradient' (PRL(G)): norm of the gradient by all weights; 'loss': the loss
        itself, which is self-paced learning, or Co-teaching with ``co_training``. The
        method ``score(X, y)`` works as in any classifier.
    co_training : bool, default=False
        Train two networks that choose the rows for each other (Co-PRL). About twice
        the time, usually a little more accurate.
    ramp : int or 'auto', default='auto'
        Epochs over which the left-out fraction grows to ``epsilon``: networks learn
        the common pattern before they can tell exceptions. 'auto' is the papers' 10,
        or as many as take 40 steps where rows are few, but no more than half.
    by_label : bool, default=True
        Leave out only rows that score worse than the mean of those with the same label
        in the batch, and less than ``epsilon`` where these are fewer. Else a rare or
        hard class would fill the left-out share before it is learned, and never be.
        False is the papers' algorithm. The final verdict, ``inlier_mask_``, ranks all
        rows alike.
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
        What is left of each training row's weight when all rows are ranked together
        by the final networks: 0 for distrusted rows.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether more than half of a row's weight is left.
    weight_decay_ : float
        The decay that was used.
    {fitted_attributes}

    See Also
    --------
    PRLRegressor : The same for numbers.

    References
    ----------
    "Provable Robust Learning for Deep Neural Networks under Agnostic Corrupted
    Supervision", Algorithms 2 (PRL(G)), 3 (PRL(L)) and 4 (Co-PRL(L)); also chapter 4
    of B. Liu, "Robust Learning of Deep Neural Networks under Data Corruption", 2022.
    Selections are exchanged between the networks, as that text says and its
    algorithm's listing does not.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from skrobust import PRLClassifier
    >>> from skrobust.corruption import pairflip
    >>> X, y = make_moons(300, noise=0.1, random_state=0)
    >>> noisy, wrong = pairflip(y, 0.2, random_state=0)
    >>> model = PRLClassifier(epsilon=0.2, random_state=0).fit(X, noisy)
    >>> model.score(X, y) > 0.95
    True
    >>> bool(model.inlier_mask_[wrong].mean() < 0.2)
    True
    """

    score = ScoreName(ClassifierMixin.score)

    def __init__(
        self,
        epsilon=0.2,
        *,
        score="loss_gradient",
        co_training=False,
        ramp="auto",
        by_label=True,
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

    def _loss(self) -> Loss:
        return CrossEntropy()

    def _check_params(self) -> None:
        super()._check_params()
        ok = is_count(self.ramp, 0) or self.ramp == "auto"
        require(self, "ramp", ok, "'auto' or an int in the range [0, inf)")
        require_bool(self, "by_label")

    def _weighs(self) -> bool:
        return self.epsilon > 0

    def _steps_within(self, n_epochs: int, n_batches: int) -> tuple[Reweight, ...]:
        ramp = self.ramp
        if ramp == "auto":
            ramp = min(epochs_of(RAMP_STEPS, n_batches, RAMP), max(n_epochs // 2, RAMP))
        kind = ReweightByLabel if self.by_label else Reweight
        return self._leaving_out(Trim(Ramp(self.epsilon, ramp)), kind)


@documented
class PRLRegressor(_PRL, RegressorBase):
    """Regressor for corrupted targets: provable robust learning (PRL, Co-PRL).

    In every batch the rows that would move the gradient most are left out of it.
    Whatever a wrong target is, what it can do to a step is then bounded.

    Parameters
    ----------
    epsilon : float, default=0.2
        Fraction of the training weight to leave out, in [0, 1): the share of grossly
        wrong targets. Wrong targets that look like right ones need not be left out,
        so the best value may be smaller than their share. 0 is plain training. To
        choose it without clean targets, search over it with a score of
        `skrobust.metrics.make_robust_scorer`.
    score : {'loss_gradient', 'gradient', 'loss'}, default='loss_gradient'
        What ranks the rows. 'loss_gradient' (PRL(L)): norm of the loss's derivative
        by the outputs, for squared errors the same ranking as 'loss' (self-paced
        learning); 'gradient' (PRL(G)): norm of the gradient by all weights. The method
        ``score(X, y)`` works as in any regressor.
    co_training : bool, default=False
        Train two networks that choose the rows for each other (Co-PRL).
    ramp : int, default=10
        Epochs over which the left-out fraction grows to ``epsilon``.
    reach : float or None, default=6.0
        Leave out, too, what is gross in a batch: rows whose score is more than so many
        times the one up to which 85 % of the kept weight lies. By chance one batch has
        more wrong rows than another, and those beyond ``epsilon`` would count in full.
        On clean data it may drop rows that are only learned late: R2 of ``energy``
        fell from .86 to .81 with ``epsilon=0.1``. Of 'loss' as the score it is the
        square, so that squared errors still rank and reach alike. None: ``epsilon``
        alone decides, as in the papers.
    spare : float or None, default=2.5
        Do not leave out rows whose score is at most so many times that one (of 'loss'
        its square), 3.6 standard deviations of normal errors: ``epsilon`` is then the
        share that may be left out. Wrong targets this near do little harm, and without
        the hard rows among the right ones networks would miss their mean. It grows to
        this value over 20 epochs, or twice those of ``ramp`` if these are more. None:
        as in the papers, which may be better where two fifths of the targets are wrong
        in one way.
    criterion : str, Loss or callable, default='squared_error'
        The loss of scaled targets, see `skrobust.criteria.as_loss`.
    {network_parameters}
    {stopping_parameters}
    {border_parameters}

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        What is left of each training row's weight when all rows are ranked together
        by the final networks: 0 for distrusted rows.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether more than half of a row's weight is left.
    weight_decay_ : float
        The decay that was used.
    {fitted_attributes}

    See Also
    --------
    PRLClassifier : The same for classes.

    References
    ----------
    See `PRLClassifier`. For one output and squared errors the paper's PRL(L) and
    self-paced learning coincide (section 4).

    Examples
    --------
    >>> import numpy as np
    >>> from skrobust import PRLRegressor
    >>> X = np.linspace(-1, 1, 300)[:, None]
    >>> y = np.sin(3 * X[:, 0])
    >>> y[::10] = 50.0
    >>> model = PRLRegressor(epsilon=0.15, random_state=0).fit(X, y)
    >>> bool(abs(model.predict([[0.5]])[0] - np.sin(1.5)) < 0.2)
    True
    """

    _automatic = RegressorBase._automatic | {
        "clip_norm": "1 if rows are left out: until the ramp is at its end, gross\n"
        "    errors would throw weights and step sizes far off"
    }

    score = ScoreName(RegressorMixin.score)

    def __init__(
        self,
        epsilon=0.2,
        *,
        score="loss_gradient",
        co_training=False,
        ramp=10,
        reach=6.0,
        spare=2.5,
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

    def _check_params(self) -> None:
        super()._check_params()
        require_count(self, "ramp", 0)
        require_number(self, "reach", 1, or_none=True)
        require_number(self, "spare", 0, or_none=True)

    def _steps(self) -> tuple[Reweight, ...]:
        # squared errors grow as the squares of their derivatives
        power = 2 if self.score == "loss" else 1
        reach, spare = (
            limit * limit if limit and power == 2 else limit
            for limit in (self.reach, self.spare)
        )
        if spare is not None:
            # before much is learned all are near
            spare = Ramp(spare, 2 * max(self.ramp, RAMP), power)
        return self._leaving_out(Trim(Ramp(self.epsilon, self.ramp), reach, spare))

    def _clips(self) -> bool:
        return bool(self.epsilon)
