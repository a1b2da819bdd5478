"""Layers of the multilayer perceptron: activations, their slopes, first weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """An elementwise function and its backward rule, both in place.

    ``pull_(upstream, result)`` turns the gradient by the result into the gradient by
    the pre-activation. It never needs the pre-activation itself, so a forward pass
    keeps one tensor a layer.
    """

    apply_: Callable[[Tensor], Tensor]
    pull_: Callable[[Tensor, Tensor], Tensor]
    module: Callable[[], torch.nn.Module]


LEAK = 0.1

# overloads are named because looking them up costs as much as a small operation
_relu_pull = _aten.threshold_backward.grad_input
_leaky_pull = _aten.leaky_relu_backward.grad_input
_tanh_pull = _aten.tanh_backward.grad_input
_logistic_pull = _aten.sigmoid_backward.grad_input

ACTIVATIONS = {
    "identity": Activation(lambda z: z, lambda g, a: g, torch.nn.Identity),
    "relu": Activation(
        torch.relu_, lambda g, a: _relu_pull(g, a, 0, grad_input=g), torch.nn.ReLU
    ),
    "leaky_relu": Activation(
        lambda z: torch.nn.functional.leaky_relu_(z, LEAK),
        lambda g, a: _leaky_pull(g, a, LEAK, True, grad_input=g),
        lambda: torch.nn.LeakyReLU(LEAK),
    ),
    "tanh": Activation(
        torch.tanh_, lambda g, a: _tanh_pull(g, a, grad_input=g), torch.nn.Tanh
    ),
    "logistic": Activation(
        torch.sigmoid_,
        lambda g, a: _logistic_pull(g, a, grad_input=g),
        torch.nn.Sigmoid,
    ),
}


def layer_shapes(
    sizes: tuple[int, ...], n_networks: int
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Shapes of the weights (K, out, in) and biases (K, 1, out) of every layer."""
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    weights = [(n_networks, o, i) for i, o in pairs]
    biases = [(n_networks, 1, o) for _, o in pairs]
    return weights, biases


def first_weights(
    sizes: tuple[int, ...], n_networks: int, generator: torch.Generator
) -> Tensor:
    """Draw flat parameters, network by network: all weights, then all biases.

    Uniform in +-fan_in^-1/2. Always drawn in float64 on the CPU, so every dtype and
    device starts alike, and network k does not depend on how many follow it.
    """
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    drawn = []
    for _ in range(n_networks):
        weights, biases = [], []
        for i, o in pairs:
            weights.append(uniform((o * i,), i, generator))
            biases.append(uniform((o,), i, generator))
        drawn += weights + biases
    return torch.cat(drawn)


def uniform(
    shape: tuple[int, ...] | torch.Size, fan_in: int, generator: torch.Generator
) -> Tensor:
    """Draw uniform numbers in +-fan_in^-1/2."""
    u = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
    return (2 * u - 1) * fan_in**-0.5
