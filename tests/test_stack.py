"""Both stacks against autograd, row by row and network by network, in float64."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from skrobust._dropout import fill_mask_
from skrobust._ghost import row_gradient_norms
from skrobust._modules import ModuleStack, build_modules
from skrobust._nets import ACTIVATIONS
from skrobust._stack import MLPStack

F64 = torch.float64
SIZES = (5, 7, 6, 3)
N = 9
CASES = [(a, k, p) for a in sorted(ACTIVATIONS) for k in (1, 3) for p in (0.0, 0.4)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(shape=(N, SIZES[0]), k=3, n_outputs=SIZES[-1], seed=1):
    """Inputs, the derivative of the losses by the outputs, and weights of rows."""
    rng = generator(seed)
    x = torch.randn(shape, generator=rng, dtype=F64)
    gradient = torch.randn(k, shape[0], n_outputs, generator=rng, dtype=F64)
    weights = torch.rand(k, shape[0], generator=rng, dtype=F64)
    weights[:, 2] = 0
    return x, gradient, weights


def mlp(activation="relu", k=3, dropout=0.0, seed=0, **options):
    stack = MLPStack(
        SIZES,
        k,
        activation=activation,
        dropout=dropout,
        generator=generator(seed),
        **options,
    )
    stack.generator = generator(7)
    return stack


def masks_of(stack, n=N):
    """The masks the stack will draw next, from a twin of its generator."""
    rng = torch.Generator()
    rng.set_state(stack.generator.get_state())
    k, ((_, rate),) = stack.n_networks, stack._drops
    lengths = [n * width for width in stack._dropped_sizes]
    masks = fill_mask_(torch.empty(k, sum(lengths), dtype=F64), rate, rng)
    return [mask.reshape(k, n, -1) for mask in masks.split(lengths, 1)]


def by_hand(module, x, masks=()):
    """A module's output with given dropout masks after its activations."""
    layers, masks = list(module), list(masks)
    for i, layer in enumerate(layers):
        x = layer(x)
        if masks and i % 2 == 1:
            x = x * masks.pop(0)
    return x


def assert_gradients(stack, references):
    for got, expected in zip(stack.network_grads(), references, strict=True):
        assert sum(g.numel() for g in got) == sum(g.numel() for g in expected)
        for g in got:  # orders and axes of length one may differ
            shapes = [e for e in expected if e.numel() == g.numel()]
            assert any(
                torch.allclose(g.reshape(-1), e.reshape(-1), rtol=1e-10, atol=1e-12)
                for e in shapes
            )


def reference_gradients(outputs, modules, gradient, weights):
    found = []
    for k, (out, module) in enumerate(zip(outputs, modules, strict=True)):
        loss = (out * gradient[k] * weights[k][:, None]).sum()
        params = [p for p in module.parameters() if p.requires_grad]
        found.append(torch.autograd.grad(loss, params))
    return found


def row_norms(module, x, gradient):
    """Gradient norms by one backward pass a row."""
    params = [p for p in module.parameters() if p.requires_grad]
    norms = []
    for i in range(len(x)):
        loss = (module(x[i : i + 1]).reshape(-1) * gradient[i].reshape(-1)).sum()
        loss = loss + 0 * params[0].sum()  # a row may depend on no parameter
        grads = torch.autograd.grad(loss, params, allow_unused=True)
        squares = [g.square().sum() for g in grads if g is not None]
        norms.append(torch.stack(squares).sum().sqrt())
    return torch.stack(norms)


# -- the multilayer perceptron ---------------------------------------------------


@pytest.mark.parametrize("activation, k, dropout", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_mlp_equals_autograd(activation, k, dropout, weighted):
    stack = mlp(activation, k, dropout)
    x, gradient, weights = data(k=k)
    if not weighted:
        weights = torch.full((k, N), 1 / N, dtype=F64)
    modules = stack.modules()
    masks = masks_of(stack) if dropout else []
    tape = stack.forward(x, training=True)
    outputs = [
        by_hand(m, x, [mask[i] for mask in masks]) for i, m in enumerate(modules)
    ]
    assert_close(tape.output, torch.stack(outputs).detach(), rtol=1e-12, atol=1e-12)
    stack.backward(tape, gradient, weights)
    assert_gradients(stack, reference_gradients(outputs, modules, gradient, weights))


def test_dropout_may_spare_the_last_layers():
    stack = mlp("tanh", dropout=0.4, dropout_layers=1)
    x, gradient, weights = data()
    modules, masks = stack.modules(), masks_of(stack)
    tape = stack.forward(x, training=True)
    assert len(masks) == len(tape.masks) == 1
    outputs = [by_hand(m, x, [masks[0][i]]) for i, m in enumerate(modules)]
    assert_close(tape.output, torch.stack(outputs).detach(), rtol=1e-12, atol=1e-12)
    stack.backward(tape, gradient, weights)
    assert_gradients(stack, reference_gradients(outputs, modules, gradient, weights))
    thin = stack.thinned(generator())
    same = [torch.equal(a, b) for a, b in zip(thin._Wt, stack._Wt, strict=True)]
    assert same == [True, False, True]
    assert not mlp(dropout=0.4, dropout_layers=0).droppable


class Shared(nn.Module):
    """One module of dropout in two places, of different widths."""

    def __init__(self):
        super().__init__()
        self.first, self.then, self.last = (
            nn.Linear(*s) for s in [(4, 8), (8, 3), (3, 2)]
        )
        self.drop = nn.Dropout(0.5)
        self.again = self.drop

    def forward(self, x):
        return self.last(self.drop(self.then(self.again(self.first(x)))))


def test_one_module_of_dropout_may_stand_in_several_places():
    stack = ModuleStack(build_modules(Shared, 2, 0), dtype=F64, device="cpu")
    thin = stack.thinned(generator())
    x = torch.ones(5, 4, dtype=F64)
    out = thin.predict(x)
    assert torch.equal(thin.predict(x), out)  # a draw for all passes over rows
    assert torch.equal(out, out[:, :1].expand_as(out))  # and for all of them
    masks = [[m.shape[1] for m in part.drop.masks] for part in thin._modules]
    assert masks == [[8, 3], [8, 3]]
    assert not torch.equal(stack.thinned(generator(1)).predict(x), out)


def test_other_devices_keep_their_random_numbers(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeded.append)
    stack = ModuleStack(build_modules(Shared, 1, 0), dtype=F64, device="cpu")
    stack.forward(torch.ones(5, 4, dtype=F64), training=True)
    assert not seeded


@pytest.mark.parametrize("activation, k, dropout", CASES)
def test_mlp_gradient_norms_are_those_of_each_row(activation, k, dropout):
    stack = mlp(activation, k, dropout)
    x, gradient, _ = data(k=k)
    norms = stack.gradient_norms(stack.forward(x, training=False), gradient)
    for i, module in enumerate(stack.modules()):
        assert_close(norms[i], row_norms(module, x, gradient[i]))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_ranking_by_gradient_norm_leaves_the_gradient_as_it_is(activation, dropout):
    """The two share work; the weighted gradient must not notice."""
    x, gradient, weights = data()
    plain, ranked = mlp(activation, 3, dropout), mlp(activation, 3, dropout)
    tape = plain.forward(x, training=True)
    plain.backward(tape, gradient, weights)
    tape = ranked.forward(x, training=False)
    ranked.gradient_norms(tape, gradient)
    if dropout:
        tape = ranked.forward(x, training=True)
    ranked.backward(tape, gradient, weights)
    assert_close(ranked.grad, plain.grad, rtol=1e-12, atol=1e-14)


def test_gradient_norms_can_be_asked_for_again():
    stack, (x, gradient, weights) = mlp(), data()
    tape = stack.forward(x, training=False)
    first = stack.gradient_norms(tape, gradient)
    stack.backward(tape, gradient, weights)
    assert_close(stack.gradient_norms(tape, gradient), first)


def test_a_tape_outlives_a_pass_in_the_other_mode():
    stack, (x, gradient, weights) = mlp(dropout=0.4), data()
    tape = stack.forward(x, training=False)
    first = stack.gradient_norms(tape, gradient)
    other = stack.forward(-x, training=True)
    stack.backward(other, gradient, weights)
    assert_close(stack.gradient_norms(tape, gradient), first)


@pytest.mark.parametrize("sizes", [(5, 3), (5, 1, 1), (1, 4, 3)])
def test_mlp_of_any_depth_and_width(sizes):
    stack = MLPStack(sizes, 2, activation="tanh", generator=generator())
    x, gradient, weights = data((N, sizes[0]), 2, sizes[-1])
    tape = stack.forward(x, training=True)
    norms = stack.gradient_norms(tape, gradient)
    stack.backward(tape, gradient, weights)
    modules = stack.modules()
    outputs = [m(x) for m in modules]
    assert_gradients(stack, reference_gradients(outputs, modules, gradient, weights))
    for k, module in enumerate(modules):
        assert_close(norms[k], row_norms(module, x, gradient[k]))


def test_mlp_predicts_what_its_modules_do_and_what_evaluation_gives():
    stack = mlp(dropout=0.4)
    x = data()[0]
    outputs = torch.stack([m(x) for m in stack.modules()]).detach()
    assert_close(stack.predict(x), outputs)
    assert_close(stack.forward(x, training=False).output, outputs)
    assert not torch.equal(stack.forward(x, training=True).output, outputs)


def test_mlp_forward_keeps_no_trace_of_an_earlier_one():
    """Memory is used again; numbers are not."""
    stack, fresh = mlp(), mlp()
    x, gradient, weights = data()
    for other in (10 * x, x[:4], -x):
        tape = stack.forward(other, training=True)
        stack.gradient_norms(tape, gradient[:, : len(other)])
        stack.backward(tape, gradient[:, : len(other)], weights[:, : len(other)])
    for s in (stack, fresh):
        s.backward(s.forward(x, training=True), gradient, weights)
    assert torch.equal(stack.grad, fresh.grad)


# -- K networks are K networks ---------------------------------------------------


def lone(stack, k):
    """Network k of a stack as a stack of its own."""
    single = mlp(stack.activation, 1)
    theirs = [p[k] for p in [*stack._W, *stack._b]]
    single.theta.copy_(torch.cat([p.flatten() for p in theirs]))
    return single


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_networks_together_equal_networks_alone(activation):
    stack, (x, gradient, weights) = mlp(activation), data()
    tape = stack.forward(x, training=True)
    norms = stack.gradient_norms(tape, gradient)
    stack.backward(tape, gradient, weights)
    for k in range(3):
        single = lone(stack, k)
        part = slice(k, k + 1)
        own = single.forward(x, training=True)
        assert_close(own.output, tape.output[part], rtol=1e-12, atol=1e-13)
        assert_close(single.gradient_norms(own, gradient[part]), norms[part])
        single.backward(own, gradient[part], weights[part])
        pairs = zip(stack.network_grads()[k], single.network_grads()[0], strict=True)
        for together, alone in pairs:
            assert_close(together, alone, rtol=1e-11, atol=1e-13)


def test_network_k_does_not_depend_on_how_many_follow():
    many, few = mlp(k=5), mlp(k=2)
    for k in range(2):
        for p, q in zip(
            many.modules()[k].parameters(), few.modules()[k].parameters(), strict=True
        ):
            assert torch.equal(p, q)


def test_networks_start_apart_and_within_their_bounds():
    stack = mlp(k=2)
    first, second = (list(m.parameters()) for m in stack.modules())
    for p, q in zip(first, second, strict=True):
        assert not torch.equal(p, q)
    for module in stack.modules():
        for layer in module:
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                assert layer.weight.abs().max() <= bound
                assert layer.bias.abs().max() <= bound


def test_every_dtype_starts_alike():
    single, double = mlp(dtype=torch.float32), mlp()
    assert torch.equal(single.theta, double.theta.float())


def test_a_clone_stays_when_the_original_moves():
    stack, (x, gradient, weights) = mlp(), data()
    twin = stack.clone()
    before = twin.predict(x)
    stack.backward(stack.forward(x, training=True), gradient, weights)
    stack.theta.add_(1.0)
    assert torch.equal(twin.predict(x), before)
    assert not twin.grad.any()


def test_a_stored_state_gives_the_same_networks():
    stack, other = mlp(seed=0), mlp(seed=1)
    x = data()[0]
    assert not torch.equal(stack.predict(x), other.predict(x))
    state = stack.state()
    other.load(state)
    assert torch.equal(stack.predict(x), other.predict(x))


def test_decaying_parameters_are_the_weights_and_no_biases():
    stack = mlp()
    weights, grads = stack.decaying
    for part in (weights, grads):
        assert part.numel() == 3 * (5 * 7 + 7 * 6 + 6 * 3)
    weights.zero_()
    for module in stack.modules():
        for p in module.parameters():
            assert bool(p.any()) == (p.ndim == 1)


# -- a user's own modules --------------------------------------------------------


class Twice(nn.Module):
    """One layer used two times: its gradients add before they have a norm."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.out(torch.tanh(self.b(torch.tanh(self.a(x)))))


class TiedAutoencoder(nn.Module):
    """A decoder that uses the encoder's weight, transposed."""

    def __init__(self):
        super().__init__()
        self.encoder, self.bias = nn.Linear(4, 2), nn.Linear(1, 4)

    def forward(self, x):
        code = torch.tanh(self.encoder(x))
        return self.bias(x[:, :1]) + F.linear(code, self.encoder.weight.T)


class Folded(nn.Module):
    """A layer that sees places as rows."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(4, 3), nn.Linear(15, 2)

    def forward(self, x):
        folded = torch.tanh(self.inner(x.reshape(-1, 4)))
        return self.out(folded.reshape(len(x), -1))


class PlacesFirst(nn.Module):
    """A layer whose first axis is not that of the rows."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.inner(x.transpose(0, 1))).sum(0))


class Own(nn.Module):
    """Parameters of its own, outside any layer."""

    def __init__(self):
        super().__init__()
        self.shift, self.out = nn.Parameter(torch.randn(4)), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.tanh(x + self.shift))


class Idle(nn.Module):
    """A layer that the output does not depend on."""

    def __init__(self):
        super().__init__()
        self.idle, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        self.idle(x)
        return self.out(x)


class Functional(nn.Module):
    """A layer that only holds the parameters: it is never called itself."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        hidden = F.linear(torch.tanh(self.a(x)), self.b.weight, self.b.bias)
        return self.out(torch.tanh(hidden))


class Bypassed(Functional):
    """A layer that is called to no effect, and whose weight is used without a call."""

    def forward(self, x):
        self.b(x)
        return super().forward(x)


class AroundTheHooks(Functional):
    """A layer whose forward is called straight, as no hook sees."""

    def forward(self, x):
        return self.out(torch.tanh(self.b.forward(torch.tanh(self.a(x)))))


class NoGrad(Functional):
    """A part that is run without gradients."""

    def forward(self, x):
        with torch.no_grad():
            hidden = torch.tanh(self.a(x))
        return self.out(torch.tanh(self.b(hidden)))


class Keywords(nn.Module):
    """Layers called by keyword."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3), nn.Linear(20, 2)

    def forward(self, x):
        return self.b(input=torch.tanh(self.a(input=x)).flatten(2)).sum(1)


class Recurrent(nn.Module):
    """Layers that vmap cannot follow."""

    def __init__(self, kind):
        super().__init__()
        self.first = kind(4, 3, 2, batch_first=True, dropout=0.5)
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(self.first(x)[0][:, -1])


class Branches(nn.Module):
    """Control flow that depends on the data, row by row; some rows reach nothing."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(4, 2), nn.Linear(4, 2), nn.LayerNorm(4)

    def forward(self, x):
        return torch.cat([self.of_one(row[None]) for row in x])

    def of_one(self, row):
        if row.sum() > 1:
            return row[:, :2]
        return self.a(row) if row.sum() > 0 else self.b(self.norm(row))


def replaced():
    """A hook of the user's own that changes what a layer gives."""
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    module[0].register_forward_hook(lambda layer, args, out: torch.tanh(out))
    return module


def normed():
    """A weight that is computed from the parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        first = nn.utils.weight_norm(nn.Linear(4, 3))
    first.weight_g.data *= 2  # where it begins, the norms are those of the weight
    return nn.Sequential(first, nn.Tanh(), nn.Linear(3, 2))


def conv(*args, **kwargs):
    return lambda: nn.Sequential(
        nn.Conv2d(*args, **kwargs), nn.Tanh(), nn.Flatten(), nn.LazyLinear(2)
    )


def frozen():
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    module[0].weight.requires_grad_(False)
    module[2].bias.requires_grad_(False)
    return module


IMAGE, SERIES, FLAT = (N, 2, 7, 6), (N, 5, 4), (N, 4)
MODULES = {
    "linear": (FLAT, lambda: nn.Linear(4, 2)),
    "no bias": (FLAT, lambda: nn.Linear(4, 2, bias=False)),
    "relu in place": (
        FLAT,
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2)),
    ),
    "dropout": (
        FLAT,
        lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)),
    ),
    "frozen": (FLAT, frozen),
    "layer norm": (
        FLAT,
        lambda: nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)),
    ),
    "batch norm": (
        FLAT,
        lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)),
    ),
    "extra axis": (
        SERIES,
        lambda: nn.Sequential(
            nn.Linear(4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(15, 2)
        ),
    ),
    "many places": (
        (N, 30, 2),
        lambda: nn.Sequential(
            nn.Linear(2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(60, 2)
        ),
    ),
    "conv": (IMAGE, conv(2, 3, 3)),
    "conv stride padding": (IMAGE, conv(2, 3, (3, 2), stride=(2, 1), padding=(1, 0))),
    "conv dilation": (IMAGE, conv(2, 3, 2, dilation=(2, 3))),
    "conv same": (IMAGE, conv(2, 3, (3, 2), padding="same", dilation=(1, 2))),
    "conv valid": (IMAGE, conv(2, 3, 3, padding="valid", bias=False)),
    "conv groups": (IMAGE, conv(2, 4, 3, groups=2)),
    "conv reflect": (IMAGE, conv(2, 3, 3, padding=1, padding_mode="reflect")),
    "conv 1d": (
        SERIES,
        lambda: nn.Sequential(nn.Conv1d(5, 3, 2), nn.Flatten(), nn.Linear(9, 2)),
    ),
    "used twice": (FLAT, Twice),
    "shared weight": (FLAT, Tied),
    "tied autoencoder": (FLAT, TiedAutoencoder),
    "folded places": (SERIES, Folded),
    "places first": ((N, 5, 4), PlacesFirst),
    "own parameter": (FLAT, Own),
    "idle layer": (FLAT, Idle),
    "functional": (FLAT, Functional),
    "bypassed": (FLAT, Bypassed),
    "around the hooks": (FLAT, AroundTheHooks),
    "without gradients": (FLAT, NoGrad),
    "keywords": (IMAGE, Keywords),
    "recurrent": (SERIES, partial(Recurrent, nn.GRU)),
    "long memory": (SERIES, partial(Recurrent, nn.LSTM)),
    "branches": (FLAT, Branches),
    "hook": (FLAT, replaced),
    "weight norm": (FLAT, normed),
}


def made(name, k=2, seed=0):
    """K float64 modules of a kind, and rows for them."""
    shape, factory = MODULES[name]
    modules = build_modules(factory, k, seed)
    with torch.no_grad():  # lazy layers learn their shapes
        for module in modules:
            module.eval()(torch.zeros(2, *shape[1:]))
    outputs = modules[0](torch.zeros(2, *shape[1:])).shape[-1]
    return modules, data(shape, k, outputs)


@pytest.mark.parametrize("name", MODULES)
def test_ghost_norms_are_those_of_each_row(name):
    modules, (x, gradient, _) = made(name)
    for k, module in enumerate(modules):
        module = module.double().eval()
        got = row_gradient_norms(module, x, gradient[k])
        assert_close(got, row_norms(module, x, gradient[k]))


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("kernel, dilation", [(2, 1), ((4, 3), 1), (2, 3)])
def test_ghost_norms_of_even_kernels_know_the_longer_side(kernel, dilation):
    layer = partial(nn.Conv2d, 2, 3, kernel, padding="same", dilation=dilation)
    (module,) = build_modules(lambda: nn.Sequential(layer(), nn.Flatten()), 1, 0)
    module, (x, (gradient,), _) = module.double(), data(IMAGE, 1, 3 * 7 * 6)
    found = row_gradient_norms(module, x, gradient)
    assert_close(found, row_norms(module, x, gradient))


@pytest.mark.parametrize(
    "name", ["linear", "relu in place", "conv", "without gradients", "keywords", "hook"]
)
def test_norms_of_linear_maps_hold_no_gradient_a_row(name, monkeypatch):
    monkeypatch.delattr("skrobust._ghost._general_norms")
    modules, (x, gradient, _) = made(name)
    assert (row_gradient_norms(modules[0].double().eval(), x, gradient[0]) > 0).all()


@pytest.mark.parametrize("name", ["functional", "own parameter", "used twice"])
def test_other_norms_do_not_go_row_by_row_without_need(name, monkeypatch):
    monkeypatch.delattr("skrobust._ghost._one_by_one")
    modules, (x, gradient, _) = made(name)
    assert (row_gradient_norms(modules[0].double().eval(), x, gradient[0]) > 0).all()


@pytest.mark.parametrize("name", ["recurrent", "branches", "functional", "keywords"])
def test_norms_leave_the_module_as_it_was(name):
    modules, (x, gradient, _) = made(name)
    module, twin = modules[0].double().train(), copy.deepcopy(modules[0])
    row_gradient_norms(module, x, gradient[0])
    for ours, theirs in zip(module.modules(), twin.modules(), strict=True):
        assert ours.training and not ours._forward_hooks
        assert getattr(ours, "dropout", 0) == getattr(theirs, "dropout", 0)
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        assert p.grad is None and torch.equal(p, q)


def test_an_error_of_the_module_is_raised_as_it_is():
    module = nn.Sequential(nn.LayerNorm(4), nn.Linear(5, 2)).double()
    x, gradient, _ = data(FLAT, 1, 2)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        row_gradient_norms(module, x, gradient[0])


@pytest.mark.parametrize("name", MODULES)
def test_module_stack_equals_autograd(name):
    modules, (x, gradient, weights) = made(name)
    stack = ModuleStack(modules, dtype=F64, device=torch.device("cpu"))
    tape = stack.forward(x, training=False)
    stack.backward(tape, gradient, weights)
    references = [m.eval() for m in build_and_copy(name, stack)]
    outputs = [m(x) for m in references]
    assert_close(tape.output, torch.stack(outputs).detach())
    for k, module in enumerate(references):
        loss = (outputs[k] * gradient[k] * weights[k][:, None]).sum()
        params = [p for p in module.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss, params, allow_unused=True)
        for got, expected in zip(stack.network_grads()[k], grads, strict=True):
            expected = torch.zeros_like(got) if expected is None else expected
            assert_close(got, expected)


def build_and_copy(name, stack):
    twins = made(name, stack.n_networks, seed=1)[0]
    for twin, module in zip(twins, stack.modules(), strict=True):
        twin.double().load_state_dict(module.state_dict())
    return twins


@pytest.mark.parametrize("name", ["linear", "conv same", "layer norm", "used twice"])
def test_module_stack_norms_and_networks_alone(name):
    modules, (x, gradient, weights) = made(name)
    cpu = torch.device("cpu")
    stack = ModuleStack(modules, dtype=F64, device=cpu)
    tape = stack.forward(x, training=False)
    norms = stack.gradient_norms(tape, gradient)
    stack.backward(tape, gradient, weights)
    for k, module in enumerate(build_and_copy(name, stack)):
        assert_close(norms[k], row_norms(module.eval(), x, gradient[k]))
        single = ModuleStack([module], dtype=F64, device=cpu)
        own = single.forward(x, training=False)
        single.backward(own, gradient[k : k + 1], weights[k : k + 1])
        assert_close(own.output[0], tape.output[k])
        pairs = zip(stack.network_grads()[k], single.network_grads()[0], strict=True)
        for together, alone in pairs:
            assert_close(together, alone)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_both_stacks_give_the_same_gradients(activation):
    """The hand-written pass and autograd on the same networks."""
    stack, (x, gradient, weights) = mlp(activation), data()
    other = ModuleStack(stack.modules(), dtype=F64, device=torch.device("cpu"))
    for s in (stack, other):
        tape = s.forward(x, training=True)
        s.norms = s.gradient_norms(tape, gradient)
        s.backward(tape, gradient, weights)
    assert_close(stack.norms, other.norms)
    assert_gradients(stack, other.network_grads())
    assert_close(*(s.decaying[1].norm() for s in (stack, other)))


def test_decaying_parameters_of_modules_are_the_weights_of_layers():
    modules, _ = made("batch norm")
    stack = ModuleStack(modules, dtype=F64, device=torch.device("cpu"))
    expected = [torch.cat([m[i].weight.flatten() for i in (0, 2)]) for m in modules]
    assert_close(stack.decaying[0], torch.stack(expected).detach())


def test_a_module_stack_keeps_no_gradient_from_the_step_before():
    modules, (x, gradient, weights) = made("linear")
    stack = ModuleStack(modules, dtype=F64, device=torch.device("cpu"))
    stack.backward(stack.forward(x, training=True), gradient, weights)
    first = stack.grad.clone()
    stack.backward(stack.forward(x, training=True), gradient, weights)
    assert torch.equal(stack.grad, first)


def test_module_clones_and_states_carry_parameters_and_buffers():
    modules, (x, _, _) = made("batch norm")
    stack = ModuleStack(modules, dtype=F64, device=torch.device("cpu"))
    stack.generator = generator()
    stack.forward(x, training=True)  # moves the running mean
    twin, state = stack.clone(), stack.state()
    loaded = ModuleStack(
        made("batch norm", seed=5)[0], dtype=F64, device=torch.device("cpu")
    )
    loaded.load(state)
    before = stack.predict(x)
    stack.theta.add_(1.0)
    stack.forward(100 * x, training=True)
    assert torch.equal(twin.predict(x), before)
    assert torch.equal(loaded.predict(x), before)


def test_a_module_needs_parameters():
    with pytest.raises(ValueError, match="no parameters"):
        ModuleStack([nn.ReLU()], dtype=F64, device=torch.device("cpu"))


def test_a_factory_must_build_modules():
    with pytest.raises(TypeError, match="returns a torch.nn.Module"):
        build_modules(lambda: 3, 1, 0)


def test_building_modules_is_seeded_and_touches_no_global_generator():
    before = torch.get_rng_state()
    first, second = (build_modules(lambda: nn.Linear(3, 2), 2, 5) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.weight, b.weight)
    assert not torch.equal(first[0].weight, first[1].weight)


def test_a_users_dropout_draws_from_the_stacks_generator():
    modules, (x, _, _) = made("dropout")
    stack = ModuleStack(modules, dtype=F64, device=torch.device("cpu"))
    assert stack.has_modes
    before = torch.get_rng_state()
    outputs = []
    for seed in (3, 3, 4):
        stack.generator = generator(seed)
        outputs.append(stack.forward(x, training=True).output)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], stack.predict(x))


@pytest.mark.parametrize(
    "layer, has_modes",
    [
        (nn.RReLU, True),
        (partial(nn.MultiheadAttention, 4, 1, 0.5), True),
        (partial(nn.Dropout, 0.5), True),
        (partial(nn.BatchNorm1d, 4), True),
        (nn.LeakyReLU, False),
    ],
)
def test_modules_that_are_another_function_in_training_are_known(layer, has_modes):
    modules = build_modules(lambda: nn.Sequential(nn.Linear(4, 4), layer()), 1, 0)
    stack = ModuleStack(modules, dtype=F64, device=torch.device("cpu"))
    assert stack.has_modes == has_modes


def test_memory_does_not_grow_with_the_numbers_of_rows_that_rules_leave():
    stack = MLPStack((3, 4, 2), 1, generator=torch.Generator().manual_seed(0))
    for n in range(1, 200):
        x = torch.zeros(n, 3, dtype=torch.float64)
        tape = stack.forward(x, training=True)
        stack.backward(tape, torch.ones_like(tape.output), torch.ones(1, n).double())
    assert max(map(len, (stack._rooms, stack._masks, stack._ones))) <= 16


@pytest.mark.parametrize("n", [5, 6])
def test_ghost_norms_do_not_take_time_for_rows(n):
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):  # (n, 5, 3)
            return self.outer(self.inner(x.transpose(0, 1)).tanh().mean(0))

    rng = torch.Generator().manual_seed(0)
    module = TimeFirst().double()
    x = torch.randn(n, 5, 3, generator=rng, dtype=torch.float64)
    gradient = torch.randn(n, 2, generator=rng, dtype=torch.float64)
    found = row_gradient_norms(module, x, gradient)
    assert_close(found, row_norms(module, x, gradient))


def test_narrow_networks_take_more_rows_at_once():
    """Calls cost, but what does not fit the cache costs more."""

    def block(*sizes):
        return MLPStack(sizes, generator=generator()).block

    assert block(50, 64, 64, 10) == block(3, 5, 1) == 4096
    assert block(50, 256, 10) == block(2000, 64, 10) == 1024
    assert block(50, 128, 10) == 2048
