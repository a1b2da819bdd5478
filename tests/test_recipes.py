"""Laws of the recipes: what they equal, what they bound, what they ignore."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skrobust import recipes
from skrobust._batch import Batch
from skrobust._stack import MLPStack
from skrobust._train import Recipe, train_batch
from skrobust.criteria import as_loss
from skrobust.recipes import BASELINES, make_baselines
from skrobust.recipes._common import TASKS
from skrobust.steps import Context

SMALL = {"hidden_layer_sizes": (16,), "max_iter": 12, "random_state": 0}
SMALL |= {"batch_size": 32, "weight_decay": 0.0}
MADE = [(task, name) for task in TASKS for name in make_baselines(task)]


def _data(task, n=150, n_classes=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    if task == "classification":
        scores = np.c_[X[:, 0], X[:, 1], -X[:, 0] - X[:, 1]][:, :n_classes]
        y = scores.argmax(1)
        wrong = rng.random(n) < 0.2
        return X, np.where(wrong, (y + 1) % n_classes, y)
    y = X[:, 0] - X[:, 1] ** 2
    y[rng.random(n) < 0.2] += 8.0
    return X, y


def _outputs(model, X, y):
    model.fit(X, y)
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    return model.predict(X)


def _assert_same(one, other, task, **tolerance):
    X, y = _data(task)
    tolerance = tolerance or {"rtol": 1e-7, "atol": 1e-9}
    np.testing.assert_allclose(_outputs(one, X, y), _outputs(other, X, y), **tolerance)


def _differ(one, other, task):
    X, y = _data(task)
    return np.abs(_outputs(one, X, y) - _outputs(other, X, y)).max() > 1e-3


def _step_length(recipe, task, y_scale=1.0, **settings):
    """Length of one plain step of size 1: fits that differ by it in nothing else."""
    X, y = _data(task)
    if task == "regression":
        y = y + y_scale * (np.arange(len(y)) % 3 == 0)
    ends = [
        recipe(
            task,
            **settings,
            **{**SMALL, "max_iter": 1, "batch_size": len(y)},
            solver="sgd",
            momentum=0.0,
            alpha=0.0,
            learning_rate_init=size,
        )
        .fit(X, y)
        ._stack.theta
        for size in (1.0, 2.0)
    ]
    return float(torch.linalg.vector_norm(ends[1] - ends[0]))


def _gradient(model, x, y, criterion):
    """Gradient of one batch of a fresh stack under the steps of an estimator."""
    stack = MLPStack(
        (x.shape[1], 8, y.shape[1]),
        model.n_networks,
        generator=torch.Generator().manual_seed(1),
    )
    context = Context(as_loss(criterion), 0, torch.Generator())
    how = Recipe(tuple(model.steps), len(x), lambda epoch: 0.0)

    class Still:
        def step(self, theta, grad, lr):
            pass

    batch = Batch(x, y, torch.ones(1, len(x), dtype=x.dtype))
    train_batch(stack, batch, Still(), how, context)
    return stack.grad.clone(), stack


def _rows(task, n=9, n_outputs=3):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    if task == "classification":
        y = torch.eye(n_outputs, dtype=x.dtype)
        return x, y[torch.randint(n_outputs, (n,), generator=generator)]
    return x, torch.randn(n, 1, generator=generator, dtype=x.dtype)


# -- every recipe ------------------------------------------------------------------
@pytest.mark.parametrize("task, name", MADE)
def test_fits_clones_pickles_predicts(task, name):
    X, y = _data(task)
    model = make_baselines(task, 0.25, **SMALL)[name]
    assert model.get_params()["hidden_layer_sizes"] == (16,)
    twin = clone(model)
    assert repr(twin) == repr(model)
    before = X.copy(), y.copy()
    outputs = _outputs(model, X, y)
    check_is_fitted(model)
    assert len(outputs) == len(X) and np.isfinite(outputs).all()
    np.testing.assert_array_equal(outputs, _outputs(twin, X, y))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict(X), again.predict(X))
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


# Min-SGD learns from one easy row in 32, which is too little, as the papers found
@pytest.mark.parametrize("task, name", [m for m in MADE if m[1] != "min_sgd"])
def test_learns(task, name):
    # clean and easy: whatever a recipe leaves out, the rest shows the pattern
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = X[:, 0] if task == "regression" else (X[:, 0] > 0).astype(int)
    settings = {**SMALL, "max_iter": 100, "n_iter_no_change": 100}
    model = make_baselines(task, 0.1, **settings)[name]
    assert model.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("task", TASKS)
def test_epsilon_arrives_where_there_is_one(task):
    made = make_baselines(task, 0.37)
    having = {name for name, m in made.items() if "epsilon" in m.get_params()}
    assert having == {"self_paced", "co_teaching", "prl_l", "prl_g", "co_prl"}
    assert all(made[name].epsilon == 0.37 for name in having)


def test_tables_agree():
    assert set(BASELINES) <= set(recipes.__all__)
    assert {name for _, name in MADE} == set(BASELINES)


@pytest.mark.parametrize("name", BASELINES)
def test_refuses_a_task_it_has_not(name):
    for task in (*TASKS, "clustering", None):
        if (task, name) not in MADE:
            with pytest.raises(ValueError, match=f"'task' parameter of {name} must be"):
                BASELINES[name](task)
    with pytest.raises(TypeError):
        BASELINES[name](no_such_parameter=1)


# -- equalities ----------------------------------------------------------------------
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["self_paced", "prl_l", "prl_g"])
def test_nothing_left_out_is_standard(task, name):
    plain = recipes.standard(task, **SMALL)
    _assert_same(BASELINES[name](task, 0, **SMALL), plain, task)
    assert _differ(BASELINES[name](task, 0.3, **SMALL), plain, task)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "name, setting", [("row_clip", "limit"), ("norm_clip", "clip_norm")]
)
def test_a_huge_limit_is_standard(task, name, setting):
    plain = recipes.standard(task, **SMALL)
    _assert_same(BASELINES[name](task, **{setting: 1e9}, **SMALL), plain, task)
    assert _differ(BASELINES[name](task, **{setting: 1e-3}, **SMALL), plain, task)


def test_huber_with_a_huge_delta_is_standard():
    plain = recipes.standard("regression", **SMALL)
    _assert_same(recipes.huber(delta=1e9, **SMALL), plain, "regression")
    assert _differ(recipes.huber(delta=0.1, **SMALL), plain, "regression")


def test_huber_with_a_tiny_delta_is_absolute_deviation():
    # delta * |r| up to a constant: one plain step is delta-proportional
    one = _step_length(recipes.huber, "regression", delta=1e-6)
    other = _step_length(recipes.absolute_deviation, "regression")
    np.testing.assert_allclose(one / 2e-6, other, rtol=1e-4)


@pytest.mark.parametrize("hard", [False, True])
def test_bootstrap_of_nothing_is_standard(hard):
    plain = recipes.standard(**SMALL)
    _assert_same(
        recipes.bootstrap(hard=hard, amount=0.0, **SMALL), plain, "classification"
    )


def test_soft_labels_of_no_share_are_standard():
    plain = recipes.standard(**SMALL)
    _assert_same(recipes.label_smoothing(amount=0.0, **SMALL), plain, "classification")
    assert _differ(recipes.label_smoothing(**SMALL), plain, "classification")


def test_the_loss_mixture_is_standard_until_it_has_warmed_up():
    plain = recipes.standard(**SMALL)
    n = SMALL["max_iter"]
    late, early = (recipes.loss_mixture(warm_up=w, alpha=0, **SMALL) for w in (n, 2))
    _assert_same(late, plain, "classification")
    assert _differ(early, plain, "classification")


def test_the_loss_mixture_distrusts_wrong_labels():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    wrong = rng.random(400) < 0.3
    y = np.where(wrong, X[:, 0] < 0, X[:, 0] > 0)
    settings = {**SMALL, "max_iter": 60, "n_iter_no_change": 60}
    for alpha in (0, 1.0, 32.0):
        model = recipes.loss_mixture(alpha=alpha, warm_up=10, **settings).fit(X, y)
        left = model.sample_weight_
        assert left[wrong].mean() < 0.5 * left[~wrong].mean()
        assert (model.predict(X) == (X[:, 0] > 0)).mean() > 0.8


@pytest.mark.parametrize("hard", [False, True])
def test_bootstrap_changes_more_than_the_size_of_steps(hard):
    x, y = _rows("classification")
    model = recipes.bootstrap(hard=hard, amount=0.3)
    mixed, _ = _gradient(model, x, y, model.criterion)
    plain, _ = _gradient(recipes.standard(), x, y, "cross_entropy")
    assert torch.cosine_similarity(mixed, plain, dim=0) < 0.999


def test_co_teaching_is_co_prl_for_squared_errors():
    one, other = (
        recipe("regression", 0.3, **SMALL)
        for recipe in (recipes.co_teaching, recipes.co_prl)
    )
    _assert_same(one, other, "regression")
    one, other = (
        recipe("classification", 0.3, **SMALL)
        for recipe in (recipes.co_teaching, recipes.co_prl)
    )
    assert _differ(one, other, "classification")


def test_row_clip_takes_the_loss_it_descends():
    model = recipes.row_clip("regression", criterion="huber")
    recipe = model._recipe(10, 10, 10, 1)
    assert recipe.steps[0].score.loss == as_loss("huber")


# -- bounds --------------------------------------------------------------------------
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "name, setting", [("row_clip", "limit"), ("norm_clip", "clip_norm")]
)
def test_a_limit_bounds_the_step(task, name, setting):
    free = _step_length(recipes.standard, task, y_scale=1e6)
    for limit in (0.3 * free, 1e-3):
        length = _step_length(BASELINES[name], task, 1e6, **{setting: limit})
        assert 0 < length <= limit * (1 + 1e-9)
        if name == "norm_clip":
            np.testing.assert_allclose(length, limit)


# -- which rows count ----------------------------------------------------------------
@pytest.mark.parametrize("task", TASKS)
def test_min_sgd_follows_the_best_row_alone(task):
    x, y = _rows(task)
    criterion = recipes.standard(task).criterion
    found, stack = _gradient(recipes.min_sgd(task), x, y, criterion)
    losses = as_loss(criterion).value(stack.predict(x), y)[0]
    best = int(losses.argmin())
    alone = [
        _gradient(recipes.standard(task), x[i : i + 1], y[i : i + 1], criterion)[0]
        for i in range(len(x))
    ]
    torch.testing.assert_close(found, alone[best])
    assert not any(torch.allclose(found, g) for i, g in enumerate(alone) if i != best)


def test_decouple_follows_the_rows_in_dispute():
    x, y = _rows("classification", n=40)
    x = 5 * x  # far out the classes vary
    model = recipes.decouple()
    found, stack = _gradient(model, x, y, "cross_entropy")
    classes = stack.predict(x).argmax(-1)
    dispute = classes[0] != classes[1]
    assert 0 < dispute.sum() < len(x)
    flipped = torch.where(dispute[:, None], y, y.roll(1, 1))
    same, _ = _gradient(model, x, flipped, "cross_entropy")
    torch.testing.assert_close(found, same)
    flipped = torch.where(dispute[:, None], y.roll(1, 1), y)
    other, _ = _gradient(model, x, flipped, "cross_entropy")
    assert not torch.allclose(found, other)


def test_absolute_deviation_learns_the_median():
    X = np.zeros((301, 1))
    y = np.r_[np.zeros(160), np.full(141, 10.0)]
    settings = {**SMALL, "max_iter": 300, "learning_rate": "cosine", "batch_size": 301}
    settings |= {"learning_rate_init": 0.02, "n_iter_no_change": 300}
    settings |= {"alpha": 0.0}
    median = recipes.absolute_deviation(**settings).fit(X, y).predict(X[:1])
    mean = recipes.standard("regression", **settings).fit(X, y).predict(X[:1])
    assert abs(median[0]) < 0.3
    np.testing.assert_allclose(mean, y.mean(), atol=0.1)


def test_parameters_of_all_baselines_are_those_of_the_estimators():
    made = make_baselines(alpha=1e-3, max_iter=7)
    assert {(model.alpha, model.max_iter) for model in made.values()} == {(1e-3, 7)}
    assert made["mixup"].steps[0].alpha == 1.0
