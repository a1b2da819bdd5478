"""Large matrix products against torch's own, and where they are chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skrobust import NetClassifier, _products
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
        assert _products.baddbmm(bias, x, y, out=out) is out
        assert_close(out.double(), exact, rtol=1e-4, atol=1e-4)
        assert torch.equal(_products.baddbmm(bias, x, y), out)
        assert _products.bmm(x, y, out=out) is out
        assert_close((out + bias).double(), exact, rtol=1e-4, atol=1e-4)
    assert len(calls) == 3 * k


def test_small_and_narrow_products_are_torchs(monkeypatch):
    calls = counted(monkeypatch)
    for shape in ((100, 64, 64), (20000, 256, 1), (1, 2000, 2000)):
        x, y, bias = drawn(1, *shape)
        assert torch.equal(_products.baddbmm(bias, x, y), torch.baddbmm(bias, x, y))
        out = torch.empty(1, shape[0], shape[2])
        assert torch.equal(_products.bmm(x, y, out=out), torch.bmm(x, y))
    assert not calls


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@needed
def test_what_is_no_number_stays_none(value):
    x, y, bias = drawn(1, 128, 256, 256)
    x[0, 5, 7] = value
    with torch.inference_mode():
        found = _products.baddbmm(bias, x, y)
    assert not torch.isfinite(found[0, 5]).any()
    assert torch.isfinite(found[0, :5]).all() and torch.isfinite(found[0, 6:]).all()


def test_only_single_precision_on_a_cpu_is_ever_large(monkeypatch):
    weights = [torch.zeros(1, 10, 5), torch.zeros(1, 300, 100)]
    monkeypatch.setattr(_products, "_has_onednn", lambda: True)
    assert _products.large_from(weights) == _products.LARGE / 30000
    assert _products.large_from([w.double() for w in weights]) == float("inf")
    assert _products.large_from([w.to("meta") for w in weights]) == float("inf")
    monkeypatch.setattr(_products, "_has_onednn", lambda: False)
    assert _products.large_from(weights) == float("inf")


@pytest.mark.parametrize("broken", ["gone", "wrong"])
def test_an_operation_that_is_gone_or_wrong_is_left_alone(broken, monkeypatch):
    def linear(x, weight, bias):
        if broken == "gone":
            raise AttributeError("no such operation")
        return x @ weight  # not transposed, no bias

    monkeypatch.setattr(_products, "_linear", linear)
    assert not _products._has_onednn.__wrapped__()


@pytest.mark.parametrize("k", [1, 2])
@needed
def test_networks_with_large_products_have_the_gradient_of_double_precision(
    k, monkeypatch
):
    calls = counted(monkeypatch)
    stack = MLPStack(
        (20, 256, 256, 10),
        k,
        activation="tanh",
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float32,
    )
    twin = stack.double()
    x, gradient, weights = (
        torch.randn(s, generator=torch.Generator().manual_seed(1))
        for s in ((128, 20), (k, 128, 10), (k, 128))
    )
    with torch.inference_mode():
        tape, exact = (s.forward(x.to(s.theta), training=True) for s in (stack, twin))
        stack.backward(tape, gradient, weights)
        assert len(calls) == 3 * k  # of 256 units by 256, there, back and between
        twin.backward(exact, gradient.double(), weights.double())
        assert_close(stack.predict(x), tape.output, rtol=1e-5, atol=1e-5)
    assert_close(tape.output.double(), exact.output, rtol=1e-5, atol=1e-5)
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
