"""Reject and refit numbers: drop what robust learning cannot explain, learn again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from . import _rejection
from ._mom import MoMRegressor
from ._params import keep
from ._regressor import CAP, NetRegressor
from ._scaling import robust_spread, weighted_quantile
from ._two_stage import TwoStage

Array = NDArray[Any]

_TINY = 1e-307
# how much nearer than plain training a robust stage must be to be the last, and by how
# many standard errors: on clean data it was by 5 % at most, and once by 4.5 errors
NEARER, MARGIN = 1.08, 3.0
# squared errors up to so many robust deviations must not say the opposite by so many
# standard errors: on clean skewed targets they did by 3.6 to 5.7, but by 1.4 at most
# where wrong ones had misled plain training
FAR, AGAINST = 3.0, 2.0


class RejectRefitRegressor(RegressorMixin, TwoStage):
    """Reject rows by cross-fitted residuals, then train on the rest.

    A robust regressor is fitted in folds, so that each row is predicted by a model
    that has not seen it. Rows whose residual is far out of scale are rejected, and the
    final estimator is trained on the others as if nothing had happened. So the final
    model has the accuracy of plain training on clean rows, which robust training
    alone seldom reaches.

    This two-stage estimator is ours, not the papers'. It fails where wrong rows do
    not look wrong: targets of wrong rows that agree with each other (more than half
    of a region, say), corrupted inputs whose targets are plausible for what they
    have become, and errors smaller than the first stage's own. In-sample residuals
    would be of no use: a network soon fits wrong targets as well as right ones.

    A robust first stage may also give up rows that are only hard, such as a group that
    differs from all others. Wrong rows cannot be learnt from each other, hard ones can.
    So with ``threshold='auto'`` the final estimator is first trained on all rows of a
    fold's training part. If that halves the errors of most rejected rows of the fold,
    or takes away a third of all of them beyond what a common error of wrong rows would
    explain, nothing is rejected. Nor is it if kept rows of the fold are foretold better
    by training on all rows than on the kept ones, and most rejected targets lie within
    the range of the others: wrong rows would do harm. Gross errors beside it hide a
    hard group: then both are rejected.

    Where nothing is rejected, wrong rows may be hidden among noisy ones, and plain
    training would follow them. So if nothing is said of the final estimator, it is
    fitted in the folds too. If the first stage comes nearer to the targets of rows that
    neither has seen, it is the final one, trained on all rows. Nearer is by 8 % of
    the mean absolute error, in which two robust deviations are as bad as any, and by
    three of its standard errors, unless squared errors say the opposite by two.

    Parameters
    ----------
    estimator : regressor, default=None
        The first stage: any regressor that withstands the corruption.
        None is ``MoMRegressor()``, which bears two fifths of wrong targets.
    final_estimator : regressor, default=None
        What is trained on the rows that are left. None takes the network of the first
        stage with plain training: settings that were changed carry over, others are
        those of `NetRegressor`. Where the first stage is no network of this package,
        it is a copy of that. Only with None and 'auto' as the threshold may the first
        stage itself be the final one.
    cv : int, splitter or iterable of splits, default=3
        Folds. With a number, rows are dealt by a hash of their values, so that equal
        rows share a fold and a weight means repetition. Rows that no fold holds out
        are never rejected.
    threshold : 'auto' or float, default='auto'
        Residual from which a row is rejected, in robust scales: 1.4826 times the
        median absolute residual, or where errors grow with the prediction, that of
        rows with like predictions. 'auto' reads the scale and the tail of the residuals
        from the rows that it keeps, and puts the threshold where as many good rows
        would be rejected as wrong ones are kept, at 3 scales or farther out. Where few
        rows lie far out, none is rejected. A number counts in scales of all rows, which
        a quarter of wrong ones makes half as large again.
    max_rejected : float, default=0.5
        Largest share of the weight to reject, in [0, 1). The scale is that of a
        median, so more than half of wrong rows cannot be told from right ones.
    n_jobs : int, default=None
        Number of folds to fit the first stage on in parallel. ``None`` means 1 unless
        in a ``joblib.parallel_backend`` context. ``-1`` means using all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds. An int, or one drawn from the instance, is also given to
        each ``random_state`` of the stages; None leaves theirs.

    Attributes
    ----------
    inlier_mask_ : ndarray of shape (n_samples,)
        Rows that the final estimator was trained on.
    outlier_score_ : ndarray of shape (n_samples,)
        Cross-fitted absolute residual in robust scales (with 'auto' those of the rows
        below the threshold); the largest of the outputs, and 0 for rows that were never
        held out or have no weight.
    threshold_ : float
        Score from which rows were to be rejected; infinite if none.
    estimators_ : list of regressors
        The first stage, one for each fold.
    final_estimator_ : regressor
        What predicts.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had any.

    See Also
    --------
    RejectRefitClassifier : The same for classes.
    PRLRegressor : One stage: drops rows in every step of training.

    References
    ----------
    J. Pickands, "Statistical Inference Using Extreme Order Statistics", 1975, for the
    tail of the residuals. Cross-fitting is a device of semiparametric statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import HuberRegressor, LinearRegression
    >>> from skrobust import RejectRefitRegressor
    >>> x = np.linspace(-1, 1, 100)[:, None]
    >>> y = 2 * x[:, 0] + 0.1 * np.sin(50 * x[:, 0])
    >>> y[::4] = 20.0
    >>> model = RejectRefitRegressor(HuberRegressor(), LinearRegression()).fit(x, y)
    >>> bool(abs(model.predict([[0.5]])[0] - 1.0) < 0.05)
    True
    >>> int((~model.inlier_mask_).sum())
    25
    """

    _y_options = {"multi_output": True, "y_numeric": True}

    def __init__(
        self,
        estimator=None,
        final_estimator=None,
        *,
        cv=3,
        threshold="auto",
        max_rejected=0.5,
        n_jobs=None,
        random_state=None,
    ):
        keep(self, locals())

    def _default(self) -> Any:
        return MoMRegressor()

    def _plain(self) -> type:
        return NetRegressor

    def _learn_targets(
        self, y: Array, weights: Array
    ) -> tuple[Array, Array, dict[str, Any]]:
        columns = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        return columns.astype(float), np.zeros(len(y)), {}

    def _opinion(self, model: Any, X: Any, about: dict[str, Any]) -> Array:
        predicted = np.asarray(model.predict(X), dtype=float)
        return predicted.reshape(len(predicted), -1)

    def _judge(self, opinion: Array, y: Array, weights: Array) -> tuple[Array, float]:
        residuals = y.reshape(len(y), -1) - opinion
        if self.threshold == "auto":
            return _rejection.judge(residuals, opinion, weights)
        scores = _rejection.scores_of(residuals, opinion, weights)
        return scores, float(self.threshold)

    def _learnable(
        self, before: Array, after: Array, y: Array, weights: Array, share: float
    ) -> bool:
        """Whether rejected rows come out less wrong after training on their like.

        Most of them half as wrong, or all in the mean by a third more than if training
        followed their mean: of a common error it takes away their ``share`` of all
        rows. In the mean a row counts by how wrong it was, up to the median.
        """
        half = y.reshape(len(y), -1) / 2  # of the largest numbers differences overflow
        unit = np.ptp(half, axis=0)  # outputs may differ in theirs
        unit[unit == 0] = 1
        was, now = (np.max(abs(half - o / 2) / unit, axis=1) for o in (before, after))
        left = np.divide(np.minimum(now, was), was, np.ones_like(was), where=was > 0)
        if weights[left < 0.5].sum() > 0.5 * weights.sum():
            return True
        far = weighted_quantile(was[:, None], 0.5, weights)[0, 0]
        mean = np.average(left, weights=weights * (np.minimum(was, far) + _TINY))
        return bool(mean < (1 - share) * 2 / 3)

    def _hard(
        self,
        first: Array,
        by_all: Array,
        by_kept: Array,
        y: Array,
        weights: Array,
        rejected: Array,
    ) -> bool:
        """Whether rejected rows are hard and not wrong.

        Hard ones come out less wrong after training on their like. Or they do the
        others good, which wrong rows seldom do, and have targets like theirs.
        """
        y, kept, mass = y.reshape(len(y), -1), ~rejected, weights[rejected]
        pairs = (part[rejected] for part in (first, by_all, y, weights))
        if self._learnable(*pairs, mass.sum() / weights.sum()):
            return True
        if not kept.any():  # nobody to ask
            return False
        low, high = y[kept].min(axis=0), y[kept].max(axis=0)
        inside = ((y[rejected] >= low) & (y[rejected] <= high)).all(axis=1)
        others = (part[kept] for part in (by_kept, by_all, y, weights))
        was, now = _capped(*others)
        gain = np.average(was - now, weights=weights[kept])
        return bool(gain > 0 and mass[inside].sum() > 0.5 * mass.sum())

    def _nearer(self, first: Array, final: Array, y: Array, weights: Array) -> bool:
        """Whether the first stage foretells targets clearly better than plain training.

        In the mean of absolute errors, where two robust deviations are as bad as any:
        what is wrong in the targets themselves must not decide. But a stage that meets
        most rows nearly exactly may have given up all others of their kind: it is not
        nearer if plain training learns those. Nor if it is in absolute errors alone:
        they are smallest at the median, and of skewed targets the mean is asked for.
        """
        y = y.reshape(len(y), -1)
        was, now = _capped(first, final, y, weights)
        lost = was == 1
        about = [part[lost] for part in (first, final, y, weights)]
        if lost.any() and self._learnable(*about, weights[lost].sum() / weights.sum()):
            return False
        lead, error = _lead(was, now, weights)
        squares = [e * e for e in _capped(first, final, y, weights, FAR)]
        of_squares, its_error = _lead(*squares, weights)
        needed = (NEARER - 1) * np.average(was, weights=weights)
        return bool(
            lead > MARGIN * error
            and lead >= needed
            and of_squares >= -AGAINST * its_error
        )


def _lead(was: Array, now: Array, weights: Array) -> tuple[float, float]:
    """How much smaller the first errors are in the mean, and its standard error."""
    gain = now - was
    mean = np.average(gain, weights=weights)
    spread = np.average((gain - mean) ** 2, weights=weights)
    return float(mean), float(np.sqrt(spread / weights.sum()))


def _capped(
    first: Array, second: Array, y: Array, weights: Array, cap: float = CAP
) -> Any:
    """Errors of two opinions, both (n,): 1, the most, is ``cap`` robust deviations."""
    with np.errstate(over="ignore"):
        errors = [abs(y - opinion) for opinion in (first, second)]
        usual = [robust_spread(e, weights) for e in errors]
        far = np.maximum(cap * np.minimum(*usual), _TINY)
        return [np.minimum(e / far, 1).max(axis=1) for e in errors]
