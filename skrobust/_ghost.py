"""Per-row gradient norms of a module without per-row gradients.

For a linear map the gradient of row i is an outer product of what the layer saw and
the gradient of its output, so its norm is a product of two norms (Goodfellow 2015).
A convolution is a linear map of patches. Other layers fall back to vmap, which does
hold one gradient a row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge


def row_gradient_norms(module: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    """Norm of d(loss_i)/d(parameters), shape (n,), given d(loss_i)/d(output).

    ``gradient`` has the output's shape (n, n_outputs). The module must treat rows
    independently, as it does in evaluation mode.
    """
    seen: list[tuple[nn.Module, Tensor, Any]] = []
    owners = [m for m in module.modules() if _trainable(m)]
    if not all(_has_ghost(m) for m in owners):
        return _vmap_norms(module, x, gradient)

    def keep(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        # the edge, not the tensor: an operation in place may overwrite the tensor
        seen.append((layer, args[0].detach(), get_gradient_edge(out)))

    hooks = [m.register_forward_hook(keep) for m in owners]
    try:
        with torch.enable_grad():
            output = module(x)
    finally:
        for hook in hooks:
            hook.remove()
    if _reused(output) or any(len(a) != len(x) for _, a, _ in seen):
        return _vmap_norms(module, x, gradient)
    deltas = torch.autograd.grad(
        output, [out for _, _, out in seen], gradient.view_as(output), allow_unused=True
    )
    total = torch.zeros(len(x), dtype=output.dtype, device=output.device)
    for (layer, a, _), delta in zip(seen, deltas, strict=True):
        if delta is not None:
            total += _squared_norms(layer, a, delta)
    return total.sqrt()


def _reused(output: Tensor) -> bool:
    """Whether a parameter enters the graph twice: its gradients add first."""
    todo, nodes, leaves = [output.grad_fn], set(), set()
    while todo:
        node = todo.pop()
        for nearer, _ in node.next_functions:
            if nearer is None:
                continue
            if hasattr(nearer, "variable"):
                if nearer in leaves:
                    return True
                leaves.add(nearer)
            elif nearer not in nodes:
                nodes.add(nearer)
                todo.append(nearer)
    return False


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
