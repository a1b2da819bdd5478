"""The flow against an independent one in plain torch, and what every density keeps."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from skrobust._flow import FlowStack
from skrobust._optim import SGD, Adam, SpectralNorm

F64 = torch.float64
N, HIDDEN = 11, (8, 7)
ACTS = {
    "relu": torch.relu,
    "leaky_relu": lambda z: torch.where(z > 0, z, 0.1 * z),
    "tanh": torch.tanh,
    "logistic": torch.sigmoid,
    "identity": lambda z: z,
}
SHAPES = [(d, k) for d in (1, 2, 3, 6, 7) for k in (1, 3)]
shapes = pytest.mark.parametrize("d, k", SHAPES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def flow(d, k=1, activation="leaky_relu", hidden=HIDDEN, size=1.0, **options):
    stack = FlowStack(
        d, hidden, k, activation=activation, generator=generator(), **options
    )
    stack.theta.mul_(size)  # larger weights make a stronger flow
    return stack


def rows(d, n=N, seed=1):
    return torch.randn(n, d, generator=generator(seed), dtype=F64)


def by_hand(stack, theta, x, k):
    """Log density of rows under network k, one row at a time, from the formulas."""
    d, half, n = stack.n_features, -(-stack.n_features // 2), len(stack._plan)
    sizes, networks = (half, *HIDDEN, 2 * half), stack.n_networks
    weights, biases, at = [], [], 0
    for found, shape in [(weights, 2), (biases, 1)]:
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            length = n * networks * n_out * (n_in if shape == 2 else 1)
            part = theta[at : at + length]
            found.append(part.view(n, networks, n_out, -1)[:, k])
            at += length
    assert at == len(theta)
    out = []
    for row in x:
        z, log_det = row, 0.0
        for i in range(n):
            if i % 2 == 0:
                z = z[stack._orders[i // 2]]
            low, high = z[: d // 2], z[d // 2 :]
            moves_high = i % 2 == 0 or d == 1
            a, b = (low, high) if moves_high else (high, low)
            h = torch.cat([a, a.new_zeros(half - len(a))])
            for j in range(len(sizes) - 1):
                h = weights[j][i] @ h + biases[j][i].reshape(-1)
                h = ACTS[stack.activation](h) if j < len(sizes) - 2 else h
            s, t = torch.tanh(h[: len(b)]), h[half : half + len(b)]
            b, log_det = b * torch.exp(s) + t, log_det + s.sum()
            z = torch.cat([a, b] if moves_high else [b, a])
        normal = -0.5 * (z @ z) - 0.5 * d * math.log(2 * math.pi)
        out.append(normal + log_det)
    return torch.stack(out)


@shapes
@pytest.mark.parametrize("activation", sorted(ACTS))
def test_values_and_gradients_are_those_of_a_plain_flow(d, k, activation):
    stack, x = flow(d, k, activation, size=1.5), rows(d)
    gradient = torch.randn(k, N, 1, generator=generator(2), dtype=F64)
    weights = torch.rand(k, N, generator=generator(3), dtype=F64)
    weights[:, 2] = 0
    theta = stack.theta.clone().requires_grad_()
    expected = torch.stack([by_hand(stack, theta, x, i) for i in range(k)])[..., None]
    tape = stack.forward(x, training=True)
    assert_close(tape.output, expected.detach(), rtol=1e-10, atol=1e-10)
    assert_close(stack.predict(x), expected.detach(), rtol=1e-10, atol=1e-10)
    total = (expected * gradient * weights[..., None]).sum()
    (wanted,) = torch.autograd.grad(total, theta)
    stack.backward(tape, gradient, weights)
    assert_close(stack.grad, wanted, rtol=1e-9, atol=1e-10)


@shapes
def test_gradient_norms_are_those_of_each_row(d, k):
    stack, x = flow(d, k), rows(d)
    gradient = torch.randn(k, N, 1, generator=generator(2), dtype=F64)
    norms = stack.gradient_norms(stack.forward(x, training=False), gradient)
    for i in range(N):
        one = torch.zeros(k, N, dtype=F64)
        one[:, i] = 1
        tape = stack.forward(x, training=False)
        stack.backward(tape, gradient, one)
        found = [torch.stack([g.norm() for g in net]) for net in stack.network_grads()]
        assert_close(norms[:, i], torch.stack(found).norm(dim=1))


@shapes
def test_ranking_by_gradient_norm_leaves_the_gradient_as_it_is(d, k):
    stack, x = flow(d, k), rows(d)
    gradient, weights = torch.ones(k, N, 1, dtype=F64), torch.rand(k, N, dtype=F64)
    stack.backward(stack.forward(x, training=True), gradient, weights)
    before, tape = stack.grad.clone(), stack.forward(x, training=True)
    stack.gradient_norms(tape, gradient)
    stack.backward(tape, gradient, weights)
    assert_close(stack.grad, before)


@shapes
def test_the_way_back_is_the_way_back(d, k):
    stack = flow(d, k, size=1.5)
    x = (20 * rows(d)).expand(k, N, d)
    assert_close(stack.from_latent(stack.to_latent(x)[0]), x, rtol=1e-9, atol=1e-9)
    assert_close(stack.to_latent(stack.from_latent(x))[0], x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3, 6, 7])
def test_the_log_determinant_is_that_of_the_jacobian(d):
    stack = flow(d, activation="tanh", size=1.5)
    for row in rows(d, 4):
        x = row[None, None]
        jacobian = torch.autograd.functional.jacobian(
            lambda v: stack.to_latent(v)[0].flatten(), x
        )
        expected = jacobian.reshape(d, d).det().abs().log()
        assert_close(stack.to_latent(x)[1].squeeze(), expected)


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_every_column_is_moved(d):
    """No column of z may stay what it was in x, whatever the weights' first draw."""
    x = rows(d).expand(1, N, d)
    z = flow(d).to_latent(x)[0]
    assert (z - x).abs().amin() > 0


@pytest.mark.parametrize("d", [1, 2])
def test_densities_integrate_to_one(d):
    # the wide grid holds what shifts and scales can move away from the middle
    stack, edge = flow(d, 2), torch.linspace(-30, 30, 2401, dtype=F64)
    if d == 2:
        edge = torch.linspace(-30, 30, 801, dtype=F64)
    grid = torch.cartesian_prod(*[edge] * d).reshape(-1, d)
    cell = float(edge[1] - edge[0]) ** d
    mass = stack.predict(grid).exp().sum(1) * cell
    assert_close(mass, torch.ones(2, 1, dtype=F64), rtol=1e-3, atol=1e-3)


def test_log_scales_stay_bounded_where_rows_do_not():
    d = 4
    stack = flow(d, size=100.0)
    log_det = stack.to_latent((1e6 * rows(d))[None])[1]
    assert log_det.abs().max() <= len(stack._plan) * d / 2
    assert torch.isfinite(stack.predict(1e6 * rows(d))).all()


def test_networks_of_a_stack_do_not_see_each_other():
    x = rows(5)
    assert_close(flow(5, 3).predict(x)[:1], flow(5, 1).predict(x))


@shapes
def test_copies_are_independent_and_states_come_back(d, k):
    stack, x = flow(d, k), rows(d)
    before, twin = stack.predict(x), stack.clone()
    other = FlowStack(d, HIDDEN, k, generator=generator(9))
    other.load(stack.state())
    assert_close(other.predict(x), before, rtol=0, atol=0)
    assert_close(other.forward(x, training=True).output, before)
    stack.theta.add_(0.1)
    assert_close(twin.predict(x), before, rtol=0, atol=0)
    assert not torch.equal(stack.predict(x), before)


def test_modules_are_differentiable_copies():
    stack, x = flow(3, 2), rows(3)
    modules = stack.modules()
    out = torch.stack([m(x) for m in modules])
    assert_close(out.detach(), stack.predict(x))
    out[1].sum().backward()
    stack.backward(
        stack.forward(x, training=True),
        torch.ones(2, N, 1, dtype=F64),
        torch.tensor([[0.0], [1.0]], dtype=F64).expand(2, N),
    )
    (theta,) = modules[1].parameters()
    assert_close(theta.grad, stack.grad)


# -- spectral norms ------------------------------------------------------------------


def norms_of(stack):
    return torch.cat(
        [torch.linalg.matrix_norm(w, ord=2).flatten() for w in stack.layers]
    )


def read_rows(stack):
    """The last layers without the rows that no column of the moved half reads."""
    for i, step in enumerate(stack._plan):
        yield (
            stack.layers[-1][i].unflatten(1, (2, -1))[:, :, : step.moved].flatten(1, 2)
        )


@pytest.mark.parametrize("hidden", [HIDDEN, ()])
@pytest.mark.parametrize("d", [1, 2, 3, 5, 8])
def test_norms_are_those_of_what_is_read(d, hidden):
    stack = flow(d, 2, hidden=hidden)
    whole = torch.linalg.matrix_norm(stack.layers[-1], ord=2)
    read = [torch.linalg.matrix_norm(w, ord=2) for w in read_rows(stack)]
    assert_close(torch.stack(read), whole)


@pytest.mark.parametrize("norm", [0.5, 100.0])
@pytest.mark.parametrize("d", [1, 3, 6])
def test_norms_can_be_brought_to_the_bound_at_once(d, norm):
    capped, exact = flow(d, 2, size=3.0), flow(d, 2, size=3.0)
    before = norms_of(capped)
    capped.bound_norms(norm, exact=False)
    assert_close(norms_of(capped), before.clamp(max=norm))
    exact.bound_norms(norm, exact=True)
    assert_close(norms_of(exact), torch.where(before > 0, norm, 0.0).double())
    assert torch.isfinite(exact.theta).all()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("kind", [Adam, SGD])
@pytest.mark.parametrize("d", [1, 5, 8])
def test_spectral_norms_stay_where_they_should_be(exact, kind, d):
    stack = flow(d, 2, size=3.0)
    first = norms_of(stack)
    optimizer = SpectralNorm(kind(stack.theta), stack.layers, 1.2, exact=exact)
    start = norms_of(stack)
    if exact:
        some = first > 0  # a matrix of zeros has no direction to grow in
        assert_close(start[some], torch.full_like(start[some], 1.2), rtol=0.02, atol=0)
    else:
        assert_close(start, first.clamp(max=1.2), rtol=0.02, atol=1e-12)
    start = stack.theta.clone()
    x = rows(d, 64)
    gradient, weights = -torch.ones(2, 64, 1, dtype=F64), torch.full((2, 64), 1 / 64)
    for _ in range(40):
        stack.backward(stack.forward(x, training=True), gradient, weights.double())
        optimizer.step(stack.theta, stack.grad, 0.003)
    end = norms_of(stack)
    assert (end <= 1.2 * 1.05).all()  # one iteration a step lags a little
    assert not torch.allclose(stack.theta, start, rtol=1e-2)
    if exact:
        assert (end[first > 0] > 1.2 * 0.98).all()


def test_a_spectral_norm_that_is_never_reached_changes_nothing():
    grad = torch.randn(flow(4).theta.shape, generator=generator(5), dtype=F64)
    plain, bound = flow(4), flow(4)
    optimizer = SpectralNorm(Adam(bound.theta), bound.layers, 1e6, exact=False)
    for _ in range(3):
        optimizer.step(bound.theta, grad, 0.01)
    adam = Adam(plain.theta)
    for _ in range(3):
        adam.step(plain.theta, grad, 0.01)
    assert_close(bound.theta, plain.theta, rtol=0, atol=0)


def test_spectral_norm_goes_on_from_its_state():
    rng = generator(6)
    grads = [torch.randn(flow(4).theta.shape, generator=rng, dtype=F64) for _ in "12"]

    def wrapped(stack):
        return SpectralNorm(Adam(stack.theta), stack.layers, 0.8, exact=True)

    one = flow(4)
    whole = wrapped(one)
    whole.step(one.theta, grads[0], 0.1)
    state, theta = whole.state(), one.theta.clone()
    whole.step(one.theta, grads[1], 0.1)
    other = flow(4)
    resumed = wrapped(other)
    other.theta.copy_(theta)
    resumed.load(state)
    resumed.step(other.theta, grads[1], 0.1)
    assert_close(other.theta, one.theta, rtol=0, atol=0)
