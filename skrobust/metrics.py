"""Scores that corrupted validation rows cannot spoil.

A plain mean of losses follows a few gross errors wherever they go, so it cannot judge
models on data that are themselves corrupted. The scores here put another aggregate in
place of the mean:

- :func:`trimmed_mean` drops the largest losses, a share `trim` of all weight;
- :func:`median_of_means` takes the median of the mean losses of blocks of rows.

The losses of rows are zero-one, log, squared or absolute. The score functions have the
signature of those in `sklearn.metrics`; :func:`make_robust_scorer` and
:func:`get_robust_scorer` give scorers for `GridSearchCV` and its like.

The scores are made for comparing models: on clean data they lie below the mean of a
skewed loss. Classifiers are best compared by the accuracy in few blocks, the default of
:func:`make_robust_scorer`. It is bounded, so a wrong label costs one row and no more;
blocks of few rows would have few accuracies, hence 5; and it must not be trimmed by
much, since it is 1 once a model's errors fit into `trim`. A log loss tells models apart
more finely, but must be trimmed by at least the share of wrong labels, and trimmed by
more it prefers models that leave out more than is wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import make_scorer
from sklearn.metrics._scorer import _Scorer  # a subclass needs it by name

from ._aggregates import RandomState, median_of_few_means, median_of_means, trimmed_mean
from ._row_losses import absolute_error, log_loss, squared_error, zero_one
from ._words import parameter_error

__all__ = [
    "ROBUST_SCORERS",
    "get_robust_scorer",
    "make_robust_scorer",
    "median_of_means",
    "median_of_means_absolute_error",
    "median_of_means_accuracy_score",
    "median_of_means_log_loss",
    "median_of_means_squared_error",
    "trimmed_absolute_error",
    "trimmed_accuracy_score",
    "trimmed_log_loss",
    "trimmed_mean",
    "trimmed_squared_error",
]

Loss = Callable[..., np.ndarray]
Score = Callable[..., float]


def _make_score(name: str, loss: Loss, aggregate: Score) -> Score:
    """Make the score function that aggregates a loss."""
    trimmed = aggregate is trimmed_mean

    def score(
        y_true: Any, y_pred: Any, *, sample_weight: Any = None, **settings: Any
    ) -> float:
        labels = {"labels": settings.pop("labels")} if "labels" in settings else {}
        losses = loss(y_true, y_pred, **labels)
        value = aggregate(losses, sample_weight=sample_weight, **settings)
        return 1 - value if loss is zero_one else value

    score.__name__ = score.__qualname__ = name  # what it is pickled by
    score.__doc__ = _SCORE_DOC.format(
        name=name,
        loss=loss.__name__.replace("_", " "),
        aggregate="trimmed_mean" if trimmed else "median_of_means",
        pred=_PROBA_DOC if loss is log_loss else _PRED_DOC,
        default=_FEW_DOC if aggregate is median_of_few_means else "",
        oriented=" subtracted from 1" if loss is zero_one else "",
        setting="" if trimmed else ", n_blocks=5",
        result="1.0" if loss is zero_one else "0.0",
    )
    return score


_PRED_DOC = """
y_pred : array-like of the shape of `y_true`
    Predictions. A row of several targets counts with their mean error, a row of
    several labels as wrong if one of them is."""
_PROBA_DOC = """
y_pred : array-like of shape (n_samples, n_classes) or (n_samples,)
    Probabilities of the classes, or of the second of two, clipped from below at the
    machine epsilon of their dtype.
labels : array-like of shape (n_classes,), default=None
    Classes of the columns in their order; None for those of `y_true`, sorted. A true
    label that is not among them has probability zero."""
_FEW_DOC = """; None for `n_blocks`, the
    default, makes 5 blocks, or one a row where there are fewer rows. The medians of 20
    deals of the rows to the blocks are averaged, since one has few values"""
_SCORE_DOC = """Aggregate the {loss} of the rows by :func:`{aggregate}`.

Parameters
----------
y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
    True values.{pred}
sample_weight : array-like of shape (n_samples,), default=None
    Weights of rows.
**settings : dict
    The other parameters of :func:`{aggregate}`{default}.

Returns
-------
score : float
    The robust mean of the {loss}{oriented}.

Raises
------
ValueError
    If the arrays do not fit each other, or a parameter is out of its range.

Examples
--------
>>> from skrobust.metrics import {name}
>>> {name}([0, 1, 1, 0, 1], [0, 1, 1, 0, 0]{setting})
{result}
"""

trimmed_accuracy_score = _make_score("trimmed_accuracy_score", zero_one, trimmed_mean)
trimmed_log_loss = _make_score("trimmed_log_loss", log_loss, trimmed_mean)
trimmed_squared_error = _make_score(
    "trimmed_squared_error", squared_error, trimmed_mean
)
trimmed_absolute_error = _make_score(
    "trimmed_absolute_error", absolute_error, trimmed_mean
)
# Blocks of few rows have few different accuracies, so these are fewer and larger.
median_of_means_accuracy_score = _make_score(
    "median_of_means_accuracy_score", zero_one, median_of_few_means
)
median_of_means_log_loss = _make_score(
    "median_of_means_log_loss", log_loss, median_of_means
)
median_of_means_squared_error = _make_score(
    "median_of_means_squared_error", squared_error, median_of_means
)
median_of_means_absolute_error = _make_score(
    "median_of_means_absolute_error", absolute_error, median_of_means
)


class _ProbabilityScorer(_Scorer):
    """Scorer of probabilities that tells the score function the estimator's classes.

    The scorers of `make_scorer` do not, so that they fail where a fold lacks a class.
    Being one of their kind, it is taken for a single score wherever they are.
    """

    def _score(
        self, method_caller: Any, estimator: Any, X: Any, y_true: Any, **metadata: Any
    ) -> float:
        # not by method_caller, which keeps one column of two and its rounding only
        proba = estimator.predict_proba(X)
        settings = {**self._kwargs, **metadata, "labels": estimator.classes_}
        return self._sign * self._score_func(y_true, proba, **settings)


_SCORES: dict[tuple[str, str], Score] = {
    ("trimmed_mean", "zero_one"): trimmed_accuracy_score,
    ("trimmed_mean", "log_loss"): trimmed_log_loss,
    ("trimmed_mean", "squared_error"): trimmed_squared_error,
    ("trimmed_mean", "absolute_error"): trimmed_absolute_error,
    ("median_of_means", "zero_one"): median_of_means_accuracy_score,
    ("median_of_means", "log_loss"): median_of_means_log_loss,
    ("median_of_means", "squared_error"): median_of_means_squared_error,
    ("median_of_means", "absolute_error"): median_of_means_absolute_error,
}


def make_robust_scorer(
    loss: str = "zero_one",
    aggregate: str = "median_of_means",
    *,
    trim: float = 0.4,
    n_blocks: int | None = None,
    random_state: RandomState = 0,
) -> Score:
    """Make a scorer for model selection on corrupted data.

    Parameters
    ----------
    loss : {'log_loss', 'zero_one', 'accuracy', 'squared_error', \
            'absolute_error'}, default='zero_one'
        Loss of a row. 'log_loss' needs `predict_proba`; the classes are those of the
        estimator, so a fold may lack some. 'zero_one', also called 'accuracy', scores
        the accuracy, which wrong labels lower for all candidates alike; log losses
        punish a confident and right answer to a wrong label, and so favour timid
        models. With 'median_of_means' and the default blocks of two rows the log loss
        is spoiled by more than a quarter of wrong labels: on digits with 30 % pairflip
        or 40 % symmetric noise it chose ``epsilon=0``.
    aggregate : {'trimmed_mean', 'median_of_means'}, default='median_of_means'
        What to put in place of the mean of the losses.
    trim : float, default=0.4
        Share of weight that 'trimmed_mean' drops: at least that of corrupted rows.
        The default withstands 40 % of them.
    n_blocks : int, default=None
        Number of blocks of 'median_of_means'. None makes one of every two rows, and 5
        for 'zero_one' (one a row where there are fewer rows), whose medians are those
        of 20 deals, averaged.
    random_state : int, RandomState instance or None, default=0
        Deals the rows to the blocks of 'median_of_means'.

    Returns
    -------
    scorer : callable
        Called as ``scorer(estimator, X, y, sample_weight=None)``; greater is better,
        so losses are negated. `GridSearchCV` and its like take it as ``scoring``.

    Raises
    ------
    ValueError
        If `loss` or `aggregate` is unknown. `trim` and `n_blocks` are checked when
        the scorer is called.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skrobust.metrics import make_robust_scorer
    >>> scorer = make_robust_scorer("squared_error")
    >>> search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, scoring=scorer)
    """
    for name, position, value in (("aggregate", 0, aggregate), ("loss", 1, loss)):
        options = sorted({key[position] for key in _SCORES})
        options = ["accuracy", *options] if name == "loss" else options
        if not isinstance(value, str) or value not in options:
            expected = f"a str among {options}"
            raise parameter_error(name, "make_robust_scorer", expected, value)
    loss = "zero_one" if loss == "accuracy" else loss
    score = _SCORES[aggregate, loss]
    settings: dict[str, Any] = {"trim": trim}
    if aggregate == "median_of_means":
        settings = {"random_state": random_state}
        if n_blocks is not None:
            settings["n_blocks"] = n_blocks
    if loss == "log_loss":
        return _ProbabilityScorer(score, -1, settings, "predict_proba")
    return make_scorer(score, greater_is_better=loss == "zero_one", **settings)


ROBUST_SCORERS: dict[str, Score] = {
    f"{'' if loss == 'zero_one' else 'neg_'}{short}_{name}": make_robust_scorer(
        loss, aggregate
    )
    for short, aggregate in (
        ("trimmed", "trimmed_mean"),
        ("median_of_means", "median_of_means"),
    )
    for name, loss in (
        ("accuracy", "zero_one"),
        ("log_loss", "log_loss"),
        ("squared_error", "squared_error"),
        ("absolute_error", "absolute_error"),
    )
}


def get_robust_scorer(name: str) -> Score:
    """Get a scorer by its name, with default settings.

    Parameters
    ----------
    name : str
        A key of `ROBUST_SCORERS`, such as 'neg_trimmed_log_loss'.

    Returns
    -------
    scorer : callable
        A new copy of the scorer; :func:`make_robust_scorer` makes others.

    Raises
    ------
    ValueError
        If there is no scorer of this name.

    Examples
    --------
    >>> from skrobust.metrics import get_robust_scorer
    >>> scorer = get_robust_scorer("neg_trimmed_squared_error")
    """
    if not isinstance(name, str) or name not in ROBUST_SCORERS:
        expected = f"a str among {sorted(ROBUST_SCORERS)}"
        raise parameter_error("name", "get_robust_scorer", expected, name)
    return copy.deepcopy(ROBUST_SCORERS[name])
