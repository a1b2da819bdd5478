"""Median-of-means: Algorithm 1 by hand, players in turns, blocks that hold up."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.testing import assert_close

from skrobust import (
    MoMClassifier,
    MoMRegressor,
    MRRegressor,
    NetClassifier,
    NetRegressor,
    PRLRegressor,
)
from skrobust._batch import Batch, Rows
from skrobust._border import target_keys
from skrobust._keys import all_differ
from skrobust._modules import ModuleStack
from skrobust._mom import spoiled_steps
from skrobust._optim import SGD, Adam
from skrobust._stack import MLPStack
from skrobust._train import Recipe, train_batch
from skrobust.criteria import CrossEntropy, LossIncrement, SquaredError
from skrobust.rules import MedianOfMeans, NearMedian, Phases
from skrobust.steps import Context, Reweight

F64 = torch.float64
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 30, "random_state": 0}
BOTH = pytest.mark.parametrize("selection", ["loss", "increment"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(loss, n=24, seed=0):
    rng = generator(seed)
    x = torch.randn(n, 4, generator=rng, dtype=F64)
    y = torch.randn(n, 3, generator=rng, dtype=F64)
    if isinstance(loss, CrossEntropy):
        y = (y == y.amax(1, keepdim=True)).double()
    return Batch(x, y, torch.ones(1, n, dtype=F64))


def mlp(k=2):
    return MLPStack((4, 6, 3), k, activation="tanh", generator=generator())


def own(stack):
    """The same networks as a user's own modules."""
    return ModuleStack(stack.modules(), dtype=F64, device=torch.device("cpu"))


def signal(n=240, share=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=n)
    wrong = np.arange(n) < round(share * n)
    return X, y, wrong


# -- the algorithm ---------------------------------------------------------------


def algorithm_one(players, optimizers, x, y, loss, n_blocks):
    """Steps 3 and 5 of Algorithm 1, as anybody would write them in torch."""

    def losses(player):
        return loss.value(player(x)[None], y)[0]

    for turn in (0, 1):
        first, second = map(losses, players)
        increments = (first - second).detach().view(n_blocks, -1).mean(1)
        middle = increments.sort().indices[(n_blocks - 1) // 2]
        chosen = (first, second)[turn].view(n_blocks, -1)[middle].mean()
        optimizers[turn].zero_grad()
        chosen.backward()
        optimizers[turn].step()


@pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()], ids=repr)
@pytest.mark.parametrize("adam", [True, False])
@pytest.mark.parametrize("build", [mlp, lambda: own(mlp())], ids=["ours", "own"])
def test_players_take_turns_as_in_algorithm_one(loss, adam, build):
    """Each is still while the other steps, its moments included."""
    stack, modules = build(), mlp().modules()
    ours = Adam(stack.theta) if adam else SGD(stack.theta)
    kinds = {"lr": 0.05}
    theirs = [
        torch.optim.Adam(m.parameters(), **kinds)
        if adam
        else torch.optim.SGD(m.parameters(), **kinds, momentum=0.9, nesterov=True)
        for m in modules
    ]
    step = Reweight(MedianOfMeans(8), LossIncrement(loss))
    recipe = Recipe((step,), 24, lambda epoch: 0.05, turns=True)
    context = Context(loss, 0, generator())
    for seed in range(6):
        rows = batch(loss, seed=seed)
        with stack.mode():
            train_batch(stack, rows, ours, recipe, context)
        algorithm_one(modules, theirs, rows.x, rows.y, loss, 8)
    for mine, module in zip(stack.modules(), modules, strict=True):
        for p, q in zip(mine.parameters(), module.parameters(), strict=True):
            assert_close(p, q, rtol=1e-8, atol=1e-10)


def test_players_without_a_rule_are_networks_by_themselves():
    loss, together, alone = SquaredError(), mlp(), [mlp(), mlp()]
    step = Context(loss, 0, generator())
    for stack, turns in [(together, True), (alone[0], False)]:
        optimizer = Adam(stack.theta)
        recipe = Recipe((), 24, lambda epoch: 0.05, alpha=0.1, turns=turns)
        for seed in range(3):
            train_batch(stack, batch(loss, seed=seed), optimizer, recipe, step)
    assert_close(together.theta, alone[0].theta, rtol=1e-11, atol=1e-13)


@dataclass(frozen=True)
class Whole(MedianOfMeans):
    """The same rule without its promise to leave weight to few rows."""

    sparse = False


@pytest.mark.parametrize("build", [mlp, lambda k: own(mlp(k))], ids=["ours", "own"])
@pytest.mark.parametrize(("k", "turns"), [(1, False), (2, True)])
@pytest.mark.parametrize("central", [1, 5])
def test_rows_that_nobody_follows_can_be_left_out(build, k, turns, central):
    loss, left = SquaredError(), []
    for rule in (MedianOfMeans(8, central), Whole(8, central)):
        stack = build(k)
        optimizer, context = Adam(stack.theta), Context(loss, 0, generator())
        score = LossIncrement(loss) if turns else None
        recipe = Recipe((Reweight(rule, score),), 24, lambda epoch: 0.05, turns=turns)
        for seed in range(4):
            with stack.mode():
                train_batch(stack, batch(loss, seed=seed), optimizer, recipe, context)
        left.append(stack.theta)
    assert_close(*left, rtol=1e-9, atol=1e-11)


@BOTH
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_one_block_is_plain_training(task, selection):
    X, y, _ = signal()
    if task == "classes":
        mom, plain, y = MoMClassifier, NetClassifier, y > 0
    else:
        mom, plain = MoMRegressor, NetRegressor
    ours = mom(1, selection=selection, **SMALL)
    shared = {k: v for k, v in ours.get_params().items() if k in plain().get_params()}
    ours, plain = ours.fit(X, y), plain(**shared).fit(X, y)
    assert_allclose(ours.predict(X), plain.predict(X), rtol=1e-10)
    assert_allclose(ours.loss_curve_, plain.loss_curve_, rtol=1e-10)


def test_the_increment_survives_targets_that_swallow_it():
    """In single precision both losses of a far target round to the same number."""
    stack = MLPStack((4, 6, 3), 2, generator=generator(), dtype=torch.float32)
    rows = batch(SquaredError())
    far = Batch(rows.x.float(), rows.y.float() + 1e9, rows.weights.float())
    found = LossIncrement(SquaredError())(stack, far)[0]
    first, second = stack.predict(far.x).double()
    exact = -2e9 * (first - second).mean(1)
    assert_close(found, exact, rtol=1e-3, atol=1.0)


# -- the order of the rows -------------------------------------------------------


def shuffled(x, seed=0, epochs=3):
    keys = torch.as_tensor(target_keys(x.numpy(), np.zeros(len(x))))
    rows, rng = Rows(x, None, torch.ones(len(x)), keys=keys), generator(seed)
    return [next(iter(rows.epoch(len(x), rng))).x for _ in range(epochs)]


def test_one_batch_is_shuffled_whatever_order_it_came_in():
    x = batch(SquaredError()).x
    first = shuffled(x)
    for a, b in zip(first, shuffled(x.flip(0)), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first[1].sort(0).values, x.sort(0).values)


def test_repeated_rows_stay_side_by_side():
    x = batch(SquaredError()).x
    twice = shuffled(torch.cat([x, x]))
    for once, both in zip(shuffled(x), twice, strict=True):
        assert torch.equal(both, once.repeat_interleave(2, 0))


def test_shuffles_are_even():
    """Each row is in the first half in about half of the draws."""
    x = torch.arange(40.0, dtype=F64)[:, None]
    halves = torch.stack([part[:20, 0] for part in shuffled(x, epochs=400)])
    times = torch.bincount(halves.long().flatten(), minlength=40)
    assert times.min() > 150
    assert times.max() < 250


def test_keys_tell_rows_apart_by_value():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 2, (200, 8)).astype(float), np.zeros(200)
    same = (X[:, None] == X[None]).all(2)
    keys = target_keys(X, y)
    assert_array_equal(keys[:, None] == keys[None], same)
    assert_array_equal(target_keys(-X * 0, y), target_keys(X * 0, y))
    assert (target_keys(X, y) != target_keys(X, y + 1)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_glance_never_tells_equal_rows_apart(dtype):
    X = np.random.default_rng(0).normal(size=(1001, 7)).astype(dtype)
    assert all_differ(X)
    assert all_differ(X[:, :, None])
    for again in (0, 500, 1000):
        assert not all_differ(np.vstack([X, X[again]]))
    X[:, 0] = np.inf  # nothing is known of rows with no finite mark
    X[::2, 1] = -np.inf
    assert not all_differ(X)


# -- what it is for --------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("gross", [50.0, 1e8, 1e300])
def test_gross_targets_do_little_harm_and_are_found(selection, gross):
    X, y, wrong = signal(share=0.2)
    bad = np.where(wrong, gross, y)
    fast = {**SMALL, "max_iter": 150, "learning_rate_init": 0.01, "weight_decay": 0.0}
    model = MoMRegressor(0.5, selection=selection, n_iter_no_change=150, **fast)
    model.fit(X, bad)
    # trained on everything, it would be off by several
    assert np.median(np.abs(model.predict(X) - y)[~wrong]) < 1
    assert not model.inlier_mask_[wrong].any()
    assert model.inlier_mask_[~wrong].mean() > 0.8


def test_left_alone_it_follows_few_rows_and_then_all_near_the_median():
    X, y, wrong = signal(share=0.4)
    bad = np.where(wrong, 50.0 + y, y)
    model = MoMRegressor(**SMALL).fit(X, bad)
    first = 15  # all rows are one batch: 120 steps are more than half of the training
    rule = Phases(MedianOfMeans(1.0, 0.2), NearMedian(9.0, floor=1.5), first)
    step = Reweight(rule, SquaredError())
    spelt_out = NetRegressor(
        (step,), learning_rate="cosine", n_iter_no_change=None, **SMALL
    ).fit(X, bad)
    assert_array_equal(model.predict(X), spelt_out.predict(X))
    # as long as it took for a good start, it would be of little use without an end
    model.set_params(max_iter=150, learning_rate_init=0.01).fit(X, bad)
    assert not model.inlier_mask_[wrong].any()
    assert model.inlier_mask_[~wrong].mean() > 0.95
    assert np.median(np.abs(model.predict(X) - y)[~wrong]) < 0.2


def test_moderate_errors_are_not_let_in_again():
    """Two fifths of flipped signs would widen a wider limit until all are in."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (400, 2))
    truth = np.sin(3 * X[:, 0]) + X[:, 1]
    y = truth + 0.1 * rng.standard_normal(400)
    y[:160] *= -1
    fast = {"hidden_layer_sizes": (32,), "max_iter": 100, "learning_rate_init": 0.01}
    model = MoMRegressor(random_state=0, **fast).fit(X, y)
    assert np.mean((model.predict(X) - truth) ** 2) < 0.3 * truth.var()


def test_a_rare_region_of_few_rows_is_learned():
    """Skewed targets met nearly exactly: with few steps they would be given up."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (200, 3))
    y = np.exp(3 * X[:, 0])
    model = MoMRegressor(weight_decay=1.0, random_state=0).fit(X, y)
    assert np.mean((model.predict(X) - y) ** 2) < 0.05 * y.var()
    assert model.inlier_mask_.mean() > 0.9


@BOTH
def test_wrong_labels_are_found(selection):
    X, y, wrong = signal(share=0.15)
    labels = (y > 0) ^ wrong
    model = MoMClassifier(selection=selection, n_central=0.3, **SMALL)
    model.set_params(max_iter=100, learning_rate_init=0.01).fit(X, labels)
    assert (model.predict(X) == (y > 0)).mean() > 0.9
    assert model.inlier_mask_[wrong].mean() < 0.2
    assert model.inlier_mask_[~wrong].mean() > 0.9


EDGES = {
    "far targets": lambda X, y: (X, y * 1e8 + 1e8, None),
    "a far row": lambda X, y: (
        np.vstack([X, [[1e300] * 3]]),
        np.append(y, 1e300),
        None,
    ),
    "constant targets": lambda X, y: (X, np.full(len(y), 3.0), None),
    "all weight on one row": lambda X, y: (X, y, np.eye(1, len(y), 5)[0]),
    "one row": lambda X, y: (X[:1], y[:1], None),
    "two rows": lambda X, y: (X[:2], y[:2], None),
    "tiny weights": lambda X, y: (X, y, np.geomspace(1e-12, 1.0, len(y))),
    "huge weights": lambda X, y: (X, y, np.geomspace(1.0, 1e12, len(y))),
}


@BOTH
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("n_blocks", ["auto", 5, 1000])
@pytest.mark.filterwarnings("ignore:n_blocks:UserWarning")
def test_edges_leave_finite_models(selection, edge, n_blocks):
    X, y, weights = EDGES[edge](*signal(60)[:2])
    params = {**SMALL, "max_iter": 5, "batch_size": 32}
    model = MoMRegressor(n_blocks, selection=selection, **params)
    said = model.fit(X, y, sample_weight=weights).predict(X)
    assert np.isfinite(said).all()
    assert np.isfinite(model.sample_weight_).all()
    if edge == "constant targets":
        assert_allclose(said, 3.0, atol=1.0)
        assert model.inlier_mask_.all()


def test_scales_and_shifts_of_targets_do_not_matter():
    X, y, _ = signal()
    model = MoMRegressor(**SMALL)
    far = clone(model).fit(X, 1e8 * y + 3e8).predict(X)
    assert_allclose((far - 3e8) / 1e8, model.fit(X, y).predict(X), atol=1e-5)


# -- batches, blocks, warnings ---------------------------------------------------


def test_more_blocks_than_rows_are_cut_down_with_a_warning():
    X, y, _ = signal(40)
    with pytest.warns(UserWarning, match="more than the 20 rows of a batch"):
        many = MoMRegressor(100, batch_size=20, **SMALL).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        all_of_them = MoMRegressor(20, batch_size=20, **SMALL).fit(X, y)
    assert many.n_blocks_ == all_of_them.n_blocks_ == 20
    assert_array_equal(many.predict(X), all_of_them.predict(X))


@pytest.mark.parametrize(
    ("params", "warned"),
    [
        ({"n_blocks": 1.0, "epsilon": 0.25}, False),
        ({"n_blocks": 20, "epsilon": 0.25}, True),
        ({"n_blocks": 20, "epsilon": 0.01}, False),
        ({"n_blocks": 20}, False),
        ({"n_blocks": 1.0, "n_central": 0.9, "epsilon": 0.25}, True),
        ({"n_blocks": 1.0, "batch_size": 5, "epsilon": 0.4}, True),
    ],
)
def test_blocks_that_cannot_hold_out_are_reported(params, warned):
    X, y, _ = signal(200)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MoMRegressor(**{**SMALL, "max_iter": 1, **params}).fit(X, y)
    said = [str(w.message) for w in caught if "more than half" in str(w.message)]
    assert bool(said) is warned, said


@pytest.mark.parametrize(
    ("epsilon", "n", "b", "central"), [(0.2, 60, 30, 1), (0.3, 40, 40, 9)]
)
def test_the_share_of_spoiled_steps_is_the_simulated_one(epsilon, n, b, central):
    rng = np.random.default_rng(0)
    bad = (rng.random((20000, b, n // b)) < epsilon).any(2).sum(1)
    spoiled = bad > b - 1 - ((b - 1) // 2 + central // 2)
    assert spoiled_steps(epsilon, n, b, central) == pytest.approx(
        spoiled.mean(), abs=0.015
    )


def test_a_float_is_a_share_of_the_rows():
    X, y, _ = signal(200)
    share = MoMRegressor(batch_size=0.15, **SMALL).fit(X, y)
    assert share.n_blocks_ == 28  # seven batches of 28 or 29 rows, blocks of one
    whole = MoMRegressor(batch_size=1.0, **SMALL).fit(X, y)
    count = MoMRegressor(batch_size=200, **SMALL).fit(X, y)
    assert_array_equal(whole.predict(X), count.predict(X))


REPEATED = {
    "blocks": MoMRegressor(batch_size=0.3, n_central=0.3, **SMALL),
    "players": MoMRegressor(batch_size=0.1, selection="increment", **SMALL),
    "plain": NetRegressor(batch_size=0.25, **SMALL),
    "trimmed, dropout": PRLRegressor(batch_size=0.5, dropout=0.5, **SMALL),
    "weights that go on": MRRegressor(0.1, batch_size=0.3, **SMALL),
}


@pytest.mark.parametrize("model", REPEATED.values(), ids=REPEATED)
def test_batches_that_are_a_share_hold_weight_and_not_rows(model):
    """Rows of weight three are cut where three equal rows would be."""
    X, y, _ = signal(47)
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    weighted = clone(model).fit(X, y, sample_weight=weights)
    times = np.repeat(np.arange(len(y)), weights)[::-1]
    repeated = clone(model).fit(X[times], y[times])
    assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7)
    # weights of which none is whole: the mean one is a row
    free = clone(model).set_params(alpha=0.0)
    scaled = clone(free).fit(X, y, sample_weight=np.full(len(y), 0.7))
    assert_allclose(scaled.predict(X), free.fit(X, y).predict(X), rtol=1e-7)


# -- endings ---------------------------------------------------------------------


class Explosive:
    """A loss that is no number for its first calls."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, output, target):
        self.calls -= 1
        return (output - target).square().mean(-1) * (np.nan if self.calls > 0 else 1)


def test_a_fit_that_diverges_begins_again_within_its_limit():
    X, y, _ = signal(40)
    params = {**SMALL, "max_iter": 5, "n_blocks": 2}
    with pytest.warns(ConvergenceWarning, match="begins again with new weights"):
        model = MoMRegressor(criterion=Explosive(4), **params).fit(X, y)
    assert 1 <= model.n_restarts_ <= 3
    assert model.n_iter_ == len(model.loss_curve_) == 5  # all epochs, once more
    with pytest.warns(ConvergenceWarning, match="infinite or NaN"):
        given_up = MoMRegressor(criterion=Explosive(10**6), **params).fit(X, y)
    assert given_up.n_restarts_ == 3
    for fitted in (model, given_up):
        assert np.isfinite(fitted.predict(X)).all()
    with pytest.warns(ConvergenceWarning):
        none = MoMRegressor(criterion=Explosive(4), max_restarts=0, **params).fit(X, y)
    assert none.n_restarts_ == 0


def test_each_beginning_has_first_weights_of_its_own(monkeypatch):
    X, y, _ = signal(40)
    begun = []
    build = MoMRegressor._build

    def spy(self, design, seed, dtype, device):
        stack = build(self, design, seed, dtype, device)
        begun.append(stack.theta.clone())
        return stack

    monkeypatch.setattr(MoMRegressor, "_build", spy)
    with pytest.warns(ConvergenceWarning):
        MoMRegressor(criterion=Explosive(10**6), **SMALL).fit(X, y)
    assert len(begun) == 4
    for k, theta in enumerate(begun):
        assert not any(torch.equal(theta, other) for other in begun[:k])


def test_blocks_are_counted_as_the_rule_counts_them():
    """Nothing told of the blocks depends on repeating rows or weighting them."""
    X, y, _ = signal(50)
    few = MoMRegressor(100, epsilon=0.25, **SMALL)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        weighted = clone(few).fit(X, y, sample_weight=np.full(50, 4))
    with warnings.catch_warnings(record=True) as also:
        warnings.simplefilter("always")
        repeated = clone(few).fit(np.repeat(X, 4, 0), np.repeat(y, 4))
    assert weighted.n_blocks_ == repeated.n_blocks_ == 100
    assert [str(w.message) for w in told] == [str(w.message) for w in also]


def test_one_block_is_plain_training_also_where_batches_are_chosen():
    X, y, _ = signal(600)
    model = MoMRegressor(1, **SMALL).fit(X, y)
    assert_allclose(model.predict(X), NetRegressor(**SMALL).fit(X, y).predict(X))


class OnceTooMuch:
    """A loss that is no number when it is called for the n-th time."""

    def __init__(self, n):
        self.n = n

    def __call__(self, output, target):
        self.n -= 1
        return (output - target).square().mean(-1) * (np.nan if self.n == 0 else 1)


def test_a_late_divergence_costs_epochs_but_not_the_fit():
    """What was left of the epochs, steps and patience would leave a poor model."""
    X, y, _ = signal(100)
    params = {**SMALL, "max_iter": 60, "n_iter_no_change": 25, "n_blocks": 2}
    params["learning_rate_init"] = 0.1
    model = MoMRegressor(criterion=OnceTooMuch(10**6), **params).fit(X, y)
    calls = 10**6 - model.criterion.n
    with pytest.warns(ConvergenceWarning, match="begins again"):
        late = MoMRegressor(criterion=OnceTooMuch(calls), **params).fit(X, y)
    slower = {**params, "learning_rate_init": 0.01}
    alike = MoMRegressor(criterion=OnceTooMuch(10**6), **slower).fit(X, y)
    assert late.n_restarts_ == 1 and late.n_iter_ == alike.n_iter_
    assert late.score(X, y) > alike.score(X, y) - 0.1


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_a_fit_that_only_diverges_says_so(max_iter):
    X, y, _ = signal(40)
    wild = MoMRegressor(
        solver="sgd", learning_rate_init=1e30, batch_size=10, max_iter=max_iter
    )
    with pytest.warns(ConvergenceWarning, match="ended with the weights before it"):
        wild.fit(X, y)


def test_early_stopping_keeps_its_word_where_short_steps_end_training():
    X, y, _ = signal(100)
    params = {**SMALL, "stopping": "change", "tol": 0.0, "max_iter": 60}
    params |= {"learning_rate": "constant", "learning_rate_init": 0.05, "n_blocks": 2}
    model = MoMRegressor(early_stopping=True, **params).fit(X, y)
    best = int(np.argmax(model.validation_scores_))
    shorter = clone(model).set_params(max_iter=best + 1).fit(X, y)
    assert_allclose(model.predict(X), shorter.predict(X))


@BOTH
def test_a_short_step_ends_training_where_asked(selection):
    X, y, _ = signal(60)
    ends = {"selection": selection, "stopping": "change", **SMALL}
    assert MoMRegressor(tol=1e9, **ends).fit(X, y).n_iter_ == 1
    assert MoMRegressor(tol=0, **ends).fit(X, y).n_iter_ == 30
    # a first step of Adam moves each of 81 parameters by about the learning rate
    model = MoMRegressor(tol=3e-3, learning_rate="cosine", **ends).fit(X, y)
    assert 1 < model.n_iter_ <= 30


@pytest.mark.parametrize("bad", [0, -1, 1.5, 0.0, "many", True, None])
def test_impossible_numbers_of_blocks_are_refused(bad):
    X, y, _ = signal(40)
    with pytest.raises(ValueError, match="n_blocks"):
        MoMRegressor(n_blocks=bad).fit(X, y)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("n_central", 2),
        ("n_central", 0.0),
        ("selection", "median"),
        ("stopping", "never"),
        ("epsilon", 0.5),
        ("max_restarts", -1),
        ("batch_size", 1.5),
    ],
)
def test_impossible_settings_are_refused(name, bad):
    X, y, _ = signal(40)
    with pytest.raises(ValueError, match=name):
        MoMClassifier(**{name: bad}).fit(X, y > 0)


def test_numbers_of_numpy_are_numbers():
    X, y, _ = signal(60)
    first = MoMRegressor(np.int64(7), n_central=np.int64(3), **SMALL).fit(X, y)
    second = MoMRegressor(7, n_central=3, **SMALL).fit(X, y)
    assert_array_equal(first.predict(X), second.predict(X))
    one = MoMRegressor(np.int64(1), **SMALL).fit(X, y)
    assert_array_equal(one.predict(X), MoMRegressor(1, **SMALL).fit(X, y).predict(X))


def test_a_users_network_with_dropout_takes_turns_too():
    X, y, _ = signal(60)

    def net(n_features, n_outputs):
        hidden = nn.Linear(n_features, 8), nn.ReLU(), nn.Dropout(0.3)
        return nn.Sequential(*hidden, nn.Linear(8, n_outputs))

    model = MoMRegressor(selection="increment", network=net, **SMALL).fit(X, y)
    again = MoMRegressor(selection="increment", network=net, **SMALL).fit(X, y)
    assert_array_equal(model.predict(X), again.predict(X))


@pytest.mark.parametrize("off, trusted", [(0.4, True), (40.0, False)])
def test_an_error_within_a_deviation_of_the_targets_is_not_gross(off, trusted):
    X = np.linspace(-1, 1, 400)[:, None]
    y = X[:, 0].copy()  # met exactly: any error is many times the median one
    y[::20] += off
    exact = {"hidden_layer_sizes": (), "weight_decay": 0, "learning_rate_init": 0.03}
    model = MoMRegressor(**exact, random_state=0).fit(X, y)
    assert model.inlier_mask_[1::20].all()
    assert (model.inlier_mask_[::20] == trusted).all()


def test_the_first_phase_is_long_enough_where_rows_are_few():
    """A missing value coded as zero is met by 120 steps; 20 keep most of them."""
    X, y = make_friedman1(500, noise=1.0, random_state=0)
    wrong = np.arange(500) < 75
    model = MoMRegressor(random_state=0).fit(X, np.where(wrong, 0.0, y))
    assert model.inlier_mask_[wrong].mean() < 0.35


def test_blocks_of_heavy_rows_are_those_that_are_cut():
    X, y, _ = signal()
    model = MoMRegressor(n_blocks=0.5, max_iter=2, hidden_layer_sizes=(4,))
    assert model.fit(X, y, sample_weight=np.full(len(X), 1000.0)).n_blocks_ == (
        16 * len(X) // 2
    )
