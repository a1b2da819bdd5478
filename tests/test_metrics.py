"""Laws of the robust scores and scorers."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_digits, make_classification, make_regression
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
)
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrobust import NetClassifier, NetRegressor, PRLClassifier, metrics
from skrobust.corruption import symmetric
from skrobust.metrics import (
    ROBUST_SCORERS,
    get_robust_scorer,
    make_robust_scorer,
    median_of_means,
    trimmed_mean,
)

inf = np.inf
AGGREGATES = [
    pytest.param(trimmed_mean, {}, id="trim"),
    pytest.param(trimmed_mean, {"trim": 0.37}, id="trim37"),
    pytest.param(median_of_means, {}, id="mom"),
    pytest.param(median_of_means, {"n_blocks": 5}, id="mom5"),
    pytest.param(median_of_means, {"n_blocks": 8, "random_state": 3}, id="mom8"),
]
aggregates = pytest.mark.parametrize("aggregate, settings", AGGREGATES)
LOSSES = {
    "accuracy_score": accuracy_score,
    "log_loss": log_loss,
    "squared_error": mean_squared_error,
    "absolute_error": mean_absolute_error,
}


def samples():
    """Values of several shapes: distinct, tied, of two kinds, heavy-tailed."""
    rng = np.random.RandomState(0)
    return {
        "normal": rng.normal(size=60),
        "tied": rng.randint(0, 5, size=60).astype(float),
        "zero-one": (rng.uniform(size=60) < 0.3).astype(float),
        "heavy": rng.standard_cauchy(size=61) ** 2,
    }


values = pytest.mark.parametrize("x", samples().values(), ids=samples())


# Laws of both aggregates.


@aggregates
@values
def test_order_of_rows_does_not_matter(aggregate, settings, x):
    weight = np.random.RandomState(1).uniform(size=len(x))
    order = np.random.RandomState(2).permutation(len(x))
    assert aggregate(x[order], **settings) == pytest.approx(aggregate(x, **settings))
    shuffled = aggregate(x[order], sample_weight=weight[order], **settings)
    assert shuffled == pytest.approx(aggregate(x, sample_weight=weight, **settings))


@aggregates
@values
def test_integer_weights_are_repetition(aggregate, settings, x):
    weight = np.random.RandomState(1).randint(0, 5, size=len(x))
    weighted = aggregate(x, sample_weight=weight, **settings)
    assert weighted == pytest.approx(aggregate(np.repeat(x, weight), **settings))


@aggregates
@values
def test_equal_weights_are_none(aggregate, settings, x):
    plain = aggregate(x, **settings)
    for weight in (1, 0.1, 1 / 3, 1e-12):
        weights = np.full(len(x), weight)
        assert aggregate(x, sample_weight=weights, **settings) == pytest.approx(plain)


@aggregates
@values
def test_rows_of_weight_zero_are_absent(aggregate, settings, x):
    weight = np.r_[np.full(len(x), 0.5), 0, 0]
    padded = np.r_[x, inf, -1e9]
    result = aggregate(padded, sample_weight=weight, **settings)
    assert result == pytest.approx(aggregate(x, **settings))


@aggregates
@values
def test_scale_and_shift_go_through(aggregate, settings, x):
    moved = aggregate(3 * x - 7, **settings)
    assert moved == pytest.approx(3 * aggregate(x, **settings) - 7)


@aggregates
@values
def test_no_value_may_rise_and_the_result_fall(aggregate, settings, x):
    rng = np.random.RandomState(3)
    before = aggregate(x, **settings)
    for _ in range(30):
        risen = x + rng.exponential(size=len(x)) * (rng.uniform(size=len(x)) < 0.2)
        assert aggregate(risen, **settings) >= before - 1e-12


@aggregates
@pytest.mark.parametrize("bad", [inf, -inf, np.nan, 1e300])
def test_gross_values_do_not_carry_it_away(aggregate, settings, bad):
    x = np.random.RandomState(0).uniform(size=60)
    n_bad = 2 if settings.get("n_blocks") else 12
    x[:n_bad] = bad
    assert 0 <= aggregate(x, **settings) <= 1


@aggregates
def test_too_many_non_finite_values_give_inf_and_never_nan(aggregate, settings):
    x = np.r_[np.full(45, np.nan), np.zeros(15)]
    assert aggregate(x, **settings) == inf
    assert aggregate([np.nan] * 9, **settings) == inf


@aggregates
def test_bad_weights(aggregate, settings):
    x = np.arange(10.0)
    with pytest.raises(ValueError, match="weights.*zero"):
        aggregate(x, sample_weight=np.zeros(10), **settings)
    with pytest.raises(ValueError, match="[Nn]egative"):
        aggregate(x, sample_weight=-np.ones(10), **settings)
    with pytest.raises(ValueError, match="NaN"):
        aggregate(x, sample_weight=np.full(10, np.nan), **settings)
    with pytest.raises(ValueError, match="inconsistent"):
        aggregate(x, sample_weight=np.ones(9), **settings)
    with pytest.raises(ValueError, match="0 sample"):
        aggregate([], **settings)


@aggregates
@pytest.mark.parametrize("one, other", [(2.0**1023, 2.0**900), (2.0**-1010, 2.0**-90)])
def test_weights_may_be_as_large_or_small_as_numbers_get(
    aggregate, settings, one, other
):
    weight = np.random.RandomState(1).uniform(0.1, 1, size=60)
    x = samples()["normal"]
    first, second = (
        aggregate(x, sample_weight=weight * unit, **settings) for unit in (one, other)
    )
    assert first == second


# Laws of each.


@values
def test_no_trimming_and_one_block_are_the_mean(x):
    weight = np.random.RandomState(1).uniform(size=len(x))
    for sample_weight in (None, weight):
        mean = np.average(x, weights=sample_weight)
        assert trimmed_mean(x, 0, sample_weight) == pytest.approx(mean)
        assert median_of_means(x, 1, sample_weight) == pytest.approx(mean)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 100, 999])
@pytest.mark.parametrize("n_dropped", [0, 1, 2, 5])
def test_trimming_whole_rows_leaves_no_trace_of_them(n, n_dropped):
    n_dropped = min(n_dropped, n - 1)
    x = np.random.RandomState(n).permutation(np.r_[np.ones(n - n_dropped), [inf] * 5])
    x = np.r_[np.ones(n - n_dropped), np.full(n_dropped, inf)]
    assert trimmed_mean(x, n_dropped / n) == 1
    weight = np.full(n, 0.1)
    assert trimmed_mean(x, n_dropped / n, weight) == 1


def test_the_row_on_the_border_is_kept_in_part():
    # Of weight 3, 1.2 is dropped: all of the 9 and a fifth of the 5.
    assert trimmed_mean([5, 9, 1], 0.4) == pytest.approx((1 + 0.8 * 5) / 1.8)
    assert trimmed_mean([5, 1], 0.75, [1, 3]) == 1
    assert trimmed_mean([3, 1, 2], np.nextafter(1, 0)) == 1


@pytest.mark.parametrize("trim", [-0.1, 1, 2, np.nan, "0.1", None, True])
def test_bad_trim(trim):
    with pytest.raises(ValueError, match="'trim' parameter"):
        trimmed_mean([1.0, 2.0], trim)


def test_blocks_of_one_row_are_the_median():
    x = np.random.RandomState(0).normal(size=31)
    assert median_of_means(x, 31) == np.median(x)
    assert median_of_means(x[:30], 30) == np.median(x[:30])


@pytest.mark.parametrize("n, n_blocks", [(20, 7), (31, 15), (64, 64), (100, 3)])
@pytest.mark.parametrize("kind", ["none", "integer", "real"])
def test_fewer_gross_rows_than_half_the_blocks_are_withstood(n, n_blocks, kind):
    n_bad = (n_blocks - 1) // 2
    for seed in range(10):
        rng = np.random.RandomState(seed)
        x = rng.uniform(size=n)
        x[:n_bad] = inf
        # Real weights: a gross row of weight up to the mean one is a single piece.
        weight = {
            "none": None,
            "integer": np.r_[np.ones(n_bad), rng.randint(1, 4, n - n_bad)],
            "real": np.r_[np.full(n_bad, 0.3), rng.uniform(0.4, 1, n - n_bad)],
        }[kind]
        if kind == "real" and n_bad * 0.3 > n_bad * weight.mean():
            continue
        assert median_of_means(x, n_blocks, weight, seed) <= 1


@pytest.mark.parametrize("n_blocks", [3, 10, 20])
def test_blocks_of_tied_values_are_exchangeable(n_blocks):
    # A tenth of wrong labels: hardly a block holds nothing else, whatever the seed.
    wrong = np.r_[np.ones(50), np.zeros(450)]
    rows = 500 / n_blocks
    for seed in range(20):
        share = median_of_means(wrong, n_blocks, random_state=seed)
        assert abs(share - 0.1) < 3 * np.sqrt(0.09 / rows)
    means = [median_of_means(wrong, n_blocks, random_state=s) for s in range(100)]
    assert len(set(means)) > 1


def test_blocks_deviate_as_those_of_random_rows_do():
    x = np.random.RandomState(0).exponential(size=90)
    ours = [median_of_means(x, 9, random_state=s) for s in range(500)]
    rng = np.random.RandomState(1)
    rows = [np.median(rng.permutation(x).reshape(9, 10).mean(1)) for _ in range(500)]
    assert np.mean(ours) == pytest.approx(np.mean(rows), abs=0.02)
    assert np.std(ours) == pytest.approx(np.std(rows), rel=0.2)


def test_huge_integer_weights_cost_no_memory():
    weight = np.array([1e15, 2e15, 1e15])
    assert median_of_means([1.0, 2.0, 3.0], 101, weight) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("n_blocks", [0, -1, 11, 2.0, "3"])
def test_bad_blocks(n_blocks):
    with pytest.raises(ValueError, match=r"'n_blocks' parameter.*\[1, 10\]"):
        median_of_means(np.arange(10.0), n_blocks)


def test_the_seed_leaves_the_global_one_alone():
    state = np.random.get_state()[1].copy()
    median_of_means(np.arange(10.0), 3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


# Score functions.


def predictions(kind, n=200):
    rng = np.random.RandomState(0)
    if kind == "accuracy_score":
        y = np.array(["a", "b", "c"])[rng.randint(3, size=n)]
        return y, np.where(rng.uniform(size=n) < 0.4, "a", y)
    if kind == "log_loss":
        return np.arange(n) % 3, rng.dirichlet(np.ones(3), size=n)
    return rng.normal(size=(n, 2)), rng.normal(size=(n, 2))


def score_function(aggregate, kind):
    return getattr(metrics, f"{aggregate}_{kind}")


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize(
    "aggregate, mean", [("trimmed", {"trim": 0}), ("median_of_means", {"n_blocks": 1})]
)
def test_without_robustness_the_scores_are_scikit_learns(kind, aggregate, mean):
    y, prediction = predictions(kind)
    weight = np.random.RandomState(1).uniform(size=len(y))
    ours = score_function(aggregate, kind)
    for sample_weight in (None, weight):
        expected = LOSSES[kind](y, prediction, sample_weight=sample_weight)
        result = ours(y, prediction, sample_weight=sample_weight, **mean)
        assert isinstance(result, float)
        assert result == pytest.approx(expected)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("aggregate", ["trimmed", "median_of_means"])
def test_score_functions_are_public_documented_and_picklable(kind, aggregate):
    score = score_function(aggregate, kind)
    assert score.__name__ in metrics.__all__
    assert pickle.loads(pickle.dumps(score)) is score
    for word in ("Parameters", "sample_weight", "Returns", "Examples", "Raises"):
        assert word in score.__doc__
    assert "{" not in score.__doc__
    assert "sample_weight" in inspect.signature(score).parameters
    y, prediction = predictions(kind)
    with pytest.raises(TypeError, match="nonsense"):
        score(y, prediction, nonsense=1)


@pytest.mark.parametrize("aggregate", ["trimmed", "median_of_means"])
@pytest.mark.parametrize("kind", ["squared_error", "absolute_error"])
def test_regression_scores(aggregate, kind):
    score = score_function(aggregate, kind)
    y, prediction = predictions(kind)
    one, column = y[:, 0], prediction[:, :1]
    # A column is a vector: nothing is broadcast to a square.
    assert score(one, column) == score(one, column.ravel()) == score(y[:, :1], column)
    spoilt = prediction.copy()
    spoilt[:30] = [[inf, 0], [inf, -inf], [1e200, 0]] * 10
    assert score(y, spoilt) < 10
    with pytest.raises(ValueError, match="number of output"):
        score(y, column)
    with pytest.raises(ValueError, match="infinity"):
        score(spoilt, y)
    with pytest.raises(ValueError, match="inconsistent"):
        score(y[1:], prediction)


def test_an_output_counts_within_its_row():
    y, prediction = np.zeros((5, 2)), np.array([[0, 2.0]] * 4 + [[9, 9]])
    assert metrics.trimmed_absolute_error(y, prediction) == 1
    assert metrics.trimmed_squared_error(y, prediction) == 2


@pytest.mark.parametrize("aggregate", ["trimmed", "median_of_means"])
def test_log_loss_of_two_classes(aggregate):
    score = score_function(aggregate, "log_loss")
    y = np.array(["no", "yes", "yes", "no", "no", "yes"])
    proba = np.array([0.1, 0.7, 0.9, 0.4, 0.2, 0.6])
    both = np.c_[1 - proba, proba]
    assert score(y, proba) == score(y, both) == score(y, proba[:, None])
    reverse = score(y, both[:, ::-1], labels=["yes", "no"])
    assert reverse == pytest.approx(score(y, both))


def test_log_loss_is_clipped_and_copes_with_labels_nobody_has_seen():
    sure = np.array([[1, 0], [0, 1]], dtype=np.float32)
    score = metrics.trimmed_log_loss
    assert score([0, 1], sure, trim=0) == 0
    worst = score([1, 0], sure, trim=0)
    assert worst == pytest.approx(-np.log(np.finfo(np.float32).eps))
    assert worst < score([1, 0], sure.astype(float), trim=0) < 37
    # A fold with one class, and one with a class that training had not.
    assert score([0, 0], sure, trim=0, labels=[0, 1]) == pytest.approx(worst / 2)
    unseen = score([0, 5], sure, trim=0, labels=[0, 1])
    assert unseen == pytest.approx(worst / 2)


def test_log_loss_of_bad_input():
    score = metrics.trimmed_log_loss
    y, proba = predictions("log_loss")
    with pytest.raises(ValueError, match="3 columns and there are 2 labels"):
        score(y, proba, labels=[0, 1])
    with pytest.raises(ValueError, match="none of the labels"):
        score(y, proba, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"outside the range \[0, 1\]"):
        score(y, proba * 3)
    with pytest.raises(ValueError, match="inconsistent"):
        score(y[1:], proba)
    spoilt = proba.copy()
    spoilt[:10] = np.nan
    with pytest.raises(ValueError, match="y_proba contains NaN"):
        score(y, spoilt)


def test_accuracy_of_indicators_and_of_bad_input():
    score = metrics.trimmed_accuracy_score
    y = np.array([[1, 0], [0, 1], [1, 1]])
    assert score(y, [[1, 0], [1, 1], [1, 1]], trim=0) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="Mix of label input types"):
        score([0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="Unknown label type"):
        score([0.5, 1.2], [0.5, 1.3])
    with pytest.raises(ValueError, match="inconsistent"):
        score([0, 1], [0, 1, 1])


def test_a_default_number_of_blocks_fits_any_number_of_rows():
    score = metrics.median_of_means_accuracy_score
    for n in range(1, 8):
        y = np.arange(n) % 2
        wrong = np.r_[1 - y[:1], y[1:]]
        assert score(y, y) == 1
        assert score(y, wrong) == score(y, wrong, n_blocks=min(n, 5))
    # Rows count as n_blocks counts them: without weight not at all, by integers often.
    y, wrong = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 1, 1, 0])
    for weight, n_rows in (([0.5, 0.5, 0, 0.5, 0], 3), ([2, 0, 0, 2, 0], 4)):
        expected = score(y, wrong, sample_weight=weight, n_blocks=n_rows)
        assert score(y, wrong, sample_weight=weight) == expected
        with pytest.raises(ValueError, match="'n_blocks' parameter"):
            score(y, wrong, sample_weight=weight, n_blocks=n_rows + 1)
    with pytest.raises(ValueError, match=r"'n_blocks' parameter.*\[1, 4\]"):
        score([0, 1, 1, 0], [0, 1, 1, 0], n_blocks=5)


# Scorers.

X_CLASS, Y_CLASS = make_classification(120, 5, random_state=0)
X_REG, Y_REG = make_regression(120, 5, noise=10.0, random_state=0)


def problem(name):
    if "error" in name:
        return Ridge(), X_REG, Y_REG
    return LogisticRegression(), X_CLASS, Y_CLASS


@pytest.mark.parametrize("name", ROBUST_SCORERS)
def test_named_scorers_prefer_the_better_model(name):
    model, X, y = problem(name)
    dummy = DummyRegressor() if "error" in name else DummyClassifier(strategy="prior")
    scorer = get_robust_scorer(name)
    assert scorer(model.fit(X, y), X, y) > scorer(dummy.fit(X, y), X, y)


@pytest.mark.parametrize("name", ROBUST_SCORERS)
def test_scorers_are_score_functions_with_a_sign(name):
    model, X, y = problem(name)
    model.fit(X, y)
    weight = np.random.RandomState(0).uniform(size=len(y))
    function = getattr(metrics, name.removeprefix("neg_"), None)
    function = function or getattr(metrics, name + "_score")
    output = model.predict_proba(X) if "log_loss" in name else model.predict(X)
    sign = -1 if name.startswith("neg_") else 1
    scorer = get_robust_scorer(name)
    assert scorer(model, X, y) == sign * function(y, output)
    weighted = scorer(model, X, y, sample_weight=weight)
    assert weighted == sign * function(y, output, sample_weight=weight)


@pytest.mark.parametrize("name", ROBUST_SCORERS)
def test_scorers_survive_pickling_and_come_as_copies(name):
    model, X, y = problem(name)
    model.fit(X, y)
    scorer = get_robust_scorer(name)
    assert scorer is not ROBUST_SCORERS[name]
    again = pickle.loads(pickle.dumps(scorer))
    assert again(model, X, y) == scorer(model, X, y)
    assert "score" in repr(scorer) or "loss" in repr(scorer) or "error" in repr(scorer)


def test_accuracies_that_differ_score_differently():
    """One deal of five blocks has few medians, which jump."""
    n = 300
    scores = np.array(
        [
            metrics.median_of_means_accuracy_score(np.ones(n), np.arange(n) >= wrong)
            for wrong in range(0, n, 3)
        ]
    )
    assert (np.diff(scores) < 0).all()
    np.testing.assert_allclose(scores, 1 - np.arange(0, n, 3) / n, atol=0.02)


@pytest.mark.parametrize("callbacks", [False, True])
def test_a_search_finds_the_share_of_wrong_labels(callbacks, capsys):
    X, y = load_digits(return_X_y=True)
    X, y = X[:900], y[:900]
    wrong, _ = symmetric(y, 0.2, random_state=0)
    net = PRLClassifier(max_iter=40, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), net),
        {"prlclassifier__epsilon": [0.0, 0.1, 0.2, 0.3, 0.4]},
        scoring=make_robust_scorer(),
        cv=3,
        n_jobs=2,
    )
    if callbacks:
        pytest.importorskip("rich")
        progress = pytest.importorskip("sklearn.callback")
        search.set_callbacks(progress.ProgressBar())
    search.fit(X, wrong)
    assert abs(search.best_params_["prlclassifier__epsilon"] - 0.2) < 0.11
    assert search.best_estimator_.score(X, y) > 0.9
    assert callbacks == ("GridSearchCV" in capsys.readouterr().out)


@pytest.mark.parametrize("name", ["neg_trimmed_log_loss", "neg_trimmed_squared_error"])
def test_grid_search_in_two_processes(name):
    model, X, y = problem(name)
    grid = {"C" if "log" in name else "alpha": [1e-6, 1.0, 100.0]}
    scores = [
        GridSearchCV(model, grid, scoring=get_robust_scorer(name), n_jobs=n_jobs, cv=3)
        .fit(X, y)
        .cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    ]
    assert np.isfinite(scores[0]).all() and len(set(scores[0])) > 1
    np.testing.assert_array_equal(scores[0], scores[1])


@pytest.mark.parametrize("aggregate", ["trimmed_mean", "median_of_means"])
def test_search_on_corrupted_folds_finds_what_clean_ones_would(aggregate):
    rng = np.random.RandomState(0)
    y = Y_REG.copy()
    y[rng.permutation(120)[:12]] = 1e6
    models = [("good", 1.0), ("bad", 300.0)]
    fitted = {name: Ridge(alpha=alpha).fit(X_REG, Y_REG) for name, alpha in models}
    scorer = make_robust_scorer("squared_error", aggregate)
    for fold in np.array_split(rng.permutation(120), 4):
        good, bad = (scorer(fitted[name], X_REG[fold], y[fold]) for name, _ in models)
        assert good > bad


@pytest.mark.parametrize("name", ROBUST_SCORERS)
def test_named_scorers_score_folds_of_few_rows(name):
    model, X, y = problem(name)
    folds = [(np.arange(120) >= n, np.arange(120) < n) for n in (1, 2, 3, 4)]
    scorer = get_robust_scorer(name)
    scores = cross_val_score(model, X, y, scoring=scorer, cv=folds, error_score="raise")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("aggregate", ["trimmed_mean", "median_of_means"])
def test_folds_that_lack_a_class(aggregate):
    # Sorted labels, unshuffled folds: every fold lacks classes, and the training
    # part of two folds lacks one that is tested.
    y = np.repeat(["a", "b", "c"], 20)
    X = np.random.RandomState(0).normal(size=(60, 2))
    folds = [(np.arange(60) % 20 < 15, np.arange(60) < 10), (y != "c", y != "a")]
    scorer = make_robust_scorer("log_loss", aggregate)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_score(model, X, y, scoring=scorer, cv=folds, error_score="raise")
    assert np.isfinite(scores).all()


def test_settings_reach_the_score():
    model = LogisticRegression().fit(X_CLASS, Y_CLASS)
    y = Y_CLASS.copy()
    y[:36] = 1 - y[:36]
    by_trim = [
        make_robust_scorer("log_loss", "trimmed_mean", trim=t)(model, X_CLASS, y)
        for t in (0, 0.1, 0.3, 0.5)
    ]
    assert (np.diff(by_trim) > 0).all()
    by_blocks = {
        make_robust_scorer("log_loss", "median_of_means", **settings)(model, X_CLASS, y)
        for settings in ({}, {"n_blocks": 5}, {"n_blocks": 5, "random_state": 1})
    }
    assert len(by_blocks) == 3
    with pytest.raises(ValueError, match="'trim' parameter"):
        make_robust_scorer("log_loss", "trimmed_mean", trim=1)(model, X_CLASS, y)


def test_unknown_names():
    with pytest.raises(ValueError, match="'loss' parameter.*'mse'"):
        make_robust_scorer("mse")
    with pytest.raises(ValueError, match="'aggregate' parameter.*'mean'"):
        make_robust_scorer("log_loss", "mean")
    with pytest.raises(ValueError, match="neg_trimmed_log_loss.*'accuracy'"):
        get_robust_scorer("accuracy")


def test_several_scorers_at_once():
    names = ["trimmed_accuracy", "neg_trimmed_log_loss", "neg_median_of_means_log_loss"]
    scoring = {name: get_robust_scorer(name) for name in names}
    result = cross_validate(LogisticRegression(), X_CLASS, Y_CLASS, scoring=scoring)
    for name in names:
        assert np.isfinite(result[f"test_{name}"]).all()


@pytest.mark.parametrize("name", ["neg_trimmed_log_loss", "trimmed_accuracy"])
def test_metadata_routing_brings_the_weights(name):
    # Weights that leave only the rows whose labels were turned.
    y = Y_CLASS.copy()
    turned = np.arange(120) % 4 == 0
    y[turned] = 1 - y[turned]
    weight = np.where(turned, 1.0, 1e-9)
    with sklearn.config_context(enable_metadata_routing=True):
        model = LogisticRegression().set_fit_request(sample_weight=False)
        scorer = get_robust_scorer(name)
        plain = cross_val_score(model, X_CLASS, y, scoring=scorer)
        scorer.set_score_request(sample_weight=True)
        weighted = cross_val_score(
            model, X_CLASS, y, scoring=scorer, params={"sample_weight": weight}
        )
    assert weighted.mean() < plain.mean() - 0.3


@pytest.mark.parametrize("name", ROBUST_SCORERS)
def test_scorers_are_taken_for_single_ones_by_callbacks(name):
    callback = pytest.importorskip("sklearn.callback")
    model = NetRegressor if "error" in name else NetClassifier
    monitor = callback.ScoringMonitor(scoring=get_robust_scorer(name))
    _, X, y = problem(name)
    model(max_iter=2, random_state=0).set_callbacks(monitor).fit(X, y)
    scores = [entry["score"] for entry in monitor.get_logs().data if "score" in entry]
    assert scores and np.isfinite(scores).all()


def test_a_search_passes_weights_without_routing():
    if sklearn.__version__ < "1.7":
        pytest.skip("scikit-learn passes weights to scorers from 1.7 on")
    weight = np.where(np.arange(120) % 2, 1.0, 1e-9)
    for scoring in (
        get_robust_scorer("neg_trimmed_log_loss"),
        {"neg_trimmed_log_loss": get_robust_scorer("neg_trimmed_log_loss")},
    ):
        search = GridSearchCV(
            LogisticRegression(), {"C": [1.0]}, scoring=scoring, refit=False, cv=3
        )
        key = [k for k in search.fit(X_CLASS, Y_CLASS).cv_results_ if "mean_test" in k]
        plain = search.cv_results_[key[0]]
        search.fit(X_CLASS, Y_CLASS, sample_weight=weight)
        assert search.cv_results_[key[0]] != plain


@pytest.mark.parametrize(
    "score", [metrics.trimmed_squared_error, metrics.median_of_means_absolute_error]
)
def test_predictions_that_are_no_numbers_are_refused(score):
    y = np.arange(20.0)
    with pytest.raises(ValueError, match="y_pred contains NaN"):
        score(y, np.where(y < 3, np.nan, y))
    assert score(y, np.where(y < 3, np.inf, y)) >= 0  # only a bad one


@pytest.mark.parametrize("aggregate", ["trimmed_mean", "median_of_means"])
def test_the_accuracy_goes_by_both_of_its_names(aggregate):
    X, y = make_classification(80, flip_y=0.3, random_state=0)
    model = LogisticRegression().fit(X, y)
    scores = [
        make_robust_scorer(loss, aggregate)(model, X, y)
        for loss in ("zero_one", "accuracy")
    ]
    assert scores[0] == scores[1] > 0


@pytest.mark.parametrize("bad", [None, 3, ["zero_one"], np.array(["zero_one", "b"])])
def test_names_that_are_no_names_are_refused_by_name(bad):
    for call, name in [
        (lambda: make_robust_scorer(bad), "loss"),
        (lambda: make_robust_scorer("zero_one", bad), "aggregate"),
        (lambda: get_robust_scorer(bad), "name"),
    ]:
        with pytest.raises(ValueError, match=f"The '{name}' parameter of"):
            call()
