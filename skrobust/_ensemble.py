"""Losses of rows averaged over networks that dropout has thinned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Read = Callable[[Tensor, Tensor], Tensor]


def mean_over_passes(
    stack: Any, x: Tensor, read: Read, n_passes: int, seed: int, block: int
) -> Tensor:
    """Average what ``read(outputs, inputs)`` makes of each pass, (K, n, ...).

    A pass sends all rows through the same silenced units, so what a row gets does not
    depend on the rows beside it, and equal rows get equal numbers.

    Parameters
    ----------
    x : Tensor of shape (n, ...)
    n_passes : int
        0: one pass with no unit silenced.
    block : int
        Rows sent through at a time.
    """
    generator = torch.Generator(stack.theta.device).manual_seed(seed)
    total: Any = 0.0
    for _ in range(max(n_passes, 1)):
        thin = stack.thinned(generator) if n_passes else stack
        parts = [read(thin.predict(rows), rows) for rows in x.split(block)]
        total = total + torch.cat(parts, 1)
    return total / max(n_passes, 1)
