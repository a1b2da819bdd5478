"""Multiplicative reweighting: the paper's theorems, laws, and data that hurt."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons
from sklearn.exceptions import ConvergenceWarning

from skrobust import (
    MRClassifier,
    MRRegressor,
    NetClassifier,
    NetRegressor,
    _choice,
)
from skrobust._choice import halves
from skrobust.corruption import symmetric
from skrobust.datasets import make_signs

SMALL = {"hidden_layer_sizes": (16,), "max_iter": 15, "random_state": 0}


# -- the paper ----------------------------------------------------------------------
class Slope(torch.nn.Module):
    """The paper's logistic model: one slope, from 0, and no intercept."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return torch.cat([-x, x], 1) * self.slope / 2


PAPER = {
    "network": Slope,
    "solver": "sgd",
    "momentum": 0.0,
    "nesterovs_momentum": False,
    "learning_rate_init": 1.0,
    "alpha": 0.0,
    "weight_decay": 0.0,
    "standardize": False,
    "tol": 0.0,
    "n_iter_no_change": 10_000,
    "label_smoothing": 0.0,
    "warm_start": True,
}


def slopes(eta, times, **params):
    """Slope and clean loss after each of some numbers of epochs, full batches."""
    X, y, truth, _ = make_signs(15, task="classification", random_state=0)
    model, found, done = MRClassifier(eta, **PAPER), [], 0
    for time in times:
        model.set_params(max_iter=time - done).fit(X, y)
        found.append(float(model.decision_function([[1.0]])[0]))
        done = time
    found = np.array(found)
    return found, np.log1p(np.exp(-found))


def test_gradient_descent_stops_at_a_constant():
    """Lemma 6: at log((1 - sigma) / sigma), here log 2."""
    slope, loss = slopes(0.0, [50, 400])
    np.testing.assert_allclose(slope, np.log(2), rtol=1e-3)
    assert loss[-1] > 0.4


def test_with_reweighting_the_clean_loss_goes_to_zero():
    """Lemma 7 (the slope always grows) and Theorem 8."""
    slope, loss = slopes(1.0, [1, 2, 3, 5, 10, 30, 100, 400])
    # first step: from 0 by (1 - 2 sigma) / 2, a sixth
    assert slope[0] == pytest.approx(1 / 6)
    assert (np.diff(slope) > 0).all()
    assert loss[-1] < 0.01


@pytest.mark.parametrize("epochs", [1, 5, 20, 60])
def test_reweighted_least_squares_approach_the_truth(epochs):
    """Theorem 9's bound, and least squares stay away by a constant."""
    X, y, truth, corrupted = make_signs(15, shift=2, random_state=1)
    X, y = np.r_[X, -X], np.r_[y, -y]  # mirrored: the intercept of ours is then 0
    eta, shift, delta = 0.5, 2.0, 0.5 - corrupted.mean()
    params = {"hidden_layer_sizes": (), "solver": "lstsq", "max_iter": epochs}
    params |= {"tol": 0.0, "n_iter_no_change": 1000}
    plain = MRRegressor(0.0, **params).fit(X, y)
    # the paper's loss is half the squared error of unscaled targets
    unit = float(plain._y_scale[0]) ** 2 / 2
    model = MRRegressor(eta * unit, **params).fit(X, y)
    slope, bias = float(model.predict([[1.0]])[0]), float(model.predict([[0.0]])[0])
    assert bias == pytest.approx(0, abs=1e-9)
    bound = shift * np.exp(-eta * shift**2 * delta * (epochs - 1)) / (1 + delta)
    assert abs(slope - 1) <= bound + 1e-9
    # Lemma 10: what every right row holds at least, in multiples of what it began with
    sigma = corrupted.mean()
    least = 1 / (1 - sigma + sigma * np.exp(-eta * shift**2 * delta * epochs))
    wrong = np.r_[corrupted, corrupted]
    assert (model.sample_weight_[~wrong] >= least - 1e-9).all()
    assert abs(float(plain.predict([[1.0]])[0]) - 1) == pytest.approx(2 / 3)


def test_one_round_of_least_squares_is_least_squares():
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(40, 3)), rng.integers(1, 4, 40)
    y = X @ rng.normal(size=(3, 2)) + rng.normal(size=(40, 2))
    model = MRRegressor(0.0, hidden_layer_sizes=(), solver="lstsq", max_iter=1)
    ours = model.fit(X, y, sample_weight=w).predict(X)
    A, s = np.c_[X, np.ones(40)], np.sqrt(w)[:, None]
    theirs = A @ np.linalg.lstsq(s * A, s * y)[0]
    np.testing.assert_allclose(ours, theirs)


# -- laws ---------------------------------------------------------------------------
def noisy(task, n=120):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    wrong = rng.random(n) < 0.2
    if task == "classification":
        y = (X[:, 0] + X[:, 1] > 0).astype(int)
        return X, np.where(wrong, 1 - y, y), wrong
    return X, X[:, 0] - X[:, 1] + 20.0 * wrong, wrong


MODELS = [
    ("classification", MRClassifier, {}),
    (
        "classification",
        MRClassifier,
        {"mixup": 0.5, "batch_size": 16},
    ),
    ("classification", MRClassifier, {"every": 0.5, "batch_size": 32}),
    ("regression", MRRegressor, {}),
    ("regression", MRRegressor, {"hidden_layer_sizes": (), "solver": "lstsq"}),
]
CASES = pytest.mark.parametrize("task, kind, params", MODELS)


@CASES
def test_weights_keep_the_mass_and_find_the_wrong_rows(task, kind, params):
    X, y, wrong = noisy(task)
    prior = np.where(np.arange(len(y)) % 3, 1.0, 2.0)
    prior[:5] = 0
    settings = {**SMALL, "max_iter": 60, "learning_rate_init": 1e-2, **params}
    settings["n_iter_no_change"] = 60
    model = kind(0.1, **settings).fit(X, y, sample_weight=prior)
    assert model.eta_ == 0.1
    final = model.sample_weight_
    assert final.sum() == pytest.approx(prior.sum())
    assert (final[:5] == 0).all() and (final >= 0).all()
    share = (final / np.maximum(prior, 1))[5:]
    assert share[wrong[5:]].mean() < 0.5 * share[~wrong[5:]].mean()


@CASES
def test_a_step_size_of_zero_is_plain_training(task, kind, params):
    X, y, _ = noisy(task)
    if params.get("solver") == "lstsq" or params.get("mixup"):
        pytest.skip("no plain twin")
    net = NetClassifier if task == "classification" else NetRegressor
    params = {k: v for k, v in {**SMALL, **params}.items() if k != "every"}
    ours = kind(0.0, **params).fit(X, y)
    np.testing.assert_allclose(ours._outputs(X), net(**params).fit(X, y)._outputs(X))
    np.testing.assert_allclose(ours.sample_weight_, 1.0)
    assert ours.inlier_mask_.all()


@CASES
def test_going_on_is_one_long_fit(task, kind, params):
    """``warm_start`` on the same rows goes on from networks *and* weights."""
    if params.get("mixup") or params.get("batch_size"):
        pytest.skip("draws of a second fit are others")
    X, y, _ = noisy(task)
    same = {"tol": 0.0, "n_iter_no_change": 100, "learning_rate": "constant"}
    settings = {**SMALL, **same, **params}
    long = kind(0.1, **{**settings, "max_iter": 12}).fit(X, y)
    short = kind(0.1, **{**settings, "max_iter": 6}, warm_start=True).fit(X, y)
    short = pickle.loads(pickle.dumps(short)).fit(X, y)
    np.testing.assert_allclose(short.sample_weight_, long.sample_weight_)
    np.testing.assert_allclose(short.predict(X), long.predict(X))
    steps = kind(0.1, **settings)
    for _ in range(12):
        steps.partial_fit(X, y, **({"classes": [0, 1]} if "Class" in str(kind) else {}))
    np.testing.assert_allclose(steps.sample_weight_, long.sample_weight_, rtol=1e-5)


def test_other_rows_start_from_their_own_weights():
    X, y, _ = noisy("regression")
    model = MRRegressor(0.3, **SMALL, warm_start=True).fit(X, y)
    once = MRRegressor(0.3, **{**SMALL, "max_iter": 1})
    model.set_params(max_iter=1).fit(X[::-1], y[::-1])
    # one update from equal weights: the ratio of two weights is one of two losses
    loss = ((model.predict(X[::-1]) - y[::-1]) / once.fit(X, y)._y_scale) ** 2
    expected = np.exp(-0.3 * (loss - loss.min()))
    expected *= len(y) / expected.sum()
    np.testing.assert_allclose(model.sample_weight_, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_copies_are_halves_together_and_count_by_weight(seed):
    X = np.random.default_rng(seed).normal(size=(90, 3))
    times = np.random.default_rng(seed).integers(1, 5, 90)
    by_weight = halves(X, torch.as_tensor(times), seed).numpy()
    by_copies = halves(X.repeat(times, 0), torch.ones(times.sum()), seed).numpy()
    np.testing.assert_array_equal(by_weight.repeat(times), by_copies)
    assert by_copies.mean() == pytest.approx(1 / 2, abs=0.06)
    others = halves(X, torch.as_tensor(times), seed + 100).numpy()
    assert (others != by_weight).any()


# -- the step size that is chosen --------------------------------------------------
AUTO = {"hidden_layer_sizes": (64,), "max_iter": 60, "random_state": 0}
AUTO |= {"n_iter_no_change": 60, "batch_size": 128, "learning_rate_init": 3e-3}


def test_where_labels_are_learned_by_heart_rows_are_reweighted():
    X, truth = load_digits(return_X_y=True)
    X, truth = X[:800].astype(np.float32), truth[:800]
    y, wrong = symmetric(truth, 0.4, random_state=0)
    model = MRClassifier(**AUTO).fit(X, y)
    assert model.eta_ > 0
    assert model.sample_weight_[wrong].mean() < 0.2
    assert model.inlier_mask_[wrong].mean() < 0.2


@pytest.mark.parametrize("unit", [1 / 600, 0.5, 1e6])
def test_the_choice_does_not_depend_on_the_unit_of_weights(unit):
    X, truth = load_digits(return_X_y=True)
    X, truth = X[:600].astype(np.float32), truth[:600]
    y, wrong = symmetric(truth, 0.4, random_state=0)
    model = MRClassifier(**AUTO).fit(X, y, sample_weight=np.full(600, unit))
    assert model.eta_ > 0
    assert model.sample_weight_[wrong].mean() < 0.3 * unit


def test_gross_targets_do_not_throw_the_first_epochs_off():
    """Before weights tell rows apart: all would look wrong, and weights collapse."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X @ [1.0, -2.0, 0.5]
    wrong = rng.random(400) < 0.1
    y[wrong] = 1e5 * (1 + rng.random(wrong.sum()))
    model = MRRegressor(hidden_layer_sizes=(64,), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    assert model.score(X[~wrong], y[~wrong]) > 0.9
    assert not model.inlier_mask_[wrong].any()


def test_a_kind_of_rows_that_plain_training_meets_is_not_given_up():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    y = np.where(X[:, 0] > 0.8, 100.0, 0.0) + X[:, 1]
    model = MRRegressor(random_state=0).fit(X, y)
    assert model.eta_ == 0 and model.score(X, y) > 0.9


def test_where_reweighting_only_hurts_it_is_left():
    X, y = make_moons(600, noise=0.3, random_state=0)
    model = MRClassifier(**AUTO).fit(X.astype(np.float32), y)
    assert model.eta_ == 0
    np.testing.assert_allclose(model.sample_weight_, 1.0)


def test_what_the_choice_leaves_to_the_caller_is_used():
    X, y, _ = noisy("classification")
    fixed, usual = (
        MRClassifier(0.1, label_smoothing=a, **SMALL) for a in (0.1, "auto")
    )
    np.testing.assert_array_equal(
        fixed.fit(X, y).predict_proba(X), usual.fit(X, y).predict_proba(X)
    )
    assert usual.eta_ == usual.label_smoothing_ == 0.1
    model = MRClassifier(label_smoothing=0.3, **SMALL).fit(X, y)
    assert model.label_smoothing_ == 0.3 and model.eta_ in (0, 0.03, 0.1)


@pytest.mark.parametrize(
    "batch_size, max_iter, n_epochs",
    [(80, 400, 300), (80, 50, 50), (8, 400, 30), (16, 400, 60)],
)
def test_candidates_are_tried_for_as_many_steps_where_rows_are_few(
    batch_size, max_iter, n_epochs, monkeypatch
):
    tried = []

    def note(rows, progress, recipe, context, watch):
        tried.append(watch.n_epochs)

    monkeypatch.setattr(_choice, "run_epochs", note)
    X, y = make_moons(80, random_state=0)
    small = {"hidden_layer_sizes": (4,), "batch_size": batch_size, "random_state": 0}
    MRClassifier(max_iter=max_iter, n_iter_no_change=2, tol=1e9, **small).fit(X, y)
    # the halves are not quite of a size
    assert tried == pytest.approx([n_epochs, n_epochs], rel=0.2)


def test_a_fit_that_goes_on_keeps_to_its_choice():
    X, y, _ = noisy("classification")
    model = MRClassifier(**SMALL, warm_start=True).fit(X, y)
    chosen = model.eta_, model.label_smoothing_
    # labels that say nothing would be chosen otherwise for
    model.fit(X, np.random.default_rng(0).permutation(y))
    assert (model.eta_, model.label_smoothing_) == chosen


def test_held_out_labels_decide():
    """Who is asked which settings miss most of them gets another answer."""

    class Contrary(MRClassifier):
        _choices = (MRClassifier._choices[0]._replace(margin=0.0),)

        def _nearness(self, choice, outputs, targets):
            return -super()._nearness(choice, outputs, targets)

    X, y = make_moons(600, noise=0.3, random_state=0)
    assert Contrary(**AUTO).fit(X.astype(np.float32), y).eta_ > 0


@pytest.mark.parametrize("batch_size", [7, 64, 1000])
def test_on_half_of_the_rows_as_many_steps_are_taken(monkeypatch, batch_size):
    taken, run = [], _choice.run_epochs

    def spy(rows, progress, recipe, context, watch):
        taken.append((rows.n, rows.n_batches(recipe.batch_size)))
        run(rows, progress, recipe, context, watch)

    monkeypatch.setattr(_choice, "run_epochs", spy)
    X, y, _ = noisy("classification")
    MRClassifier(**{**SMALL, "batch_size": batch_size}).fit(X, y)
    (one, steps), (other, more) = taken
    assert one + other == len(y)
    assert steps == pytest.approx(-(-len(y) // batch_size), rel=0.2)
    assert more == pytest.approx(steps, rel=0.2)


def test_a_chosen_step_size_stops_and_a_given_one_does_not():
    X, truth = load_digits(return_X_y=True)
    X, y = X[:400].astype(np.float32), symmetric(truth[:400], 0.4, random_state=0)[0]
    chosen = MRClassifier(**AUTO, warm_start=True).fit(X, y)
    given = MRClassifier(chosen.eta_, **AUTO, warm_start=True).fit(X, y)
    assert chosen.eta_ > 0
    for model, stays in ((chosen, True), (given, False)):
        before = model.sample_weight_
        after = model.set_params(max_iter=5).fit(X, y).sample_weight_
        assert np.allclose(before, after) is stays


def test_learned_by_heart_there_is_no_margin():
    class Timid(MRClassifier):
        _choices = (MRClassifier._choices[0]._replace(margin=1e9),)

    X, truth = load_digits(return_X_y=True)
    X, y = X[:400].astype(np.float32), symmetric(truth[:400], 0.4, random_state=0)[0]
    assert Timid(**AUTO).fit(X, y).eta_ > 0
    Timid._choices = (Timid._choices[0]._replace(by_heart=np.inf),)
    assert Timid(**AUTO).fit(X, y).eta_ == 0


def test_few_rows_and_single_epochs_take_the_papers_step_size():
    X, y, _ = noisy("classification")
    assert MRClassifier(**SMALL).fit(X[:20], y[:20]).eta_ == 0.01
    model = MRClassifier(**SMALL).partial_fit(X, y, classes=[0, 1])
    assert model.eta_ == 0.01


# -- data that hurt ----------------------------------------------------------------
def assert_sound(model, X):
    for values in (model.predict(X), model.sample_weight_, model.loss_curve_):
        assert np.isfinite(values).all()


@CASES
def test_a_huge_step_size_says_that_the_weights_collapsed(task, kind, params):
    X, y, _ = noisy(task)
    with pytest.warns(ConvergenceWarning, match="weights collapsed"):
        model = kind(1e8, **{**SMALL, **params}).fit(X, y)
    assert_sound(model, X)
    assert model.sample_weight_.sum() == pytest.approx(len(y))


def test_max_weight_keeps_weights_from_collapsing():
    X, y, _ = noisy("regression")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = MRRegressor(300.0, max_weight=2.0, **SMALL).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="weights collapsed"):
        MRRegressor(300.0, **SMALL).fit(X, y)
    assert model.sample_weight_.max() <= 2 + 1e-9
    assert model.sample_weight_.sum() > 60
    assert_sound(model, X)


@pytest.mark.parametrize("eta", ["auto", 0.1, 100.0])
@pytest.mark.parametrize("params", [{}, MODELS[-1][2]], ids=["net", "lstsq"])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_unit_of_targets_does_not_matter(eta, params, scale):
    X, y, _ = noisy("regression")
    one = MRRegressor(eta, **{**SMALL, **params}).fit(X, y)
    other = MRRegressor(eta, **{**SMALL, **params}).fit(X, scale * y)
    assert_sound(other, X)
    np.testing.assert_allclose(other.predict(X), scale * one.predict(X), rtol=1e-4)


@pytest.mark.parametrize("eta", ["auto", 0.1])
@pytest.mark.parametrize("where", ["X", "y"])
@pytest.mark.parametrize("params", [{}, MODELS[-1][2]], ids=["net", "lstsq"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_row_at_1e300(eta, where, params):
    X, y, _ = noisy("regression")
    if where == "X":
        X[7] = 1e300
    else:
        y[7] = 1e300
    model = MRRegressor(eta, **{**SMALL, **params}).fit(X, y)
    assert_sound(model, X)
    if where == "y" and model.eta_:
        assert model.sample_weight_[7] == 0
        assert np.abs(model.predict(X)).max() < 1e3


@pytest.mark.parametrize("eta", ["auto", 0.1])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_input_row_at_1e300_among_classes(eta):
    X, y, _ = noisy("classification")
    X[7] = 1e300
    model = MRClassifier(eta, **SMALL).fit(X, y)
    assert_sound(model, X)
    assert np.isfinite(model.predict_proba(X)).all()


@CASES
def test_all_weight_on_one_row(task, kind, params):
    X, y, _ = noisy(task)
    prior = np.zeros(len(y))
    prior[3] = 5.0
    for eta in ("auto", 0.1):
        model = kind(eta, **{**SMALL, **params})
        if task == "classification":
            with pytest.raises(ValueError, match="requires at least 2 classes"):
                model.fit(X, y, sample_weight=prior)
            continue
        model.fit(X, y, sample_weight=prior)
        assert_sound(model, X)
        assert model.sample_weight_[3] == pytest.approx(5)


def test_nearly_all_weight_on_one_row():
    X, y, _ = noisy("classification")
    prior = np.full(len(y), 1e-6)
    prior[3] = 500.0
    model = MRClassifier(**SMALL).fit(X, y, sample_weight=prior)
    assert_sound(model, X)
    assert model.sample_weight_.sum() == pytest.approx(prior.sum())


@CASES
def test_one_row_and_constant_targets(task, kind, params):
    X = np.random.default_rng(0).normal(size=(40, 4))
    model = kind(**{**SMALL, **params})
    if task == "classification":
        for rows in (slice(1), slice(None)):
            with pytest.raises(ValueError, match="class"):
                clone(model).fit(X[rows], np.ones(40)[rows])
        return
    for rows in (slice(1), slice(None)):
        fitted = clone(model).fit(X[rows], np.full(40, 7.0)[rows])
        assert_sound(fitted, X)
        np.testing.assert_allclose(fitted.predict(X[rows]), 7, atol=1)


# -- bad settings ------------------------------------------------------------------
@pytest.mark.parametrize(
    "kind, params, message",
    [
        (MRClassifier, {"eta": -1}, "'eta' parameter of MRClassifier must be 'auto'"),
        (MRClassifier, {"eta": np.inf}, "'eta' parameter"),
        (MRClassifier, {"eta": "best"}, "'eta' parameter"),
        (MRClassifier, {"every": 0}, "'every' parameter"),
        (MRClassifier, {"mixup": -0.5}, "'mixup' parameter"),
        (MRClassifier, {"label_smoothing": 1.0}, "'label_smoothing' parameter"),
        (MRClassifier, {"label_smoothing": "best"}, "'label_smoothing' parameter"),
        (MRRegressor, {"max_weight": 0.5}, "'max_weight' parameter"),
        (MRClassifier, {"solver": "lstsq"}, "'solver' parameter"),
        (MRRegressor, {"solver": "lstsq"}, "solves a linear model"),
        (
            MRRegressor,
            {"solver": "lstsq", "hidden_layer_sizes": (), "criterion": "huber"},
            "solves a linear model",
        ),
    ],
)
def test_impossible_settings_are_refused(kind, params, message):
    X, y, _ = noisy("classification")
    model = kind(**params)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "eta_")


def test_weights_of_classes_are_no_collapse():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 3)), np.zeros(400, int)
    y[:4] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        MRClassifier(0, class_weight="balanced", max_iter=2, random_state=0).fit(X, y)


@pytest.mark.parametrize("weight", [1e18, 1e30])
def test_a_choice_counts_rows_of_any_weight(weight):
    X = np.random.default_rng(0).normal(size=(60, 2))
    model = MRRegressor(max_iter=2, hidden_layer_sizes=(4,), random_state=0)
    heavy = clone(model).fit(X, X[:, 0], sample_weight=np.full(60, weight))
    assert heavy.eta_ == model.fit(X, X[:, 0]).eta_
