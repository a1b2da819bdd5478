"""Batched matrix products, large ones by oneDNN where torch has it.

In single precision its kernels take half the time of those behind `torch.bmm` on many
CPUs, to the same accuracy. Only an operation of torch's compiler reaches them. A call
costs ten microseconds, and each new shape some milliseconds once in a process, so
small products stay with torch.
"""

from __future__ import annotations

from functools import cache
from math import inf

import torch
from torch import Tensor

LARGE = 1_500_000  # multiplications of numbers
NARROW = 8  # products with a single column take several times as long


def large_from(weights: list[Tensor]) -> float:
    """Return the number of rows from which on some products are large.

    Parameters
    ----------
    weights : list of Tensor of shape (K, n_out, n_in)
        What the rows are multiplied with.

    Returns
    -------
    float
        Infinity where `bmm` and `baddbmm` of torch are best.
    """
    w = weights[0]
    able = w.dtype == torch.float32 and w.device.type == "cpu" and _has_onednn()
    most = max(w[0].numel() for w in weights)
    return LARGE / most if able and most else inf


def bmm(x: Tensor, y: Tensor, *, out: Tensor) -> Tensor:
    """Do as `torch.bmm` does, but keep nothing for differentiation."""
    if not _is_large(x, y):
        return torch.bmm(x, y, out=out)
    for k, result in enumerate(out):
        result.copy_(_linear(x[k], y[k].mT, None))
    return out


def baddbmm(bias: Tensor, x: Tensor, y: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Do as `torch.baddbmm` does, but keep nothing for differentiation."""
    if not _is_large(x, y):
        return torch.baddbmm(bias, x, y, out=out)
    parts = [_linear(x[k], y[k].mT, bias[k, 0]) for k in range(len(bias))]
    return torch.stack(parts, out=out)


def _is_large(x: Tensor, y: Tensor) -> bool:
    n, i, o = x.shape[1], x.shape[2], y.shape[2]
    return n * i * o >= LARGE and min(n, i, o) >= NARROW


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # without the activation: fused, it would turn NaN into zero
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(
        x, weight, bias, "none", [], ""
    )
    return result


@cache
def _has_onednn() -> bool:
    """Whether the operation, which is private, is there and does what it should."""
    x, w = torch.eye(3), torch.arange(9.0).view(3, 3)
    try:
        with torch.inference_mode():
            found = _linear(x, w.mT, torch.ones(3))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return bool(torch.equal(found, w + 1))
