"""Two stages: learn in folds, drop what that cannot explain, learn again."""

from __future__ import annotations

from copy import copy
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _border, _rejection
from ._compat import CallbackSupportMixin, with_callbacks
from ._contamination import in_rows
from ._params import is_number, require, require_number
from ._stages import Stages
from ._words import DOC_LINK

Array = NDArray[Any]

# what validate_data is to let through: the estimators of the stages have their say
ANYTHING = {
    "accept_sparse": "csr",
    "dtype": None,
    "ensure_all_finite": False,
    "allow_nd": True,
}


class TwoStage(CallbackSupportMixin, Stages):
    """What rejecting and refitting shares between numbers and classes."""

    _doc_link_module, _doc_link_template = "skrobust", DOC_LINK
    # whether rejected rows are hard ones, by opinions before and after a second look
    _hard: Any = None
    # whether the first of two opinions comes nearer to the targets of rows unseen
    _nearer: Any = None

    # -- what a task declares ----------------------------------------------------
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
        context = self._init_callback_context(max_subtasks=5)
        told = {"estimator": self, "X": X, "y": y, "metadata": given}
        context.call_on_fit_task_begin(**told)
        first, final = self._stages()
        its = {"X": X, "y": y, "about": about}
        robust = {"stage": first, "params": params.estimator.fit}
        plain = {"stage": final, "params": params.final_estimator.fit}
        models, opinions = self._cross_fit(
            context, "cross-fit", splits, **robust, **its
        )
        scores, rejected = np.zeros(len(y)), np.zeros(len(y), dtype=bool)
        threshold, (seen, opinion) = np.inf, _averaged(splits, opinions, weights)
        w = in_rows(weights)[seen]  # windows and thresholds count rows
        if len(seen):
            scores[seen], threshold = self._judge(opinion, numbers[seen], w)
            rejected[seen] = _rejection.reject(
                scores[seen], w, kinds[seen], threshold, self.max_rejected
            )
        auto = self.threshold == "auto"
        if self._hard and auto and rejected.any():
            of_all = numbers, weights, rejected
            if self._second_look(context, splits, opinions, of_all, **plain, **its):
                rejected[:], threshold = False, np.inf
        chosen = plain
        ours = self.final_estimator is None and final is not first
        if self._nearer and auto and ours and len(seen) and not rejected.any():
            _, after = self._cross_fit(context, "compare", splits, **plain, **its)
            after = _averaged(splits, after, weights)[1]
            if self._nearer(opinion, after, numbers[seen], w):
                chosen = robust
        kept = (weights > 0) & ~rejected
        task, rows = context.subcontext(task_name="refit"), np.flatnonzero(kept)
        model = self._train(task, X=X, y=y, rows=rows, **chosen)
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

    def _second_look(
        self,
        context: Any,
        splits: Any,
        opinions: list[Array],
        of_all: tuple[Array, ...],
        *,
        about: Any,
        **its: Any,
    ) -> bool:
        """Whether rejected rows are hard and not wrong, as the final stage sees them.

        It is trained on all rows, and on those that are kept. One look is enough: where
        most of the rejected are held out.
        """
        numbers, weights, rejected = of_all
        k = int(np.argmax([weights[b][rejected[b]].sum() for _, b in splits]))
        inner, outer = splits[k]
        part, found = _safe_indexing(its["X"], outer), []
        for name, rows in [("all", inner), ("kept", inner[~rejected[inner]])]:
            task = context.subcontext(task_name=f"second look, {name}")
            model = self._train(task, rows=rows, **its)
            found.append(self._opinion(model, part, about))
        held = (array[outer] for array in of_all)
        return bool(self._hard(opinions[k], *found, *held))

    def _cross_fit(
        self, context: Any, name: str, splits: Any, **its: Any
    ) -> tuple[list[Any], list[Array]]:
        """Return the model of each fold, and what it says of the rows held out."""
        n = len(splits)
        folds = context.subcontext(
            task_name=name, max_subtasks=n, sequential_subtasks=False
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


def _indices(rows: Any, n: int) -> Array:
    """Return the indices of rows given as a list or array of indices or as a mask."""
    rows = np.asarray(rows)
    if rows.size == 0:  # NumPy takes an empty list for one of floats
        rows = rows.astype(int)
    return np.arange(n)[rows]


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
