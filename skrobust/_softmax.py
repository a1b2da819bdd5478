"""Soft-max over few classes, several times faster than torch's own on a CPU.

Torch vectorises along the classes, and where these do not fill a vector register it
works number by number. Along the rows they always do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

LANES = 16  # numbers of a register, at most


def softmax(logits: Tensor) -> Tensor:
    """Soft-max over the last axis of (..., n, n_classes)."""
    return _by_columns(torch.softmax, logits)


def log_softmax(logits: Tensor) -> Tensor:
    """Logarithm of the soft-max over the last axis of (..., n, n_classes)."""
    return _by_columns(torch.log_softmax, logits)


def _by_columns(function: Callable[..., Any], logits: Tensor) -> Tensor:
    n, n_classes = logits.shape[-2:]
    if n_classes >= LANES or logits.device.type != "cpu":
        return function(logits, -1)
    columns = logits.mT
    if n % LANES:  # filled up, or the last rows would be rounded otherwise than others
        columns = pad(columns, (0, -n % LANES))
    # sums over classes, too, are rounded row by row in this order only
    return function(columns, -2).narrow(-1, 0, n).mT.contiguous()
