"""K networks as one: a forward pass that keeps its tape, and gradients from it.

Both kinds of stack hold their parameters in one flat vector ``theta`` and write
gradients to a vector ``grad`` of the same length, so one optimizer serves both.
They hold one network after the other, so each can also be trained by itself; of each,
weights, which decay, come first, then biases.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ._batch import BLOCK
from ._dropout import fill_mask_
from ._nets import ACTIVATIONS, first_weights, layer_shapes
from ._products import Products

_CACHED = 2**18  # numbers of a layer
_MOST = 4 * BLOCK  # rows that run together, however narrow layers are
_ROOMS = 16  # numbers of rows that memory is kept for; a rule may leave any number


class Tape(Protocol):
    """What one forward pass leaves behind."""

    output: Tensor  # (K, n, n_outputs)

    def narrowed(self, take: Callable[[Tensor, int], Tensor]) -> Tape | None:
        """Return a tape of some rows, or None where another forward pass is due."""


class Stack(Protocol):
    """The interface the loop, the criteria and the steps rely on.

    ``x`` (n, ...) is shared by the K networks.
    """

    theta: Tensor
    grad: Tensor
    decaying: tuple[Tensor, Tensor]  # weights (K, ...) and gradient, without biases
    n_networks: int
    n_outputs: int
    has_modes: bool  # False: training and evaluation give the same output
    droppable: bool  # whether there are units that `thinned` can silence
    block: int  # rows to run together where they need no gradient
    generator: torch.Generator | None  # of dropout masks, on the stack's device

    def forward(self, x: Tensor, *, training: bool) -> Tape:
        """Run the networks and keep what a backward pass needs.

        A tape holds until the next forward pass in the same mode.
        """

    def predict(self, x: Tensor) -> Tensor:
        """Run the networks in evaluation mode and keep nothing: (K, n, n_outputs)."""

    def thinned(self, generator: torch.Generator) -> Stack:
        """Return networks to predict with, some units of which dropout has silenced.

        The draw is one for all rows: each call gives K networks of their own.
        """

    def gradient_norms(self, tape: Any, gradient: Tensor) -> Tensor:
        """Norm of each row's gradient over all parameters of a network, (K, n)."""

    def backward(self, tape: Any, gradient: Tensor, weights: Tensor) -> None:
        """Write the gradient of ``sum(weights * loss)`` to ``grad``.

        ``gradient`` (K, n, n_outputs) is the derivative of each row's loss by the
        output, ``weights`` (K, n).
        """

    def networks(self) -> list[Stack]:
        """Return the K networks as stacks of one, in the same memory."""

    def network_grads(self) -> list[list[Tensor]]:
        """Return views of ``grad``, a list of them for every network."""

    def mode(self) -> AbstractContextManager[Any]:
        """Return a context to train in: inference mode where no graph is needed."""

    def memory(self) -> list[Tensor]:
        """Return all tensors that training changes."""

    def clone(self) -> Stack:
        """Return a copy that further training does not touch."""

    def compact(self) -> Stack:
        """Return the networks without the memory that batches took."""

    def state(self) -> dict[str, Any]:
        """Return parameters and buffers as NumPy arrays."""

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""

    def modules(self) -> list[torch.nn.Module]:
        """Return the K networks as plain torch modules, in evaluation mode."""


class _MLPTape:
    __slots__ = ("deltas", "inputs", "kind", "masks", "output", "pulled")

    def __init__(self) -> None:
        self.output: Tensor
        self.kind = "eval"  # or "train": whose memory it lives in
        self.inputs: list[Tensor] = []  # what each layer saw
        # dropout, by hidden layer: (mask over keep rate, activation before it)
        self.masks: list[tuple[Tensor, Tensor]] = []
        self.pulled: Tensor | None = None  # the output gradient that gave `deltas`
        self.deltas: list[Tensor] = []

    def narrowed(self, take: Callable[[Tensor, int], Tensor]) -> _MLPTape:
        tape = _MLPTape()
        tape.kind = self.kind
        tape.inputs = [take(a, 1) for a in self.inputs]
        tape.masks = [(take(m, 1), take(a, 1)) for m, a in self.masks]
        tape.output = take(self.output, 1)
        return tape


class MLPStack:
    """K multilayer perceptrons of one shape, one batched matrix product a layer.

    The backward pass is written by hand: per-row output gradients flow back as
    ``deltas``, whose products with the kept inputs are the parameter gradients and
    whose norms times the inputs' norms are the per-row gradient norms. Row weights
    scale deltas, so ranking by gradient norm and the weighted gradient share a pass.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        n_networks: int = 1,
        *,
        activation: str = "relu",
        dropout: float | tuple[float, ...] = 0.0,  # of all, or one a network
        dropout_layers: int | None = None,  # the first hidden ones; None: all
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ):
        self.sizes, self.n_networks, self.n_outputs = sizes, n_networks, sizes[-1]
        # calls cost, and so do layers that do not fit the cache
        self.block = min(max(_CACHED // max(sizes), BLOCK), _MOST)
        self.activation = activation
        rates = dropout if isinstance(dropout, tuple) else (dropout,) * n_networks
        runs = groupby(range(n_networks), key=lambda k: rates[k])
        ks = [(rate, list(members)) for rate, members in runs if rate > 0]
        # runs of networks that drop alike: (which, rate)
        self._drops = [(slice(k[0], k[-1] + 1), rate) for rate, k in ks]
        self._dropped_sizes = sizes[1:-1][:dropout_layers]
        self.has_modes = self.droppable = bool(self._drops and self._dropped_sizes)
        self.generator = None
        self._act = ACTIVATIONS[activation]
        flat = first_weights(sizes, n_networks, generator)
        self._bind(flat.to(device=device, dtype=dtype))

    def _bind(self, theta: Tensor, grad: Tensor | None = None) -> None:
        self.theta = theta
        self.grad = torch.zeros_like(theta) if grad is None else grad
        self._rooms: dict[tuple[str, int], list[Tensor]] = {}
        self._alone: list[MLPStack] = []
        self._ones: dict[int, Tensor] = {}
        self._masks: dict[int, tuple[Tensor, list[Tensor]]] = {}
        weights, biases = layer_shapes(self.sizes, self.n_networks)
        lengths = [int(np.prod(s[1:])) for s in weights + biases]
        n_layers = len(weights)
        n_weights = sum(lengths[:n_layers])

        def views(flat: Tensor) -> tuple[Tensor, list[Tensor]]:
            table = flat.view(self.n_networks, -1)
            parts = zip(table.split(lengths, 1), weights + biases, strict=True)
            return table[:, :n_weights], [p.view(s) for p, s in parts]

        (decaying, params), (grads, self._grads) = views(self.theta), views(self.grad)
        self.decaying = decaying, grads
        self._W, self._b = params[:n_layers], params[n_layers:]
        self._Wt = [w.mT for w in self._W]
        self._products = Products(self._W)
        self._gW, self._gb = self._grads[:n_layers], self._grads[n_layers:]

    def _room(self, kind: str, n: int) -> list[Tensor]:
        """Return memory for n rows of every hidden layer, the same in every step.

        Fresh memory for each large tensor costs page faults in each step.
        """
        room = self._rooms.get((kind, n))
        if room is None:
            if len(self._rooms) >= _ROOMS:
                self._rooms.clear()
            new, k = self.theta.new_empty, self.n_networks
            room = self._rooms[kind, n] = [new(k, n, u) for u in self.sizes[1:-1]]
        return room

    def forward(self, x: Tensor, *, training: bool) -> _MLPTape:
        a, tape, n = x.expand(self.n_networks, *x.shape), _MLPTape(), len(x)
        products = self._products.of(n)
        drops = training and self.droppable
        kind = tape.kind = "train" if drops else "eval"
        masks = self._draw_masks(n) if drops else []
        dropped = self._room("dropped", n) if drops else []
        for layer, room in enumerate(self._room(kind, n)):
            tape.inputs.append(a)
            z = products.baddbmm(self._b[layer], a, self._Wt[layer], out=room)
            a = self._act.apply_(z)
            if layer < len(masks):
                # the slope needs the activation before the mask: keep both
                tape.masks.append((masks[layer], a))
                a = torch.mul(a, masks[layer], out=dropped[layer])
        tape.inputs.append(a)
        tape.output = products.baddbmm(self._b[-1], a, self._Wt[-1])
        return tape

    def _draw_masks(self, n: int) -> list[Tensor]:
        """Draw the masks of all layers that drop at once; each is (K, n, units)."""
        known = self._masks.get(n)
        if known is None:
            if len(self._masks) >= _ROOMS:
                self._masks.clear()
            lengths = [n * units for units in self._dropped_sizes]
            flat = self.theta.new_empty(self.n_networks, sum(lengths))
            parts = [p.unflatten(1, (n, -1)) for p in flat.split(lengths, 1)]
            known = self._masks[n] = flat, parts
        self._draw_(known[0], self.generator)
        return known[1]

    def _draw_(self, mask: Tensor, generator: torch.Generator | None) -> Tensor:
        if self._drops[0][0] != slice(0, self.n_networks):
            mask.fill_(1)
        for networks, rate in self._drops:
            fill_mask_(mask[networks], rate, generator)
        return mask

    def thinned(self, generator: torch.Generator) -> MLPStack:
        twin = copy.copy(self)
        twin._Wt = self._Wt.copy()
        for layer in range(1, len(self._dropped_sizes) + 1):
            # what a silenced unit feeds counts for nothing
            w = self._Wt[layer]
            mask = self._draw_(torch.empty_like(w[:, :, :1]), generator)
            twin._Wt[layer] = w * mask
        return twin

    def predict(self, x: Tensor) -> Tensor:
        a = x.expand(self.n_networks, *x.shape)
        # a number of rows that may not come again is not worth preparing for
        products = self._products.of(len(x)) if len(x) >= self.block else torch
        for w, b in zip(self._Wt[:-1], self._b[:-1], strict=True):
            a = self._act.apply_(products.baddbmm(b, a, w))
        return products.baddbmm(self._b[-1], a, self._Wt[-1])

    def _pull(self, tape: _MLPTape, gradient: Tensor) -> list[Tensor]:
        """Return the loss's derivative by every layer's pre-activation."""
        if tape.pulled is not gradient:
            deltas, delta = [gradient], gradient
            n = gradient.shape[1]
            room, products = self._room(tape.kind + " back", n), self._products.of(n)
            for layer in range(len(self._W) - 1, 0, -1):
                upstream = products.bmm(delta, self._W[layer], out=room[layer - 1])
                result = tape.inputs[layer]
                if layer <= len(tape.masks):
                    mask, result = tape.masks[layer - 1]
                    upstream.mul_(mask)
                delta = self._act.pull_(upstream, result)
                deltas.append(delta)
            tape.deltas, tape.pulled = deltas[::-1], gradient
        return tape.deltas

    def gradient_norms(self, tape: _MLPTape, gradient: Tensor) -> Tensor:
        total = None
        for a, delta in zip(tape.inputs, self._pull(tape, gradient), strict=True):
            # |delta a^T|^2 + |delta|^2: the weights' share and the biases'
            size = torch.linalg.vecdot(delta, delta)
            size.addcmul_(torch.linalg.vecdot(a, a), size)
            total = size if total is None else total.add_(size)
        return total.sqrt_()

    def backward(self, tape: _MLPTape, gradient: Tensor, weights: Tensor) -> None:
        scale = weights.unsqueeze(-1)
        if tape.pulled is gradient:
            tape.pulled = None  # used up: the deltas are scaled in place
            deltas = [delta.mul_(scale) for delta in tape.deltas[:-1]]
            deltas.append(gradient * scale)
        else:
            deltas = self._pull(tape, gradient * scale)
        grads = zip(tape.inputs, deltas, self._gW, self._gb, strict=True)
        n = weights.shape[-1]
        if n not in self._ones:
            if len(self._ones) >= _ROOMS:
                self._ones.clear()
            self._ones[n] = self.theta.new_ones(self.n_networks, 1, n)
        ones, products = self._ones[n], self._products.of(n)
        for a, delta, gw, gb in grads:
            products.bmm(delta.mT, a, out=gw)
            torch.bmm(ones, delta, out=gb)  # a sum over rows, in half the time

    def networks(self) -> list[MLPStack]:
        if not self._alone:
            parts = (t.chunk(self.n_networks) for t in (self.theta, self.grad))
            for theta, grad in zip(*parts, strict=True):
                single = copy.copy(self)
                single.n_networks = 1
                single._bind(theta, grad)
                self._alone.append(single)
        return self._alone

    def network_grads(self) -> list[list[Tensor]]:
        return [[g[k] for g in self._grads] for k in range(self.n_networks)]

    def mode(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def memory(self) -> list[Tensor]:
        return [self.theta]

    def clone(self, dtype: torch.dtype | None = None) -> MLPStack:
        twin = copy.copy(self)
        twin._bind(self.theta.to(dtype or self.theta.dtype, copy=True))
        return twin

    def compact(self) -> MLPStack:
        return self.clone()

    def double(self) -> MLPStack:
        """Return a copy in double precision."""
        return self.clone(torch.float64)

    def state(self) -> dict[str, Any]:
        return {"theta": self.theta.cpu().numpy().copy()}

    def load(self, state: dict[str, Any]) -> None:
        self.theta.copy_(torch.tensor(state["theta"]))

    def modules(self) -> list[torch.nn.Module]:
        out = []
        for k in range(self.n_networks):
            layers: list[torch.nn.Module] = []
            for w, b in zip(self._W, self._b, strict=True):
                linear = torch.nn.utils.skip_init(
                    torch.nn.Linear, w.shape[2], w.shape[1], dtype=w.dtype
                )
                linear.weight.data.copy_(w[k])
                linear.bias.data.copy_(b[k, 0])
                layers += [linear, self._act.module()]
            out.append(torch.nn.Sequential(*layers[:-1]).eval())
        return out
