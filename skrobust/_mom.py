"""Median-of-means: follow the block of rows whose loss is the median."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.special import bdtrc

from ._base import NetBase
from ._batch import Rows
from ._blocks import REPEATS, central, count_rows, n_blocks_of
from ._classifier import ClassifierBase
from ._documented import documented
from ._hooks import epochs_of
from ._params import keep, require, require_among, require_count, require_number
from ._progress import Progress
from ._regressor import RegressorBase
from ._train import Recipe
from ._words import is_count, is_share
from .criteria import CrossEntropy, Loss, LossIncrement, SquaredError
from .rules import MedianOfMeans, NearMedian, Phases, Rule, SelfPaced
from .steps import Reweight

# what ranks the blocks; None: the loss itself
SELECTIONS = {"increment": LossIncrement(), "loss": None}
SHARE = 0.5  # blocks for a row, where only something else was said
# epochs of the first phase, where there are two, or steps where rows are few: the
# second one keeps wrong rows that the network has not yet learned to tell
FIRST, FIRST_STEPS = 10, 120
SPOILED = 0.05  # share of steps that bad rows may get into without a warning


def spoiled_steps(
    epsilon: float, n_rows: int, n_blocks: int | float, n_central: int | float
) -> float:
    """Return in which share of the steps a central block may hold a bad row.

    Bad rows are taken to fall on blocks at random, and their blocks to rank above all
    others.
    """
    b = n_blocks_of(n_blocks, n_rows)
    bad = 1 - (1 - float(epsilon)) ** (n_rows / b)
    # at most so many bad blocks leave the central ones alone
    return float(bdtrc(b - 1 - central(n_central, b)[1], b, bad))


class _MoM:
    """The declaration that both estimators share."""

    _usual: tuple[float, float]  # shares of blocks and central ones, if all is "auto"
    _then: Rule | None = None  # what follows, if all is "auto", after some epochs

    def _auto(self) -> bool:
        """Whether nothing is said of the blocks of a single network."""
        ours = self.n_blocks == "auto" and self.n_central == "auto"
        return ours and self.selection == "loss"

    def _blocks(self) -> int | float:
        if self._auto():
            return self._usual[0]
        return SHARE if self.n_blocks == "auto" else self.n_blocks

    def _central(self) -> int | float:
        if self._auto():
            return self._usual[1]
        return 1 if self.n_central == "auto" else self.n_central

    def _plain(self) -> bool:
        """Whether one block holds everything, which is training without a rule."""
        return is_count(self.n_blocks) and self.n_blocks == 1

    def _steps_within(self, n_epochs: int, n_batches: int) -> tuple[Reweight, ...]:
        if self._plain():
            return ()
        rule: Rule = MedianOfMeans(self._blocks(), self._central())
        if self._auto() and self._then is not None:
            first = epochs_of(FIRST_STEPS, n_batches, FIRST)
            rule = Phases(rule, self._then, min(first, n_epochs // 2))
        return (Reweight(rule, SELECTIONS[self.selection]),)

    def _networks(self) -> int:
        return 1 if self._plain() or self.selection == "loss" else 2

    def _by_change(self) -> bool:
        return self.stopping == "change"

    def _recipe(self, first: int, n_epochs: int, size: int, n_batches: int) -> Recipe:
        recipe: Recipe = super()._recipe(first, n_epochs, size, n_batches)
        recipe.turns = self._networks() > 1
        return recipe

    def _settle(
        self, rows: Rows, progress: Progress, recipe: Recipe, X: Any, partial: bool
    ) -> Recipe:
        # as the rule counts them: a row of weight two is two rows
        n_rows = min(count_rows(rows.weights), REPEATS * rows.n)
        n_rows //= rows.n_batches(recipe.batch_size)
        self.n_blocks_ = n_blocks_of(self._blocks(), n_rows)
        self._advise(n_rows)
        settled: Recipe = super()._settle(rows, progress, recipe, X, partial)
        return settled

    def _advise(self, rows: int) -> None:
        """Warn where the blocks cannot do what is asked of them."""
        name, blocks = type(self).__name__, self._blocks()
        if not is_share(blocks) and blocks > rows:
            warnings.warn(
                f"n_blocks={blocks} is more than the {rows} rows of a batch: {name} "
                "uses blocks of one row. Use fewer blocks or a larger batch_size.",
                stacklevel=7,
            )
        if self.epsilon is None:
            return
        spoiled = spoiled_steps(self.epsilon, rows, blocks, self._central())
        if spoiled <= SPOILED:
            return
        best = spoiled_steps(self.epsilon, rows, rows, 1)
        cure = (
            "Use more and smaller blocks, or fewer central ones."
            if best < spoiled
            else "Not even blocks of one row would do: use a larger batch_size."
        )
        warnings.warn(
            f"With epsilon={self.epsilon:g} bad rows get into {spoiled:.0%} of the "
            f"steps: more than half of the blocks, and all central ones, must hold "
            f"none, but a batch of {rows} rows has {self.n_blocks_} blocks of about "
            f"{rows / self.n_blocks_:.3g} rows. {cure}",
            stacklevel=7,
        )

    def _check_params(self) -> None:
        super()._check_params()
        for name in ("n_blocks", "n_central"):
            value = getattr(self, name)
            if is_share(value):
                require_number(self, name, 0, 1, open_low=True, open_high=False)
            elif value != "auto":
                require_count(self, name)
        odd = not is_count(self.n_central) or self.n_central % 2 == 1
        require(self, "n_central", odd, "an odd int or a float in the range (0, 1]")
        require_among(self, "selection", SELECTIONS)
        require_among(self, "stopping", ("loss", "change"))
        require_count(self, "max_restarts", 0)
        require_number(self, "epsilon", 0, 0.5, or_none=True)


@documented
class MoMRegressor(_MoM, RegressorBase):
    """Regressor for corrupted targets: median-of-means (DeepMoM).

    Every step cuts the batch into small random blocks, averages the loss in each, and
    follows the block in the middle of the ranking. A wrong target makes its block's
    loss large, wherever it lies, and so keeps it out of the middle.

    Parameters
    ----------
    {block_parameters}
        Where all three are left alone, blocks are single rows. The first ten epochs,
        or 120 steps where rows are few (half of all epochs at most), follow the
        central fifth of them, and the others all whose loss is at most 9 times the
        median (two robust standard deviations of normal errors) or at most 1.5, an
        error of 1.2 robust deviations of the targets: a start that two fifths of wrong
        rows cannot move, then most good rows. Of what was tried, this came nearest to
        the oracle on clean and on corrupted data; with five deviations wrong targets
        of moderate size, such as flipped signs, were let in again.
    {mom_parameters}
    criterion : str, Loss or callable, default='squared_error'
        The loss of scaled targets, see `skrobust.criteria.as_loss`; also
        'absolute_error' and 'huber'.
    {network_parameters}
    {stopping_parameters}
    {border_parameters}

    Attributes
    ----------
    n_blocks_ : int
        Blocks of a batch.
    n_restarts_ : int
        How often training began again.
    sample_weight_ : ndarray of shape (n_samples,)
        The own weight of each training row that the final networks trust: whose
        residual is at most five robust standard deviations of all residuals, or one of
        the targets. Others have 0. With two players the mean of their opinions.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether the networks trust a row, with two players both of them.
    weight_decay_ : float
        The decay that was used.
    {fitted_attributes}

    See Also
    --------
    MoMClassifier : The same for classes.
    PRLRegressor : Leaves out the rows of largest loss and needs to be told how many.

    References
    ----------
    S.-T. Huang and J. Lederer, "DeepMoM: Robust Deep Learning With Median-of-Means",
    2022, Definition 1 and Algorithm 1. Where its step 5 has a sign that would let the
    second player ascend its own loss, the text is followed.

    Examples
    --------
    >>> import numpy as np
    >>> from skrobust import MoMRegressor
    >>> X = np.linspace(-1, 1, 300)[:, None]
    >>> y = np.sin(3 * X[:, 0])
    >>> y[::10] = 50.0
    >>> model = MoMRegressor(random_state=0).fit(X, y)
    >>> bool(abs(model.predict([[0.5]])[0] - np.sin(1.5)) < 0.2)
    True
    >>> int(model.inlier_mask_[::10].sum())
    0
    """

    # followed for long, few rows would be learnt by heart and all others look wrong
    # Where targets are met nearly exactly, many deviations of the errors are no gross
    # error: rows that are only learned late would be given up for good. With a floor of
    # 1 that still happened where targets were grossly wrong (concrete, one draw of
    # three: 1.3 times the oracle's error), with 2 more moderate errors were let in.
    _usual, _then = (1.0, 0.2), NearMedian(9.0, floor=1.5)

    def __init__(
        self,
        n_blocks="auto",
        *,
        selection="loss",
        n_central="auto",
        epsilon=None,
        stopping="loss",
        max_restarts=3,
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
        clip_norm=None,
        standardize=True,
        device="auto",
        dtype="auto",
    ):
        keep(self, locals())

    _automatic = RegressorBase._automatic | NetBase._automatic

    def _auto_parts(self, X: Any, target: Any) -> int | None:
        # a median of few blocks is spoiled by the few bad rows that are too many
        return super()._auto_parts(X, target) if self._plain() else None

    def _verdict(self) -> tuple[Reweight, ...]:
        # wider than what is followed: to leave out a good row costs training little,
        # to call it wrong would mislead
        return (Reweight(NearMedian(floor=1.0), SquaredError()),)


@documented
class MoMClassifier(_MoM, ClassifierBase):
    """Classifier for corrupted labels: median-of-means (DeepMoM).

    Every step cuts the batch into small random blocks, averages the loss in each, and
    follows the block in the middle of the ranking.

    Parameters
    ----------
    {block_parameters}
        Where all three are left alone, blocks have two rows and the central four
        fifths are followed. A wrong label costs less than a wrong number may, so that
        a block with one does little harm, while to follow less would leave out what is
        hard to learn. On clean data that still costs: 1 point on digits, 2 to 4 on
        spirals. A class of less than a twentieth of the rows may never be followed, and
        so not be predicted, of which `fit` warns: give `n_central` a larger share, or
        take `PRLClassifier`, which judges rows among those of their label.
    {mom_parameters}
    {network_parameters}
    {stopping_parameters}
    {border_parameters}
    class_weight : dict or 'balanced', default=None
        Weights of the classes, multiplied with ``sample_weight``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_blocks_ : int
        Blocks of a batch.
    n_restarts_ : int
        How often training began again.
    sample_weight_ : ndarray of shape (n_samples,)
        The own weight of each training row that the final networks trust: whose label
        they find likelier than chance. Others have 0. With two players the mean of
        their opinions.
    inlier_mask_ : ndarray of shape (n_samples,)
        Whether the networks trust a row, with two players both of them.
    weight_decay_ : float
        The decay that was used.
    {fitted_attributes}

    See Also
    --------
    MoMRegressor : The same for numbers.
    PRLClassifier : Leaves out the rows that would move the gradient most.

    References
    ----------
    See `MoMRegressor`.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from skrobust import MoMClassifier
    >>> from skrobust.corruption import pairflip
    >>> X, y = make_moons(300, noise=0.1, random_state=0)
    >>> noisy, wrong = pairflip(y, 0.2, random_state=0)
    >>> model = MoMClassifier(random_state=0).fit(X, noisy)
    >>> model.score(X, y) > 0.95
    True
    """

    # single rows, or fewer of the blocks, would leave out what is hard to learn
    _usual = (SHARE, 0.8)
    _cure = "give n_central a larger share"

    def __init__(
        self,
        n_blocks="auto",
        *,
        selection="loss",
        n_central="auto",
        epsilon=None,
        stopping="loss",
        max_restarts=3,
        hidden_layer_sizes=(256, 256),
        activation="relu",
        network=None,
        dropout=0.0,
        solver="adam",
        alpha=1e-4,
        weight_decay="auto",
        batch_size="auto",
        learning_rate="cosine",
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
        n_iter_no_change=50,
        clip_norm=None,
        standardize=True,
        device="auto",
        dtype="auto",
        class_weight=None,
    ):
        keep(self, locals())

    def _loss(self) -> Loss:
        return CrossEntropy()

    def _verdict(self) -> tuple[Reweight, ...]:
        return (Reweight(SelfPaced(float(np.log(len(self.classes_))))),)
