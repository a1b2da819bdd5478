"""The optimizers and penalties are those of torch."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from skrobust._batch import Batch
from skrobust._optim import SGD, Adam
from skrobust._stack import MLPStack
from skrobust._train import Recipe, train_batch
from skrobust.criteria import SquaredError
from skrobust.steps import Context

F64 = torch.float64


def gradients(n_steps=12, size=20, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=rng, dtype=F64) for _ in range(n_steps)]


def walk(optimizer, theta, lr=0.05):
    for i, grad in enumerate(gradients()):
        optimizer.step(theta, grad, lr / (1 + i))
    return theta


def walk_torch(optimizer, theta, lr=0.05):
    for i, grad in enumerate(gradients()):
        theta.grad = grad.clone()
        for group in optimizer.param_groups:
            group["lr"] = lr / (1 + i)
        optimizer.step()
    return theta.detach()


def start():
    return torch.linspace(-1, 1, 20, dtype=F64)


def test_adam_is_torchs():
    theta = start().requires_grad_()
    expected = walk_torch(torch.optim.Adam([theta]), theta)
    assert_close(walk(Adam(start()), start()), expected, rtol=1e-12, atol=1e-12)


def test_adam_without_its_fused_kernel_takes_the_same_steps(monkeypatch):
    fused = walk(Adam(start()), start())

    def missing(*args, **kwargs):
        raise NotImplementedError

    monkeypatch.setattr(torch, "_fused_adam_", missing)
    optimizer = Adam(start())
    assert_close(walk(optimizer, start()), fused, rtol=1e-12, atol=1e-12)
    assert float(optimizer.count) == len(gradients())


def test_adam_survives_a_torch_that_lacks_the_kernel(monkeypatch):
    expected = walk(Adam(start()), start())
    monkeypatch.delattr(torch, "_fused_adam_")
    assert_close(walk(Adam(start()), start()), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_torchs(momentum, nesterov):
    theta = start().requires_grad_()
    # torch refuses Nesterov's form without momentum, where it changes nothing
    peer = torch.optim.SGD(
        [theta], lr=1.0, momentum=momentum, nesterov=nesterov and momentum > 0
    )
    expected = walk_torch(peer, theta)
    got = walk(SGD(start(), momentum, nesterov), start())
    assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [Adam, SGD, lambda t: SGD(t, 0.5, False)])
def test_a_stored_state_goes_on_where_it_was(make):
    whole, first = make(start()), make(start())
    theta, other = start(), start()
    second = None
    for i, grad in enumerate(gradients()):
        whole.step(theta, grad, 0.1)
        if i == 5:
            second = make(start())
            second.load(first.state())
        (second or first).step(other, grad, 0.1)
    assert torch.equal(theta, other)


def test_a_stored_state_does_not_change_with_further_steps():
    optimizer = Adam(start())
    optimizer.step(start(), gradients()[0], 0.1)
    state = optimizer.state()
    twin = Adam(start())
    twin.load(state)
    twin.step(start(), gradients()[1], 0.1)
    fresh = Adam(start())
    fresh.load(state)
    assert float(fresh.count) == 1


# -- penalties, on whole steps ---------------------------------------------------


def scene(k=2):
    rng = torch.Generator().manual_seed(0)
    stack = MLPStack((4, 5, 2), k, activation="tanh", generator=rng)
    x = torch.randn(10, 4, generator=rng, dtype=F64)
    y = torch.randn(10, 2, generator=rng, dtype=F64)
    w = 0.5 + torch.rand(10, generator=rng, dtype=F64)
    return stack, Batch(x, y, w[None]), Context(SquaredError(), 0, rng)


def ours(optimizer, n_steps=8, lr=0.03, **penalties):
    stack, batch, context = scene()
    optimizer = optimizer(stack.theta)
    recipe = Recipe((), 10, lambda epoch: lr, **penalties)
    for _ in range(n_steps):
        fresh = Batch(batch.x, batch.y, batch.weights)
        train_batch(stack, fresh, optimizer, recipe, context)
    return stack


def torchs(make, n_steps=8, l2=0.0, clip=None):
    """Train each network alone; ``make(weights, biases)`` gives an optimizer."""
    stack, batch, _ = scene()
    out = []
    for module in stack.modules():
        params = list(module.parameters())
        weights = [p for p in params if p.ndim > 1]
        biases = [p for p in params if p.ndim == 1]
        optimizer = make(weights, biases)
        w = batch.weights[0]
        for _ in range(n_steps):
            optimizer.zero_grad()
            rows = (module(batch.x) - batch.y).square().mean(-1)
            ((w * rows).sum() / w.sum()).backward()
            if clip is not None:
                norm = torch.cat([p.grad.flatten() for p in params]).norm()
                for p in params:
                    p.grad *= min(1.0, clip / float(norm))
            for p in weights:
                p.grad += l2 / w.sum() * p.detach()
            optimizer.step()
        out.append([p.detach() for p in params])
    return out


def assert_same(stack, expected):
    for module, params in zip(stack.modules(), expected, strict=True):
        for p, q in zip(module.parameters(), params, strict=True):
            assert_close(p.detach(), q, rtol=1e-9, atol=1e-11)


def test_decoupled_decay_is_adamw_on_weights_alone():
    def make(weights, biases):
        groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.03, weight_decay=0.4)

    assert_same(ours(Adam, weight_decay=0.4), torchs(make))


def test_alpha_is_an_l2_penalty_over_the_mass_of_the_batch():
    def make(weights, biases):
        return torch.optim.Adam([*weights, *biases], lr=0.03)

    assert_same(ours(Adam, alpha=0.7), torchs(make, l2=0.7))


def test_clip_norm_limits_each_networks_gradient():
    def make(weights, biases):
        return torch.optim.SGD([*weights, *biases], lr=0.03)

    expected = torchs(make, clip=0.05)
    assert_same(ours(lambda t: SGD(t, 0.0), clip_norm=0.05), expected)


def test_a_generous_clip_norm_changes_nothing():
    free, clipped = ours(Adam), ours(Adam, clip_norm=1e6)
    assert_close(free.theta, clipped.theta)


def test_a_short_clip_norm_sets_the_length_of_a_step():
    stack, _, _ = scene()
    moved = ours(lambda t: SGD(t, 0.0), n_steps=1, lr=1.0, clip_norm=0.01)
    for before, after in zip(stack.modules(), moved.modules(), strict=True):
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        steps = torch.cat([(p - q).detach().flatten() for p, q in pairs])
        assert_close(steps.norm(), torch.tensor(0.01, dtype=F64))


def test_without_a_gradient_penalties_shrink_weights_and_spare_biases():
    stack, batch, context = scene()
    before = stack.clone()
    still = Batch(batch.x, batch.y, batch.weights, batch.weights.sum() * 1e30)
    recipe = Recipe((), 10, lambda epoch: 0.1, weight_decay=1.0)
    train_batch(stack, still, SGD(stack.theta, 0.0), recipe, context)
    for old, new in zip(before.modules(), stack.modules(), strict=True):
        for p, q in zip(old.parameters(), new.parameters(), strict=True):
            assert_close(q, 0.9 * p if p.ndim > 1 else p)
