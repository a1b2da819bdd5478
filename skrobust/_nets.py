"""Layers of the multilayer perceptron: activations, their slopes, first weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """An elementwise function and its backward rule, written with the result.

    ``backward(upstream, result)`` never needs the pre-activation, so a forward pass
    keeps one tensor a layer.
    """

    apply_: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    module: Callable[[], torch.nn.Module]


LEAK = 0.1

ACTIVATIONS = {
    "identity": Activation(lambda z: z, lambda g, a: g, torch.nn.Identity),
    "relu": Activation(
        torch.relu_, lambda g, a: _aten.threshold_backward(g, a, 0), torch.nn.ReLU
    ),
    "leaky_relu": Activation(
        lambda z: torch.nn.functional.leaky_relu_(z, LEAK),
        lambda g, a: _aten.leaky_relu_backward(g, a, LEAK, True),
        lambda: torch.nn.LeakyReLU(LEAK),
    ),
    "tanh": Activation(torch.tanh_, _aten.tanh_backward, torch.nn.Tanh),
    "logistic": Activation(torch.sigmoid_, _aten.sigmoid_backward, torch.nn.Sigmoid),
}


def layer_shapes(
    sizes: tuple[int, ...], n_networks: int
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Shapes of the weights (K, in, out) and biases (K, 1, out) of every layer."""
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    weights = [(n_networks, i, o) for i, o in pairs]
    biases = [(n_networks, 1, o) for _, o in pairs]
    return weights, biases


def first_weights(
    sizes: tuple[int, ...], n_networks: int, generator: torch.Generator
) -> Tensor:
    """Draw flat parameters: all weights, then all biases, uniform in +-fan_in^-1/2.

    Always drawn in float64 on the CPU, so every dtype and device starts alike, and
    network by network, so that network k does not depend on how many follow it.
    """
    weights, biases = layer_shapes(sizes, n_networks)
    drawn: list[list[Tensor]] = [[] for _ in weights + biases]
    for _ in range(n_networks):
        for slot, (_, i, o) in enumerate(weights):
            shape_and_slot = [((1, i, o), slot), ((1, 1, o), slot + len(weights))]
            for shape, where in shape_and_slot:
                u = torch.rand(shape, generator=generator, dtype=torch.float64)
                drawn[where].append((2 * u - 1) * i**-0.5)
    return torch.cat([torch.cat(parts).flatten() for parts in drawn])
