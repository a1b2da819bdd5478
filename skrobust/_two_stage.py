"""Two stages: learn in folds, drop what that cannot explain, learn again."""

from __future__ import annotations

import inspect
from copy import copy
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
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
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from . import _border, _rejection
from ._base import NetBase
from ._compat import CallbackSupportMixin, with_callbacks
from ._contamination import in_rows
from ._params import is_number, require, require_number
from ._words import DOC_LINK

Array = NDArray[Any]

# what validate_data is to let through: the estimators of the stages have their say
ANYTHING = {
    "accept_sparse": "csr",
    "dtype": None,
    "ensure_all_finite": False,
    "allow_nd": True,
}


class TwoStage(CallbackSupportMixin, BaseEstimator):
    """What rejecting and refitting shares between numbers and classes."""

    _doc_link_module, _doc_link_template = "skrobust", DOC_LINK
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
            Training rows: an array-like or a data frame of at least two dimensions,
            or a sparse matrix; the estimators of both stages have to take it.
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
        with _border.whole_or_not(self):
            self._fit(X, y, sample_weight, fit_params)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, fit_params: Any) -> None:
        self._check_params()
        X, y = self._check_arrays(X, y)
        weights = _border.check_weights(sample_weight, len(y))
        given = {} if sample_weight is None else {"sample_weight": weights}
        params = self._route(given, fit_params)
        numbers, kinds, about = self._learn_targets(y, weights)
        splits = self._splits(X, y, (numbers, kinds, weights), params)
        context = self._init_callback_context(max_subtasks=3)
        told = {"estimator": self, "X": X, "y": y, "metadata": given}
        context.call_on_fit_task_begin(**told)
        first, final = self._stages()
        its = {"X": X, "y": y, "params": params.estimator.fit, "about": about}
        models, opinions = self._cross_fit(context, splits, stage=first, **its)
        scores, rejected = np.zeros(len(y)), np.zeros(len(y), dtype=bool)
        threshold, (seen, opinion) = np.inf, _averaged(splits, opinions, weights)
        if len(seen):
            w = in_rows(weights)[seen]  # windows and thresholds count rows
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
            mass, share = weights[rows], weights[rows].sum() / weights[outer].sum()
            if self._learnable(opinions[k][out], after, numbers[rows], mass, share):
                rejected[:], threshold = False, np.inf
        kept = (weights > 0) & ~rejected
        task, rows = context.subcontext(task_name="refit"), np.flatnonzero(kept)
        model = self._train(task, final, X, y, rows, params.final_estimator.fit)
        found = {
            **about,
            "estimators_": models,
            "final_estimator_": model,
            "outlier_score_": scores,
            "threshold_": threshold,
            "inlier_mask_": kept,
        }
        vars(self).update(found)
        context.call_on_fit_task_end(**told, reconstruction_attributes=lambda: found)

    def _cross_fit(
        self, context: Any, splits: Any, **its: Any
    ) -> tuple[list[Any], list[Array]]:
        """Return the model of each fold, and what it says of the rows held out."""
        n = len(splits)
        folds = context.subcontext(
            task_name="cross-fit", max_subtasks=n, sequential_subtasks=False
        )
        folds.call_on_fit_task_begin(estimator=self, X=its["X"], y=its["y"])
        # all before the first is sent away: it brings the tree of tasks along
        tasks = [folds.subcontext(task_name="fold", task_id=k) for k in range(n)]
        sent = copy(self)
        sent.cv = n  # splits are made, and other processes could take no generator
        found = Parallel(n_jobs=self.n_jobs)(
            delayed(sent._fit_fold)(task, *split, **its)
            for task, split in zip(tasks, splits, strict=True)
        )
        folds.call_on_fit_task_end(estimator=self, X=its["X"], y=its["y"])
        return [model for model, _ in found], [opinion for _, opinion in found]

    def _fit_fold(
        self, task: Any, inner: Array, outer: Array, *, X: Any, about: Any, **its: Any
    ) -> tuple[Any, Array]:
        model = self._train(task, X=X, rows=inner, **its)
        part = _safe_indexing(X, outer)
        return model, _rejection.alike(self._opinion(model, part, about), part)

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
        for name in ("estimator", "final_estimator"):
            ok = getattr(self, name) is None or hasattr(getattr(self, name), "fit")
            require(self, name, ok, "an object implementing 'fit' or None")
        require_number(self, "max_rejected", 0, 1)
        seed = self.random_state
        self._seed = seed if isinstance(seed, Integral) else _border.draw_seed(seed)
        if self.threshold != "auto":
            ok = is_number(self.threshold) and self.threshold >= 0
            require(self, "threshold", ok, "'auto' or a float in the range [0, inf)")
        ok = self.n_jobs is None or isinstance(self.n_jobs, Integral)
        require(self, "n_jobs", ok, "an instance of 'int' or None")
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
            if not splits:  # such as a generator that an earlier fit has used up
                raise ValueError("No fits were performed. Was the CV iterator empty?")
        # rows of weight zero are as if they were not there
        splits = [[_indices(part, len(y)) for part in pair] for pair in splits]
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
        # the stages may take several outputs where labels are judged one by one
        tags.target_tags.multi_output &= self._y_options.get("multi_output", False)
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
        if value is not usual[name].default
        and not np.array_equal(value, usual[name].default)
    }
    known = set(inspect.signature(plain).parameters) - {"steps", "n_networks"}
    carried = {name: settings[name] for name in known & set(settings)}
    if carried.get("solver") == "lstsq":  # even weights make it ordinary least squares
        return type(estimator)(eta=0, **carried)
    return plain(**carried)


def _indices(rows: Any, n: int) -> Array:
    """Return the indices of rows given as a list or array of indices or as a mask."""
    rows = np.asarray(rows)
    if rows.size == 0:  # NumPy takes an empty list for one of floats
        rows = rows.astype(int)
    return np.arange(n)[rows]


def final_has(method: str) -> Any:
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
