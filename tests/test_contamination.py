"""Laws of thresholds and p-values, for every detector."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import skrobust
from skrobust._contamination import (
    automatic_threshold,
    conformal_p_values,
    held_out,
    threshold,
)

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 5, "batch_size": 32, "random_state": 0}
DETECTORS = {
    "net": skrobust.NetOutlierDetector(**SMALL),
    "two nets": skrobust.NetOutlierDetector(n_networks=2, dropout=0.2, **SMALL),
    "RCA": skrobust.RCAOutlierDetector(n_passes=3, epsilon=0.1, **SMALL),
    "RCA, two capacities": skrobust.RCAOutlierDetector(
        capacities=(0.5, 0.0), n_passes=2, epsilon=0.2, **SMALL
    ),
    "RCVA": skrobust.RCAOutlierDetector(network="vae", epsilon=0, **SMALL),
    "flow": skrobust.RobustRealNVPDetector(epsilon=0.1, **SMALL),
}
every = pytest.mark.parametrize("name", DETECTORS)
X = np.random.default_rng(0).normal(size=(100, 3))


def make(name, **params):
    return clone(DETECTORS[name]).set_params(**params)


def n_flagged(detector, X=X):
    return int((detector.predict(X) == -1).sum())


# -- thresholds --------------------------------------------------------------------


@every
@pytest.mark.parametrize("contamination", [0, 0.07, 0.29, 0.333, 0.5])
@pytest.mark.parametrize("n", [7, 100])
def test_exactly_that_many_training_rows_are_flagged(name, contamination, n):
    model = make(name, contamination=contamination).fit(X[:n])
    exact = {0.07: 7, 0.29: 29}.get(contamination, int(contamination * n))
    assert n_flagged(model, X[:n]) == (exact if n == 100 else int(contamination * n))


@every
@pytest.mark.parametrize("to", [0, 0.05, 0.5, "auto"])
def test_moving_the_threshold_is_fitting_with_it(name, to):
    moved = make(name, contamination=0.2).fit(X)
    before = moved.score_samples(X)
    assert moved.set_contamination(to) is moved
    again = make(name, contamination=to).fit(X)
    assert moved.offset_ == again.offset_ and moved.contamination == to
    assert_array_equal(moved.score_samples(X), before)
    assert_array_equal(moved.predict(X), again.predict(X))


@every
def test_a_threshold_out_of_range_is_refused_and_changes_nothing(name):
    model = make(name).fit(X)
    before = model.offset_
    for bad in (-0.1, 0.6, "many", True):
        with pytest.raises(ValueError, match="'contamination' parameter"):
            model.set_contamination(bad)
    assert model.offset_ == before and model.contamination == 0.1


@every
@pytest.mark.parametrize("contamination", [0, 0.1, 0.3, "auto"])
def test_fit_predict_is_fit_then_predict(name, contamination):
    model = make(name, contamination=contamination)
    assert_array_equal(model.fit_predict(X), clone(model).fit(X).predict(X))


@every
def test_training_scores_are_kept_for_every_row(name):
    weights = np.ones(len(X))
    weights[::10] = 0
    model = make(name).fit(X, sample_weight=weights)
    assert_allclose(model.training_scores_, model.score_samples(X), rtol=1e-10)
    rest = make(name).fit(X[weights > 0])
    assert model.offset_ == pytest.approx(rest.offset_, rel=1e-10)


@every
def test_equal_rows_stay_together_and_are_never_too_many(name):
    doubled = np.repeat(X[:30], 3, axis=0)
    for contamination in (0.05, 0.1, 0.25):
        model = make(name, contamination=contamination).fit(doubled)
        found = (model.predict(doubled) == -1).reshape(-1, 3)
        assert (found == found[:, :1]).all()
        assert contamination * 90 - 3 < found.sum() <= contamination * 90
    same = np.ones((40, 3))
    assert n_flagged(make(name, contamination=0.3).fit(same), same) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_weight_moves_the_threshold_as_repetition_does(seed):
    rng = np.random.default_rng(seed)
    scores, times = rng.normal(size=20), rng.integers(1, 4, 20)
    for contamination in (0.0, 0.1, 0.37, 0.5):
        weighted = threshold(scores, times.astype(float), contamination)
        repeated = threshold(
            np.repeat(scores, times), np.ones(times.sum()), contamination
        )
        assert weighted == pytest.approx(repeated)
        below = times[scores < weighted].sum()
        assert below <= contamination * times.sum() < below + times.max()


@every
@pytest.mark.parametrize("unit", [1 / 100, 0.99, 1 / 3])
def test_the_unit_of_the_weights_does_not_matter(name, unit):
    params = {"calibration_fraction": 0.3, "batch_size": 128}
    rows, weights = X[::-1], np.full(len(X), unit)
    plain = make(name, **params).fit(X)
    model = make(name, **params).fit(X, sample_weight=weights)
    assert n_flagged(model) == 10
    # the penalty is a little stronger where rows weigh less
    assert_allclose(model.score_samples(rows), plain.score_samples(rows), rtol=1e-3)
    m = model.calibration_mask_.sum()
    far = [[50.0, -50.0, 50.0]]
    assert model.p_values(far) == pytest.approx(1 / (m + 1))


def test_of_broken_weights_the_mean_is_a_row():
    rng = np.random.default_rng(0)
    scores, weights = rng.normal(size=1000), rng.random(1000)
    for unit in (1.0, 1e-6, 1e6):
        level = threshold(scores, unit * weights, 0.1)
        share = weights[scores < level].sum() / weights.mean()
        assert 100 - 1 / weights.mean() < share <= 100
        p = conformal_p_values(scores, scores, unit * weights)
        assert p.min() * 1001 == pytest.approx(
            1 + weights[scores.argmin()] / weights.mean()
        )


def test_the_automatic_threshold_ignores_outliers_and_follows_the_scale():
    rng = np.random.default_rng(0)
    scores, ones = rng.normal(size=1000), np.ones(1000)
    clean = automatic_threshold(scores, ones)
    assert clean == pytest.approx(-3, abs=0.2)
    assert automatic_threshold(3 * scores - 7, ones) == pytest.approx(3 * clean - 7)
    scores[:100] = -1e9
    assert clean - 1 < automatic_threshold(scores, ones) < clean
    times = rng.integers(1, 4, 1000)
    assert automatic_threshold(scores, times) == pytest.approx(
        automatic_threshold(np.repeat(scores, times), np.ones(times.sum()))
    )


@pytest.mark.parametrize("score", [3.0, -3.0])
def test_what_may_be_rounding_separates_no_row_from_its_equals(score):
    level = automatic_threshold(np.full(10, score), np.ones(10), rounding=1e-5)
    assert level <= score - 0.9e-5 * 3


class Own(torch.nn.Sequential):
    """A network that knows single precision only."""

    def __init__(self, n_features, n_outputs):
        layers = torch.nn.Linear(n_features, 8), torch.nn.Linear(8, n_outputs)
        super().__init__(layers[0], torch.nn.Tanh(), layers[1])

    def forward(self, x):
        return super().forward(x) @ torch.eye(x.shape[1])


@every
@pytest.mark.parametrize("contamination", [0, 0.1, "auto"])
@pytest.mark.parametrize("standardize", [True, False])
def test_in_single_precision_rows_beside_a_row_do_not_matter(
    name, contamination, standardize
):
    rows = np.random.default_rng(1).normal(size=(300, 20)).astype(np.float32)
    model = make(name, standardize=standardize, calibration_fraction=0.2)
    if name == "net":
        model.set_params(network=Own)
    model.fit(rows).set_contamination(contamination)
    assert str(model._stack.theta.dtype) == "torch.float32"
    near = np.argsort(abs(model.decision_function(rows)))[:10]
    near = np.r_[near, np.flatnonzero(model.calibration_mask_)[:10]]
    alone = np.concatenate([model.predict(rows[[i]]) for i in near])
    assert_array_equal(alone, model.predict(rows)[near])
    alone = np.concatenate([model.p_values(rows[[i]]) for i in near])
    assert_array_equal(alone, model.p_values(rows)[near])


@every
@pytest.mark.parametrize("seed", range(3))
def test_in_single_precision_counts_are_exact_and_equal_rows_equal(name, seed):
    rows = np.random.default_rng(seed).normal(size=(500, 4)).astype(np.float32)
    model = make(name, contamination=0.0).fit(rows)
    for share in (0.02, 0.1, 0.5):
        assert n_flagged(model.set_contamination(share), rows) == share * 500
    many = np.repeat(rows[:100], 5, axis=0)[np.random.default_rng(0).permutation(500)]
    model = make(name, contamination=0.1).fit(many)
    assert n_flagged(model, many) == 50


def test_rounding_moves_no_row_and_no_count():
    rng = np.random.default_rng(0)
    # differences of larger numbers: near zero, their rounding is not relative
    scores = np.sort(rng.normal(size=200))
    scores -= scores[20]
    noise = 1e-7 * rng.uniform(-1, 1, size=(2, 200))
    level = threshold(scores + noise[0], np.ones(200), 0.0, rounding=1e-6)
    assert (scores + noise[1] > level).all()
    level = threshold(scores + noise[0], np.ones(200), 0.1, rounding=1e-2)
    assert (scores + noise[0] < level).sum() == 20  # however near scores may be
    ones = np.ones(200)
    p = conformal_p_values(scores + noise[0], scores + noise[1], ones, rounding=1e-6)
    assert_allclose(p, np.arange(2, 202) / 201)


# -- hard data -----------------------------------------------------------------------


def hard_rows():
    flat = X.copy()
    flat[:, 0] = 5.0
    far = X.copy()
    far[0], far[1, 2] = 1e30, -1e30
    yield "constant column", flat
    yield "all constant", np.ones((20, 3))
    yield "duplicates", np.repeat(X[:5], 8, axis=0)
    yield "far away", far
    yield "few rows", X[:3]
    yield "one row", X[:1]
    yield "one column", X[:, :1]


@every
@pytest.mark.parametrize(("kind", "rows"), list(hard_rows()), ids=lambda v: str(v)[:15])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_scores_are_numbers_whatever_the_rows(name, kind, rows, dtype, contamination):
    rows = rows.astype(dtype)
    model = make(name, contamination=contamination).fit(rows)
    for said in (model.score_samples(rows), model.decision_function(rows)):
        assert said.dtype == np.float64 and np.isfinite(said).all()
    assert np.isfinite(model.score_samples(rows * 1e6 + 1e30)).all()
    if contamination == 0.1:
        assert n_flagged(model, rows) <= len(rows) // 10


# -- p-values ------------------------------------------------------------------------


@every
def test_p_values_need_rows_that_training_has_not_seen(name):
    model = make(name).fit(X)
    with pytest.raises(ValueError, match="calibration_fraction"):
        model.p_values(X)
    new = np.random.default_rng(1).normal(size=(50, 3))
    assert model.p_values(X, X_calibration=new).shape == (len(X),)


def some_of(X, fraction):
    """Which rows of a table are held out."""
    return held_out(X, np.ones(len(X)), fraction) > 0


def test_a_call_that_may_train_on_no_row_says_so():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3))
    out = some_of(rows, 0.5)
    detector = make("RCA", calibration_fraction=0.5)
    with pytest.raises(ValueError, match="leaves none of 1 samples to train on"):
        detector.partial_fit(rows[out][:1])
    weights = np.where(out, 1.0, 0.0)
    with pytest.raises(ValueError, match="leaves none of .* samples to train on"):
        detector.fit(rows, sample_weight=weights)


TABLES = {
    "zeros": lambda r: np.r_[np.zeros((300, 4)), r.normal(size=(700, 4))],
    "counts": lambda r: r.poisson(0.3, size=(1000, 4)).astype(float),
    "flags": lambda r: r.integers(0, 2, size=(1000, 3)).astype(float),
    "one value": lambda r: np.zeros((1000, 2)),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_about_the_share_asked_for_is_held_out_also_of_equal_rows(table, fraction):
    rows = TABLES[table](np.random.default_rng(0))
    out = some_of(rows, fraction)
    assert out.mean() == pytest.approx(fraction, abs=0.05)
    for value in np.unique(rows, axis=0):
        there = (rows == value).all(1)
        if there.sum() > 100:
            assert out[there].mean() == pytest.approx(fraction, abs=0.15)


def test_what_is_held_out_of_a_weight_is_what_is_of_so_many_rows():
    rng = np.random.default_rng(0)
    rows, weights = (
        rng.integers(0, 3, size=(60, 2)).astype(float),
        rng.integers(0, 4, 60),
    )
    of_weight = held_out(rows, weights.astype(float), 0.3)
    each = held_out(np.repeat(rows, weights, 0), np.ones(weights.sum()), 0.3)
    assert (of_weight <= weights).all()
    for value in np.unique(rows, axis=0):
        same = (np.repeat(rows, weights, 0) == value).all(1)
        assert of_weight[(rows == value).all(1)].sum() == each[same].sum()
    # other weights are rows of their own, whatever their unit
    part = held_out(rows, weights * 0.37, 0.3)
    assert set(np.round(part / 0.37, 9)) <= set(weights) | {0}


def test_the_share_is_held_out_of_heavy_rows_too():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, size=(20, 2)).astype(float)
    weights = rng.integers(20, 100, 20)
    of_weight = held_out(rows, weights.astype(float), 0.3)
    assert of_weight.sum() == pytest.approx(0.3 * weights.sum(), rel=0.1)
    each = held_out(np.repeat(rows, weights, 0), np.ones(weights.sum()), 0.3)
    assert of_weight.sum() == each.sum()


def test_p_values_of_rows_with_many_zeros_are_valid():
    rng = np.random.default_rng(0)
    levels, found = np.array([0.05, 0.1, 0.2]), []
    for _ in range(20):
        rows = rng.normal(size=(400, 3)) * (rng.random((400, 1)) > 0.3)
        model = make("net", calibration_fraction=0.3).fit(rows[:200])
        found.append((model.p_values(rows[200:])[:, None] <= levels).mean(0))
    assert (np.mean(found, 0) <= levels + 0.02).all()


@every
def test_held_out_rows_cannot_move_the_networks(name):
    model = make(name, calibration_fraction=0.3).fit(X)
    out = some_of(X, 0.3)
    assert 10 < out.sum() < 50
    kept = make(name).fit(X[~out])
    assert_allclose(model.score_samples(X), kept.score_samples(X), rtol=1e-9)
    assert not model.sample_weight_[out].any() and n_flagged(model) == 10
    assert_array_equal(some_of(X[::-1], 0.3)[::-1], out)
    assert not some_of(X.astype(np.float32), 0).any()


@every
def test_p_values_fall_with_the_score(name):
    model = make(name, calibration_fraction=0.3).fit(X)
    rows = np.random.default_rng(2).normal(size=(200, 3)) * 2
    scores, p = model.score_samples(rows), model.p_values(rows)
    m = some_of(X, 0.3).sum()
    assert (np.diff(p[np.argsort(scores)]) >= 0).all()
    assert p.min() >= 1 / (m + 1) and p.max() <= 1
    assert model.p_values([[50.0, -50.0, 50.0]]) == pytest.approx(1 / (m + 1))


def test_p_values_of_normal_rows_are_not_too_small():
    rng = np.random.default_rng(0)
    levels, found = np.array([0.05, 0.1, 0.2]), []
    for _ in range(25):
        rows = rng.standard_t(5, size=(300, 3))
        model = make("net", calibration_fraction=0.4, random_state=0).fit(rows[:100])
        found.append((model.p_values(rows[100:])[:, None] <= levels).mean(0))
    assert (np.mean(found, 0) <= levels + 0.01).all()
    assert (np.mean(found, 0) >= levels - 0.05).all()


def test_outliers_among_the_calibration_rows_cost_power_not_validity():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(2000, 1))[:, 0]
    known = np.r_[rng.normal(size=180), rng.normal(-8, 1, size=20)]
    p = conformal_p_values(normal, known, np.ones(200))
    assert (p <= 0.2).mean() < 0.2
    assert conformal_p_values(np.array([-6.0]), known, np.ones(200)) > 0.1
    weights = rng.integers(1, 4, 200)
    assert_allclose(
        conformal_p_values(normal, known, weights),
        conformal_p_values(normal, np.repeat(known, weights), np.ones(weights.sum())),
    )


def test_thresholds_of_the_lowest_numbers_are_finite():
    lowest = -np.finfo(float).max
    for scores in (np.full(10, lowest), np.linspace(lowest, lowest / 2, 10)):
        for contamination in (0.0, 0.2):
            assert np.isfinite(threshold(scores, np.ones(10), contamination))
        assert np.isfinite(automatic_threshold(scores, np.ones(10)))


# -- early stopping, thresholds by hand, serving -------------------------------------


def rows_of(n):
    return np.random.default_rng(0).normal(size=(n, 3)) @ np.diag([1.0, 2.0, 0.1])


def test_detectors_stop_early_and_keep_the_best_weights():
    X = rows_of(80)
    many = SMALL | {"max_iter": 30, "learning_rate_init": 0.02, "n_iter_no_change": 3}
    model = skrobust.NetOutlierDetector(early_stopping=True, **many).fit(X)
    assert model.n_iter_ == len(model.validation_scores_)
    held = model.sample_weight_ == 0
    assert held.sum() == 8
    low, high = np.sort(model.score_samples(X)[held])[[3, 4]]
    assert 1.01 * low <= model.best_validation_score_ <= 0.99 * high
    given = skrobust.NetOutlierDetector(**many).fit(X, X_val=rows_of(20) + 0.1)
    assert len(given.validation_scores_) == given.n_iter_
    assert (given.sample_weight_ > 0).all()
    with pytest.raises(ValueError, match="3 features"):
        skrobust.NetOutlierDetector(**many).fit(X, X_val=X[:, :2])


def test_outliers_among_validation_rows_do_not_move_their_score():
    X, X_val = rows_of(80), rows_of(20)
    wild = X_val.copy()
    wild[:5] = 1e6
    scores = [
        skrobust.NetOutlierDetector(**SMALL).fit(X, X_val=v).validation_scores_[-1]
        for v in (X_val, wild)
    ]
    assert abs(scores[1]) < 3 * abs(scores[0])


@pytest.mark.parametrize("name", DETECTORS)
def test_no_contamination_flags_no_training_row(name):
    X = rows_of(80)
    model = clone(DETECTORS[name]).set_params(contamination=None).fit(X)
    assert (model.predict(X) == 1).all()
    offset = model.offset_
    assert model.set_contamination(0.1).offset_ > offset
    assert model.set_contamination(None).offset_ == offset


@pytest.mark.parametrize("name", DETECTORS)
def test_an_offset_can_be_set_by_hand(name):
    X = rows_of(80)
    model = clone(DETECTORS[name]).fit(X)
    scores = model.score_samples(X)
    middle = np.sort(scores)[[39, 40]].mean()
    assert (model.set_offset(middle).predict(X) == -1).sum() == 40
    for bad in (np.nan, np.inf, "auto", None):
        with pytest.raises(ValueError, match="'offset' parameter"):
            model.set_offset(bad)


def test_a_detector_explains_and_serves_its_scores():
    X = rows_of(80)
    X[0, 2] = 50.0
    model = skrobust.NetOutlierDetector(n_networks=2, **SMALL).fit(X)
    features, scores = model.feature_scores(X), model.score_samples(X)
    assert_allclose(features.mean(1), -scores)
    assert features[0].argmax() == 2
    served = model.to_module()(torch.as_tensor(X)).detach().numpy()
    assert_allclose(served, scores, rtol=1e-4)
    density = skrobust.NetOutlierDetector(
        criterion="negative_log_likelihood", network=torch.nn.Linear
    )
    assert not hasattr(density, "feature_scores")
    assert not hasattr(density, "to_module")
    assert not hasattr(skrobust.NetOutlierDetector(criterion="?"), "to_module")
