"""The loop: whole trainings against torch, rejected rows, divergence, processes."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException
from torch.testing import assert_close

from skrobust import NetClassifier, NetRegressor, PRLClassifier, PRLRegressor
from skrobust._batch import Batch, Rows
from skrobust._comm import Alone, Group
from skrobust._modules import ModuleStack
from skrobust._optim import SGD, Adam
from skrobust._stack import MLPStack
from skrobust._train import (
    Diverged,
    Recipe,
    _sound,
    drawn,
    posterior,
    train_batch,
    train_epoch,
)
from skrobust.criteria import (
    CrossEntropy,
    GradientNorm,
    LossLayer,
    SquaredError,
    as_loss,
)
from skrobust.rules import Cap, Exchange, MultiplicativeWeights, Ramp, Trim, chain
from skrobust.steps import Context, Mixup, Reweight, ReweightByLabel, SmoothLabels

F64 = torch.float64
CPU = torch.device("cpu")
N, D, C = 50, 4, 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n_classes=C, n=N, weighted=True, seed=0):
    rng = generator(seed)
    x = torch.randn(n, D, generator=rng, dtype=F64)
    if n_classes:
        y = torch.randint(n_classes, (n,), generator=rng)
    else:
        y = torch.randn(n, 2, generator=rng, dtype=F64)
    w = torch.ones(n, dtype=F64)
    if weighted:
        w = 0.5 + torch.rand(n, generator=rng, dtype=F64)
    return Rows(x, y, w, n_classes)


def mlp(k=1, n_outputs=C, dropout=0.0):
    stack = MLPStack(
        (D, 6, n_outputs), k, activation="tanh", dropout=dropout, generator=generator()
    )
    stack.generator = generator(5)
    return stack


def train(stack, data, optimizer, recipe, loss, n_epochs=4, seed=3, comm=None):
    context = Context(loss, 0, stack.generator or generator(), comm or Alone())
    rng, curve = generator(seed), []
    for context.epoch in range(n_epochs):
        batches = drawn(stack, data, recipe, context, rng)
        curve.append(train_epoch(stack, batches, optimizer, recipe, context))
    return curve


def torch_loop(module, data, optimizer, recipe, n_epochs=4, seed=3, scale=None):
    """The same training as anybody would write it in torch.

    ``scale(output, y, w, epoch)`` gives the weights of rows that are followed.
    """
    rng = generator(seed)
    for epoch in range(n_epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate(epoch)
        n_batches = -(-data.n // recipe.batch_size)
        order = torch.arange(data.n)
        if n_batches > 1:
            order = torch.randperm(data.n, generator=rng)
        for index in order.tensor_split(n_batches):
            x, y, prior = data.x[index], data.y[index], data.weights[index]
            out = module(x)
            w = prior if scale is None else scale(out.detach(), y, prior, epoch)
            if y.is_floating_point():
                losses = (out - y).square().mean(-1)
            else:
                losses = nn.functional.cross_entropy(out, y, reduction="none")
            optimizer.zero_grad()
            ((w * losses).sum() / w.sum()).backward()
            for p in module.parameters():
                if p.ndim > 1:
                    p.grad += recipe.alpha / prior.sum() * p.detach()
            optimizer.step()


def trimmed(epsilon):
    """Rows ranked by |softmax - one_hot|, the top ``epsilon`` of the mass left out."""

    def scale(output, y, prior, epoch):
        away = output.softmax(-1) - nn.functional.one_hot(y, C)
        room, weights = (1 - epsilon(epoch)) * prior.sum(), torch.zeros_like(prior)
        for i in away.norm(dim=-1).argsort().tolist():
            weights[i] = min(prior[i], room)
            room = room - weights[i]
        return weights

    return scale


def assert_same_modules(ours, theirs):
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(p.detach(), q.detach(), rtol=1e-8, atol=1e-10)


SOLVERS = {
    "adam": (Adam, torch.optim.Adam),
    "sgd": (
        SGD,
        lambda p: torch.optim.SGD(list(p), lr=1.0, momentum=0.9, nesterov=True),
    ),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_classes", [C, 0])
@pytest.mark.parametrize("batch_size", [16, 64])
@pytest.mark.parametrize("kind", ["mlp", "modules"])
def test_a_training_is_the_one_written_in_torch(solver, n_classes, batch_size, kind):
    ours, theirs = SOLVERS[solver]
    data, k = rows(n_classes), 2
    stack = mlp(k, n_classes or 2)
    modules = copy.deepcopy(stack.modules())
    if kind == "modules":
        stack = ModuleStack(stack.modules(), dtype=F64, device=CPU)
    recipe = Recipe((), batch_size, lambda epoch: 0.02 / (1 + epoch), alpha=0.1)
    loss = CrossEntropy() if n_classes else SquaredError()
    curve = train(stack, data, ours(stack.theta), recipe, loss)
    assert len(curve) == 4 and np.isfinite(curve).all()
    for module, reference in zip(stack.modules(), modules, strict=True):
        torch_loop(reference, data, theirs(reference.parameters()), recipe)
        assert_same_modules(module, reference)


@pytest.mark.parametrize("weighted", [False, True])
def test_prl_is_the_one_written_in_torch(weighted):
    data, stack = rows(weighted=weighted), mlp()
    reference = copy.deepcopy(stack.modules()[0])
    ramp = Ramp(0.3, 3)
    steps = (Reweight(Trim(ramp), LossLayer(CrossEntropy())),)
    recipe = Recipe(steps, 16, lambda epoch: 0.02, alpha=0.1)
    train(stack, data, Adam(stack.theta), recipe, CrossEntropy(), n_epochs=5)
    optimizer = torch.optim.Adam(reference.parameters())
    torch_loop(reference, data, optimizer, recipe, n_epochs=5, scale=trimmed(ramp))
    assert_same_modules(stack.modules()[0], reference)


@pytest.mark.parametrize("score", [LossLayer, GradientNorm])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_trimming_nothing_is_plain_training(score, dropout):
    data, plain, robust = rows(), mlp(2, dropout=dropout), mlp(2, dropout=dropout)
    rule = Reweight(Trim(lambda epoch: 0.0), score(CrossEntropy()))
    # a tensor of zero takes the way of any other fraction
    ranked = Reweight(Trim(torch.zeros(1, 1, dtype=F64)), score(CrossEntropy()))
    for stack, steps in ((plain, ()), (robust, (rule, ranked))):
        recipe = Recipe(steps, 16, lambda epoch: 0.01)
        train(stack, data, Adam(stack.theta), recipe, CrossEntropy())
    assert_close(robust.theta, plain.theta, rtol=1e-9, atol=1e-11)


def test_networks_trained_together_equal_networks_trained_alone():
    data, both = rows(), mlp(2)
    steps = (Reweight(Trim(0.2), GradientNorm(CrossEntropy())),)
    recipe = Recipe(steps, 16, lambda epoch: 0.01, alpha=0.1, clip_norm=0.5)
    start = copy.deepcopy(both.modules())
    train(both, data, Adam(both.theta), recipe, CrossEntropy())
    for k, module in enumerate(both.modules()):
        alone = ModuleStack([start[k]], dtype=F64, device=CPU)
        train(alone, data, Adam(alone.theta), recipe, CrossEntropy())
        assert_same_modules(alone.modules()[0], module)


def test_the_loss_curve_is_the_mean_loss_of_what_was_trained_on():
    data, stack = rows(), mlp(2)
    values = CrossEntropy()(stack, data.take(torch.arange(N)))
    expected = (values * data.weights).sum(-1) / data.weights.sum()
    recipe = Recipe((), N, lambda epoch: 0.01)
    curve = train(stack, data, Adam(stack.theta), recipe, CrossEntropy(), n_epochs=2)
    assert curve[0] == pytest.approx(float(expected.mean()))
    assert curve[1] < curve[0]


# -- estimators ------------------------------------------------------------------


def blobs(seed=0, n=60):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, 4)) + 2 * np.eye(3, 4)[y]
    return X, y


QUICK = {"hidden_layer_sizes": (8,), "max_iter": 5, "batch_size": 16, "random_state": 0}


@pytest.mark.parametrize("score", ["loss_gradient", "gradient", "loss"])
def test_prl_without_epsilon_is_the_plain_estimator(score):
    X, y = blobs()
    plain = NetClassifier(**QUICK).fit(X, y)
    robust = PRLClassifier(0.0, score=score, **QUICK).fit(X, y)
    np.testing.assert_allclose(robust.predict_proba(X), plain.predict_proba(X))
    plain = NetRegressor(**QUICK).fit(X, X[:, 0])
    robust = PRLRegressor(0.0, score=score, **QUICK).fit(X, X[:, 0])
    np.testing.assert_allclose(robust.predict(X), plain.predict(X))


def test_prl_is_a_composition_of_steps():
    X, y = blobs()
    steps = (
        Reweight(chain(Trim(Ramp(0.3, 4)), Exchange()), GradientNorm(CrossEntropy())),
    )
    base = NetClassifier(steps, n_networks=2, **QUICK).fit(X, y)
    settings = {"score": "gradient", "co_training": True, "ramp": 4, **QUICK}
    prl = PRLClassifier(0.3, by_label=False, **settings).fit(X, y)
    assert np.array_equal(base.predict_proba(X), prl.predict_proba(X))
    assert np.array_equal(base.sample_weight_, prl.sample_weight_)
    steps = (ReweightByLabel(steps[0].rule, steps[0].score),)
    base = NetClassifier(steps, n_networks=2, **QUICK).fit(X, y)
    prl = PRLClassifier(0.3, **settings).fit(X, y)
    assert np.array_equal(base.predict_proba(X), prl.predict_proba(X))


# -- a rejected row never touches the gradient -----------------------------------


class Odd(nn.Module):
    """Gives what it is told to give for rows whose first input exceeds 100."""

    def __init__(self, value):
        super().__init__()
        self.value = value
        self.inner, self.out = nn.Linear(D, 6), nn.Linear(6, C)

    def forward(self, x):
        factor = torch.ones_like(x[:, :1]).masked_fill(x[:, :1] > 100, self.value)
        return self.out(torch.tanh(self.inner(x.clamp(-5, 5)))) * factor


class Logarithm(nn.Module):
    """Not finite for rows with a first input of zero or less."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(D, C)

    def forward(self, x):
        return self.out(torch.cat([x[:, :1].log(), x[:, 1:]], 1))


class Root(nn.Module):
    """Finite outputs with infinite derivatives, where the first input is zero."""

    def __init__(self):
        super().__init__()
        self.scale, self.out = nn.Linear(1, 1, bias=False), nn.Linear(D, C)

    def forward(self, x):
        return self.out(x) + self.scale(x[:, :1]).abs().sqrt() + 50 * (x[:, :1] == 0)


def module_stack(module):
    return ModuleStack([copy.deepcopy(module)], dtype=F64, device=CPU)


SCENES = {
    "huge input": (lambda: mlp(), 1e300),
    "module nan": (lambda: module_stack(Odd(torch.nan)), 1e3),
    "module inf": (lambda: module_stack(Odd(torch.inf)), 1e3),
    "module huge": (lambda: module_stack(Odd(1e300)), 1e3),
    "module logarithm": (lambda: module_stack(Logarithm()), -1.0),
    "module log of zero": (lambda: module_stack(Logarithm()), 0.0),
    "module root": (lambda: module_stack(Root()), 0.0),
}


@pytest.mark.parametrize("score", [None, LossLayer, GradientNorm])
@pytest.mark.parametrize("name", SCENES)
def test_rejected_rows_never_touch_the_gradient(name, score):
    """A step with bad rows trimmed is the step without them."""
    make, value = SCENES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dirty = make()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clean = make()
    assert torch.equal(dirty.theta, clean.theta)
    data, bad = rows(n=20, weighted=False), [3, 11]
    data.x[:, 0] = data.x[:, 0].abs() + 0.1
    good = [i for i in range(20) if i not in bad]
    few = data.take(torch.tensor(good))
    data.x[bad, 0] = value
    many = data.take(torch.arange(20))
    loss = as_loss(wrong_if_far) if name == "huge input" else CrossEntropy()

    def rank(stack, batch):  # the bad rows come last whatever is computed
        scores = (loss if score is None else score(loss))(stack, batch).clone()
        if name in ("module huge", "module root", "huge input"):
            scores[:, bad] = torch.inf
        return scores

    steps = (Reweight(Trim(2 / 20), rank),)
    for stack, batch, todo in ((dirty, many, steps), (clean, few, ())):
        recipe = Recipe(todo, 20, lambda epoch: 0.1)
        train_batch(
            stack, batch, SGD(stack.theta, 0.0), recipe, Context(loss, 0, generator())
        )
    assert torch.isfinite(dirty.grad).all()
    assert_close(dirty.grad, clean.grad, rtol=1e-9, atol=1e-12)
    assert_close(dirty.theta, clean.theta, rtol=1e-9, atol=1e-12)


def wrong_if_far(output, target):
    return (output - target).square().sum(-1)


def test_rejected_rows_with_absurd_targets_never_touch_the_gradient():
    data = rows(0, n=20, weighted=False)
    few = data.take(torch.arange(2, 20))
    data.y[:2] = 1e200  # the squared error overflows
    dirty, clean = mlp(n_outputs=2), mlp(n_outputs=2)
    steps = (Reweight(Trim(0.1), GradientNorm(SquaredError())),)
    many = data.take(torch.arange(20))
    for stack, batch, todo in ((dirty, many, steps), (clean, few, ())):
        recipe = Recipe(todo, 20, lambda epoch: 0.1)
        context = Context(SquaredError(), 0, generator())
        train_batch(stack, batch, SGD(stack.theta), recipe, context)
    assert_close(dirty.theta, clean.theta, rtol=1e-9, atol=1e-12)


def test_rejected_rows_may_have_infinite_losses_in_the_curve():
    data, stack = rows(0, n=20, weighted=False), mlp(n_outputs=2)
    data.y[:2] = 1e200
    recipe = Recipe((Reweight(Trim(0.1)),), 20, lambda epoch: 0.01)
    curve = train(stack, data, Adam(stack.theta), recipe, SquaredError())
    assert max(curve) < 10


# -- divergence ------------------------------------------------------------------


def test_an_epoch_that_diverges_leaves_the_weights_before_it():
    data, stack = rows(0), mlp(n_outputs=2)
    before = stack.theta.clone()
    recipe = Recipe((), 10, lambda epoch: 1e200)
    with pytest.raises(Diverged):
        train(stack, data, SGD(stack.theta), recipe, SquaredError())
    assert torch.equal(stack.theta, before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", ["mlp", "modules"])
def test_a_followed_row_whose_loss_is_no_number_is_divergence(value, kind):
    data, stack = rows(0), mlp(n_outputs=2)
    if kind == "modules":
        stack = ModuleStack(stack.modules(), dtype=F64, device=CPU)
    data.y[7, 0] = 1e6

    def spoiled(output, target):
        values = (output - target).square().mean(-1)
        return torch.where(target[:, 0] > 1e5, value, values)

    recipe = Recipe((), 10, lambda epoch: 0.01)
    with pytest.raises(Diverged):
        train(stack, data, Adam(stack.theta), recipe, as_loss(spoiled), n_epochs=1)


def test_a_followed_row_whose_output_is_no_number_is_divergence():
    data, stack = rows(), module_stack(Odd(torch.nan))
    data.x[4, 0] = 1e3
    recipe = Recipe((), 10, lambda epoch: 0.01)
    with pytest.raises(Diverged):
        train(stack, data, Adam(stack.theta), recipe, CrossEntropy(), n_epochs=1)


def test_rows_far_off_may_have_any_output_and_others_may_not():
    context = Context(CrossEntropy(), 0, generator())
    stack = MLPStack((D, C), 1, generator=generator())
    x = torch.ones(3, D, dtype=F64)
    x[1] = 1e30
    stack.theta.fill_(100.0)
    assert _sound(stack, x, context)
    stack.theta.fill_(1e29)
    assert not _sound(stack, 100 * x, context)


def normed(n_features, n_outputs):
    return nn.Sequential(
        nn.Linear(n_features, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Linear(6, n_outputs),
    )


@pytest.mark.parametrize("network", [None, normed])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_diverging_fit_warns_and_keeps_finite_weights(network, dtype):
    X, y = blobs()
    far = 1e30 if dtype == "float32" else 1e160
    wild = {**QUICK, "solver": "sgd", "learning_rate_init": far, "dtype": dtype}
    model = NetRegressor(network=network, **wild)
    with pytest.warns(ConvergenceWarning, match="infinite or NaN"):
        model.fit(X, X @ [1.0, 2, 3, 4])
    assert np.isfinite(model.predict(X)).all()
    assert len(model.loss_curve_) <= model.n_iter_
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize(
    "wild",
    [
        {"learning_rate_init": 1e3, "max_iter": 2},
        {"learning_rate_init": 1e3, "max_iter": 5},
        {"learning_rate_init": 1e10, "max_iter": 2},
    ],
)
@pytest.mark.parametrize("kind", [NetClassifier, NetRegressor])
def test_what_the_last_step_ruins_is_seen(kind, wild):
    X = np.random.RandomState(0).randn(60, 3).astype(np.float32)
    y = X[:, 0] > 0
    layers = {"hidden_layer_sizes": (8, 8), "solver": "sgd", "random_state": 0}
    model = kind(**layers, **wild)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y if kind is NetClassifier else X[:, 0])
    outputs = getattr(model, "predict_proba", model.predict)(X)
    assert np.isfinite(outputs).all()


def test_training_on_nobody_is_said():
    X, y = blobs()
    nobody = NetRegressor(steps=(Reweight(Trim(0.2), first_rows_only),), **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nobody.fit(X, X[:, 0])
    nobody.set_params(steps=(Reweight(trust_nobody),))
    with pytest.warns(ConvergenceWarning, match="No row kept any weight"):
        nobody.fit(X, X[:, 0])


def first_rows_only(stack, batch):
    """Score rows by their place, one opinion for all networks."""
    return torch.arange(len(batch.x)).double()[None]


def trust_nobody(scores, weights, *, epoch):
    """Set all weights to zero."""
    return torch.zeros_like(scores)


def test_a_fit_goes_on_after_divergence():
    """Neither weights nor the optimizer's memory keep what made it diverge."""
    X, y = blobs()
    target = X @ [1.0, 2, 3, 4]
    model = NetRegressor(warm_start=True, **QUICK).fit(X, target)
    before = model.predict(X)
    model.set_params(learning_rate_init=1e160)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, target)
    model.set_params(learning_rate_init=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, target)
    assert not np.array_equal(model.predict(X), before)
    assert np.isfinite(model.predict(X)).all()


# -- batches ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "n, batch_size", [(1, 1), (10, 3), (10, 10), (11, 10), (257, 128), (70_000, 4096)]
)
@pytest.mark.parametrize("lazy", [False, True])
def test_an_epoch_holds_every_row_once_in_balanced_batches(n, batch_size, lazy):
    x = torch.arange(n, dtype=F64)[:, None]
    source = (lambda index: x[index]) if lazy else x
    data = Rows(source, torch.arange(n) % 3, 1 + x[:, 0], n_classes=3)
    batches = list(data.epoch(batch_size, generator()))
    sizes = [len(b.x) for b in batches]
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-n // batch_size)
    seen = torch.cat([b.x for b in batches])[:, 0].long()
    assert torch.equal(seen.sort()[0], torch.arange(n))
    # targets and weights belong to their rows
    assert torch.equal(torch.cat([b.y for b in batches]).argmax(-1), seen % 3)
    assert torch.equal(torch.cat([b.weights for b in batches], 1)[0], 1.0 + seen)


def test_a_lazy_source_equals_tensors():
    data = rows()
    lazy = Rows(lambda index: data.x[index], data.y, data.weights, C)
    pairs = [d.epoch(7, generator()) for d in (data, lazy)]
    for a, b in zip(*pairs, strict=True):
        for name in ("x", "y", "weights"):
            assert torch.equal(getattr(a, name), getattr(b, name))
    for a, b in zip(data.blocks(9), lazy.blocks(9), strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)


def test_one_batch_keeps_the_order_and_draws_nothing():
    data, rng = rows(), generator()
    before = rng.get_state()
    (batch,) = data.epoch(N, rng)
    assert torch.equal(batch.x, data.x)
    assert torch.equal(before, rng.get_state())


def test_epochs_differ_and_seeds_repeat_them():
    data, rng = rows(), generator()
    first, second = (next(data.epoch(10, rng)).x for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, next(data.epoch(10, generator())).x)


def test_blocks_keep_the_order():
    data = rows()
    assert torch.equal(torch.cat([b.x for b in data.blocks(7)]), data.x)


def test_a_derivative_known_for_old_targets_is_not_followed_for_new_ones():
    stack, loss = mlp(), CrossEntropy()
    batch = rows().take(torch.arange(N))
    batch.gradient(stack, loss)
    after = SmoothLabels(0.5)(stack, batch, Context(loss, 0, generator()))
    expected = loss.gradient(stack.predict(batch.x), after.y)
    assert_close(after.gradient(stack, loss, training=True), expected)


# -- what is left of each row's weight -------------------------------------------


def test_the_posterior_ranks_all_rows_together():
    data, stack = rows(), mlp(2)
    steps = (Reweight(Trim(0.3), LossLayer(CrossEntropy())),)
    recipe, context = (
        Recipe(steps, 8, lambda epoch: 0.1),
        Context(CrossEntropy(), 5, generator()),
    )
    whole = steps[0](stack, data.take(torch.arange(N)), context).weights
    stack.block = 7
    assert_close(posterior(stack, data, recipe, context).clone(), whole)


def test_the_posterior_is_what_one_rule_after_the_other_leaves():
    data, stack, rules = rows(), mlp(2), (Trim(0.3), Cap(0.5))
    context = Context(CrossEntropy(), 5, generator())
    found = [
        posterior(stack, data, Recipe(steps, 8, lambda epoch: 0.1), context).clone()
        for steps in (tuple(map(Reweight, rules)), (Reweight(chain(*rules)),))
    ]
    assert_close(*found)


def test_the_posterior_without_rules_is_the_prior():
    data = rows()
    recipe, context = Recipe((), 8, lambda e: 0.1), Context(CrossEntropy(), 0, None)
    assert torch.equal(
        posterior(mlp(2), data, recipe, context), data.weights.expand(2, N)
    )


# -- one process and several -----------------------------------------------------

PLANS = {
    "trim": {"steps": (Reweight(Trim(0.3), LossLayer(CrossEntropy())),)},
    "co-training": {
        "steps": (Reweight(chain(Trim(0.3), Exchange()), GradientNorm(CrossEntropy())),)
    },
    "by label": {"steps": (ReweightByLabel(Trim(0.3), LossLayer(CrossEntropy())),)},
    "plain": {"steps": ()},
    "all rows once an epoch": {
        "steps": (Reweight(MultiplicativeWeights(0.5, 2.0), CrossEntropy(), every=1),),
        "alpha": 0.5,
    },
    "penalties": {"steps": (), "alpha": 0.5, "weight_decay": 0.1, "clip_norm": 0.05},
}
# weights of rows: all different, all alike, or equal on the first process alone
WEIGHTS = {
    "different": lambda n: 0.5 + torch.rand(n, generator=generator(9), dtype=F64),
    "equal": lambda n: torch.full((n,), 0.123, dtype=F64),
    "mixed": lambda n: torch.where(torch.arange(n) < 33, 1.0, 0.1 * torch.arange(n)),
}


def run_plan(plan, weights, part=slice(None), comm=None):
    whole = rows()
    w = WEIGHTS[weights](N).double()
    data = Rows(whole.x[part], whole.y[part], w[part], C)
    stack = mlp(2)
    recipe = Recipe(batch_size=N, learning_rate=lambda epoch: 0.3, **PLANS[plan])
    # Adam would hide a wrong divisor
    loss, sgd, comm = CrossEntropy(), SGD(stack.theta), comm or Alone()
    curve = train(stack, data, sgd, recipe, loss, n_epochs=6, comm=comm)
    context = Context(loss, 6, generator(), comm)
    final = posterior(stack, data, recipe, context)
    return stack.theta.clone(), torch.tensor(curve, dtype=F64), final.clone()


def _work(rank, folder):
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    part = slice(0, 33) if rank == 0 else slice(33, N)  # uneven
    for weights in WEIGHTS:
        for plan in PLANS:
            found = run_plan(plan, weights, part, Group())
            torch.save(found, f"{folder}/{plan}-{weights}-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    if not torch.distributed.is_available():
        pytest.skip("this torch has no process groups")
    folder = tmp_path_factory.mktemp("gloo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        try:
            torch.multiprocessing.spawn(_work, args=(str(folder),), nprocs=2)
        except (ProcessExitedException, ProcessRaisedException) as error:
            warnings.warn(f"a process failed: {error}", stacklevel=1)
    return lambda name: [torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("plan", PLANS)
def test_one_process_equals_two(two_processes, plan, weights):
    theta, curve, final = run_plan(plan, weights)
    parts = two_processes(f"{plan}-{weights}")
    for part in parts:
        assert_close(part[0], theta, rtol=0, atol=1e-10)
    assert_close(torch.cat([p[2] for p in parts], 1), final, rtol=0, atol=1e-9)


def test_fits_of_a_process_in_a_group_are_its_own(tmp_path):
    """Nobody would answer a fit that asked the other process."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no process groups")
    X, y = np.arange(20.0)[:, None], np.arange(20.0)
    model = NetRegressor(max_iter=2, random_state=0)
    alone = model.fit(X, y).predict(X)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.distributed, "all_reduce", None)
            assert_close(torch.tensor(model.fit(X, y).predict(X)), torch.tensor(alone))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("plan", PLANS)
def test_every_process_reports_the_loss_of_all_rows(two_processes, plan):
    _, curve, _ = run_plan(plan, "different")
    for part in two_processes(f"{plan}-different"):
        assert_close(part[1], curve, rtol=0, atol=1e-10)


def test_a_batch_can_be_weighted_network_by_network():
    """Weights of shape (K, n) give each network its own rows."""
    data, both = rows(), mlp(2)
    start = copy.deepcopy(both.modules())
    mask = torch.zeros(2, N, dtype=F64)
    mask[0, :20], mask[1, 20:] = 1, 1
    batch = data.take(torch.arange(N))
    y = nn.functional.one_hot(data.y, C).to(F64)
    recipe, context = (
        Recipe((), N, lambda e: 0.1),
        Context(CrossEntropy(), 0, generator()),
    )
    train_batch(both, Batch(batch.x, y, mask), SGD(both.theta, 0.0), recipe, context)
    for k, part in enumerate((slice(0, 20), slice(20, N))):
        alone = ModuleStack([start[k]], dtype=F64, device=CPU)
        own = Batch(data.x[part], y[part], torch.ones(1, len(y[part]), dtype=F64))
        train_batch(alone, own, SGD(alone.theta, 0.0), recipe, context)
        assert_same_modules(alone.modules()[0], both.modules()[k])


# -- rules that judge all rows, now and then --------------------------------------


@dataclass(frozen=True)
class Note:
    """Remember what the rule is asked, and let every row lose a little."""

    asked: list = field(default_factory=list)
    updates: bool = True

    def __call__(self, scores, weights, *, epoch, own=None):
        weights = weights.double().expand_as(scores)
        self.asked.append((epoch, scores.clone(), weights.clone()))
        return weights * (1 - 0.1 / (1 + scores))


@pytest.mark.parametrize("every, times", [(1, 4), (0.5, 8), (2, 2), (4 / 3, 3), (9, 0)])
def test_rules_are_asked_as_often_as_said(every, times):
    stack, note = mlp(2), Note()
    recipe = Recipe((Reweight(note, every=every),), 13, lambda e: 0.1)
    data = rows()
    train(stack, data, SGD(stack.theta), recipe, CrossEntropy())
    assert len(note.asked) == times
    assert all(scores.shape == (2, N) for _, scores, _ in note.asked)


@pytest.mark.parametrize("n", [3, 7, 49, 93])
def test_an_epoch_ends_with_its_last_batch(n):
    # though 49 times a 49th of an epoch is a hair less than one
    stack, note = mlp(), Note()
    recipe = Recipe((Reweight(note, every=1),), 1, lambda epoch: 0.1)
    train(stack, rows(n=n), SGD(stack.theta), recipe, CrossEntropy(), n_epochs=2)
    assert [epoch for epoch, *_ in note.asked] == [0, 1]


def test_all_rows_are_rated_as_they_are_by_the_networks_of_the_moment():
    """The last judgement is by the final networks: unmixed rows, plain losses."""
    data, stack, note = rows(), mlp(2, dropout=0.3), Note()
    steps = (Mixup(), SmoothLabels(0.3), Reweight(note, every=1))
    recipe = Recipe(steps, 16, lambda epoch: 0.1)
    train(stack, data, SGD(stack.theta), recipe, CrossEntropy())
    with stack.mode():
        expected = CrossEntropy()(stack, data.take(torch.arange(N)))
    assert_close(note.asked[-1][1], expected)


@pytest.mark.parametrize("updates", [True, False])
def test_an_update_goes_on_from_its_own_weights_others_start_afresh(updates):
    data, stack, note = rows(), mlp(2), Note(updates=updates)
    recipe = Recipe((Reweight(note, every=1),), 16, lambda epoch: 0.1)
    train(stack, data, SGD(stack.theta), recipe, CrossEntropy())
    given = [weights for _, _, weights in note.asked]
    assert_close(given[0], data.weights.expand(2, N))
    after = given[0] * (1 - 0.1 / (1 + note.asked[0][1]))
    assert_close(given[1], after if updates else given[0])


def test_batches_hold_the_weights_of_the_moment():
    data, stack = rows(), mlp(2)
    recipe = Recipe((Reweight(Note(), every=0.25),), 13, lambda epoch: 0.1)
    context = Context(CrossEntropy(), 0, generator())
    order = torch.randperm(N, generator=generator(3)).tensor_split(4)
    for index, batch in zip(
        order, drawn(stack, data, recipe, context, generator(3)), strict=True
    ):
        assert_close(batch.weights, data.revised[:, index])
        assert_close(batch.own_mass, data.weights[index].sum())


def test_weights_of_all_rows_are_those_of_the_formula():
    """Algorithm 1: row weights are exp(-eta * summed losses), and so are the steps."""
    data, stack = rows(), mlp()
    module = copy.deepcopy(stack.modules()[0])
    eta, lr = (lambda epoch: 0.2 + 0.1 * epoch), 0.3
    steps = (Reweight(MultiplicativeWeights(eta), every=1),)
    recipe = Recipe(steps, N, lambda epoch: lr)
    train(stack, data, SGD(stack.theta, 0.0, False), recipe, CrossEntropy())
    optimizer, lost = torch.optim.SGD(module.parameters(), lr=lr), torch.zeros(N)
    for epoch in range(4):
        p = (data.weights.log() - lost).softmax(-1)
        losses = nn.functional.cross_entropy(module(data.x), data.y, reduction="none")
        optimizer.zero_grad()
        (p * losses).sum().backward()
        optimizer.step()
        with torch.no_grad():
            out = module(data.x)
        losses = nn.functional.cross_entropy(out, data.y, reduction="none")
        lost = lost + eta(epoch) * losses
    assert_same_modules(module, stack.modules()[0])
    p = (data.weights.log() - lost).softmax(-1)
    assert_close(data.revised[0], p * data.weights.sum(), rtol=1e-8, atol=1e-10)


def test_each_network_has_weights_of_its_own():
    steps = (Reweight(MultiplicativeWeights(0.5), every=1),)
    recipe = Recipe(steps, 16, lambda epoch: 0.1, alpha=0.1)
    found = {}
    for k in (1, 2):
        data, stack = rows(), mlp(k)
        train(stack, data, Adam(stack.theta), recipe, CrossEntropy())
        found[k] = data.revised
    assert_close(found[2][:1], found[1])
    assert not torch.equal(found[2][0], found[2][1])
