"""Laws of rejecting and refitting, and of the folds, scales and thresholds in it."""

from __future__ import annotations

from functools import partial

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    RidgeClassifier,
)
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RepeatedKFold
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import get_tags

from skrobust import (
    MoMRegressor,
    MRRegressor,
    NetClassifier,
    NetRegressor,
    PRLRegressor,
    RejectRefitClassifier,
    RejectRefitRegressor,
)
from skrobust import _rejection as rejection
from skrobust.corruption import symmetric

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4}


def lines(n=120, seed=0, wrong=30):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(n)
    y[:wrong] += 50
    return X, y


def blobs(n=150, seed=0, wrong=30):
    rng = np.random.RandomState(seed)
    y = rng.randint(3, size=n)
    X = 4 * np.eye(3)[y] + 0.5 * rng.standard_normal((n, 3))
    labels = np.array(["a", "b", "c"])
    return X, labels[np.where(np.arange(n) < wrong, (y + 1) % 3, y)]


def regressor(**options):
    return RejectRefitRegressor(HuberRegressor(), LinearRegression(), **options)


def classifier(**options):
    return RejectRefitClassifier(GaussianNB(), LogisticRegression(), **options)


CASES = [(regressor, lines), (classifier, blobs)]
both = pytest.mark.parametrize("make, draw", CASES, ids=["regressor", "classifier"])


# -- what is rejected, and what happens then


@both
@pytest.mark.parametrize("cv", [2, 3, 7])
def test_the_wrong_rows_are_rejected_and_the_right_ones_kept(make, draw, cv):
    X, y = draw()
    model = make(cv=cv, random_state=0).fit(X, y)
    assert model.inlier_mask_[:30].mean() < (0.1 if make is classifier else 0.01)
    assert model.inlier_mask_[30:].mean() > 0.97
    assert len(model.estimators_) == cv


@both
def test_the_final_estimator_is_trained_on_the_inliers_alone(make, draw):
    X, y = draw()
    model = make(random_state=0).fit(X, y)
    kept = model.inlier_mask_
    alone = clone(model.final_estimator).fit(X[kept], y[kept])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))


@both
def test_the_scores_and_the_threshold_tell_the_mask(make, draw):
    X, y = draw()
    model = make(random_state=0, max_rejected=0.9).fit(X, y)
    np.testing.assert_array_equal(
        model.inlier_mask_, model.outlier_score_ < model.threshold_
    )


@pytest.mark.parametrize("make", [RejectRefitRegressor, RejectRefitClassifier])
def test_where_nothing_is_rejected_it_is_plain_training_to_the_bit(make):
    X, y = lines(60, wrong=0) if make is RejectRefitRegressor else blobs(60, wrong=0)
    plain = NetRegressor if make is RejectRefitRegressor else NetClassifier
    first = plain(**SMALL)
    model = make(first, threshold=1e9, random_state=3).fit(X, y)
    alone = plain(**SMALL, random_state=3).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))


@pytest.mark.parametrize("draw", [lines, blobs])
def test_a_first_stage_that_memorises_is_judged_on_rows_it_has_not_seen(draw):
    X, y = draw(wrong=15)
    model = (
        RejectRefitRegressor(KNeighborsRegressor(1), random_state=0)
        if draw is lines
        else RejectRefitClassifier(DecisionTreeClassifier(), random_state=0)
    ).fit(X, y)
    # in sample, both would be right about every row
    assert (~model.inlier_mask_[:15]).mean() > 0.8


@both
@pytest.mark.parametrize("most", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("threshold", ["auto", 0.0])
def test_no_more_than_the_stated_share_is_rejected(make, draw, most, threshold):
    X, y = draw()
    model = make(max_rejected=most, threshold=threshold, random_state=0).fit(X, y)
    for label in np.unique(y) if make is classifier else [slice(None)]:
        here = y == label if make is classifier else label
        assert (~model.inlier_mask_[here]).mean() <= most
    if most == 0.1:  # and those are the worst
        out = ~model.inlier_mask_
        assert out[:30].sum() > 10 and out[30:].sum() <= 1


def test_one_wrong_output_is_enough_to_reject_a_row():
    X, y = lines(wrong=0)
    y = np.column_stack([y, y + np.random.RandomState(1).standard_normal(120)])
    y[:10, 0] += 40
    y[10:20, 1] -= 40
    first = MultiOutputRegressor(HuberRegressor())
    model = RejectRefitRegressor(first, LinearRegression(), random_state=0).fit(X, y)
    assert not model.inlier_mask_[:20].any()
    assert model.inlier_mask_[20:].mean() > 0.95
    assert model.predict(X).shape == y.shape


def test_rows_with_larger_errors_where_predictions_are_large_are_kept():
    rng = np.random.RandomState(0)
    x = np.sort(rng.uniform(0, 1, 600))[:, None]
    spread = np.where(x[:, 0] > 0.8, 1.0, 0.01)
    y = 10 * x[:, 0] + spread * rng.standard_normal(600)
    y[::50] += 30
    medians = DecisionTreeRegressor(criterion="absolute_error", min_samples_leaf=15)
    model = RejectRefitRegressor(medians, random_state=0).fit(x, y)
    assert not model.inlier_mask_[::50].any()
    assert (~model.inlier_mask_).sum() < 12 + 12


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_group_is_kept_if_the_final_estimator_learns_it_and_wrong_rows_are_not(
    n_outputs,
):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (400, 2))
    y = X[:, 0] + 0.05 * rng.standard_normal(400)
    group = X[:, 1] > 0.8
    first, final = HuberRegressor(), KNeighborsRegressor(5)
    if n_outputs == 2:
        y = np.column_stack([1e6 * rng.permutation(y), y])
        first = MultiOutputRegressor(first)
    for far in (group, rng.permutation(group)):
        its_y = y.copy()
        its_y.reshape(400, -1)[far, -1] += 30
        model = RejectRefitRegressor(first, final, random_state=0).fit(X, its_y)
        rejected = ~model.inlier_mask_
        if far is group:
            assert not rejected.any() and model.threshold_ == np.inf
            # an order to reject is obeyed
            model.set_params(threshold=5.0).fit(X, its_y)
        assert (~model.inlier_mask_)[far].mean() > 0.99


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_what_plain_training_learns_beyond_a_mean_is_taken_back(share):
    learnable = partial(RejectRefitRegressor()._learnable, share=share)
    y, before, weights = np.full(10, 30.0), np.zeros((10, 1)), np.ones(10)
    follows_the_mean = np.full((10, 1), share * 30)  # of a common error
    assert not learnable(before, follows_the_mean, y, weights)
    # a region at whose border rows stay hard
    left = np.array([0.0, 0.1, 0.1, 0.2, 0.5, 0.6, 0.7, 0.7, 0.8, 1.3])
    after = y[:, None] * (1 - left[:, None])
    assert (left < 0.5).sum() < 5
    assert learnable(before, after, y, weights) == (share < 0.3)
    assert learnable(before, after, y, np.where(left > 0.4, 0.5, 1.0))


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e308])
def test_what_no_training_moves_is_not_taken_back(size):
    learnable = partial(RejectRefitRegressor()._learnable, share=0.1)
    sides, nothing, weights = (
        size * np.array([-1.0, 1, 1, -1]),
        np.zeros((4, 1)),
        np.ones(4),
    )
    assert not learnable(nothing, nothing, sides, weights)
    assert not learnable(nothing, nothing, 0 * sides, weights)
    assert learnable(nothing, sides[:, None], sides, weights)


# -- weights, order, folds


@both
@pytest.mark.parametrize("cv", [3, 5])
def test_an_integer_weight_is_a_repeated_row_and_zero_an_absent_one(make, draw, cv):
    X, y = draw(60, wrong=8)
    rng = np.random.RandomState(1)
    w = rng.randint(0, 4, size=len(y))
    first = HuberRegressor() if make is regressor else GaussianNB()
    final = LinearRegression() if make is regressor else GaussianNB()
    model = make(cv=cv, random_state=0).set_params(
        estimator=first, final_estimator=final
    )
    weighted = clone(model).fit(X, y, sample_weight=w)
    shuffled = rng.permutation(w.sum())
    repeated = clone(model).fit(X.repeat(w, 0)[shuffled], y.repeat(w)[shuffled])
    rows = np.arange(len(y)).repeat(w)[shuffled]
    np.testing.assert_array_equal(repeated.inlier_mask_, weighted.inlier_mask_[rows])
    np.testing.assert_allclose(
        repeated.outlier_score_, weighted.outlier_score_[rows], rtol=1e-4, atol=1e-6
    )
    assert not weighted.inlier_mask_[w == 0].any()
    new = rng.standard_normal((20, 3))
    if make is regressor:
        np.testing.assert_allclose(repeated.predict(new), weighted.predict(new))


@both
def test_the_order_of_the_rows_does_not_matter(make, draw):
    X, y = draw()
    order = np.random.RandomState(0).permutation(len(y))
    one, two = make(random_state=0).fit(X, y), make(random_state=0)
    two.fit(X[order], y[order])
    np.testing.assert_array_equal(two.inlier_mask_, one.inlier_mask_[order])


class Rounding(GaussianNB):
    """Opinions that differ in the last digits with a row's place, as products do."""

    def predict_proba(self, X):
        place = np.arange(len(X))[:, None] % 7
        return super().predict_proba(X) * (1 + 1e-15 * place)


def test_equal_rows_are_rejected_together_or_not_at_all():
    X, y = blobs(wrong=90)
    rows = np.random.RandomState(0).permutation(np.arange(150).repeat(3))
    model = RejectRefitClassifier(Rounding(), LogisticRegression(), threshold=0.0)
    for most in (0.1, 0.2, 0.3):
        model.set_params(max_rejected=most).fit(X[rows], y[rows])
        kept = np.bincount(rows, model.inlier_mask_)
        assert 0 < (kept == 0).sum() < 90 and set(kept) == {0, 3}


@pytest.mark.parametrize("n_folds", [2, 3, 10])
@pytest.mark.parametrize("n_kinds", [1, 3])
@pytest.mark.parametrize("n", [2, 3, 11, 200])
def test_folds_are_even_and_never_hold_all_of_a_kind(n, n_kinds, n_folds):
    rng = np.random.RandomState(n)
    X = rng.randint(0, 3, (n, 2)).astype(float)
    kinds, w = rng.randint(n_kinds, size=n), rng.uniform(0.1, 5, n)
    rows = rejection.distinct_rows(X, kinds, 0)
    folds = rejection.deal_folds(rows, kinds, w, n_folds)
    for row in np.unique(rows):
        assert len(np.unique(folds[rows == row])) == 1  # twins stay together
    for kind in np.unique(kinds):
        here = kinds == kind
        if len(np.unique(rows[here])) == 1:
            assert (folds[here] == -1).all()
        else:
            assert len(np.unique(folds[here])) > 1 and (folds[here] >= 0).all()
            heaviest = np.bincount(rows[here], w[here]).max()
            held = np.bincount(folds[here], w[here], n_folds)
            assert held.max() <= w[here].sum() / n_folds + heaviest + 1e-9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folds_are_not_those_that_the_same_seed_made_wrong(seed):
    X = np.random.RandomState(9).standard_normal((900, 2))
    y, wrong = symmetric(np.arange(900) % 2, 1 / 3, random_state=seed)
    rows = rejection.distinct_rows(X, y, seed)
    folds = rejection.deal_folds(rows, np.zeros(900), np.ones(900), 3)
    share = np.bincount(folds, wrong) / np.bincount(folds)
    assert abs(share - 1 / 3).max() < 0.12


def test_distinct_rows_are_told_apart_whatever_they_hold():
    X = np.array([["a", 1], ["a", 1], ["b", 1], ["a", 2]], dtype=object)
    rows = rejection.distinct_rows(X, np.zeros(4), 0)
    assert rows[0] == rows[1] and len(np.unique(rows)) == 3
    assert len(np.unique(rejection.distinct_rows(X, np.array([0, 1, 0, 0]), 0))) == 4


# -- scales and thresholds


def test_a_local_scale_is_never_below_the_common_one_and_follows_the_errors():
    rng = np.random.RandomState(0)
    predicted = rng.uniform(0, 10, 2000)
    residual = rng.standard_normal(2000) * np.where(predicted > 8, 5.0, 1.0)
    scale = rejection.robust_scale(residual, predicted, np.ones(2000))
    common = 1.4826 * np.median(abs(residual))
    assert (scale >= common * 0.999).all()
    assert 4 < scale[predicted > 9.2].mean() < 6
    assert abs(scale[predicted < 7].mean() / common - 1) < 0.1


@pytest.mark.parametrize("kind", ["exact", "half exact", "huge", "tiny"])
def test_scales_are_positive_and_finite(kind):
    rng = np.random.RandomState(0)
    residual = rng.standard_normal(200)
    residual *= {"exact": 0, "half exact": 1, "huge": 1e300, "tiny": 1e-300}[kind]
    if kind == "half exact":
        residual[:150] = 0
    with np.errstate(all="raise"):
        scale = rejection.robust_scale(residual, np.arange(200.0), np.ones(200))
    assert (scale > 0).all() and np.isfinite(scale).all()


def judged(residual, weights=None):
    """Return scores and mask by the automatic threshold, of residuals alone."""
    weights = np.ones(len(residual)) if weights is None else weights
    residual = residual[:, None]
    scores, limit = rejection.judge(residual, np.zeros_like(residual), weights)
    return scores, scores >= limit


NOISES = ["standard_normal", "laplace"]


@pytest.mark.parametrize("draw", NOISES)
@pytest.mark.parametrize("n", [20, 500, 5000])
def test_automatically_good_rows_stay_and_gross_ones_go(draw, n):
    rng = np.random.RandomState(n)
    residual = getattr(rng, draw)(size=n)
    assert judged(residual)[1].mean() <= 0.002
    wrong = np.arange(n) < n // 4
    residual[wrong] = 30
    out = judged(residual)[1]
    assert out[wrong].all() and out[~wrong].mean() < 0.05


@pytest.mark.parametrize("share", [0.05, 0.25, 0.4])
@pytest.mark.parametrize("draw", NOISES)
def test_wrong_rows_do_not_widen_the_scale_by_which_they_are_judged(draw, share):
    rng = np.random.RandomState(0)
    residual = getattr(rng, draw)(size=2000)
    alone = judged(residual)[0]
    wrong = rng.uniform(size=2000) < share
    residual[wrong] += rng.choice([-1, 1], 2000)[wrong] * rng.uniform(
        8, 30, wrong.sum()
    )
    scores, out = judged(residual)
    ratio = scores[~wrong] / alone[~wrong]
    assert abs(ratio - 1).max() < 0.12
    assert out[wrong].mean() > 0.9 and out[~wrong].mean() < 0.02


@pytest.mark.parametrize("share", [0.15, 0.25])
@pytest.mark.parametrize("errors", ["standard_normal", "uniform"])
@pytest.mark.parametrize("seed", range(3))
def test_wrong_rows_that_lie_close_do_not_hide_those_that_lie_far(share, errors, seed):
    rng = np.random.RandomState(seed)
    residual = rng.laplace(size=600)
    wrong = np.arange(600) < 600 * share
    size = {"standard_normal": 8.0, "uniform": 15.0}[errors]
    draws = getattr(rng, errors)(size=600) * rng.choice([-1, 1], 600)
    residual[wrong] += size * draws[wrong]
    out = judged(residual)[1]
    assert out[wrong].mean() > 0.3 and out[~wrong].mean() < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_in_scales_of_the_rows_that_are_kept(seed):
    rng = np.random.RandomState(seed)
    residual = rng.laplace(size=100)
    wrong = np.arange(100) < 25
    residual[wrong] += (6 * rng.uniform(size=100) * rng.choice([-1, 1], 100))[wrong]
    scores, out = judged(residual)
    again = rejection.scores_of(
        residual[:, None], np.zeros((100, 1)), np.ones(100), ~out
    )
    np.testing.assert_allclose(scores, again)


def test_what_was_rejected_stays_so_where_the_kept_rows_would_hide_it():
    rng = np.random.RandomState(0)
    residual = rng.laplace(size=600)
    wrong = np.arange(600) < 600 * 0.25
    residual[wrong] += (4 * rng.standard_normal(600) * rng.choice([-1, 1], 600))[wrong]
    out = judged(residual)[1]
    assert out[wrong].sum() > 10 and out[~wrong].mean() < 0.01


@pytest.mark.parametrize("shape, told", [(0.1, 0.3), (0.45, 0.45), (1.5, 0.6)])
def test_the_shape_of_a_tail_is_told_within_limits(shape, told):
    """Pickands' estimate is exact for quantiles of a generalized Pareto tail."""
    rank = (np.arange(6400) + 0.5) / 6400
    above = 0.5 * ((2 * (1 - rank)) ** -shape - 1) / shape
    scores = 1 / 1.4826 + np.where(rank < 0.5, rank - 0.5, above)
    found, reach = rejection.read_tail(scores, np.ones(6400))
    assert found == pytest.approx(told, abs=0.01)
    assert reach >= 1.8627 - 1 / 1.4826


def test_the_reach_of_a_tail_is_at_least_that_of_normal_scores():
    rank = (np.arange(640) + 0.5) / 640
    reach = rejection.read_tail(2 * rank / 1.4826, np.ones(640))[1]
    assert reach == pytest.approx(1.8627 - 1 / 1.4826)


def test_a_heap_of_scores_just_above_the_median_tells_nothing_of_the_tail():
    scores = np.r_[np.zeros(40), np.full(50, 0.7), np.full(10, 1.8)]
    assert rejection.read_tail(scores, np.ones(100))[0] == rejection.SHAPES[0]


@pytest.mark.parametrize("most", [0.07, 0.28, 0.29, 0.55])
def test_shares_of_a_hundred_rows_are_counted_exactly(most):
    # 0.29 * 100 is a hair less than 29
    out = rejection.reject(np.arange(100.0), np.ones(100), np.zeros(100), 0.0, most)
    assert out.sum() == round(100 * most)


@pytest.mark.parametrize("far", [9.0, 12.0])
def test_hard_rows_in_the_gap_before_gross_errors_are_kept(far):
    rng = np.random.RandomState(0)
    residual = rng.laplace(size=1000) / np.log(2)  # in medians
    residual[:5] = far * np.array([1.0, -0.95, 0.9, -0.85, 0.8])
    residual[750:] = rng.uniform(25, 100, 250)
    out = judged(residual)[1]
    assert out[750:].all() and not out[:750].any()


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_what_is_rejected_depends_neither_on_units_nor_order_nor_ways_of_counting(
    share,
):
    rng = np.random.RandomState(1)
    residual = rng.standard_t(3, size=300)
    residual[: int(300 * share)] *= 20
    w = rng.randint(1, 4, size=300).astype(float)
    scores, out = judged(residual, w)
    assert 0 < out.sum() < 150
    order = rng.permutation(int(w.sum()))
    rows = np.arange(300).repeat(w.astype(int))[order]
    for same in (
        judged(1e-9 * residual, w),
        judged(-residual, w),
        judged(residual, w / 7),
    ):
        np.testing.assert_array_equal(same[1], out)
        np.testing.assert_allclose(same[0], scores)
    np.testing.assert_array_equal(judged(residual[rows])[1], out[rows])


@pytest.mark.parametrize("shape", ["uniform", "arcs"])
@pytest.mark.parametrize("n", [20, 100])
def test_what_lies_within_three_scales_is_kept_whatever_was_rejected(n, shape):
    rng = np.random.RandomState(0)
    residual = rng.uniform(-1, 1, n)
    if shape == "arcs":
        residual = np.sin(25 * residual)
    residual[: n // 4] = 100
    scores, out = judged(residual)
    assert out[: n // 4].all() and not out[n // 4 :].any()
    assert scores[n // 4 :].max() < 3


@pytest.mark.parametrize("n", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("kind", ["equal", "exact", "mostly exact", "far", "two heaps"])
def test_less_than_half_is_rejected_whatever_the_residuals(n, kind):
    rng = np.random.RandomState(n)
    residual = {
        "equal": np.ones(n),
        "exact": np.zeros(n),
        "mostly exact": np.where(np.arange(n) % 10 == 1, 1e-3, 0.0),
        "far": 10.0 ** rng.uniform(-150, 150, n),
        "two heaps": np.where(np.arange(n) % 2, 1e6, 1.0),
    }[kind]
    scores, out = judged(residual)
    assert np.isfinite(scores).all()
    assert out.sum() <= n / 2
    if kind in ("equal", "exact"):
        assert not out.any()
    if kind == "mostly exact" and n >= 10:
        np.testing.assert_array_equal(out, residual > 0)


# -- which stage is the last


def flips(n=400, share=0.4):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (n, 2))
    truth = np.sin(3 * X[:, 0]) + X[:, 1]
    y = truth + 0.1 * rng.standard_normal(n)
    y[: int(share * n)] *= -1
    return X, y, truth


def test_where_wrong_rows_hide_the_first_stage_is_the_last():
    X, y, truth = flips()
    fast = {"hidden_layer_sizes": (32,), "max_iter": 100, "learning_rate_init": 0.01}
    first = PRLRegressor(0.45, ramp=0, **fast)
    model = RejectRefitRegressor(first, random_state=0).fit(X, y)
    assert model.inlier_mask_.all() and model.threshold_ == np.inf
    assert isinstance(model.final_estimator_, PRLRegressor)
    alone = clone(first).set_params(random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))
    # who names the last stage, or a threshold, gets it
    plain = NetRegressor(**fast)
    for said in ({"final_estimator": plain}, {"threshold": 1e6}):
        obeyed = clone(model).set_params(**said).fit(X, y)
        assert isinstance(obeyed.final_estimator_, NetRegressor)
    errors = [np.square(m.predict(X) - truth).mean() for m in (model, obeyed)]
    assert errors[0] < 0.5 * errors[1]


def test_on_clean_data_the_last_stage_is_plain():
    X, y, _ = flips(share=0)
    fast = {"hidden_layer_sizes": (32,), "max_iter": 50, "learning_rate_init": 0.01}
    model = RejectRefitRegressor(MoMRegressor(**fast), random_state=0).fit(X, y)
    assert isinstance(model.final_estimator_, NetRegressor)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e308])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_who_is_nearer_to_most_is_nearer_whatever_the_rest(size, n_outputs):
    rng = np.random.RandomState(0)
    nearer = RejectRefitRegressor()._nearer
    truth = rng.uniform(-1, 1, (200, n_outputs))
    y, between = truth.copy(), 0.2 * truth
    y[:80] *= -1
    good = truth + 0.01 * rng.standard_normal(truth.shape)
    y, good, between = size * y, size * good, size * between
    ones = np.ones(200)
    assert nearer(good, between, y, ones)
    assert not nearer(between, good, y, ones)
    assert not nearer(good, good, y, ones)
    assert not nearer(y, y, y, ones)
    # a few rows cannot tell, but may each stand for many
    few = slice(78, 82)
    assert not nearer(good[few], between[few], y[few], ones[few])
    assert nearer(good[few], between[few], y[few], 20 * ones[few])
    each = [np.repeat(t[few], 20, axis=0) for t in (good, between, y, ones)]
    assert nearer(*each)


# -- scikit-learn's manners


class Listener:
    """A callback that notes the tasks it is told of."""

    max_propagation_depth = None

    def __init__(self):
        self.begun = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((type(estimator).__name__, context.task_name))

    def on_fit_task_end(self, estimator, context):
        pass


def test_callbacks_hear_of_both_stages_and_of_the_epochs_inside():
    pytest.importorskip("sklearn.callback")
    listener = Listener()
    X, y = lines(40)
    model = RejectRefitRegressor(NetRegressor(**SMALL), cv=2, threshold=5.0)
    model.set_callbacks(listener).fit(X, y)
    epochs = [name for name, task in listener.begun if task == "epoch"]
    assert len(epochs) == 3 * 4 and set(epochs) == {"NetRegressor"}
    assert listener.begun[0][0] == "RejectRefitRegressor"


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_folds_may_be_fitted_in_parallel_to_the_same_bits(backend):
    X, y = lines(60, wrong=10)
    w = np.arange(60) % 3
    model = RejectRefitRegressor(NetRegressor(**SMALL), random_state=0)
    serial = clone(model).set_params(cv=KFold(2).split(X)).fit(X, y, sample_weight=w)
    with joblib.parallel_backend(backend):
        model.set_params(cv=KFold(2).split(X), n_jobs=2).fit(X, y, sample_weight=w)
    np.testing.assert_array_equal(model.outlier_score_, serial.outlier_score_)
    np.testing.assert_array_equal(model.predict(X), serial.predict(X))


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_monitors_hear_of_every_fold_wherever_it_is_fitted(n_jobs):
    callback = pytest.importorskip("sklearn.callback")
    X, y = lines(40)
    monitor = callback.ScoringMonitor(scoring="r2")
    first = NetRegressor(**SMALL).set_callbacks(monitor)
    RejectRefitRegressor(first, LinearRegression(), cv=2, n_jobs=n_jobs).fit(X, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == 2 * SMALL["max_iter"]


def test_monitors_score_the_fitted_estimator():
    callback = pytest.importorskip("sklearn.callback")
    X, y = lines(40)
    monitor = callback.ScoringMonitor(scoring="r2")
    model = RejectRefitRegressor(HuberRegressor(), LinearRegression())
    model.set_callbacks(monitor).fit(X, y)
    assert np.isclose(monitor.get_logs().data[-1]["r2"], model.score(X, y))


@pytest.mark.parametrize("first", [LinearSVC(), RidgeClassifier()])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_first_stages_may_have_decisions_and_no_probabilities(first, n_classes):
    X, truth = make_blobs(300, centers=n_classes, cluster_std=0.5, random_state=1)
    y, wrong = symmetric(truth, 0.2, random_state=0)
    model = RejectRefitClassifier(first, LogisticRegression()).fit(X, y)
    kept = model.inlier_mask_
    assert kept[wrong].mean() < 0.2 < 0.8 < kept[~wrong].mean()


class Mute(ClassifierMixin, BaseEstimator):
    """A classifier that says no more than a class."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_a_first_stage_without_opinions_is_refused():
    X, y = make_blobs(60, random_state=1)
    with pytest.raises(ValueError, match="predict_proba or decision_function"):
        RejectRefitClassifier(Mute()).fit(X, y)


@pytest.mark.parametrize("unit", [1 / 120, 0.3])
def test_the_unit_of_weights_that_are_no_counts_does_not_matter(unit):
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 4, size=(400, 1))
    y = 10 * X[:, 0] + X[:, 0] ** 2 * rng.normal(size=400)
    y[::20] += 60
    model = RejectRefitRegressor(HuberRegressor(), LinearRegression(), random_state=0)
    plain = clone(model).fit(X, y)
    other = model.fit(X, y, sample_weight=np.full(400, unit))
    assert other.threshold_ == pytest.approx(plain.threshold_, rel=0.05)
    assert (other.inlier_mask_ == plain.inlier_mask_).mean() > 0.99


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_weights_are_routed_to_the_stages_that_ask_for_them(routing):
    X, y = lines()
    w = np.random.RandomState(0).randint(1, 4, len(y))
    first = HuberRegressor().set_fit_request(sample_weight=True)
    final = LinearRegression()
    with pytest.raises(ValueError, match="sample_weight"):
        RejectRefitRegressor(first, final).fit(X, y, sample_weight=w)
    final = final.set_fit_request(sample_weight=False)
    model = RejectRefitRegressor(first, final, random_state=0)
    model.fit(X, y, sample_weight=w)
    kept = model.inlier_mask_
    unweighted = LinearRegression().fit(X[kept], y[kept])
    np.testing.assert_allclose(model.predict(X), unweighted.predict(X))
    net = RejectRefitRegressor(PRLRegressor(**SMALL)).estimator
    default = RejectRefitRegressor(net.set_fit_request(sample_weight=True))
    default.final_estimator = NetRegressor(**SMALL).set_fit_request(sample_weight=True)
    default.fit(X, y, sample_weight=w)


def test_groups_are_routed_to_the_splitter(routing):
    X, y = lines()
    groups = np.arange(len(y)) % 4
    model = regressor(cv=GroupKFold(4)).fit(X, y, groups=groups)
    assert len(model.estimators_) == 4


def test_without_routing_unknown_metadata_and_weights_are_refused():
    X, y = lines()
    with pytest.raises(ValueError, match=r"\[groups\].*enable_metadata_routing"):
        regressor().fit(X, y, groups=np.ones(len(y)))
    model = RejectRefitRegressor(KNeighborsRegressor(), LinearRegression())
    with pytest.raises(TypeError, match="KNeighborsRegressor does not support sample"):
        model.fit(X, y, sample_weight=np.ones(len(y)))


def test_any_splitter_will_do_and_rows_of_no_fold_are_kept():
    X, y = lines()
    model = regressor(cv=RepeatedKFold(n_splits=3, n_repeats=2, random_state=0))
    assert not model.fit(X, y).inlier_mask_[:30].any()
    inner, outer = np.arange(20, 120), np.arange(20)
    model = regressor(cv=[(inner, outer)]).fit(X, y)
    assert model.inlier_mask_[20:].all() and not model.outlier_score_[20:].any()


def test_opinions_of_a_row_that_is_judged_twice_are_averaged():
    X, y = lines()
    splits = list(KFold(3).split(X))
    once, twice = (regressor(cv=cv).fit(X, y) for cv in (splits, 2 * splits))
    np.testing.assert_allclose(twice.outlier_score_, once.outlier_score_)


@both
@pytest.mark.parametrize("form", ["lists", "masks", "lists of bools", "generator"])
def test_splits_may_be_given_in_any_form(make, draw, form):
    X, y = draw()
    usual = list(KFold(3).split(X)) + [(np.arange(len(y)), np.arange(0))]
    splits = usual
    if form == "lists":
        splits = [(a.tolist(), b.tolist()) for a, b in usual]
    elif form != "generator":
        parts = [[np.isin(np.arange(len(y)), part) for part in s] for s in usual]
        splits = [[list(m) for m in s] for s in parts] if "lists" in form else parts
    given = make(cv=usual).fit(X, y)
    same = make(cv=iter(splits) if form == "generator" else splits).fit(X, y)
    np.testing.assert_array_equal(same.outlier_score_, given.outlier_score_)
    np.testing.assert_array_equal(same.inlier_mask_, given.inlier_mask_)


def test_splits_that_an_earlier_fit_used_up_are_missed():
    X, y = lines()
    model = regressor(cv=KFold(3).split(X)).fit(X, y)
    kept = model.inlier_mask_
    with pytest.raises(ValueError, match="Was the CV iterator empty"):
        model.fit(X, y)
    assert model.inlier_mask_ is kept


def test_data_frames_reach_the_estimators_as_they_are():
    pd = pytest.importorskip("pandas")
    X, y = lines()
    frame = pd.DataFrame(X, columns=["u", "v", "w"], index=np.arange(120)[::-1])
    frame["kind"] = np.where(np.arange(120) % 2, "odd", "even")
    columns = make_column_transformer(
        (StandardScaler(), ["u", "v", "w"]), (OneHotEncoder(), ["kind"])
    )
    model = RejectRefitRegressor(
        make_pipeline(columns, HuberRegressor()), random_state=0
    ).fit(frame, pd.Series(y))
    assert not model.inlier_mask_[:30].any()
    assert list(model.feature_names_in_) == ["u", "v", "w", "kind"]
    assert model.predict(frame).shape == (120,)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["v", "u", "w", "kind"]])


def test_only_numbers_may_have_several_outputs():
    X, y = lines()
    several = np.c_[y, -y]
    for trees in (DecisionTreeClassifier(), DecisionTreeRegressor()):
        assert get_tags(trees).target_tags.multi_output
    model = RejectRefitRegressor(DecisionTreeRegressor())
    assert get_tags(model).target_tags.multi_output
    assert model.fit(X, several).predict(X).shape == several.shape
    assert not get_tags(regressor()).target_tags.multi_output  # for want of stages
    model = RejectRefitClassifier(DecisionTreeClassifier())
    assert not get_tags(model).target_tags.multi_output
    with pytest.raises(ValueError, match="y should be a 1d array"):
        model.fit(X, several > 0)


def test_parameters_of_the_stages_can_be_searched():
    X, y = lines()
    search = GridSearchCV(
        regressor(random_state=0), {"estimator__epsilon": [1.2, 2.0], "cv": [2, 3]}
    ).fit(X, y)
    assert set(search.best_params_) == {"estimator__epsilon", "cv"}


def test_none_stands_for_the_same_network_trained_plainly():
    X, y = lines(40)
    first = PRLRegressor(0.3, **SMALL, activation="tanh", co_training=True)
    model = RejectRefitRegressor(first, random_state=5).fit(X, y)
    final = model.final_estimator_
    assert type(final) is NetRegressor and final.steps == () and final.n_networks == 1
    for name in ("activation", "hidden_layer_sizes", "max_iter", "weight_decay"):
        assert getattr(final, name) == getattr(first, name)
    assert final.random_state == 5
    sizes = {"hidden_layer_sizes": np.array([5, 4, 3]), "max_iter": 2}
    model = RejectRefitRegressor(MRRegressor(0.1, **sizes)).fit(X, y)
    assert list(model.final_estimator_.hidden_layer_sizes) == [5, 4, 3]
    trees = RejectRefitRegressor(DecisionTreeRegressor()).fit(X, y)
    assert isinstance(trees.final_estimator_, DecisionTreeRegressor)


def test_the_plain_twin_of_weighted_least_squares_is_least_squares():
    X, y = lines()
    line = MRRegressor(0.1, mixup=1.0, hidden_layer_sizes=(), solver="lstsq")
    model = RejectRefitRegressor(line, random_state=0).fit(X, y)
    kept = model.inlier_mask_
    assert not kept[:30].any() and kept[30:].mean() > 0.9
    ordinary = LinearRegression().fit(X[kept], y[kept])
    np.testing.assert_allclose(model.predict(X), ordinary.predict(X), rtol=1e-6)


def test_seeds_of_the_stages_are_left_alone_without_one_of_ours():
    X, y = lines(40)
    model = RejectRefitRegressor(NetRegressor(**SMALL, random_state=8)).fit(X, y)
    assert {m.random_state for m in model.estimators_} == {8}
    assert model.final_estimator_.random_state == 8


@both
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_rows_are_fitted_or_refused(make, draw, n):
    X, y = draw(40, wrong=0)
    rows = np.unique(y, return_index=True)[1][:n]
    try:
        model = make(cv=5, random_state=0).fit(X[rows], y[rows])
    except ValueError as error:
        assert "class" in str(error) and make is classifier
    else:
        assert model.inlier_mask_.shape == (len(rows),)
        assert np.isfinite(model.outlier_score_).all()


def test_a_class_of_one_row_is_kept():
    X, y = blobs()
    y = y.astype(object)
    y[-1] = "rare"
    model = classifier(random_state=0).fit(X, y)
    assert model.inlier_mask_[-1] and "rare" in model.classes_
    assert model.predict_proba(X).shape == (150, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": -1.0},
        {"threshold": "five"},
        {"threshold": True},
        {"max_rejected": 1.0},
        {"max_rejected": -0.1},
        {"cv": 1},
        {"n_jobs": 1.5},
    ],
)
@both
def test_impossible_settings_are_refused_by_name(make, draw, options):
    X, y = draw()
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}' parameter of RejectRefit"):
        make(**options).fit(X, y)


@pytest.mark.parametrize("stage", ["x", 3])
@pytest.mark.parametrize("name", ["estimator", "final_estimator"])
@both
def test_what_cannot_be_fitted_is_no_stage(make, draw, name, stage):
    model = make().set_params(**{name: stage})
    with pytest.raises(ValueError, match=f"'{name}' parameter .* implementing 'fit'"):
        model.fit(*draw())


def test_a_failed_fit_leaves_the_last_one():
    X, y = lines()
    model = regressor(random_state=0).fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError):
        model.fit(np.full((10, 5), np.nan), np.ones(10))
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.n_features_in_ == 3
    fresh = regressor()
    with pytest.raises(ValueError):
        fresh.fit(np.full((10, 5), np.nan), np.ones(10))
    assert not hasattr(fresh, "n_features_in_")
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test_constant_targets_and_gross_rows_stay_finite():
    X, _ = lines()
    for y in (np.ones(120), np.where(np.arange(120) == 3, 1e300, 1.0)):
        model = RejectRefitRegressor(DecisionTreeRegressor(), random_state=0).fit(X, y)
        assert np.isfinite(model.outlier_score_).all()
        assert np.isfinite(model.predict(X)).all()
    assert not model.inlier_mask_[3] and (model.predict(X) == 1).all()


@pytest.mark.parametrize("edge", ["far targets", "a far row", "constant", "one weight"])
@pytest.mark.filterwarnings("ignore:n_blocks:UserWarning")
def test_edges_leave_finite_models_of_networks(edge):
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(61, 3)), None
    y = X @ [1.0, -2.0, 0.5]
    if edge == "far targets":
        y = y * 1e8 + 1e8
    elif edge == "a far row":
        X[-1], y[-1] = 1e300, 1e300
    elif edge == "constant":
        y[:] = 3.0
    else:
        weights = np.eye(1, 61, 5)[0]
    first = MoMRegressor(1000, hidden_layer_sizes=(16,), max_iter=5, batch_size=32)
    model = RejectRefitRegressor(first, random_state=0).fit(X, y, sample_weight=weights)
    assert np.isfinite(model.predict(X)).all()
    assert model.inlier_mask_[-1] == (edge in ("far targets", "constant"))


@pytest.mark.parametrize("how", ["one row", "in one fold", "sorted"])
def test_a_class_that_folds_do_not_know_claims_nobody(how):
    X, y = load_iris(return_X_y=True)
    cv = 3
    if how == "one row":
        y = y.copy()
        y[0] = 7
    elif how == "sorted":
        cv = KFold(3)
    else:
        order = np.r_[np.arange(0, 100, 2), np.arange(1, 100, 2), np.arange(100, 150)]
        X, y, cv = X[order], y[order], KFold(3)
    model = RejectRefitClassifier(LogisticRegression(max_iter=1000), cv=cv)
    assert (~model.fit(X, y).inlier_mask_).sum() <= 6


@pytest.mark.parametrize("learned", [False, True])
def test_a_stage_that_gave_up_a_kind_of_rows_is_not_nearer_if_others_learn_it(learned):
    rng = np.random.default_rng(0)
    y = rng.normal(size=400)
    wrong = np.arange(400) % 4 == 0
    y[wrong] += 5
    first = y - 0.01 * rng.normal(size=400) - 5 * wrong  # meets most nearly exactly
    final = y - 0.2 * rng.normal(size=400) - 4.5 * (wrong & (not learned))
    model, opinions = RejectRefitRegressor(), (first[:, None], final[:, None])
    assert model._nearer(*opinions, y, np.ones(400)) != learned


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e150])
def test_the_median_of_skewed_targets_is_not_nearer_than_their_mean(size):
    # nearer in absolute errors, by a tenth, but the mean is what a regressor is for
    y = size * np.random.default_rng(0).exponential(size=1000)
    often, mean = (np.full((1000, 1), size * at) for at in (np.log(2) / 2, 1.0))
    model, ones = RejectRefitRegressor(), np.ones(1000)
    assert not model._nearer(often, mean, y, ones)
    # where wrong targets have drawn plain training away, both kinds of errors agree
    assert model._nearer(mean, -mean, y, ones)


@pytest.mark.parametrize("harm, hard", [(-1, True), (1, False)])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_rows_that_do_the_others_good_are_not_wrong(harm, hard, n_outputs):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(300, n_outputs))
    rejected = np.arange(300) % 10 == 0
    first = y + 0.1 * rng.normal(size=y.shape) + 3 * rejected[:, None]
    by_kept = first + 0.02 * np.sign(first - y)
    by_all = first + (0.02 + 0.02 * harm) * np.sign(first - y)
    model, weights = RejectRefitRegressor(), np.ones(300)
    assert model._hard(first, by_all, by_kept, y, weights, rejected) == hard
    # targets beyond all others are no hard rows
    y[rejected], first[rejected] = 50, 0
    assert not model._hard(first, first, by_kept, y, weights, rejected)
    # where all are alike, or nobody is left to ask, what is rejected stays so
    assert not model._hard(first, by_kept, by_kept, y, weights, rejected)
    assert not model._hard(first, by_all, by_kept, y, weights, weights > 0)
