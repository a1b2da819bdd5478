"""Reject and refit classes: drop labels that others contradict, learn again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from ._classifier import NetClassifier
from ._mr import MRClassifier
from ._params import keep
from ._stages import final_has
from ._two_stage import TwoStage

Array = NDArray[Any]

NEVER = 1e-12  # probabilities below count as this, so that log odds stay finite


def _chances(model: Any, X: Any) -> Array:
    """Return a classifier's probabilities, or what its decisions make of them."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(X))
    if not hasattr(model, "decision_function"):
        raise ValueError(
            "The 'estimator' parameter of RejectRefitClassifier must be a classifier "
            f"with predict_proba or decision_function. Got {model!r} instead."
        )
    decision = np.asarray(model.decision_function(X))
    if decision.ndim == 1:
        decision = np.column_stack([np.zeros(len(decision)), decision])
    return softmax(decision, axis=1)


class RejectRefitClassifier(ClassifierMixin, TwoStage):
    """Reject labels that cross-fitted models contradict, then train on the rest.

    A classifier is fitted in folds, so that each row is judged by a model that has not
    seen it and cannot have learnt its label by heart. Rows for which another class is
    clearly more probable than the given label are rejected, and the final estimator is
    trained on the others.

    This two-stage estimator is ours, not the papers'. It fails where wrong labels
    agree with each other (one class taken for another by everybody), where inputs
    are corrupted into what looks like the given class, and where the first stage is
    itself often wrong: rows that it cannot place are rejected with the wrong ones,
    those of rare classes first.

    Parameters
    ----------
    estimator : classifier, default=None
        The first stage: any classifier with ``predict_proba``. None is
        ``MRClassifier()``, which finds most wrong labels and rejects little of clean
        data where classes are learned well, but 18 % of 1000 clean letters of 26 kinds,
        for 6 points of accuracy. ``MoMClassifier(0.25, n_central=0.4)`` takes half the
        time and finds as many of up to 40 % of random wrong labels. With 60 % of them,
        or 40 % flipped to one other class, the final accuracy was mostly 5 to 16 points
        lower (six sets, one split each; on one of them up to 2 higher), and on clean
        data up to 4.
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
    n_jobs : int, default=None
        Number of folds to fit the first stage on in parallel. ``None`` means 1 unless
        in a ``joblib.parallel_backend`` context. ``-1`` means using all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds. An int, or one drawn from the instance, is also given to
        each ``random_state`` of the stages; None leaves theirs.

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
        rows. Another class claims rows as if it had half of the mean over all rows at
        least. Positive where the label is contradicted; 0 for rows that were never held
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
        n_jobs=None,
        random_state=None,
    ):
        keep(self, locals())

    def _default(self) -> Any:
        return MRClassifier()

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
        chances = _chances(model, X)
        full = np.zeros((len(chances), len(about["classes_"])))
        full[:, np.searchsorted(about["classes_"], model.classes_)] = chances
        return full

    def _judge(self, opinion: Array, y: Array, weights: Array) -> tuple[Array, float]:
        given = np.eye(opinion.shape[1])[y] * weights[:, None]
        mass = given.sum(0)
        usual = (given * opinion).sum(0) / np.maximum(mass, NEVER)
        rows = np.arange(len(y))
        own = np.log((opinion[rows, y] + NEVER) / (usual[y] + NEVER))
        # nor is such a class to claim the rows of others by the little it is given
        typical = np.average(opinion[rows, y], weights=weights)
        odds = np.log((opinion + NEVER) / (np.maximum(usual, typical / 2) + NEVER))
        odds[rows, y] = -np.inf
        scores = odds.max(1) - own
        scores[usual[y] == 0] = 0  # of a class that no judge has ever seen
        return scores, 0.5 if self.threshold == "auto" else float(self.threshold)

    @available_if(final_has("predict_proba"))
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

    @available_if(final_has("decision_function"))
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
