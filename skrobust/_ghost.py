"""Per-row gradient norms of a module without per-row gradients.

For a linear map the gradient of row i is an outer product of what the layer saw and
the gradient of its output, so its norm is a product of two norms (Goodfellow 2015).
A convolution is a linear map of patches. Other layers fall back to vmap, which does
hold one gradient a row, and where vmap cannot follow to one backward pass a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge


def row_gradient_norms(module: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    """Norm of d(loss_i)/d(parameters), shape (n,), given d(loss_i)/d(output).

    ``gradient`` has the output's shape (n, n_outputs). The module must treat rows
    independently, as it does in evaluation mode.
    """
    owners = [m for m in module.modules() if _trainable(m)]
    if not all(_has_ghost(m) for m in owners):
        return _general_norms(module, x, gradient)
    output, seen = _watched(module, owners, x)
    nodes, uses = _graph(output)
    seen = [call for call in seen if call[2].node in nodes]
    if not _explained(module, seen, uses) or not _row_by_row(seen, len(x)):
        return _general_norms(module, x, gradient)
    deltas = torch.autograd.grad(
        output, [out for _, _, out in seen], gradient.view_as(output)
    )
    total = torch.zeros(len(x), dtype=output.dtype, device=output.device)
    for (layer, a, _), delta in zip(seen, deltas, strict=True):
        total += _squared_norms(layer, a, delta)
    return total.sqrt()


def _watched(
    module: nn.Module, layers: list[nn.Module], x: Tensor
) -> tuple[Tensor, list[tuple[Any, Tensor, Any]]]:
    """Output of the module, and the calls of layers: what went in, and came out."""
    seen: list[tuple[Any, Tensor, Any]] = []

    def keep(layer: nn.Module, args: Any, kwargs: Any, out: Tensor) -> None:
        if out.requires_grad:
            a = args[0] if args else kwargs["input"]
            # the edge, not the tensor: an operation in place may overwrite the tensor
            seen.append((layer, a.detach(), get_gradient_edge(out)))

    # before hooks of the user's, which may put something else in the output's place
    hooks = [
        m.register_forward_hook(keep, prepend=True, with_kwargs=True) for m in layers
    ]
    try:
        with torch.enable_grad():
            output = module(x)
    finally:
        for hook in hooks:
            hook.remove()
    return output, seen


def _graph(output: Tensor) -> tuple[set[Any], Counter[Tensor]]:
    """Nodes that the output came from, and how often each leaf went in."""
    nodes: set[Any] = {output.grad_fn}
    uses: Counter[Tensor] = Counter()
    todo = [node for node in nodes if node is not None]
    while todo:
        for nearer, _ in todo.pop().next_functions:
            if nearer is None:
                continue
            if hasattr(nearer, "variable"):
                uses[nearer.variable] += 1
            elif nearer not in nodes:
                nodes.add(nearer)
                todo.append(nearer)
    return nodes, uses


def _explained(module: nn.Module, seen: list[Any], uses: Counter[Tensor]) -> bool:
    """Whether the calls seen are all there is to the gradient of each parameter.

    A weight may be used without a call of its layer, or may itself be computed; and
    where a parameter is used twice, its gradients add before they have a norm.
    """
    known = {id(p) for layer, _, _ in seen for p in (layer.weight, layer.bias)}
    return bool(seen) and all(
        uses[p] == 0 or (uses[p] == 1 and id(p) in known) for p in module.parameters()
    )


def _row_by_row(seen: list[Any], n: int) -> bool:
    """Whether the first axis of what each layer saw is surely that of the n rows."""

    def unsure(layer: Any, a: Tensor) -> bool:
        return isinstance(layer, nn.Linear) and n in a.shape[1:-1]

    return all(len(a) == n and not unsure(layer, a) for layer, a, _ in seen)


def _trainable(layer: nn.Module) -> bool:
    return any(p.requires_grad for p in layer.parameters(recurse=False))


def _has_ghost(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and layer.padding_mode == "zeros"
    return type(layer) is nn.Linear


def _squared_norms(layer: Any, a: Tensor, delta: Tensor) -> Tensor:
    """Squared norm a row, of the trainable parameters of one layer."""
    if isinstance(layer, nn.Conv2d):
        patches = nn.functional.unfold(
            _pad(layer, a), layer.kernel_size, layer.dilation, 0, layer.stride
        )
        a, delta = patches.transpose(1, 2), delta.flatten(2).transpose(1, 2)
    else:  # (n, places, features): a plain linear layer has one place
        a, delta = (
            a.reshape(len(a), -1, a.shape[-1]),
            delta.reshape(len(a), -1, delta.shape[-1]),
        )
    total = a.new_zeros(len(a))
    if layer.weight.requires_grad:
        total = total + _outer_norms(a, delta)
    if layer.bias is not None and layer.bias.requires_grad:
        total = total + delta.sum(1).square().sum(-1)
    return total


def _pad(layer: nn.Conv2d, a: Tensor) -> Tensor:
    if layer.padding == "same":
        sides = [
            d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)
        ]
        pads = [p for s in reversed(sides) for p in (s // 2, s - s // 2)]
        return nn.functional.pad(a, pads)
    if layer.padding == "valid":
        return a
    vertical, horizontal = layer.padding
    return nn.functional.pad(a, (horizontal, horizontal, vertical, vertical))


def _outer_norms(a: Tensor, delta: Tensor) -> Tensor:
    """Squared norm of sum over places of delta a^T, by the smaller of two ways."""
    places, width = a.shape[1], a.shape[2] * delta.shape[2]
    if 2 * places**2 <= width:
        gram = torch.bmm(a, a.transpose(1, 2)) * torch.bmm(delta, delta.transpose(1, 2))
        return gram.sum((1, 2)).clamp_(min=0)
    return torch.bmm(delta.transpose(1, 2), a).square().sum((1, 2))


def _general_norms(module: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    try:
        return _vmap_norms(module, x, gradient)
    except RuntimeError:  # recurrent layers, a branch on the data
        return _one_by_one(module, x, gradient)


def _vmap_norms(module: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    params = {k: p.detach() for k, p in module.named_parameters() if p.requires_grad}
    rest = {k: p.detach() for k, p in module.named_parameters() if k not in params}
    rest.update(module.named_buffers())

    def projected(params: dict[str, Tensor], row: Tensor, direction: Tensor) -> Tensor:
        out = torch.func.functional_call(module, (params, rest), (row[None],))
        return (out.reshape(-1) * direction.reshape(-1)).sum()

    grads = torch.func.vmap(torch.func.grad(projected), (None, 0, 0))(
        params, x, gradient
    )
    squares = [g.flatten(1).square().sum(1) for g in grads.values()]
    return torch.stack(squares).sum(0).sqrt()


def _one_by_one(module: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    params = [p for p in module.parameters() if p.requires_grad]
    squares = gradient.new_zeros(len(x))
    with torch.enable_grad(), _differentiable(module):
        for i, row in enumerate(x):
            out = module(row[None])
            if not out.requires_grad:
                continue
            grads = torch.autograd.grad(
                out, params, gradient[i].view_as(out), allow_unused=True
            )
            squares[i] = sum(g.square().sum() for g in grads if g is not None)
    return squares.sqrt()


@contextmanager
def _differentiable(module: nn.Module) -> Iterator[None]:
    """Put recurrent layers in training mode, the one in which cuDNN differentiates.

    Without dropout they compute the same in both modes.
    """
    layers = [m for m in module.modules() if isinstance(m, nn.RNNBase)]
    before = [(m.training, m.dropout) for m in layers]
    try:
        for layer in layers:
            layer.training, layer.dropout = True, 0.0
        yield
    finally:
        for layer, (training, dropout) in zip(layers, before, strict=True):
            layer.training, layer.dropout = training, dropout
