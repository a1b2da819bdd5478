"""Reject and refit: learn robustly, drop what that cannot explain, learn again."""

from __future__ import annotations

import inspect
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    clone,
    is_classifier,
)
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch, _safe_indexing, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from . import _border, _rejection
from ._base import NetBase
from ._classifier import NetClassifier
from ._compat import CallbackSupportMixin, with_callbacks
from ._mom import MoMRegressor
from ._params import is_number, keep, require, require_number
from ._regressor import NetRegressor

Array = NDArray[Any]

# what validate_data is to let through: the estimators of the stages have their say
ANYTHING = {
    "accept_sparse": "csr",
    "dtype": None,
    "ensure_all_finite": False,
    "allow_nd": True,
}
NEVER = 1e-12  # probabilities below count as this, so that log odds stay finite


class _RejectRefit(CallbackSupportMixin, BaseEstimator):
    """What the two tasks share."""

    _doc_link_module = NetBase._doc_link_module
    _doc_link_template = NetBase._doc_link_template
    # whether rejected rows turn out right, by opinions before and after a second look
    _learnable: Any = None

    # -- what a task declares ----------------------------------------------------
    def _default(self) -> Any:
        """Return the first stage in place of None."""
        raise NotImplementedError

    def _plain(self) -> type:
        """Return the class that trains a network plainly."""
        raise NotImplementedError

    def _learn_targets(
        self, y: Array, weights: Array
    ) -> tuple[Array, Array, dict[str, Any]]:
        """Return numbers for y, the kind of each row, and fitted attributes."""
        raise NotImplementedError

    def _opinion(self, model: Any, X: Any, about: dict[str, Any]) -> Array:
        """Return what a model says of rows it has not seen, (n, n_columns)."""
        raise NotImplementedError

    def _judge(self, opinion: Array, y: Array, weights: Array) -> tuple[Array, float]:
        """Scores of rows, higher for worse, and the threshold that they call for."""
        raise NotImplementedError

    # -- fitting -----------------------------------------------------------------
    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **fit_params: Any,
    ) -> Any:
        """Fit the first stage in folds, reject rows, and fit the final estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, in any form that the estimators of both stages take.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, of which some may be wrong.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; passed to both stages, and an integer weight acts like that
            many repeated rows in between.
        **fit_params : dict
            Metadata for the estimators and the splitter that request them; needs
            ``sklearn.set_config(enable_metadata_routing=True)``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, an estimator refuses the data, or it takes
            no weights and some were given.
        """
        before = dict(vars(self))
        try:
            self._fit(X, y, sample_weight, fit_params)
        except BaseException:
            for name in set(vars(self)) - set(before):
                if not name.startswith("_skl"):
                    delattr(self, name)
            vars(self).update(before)
            raise
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, fit_params: Any) -> None:
        self._check_params()
        X, y = self._check_arrays(X, y)
        weights = _border.check_weights(sample_weight, len(y))
        given = {} if sample_weight is None else {"sample_weight": weights}
        params = self._route(given, fit_params)
        numbers, kinds, about = self._learn_targets(y, weights)
        splits = self._splits(X, y, (numbers, kinds, weights), params)
        context = self._init_callback_context(max_subtasks=len(splits) + 2)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        first, final = self._stages()
        models, opinions = [], []
        for inner, outer in splits:
            task = context.subcontext(task_name="cross-fit")
            model = self._train(task, first, X, y, inner, params.estimator.fit)
            part = _safe_indexing(X, outer)
            opinions.append(self._opinion(model, part, about))
            models.append(model)
        scores, rejected = np.zeros(len(y)), np.zeros(len(y), dtype=bool)
        threshold, (seen, opinion) = np.inf, _averaged(splits, opinions, weights)
        if len(seen):
            w = weights[seen]
            scores[seen], threshold = self._judge(opinion, numbers[seen], w)
            rejected[seen] = _rejection.reject(
                scores[seen], w, kinds[seen], threshold, self.max_rejected
            )
        if self._learnable and self.threshold == "auto" and rejected.any():
            # one look is enough: where most of the rejected rows are held out
            k = int(np.argmax([weights[b][rejected[b]].sum() for _, b in splits]))
            inner, outer = splits[k]
            out = rejected[outer]
            task, rows = context.subcontext(task_name="second look"), outer[out]
            model = self._train(task, final, X, y, inner, params.final_estimator.fit)
            after = self._opinion(model, _safe_indexing(X, rows), about)
            if self._learnable(opinions[k][out], after, numbers[rows], weights[rows]):
                rejected[:], threshold = False, np.inf
        kept = (weights > 0) & ~rejected
        task, rows = context.subcontext(task_name="refit"), np.flatnonzero(kept)
        model = self._train(task, final, X, y, rows, params.final_estimator.fit)
        vars(self).update(about)
        self.estimators_, self.final_estimator_ = models, model
        self.outlier_score_, self.threshold_ = scores, threshold
        self.inlier_mask_ = kept
        context.call_on_fit_task_end(estimator=self, X=X, y=y)

    def _train(
        self, task: Any, stage: Any, X: Any, y: Array, rows: Array, params: Any
    ) -> Any:
        """Fit a copy of one stage on some rows, as one task of the callbacks'."""
        model = clone(stage)
        if self.random_state is not None:
            names = [n for n in model.get_params() if n.endswith("random_state")]
            model.set_params(**dict.fromkeys(names, self._seed))
        part, its_y = _safe_indexing(X, rows), y[rows]
        its_params = {
            name: _safe_indexing(value, rows)
            if hasattr(value, "__len__") and len(value) == len(y)
            else value
            for name, value in params.items()
        }
        with task.propagate_callback_context(model):
            task.call_on_fit_task_begin(estimator=self, X=part, y=its_y)
            model.fit(part, its_y, **its_params)
        task.call_on_fit_task_end(estimator=self, X=part, y=its_y)
        return model

    def _check_params(self) -> None:
        require_number(self, "max_rejected", 0, 1)
        seed = self.random_state
        self._seed = seed if isinstance(seed, Integral) else _border.draw_seed(seed)
        if self.threshold != "auto":
            ok = is_number(self.threshold) and self.threshold >= 0
            require(self, "threshold", ok, "'auto' or a float in the range [0, inf)")
        if isinstance(self.cv, Integral):
            ok = not isinstance(self.cv, bool) and self.cv >= 2
            require(
                self, "cv", ok, "an int in the range [2, inf), a splitter or splits"
            )

    def _check_arrays(self, X: Any, y: Any) -> tuple[Any, Array]:
        """Check what any estimator would refuse; hand on data frames as they are."""
        X, y = _border.to_numpy(X), _border.to_numpy(y)
        checked, y = validate_data(self, X, y, **ANYTHING, **self._y_options)
        return X if hasattr(X, "columns") else checked, y

    def _splits(self, X: Any, y: Array, rows: tuple[Array, ...], params: Any) -> Any:
        """Return pairs of rows to train the first stage on and rows to judge."""
        numbers, kinds, weights = rows
        used = weights > 0
        if isinstance(self.cv, Integral):
            folds = np.zeros(len(y), dtype=int)
            distinct = _rejection.distinct_rows(
                _safe_indexing(X, np.flatnonzero(used)), numbers[used], self._seed
            )
            folds[used] = _rejection.deal_folds(
                distinct, kinds[used], weights[used], self.cv
            )
            pairs = [(folds != k, folds == k) for k in range(self.cv)]
            splits = [(np.flatnonzero(a), np.flatnonzero(b)) for a, b in pairs]
        else:
            cv = check_cv(self.cv, y, classifier=is_classifier(self))
            splits = list(cv.split(X, y, **params.splitter.split))
        # rows of weight zero are as if they were not there
        splits = [(a[used[a]], b[used[b]]) for a, b in splits]
        return [(a, b) for a, b in splits if len(b)]

    # -- stages ------------------------------------------------------------------
    def _stages(self) -> tuple[Any, Any]:
        """Return the estimators of both stages, in place of which None may stand."""
        first, final = self.estimator, self.final_estimator
        routed = get_config().get("enable_metadata_routing", False)
        if first is None:
            first = self._default()
            first = first.set_fit_request(sample_weight=True) if routed else first
        if final is None:
            final = _plain_twin(first, self._plain())
            if final is not first and routed:
                final = final.set_fit_request(sample_weight=True)
        return first, final

    def get_metadata_routing(self) -> Any:
        """Say which metadata goes to which estimator.

        Returns
        -------
        MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        first, final = self._stages()
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        router.add(estimator=first, method_mapping=to_fit)
        router.add(final_estimator=final, method_mapping=to_fit)
        if hasattr(self.cv, "get_metadata_routing"):
            to_split = MethodMapping().add(caller="fit", callee="split")
            router.add(splitter=self.cv, method_mapping=to_split)
        return router

    def _route(self, given: dict[str, Array], fit_params: Any) -> Any:
        """Return what `fit` hands to the fits of both stages and to the splitter."""
        if get_config().get("enable_metadata_routing", False):
            routed = process_routing(self, "fit", **given, **fit_params)
            return Bunch(
                estimator=routed.estimator,
                final_estimator=routed.final_estimator,
                splitter=routed.get("splitter", Bunch(split={})),
            )
        if fit_params:
            raise ValueError(
                f"[{', '.join(sorted(fit_params))}] are not passed on by "
                f"{type(self).__name__}.fit unless metadata routing is enabled, by "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        for stage in self._stages():
            if given and not has_fit_parameter(stage, "sample_weight"):
                raise TypeError(
                    f"Underlying estimator {type(stage).__name__} does not support "
                    "sample weights."
                )
        return Bunch(
            estimator=Bunch(fit=given),
            final_estimator=Bunch(fit=given),
            splitter=Bunch(split={}),
        )

    # -- using a fitted estimator ------------------------------------------------
    def predict(self, X: ArrayLike) -> Array:
        """Predict by the final estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._ask("predict", X)

    def _ask(self, method: str, X: Any) -> Array:
        check_is_fitted(self)
        X = _border.to_numpy(X)
        checked = validate_data(self, X, reset=False, **ANYTHING)
        X = X if hasattr(X, "columns") else checked
        return getattr(self.final_estimator_, method)(X)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether a fit has ended."""
        return hasattr(self, "final_estimator_")

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn, as its two stages are."""
        tags = super().__sklearn_tags__()
        stages = [get_tags(stage) for stage in self._stages()]
        for name in ("sparse", "allow_nan", "three_d_array", "string", "categorical"):
            able = all(getattr(stage.input_tags, name) for stage in stages)
            setattr(tags.input_tags, name, able)
        tags.non_deterministic = any(stage.non_deterministic for stage in stages)
        for name in ("multi_output", "single_output"):
            able = all(getattr(stage.target_tags, name) for stage in stages)
            setattr(tags.target_tags, name, able)
        return tags


def _plain_twin(estimator: Any, plain: type) -> Any:
    """Return the same network trained plainly; without a network, the same again.

    What was set carries over. What was not, such as a schedule that suits the first
    stage, is as plain training has it.
    """
    if not isinstance(estimator, NetBase):
        return estimator
    usual = inspect.signature(type(estimator)).parameters
    settings = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if value is not usual[name].default and value != usual[name].default
    }
    known = set(inspect.signature(plain).parameters) - {"steps", "n_networks"}
    return plain(**{name: settings[name] for name in known & set(settings)})


def _final_has(method: str) -> Any:
    """Say whether the final estimator, fitted or to be, has a method."""

    def check(self: Any) -> bool:
        final = getattr(self, "final_estimator_", None) or self._stages()[1]
        getattr(final, method)  # says itself what it lacks
        return True

    return check


def _averaged(splits: Any, opinions: Any, weights: Array) -> tuple[Array, Array]:
    """Average what several folds say of a row; rows of no fold or weight are left out.

    Returns
    -------
    rows, opinion : ndarray of shape (m,) and (m, n_columns)
    """
    if not splits:
        return np.arange(0), np.zeros((0, 1))
    total = np.zeros((len(weights), opinions[0].shape[1]))
    count = np.zeros(len(weights))
    for (_, outer), opinion in zip(splits, opinions, strict=True):
        np.add.at(total, outer, opinion)
        np.add.at(count, outer, 1)
    seen = np.flatnonzero((count > 0) & (weights > 0))
    return seen, total[seen] / count[seen, None]


class RejectRefitRegressor(RegressorMixin, _RejectRefit):
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
    fold's training part, and if that halves the errors of most rejected rows of the
    fold, nothing is rejected.

    Parameters
    ----------
    estimator : regressor, default=None
        The first stage: any regressor that withstands the corruption.
        None is ``MoMRegressor()``, which bears two fifths of wrong targets.
    final_estimator : regressor, default=None
        What is trained on the rows that are left. None takes the network of the first
        stage with plain training: settings that were changed carry over, others are
        those of `NetRegressor`. Where the first stage is no network of this package,
        it is a copy of that.
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
    random_state : int, RandomState instance or None, default=None
        Seed of the folds. An int is also given to each ``random_state`` of the stages;
        None leaves theirs.

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
    tail of the residuals. Y. Benjamini and Y. Hochberg, "Controlling the False
    Discovery Rate", 1995, for what makes rows enough to be rejected. Cross-fitting is a
    device of semiparametric statistics.

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

    def _learnable(self, before: Array, after: Array, y: Array, weights: Array) -> bool:
        """Whether most rejected rows are half as wrong after training on their like."""
        y = y.reshape(len(y), -1)
        unit = np.ptp(y, axis=0)  # outputs may differ in theirs
        unit[unit == 0] = 1
        was, now = (np.max(abs(y - o) / unit, axis=1) for o in (before, after))
        return bool(weights[now < 0.5 * was].sum() > 0.5 * weights.sum())


class RejectRefitClassifier(ClassifierMixin, _RejectRefit):
    """Reject labels that cross-fitted models contradict, then train on the rest.

    A classifier is fitted in folds, so that each row is judged by a model that has not
    seen it and cannot have learnt its label by heart. Rows for which another class is
    clearly more probable than the given label are rejected, and the final estimator is
    trained on the others.

    This two-stage estimator is ours, not the papers'. It fails where wrong labels
    agree with each other (one class taken for another by everybody), where inputs
    are corrupted into what looks like the given class, and where the first stage is
    itself often wrong: rows that it cannot place are rejected with the wrong ones.

    Parameters
    ----------
    estimator : classifier, default=None
        The first stage: any classifier with ``predict_proba``. None is
        ``NetClassifier()``, which rejects little of clean data. `MoMClassifier` finds
        more of the wrong labels where classes are easy to tell apart: on digits with 20
        to 60 % of wrong labels up to 4 points more accuracy, and on clean digits and
        spirals 1 to 3 points less.
    final_estimator : classifier, default=None
        What is trained on the rows that are left. None takes the network of the first
        stage with plain training: settings that were changed carry over, others are
        those of `NetClassifier`. Where the first stage is no network of this package,
        it is a copy of that.
    cv : int, splitter or iterable of splits, default=3
        Folds. With a number, the rows of each class are dealt by a hash of their
        values, so that equal rows share a fold and a weight means repetition. Rows
        that no fold holds out, and the only row of a class, are never rejected.
    threshold : 'auto' or float, default='auto'
        ``outlier_score_`` from which a row is rejected; 'auto' is 0.5.
    max_rejected : float, default=0.5
        Largest share of the weight of a class to reject, in [0, 1).
    random_state : int, RandomState instance or None, default=None
        Seed of the folds. An int is also given to each ``random_state`` of the stages;
        None leaves theirs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    inlier_mask_ : ndarray of shape (n_samples,)
        Rows that the final estimator was trained on.
    outlier_score_ : ndarray of shape (n_samples,)
        Cross-fitted log odds of the best other class against the given label, where
        the probability of each class is taken relative to its mean over the rows that
        bear its label: a first stage that hardly knows a class is not to condemn its
        rows. Positive where the label is contradicted; 0 for rows that were never held
        out or have no weight.
    threshold_ : float
        Score from which rows were to be rejected.
    estimators_ : list of classifiers
        The first stage, one for each fold.
    final_estimator_ : classifier
        What predicts.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had any.

    See Also
    --------
    RejectRefitRegressor : The same for numbers.
    PRLClassifier : One stage: drops rows in every step of training.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skrobust import RejectRefitClassifier
    >>> from skrobust.corruption import pairflip
    >>> X, y = make_blobs(300, cluster_std=0.5, random_state=1)
    >>> noisy, wrong = pairflip(y, 0.2, random_state=0)
    >>> model = RejectRefitClassifier(LogisticRegression()).fit(X, noisy)
    >>> bool(model.inlier_mask_[wrong].mean() < 0.1 < model.inlier_mask_[~wrong].mean())
    True
    """

    _y_options: dict[str, Any] = {}

    def __init__(
        self,
        estimator=None,
        final_estimator=None,
        *,
        cv=3,
        threshold="auto",
        max_rejected=0.5,
        random_state=None,
    ):
        keep(self, locals())

    def _default(self) -> Any:
        return NetClassifier()

    def _plain(self) -> type:
        return NetClassifier

    def _learn_targets(
        self, y: Array, weights: Array
    ) -> tuple[Array, Array, dict[str, Any]]:
        check_classification_targets(y)
        classes = np.unique(y[weights > 0])
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} requires at least 2 classes; got 1 class "
                "after rows of weight zero were dropped."
            )
        codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        return codes, codes, {"classes_": classes}

    def _opinion(self, model: Any, X: Any, about: dict[str, Any]) -> Array:
        chances = model.predict_proba(X)
        full = np.zeros((len(chances), len(about["classes_"])))
        full[:, np.searchsorted(about["classes_"], model.classes_)] = chances
        return full

    def _judge(self, opinion: Array, y: Array, weights: Array) -> tuple[Array, float]:
        given = np.eye(opinion.shape[1])[y] * weights[:, None]
        usual = (given * opinion).sum(0) / np.maximum(given.sum(0), NEVER)
        odds = np.log((opinion + NEVER) / (usual + NEVER))
        own = odds[np.arange(len(y)), y]
        odds[np.arange(len(y)), y] = -np.inf
        scores = odds.max(1) - own
        return scores, 0.5 if self.threshold == "auto" else float(self.threshold)

    @available_if(_final_has("predict_proba"))
    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities of the classes by the final estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._ask("predict_proba", X)

    @available_if(_final_has("decision_function"))
    def decision_function(self, X: ArrayLike) -> Array:
        """Decision values of the final estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return self._ask("decision_function", X)
