"""What a user may rely on, for every estimator."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import random
import threading
import warnings
from functools import partial

import joblib
import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import check_is_fitted
from torch import nn

import skrobust
from skrobust import rules
from skrobust.criteria import (
    BootstrapCrossEntropy,
    CrossEntropy,
    GradientNorm,
    Huber,
    LossLayer,
    NegativeLogLikelihood,
    SquaredError,
)
from skrobust.rules import Exchange, Ramp, Trim, chain
from skrobust.steps import Mixup, Relabel, Reweight, ReweightByLabel, SmoothLabels

CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 6, "batch_size": 32, "random_state": 0}
N = 80


def data(n=N, seed=0):
    """Rows of three overlapping groups, their labels, and a number for each."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    X = rng.normal(size=(n, 4)) + 2.5 * np.eye(3, 4)[labels]
    return X, labels, X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * rng.normal(size=n)


X, LABELS, NUMBERS = data()
NAMES = np.array(["cat", "dog", "eel"])


def drop(n_features, n_outputs):
    """A user's own network, with dropout from torch's global generator."""
    return nn.Sequential(
        nn.Linear(n_features, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, n_outputs)
    )


TRIM = (Reweight(Trim(0.2)),)
ESTIMATORS = {
    "classifier": skrobust.NetClassifier(**SMALL),
    "classifier with everything": skrobust.NetClassifier(
        (Reweight(chain(Trim(0.2), Exchange())), Mixup()),
        criterion=BootstrapCrossEntropy(0.2, hard=True),
        n_networks=2,
        **{**SMALL, "dropout": 0.2, "solver": "sgd", "clip_norm": 1.0},
    ),
    "classifier with own network": skrobust.NetClassifier(TRIM, network=drop, **SMALL),
    "regressor": skrobust.NetRegressor(**SMALL),
    "regressor with steps": skrobust.NetRegressor(
        (Reweight(Trim(0.2), GradientNorm(SquaredError())),),
        n_networks=2,
        **{**SMALL, "dropout": 0.2, "learning_rate": "cosine", "weight_decay": 0.1},
    ),
    "regressor with own network": skrobust.NetRegressor(TRIM, network=drop, **SMALL),
    "detector": skrobust.NetOutlierDetector(**SMALL),
    "detector with steps": skrobust.NetOutlierDetector(TRIM, n_networks=2, **SMALL),
    "detector with own network": skrobust.NetOutlierDetector(network=drop, **SMALL),
    "PRL classifier": skrobust.PRLClassifier(**SMALL),
    "Co-PRL classifier": skrobust.PRLClassifier(
        score="gradient", co_training=True, ramp=2, early_stopping=True, **SMALL
    ),
    "PRL regressor": skrobust.PRLRegressor(**SMALL),
    "Co-PRL regressor": skrobust.PRLRegressor(
        score="gradient", co_training=True, ramp=2, early_stopping=True, **SMALL
    ),
    "MoM classifier": skrobust.MoMClassifier(**SMALL),
    "MoM classifier of two": skrobust.MoMClassifier(selection="increment", **SMALL),
    "MoM regressor": skrobust.MoMRegressor(n_central=0.2, **SMALL),
    "MoM regressor of two": skrobust.MoMRegressor(
        selection="increment", **{**SMALL, "dropout": 0.2, "solver": "sgd"}
    ),
    "MoM regressor with own network": skrobust.MoMRegressor(
        selection="increment", network=drop, **SMALL
    ),
}
every = pytest.mark.parametrize("name", ESTIMATORS)


def make(name, **params):
    return clone(ESTIMATORS[name]).set_params(**params)


def target(model, n=N):
    """A target of the kind the estimator learns."""
    kind = type(model).__name__
    _, labels, numbers = data(n)
    return NAMES[labels] if "Classifier" in kind else numbers


def outputs(model, rows=X):
    """All that a fitted model says."""
    if hasattr(model, "predict_proba"):
        said = model.predict_proba(rows)
    elif hasattr(model, "score_samples"):
        said = model.score_samples(rows)
    else:
        said = model.predict(rows)
    return said


def parameters(model):
    return model._stack.theta.numpy()


def same_bits(first, second):
    assert_array_equal(outputs(first), outputs(second))
    assert_array_equal(first.sample_weight_, second.sample_weight_)
    assert first.loss_curve_ == second.loss_curve_
    assert first.n_iter_ == second.n_iter_


# -- same seed, same bits --------------------------------------------------------


@every
def test_the_same_seed_gives_the_same_bits(name):
    y = target(make(name))
    first, second = make(name).fit(X, y), make(name).fit(X, y)
    same_bits(first, second)
    same_bits(second.fit(X, y), first)  # and again on the same object
    other = make(name, random_state=1).fit(X, y)
    assert not np.array_equal(outputs(first), outputs(other))


def fit_and_say(model, y):
    return outputs(model.fit(X, y))


@every
def test_threads_do_not_change_a_bit(name):
    y = target(make(name))
    alone = outputs(make(name).fit(X, y))
    told = joblib.Parallel(4, backend="threading")(
        joblib.delayed(fit_and_say)(make(name), y) for _ in range(6)
    )
    for said in told:
        assert_array_equal(said, alone)


def test_processes_do_not_change_a_bit():
    names = list(ESTIMATORS)
    alone = [fit_and_say(make(name), target(make(name))) for name in names]
    told = joblib.Parallel(2)(
        joblib.delayed(fit_and_say)(make(name), target(make(name))) for name in names
    )
    for said, expected in zip(told, alone, strict=True):
        assert_array_equal(said, expected)


def dumped(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def stored(model):
    io_ = pytest.importorskip("skops.io")
    stored = io_.dumps(model)
    return io_.loads(stored, trusted=io_.get_untrusted_types(data=stored))


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": dumped,
    "skops": stored,
    "deepcopy": copy.deepcopy,
}
# a function in a test module and a tuple of steps are no business of skops
PLAIN = [
    n for n in ESTIMATORS if "steps" not in n and "thing" not in n and "own" not in n
]


@every
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_says_and_learns_the_same(name, way):
    if way == "skops" and name not in PLAIN:
        pytest.skip("skops stores no functions")
    y = target(make(name))
    model = make(name).fit(X, y)
    before = outputs(model)
    twin = COPIES[way](model)
    same_bits(twin, model)
    if hasattr(model, "offset_"):
        assert twin.offset_ == model.offset_
    # both go on to learn the same, and neither touches the other
    twin.partial_fit(X, y)
    assert_array_equal(outputs(model), before)
    model.partial_fit(X, y)
    assert_array_equal(outputs(twin), outputs(model))
    same_bits(twin.fit(X, y), model.fit(X, y))


@every
def test_an_unfitted_model_is_copied_too(name):
    y = target(make(name))
    twin = pickle.loads(pickle.dumps(make(name)))
    with pytest.raises(NotFittedError):
        check_is_fitted(twin)
    same_bits(twin.fit(X, y), make(name).fit(X, y))


AFTERWARDS = [
    ("classifier", {"activation": "tanh"}),
    ("classifier", {"hidden_layer_sizes": (3, 3)}),
    ("classifier", {"n_networks": 3}),
    ("classifier", {"network": drop}),
    ("PRL regressor", {"co_training": True}),
    ("regressor with own network", {"network": None}),
    ("detector", {"criterion": "absolute_error"}),
    ("detector", {"code_size": 2}),
    ("detector", {"contamination": 0.5}),
    ("regressor", {"standardize": False}),
]


@pytest.mark.parametrize(
    "name, params", AFTERWARDS, ids=[f"{name} {list(p)[0]}" for name, p in AFTERWARDS]
)
def test_parameters_set_after_a_fit_wait_for_the_next(name, params):
    """Neither the model nor its copies change before they are fitted again."""
    model = make(name)
    model.fit(X, target(model))
    said, classes = outputs(model), model.predict(X)
    model.set_params(**params)
    for twin in (model, copy.deepcopy(model)):
        assert_array_equal(outputs(twin), said)
        assert_array_equal(twin.predict(X), classes)


def test_a_stored_model_holds_no_torch():
    model = make("Co-PRL classifier").fit(X, LABELS)
    assert b"torch" not in pickle.dumps(model)


@every
def test_no_global_generator_is_touched(name):
    y = target(make(name))
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate()
    model = make(name).fit(X, y)
    outputs(model)
    model.partial_fit(X, y)
    copy.deepcopy(model)
    assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert random.getstate() == before[2]
    assert torch.get_default_dtype() == torch.float32


# -- repetition is weight --------------------------------------------------------


@every
@pytest.mark.parametrize("batch_size", [500, 60])
def test_weight_is_repetition(name, batch_size):
    """Also with steps, two networks and own networks, beyond scikit-learn's check."""
    if name in (
        "classifier with everything",
        "regressor with steps",
        "MoM regressor of two",
    ):
        pytest.skip("draws something for each row")
    params = {"network": None} if "own network" in name else {}
    model = make(name, batch_size=batch_size, **params)
    y, times = target(model), np.random.default_rng(1).integers(0, 4, N)
    weighted = clone(model).fit(X, y, sample_weight=times)
    repeated = clone(model).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    assert_allclose(outputs(weighted), outputs(repeated), rtol=1e-8, atol=1e-10)
    assert weighted.sample_weight_.sum() == pytest.approx(repeated.sample_weight_.sum())
    if hasattr(model, "contamination"):
        assert weighted.offset_ == pytest.approx(repeated.offset_)


@pytest.mark.parametrize("name", ["classifier", "PRL regressor"])
@pytest.mark.parametrize(
    "params",
    [{"batch_size": 0.5, "dropout": 0.2}, {"batch_size": 500, "early_stopping": True}],
)
def test_weight_is_repetition_of_what_is_drawn(name, params):
    y, times = target(make(name), 300), np.random.default_rng(1).integers(1, 5, 300)
    rows = data(300)[0]
    model = make(name, **{"validation_fraction": 0.3, **params})
    weighted = clone(model).fit(rows, y, sample_weight=times)
    repeated = clone(model).fit(np.repeat(rows, times, axis=0), np.repeat(y, times))
    assert_allclose(outputs(weighted), outputs(repeated), rtol=1e-8, atol=1e-10)
    assert weighted.n_iter_ == repeated.n_iter_


@every
def test_a_row_without_weight_is_as_if_it_were_not_there(name):
    model = make(name)
    y, weights = target(model), np.ones(N)
    bad = X.copy()
    weights[::7], bad[::7] = 0, 1e6
    kept = weights > 0
    first = make(name).fit(bad, y, sample_weight=weights)
    second = make(name).fit(X[kept], y[kept])
    assert_array_equal(outputs(first), outputs(second))
    assert (first.sample_weight_[~kept] == 0).all()
    assert not first.inlier_mask_[~kept].any()


@pytest.mark.parametrize("name", ["classifier", "PRL classifier"])
def test_class_weight_is_a_weight_of_rows(name):
    y = LABELS
    by_class = make(name, class_weight={0: 1.0, 1: 3.0, 2: 0.5}).fit(X, y)
    by_row = make(name).fit(X, y, sample_weight=np.array([1.0, 3.0, 0.5])[y])
    assert_array_equal(outputs(by_class), outputs(by_row))
    heavy = make(name, class_weight={0: 1, 1: 50, 2: 1}, max_iter=40).fit(X, y)
    light = make(name, class_weight={0: 50, 1: 1, 2: 50}, max_iter=40).fit(X, y)
    assert (heavy.predict(X) == 1).sum() > (light.predict(X) == 1).sum()
    balanced = make(name, class_weight="balanced").fit(X[:-2], y[:-2])
    assert np.isfinite(outputs(balanced)).all()


@pytest.mark.parametrize(
    "kind",
    [
        skrobust.NetRegressor,
        skrobust.PRLRegressor,
        skrobust.PRLClassifier,
        skrobust.MoMRegressor,
        skrobust.MoMClassifier,
        skrobust.MRClassifier,
    ],
)
def test_automatic_batches_are_cut_by_weight(kind):
    """An epoch has as many steps whether rows are repeated or weighted."""
    rng = np.random.RandomState(0)
    X, times = rng.randn(400, 3), rng.randint(0, 3, 400)
    y, small = X[:, 0] ** 2, {"hidden_layer_sizes": (8,), "max_iter": 4}
    if "Classifier" in kind.__name__:
        y = np.where(y > 0.5, 1, 0)
    model = kind(random_state=0, **small).fit(X, y, sample_weight=times)
    repeated = kind(random_state=0, **small)
    repeated.fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    assert_allclose(model.predict(X), repeated.predict(X), rtol=1e-8)


def test_no_batch_gets_all_of_many_equal_rows():
    """Trimming takes its share of each: of a batch full of bad rows too little."""
    rows, ones = np.arange(500.0)[:, None], np.ones(500)
    net = skrobust.NetClassifier()
    assert net._batches(rows, rows, ones) == (256, None)
    assert net._batches(rows, rows, 2 * ones) == (125, 4)
    rows[:12] = 0.0
    assert net._batches(rows, rows, ones) == (250, 2)
    rows[:25] = 0.0
    assert net._batches(rows, rows, ones) == (256, None)


def test_automatic_batches_and_epochs():
    rows = np.arange(6000.0)[:, None]
    net, mom = skrobust.NetRegressor(), skrobust.MoMRegressor()
    for n, size, parts, epochs in [
        (20, 20, 1, 200),
        (100, 100, 1, 500),
        (200, 200, 1, 1000),
        (300, 150, 2, 500),
        (1000, 143, 7, 200),
        (2000, 200, 10, 200),
        (6000, 256, None, 200),
    ]:
        assert net._batches(rows[:n], rows[:n], np.ones(n)) == (size, parts)
        assert net._epochs(rows[:n], rows[:n], -(-n // size)) == epochs
        assert mom._batches(rows[:n], rows[:n], np.ones(n)) == (min(n, 256), None)
    same = np.tile(rows[:300], (10, 1))
    assert net._batches(same, same, np.ones(len(same))) == (1500, 2)
    assert net._epochs(same[:3000], same[:3000], 2) == 500
    few = np.tile(rows[:60], (2, 1))
    assert net._epochs(few, few, 1) == net._epochs(few[:60], few[:60], 1) == 300
    assert net.set_params(max_iter=7)._epochs(rows, rows, 24) == 7


# -- few rows, gross rows --------------------------------------------------------


@every
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33])
def test_few_rows_work_or_are_refused_in_scikit_learns_words(name, n):
    model = make(name)
    y = target(model, n)
    try:
        model.fit(data(n)[0], y)
    except ValueError as error:
        assert n < 3
        assert "class" in str(error) or "n_samples" in str(error)
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
    else:
        assert np.isfinite(outputs(model)).all()
        assert np.isfinite(parameters(model)).all()
        assert len(model.sample_weight_) == n


@every
@pytest.mark.parametrize("gross", [1e30, -1e30, 1e300])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gross_inputs_leave_finite_models(name, gross, standardize):
    y, bad = target(make(name)), X.copy()
    bad[:5, 1], bad[5] = gross, gross
    model = make(name, standardize=standardize).fit(bad, y)
    assert np.isfinite(parameters(model)).all()
    for rows in (X, bad, np.full((3, 4), gross)):
        assert np.isfinite(outputs(model, rows)).all()


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if "regressor" in n])
@pytest.mark.parametrize("gross", [1e30, 1e300, -1e300])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gross_targets_leave_finite_models(name, gross):
    y = NUMBERS.copy()
    y[:5] = gross
    model = make(name).fit(X, y)
    assert np.isfinite(parameters(model)).all()
    assert np.isfinite(model.predict(X)).all()
    every_one = make(name).fit(X, gross * NUMBERS / 10)
    assert np.isfinite(every_one.predict(X)).all()


def test_prl_shrugs_off_gross_targets_that_ruin_plain_training():
    X, _, y = data(300)
    bad, wrong = y.copy(), np.arange(300) % 10 == 0
    bad[wrong] = 1e6
    fast = {**SMALL, "max_iter": 150, "learning_rate_init": 0.02, "batch_size": 300}
    models = skrobust.PRLRegressor(ramp=0, **fast), skrobust.NetRegressor(**fast)
    errors = [np.median(np.abs(m.fit(X, bad).predict(X) - y)) for m in models]
    assert errors[0] < 1.0 < errors[1]


@pytest.mark.parametrize("score", ["loss_gradient", "gradient", "loss"])
@pytest.mark.parametrize("co_training", [False, True])
def test_planted_wrong_labels_are_found(score, co_training):
    X, y, _ = data(300)
    wrong = np.random.default_rng(0).random(300) < 0.15
    noisy = np.where(wrong, (y + 1) % 3, y)
    model = skrobust.PRLClassifier(
        0.2, score=score, co_training=co_training, max_iter=40, random_state=0
    ).fit(X, noisy)
    assert model.inlier_mask_[wrong].mean() < 0.2
    assert model.inlier_mask_[~wrong].mean() > 0.9
    assert model.sample_weight_.sum() == pytest.approx(0.8 * 300)
    assert (model.inlier_mask_ == (model.sample_weight_ > 0.5)).all()
    assert (model.predict(X) == y).mean() > 0.9


@every
def test_fitted_weights_lie_between_zero_and_the_prior(name):
    model = make(name)
    weights = np.random.default_rng(2).random(N) + 0.5
    model.fit(X, target(model), sample_weight=weights)
    assert model.sample_weight_.shape == model.inlier_mask_.shape == (N,)
    assert (model.sample_weight_ >= 0).all()
    assert (model.sample_weight_ <= weights + 1e-9).all()
    assert model.inlier_mask_.dtype == bool


# -- bad input -------------------------------------------------------------------


def wrong_outputs(n_features, n_outputs):
    return nn.Linear(n_features, n_outputs + 1)


BAD_PARAMETERS = [
    ("PRL", {"epsilon": 1.0}, r"'epsilon' parameter of PRL\w+ must be a float in"),
    ("PRL", {"epsilon": -0.1}, "'epsilon' parameter"),
    ("PRL", {"epsilon": "0.2"}, "'epsilon' parameter.*Got '0.2' instead"),
    ("PRL", {"epsilon": np.nan}, "'epsilon' parameter"),
    ("PRL", {"score": "logit"}, "'score' parameter.*must be a str among.*Got 'logit'"),
    ("PRL", {"score": None}, "'score' parameter"),
    ("PRL", {"ramp": -1}, "'ramp' parameter"),
    ("PRL", {"co_training": "yes"}, "'co_training' parameter"),
    ("", {"standardize": "no"}, "'standardize' .*must be an instance of 'bool'"),
    ("", {"warm_start": 1}, "'warm_start' parameter"),
    ("", {"nesterovs_momentum": None}, "'nesterovs_momentum' parameter"),
    ("", {"verbose": "x"}, "'verbose' parameter"),
    ("", {"verbose": -1}, "'verbose' parameter"),
    ("Regressor", {"early_stopping": "no"}, "'early_stopping' parameter"),
    ("Classifier", {"early_stopping": 0}, "'early_stopping' parameter"),
    ("", {"network": nn.Linear(4, 3)}, "'network' parameter.*must be a factory"),
    ("", {"network": "resnet"}, "'network' parameter"),
    ("", {"network": wrong_outputs}, "'network' must map.*It gave"),
    ("", {"device": "cuda:99"}, "'device' parameter"),
    ("", {"dtype": "float16"}, "'dtype' parameter"),
    ("", {"hidden_layer_sizes": (8, 0)}, "'hidden_layer_sizes' parameter"),
    ("", {"hidden_layer_sizes": np.array([8, 0])}, "'hidden_layer_sizes' parameter"),
    ("", {"hidden_layer_sizes": np.array([[8, 8]])}, "'hidden_layer_sizes' parameter"),
    ("", {"hidden_layer_sizes": np.array([8.5])}, "'hidden_layer_sizes' parameter"),
    ("", {"hidden_layer_sizes": "88"}, "'hidden_layer_sizes' parameter"),
    ("", {"activation": "swish"}, "'activation' parameter"),
    ("", {"solver": "lbfgs"}, "'solver' parameter"),
    ("", {"learning_rate_init": 0.0}, "'learning_rate_init' parameter"),
    ("", {"learning_rate": "steep"}, "'learning_rate' parameter"),
    ("", {"batch_size": 0}, "'batch_size' parameter"),
    ("", {"max_iter": 0}, "'max_iter' parameter"),
    ("", {"alpha": -1.0}, "'alpha' parameter"),
    ("", {"dropout": 1.0}, "'dropout' parameter"),
    ("", {"clip_norm": 0}, "'clip_norm' parameter"),
    (
        "PRL regressor",
        {"reach": 0.5},
        r"'reach' .* float in the range \[1, inf\)",
    ),
    ("PRL regressor", {"spare": -1}, r"'spare' .* float in the range \[0, inf\)"),
    ("", {"momentum": 1.0}, "'momentum' parameter"),
    ("Net", {"n_networks": 0}, "'n_networks' parameter"),
    ("Net", {"steps": (3,)}, "'steps' parameter"),
    ("Net", {"steps": Reweight(Trim(0.2))}, "'steps' .*must be a tuple of steps"),
    ("Net", {"steps": (Reweight,)}, "'steps' .*instances, not classes"),
    ("NetOutlier", {"code_size": 0}, "'code_size' .*an int in the range .1, inf"),
    ("NetOutlier", {"code_size": -1}, "'code_size' parameter"),
    ("NetOutlier", {"code_size": 2.5}, "'code_size' parameter"),
    ("Net", {"criterion": "mse"}, r"'criterion' parameter of Net\w+ must be a str am"),
    ("Net", {"criterion": SquaredError}, "'criterion' .*, a Loss or a callable. Got"),
    ("Net", {"criterion": None}, "'criterion' parameter"),
    ("Regressor", {"criterion": "cross_entropy"}, r"'criterion' parameter of \w+Regr"),
    ("Regressor", {"criterion": "negative_log_likelihood"}, "{'absolute_error', 'hub"),
    ("Regressor", {"criterion": "reconstruction_error"}, "'criterion' parameter"),
    ("NetClass", {"criterion": "negative_log_likelihood"}, "'criterion' parameter"),
    ("NetClass", {"criterion": "reconstruction_error"}, "'criterion' parameter"),
    ("NetOutlier", {"criterion": "squared_error"}, "'criterion' parameter"),
    ("NetOutlier", {"criterion": "cross_entropy"}, "'criterion' parameter"),
    ("NetOutlier", {"criterion": "negative_log_likelihood"}, "where 'network' is None"),
    ("NetOutlier", {"contamination": 0.6}, "'contamination' parameter"),
    ("Regressor", {"validation_fraction": 1.0}, "'validation_fraction' parameter"),
]
TYPES = ["classifier", "regressor", "detector", "PRL classifier", "PRL regressor"]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(
    "kind, params, words", BAD_PARAMETERS, ids=[str(b[1])[:40] for b in BAD_PARAMETERS]
)
def test_a_bad_parameter_is_refused_and_nothing_half_fitted(name, kind, params, words):
    model = make(name)
    if kind not in type(model).__name__:
        pytest.skip("not a parameter of this estimator")
    y = target(model)
    model.set_params(**params)
    before = set(vars(model))
    with pytest.raises(ValueError, match=words):
        model.fit(X, y)
    assert set(vars(model)) == before
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    # an earlier fit survives
    model = make(name).fit(X, y)
    good, said = model.get_params(), outputs(model)
    with pytest.raises(ValueError, match=words):
        model.set_params(**params).fit(X, y)
    assert_array_equal(outputs(model.set_params(**good)), said)


def meets(output, target):
    return (output - target).abs().sum(-1)


CRITERIA = {
    "classifier": ["cross_entropy", "squared_error", "absolute_error", "huber"],
    "regressor": ["squared_error", "absolute_error", "huber", Huber(2.0), meets],
    "PRL regressor": ["squared_error", "absolute_error", "huber", Huber(2.0), meets],
    "MoM regressor": ["squared_error", "absolute_error", "huber", Huber(2.0), meets],
}


@pytest.mark.parametrize("name", CRITERIA)
def test_every_loss_that_may_be_chosen_is_learned_by(name):
    y = target(make(name))
    for criterion in CRITERIA[name]:
        model = make(name, criterion=criterion, max_iter=40, learning_rate_init=0.02)
        assert model.fit(X, y).score(X, y) > 0.6


def test_regressors_of_every_kind_refuse_losses_of_something_else():
    for kind in (skrobust.MoMRegressor, skrobust.MRRegressor):
        with pytest.raises(ValueError, match=f"'criterion' .*of {kind.__name__} must"):
            kind(criterion="cross_entropy").fit(X, NUMBERS)


def test_detectors_take_densities_of_a_network_of_your_own():
    def density(n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, n_outputs), nn.LogSigmoid())

    for criterion in ("negative_log_likelihood", NegativeLogLikelihood()):
        model = make("detector", network=density, criterion=criterion).fit(X)
        assert model.n_outputs_ == 1 and np.isfinite(outputs(model)).all()


RULES = [Trim(0.2), chain(Trim(0.2), Exchange()), rules.Cap(1.0), rules.NearMedian()]
RULES += [rules.MultiplicativeWeights(0.1), rules.LossMixture(), rules.Ramp(0.2)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_rule_in_place_of_a_step_is_refused(rule):
    with pytest.raises(ValueError, match=r"'steps' .*rules as Reweight\(rule\)"):
        make("regressor", steps=(rule,)).fit(X, NUMBERS)


def test_a_step_may_be_any_callable():
    def taught(stack, batch, context):
        return batch

    class Step:
        def __call__(self, stack, batch, context, *more):
            return batch

    plain = make("regressor").fit(X, NUMBERS)
    loose = lambda *arguments: arguments[1]  # noqa: E731
    for step in (taught, Step(), Step().__call__, partial(taught), loose):
        same_bits(plain, make("regressor", steps=[step]).fit(X, NUMBERS))


def bad_data(kind, y):
    """Arguments of a fit that must be refused, and the words for it."""
    missing, infinite = X.copy(), X.copy()
    missing[3, 1], infinite[3, 1] = np.nan, np.inf
    return {
        "NaN": ((missing, y), "Input X contains NaN"),
        "infinity": ((infinite, y), "Input X contains infinity"),
        "one dimension": ((X[:, 0], y), "Expected 2D array, got 1D array instead"),
        "no rows": ((X[:0], y[:0]), r"0 sample\(s\)"),
        "short y": ((X, y[:-1]), "inconsistent numbers of samples"),
        "short weights": ((X, y, np.ones(N - 1)), "sample_weight.shape"),
        "weights of zero": ((X, y, np.zeros(N)), "non-zero"),
        "strings": ((np.full((N, 2), "x"), y), "could not convert|dtype"),
    }[kind]


KINDS = ["NaN", "infinity", "one dimension", "no rows", "short y", "short weights"]
KINDS += ["weights of zero", "strings"]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_data_are_refused_and_an_earlier_fit_survives(name, kind):
    if name == "detector" and kind == "short y":
        pytest.skip("detectors ignore y")
    model = make(name)
    arguments, words = bad_data(kind, target(model))
    with pytest.raises(ValueError, match=words):
        model.fit(*arguments)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    model.fit(X, target(model))
    said, attributes = outputs(model), set(vars(model))
    for method in (model.fit, model.partial_fit):
        if method == model.partial_fit and kind == "short weights":
            continue  # weights stand elsewhere in its signature
        if method == model.partial_fit and kind == "weights of zero":
            continue
        with pytest.raises(ValueError, match=words):
            method(*arguments)
        assert_array_equal(outputs(model), said)
        assert set(vars(model)) == attributes


@pytest.mark.parametrize("name", ["regressor", "PRL regressor"])
def test_labels_in_regression_are_refused(name):
    with pytest.raises(ValueError, match="could not convert string to float|numeric"):
        make(name).fit(X, NAMES[LABELS])


@pytest.mark.parametrize("name", ["classifier", "PRL classifier"])
def test_numbers_in_classification_are_refused(name):
    with pytest.raises(ValueError, match="Unknown label type"):
        make(name).fit(X, NUMBERS)
    with pytest.raises(ValueError, match="class"):
        make(name).fit(X, np.zeros(N))


@every
def test_the_wrong_number_of_features_is_refused(name):
    model = make(name)
    model.fit(X, target(model))
    for wrong in (X[:, :3], np.c_[X, X]):
        for method in (model.predict, outputs.__get__(model)):
            with pytest.raises(ValueError, match="is expecting 4 features as input"):
                method(wrong)
        with pytest.raises(ValueError, match="is expecting 4 features as input"):
            model.partial_fit(wrong, target(model))


def test_a_factory_of_something_else_is_refused():
    model = make("classifier", network=lambda *shape: np.zeros(shape))
    with pytest.raises(TypeError, match="must be a factory that returns a torch.nn"):
        model.fit(X, LABELS)


class Bomb:
    """A loss that goes off in its n-th call."""

    def __init__(self, n):
        self.left = n

    def __call__(self, output, target):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return (output - target).square().mean(-1)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("network", [None, drop])
def test_a_fit_that_is_interrupted_changes_nothing(method, warm_start, network):
    model = make("regressor", warm_start=warm_start, network=network).fit(X, NUMBERS)
    said, epochs, curve = outputs(model), model.n_iter_, list(model.loss_curve_)
    model.set_params(criterion=Bomb(2))
    with pytest.raises(KeyboardInterrupt):
        getattr(model, method)(X, NUMBERS)
    assert_array_equal(outputs(model), said)
    assert model.n_iter_ == epochs and model.loss_curve_ == curve


def test_a_first_fit_that_fails_at_the_very_end_is_no_fit(monkeypatch):
    def broken(*args):
        raise KeyboardInterrupt

    model = make("detector")
    before = set(vars(model))
    monkeypatch.setattr(type(model), "_finish", broken)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    left = {name for name in vars(model) if not name.startswith("_skl")}
    assert left == before
    with pytest.raises(NotFittedError):
        check_is_fitted(model)


@every
def test_inputs_are_never_modified(name):
    model = make(name)
    rows, y, weights = X.copy(), target(model).copy(), np.ones(N)
    kept = rows.copy(), y.copy(), weights.copy()
    model.fit(rows, y, sample_weight=weights)
    outputs(model, rows)
    for before, after in zip(kept, (rows, y, weights), strict=True):
        assert_array_equal(before, after)


# -- scikit-learn's tools --------------------------------------------------------


@pytest.mark.parametrize("name", ["PRL classifier", "PRL regressor"])
def test_score_is_a_parameter_and_a_method(name):
    model = make(name, score="gradient")
    y = target(model)
    assert model.score == "gradient" and model.get_params()["score"] == "gradient"
    assert type(model.get_params()["score"]) is str
    twin = clone(model.fit(X, y))
    assert twin.score == "gradient"
    value = model.score(X, y)
    assert isinstance(value, float)
    assert value == model.score(X, y, sample_weight=np.ones(N))
    assert value == type(model).score(model, X, y)
    with pytest.raises(NotFittedError):
        twin.score(X, y)
    borrowed = clone(make(name, score=model.score))  # another model's callable name
    assert borrowed.get_params()["score"] == "gradient"
    assert "gradient" in repr(model)


@pytest.mark.parametrize("name", ["PRL classifier", "PRL regressor"])
def test_search_pipeline_and_cross_validation(name):
    y = target(make(name))
    values = cross_val_score(make(name), X, y, cv=3)
    assert values.shape == (3,) and np.isfinite(values).all()
    step = type(make(name)).__name__.lower()
    grid = {f"{step}__score": ["loss", "gradient"], f"{step}__epsilon": [0.0, 0.3]}
    search = GridSearchCV(
        make_pipeline(StandardScaler(), make(name)), grid, cv=2, error_score="raise"
    ).fit(X, y)
    assert search.best_params_[f"{step}__score"] in ("loss", "gradient")
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.score(X, y) == search.best_estimator_.score(X, y)


@every
def test_clones_are_unfitted_equals(name):
    model = make(name)
    model.fit(X, target(model))
    twin = clone(model)
    with pytest.raises(NotFittedError):
        check_is_fitted(twin)
    assert str(twin.get_params()) == str(model.get_params())
    with pytest.raises(NotFittedError):
        twin.predict(X)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_column_names_are_kept_and_checked(name, library):
    lib = pytest.importorskip(library)
    columns = ["a", "b", "c", "d"]
    frame = lib.DataFrame(dict(zip(columns, X.T, strict=True)))
    model = make(name)
    y = target(model)
    model.fit(frame, lib.Series(y))
    assert list(model.feature_names_in_) == columns
    # frames lie in memory by columns, so sums may round otherwise
    assert_allclose(outputs(model, frame), outputs(make(name).fit(X, y)), rtol=1e-9)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.partial_fit(frame[columns[::-1]], y)


@pytest.mark.parametrize("name", TYPES)
def test_torch_tensors_are_rows_too(name):
    model = make(name)
    y = LABELS if "classifier" in name else NUMBERS
    expected = make(name).fit(X, y)
    rows = torch.tensor(X, requires_grad=True)
    model.fit(rows, torch.tensor(y), sample_weight=torch.ones(N))
    same_bits(model, expected)
    assert_array_equal(model.predict(rows), expected.predict(X))


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_follows_the_data(name, dtype):
    model = make(name)
    model.fit(X.astype(dtype), target(model))
    assert parameters(model).dtype == dtype
    forced = make(name, dtype="float32").fit(X, target(model))
    assert parameters(forced).dtype == np.float32
    said = outputs(model, X.astype(dtype))
    assert said.dtype == np.float64
    assert_allclose(
        outputs(forced), outputs(make(name).fit(X, target(model))), atol=0.2
    )


@pytest.mark.parametrize("name", TYPES)
def test_sizes_of_any_form_are_taken(name):
    y = target(make(name))
    for sizes in ((6, 5, 4), ()):
        given = make(name, hidden_layer_sizes=sizes).fit(X, y)
        assert np.isfinite(outputs(given)).all()
        for form in (list(sizes), np.array(sizes, dtype=np.uint8)):
            same_bits(given, make(name, hidden_layer_sizes=form).fit(X, y))
    given = make(name, hidden_layer_sizes=5).fit(X, y)
    for sizes in ((5,), [5], np.array([5]), np.int32(5)):
        same_bits(given, make(name, hidden_layer_sizes=sizes).fit(X, y))


SWITCHES = {"standardize", "warm_start", "nesterovs_momentum", "early_stopping"}
SWITCHES |= {"verbose", "co_training"}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("value", [True, False])
def test_bools_of_numpy_are_bools(name, value):
    y = target(make(name))
    names = SWITCHES & set(make(name).get_params())
    first, same = (
        make(name, **dict.fromkeys(names, kind(value))).fit(X, y)
        for kind in (bool, np.bool_)
    )
    same_bits(first, same)


@pytest.mark.parametrize("name", ["regressor", "PRL regressor", "Co-PRL regressor"])
def test_several_outputs_at_once(name):
    Y = np.c_[NUMBERS, 100 * X[:, 0], -X[:, 1]]
    model = make(name, max_iter=60).fit(X, Y)
    assert model.n_outputs_ == 3
    assert model.predict(X).shape == (N, 3)
    assert model.score(X, Y) > 0.3
    assert make(name).fit(X, NUMBERS).predict(X).shape == (N,)
    with pytest.raises(ValueError, match="outputs"):
        model.partial_fit(X, NUMBERS)


def conv(shape, n_outputs):
    channels, *_ = shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, n_outputs)
    )


def images(n=60):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    pictures = rng.normal(size=(n, 1, 6, 6))
    pictures[y == 1, :, :3] += 1.5
    return pictures, y


@pytest.mark.parametrize("score", ["loss_gradient", "gradient"])
def test_images_go_through_a_users_own_network(score):
    pictures, y = images()
    model = skrobust.PRLClassifier(
        0.1, score=score, network=conv, max_iter=60, random_state=0
    ).fit(pictures, y)
    assert model.score(pictures, y) > 0.9
    twin = pickle.loads(pickle.dumps(model))
    assert_array_equal(twin.predict_proba(pictures), model.predict_proba(pictures))
    numbers = skrobust.NetRegressor(network=conv, max_iter=3).fit(pictures, 1.0 * y)
    assert numbers.predict(pictures).shape == (60,)
    with pytest.raises(ValueError, match="dim|shape|features"):
        model.predict(pictures[:, 0])


def test_without_a_network_images_are_refused():
    with pytest.raises(ValueError, match="Found array with dim 4"):
        make("classifier").fit(*images())


# -- going on --------------------------------------------------------------------


@every
def test_warm_start_goes_on_and_a_cold_one_does_not(name):
    y = target(make(name))
    model = make(name, warm_start=True).fit(X, y)
    epochs, said = model.n_iter_, outputs(model)
    model.fit(X, y)
    assert model.n_iter_ > epochs
    assert len(model.loss_curve_) == model.n_iter_
    assert not np.array_equal(outputs(model), said)
    cold = make(name).fit(X, y)
    assert cold.fit(X, y).n_iter_ == epochs


def test_warm_start_takes_up_the_optimizer_too():
    """Three epochs and three more are six, where nothing is drawn."""
    same = {"batch_size": N, "learning_rate": "constant"}
    whole = make("regressor", max_iter=6, **same).fit(X, NUMBERS)
    parts = make("regressor", max_iter=3, warm_start=True, **same)
    parts.fit(X, NUMBERS).fit(X, NUMBERS)
    assert_allclose(parts.predict(X), whole.predict(X), rtol=1e-12)
    assert_allclose(parts.loss_curve_, whole.loss_curve_)


@every
def test_partial_fit_is_one_epoch_from_where_it_was(name):
    model = make(name)
    y = target(model)
    for calls in range(1, 4):
        assert (
            model.partial_fit(X, y, *([NAMES] if "lassifier" in name else [])) is model
        )
        assert model.n_iter_ == calls
        assert np.isfinite(outputs(model)).all()
    assert len(model.sample_weight_) == N
    model.fit(X, y)
    epochs = model.n_iter_
    assert model.partial_fit(X, y).n_iter_ == epochs + 1


def test_partial_fit_knows_the_classes_it_was_told():
    model = make("classifier")
    with pytest.raises(ValueError, match="classes"):
        model.partial_fit(X, LABELS)
    two = LABELS < 2
    model.partial_fit(X[two], LABELS[two], classes=[0, 1, 2])
    assert_array_equal(model.classes_, [0, 1, 2])
    model.partial_fit(X, LABELS)
    said = outputs(model)
    with pytest.raises(ValueError, match=r"previously unseen labels: \[7\]"):
        model.partial_fit(X, np.where(two, LABELS, 7))
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, LABELS, classes=[0, 1])
    assert_array_equal(outputs(model), said)


@every
def test_partial_fit_takes_constant_steps(name):
    said = []
    for rate in ("constant", "cosine"):
        model = make(name, learning_rate=rate, max_iter=3)
        y = target(model)
        classes = [NAMES] if "lassifier" in name else []
        for _ in range(5):
            model.partial_fit(X, y, *classes)
        said.append(outputs(model))
    assert_array_equal(*said)
    model = make(name, max_iter=3, learning_rate="constant")
    slow = clone(model).set_params(learning_rate="cosine")
    y = target(model)  # a fit does slow down
    assert model.fit(X, y).loss_curve_ != slow.fit(X, y).loss_curve_


def test_partial_fit_learns():
    model = make("PRL classifier", learning_rate_init=0.01)
    for _ in range(30):
        for part in np.arange(N).reshape(4, -1):
            model.partial_fit(X[part], NAMES[LABELS][part], classes=NAMES)
    assert model.n_iter_ == 120
    assert model.score(X, NAMES[LABELS]) > 0.85


def test_partial_fit_scales_by_running_statistics():
    rng = np.random.default_rng(3)
    rows = rng.uniform(size=(200, 2)) * [1, 1000]
    model = make("detector")
    for part in np.arange(200).reshape(4, 50):
        model.partial_fit(rows[part])
    assert_allclose(model._scaler.mean, rows.mean(0))
    assert_allclose(model._scaler.variance, rows.var(0))
    assert model._scaler.mass == 200
    once = make("detector", warm_start=True).fit(rows)
    before = once._scaler.mean.copy()
    assert_array_equal(once.fit(rows + 5)._scaler.mean, before)


@pytest.mark.parametrize("name", ["classifier", "PRL regressor", "Co-PRL classifier"])
def test_early_stopping_by_a_fraction_keeps_the_best_weights(name):
    X, labels, numbers = data(200)
    y = labels if "classifier" in name else numbers
    model = make(
        name,
        early_stopping=True,
        max_iter=300,
        n_iter_no_change=4,
        learning_rate_init=0.02,
        validation_fraction=0.25,
    ).fit(X, y)
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_ < 300
    assert max(scores) - 1e-3 <= max(scores[:-4])
    assert (model.sample_weight_ == 0).sum() >= 50  # held out
    assert len(model.sample_weight_) == 200


def test_the_only_row_of_a_class_is_for_training_and_others_are_held_out():
    X, y = np.random.RandomState(0).randn(100, 3), np.repeat([0, 1, 2], [50, 1, 49])
    for n, fraction in [(100, 0.01), (55, 0.1)]:
        stopping = {"early_stopping": True, "validation_fraction": fraction}
        model = skrobust.NetClassifier(**SMALL, **stopping).fit(X[:n], y[:n])
        assert np.sum(model.sample_weight_ == 0) >= 1
        assert model.sample_weight_[50] > 0
    with pytest.raises(ValueError, match="n_samples = 3 of 3 classes"):
        skrobust.NetClassifier(**SMALL, early_stopping=True).fit(X[:3], [0, 1, 2])


def test_other_seeds_hold_out_other_rows():
    stopping = SMALL | {"early_stopping": True}
    held = [
        skrobust.NetRegressor(**stopping | {"random_state": seed})
        .fit(X[:60], NUMBERS[:60])
        .sample_weight_
        == 0
        for seed in (0, 1)
    ]
    assert held[0].sum() == held[1].sum() == 6
    assert (held[0] != held[1]).any()


def test_heavy_weights_are_held_out_row_by_row():
    X, kw = np.random.RandomState(0).randn(20, 2), SMALL | {"batch_size": 1.0}
    y, w = X[:, 0], np.full(20, 17)
    heavy = skrobust.NetRegressor(early_stopping=True, dtype="float64", **kw)
    repeated = clone(heavy).fit(X.repeat(17, 0), y.repeat(17))
    heavy.fit(X, y, sample_weight=w)
    assert_allclose(heavy.predict(X), repeated.predict(X), rtol=1e-9)
    heavy.fit(X[:2], y[:2], sample_weight=[40, 1])
    assert heavy.sample_weight_.sum() == 37


def test_the_best_of_a_fit_are_those_of_its_curves():
    X = np.random.RandomState(0).randn(50, 2)
    model = skrobust.NetRegressor(**SMALL, early_stopping=True).fit(X, X[:, 0])
    assert model.best_loss_ == min(model.loss_curve_)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert not hasattr(
        model.set_params(early_stopping=False).fit(X, X[:, 0]), "best_validation_score_"
    )


@pytest.mark.parametrize("size", [0.5, 0.25])
def test_giant_weights_are_no_numbers_of_rows(size):
    X = np.random.RandomState(0).randn(30, 2)
    light = skrobust.NetRegressor(**SMALL | {"batch_size": size}).fit(X, X[:, 0])
    heavy = clone(light).fit(X, X[:, 0], sample_weight=np.full(30, 2.0**70))
    # the penalty is divided by the mass, so it must be none to agree
    assert np.isfinite(heavy.predict(X)).all()
    light.set_params(alpha=0.0).fit(X, X[:, 0])
    heavy.set_params(alpha=0.0).fit(X, X[:, 0], sample_weight=np.full(30, 2.0**70))
    assert_allclose(heavy.predict(X), light.predict(X), rtol=1e-4, atol=1e-5)


def test_early_stopping_keeps_buffers_with_the_weights():
    """Weights with the running means of other epochs are another network."""

    def normed(n_features, n_outputs):
        middle = nn.BatchNorm1d(8, momentum=0.5)
        layers = [nn.Linear(n_features, 8), middle, nn.ReLU(), nn.Linear(8, n_outputs)]
        return nn.Sequential(*layers)

    wild = {"network": normed, "learning_rate_init": 0.1, "batch_size": 16}
    model = make("classifier", max_iter=30, learning_rate="constant", **wild)
    X_val, y_val, _ = data(60, seed=5)
    model.fit(X, LABELS, X_val=X_val, y_val=y_val)
    assert model.score(X_val, y_val) == pytest.approx(max(model.validation_scores_))


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_held_out_rows_count_by_their_weight(name):
    """Rows that hardly weigh anything do not judge either."""
    rows, labels, numbers = data(400)
    y = labels.copy() if name == "classifier" else numbers.copy()
    light = np.arange(400) % 5 < 3
    y[light] = np.random.default_rng(0).permutation(y[light])
    weights = np.where(light, 1e-9, 1.0)
    model = make(name, early_stopping=True, max_iter=40, validation_fraction=0.5)
    scores = model.fit(rows, y, sample_weight=weights).validation_scores_
    assert max(scores) > (0.7 if name == "classifier" else -0.4)


def test_attributes_of_an_earlier_fit_do_not_stay():
    model = make("classifier", early_stopping=True).fit(X, LABELS)
    assert len(model.validation_scores_) == model.n_iter_
    model.set_params(early_stopping=False).fit(X, LABELS)
    assert not hasattr(model, "validation_scores_")
    on = make("classifier", early_stopping=True, warm_start=True).fit(X, LABELS)
    on.fit(X, LABELS)
    assert len(on.validation_scores_) == on.n_iter_ == len(on.loss_curve_)


@pytest.mark.parametrize("solvers", [("adam", "sgd"), ("sgd", "adam")])
def test_another_solver_may_go_on(solvers):
    model = make("classifier", warm_start=True, solver=solvers[0]).fit(X, LABELS)
    before = model.n_iter_
    model.set_params(solver=solvers[1]).fit(X, LABELS)
    assert model.n_iter_ > before and np.isfinite(outputs(model)).all()


def test_no_fit_goes_on_with_another_number_of_networks():
    model = make("PRL classifier", warm_start=True).fit(X, LABELS)
    with pytest.raises(ValueError, match="1 fitted networks to go on with.*ask for 2"):
        model.set_params(co_training=True).fit(X, LABELS)


def test_no_fit_goes_on_with_networks_of_another_kind():
    linear = {"hidden_layer_sizes": (), "warm_start": True, "random_state": 0}
    for solvers in [("adam", "lstsq"), ("lstsq", "adam")]:
        model = skrobust.MRRegressor(solver=solvers[0], **linear).fit(X, NUMBERS)
        before = model.predict(X)
        with pytest.raises(ValueError, match="of another kind"):
            model.set_params(solver=solvers[1]).fit(X, NUMBERS)
        assert_array_equal(model.predict(X), before)
    for names in [("autoencoder", "vae"), ("vae", "autoencoder")]:
        model = skrobust.RCAOutlierDetector(
            network=names[0], max_iter=2, warm_start=True
        )
        with pytest.raises(ValueError, match="of another kind"):
            model.fit(X).set_params(network=names[1]).fit(X)


def test_the_step_size_falls_to_the_end_of_every_fit():
    """Also where the epochs before it are no multiple of its own."""
    model = make("regressor", learning_rate="cosine", max_iter=10, warm_start=True)
    rates = [
        [model._recipe(first, 10, 8, 10).learning_rate(first + k) for k in range(10)]
        for first in (0, 3, 10)
    ]
    assert_allclose(rates[1:], [rates[0], rates[0]])
    assert np.all(np.diff(rates[0]) < 0) and rates[0][-1] < 0.03 * rates[0][0]


@pytest.mark.parametrize("weight", [1e-60, 1e60])
def test_weights_that_single_precision_cannot_hold_are_refused(weight):
    model = make("classifier")
    with pytest.raises(ValueError, match="sample_weight.*float32"):
        model.fit(X.astype(np.float32), LABELS, sample_weight=np.full(N, weight))
    model.fit(X, LABELS, sample_weight=np.full(N, weight))
    assert np.isfinite(outputs(model)).all()


def test_a_fitted_model_keeps_no_memory_of_its_batches():
    model = make("classifier", batch_size=N).fit(X, LABELS)
    assert not model._stack._rooms


def test_a_default_device_of_torch_changes_nothing():
    """It would send some tensors elsewhere: meta tensors hold no numbers."""
    usual = make("classifier").fit(X, LABELS)
    torch.set_default_device("meta")
    try:
        other = make("classifier").fit(X, LABELS)
        assert_array_equal(outputs(other), outputs(usual))
    finally:
        torch.set_default_device(None)


def test_the_only_row_of_a_class_is_never_held_out():
    y = np.zeros(N, dtype=int)
    y[0] = 1
    model = make("classifier", early_stopping=True).fit(X, y)
    assert model.sample_weight_[0] == 1 and (model.sample_weight_ == 0).sum() == 8
    with pytest.raises(ValueError, match="early_stopping needs at least 2 samples"):
        model.fit(X[:3], [0, 1, 2])


def test_tensors_that_numpy_has_no_type_for_are_taken():
    rows = torch.as_tensor(X).bfloat16()
    model = make("classifier").fit(rows, LABELS)
    like = make("classifier").fit(rows.float(), LABELS)
    assert_array_equal(model.predict_proba(rows), like.predict_proba(rows.float()))


def test_callbacks_are_told_of_weights():
    callback = pytest.importorskip("sklearn.callback")
    weights = np.arange(N) % 3
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = make("classifier").set_callbacks(monitor)
    model.fit(X, LABELS, sample_weight=weights)
    logged = monitor.get_logs().data[-1]["accuracy"]
    assert np.isclose(logged, model.score(X, LABELS, sample_weight=weights))


def test_balanced_classes_count_repeated_rows_like_weights():
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, N)
    times = np.repeat(np.arange(N), weights)
    model = make("classifier", class_weight="balanced", batch_size=1000)
    weighted = clone(model).fit(X, LABELS, sample_weight=weights)
    repeated = clone(model).fit(X[times], LABELS[times])
    assert_allclose(outputs(weighted), outputs(repeated), rtol=1e-6)
    assert weighted.sample_weight_.sum() == pytest.approx(weights.sum())


def test_class_weights_are_checked_and_may_be_zero():
    model = make("classifier", class_weight={0: 0.0, 1: 1.0, 2: 1.0}).fit(X, LABELS)
    assert_array_equal(model.sample_weight_[LABELS == 0], 0)
    assert (model.sample_weight_[LABELS != 0] > 0).all()
    assert list(model.classes_) == [0, 1, 2]
    for bad in ("foo", {0: -1.0}, {0: np.nan}, 3):
        with pytest.raises(ValueError, match="'class_weight' parameter of NetClassif"):
            make("classifier", class_weight=bad).fit(X, LABELS)
    with pytest.raises(ValueError, match="class_weight is zero for all samples"):
        make("classifier", class_weight=dict.fromkeys(range(3), 0)).fit(X, LABELS)


@pytest.mark.parametrize("name", ["regressor", "PRL regressor"])
def test_early_stopping_ends_early_also_where_no_patience_is_given(name):
    model = make(
        name,
        early_stopping=True,
        max_iter=150,
        n_iter_no_change=None,
        tol=1e9,
        validation_fraction=0.25,
    )
    assert model.fit(X, NUMBERS).n_iter_ == 1 + 15  # a tenth of the epochs in vain
    assert model.set_params(max_iter=20).fit(X, NUMBERS).n_iter_ == 1 + 10


@pytest.mark.parametrize("name", ["classifier", "regressor", "PRL classifier"])
def test_early_stopping_by_given_rows(name):
    """The weights kept are those of the best epoch on just those rows."""
    steps = {"learning_rate": "constant", "learning_rate_init": 0.02}
    if "PRL" in name:  # else it depends on the number of epochs, where rows are few
        steps["ramp"] = 5
    model = make(name, max_iter=30, **steps)
    y = target(model)
    X_val, labels, numbers = data(60, seed=5)
    y_val = NAMES[labels] if "classifier" in name else numbers
    model.fit(X, y, X_val=X_val, y_val=y_val)
    best = int(np.argmax(model.validation_scores_))
    again = make(name, max_iter=best + 1, **steps).fit(X, y)
    assert_allclose(outputs(model), outputs(again))
    if "classifier" in name:
        assert model.score(X_val, y_val) == pytest.approx(max(model.validation_scores_))
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        model.fit(X, y, X_val=X_val)
    with pytest.raises(ValueError, match="is expecting 4 features"):
        model.fit(X, y, X_val=X_val[:, :2], y_val=y_val)


def test_validation_labels_must_be_known():
    with pytest.raises(ValueError, match="previously unseen labels"):
        make("classifier").fit(X, LABELS, X_val=X, y_val=LABELS + 1)


@pytest.mark.parametrize("name", ["regressor", "PRL regressor"])
def test_validation_targets_must_have_as_many_outputs(name):
    one, two = NUMBERS, np.c_[NUMBERS, -NUMBERS]
    for y, y_val, words in [
        (one, two, "y has 2 outputs, but .*Regressor is expecting 1 outputs"),
        (two, one, "y has 1 outputs, but .*Regressor is expecting 2 outputs"),
    ]:
        model = make(name)
        with pytest.raises(ValueError, match=words):
            model.fit(X, y, X_val=X, y_val=y_val)
        with pytest.raises(ValueError, match=words):
            model.fit(X, y).partial_fit(X, y_val)
    column = make(name).fit(X, one, X_val=X, y_val=one[:, None])
    same_bits(column, make(name).fit(X, one, X_val=X, y_val=one))


def test_training_ends_when_nothing_improves():
    model = make("regressor", tol=1e9, n_iter_no_change=3, max_iter=50).fit(X, NUMBERS)
    assert model.n_iter_ == 4
    patient = make("regressor", tol=0, max_iter=7).fit(X, NUMBERS)
    assert patient.n_iter_ == 7 == len(patient.loss_curve_)


@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("co_training", [False, True])
def test_gross_errors_do_no_lasting_harm_before_the_ramp_is_up(size, co_training):
    X, _, y = data(300)
    clean, wrong = y.copy(), np.arange(300) % 10 == 0
    y[wrong] = size
    small = {"hidden_layer_sizes": (16,), "random_state": 0}
    model = skrobust.PRLRegressor(0.15, co_training=co_training, **small).fit(X, y)
    assert model.score(X, clean) > 0.98
    assert not model.inlier_mask_[wrong].any()
    assert model.clip_norm == "auto"  # and with epsilon=0 nothing is clipped


@pytest.mark.parametrize("score", ["loss_gradient", "gradient"])
@pytest.mark.parametrize("co_training", [False, True])
def test_gross_rows_that_are_too_many_in_a_batch_do_not_count(score, co_training):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    clean = X[:, 0] + np.sin(2 * X[:, 1])
    y = clean + 20 * (rng.permutation(600) < 150)
    fit = {"hidden_layer_sizes": (64, 64), "random_state": 0}
    prl = partial(skrobust.PRLRegressor, 0.25, score=score, co_training=co_training)
    free, held = prl(reach=None, **fit).fit(X, y), prl(**fit).fit(X, y)
    error = [np.mean((m.predict(X) - clean) ** 2) for m in (free, held)]
    assert error[1] < 0.3 * error[0]
    # the last word on the rows is epsilon's alone
    assert held.sample_weight_.sum() == pytest.approx(450)


@pytest.mark.parametrize("score", ["loss_gradient", "gradient"])
@pytest.mark.parametrize("co_training", [False, True])
def test_rows_that_are_near_are_spared_so_the_mean_of_skewed_targets_is_nearer(
    score, co_training
):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2))
    mean = X[:, 0]
    y = mean + rng.exponential(size=600) - 1
    y[::10] = 50.0
    fit = {"hidden_layer_sizes": (16,), "max_iter": 60, "random_state": 0}
    prl = partial(skrobust.PRLRegressor, 0.3, score=score, co_training=co_training)
    models = [prl(spare=spare, **fit).fit(X, y) for spare in (None, 2.5)]
    paper, ours = (np.mean(m.predict(X) - mean) for m in models)
    assert paper < -0.3 and 0.8 * paper < ours < -0.1
    assert not models[1].inlier_mask_[::10].any()


@pytest.mark.parametrize("spare", [None, 2.5])
@pytest.mark.parametrize("reach", [None, 1.0, 4.0, 1e300])
def test_for_squared_errors_the_loss_and_its_derivative_choose_the_same_rows(
    reach, spare
):
    y = NUMBERS + 30 * (np.arange(N) % 5 == 0)
    bounds = {"reach": reach, "spare": spare}
    one, other = (
        make("PRL regressor", epsilon=0.1, score=score, **bounds).fit(X, y)
        for score in ("loss", "loss_gradient")
    )
    assert_allclose(one.predict(X), other.predict(X), rtol=1e-4, atol=1e-4)


def test_without_reach_and_clipping_it_is_the_papers_algorithm_to_the_bit():
    fit = {"hidden_layer_sizes": (16,), "max_iter": 12, "random_state": 0}
    trim = Reweight(Trim(Ramp(0.25, 10)), LossLayer())
    composed = skrobust.NetRegressor((trim,), **fit).fit(X, NUMBERS)
    bare = {"reach": None, "spare": None, "clip_norm": None}
    declared = skrobust.PRLRegressor(0.25, **bare, **fit).fit(X, NUMBERS)
    same_bits(composed, declared)


# -- detectors -------------------------------------------------------------------


@pytest.mark.parametrize("contamination", [0.0, 0.1, 0.25, 0.5, "auto"])
def test_contamination_sets_the_threshold_and_nothing_else(contamination):
    model = make("detector", contamination=contamination).fit(X)
    reference = make("detector").fit(X)
    assert_array_equal(model.score_samples(X), reference.score_samples(X))
    found = (model.predict(X) == -1).sum()
    if contamination == "auto":
        assert found < N / 4
    else:
        assert found == int(contamination * N)
    assert_allclose(model.decision_function(X), model.score_samples(X) - model.offset_)
    assert_array_equal(make("detector").fit_predict(X), reference.predict(X))
    model.offset_ = -np.inf
    assert (model.predict(X) == 1).all()


def test_planted_outliers_score_lowest():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6))
    rows[:15] = 3 * rng.normal(size=(15, 6))
    model = skrobust.NetOutlierDetector(
        (Reweight(Trim(0.1)),), code_size=2, max_iter=60, random_state=0
    ).fit(rows)
    lowest = np.argsort(model.score_samples(rows))[:15]
    assert (lowest < 15).mean() > 0.7
    assert not model.inlier_mask_[lowest].any()


# -- callbacks and routing -------------------------------------------------------

needs_callbacks = pytest.mark.skipif(not CALLBACKS, reason="needs scikit-learn 1.9")


@needs_callbacks
@pytest.mark.parametrize("name", TYPES)
def test_a_progress_bar_draws_and_changes_nothing(name, capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    model = make(name).set_callbacks(ProgressBar())
    y = target(model)
    model.fit(X, y)
    assert_array_equal(outputs(model), outputs(make(name).fit(X, y)))
    assert type(model).__name__ in capsys.readouterr().out


@needs_callbacks
@pytest.mark.parametrize("name", ["classifier", "PRL regressor", "Co-PRL classifier"])
def test_a_scoring_monitor_sees_each_epoch(name):
    from sklearn.callback import ScoringMonitor

    scoring = "accuracy" if "classifier" in name else "r2"
    monitor = ScoringMonitor(scoring=scoring)
    model = make(name, early_stopping=False).set_callbacks(monitor)
    y = target(model)
    model.fit(X, y)
    assert_array_equal(
        outputs(model), outputs(make(name, early_stopping=False).fit(X, y))
    )
    logs = monitor.get_logs()
    logs = logs if hasattr(logs, "data") else logs[-1]
    rows = [row for row in logs.data if row["task_name"] == "epoch"]
    assert len(rows) == model.n_iter_
    last = max(rows, key=lambda row: row["task_id"])
    assert last[scoring] == pytest.approx(model.score(X, y))
    assert len({row[scoring] for row in rows}) > 1


class StopAfter:
    """A callback that asks to stop after some epochs and keeps what it was shown."""

    def __init__(self, n):
        self.n, self.shown = n, []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **told):
        pass

    def on_fit_task_end(
        self, estimator, context, *, X=None, fitted_estimator=None, **told
    ):
        if context.task_name != "epoch":
            return False
        self.shown.append(outputs(fitted_estimator, X))
        return len(self.shown) >= self.n


@needs_callbacks
@pytest.mark.parametrize("name", ["classifier", "regressor", "PRL classifier"])
def test_a_callback_can_stop_training(name):
    callback = StopAfter(2)
    same = {"learning_rate": "constant"}
    model = make(name, **same).set_callbacks(callback)
    y = target(model)
    model.fit(X, y)
    assert model.n_iter_ == 2
    shorter = make(name, max_iter=2, **same).fit(X, y)
    if name != "PRL classifier" or shorter.n_iter_ == 2:
        assert_array_equal(outputs(model), outputs(shorter))
    # what it was shown did not move with the training after it
    first = make(name, max_iter=1, **same).fit(X, y)
    assert_array_equal(callback.shown[0], outputs(first))
    assert_array_equal(callback.shown[1], outputs(model))


@needs_callbacks
def test_callbacks_survive_clone_and_search():
    callback = StopAfter(10**9)
    model = make("classifier").set_callbacks(callback)
    GridSearchCV(model, {"alpha": [0.0, 0.1]}, cv=2, refit=False).fit(X, LABELS)
    assert len(callback.shown) == 4 * 6


def test_sample_weight_is_routed():
    from sklearn.model_selection import cross_validate

    weights = np.random.default_rng(4).random(N)
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            make("PRL classifier")
            .set_fit_request(sample_weight=True)
            .set_score_request(sample_weight=True)
        )
        routed = cross_validate(
            model, X, LABELS, cv=2, params={"sample_weight": weights}
        )["test_score"]
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, model)
        pipe.fit(X, LABELS, sample_weight=weights)
    scaled = StandardScaler().fit_transform(X)
    by_hand = make("PRL classifier").fit(scaled, LABELS, sample_weight=weights)
    assert_array_equal(pipe[-1].sample_weight_, by_hand.sample_weight_)
    assert_allclose(routed, weighted_by_hand(weights))


def weighted_by_hand(weights):
    from sklearn.model_selection import StratifiedKFold

    found = []
    for train, test in StratifiedKFold(2).split(X, LABELS):
        model = make("PRL classifier").fit(X[train], LABELS[train], weights[train])
        found.append(model.score(X[test], LABELS[test], weights[test]))
    return found


def test_fits_in_threads_share_nothing():
    """Different models at once say what each says alone."""
    names = list(ESTIMATORS)
    alone = {name: fit_and_say(make(name), target(make(name))) for name in names}
    told = {}

    def work(name):
        told[name] = fit_and_say(make(name), target(make(name)))

    workers = [threading.Thread(target=work, args=(name,)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for name in names:
        assert_array_equal(told[name], alone[name])


def test_verbose_prints_every_epoch(capsys):
    make("regressor", verbose=True).fit(X, NUMBERS)
    assert capsys.readouterr().out.count("Epoch") == 6
    make("regressor").fit(X, NUMBERS)
    assert capsys.readouterr().out == ""


def test_the_default_loss_of_prl_is_the_papers():
    assert make("PRL classifier")._loss() == CrossEntropy()
    assert make("PRL regressor")._loss() == SquaredError()


# -- serving ---------------------------------------------------------------------

SERVED = [n for n in ESTIMATORS if "detector" not in n and "everything" not in n]


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("standardize", [True, False])
def test_a_module_predicts_like_its_estimator(name, standardize):
    model = make(name, standardize=standardize)
    model.fit(X, target(model))
    far = np.vstack([X, 1e9 * X[:3]])
    classes = hasattr(model, "predict_proba")
    expected = model.predict_proba(far) if classes else model.predict(far)[:, None]
    module = model.to_module()
    found = module(torch.as_tensor(far)).detach().numpy()
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    before = outputs(model)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert_array_equal(outputs(model), before)


def test_a_module_can_be_exported():
    model = make("regressor").fit(X, NUMBERS)
    rows = torch.as_tensor(X)
    program = torch.export.export(model.to_module(), (rows,)).module()
    assert_allclose(program(rows).detach().numpy()[:, 0], model.predict(X))


# -- fits that go on -------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, None])
def test_a_row_once_held_out_is_never_trained_on(seed):
    model = make("classifier", early_stopping=True, warm_start=True, random_state=seed)
    out = [model.fit(X, NAMES[LABELS]).sample_weight_ == 0 for _ in range(3)]
    assert out[0].sum() == 8
    assert_array_equal(out[1], out[0])
    assert_array_equal(out[2], out[0])


def test_validation_scores_belong_to_the_epochs_of_their_fit():
    model = make("classifier", early_stopping=True).fit(X, LABELS)
    assert len(model.validation_scores_) == len(model.loss_curve_)
    assert not hasattr(model.partial_fit(X, LABELS), "validation_scores_")


@pytest.mark.parametrize("name", ["PRL classifier", "PRL regressor"])
def test_the_verdict_leaves_out_epsilon_however_short_training_was(name):
    model = make(name, epsilon=0.3, ramp=10)
    y = target(model)
    for _ in range(2):
        model.partial_fit(X, y, **({"classes": NAMES} if "class" in name else {}))
        assert model.sample_weight_.sum() == pytest.approx(0.7 * N)
    assert make(name, epsilon=0.3, max_iter=3).fit(X, y).sample_weight_.sum() == (
        pytest.approx(0.7 * N)
    )


def test_a_stream_may_lack_a_class_that_has_a_weight():
    model = make("classifier", class_weight={"eel": 2.0})
    some = LABELS != 2
    model.partial_fit(X[some], NAMES[LABELS[some]], classes=NAMES)
    assert_array_equal(model.sample_weight_, np.ones(some.sum()))
    model.partial_fit(X, NAMES[LABELS])
    assert_array_equal(model.sample_weight_, np.where(LABELS == 2, 2.0, 1.0))
    with pytest.raises(ValueError, match="not in class_weight"):
        make("classifier", class_weight={"elk": 2.0}).fit(X, NAMES[LABELS])


# -- what is refused, and what is not --------------------------------------------


def test_rows_of_another_shape_are_refused():
    def pooled(shape, n_outputs):
        return nn.Sequential(
            nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(8, n_outputs)
        )

    cubes = np.random.default_rng(0).normal(size=(N, 2, 6))
    model = make("classifier", network=pooled).fit(cubes, LABELS)
    for wrong in (cubes[:, :, :4], cubes[:, :1]):
        with pytest.raises(ValueError, match="shape|features"):
            model.predict(wrong)
        with pytest.raises(ValueError, match="shape|features"):
            model.partial_fit(wrong, LABELS)
        with pytest.raises(ValueError, match="shape|features"):
            make("classifier", network=pooled).fit(
                cubes, LABELS, X_val=wrong, y_val=LABELS
            )


@pytest.mark.parametrize("shape", ["mean", "each output"])
@pytest.mark.parametrize("name", ["classifier", "regressor", "detector"])
def test_a_function_must_give_one_loss_a_row(name, shape):
    def loss(output, target):
        errors = (output - target).square()
        return errors.mean() if shape == "mean" else errors

    model = make(name, criterion=loss)
    with pytest.raises(ValueError, match="must return one loss a row, of shape"):
        model.fit(
            X,
            np.column_stack([target(model)] * 2)
            if name == "regressor"
            else target(model),
        )


def test_a_network_must_return_a_tensor():
    class Two(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ValueError, match="must return a tensor. Got tuple"):
        make("classifier", network=Two).fit(X, LABELS)


@pytest.mark.parametrize(
    "loss", [skrobust.criteria.AbsoluteError(), SquaredError(), Huber(1.0)]
)
def test_detectors_compare_with_the_inputs_by_any_distance(loss):
    def same(output, target):
        return loss.value(output, target)

    model = make("detector", criterion=loss).fit(X)
    assert_allclose(outputs(make("detector", criterion=same).fit(X)), outputs(model))
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("classifier", NegativeLogLikelihood()),
        ("regressor", CrossEntropy()),
        ("regressor", BootstrapCrossEntropy()),
        ("detector", CrossEntropy()),
    ],
)
def test_losses_of_another_task_are_refused(name, loss):
    model = make(name, criterion=loss)
    with pytest.raises(ValueError, match="The 'criterion' parameter"):
        model.fit(X, target(model))


@pytest.mark.parametrize("name", ["regressor", "detector"])
@pytest.mark.parametrize(
    "step", [SmoothLabels(), Relabel(), ReweightByLabel(Trim(0.2))], ids=repr
)
def test_steps_for_labels_are_refused_where_there_are_none(name, step):
    model = make(name, steps=(step,))
    with pytest.raises(ValueError, match="The 'steps' parameter .* class labels"):
        model.fit(X, target(model))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("MoM regressor", {"n_blocks": np.float32(0.5), "n_central": np.float32(0.25)}),
        ("PRL classifier", {"batch_size": np.float32(0.25)}),
        ("MoM regressor", {"epsilon": np.float32(0.25)}),
    ],
)
def test_numbers_of_numpy_are_numbers(name, params):
    same = {key: float(value) for key, value in params.items()}
    y = target(make(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        model = make(name, **params).fit(X, y)
    assert_array_equal(outputs(model), outputs(make(name, **same).fit(X, y)))


def test_a_user_may_subclass_prl():
    class Fixed(skrobust.PRLClassifier):
        def __init__(self, epsilon=0.2, random_state=None):
            super().__init__(epsilon, random_state=random_state, **SHORT)

        def score(self, X, y, sample_weight=None):
            return 42.0

    SHORT = {"hidden_layer_sizes": (8,), "max_iter": 2}
    model = clone(Fixed(0.3, random_state=0)).fit(X, LABELS)
    assert set(model.get_params()) == {"epsilon", "random_state"}
    assert model.score(X, LABELS) == 42 and model.score == "loss_gradient"
    assert inspect.signature(make("PRL classifier").score)
    assert make("PRL classifier").score.__name__ == "score"


def test_a_module_is_in_evaluation_mode():
    assert not make("classifier").fit(X, LABELS).to_module().training


# -- callbacks are shown a finished estimator ------------------------------------

DETECTORS = {
    "plain": skrobust.NetOutlierDetector(**SMALL),
    "RCA": skrobust.RCAOutlierDetector(**SMALL),
    "two capacities": skrobust.RCAOutlierDetector(capacities=(0.5, 0.0), **SMALL),
    "RCVA": skrobust.RCAOutlierDetector(network="vae", **SMALL),
    "flow": skrobust.RobustRealNVPDetector(
        **{**SMALL, "hidden_layer_sizes": (4, 4), "batch_size": 40}
    ),
}


@needs_callbacks
@pytest.mark.parametrize("name", DETECTORS)
def test_callbacks_are_shown_detectors_with_their_threshold(name):
    class Last(StopAfter):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, **told):
            self.shown = fitted_estimator

    callback = Last(0)
    model = clone(DETECTORS[name]).set_callbacks(callback)
    for rows in (X, 100 * X[:50]):  # and nothing of the first fit in the second
        model.fit(rows)
        told = callback.shown
        assert_array_equal(told.score_samples(rows), model.score_samples(rows))
        assert_array_equal(told.predict(rows), model.predict(rows))
        assert told.offset_ == model.offset_
        assert not hasattr(told, "sample_weight_")


def test_the_papers_ramp_is_longer_where_rows_are_few():
    """Ten epochs, or 40 steps, but no more than half of the training."""

    def shares(n_epochs, n_batches, **params):
        (step,) = skrobust.PRLClassifier(0.4, **params)._steps_within(
            n_epochs, n_batches
        )
        return [step.rule.epsilon(epoch) for epoch in range(n_epochs)]

    reached = [s.index(0.4) + 1 for s in (shares(200, 5), shares(200, 2))]
    assert reached == [10, 20]
    assert shares(30, 1).index(0.4) + 1 == 15
    assert shares(30, 1, ramp=3).index(0.4) + 1 == 3


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_a_constant_target_is_predicted_as_it_is_until_it_varies(unit):
    X = np.random.RandomState(0).normal(size=(60, 3))
    y, moved = np.full(60, 3.0 * unit), unit * X[:, 0]
    model = skrobust.NetRegressor(max_iter=30, warm_start=True, random_state=0).fit(
        X, y
    )
    assert_array_equal(model.predict(X), y)
    assert np.std(model.fit(X, 3 * unit + moved).predict(X)) > 0
    part = skrobust.NetRegressor(random_state=0).partial_fit(X, np.full(60, 3.0))
    for _ in range(50):
        part.partial_fit(X, 3 + X[:, 0])
    assert part.score(X, 3 + X[:, 0]) > 0.9


GIVING_UP = {
    "n_central": partial(skrobust.MoMClassifier, max_iter=100),
    "eta": partial(skrobust.MRClassifier, 0.3, max_iter=100),
}


@pytest.mark.parametrize("cure", GIVING_UP)
@pytest.mark.parametrize("share", [0.04, 0.5])
def test_a_class_that_is_given_up_is_named(cure, share):
    rng = np.random.default_rng(0)
    y = np.where(rng.random(500) < share, "rare", "common")
    rows = rng.normal(size=(500, 3)) + 2 * (y == "rare")[:, None]
    model = GIVING_UP[cure](hidden_layer_sizes=(32,), random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(rows, y)
    said = [str(w.message) for w in caught if w.filename == __file__]
    named = [t for t in said if "no row of the classes ['rare']" in t and cure in t]
    assert len(named) == (share < 0.1)
    assert model.inlier_mask_[y == "rare"].any() == (share > 0.1)
    assert ("rare" in model.predict(rows)) == (share > 0.1)
