"""RealNVP flows: K of them as one stack whose output is log p(x).

A flow maps rows to a normal variable z, one *coupling* after the other. A coupling
leaves one half of the columns alone; a perceptron reads that half and says how to scale
and shift the other one. So the inverse is as cheap as the map, and the Jacobian is
triangular: log p(x) is the normal log density of z plus the sum of all log-scales.
"""

from __future__ import annotations

import copy
import math
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._batch import BLOCK
from ._nets import ACTIVATIONS, layer_shapes, uniform
from ._products import Products

_tanh_pull = torch.ops.aten.tanh_backward.grad_input


class _Coupling(NamedTuple):
    """Which half of the columns a coupling moves; it reads the other one."""

    side: int
    moved: int  # columns in that half
    read: int  # and in the other one
    order: Tensor | None  # columns are brought into this order before it
    back: Tensor | None  # and this undoes it


class _Seen(NamedTuple):
    """What one coupling leaves behind for the way back."""

    inputs: list[Tensor]  # of each layer
    log_scale: Tensor
    scale: Tensor
    before: Tensor  # the moved columns, before the move


class _FlowTape:
    __slots__ = ("deltas", "output", "pulled", "seen", "z")

    def __init__(self) -> None:
        self.output: Tensor
        self.z: Tensor
        self.seen: list[_Seen] = []
        self.pulled: Tensor | None = None  # the output gradient that gave `deltas`
        self.deltas: list[list[Tensor]] = []


class FlowStack:
    """K RealNVP flows of one shape, with the interface of ``Stack``.

    Couplings come in pairs: the second reads what the first moved, so a pair moves
    every column. Before each pair the columns are shuffled. One perceptron per
    coupling gives log-scales, bounded to +-1 by a hyperbolic tangent, and shifts.

    The number of columns may be odd, so halves differ by a column; weights are padded
    with zeros to the larger half, which makes each layer one tensor for all couplings.

    Attributes
    ----------
    layers : list of Tensor of shape (n_couplings, K, n_out, n_in)
        Weights of each layer of the perceptrons, views of ``theta``.
    """

    n_outputs = 1
    has_modes = False
    block = BLOCK

    def __init__(
        self,
        n_features: int,
        hidden: tuple[int, ...],
        n_networks: int = 1,
        *,
        n_couplings: int = 6,
        activation: str = "leaky_relu",
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ):
        self.n_features, self.n_networks = n_features, n_networks
        self.activation, self._act = activation, ACTIVATIONS[activation]
        self.generator = None
        self._half = -(-n_features // 2)
        self._sizes = (self._half, *hidden, 2 * self._half)
        orders = [
            torch.randperm(n_features, generator=generator, device="cpu")
            for _ in range(0, n_couplings, 2)
        ]
        self._arrange(torch.stack(orders).to(device), n_couplings)
        first = self._first_weights(generator)
        self._bind(first.to(device=device, dtype=dtype))

    def _first_weights(self, generator: torch.Generator) -> Tensor:
        """Draw theta: weights, then biases, uniform in +-fan_in^-1/2."""
        weights, biases = self._shapes()
        drawn = [
            torch.zeros(s, dtype=torch.float64, device="cpu") for s in weights + biases
        ]
        for k in range(self.n_networks):
            for i, step in enumerate(self._plan):
                for j, fan in enumerate((step.read, *self._sizes[1:-1])):
                    slots = drawn[j][i, k][:, :fan], drawn[j + len(weights)][i, k]
                    for slot in slots:
                        slot.copy_(uniform(slot.shape, max(fan, 1), generator))
                # nothing reads what is beyond the moved half: norms must not count it
                last, bias = drawn[len(weights) - 1][i, k], drawn[-1][i, k]
                last.unflatten(0, (2, self._half))[:, step.moved :] = 0
                bias.unflatten(-1, (2, self._half))[..., step.moved :] = 0
        return torch.cat([t.flatten() for t in drawn])

    def _shapes(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        weights, biases = layer_shapes(self._sizes, self.n_networks)
        n = len(self._plan)
        return [(n, *s) for s in weights], [(n, *s) for s in biases]

    def _arrange(self, orders: Tensor, n_couplings: int) -> None:
        """Say which columns each coupling reads and moves."""
        cut = self.n_features // 2
        widths = cut, self.n_features - cut
        self._orders, self._plan = orders, []
        total = torch.arange(self.n_features, device=orders.device)
        for i in range(n_couplings):
            # with one column there is no other half: each coupling moves that column
            side = 1 if self.n_features == 1 else 1 - i % 2
            order, back = None, None
            if i % 2 == 0:
                order = orders[i // 2]
                back, total = order.argsort(), total[order]
            plan = _Coupling(side, widths[side], widths[1 - side], order, back)
            self._plan.append(plan)
        self._home = total.argsort()  # brings z into the order of the columns

    def _halves(self, z: Tensor) -> list[Tensor]:
        cut = self.n_features // 2
        return [z[..., :cut], z[..., cut:]]

    def _bind(self, theta: Tensor) -> None:
        self.theta, self.grad = theta, torch.zeros_like(theta)
        self._rooms: dict[Any, Tensor] = {}
        weights, biases = self._shapes()
        shapes, n_layers = weights + biases, len(weights)
        lengths = [math.prod(s) for s in shapes]
        n_weights = sum(lengths[:n_layers])
        self.decaying = self.theta[:n_weights], self.grad[:n_weights]

        def views(flat: Tensor) -> list[Tensor]:
            parts = flat.split(lengths)
            return [p.view(s) for p, s in zip(parts, shapes, strict=True)]

        params, self._grads = views(self.theta), views(self.grad)
        self.layers = params[:n_layers]
        self._W, self._gW = self._cut(self.layers), self._cut(self._grads[:n_layers])
        self._b = list(zip(*params[n_layers:], strict=True))
        self._bt = [[b.mT for b in layers] for layers in self._b]
        flat = [g.squeeze(-2) for g in self._grads[n_layers:]]
        self._gb = list(zip(*flat, strict=True))
        self._Wt = [[w.mT for w in layers] for layers in self._W]
        self._products = Products([w for layers in self._W for w in layers])

    def _cut(self, weights: list[Tensor]) -> list[list[Tensor]]:
        """Weights by coupling, the first without the padding of what it reads."""
        found = zip(self._plan, *weights, strict=True)
        return [[first[..., : step.read], *rest] for step, first, *rest in found]

    def _room(self, key: Any, width: int, n: int) -> Tensor:
        """Return memory for n rows, the same in every step and zero at first."""
        room = self._rooms.get((key, n))
        if room is None:
            room = self.theta.new_zeros(self.n_networks, width, n)
            self._rooms[key, n] = room
        return room

    # -- there and back ----------------------------------------------------------
    def _log_scale_and_shift(self, i: int, a: Tensor) -> tuple[Tensor, Tensor]:
        """Run the perceptron of coupling i on the half that it reads."""
        last, width = len(self._sizes) - 2, self._plan[i].moved
        for j, (w, b) in enumerate(zip(self._Wt[i], self._b[i], strict=True)):
            a = torch.baddbmm(b, a, w)
            a = self._act.apply_(a) if j < last else a
        return a[..., :width].tanh(), a[..., self._half : self._half + width]

    def to_latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map rows (K, n, d) to z of the same shape and the log-determinant (K, n)."""
        halves, total = self._halves(x), x.new_zeros(x.shape[:-1])
        for i, step in enumerate(self._plan):
            if step.order is not None:
                halves = self._halves(torch.cat(halves, -1)[..., step.order])
            side = step.side
            log_scale, shift = self._log_scale_and_shift(i, halves[1 - side])
            halves[side] = torch.addcmul(shift, halves[side], log_scale.exp())
            total = total + log_scale.sum(-1)
        return torch.cat(halves, -1)[..., self._home], total

    def from_latent(self, z: Tensor) -> Tensor:
        """Inverse of ``to_latent``: rows (K, n, d) from z."""
        halves = self._halves(z[..., self._home.argsort()])
        for i, step in reversed(list(enumerate(self._plan))):
            side = step.side
            log_scale, shift = self._log_scale_and_shift(i, halves[1 - side])
            halves[side] = (halves[side] - shift) * (-log_scale).exp()
            if step.back is not None:
                halves = self._halves(torch.cat(halves, -1)[..., step.back])
        return torch.cat(halves, -1)

    def _density(self, z: Tensor, log_det: Tensor) -> Tensor:
        """Log density (K, n, 1) of rows mapped to z."""
        log_p = torch.sub(log_det, z.square().sum(-1), alpha=0.5)
        return log_p.sub_(0.5 * math.log(2 * math.pi) * self.n_features).unsqueeze(-1)

    def predict(self, x: Tensor) -> Tensor:
        return self._density(*self.to_latent(x.expand(self.n_networks, *x.shape)))

    def forward(self, x: Tensor, *, training: bool) -> _FlowTape:
        # columns come first from here on: then halves of rows are contiguous
        tape, n = _FlowTape(), len(x)
        flow, half = x.T.expand(self.n_networks, -1, -1), self._half
        log_det: Any = 0.0
        halves: list[Tensor] = []
        for i, step in enumerate(self._plan):
            if step.order is not None:
                flow = torch.cat(halves, 1) if i else flow
                halves = self._parts(flow.index_select(1, step.order))
            side, width = step.side, step.moved
            inputs, out = self._climb(i, halves[1 - side], n)
            log_scale = out[:, :width].tanh()
            before, scale = halves[side], log_scale.exp()
            shift = out[:, half : half + width]
            halves[side] = torch.addcmul(shift, before, scale)
            log_det = log_scale.sum(1).add_(log_det)
            tape.seen.append(_Seen(inputs, log_scale, scale, before))
        tape.z = torch.cat(halves, 1)
        tape.output = self._density(tape.z.mT, log_det)
        return tape

    def _parts(self, flow: Tensor) -> list[Tensor]:
        cut = self.n_features // 2
        return [flow[:, :cut], flow[:, cut:]]

    def _climb(self, i: int, a: Tensor, n: int) -> tuple[list[Tensor], Tensor]:
        """Run the perceptron of coupling i; return its layers' inputs and output."""
        inputs, last, products = [a], len(self._sizes) - 2, self._products.of(n)
        for j, (w, b) in enumerate(zip(self._W[i], self._bt[i], strict=True)):
            a = products.baddbmm(b, w, a, out=self._room((i, j), self._sizes[j + 1], n))
            if j < last:
                inputs.append(self._act.apply_(a))
        return inputs, a

    # -- gradients ---------------------------------------------------------------
    def _pull(self, tape: _FlowTape, gradient: Tensor) -> list[list[Tensor]]:
        """Return the loss's derivative by every pre-activation of every coupling."""
        if tape.pulled is gradient:
            return tape.deltas
        n, half, found = gradient.shape[1], self._half, []
        by_row = gradient.mT
        halves = self._parts(tape.z * -by_row)
        for i, step in reversed(list(enumerate(self._plan))):
            side, width, seen = step.side, step.moved, tape.seen[i]
            delta, upstream = self._room((i, "out"), 2 * half, n), halves[side]
            halves[side] = upstream * seen.scale
            by_scale = torch.addcmul(by_row, halves[side], seen.before)
            _tanh_pull(by_scale, seen.log_scale, grad_input=delta[:, :width])
            delta[:, half : half + width] = upstream
            deltas = self._descend(i, delta, seen.inputs)
            first = self._Wt[i][0]
            halves[1 - side] = torch.baddbmm(halves[1 - side], first, deltas[0])
            found.append(deltas)
            if step.back is not None and i > 0:
                flow = torch.cat(halves, 1).index_select(1, step.back)
                halves = self._parts(flow)
        tape.deltas, tape.pulled = found[::-1], gradient
        return tape.deltas

    def _descend(self, i: int, delta: Tensor, inputs: list[Tensor]) -> list[Tensor]:
        """Return the derivatives by each pre-activation of one perceptron."""
        deltas, n = [delta], delta.shape[-1]
        products = self._products.of(n)
        for j in range(len(inputs) - 1, 0, -1):
            room = self._room((i, -j), self._sizes[j], n)
            upstream = products.bmm(self._Wt[i][j], delta, out=room)
            delta = self._act.pull_(upstream, inputs[j])
            deltas.append(delta)
        return deltas[::-1]

    def gradient_norms(self, tape: _FlowTape, gradient: Tensor) -> Tensor:
        total = gradient.new_zeros(gradient.shape[:-1])
        for seen, deltas in zip(tape.seen, self._pull(tape, gradient), strict=True):
            for a, delta in zip(seen.inputs, deltas, strict=True):
                size = delta.square().sum(1)
                total.add_(size.addcmul_((a * a).sum(1), size))
        return total.sqrt_()

    def backward(self, tape: _FlowTape, gradient: Tensor, weights: Tensor) -> None:
        pulled = self._pull(tape, gradient * weights.unsqueeze(-1))
        tape.pulled = None
        products = self._products.of(gradient.shape[1])
        for i, (seen, deltas) in enumerate(zip(tape.seen, pulled, strict=True)):
            grads = zip(seen.inputs, deltas, self._gW[i], self._gb[i], strict=True)
            for a, delta, gw, gb in grads:
                products.bmm(delta, a.mT, out=gw)
                torch.sum(delta, 2, out=gb)

    # -- the rest of the protocol ------------------------------------------------
    def network_grads(self) -> list[list[Tensor]]:
        return [[g[:, k] for g in self._grads] for k in range(self.n_networks)]

    def mode(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def memory(self) -> list[Tensor]:
        return [self.theta]

    def clone(self, dtype: torch.dtype | None = None) -> FlowStack:
        twin = copy.copy(self)
        twin._bind(self.theta.to(dtype or self.theta.dtype, copy=True))
        return twin

    def bound_norms(self, norm: float, *, exact: bool) -> None:
        """Bring spectral norms down to ``norm``, or if ``exact`` all to it."""
        for w in self.layers:
            # on the CPU: not every device has singular values, or double precision
            sizes = torch.linalg.matrix_norm(w.cpu().double(), 2, keepdim=True)
            scale = torch.where(sizes > 0, norm / sizes, 1.0)
            w.mul_((scale if exact else scale.clamp(max=1)).to(w))

    def compact(self) -> FlowStack:
        return self.clone()

    def double(self) -> FlowStack:
        """Return a copy in double precision."""
        return self.clone(torch.float64)

    def state(self) -> dict[str, Any]:
        arrays = {"theta": self.theta, "orders": self._orders}
        return {name: t.cpu().numpy().copy() for name, t in arrays.items()}

    def load(self, state: dict[str, Any]) -> None:
        orders = torch.tensor(state["orders"], device=self.theta.device)
        self._arrange(orders, len(self._plan))
        self.theta.copy_(torch.tensor(state["theta"]))

    def modules(self) -> list[torch.nn.Module]:
        return [_FlowModule(self, k).eval() for k in range(self.n_networks)]


class _FlowModule(torch.nn.Module):
    """One flow of a stack as a module: rows (n, d) to log densities (n, 1)."""

    def __init__(self, stack: FlowStack, k: int):
        super().__init__()
        self._flow = stack.clone()
        self.theta = torch.nn.Parameter(self._flow.theta)
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """Log density of each row."""
        self._flow._bind(self.theta)
        return self._flow.predict(x)[self.k]
