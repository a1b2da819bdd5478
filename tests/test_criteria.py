"""Laws of the criteria: losses, their derivatives, and the scores made of them."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skrobust import PRLRegressor
from skrobust._batch import Batch
from skrobust._stack import MLPStack
from skrobust.criteria import (
    AbsoluteError,
    BootstrapCrossEntropy,
    CrossEntropy,
    GradientNorm,
    Huber,
    Loss,
    LossLayer,
    NegativeLogLikelihood,
    Prediction,
    ReconstructionError,
    SquaredError,
    as_loss,
)
from skrobust.criteria._losses import LOSSES

K, N, C = 2, 7, 3
F64 = torch.float64


def draw(seed=0):
    rng = torch.Generator().manual_seed(seed)
    output = torch.randn(K, N, C, generator=rng, dtype=F64)
    target = torch.randn(N, C, generator=rng, dtype=F64)
    return output, target


def one_hot(seed=0):
    labels = torch.randint(C, (N,), generator=torch.Generator().manual_seed(seed))
    return labels, nn.functional.one_hot(labels, C).to(F64)


def quartic(output, target):
    return (output - target).pow(4).sum(-1)


ALL = [
    (CrossEntropy(), one_hot()[1]),
    (CrossEntropy(), torch.softmax(draw(1)[0], -1)),  # soft, one set a network
    (SquaredError(), draw()[1]),
    (AbsoluteError(), draw()[1]),
    (Huber(), draw()[1]),
    (Huber(0.1), draw()[1]),
    (ReconstructionError(), draw()[1]),
    (BootstrapCrossEntropy(0.2, hard=True), draw()[1].softmax(-1)),
    (BootstrapCrossEntropy(0.2), draw()[1].softmax(-1)),
    (as_loss(quartic), draw()[1]),
]


@pytest.mark.parametrize("loss, target", ALL, ids=[type(a).__name__ for a, _ in ALL])
class TestEveryLoss:
    def test_is_one_number_a_row_and_its_derivative_is_autograds(self, loss, target):
        output = draw()[0].requires_grad_()
        values = loss.value(output, target)
        (expected,) = torch.autograd.grad(values.sum(), output)
        gradient = loss.gradient(output.detach(), target)
        assert values.shape == (K, N) and gradient.shape == (K, N, C)
        torch.testing.assert_close(gradient, expected)

    def test_leaves_its_arguments_alone(self, loss, target):
        output = draw()[0]
        before = output.clone(), target.clone()
        loss.gradient(output, target)
        loss.value(output, target)
        assert torch.equal(output, before[0])
        assert torch.equal(target, before[1])

    def test_works_in_inference_mode(self, loss, target):
        """The loop trains in it where no graph is needed."""
        for function in (loss.value, loss.gradient):
            outside = function(draw()[0], target)
            with torch.inference_mode():
                inside = function(draw()[0], target.clone())
            torch.testing.assert_close(inside.clone(), outside)

    def test_rows_and_networks_do_not_meet(self, loss, target):
        output = draw()[0]
        part = target[..., 2:4, :]
        for function in (loss.value, loss.gradient):
            whole = function(output, target)
            for k in range(K):
                own = part[k : k + 1] if part.ndim == 3 else part
                alone = function(output[k : k + 1, 2:4], own)
                torch.testing.assert_close(alone, whole[k : k + 1, 2:4])

    def test_is_a_value(self, loss, target):
        twin = pickle.loads(pickle.dumps(loss))
        assert twin == loss and hash(twin) == hash(loss)


def test_cross_entropy_is_torchs_and_its_gradient_softmax_minus_one_hot():
    output, (labels, target) = draw()[0], one_hot()
    values = CrossEntropy().value(output, target)
    for k in range(K):
        expected = nn.functional.cross_entropy(output[k], labels, reduction="none")
        torch.testing.assert_close(values[k], expected)
    gradient = CrossEntropy().gradient(output, target)
    torch.testing.assert_close(gradient, output.softmax(-1) - target)


def test_cross_entropy_withstands_absurd_logits():
    output = torch.tensor([[[1e300, -1e300, 0.0], [-1e300, 1e300, 0.0]]], dtype=F64)
    target = torch.tensor([[1.0, 0, 0], [1, 0, 0]], dtype=F64)
    values = CrossEntropy().value(output, target)
    gradient = CrossEntropy().gradient(output, target)
    assert values[0, 0] == 0 and values[0, 1] > 1e299
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("hard", [False, True])
def test_bootstrapping_mixes_what_the_network_says_into_the_target(hard):
    """Equations 6 (soft) and 7 (hard) of Reed et al."""
    output, (_, target) = draw()[0], one_hot()
    said = output.softmax(-1)
    if hard:
        said = nn.functional.one_hot(said.argmax(-1), C).to(F64)
    expected = CrossEntropy().value(output, 0.7 * target + 0.3 * said)
    values = BootstrapCrossEntropy(0.3, hard).value(output, target)
    torch.testing.assert_close(values, expected)


def test_huber_lies_between_its_two_limits():
    output, target = draw()
    square, absolute = SquaredError(), AbsoluteError()
    wide = Huber(1e6).value(output, target)
    torch.testing.assert_close(wide, square.value(output, target))
    narrow = Huber(1e-6).value(output, target) / 2e-6
    torch.testing.assert_close(
        narrow, absolute.value(output, target), atol=1e-5, rtol=0
    )


def test_huber_bounds_the_pull_of_a_row():
    output, target = draw()
    gradient = Huber(0.5).gradient(1e9 * output, target)
    assert (gradient.abs() <= 2 * 0.5 / C + 1e-12).all()


def test_each_network_may_have_a_huber_of_its_own():
    output, target = draw()
    deltas = torch.linspace(0.2, 2.0, len(output), dtype=output.dtype)
    each = Huber(deltas[:, None, None])
    for k, delta in enumerate(deltas.tolist()):
        alone, out = Huber(delta), output[k : k + 1].clone()
        assert torch.equal(
            each.value(output, target)[k : k + 1], alone.value(out, target)
        )
        ours = each.gradient(output.clone(), target)[k : k + 1]
        assert torch.equal(ours, alone.gradient(out, target))
    with pytest.raises(ValueError, match="'delta' parameter of Huber"):
        Huber(deltas - 1.0)


def test_negative_log_likelihood_is_minus_the_output():
    output = draw()[0][..., :1]
    loss = NegativeLogLikelihood()
    assert torch.equal(loss.value(output, None), -output[..., 0])
    assert (loss.gradient(output, None) == -1).all()


def test_a_derivative_that_is_no_number_becomes_zero():
    """Such a row may be rejected, but never followed."""
    root = as_loss(lambda output, target: (output - target).abs().sqrt().sum(-1))
    output = torch.ones(1, 2, 1, dtype=F64)
    target = torch.tensor([[1.0], [0.0]], dtype=F64)
    gradient = root.gradient(output, target)
    assert gradient.flatten().tolist() == [0.0, 0.5]


@pytest.mark.parametrize("score", ["loss_gradient", "gradient", "loss"])
def test_rows_without_a_finite_loss_are_the_first_to_go(score):
    """However a loss is differentiated there: log cosh overflows for gross errors."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y, wrong = X @ [1.0, -1.0], np.arange(200) % 10 == 0
    y[wrong] = 1e5
    log_cosh = as_loss(lambda output, target: (output - target).cosh().log().mean(-1))
    steady = {"hidden_layer_sizes": (16,), "max_iter": 100, "random_state": 0}
    steady["learning_rate_init"] = 0.02
    model = PRLRegressor(0.15, score=score, ramp=0, criterion=log_cosh, **steady)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(X, y)
    assert not model.inlier_mask_[wrong].any()
    assert model.score(X[~wrong], y[~wrong]) > 0.9


# -- scores of a batch -----------------------------------------------------------


@pytest.fixture
def scene():
    rng = torch.Generator().manual_seed(0)
    stack = MLPStack((4, 6, C), K, activation="tanh", generator=rng)
    x = torch.randn(N, 4, generator=rng, dtype=F64)
    return stack, Batch(x, one_hot()[1], torch.ones(1, N, dtype=F64))


def test_a_loss_is_a_score(scene):
    stack, batch = scene
    values = CrossEntropy()(stack, batch)
    expected = CrossEntropy().value(stack.predict(batch.x), batch.y)
    torch.testing.assert_close(values, expected)


def test_loss_layer_of_labels_is_the_distance_of_softmax_and_one_hot(scene):
    stack, batch = scene
    scores = LossLayer(CrossEntropy())(stack, batch)
    away = stack.predict(batch.x).softmax(-1) - batch.y
    torch.testing.assert_close(scores, away.norm(dim=-1))


def test_loss_layer_of_squared_errors_ranks_as_the_loss_does(scene):
    stack, batch = scene
    loss = SquaredError()
    by_layer, by_loss = LossLayer(loss)(stack, batch), loss(stack, batch)
    assert torch.equal(by_layer.argsort(-1), by_loss.argsort(-1))


def test_gradient_norm_is_that_of_each_rows_gradient(scene):
    stack, batch = scene
    scores = GradientNorm(CrossEntropy())(stack, batch)
    for k, module in enumerate(stack.modules()):
        for i in range(N):
            out = module(batch.x[i : i + 1])
            value = CrossEntropy().value(out[None], batch.y[i : i + 1]).sum()
            grads = torch.autograd.grad(value, list(module.parameters()))
            norm = torch.stack([g.square().sum() for g in grads]).sum().sqrt()
            torch.testing.assert_close(scores[k, i], norm)


def test_prediction_is_the_class_predicted(scene):
    stack, batch = scene
    assert torch.equal(Prediction()(stack, batch), stack.predict(batch.x).argmax(-1))


def test_reconstruction_compares_with_the_input_itself():
    rng = torch.Generator().manual_seed(0)
    stack = MLPStack((4, 5, 4), K, generator=rng)
    x = torch.randn(N, 2, 2, generator=rng, dtype=F64)
    flat = Batch(x.flatten(1), None, torch.ones(1, N, dtype=F64))
    got = ReconstructionError()(stack, flat)
    expected = (stack.predict(x.flatten(1)) - x.flatten(1)).square().mean(-1)
    torch.testing.assert_close(got, expected)
    nested = Batch(x, None, torch.ones(1, N, dtype=F64))
    assert torch.equal(ReconstructionError().target(nested), x.flatten(1))


# -- names -----------------------------------------------------------------------


def test_every_name_gives_its_loss():
    for name, loss in LOSSES.items():
        assert as_loss(name) == loss
        assert as_loss(loss) is loss


@pytest.mark.parametrize("bad", ["mse", None, 3, Huber, SquaredError])
def test_anything_else_is_refused(bad):
    with pytest.raises(ValueError, match="'criterion' parameter must be"):
        as_loss(bad)


def test_a_loss_without_a_value_says_so():
    with pytest.raises(NotImplementedError):
        Loss().value(*draw())
