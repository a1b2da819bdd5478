"""Large matrix products against torch's own, and where they are chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skrobust import NetClassifier, _products
from skrobust._flow import FlowStack
from skrobust._products import Mixed, Products
from skrobust._stack import MLPStack

SHAPES = [(128, 256, 64), (256, 100, 100), (8, 512, 512), (2048, 128, 10)]
needed = pytest.mark.skipif(
    not _products._has_onednn(), reason="this torch has no such products"
)


def drawn(k, n, i, o, dtype=torch.float32):
    rng = torch.Generator().manual_seed(n)
    shapes = (k, n, i), (k, i, o), (k, 1, o)
    return [torch.randn(shape, generator=rng).to(dtype) for shape in shapes]


def counted(monkeypatch):
    """Count the products that leave torch's own."""
    calls, linear = [], _products._linear
    monkeypatch.setattr(
        _products, "_linear", lambda *args: calls.append(1) or linear(*args)
    )
    return calls


@pytest.mark.parametrize("n, i, o", SHAPES)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("turned", [False, True])
@needed
def test_large_products_are_those_in_double_precision(n, i, o, k, turned, monkeypatch):
    calls = counted(monkeypatch)
    x, y, bias = drawn(k, n, i, o)
    if turned:  # as derivatives by weights have it
        x, y = x.mT.contiguous().mT, y.mT.contiguous().mT
    exact = torch.baddbmm(bias.double(), x.double(), y.double())
    out = torch.empty(k, n, o)
    with torch.inference_mode():
        found = Mixed.baddbmm(bias, x, y, out=out)
        assert k == 1 or found is out
        assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)
        assert torch.equal(Mixed.baddbmm(bias, x, y), found)
        by_row = bias.new_full((k, n, 1), 3.0)
        assert_close(
            Mixed.baddbmm(by_row, x, y).double(),
            exact - bias + 3,
            rtol=1e-4,
            atol=1e-4,
        )
        assert Mixed.bmm(x, y, out=out) is out
        assert_close((out + bias).double(), exact, rtol=1e-4, atol=1e-4)
    assert len(calls) == 4 * k


def test_small_and_narrow_products_are_torchs(monkeypatch):
    calls = counted(monkeypatch)
    for shape in ((100, 64, 64), (20000, 256, 1), (1, 2000, 2000)):
        x, y, bias = drawn(1, *shape)
        assert torch.equal(Mixed.baddbmm(bias, x, y), torch.baddbmm(bias, x, y))
        out = torch.empty(1, shape[0], shape[2])
        assert torch.equal(Mixed.bmm(x, y, out=out), torch.bmm(x, y))
    assert not calls


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@needed
def test_what_is_no_number_stays_none(value):
    x, y, bias = drawn(1, 128, 256, 256)
    x[0, 5, 7] = value
    with torch.inference_mode():
        found = Mixed.baddbmm(bias, x, y)
    assert not torch.isfinite(found[0, 5]).any()
    assert torch.isfinite(found[0, :5]).all() and torch.isfinite(found[0, 6:]).all()


def test_only_single_precision_on_a_cpu_is_ever_large(monkeypatch):
    weights = [torch.zeros(1, 10, 5), torch.zeros(1, 300, 100)]
    monkeypatch.setattr(_products, "_has_onednn", lambda: True)
    assert Products(weights).of(49) is torch and Products(weights).of(50) is Mixed
    for others in ([w.double() for w in weights], [w.to("meta") for w in weights]):
        assert Products(others).of(10**9) is torch
    monkeypatch.setattr(_products, "_has_onednn", lambda: False)
    assert Products(weights).of(10**9) is torch


@pytest.mark.parametrize("broken", ["gone", "wrong"])
def test_an_operation_that_is_gone_or_wrong_is_left_alone(broken, monkeypatch):
    def linear(x, weight, bias):
        if broken == "gone":
            raise AttributeError("no such operation")
        return x @ weight  # not transposed, no bias

    monkeypatch.setattr(_products, "_linear", linear)
    assert not _products._has_onednn.__wrapped__()


def mlp(k):
    generator = torch.Generator().manual_seed(0)
    sizes = 20, 256, 256, 10
    return MLPStack(
        sizes, k, activation="tanh", generator=generator, dtype=torch.float32
    )


def flow(k):
    generator = torch.Generator().manual_seed(0)
    kind = {"n_couplings": 3, "n_networks": k, "dtype": torch.float32}
    return FlowStack(20, (256, 256), activation="tanh", generator=generator, **kind)


@pytest.mark.parametrize("make, n_large", [(mlp, 3), (flow, 9)])
@pytest.mark.parametrize("k", [1, 2])
@needed
def test_networks_with_large_products_have_the_gradient_of_double_precision(
    make, n_large, k, monkeypatch
):
    calls, stack = counted(monkeypatch), make(k)
    twin, o = stack.double(), stack.n_outputs
    x, gradient, weights = (
        torch.randn(s, generator=torch.Generator().manual_seed(1))
        for s in ((128, 20), (k, 128, o), (k, 128))
    )
    with torch.inference_mode():
        tape, exact = (s.forward(x.to(s.theta), training=True) for s in (stack, twin))
        stack.backward(tape, gradient, weights)
        assert len(calls) == n_large * k  # of 256 units by 256, there, back, between
        twin.backward(exact, gradient.double(), weights.double())
        assert_close(stack.predict(x), tape.output, rtol=1e-5, atol=1e-4)
    assert_close(tape.output.double(), exact.output, rtol=1e-5, atol=1e-4)
    assert_close(stack.grad.double(), twin.grad, rtol=1e-4, atol=1e-3)


@needed
def test_a_fit_with_large_products_can_be_repeated_with_any_threads(monkeypatch):
    rng = np.random.RandomState(0)
    X = rng.randn(400, 10).astype("float32")
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    calls, before, found = counted(monkeypatch), torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 1):
            torch.set_num_threads(n_threads)
            model = NetClassifier(max_iter=3, random_state=0).fit(X, y)
            found.append(model.predict_proba(X))
    finally:
        torch.set_num_threads(before)
    assert calls
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
