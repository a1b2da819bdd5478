"""Laws of the decay that estimators choose by what they hold out."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes, make_blobs
from sklearn.model_selection import train_test_split

from skrobust import (
    MoMClassifier,
    MoMRegressor,
    MRClassifier,
    MRRegressor,
    NetClassifier,
    NetRegressor,
    PRLClassifier,
    PRLRegressor,
    _choice,
)
from skrobust._choice import MOST, pick
from skrobust._stack import MLPStack
from skrobust._train import Recipe, _regularize
from skrobust.corruption import linadv, symmetric
from skrobust.rules import Trim
from skrobust.steps import Reweight, SmoothLabels

NUMBERS = [NetRegressor, MoMRegressor, PRLRegressor, partial(MRRegressor, 0.03)]
CLASSES = [
    NetClassifier,
    MoMClassifier,
    partial(PRLClassifier, 0.0),
    partial(MRClassifier, 0.0),
]
NETS = [NetRegressor, NetClassifier]
SMALL = {"hidden_layer_sizes": (64, 64), "random_state": 0}
SEVERAL = {
    "ensemble": NetRegressor(n_networks=2, **SMALL),
    "exchange": PRLRegressor(co_training=True, **SMALL),
    "ensemble of classes": NetClassifier(n_networks=2, **SMALL),
    "exchange of classes": PRLClassifier(0.0, co_training=True, **SMALL),
    "players": MoMRegressor(selection="increment", **SMALL),
}


def vague(n=200, seed=0, outputs=1):
    """Rows of which noise is most that targets say."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n, 10))
    y = X[:, :outputs] + 2.0 * rng.normal(size=(n, outputs))
    return X, y[:, 0] if outputs == 1 else y


def exact(n=200, seed=0):
    """Rows on a wave."""
    X = np.random.RandomState(seed).uniform(-3, 3, (n, 1))
    return X, np.sin(2 * X[:, 0])


def gross(y, share=0.2, seed=0):
    """Targets some of which are far off."""
    rng = np.random.RandomState(seed)
    wrong = rng.permutation(len(y)) < share * len(y)
    return np.where(wrong, y + rng.choice([-1, 1], len(y)) * 10 * y.std(), y)


def noisy(model, n=200):
    """Rows for a model, of which noise is most that targets or labels say."""
    if not is_classifier(model):
        return vague(n)
    X, y = make_blobs(n, 10, cluster_std=6.0, random_state=0)
    return X, symmetric(y, 0.5, random_state=0)[0]


def wavy(model, n=200):
    """Rows for a model on a wave, or on its sides."""
    X, y = exact(n)
    return X, (y > 0).astype(int) if is_classifier(model) else y


def weakest(model):
    """The smallest decay that a model tries."""
    return min(model._choices[-1].tried)[0]


def said(model, X):
    """Return the numbers that a model predicts or classifies by."""
    return getattr(model, "predict_proba", model.predict)(X)


# -- what is chosen ----------------------------------------------------------------
@pytest.mark.parametrize("kind", NUMBERS + CLASSES)
def test_noise_calls_for_decay_and_a_wave_for_little(kind):
    model = kind(**SMALL)
    assert model.fit(*noisy(model)).weight_decay_ > 1
    assert model.fit(*wavy(model)).weight_decay_ == weakest(model)


@pytest.mark.parametrize("kind", NUMBERS[1:])
def test_gross_errors_change_nothing_in_that(kind):
    X, y = vague()
    assert kind(**SMALL).fit(X, gross(y)).weight_decay_ > 1
    X, y = exact()
    model = kind(**SMALL)
    assert model.fit(X, gross(y)).weight_decay_ == weakest(model)


def test_nor_does_a_plane_of_wrong_targets():
    X, y = exact()
    y, _ = linadv(y, 0.3, X=X, random_state=0)
    model = PRLRegressor(0.3, **SMALL)
    assert model.fit(X, y).weight_decay_ == weakest(model)


def test_a_chosen_decay_predicts_better():
    X, y = load_diabetes(return_X_y=True)
    score = {
        decay: NetRegressor(weight_decay=decay, **SMALL)
        .fit(X[:300], y[:300])
        .score(X[300:], y[300:])
        for decay in (1.0, "auto")
    }
    assert score["auto"] > max(0.4, score[1.0] + 0.1)


def test_nor_are_labels_that_are_wrong_learned_by_heart():
    X, y = load_breast_cancer(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    y, _ = symmetric(y, 0.2, random_state=0)
    score = {
        decay: NetClassifier(weight_decay=decay, random_state=0)
        .fit(X, y)
        .score(X_test, y_test)
        for decay in (1.0, "auto")
    }
    assert score["auto"] > max(0.9, score[1.0] + 0.03)


@pytest.mark.parametrize(
    "model",
    [
        PRLClassifier(),
        MRClassifier(0.1),
        MRClassifier(lambda epoch: 0.1),
        NetClassifier((Reweight(Trim(0.2)),)),
    ],
    ids=["leaves out", "weighs", "by schedule", "composed"],
)
def test_rules_that_find_wrong_labels_take_the_place_of_decay(model):
    model = model.set_params(**SMALL)
    assert model.fit(*noisy(model)).weight_decay_ == 1


def test_steps_that_change_targets_do_not():
    model = NetClassifier((SmoothLabels(0.1),), **SMALL)
    assert model.fit(*noisy(model)).weight_decay_ > 1


def test_a_rare_region_is_not_smoothed_away():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(600, 3))
    y = 0.3 * rng.normal(size=600) + 4 * (X[:, 0] > 1.5)
    assert NetRegressor(**SMALL).fit(X, y).weight_decay_ < 10


@pytest.mark.parametrize("name", [n for n in SEVERAL if n != "players"])
def test_several_networks_choose_together(name):
    model = clone(SEVERAL[name])
    assert model.fit(*noisy(model, 400)).weight_decay_ > 1


@pytest.mark.parametrize("name", SEVERAL)
def test_several_networks_are_not_smoothed_without_need(name):
    model = clone(SEVERAL[name])
    assert model.fit(*wavy(model)).weight_decay_ == weakest(model)


def test_a_network_of_ones_own_and_several_outputs():
    def network(n_features, n_outputs):
        hidden = torch.nn.Linear(n_features, 64)
        return torch.nn.Sequential(hidden, torch.nn.ReLU(), torch.nn.Linear(64, 2))

    X, y = vague(outputs=2)
    assert NetRegressor(network=network, random_state=0).fit(X, y).weight_decay_ > 1
    assert NetRegressor(**SMALL).fit(X, y).weight_decay_ > 1


def test_steps_of_the_callers_own_see_the_networks_that_were_asked_for():
    seen = set()

    class Spy:
        def __call__(self, stack, batch, context):
            seen.add(stack.n_networks)
            return batch

    X, y = vague()
    model = NetRegressor((Spy(),), **SMALL).fit(X, y)
    assert seen == {1}
    assert model.weight_decay_ == NetRegressor(**SMALL).fit(X, y).weight_decay_


# -- what the choice leaves alone --------------------------------------------------
@pytest.mark.parametrize("kind", NUMBERS + CLASSES)
def test_a_chosen_decay_acts_like_a_given_one(kind):
    chosen = kind(**SMALL)
    X, y = noisy(chosen)
    chosen.fit(X, y)
    given = kind(weight_decay=chosen.weight_decay_, **SMALL).fit(X, y)
    assert given.weight_decay_ == chosen.weight_decay_ > 1
    assert np.array_equal(said(chosen, X), said(given, X))


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("few", [{"max_iter": 5}, {"learning_rate_init": 0.06}])
def test_the_usual_decay_where_the_caller_trains_otherwise(kind, few):
    model = kind(**few, **SMALL)
    X, y = noisy(model)
    assert model.fit(X, y).weight_decay_ == 1
    given = kind(weight_decay=1.0, **few, **SMALL).fit(X, y)
    assert np.array_equal(said(model, X), said(given, X))


def test_classifiers_train_for_two_hundred_epochs():
    X, y = noisy(NetClassifier(), 100)
    options = {**SMALL, "weight_decay": 1.0, "n_iter_no_change": None}
    auto, given = (
        NetClassifier(max_iter=n, **options).fit(X, y) for n in ("auto", 200)
    )
    assert auto.n_iter_ == given.n_iter_ == 200
    assert np.array_equal(said(auto, X), said(given, X))


@pytest.mark.parametrize("kind", NETS)
def test_few_rows_and_single_epochs_take_the_usual_decay(kind):
    model = kind(**SMALL)
    X, y = noisy(model)
    assert model.fit(X[:29], y[:29]).weight_decay_ == 1
    classes = {"classes": np.unique(y)} if is_classifier(model) else {}
    assert kind(**SMALL).partial_fit(X, y, **classes).weight_decay_ == 1


@pytest.mark.parametrize("kind", NETS)
def test_many_rows_are_not_asked(kind):
    model, (choice,) = kind(), kind._choices
    assert model._worth(choice, np.empty((MOST, 1), np.float32))
    assert not model._worth(choice, np.empty((MOST + 1, 1), np.float32))


def test_a_fit_that_goes_on_keeps_its_decay():
    X, y = vague()
    model = NetRegressor(warm_start=True, **SMALL).fit(X, y)
    assert model.weight_decay_ > 1
    wave = np.sin(2 * X[:, 0])
    assert model.fit(X, wave).weight_decay_ > 1
    assert model.partial_fit(X, wave).weight_decay_ > 1


def test_a_solution_in_closed_form_has_no_decay_to_choose(monkeypatch):
    tried, run = [], _choice.run_epochs
    monkeypatch.setattr(_choice, "run_epochs", lambda *a: tried.append(1) or run(*a))
    X, y = vague()
    line = {"hidden_layer_sizes": (), "solver": "lstsq", "random_state": 0}
    MRRegressor(0.0, **line).fit(X, y)
    assert not tried


@pytest.mark.parametrize("kind", NETS)
def test_a_row_of_weight_two_is_asked_twice(kind):
    weighted, repeated = (kind(dtype="float64", **SMALL) for _ in range(2))
    X, y = noisy(weighted, 160)
    counts = 1 + np.arange(160) % 2
    weighted.fit(X, y, sample_weight=counts)
    repeated.fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    assert weighted.weight_decay_ == repeated.weight_decay_ > 1
    assert np.allclose(said(weighted, X), said(repeated, X))


@pytest.mark.parametrize("value", ["car", -1, None, [1.0]])
def test_what_is_no_decay_is_refused(value):
    X, y = vague(40)
    with pytest.raises(ValueError, match="'weight_decay' parameter of NetRegressor"):
        NetRegressor(weight_decay=value).fit(X, y)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("value", [1e300, 1e-300])
def test_inputs_that_are_not_scaled_may_be_anything(kind, value):
    model = kind(standardize=False, **SMALL)
    X, y = noisy(model)
    X[:5] *= value
    assert np.isfinite(said(model.fit(X, y), X)).all()


# -- how -------------------------------------------------------------------------
def test_each_network_of_a_stack_decays_by_its_own():
    decays = torch.tensor([[0.0], [1.0], [20.0]])
    stack = MLPStack((3, 4, 1), 3, generator=torch.Generator().manual_seed(0))
    before = stack.decaying[0].clone()
    recipe = Recipe((), 10, lambda epoch: 0.1, weight_decay=decays)
    _regularize(stack, 10.0, recipe, 0.01)
    assert torch.allclose(stack.decaying[0], before * (1 - 0.01 * decays))


def test_a_safer_one_is_picked_within_the_margin_only():
    rng = np.random.RandomState(0)
    near = torch.from_numpy(rng.normal(size=(2, 400)))
    near[1] += 0.1
    share, leading = torch.full((400,), 1 / 400).double(), torch.tensor([1.0, 5.0])
    gaps = near[1] - near[0]
    behind = float(gaps.mean() / (gaps.std(correction=0) / 20))
    assert behind > 0
    assert pick(near, share, 400, leading, behind * 0.99) == 1
    assert pick(near, share, 400, leading, behind * 1.01) == 0


def test_votes_count_who_is_better_and_not_by_what():
    merits = torch.tensor([[0.0] * 10, [1.0] * 8 + [-100.0] * 2]).double()
    share, leading = torch.full((10,), 0.1).double(), torch.tensor([0.0, 1.0])
    assert pick(merits, share, 10, leading, 0.0, votes=True) == 1
    assert pick(merits, share, 10, leading, 0.0) == 0
