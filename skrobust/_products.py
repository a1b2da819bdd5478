"""Batched matrix products, large ones by oneDNN where torch has it.

In single precision its kernels take half the time of those behind `torch.bmm` on many
CPUs, to the same accuracy. Only an operation of torch's compiler reaches them. A call
costs ten microseconds, and each new shape some milliseconds once in a process, so
small products stay with torch.
"""

from __future__ import annotations

from functools import cache
from math import inf
from typing import Any

import torch
from torch import Tensor

LARGE = 1_500_000  # multiplications of numbers
NARROW = 8  # products with a single column take several times as long


class Products:
    """What is best at multiplying weights by so many rows.

    Parameters
    ----------
    weights : list of Tensor of shape (K, n_out, n_in)
    """

    def __init__(self, weights: list[Tensor]):
        w = weights[0]
        able = w.dtype == torch.float32 and w.device.type == "cpu" and _has_onednn()
        most = max(w[0].numel() for w in weights)
        # rows from which on some products are large
        self._many = LARGE / most if able and most else inf

    def of(self, n: int) -> Any:
        """Return what has the ``bmm`` and ``baddbmm`` for n rows."""
        return torch if n < self._many else Mixed


class Mixed:
    """Products of torch or of oneDNN, by size; none can be differentiated."""

    @staticmethod
    def bmm(x: Tensor, y: Tensor, *, out: Tensor) -> Tensor:
        """Do as `torch.bmm` does."""
        if not _is_large(x, y):
            return torch.bmm(x, y, out=out)
        for k, result in enumerate(out):
            result.copy_(_linear(x[k], y[k].mT, None))
        return out

    @staticmethod
    def baddbmm(
        bias: Tensor, x: Tensor, y: Tensor, *, out: Tensor | None = None
    ) -> Tensor:
        """Do as `torch.baddbmm` does with a bias for each column, or for each row.

        Only what several networks give is sure to be put into ``out``: one network's
        is elsewhere already, and a copy would take time.
        """
        if not _is_large(x, y):
            return torch.baddbmm(bias, x, y, out=out)
        by_column = bias.shape[1] == 1
        biases = bias[:, 0] if by_column else [None] * len(x)
        parts = [_linear(a, b.mT, c) for a, b, c in zip(x, y, biases, strict=True)]
        result = parts[0][None] if len(parts) == 1 else torch.stack(parts, out=out)
        return result if by_column else result.add_(bias)


def _is_large(x: Tensor, y: Tensor) -> bool:
    n, i, o = x.shape[1], x.shape[2], y.shape[2]
    return n * i * o >= LARGE and min(n, i, o) >= NARROW


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # without the activation: fused, it would turn NaN into zero
    linear = torch.ops.mkldnn._linear_pointwise.default
    result: Tensor = linear(x, weight, bias, "none", [], "")
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
