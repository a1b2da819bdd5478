"""Dropout masks from random bytes, several times faster than from random numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def fill_mask_(mask: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Fill a contiguous tensor with 0, at the given rate, and otherwise 1 / kept rate.

    The rate is rounded to a 256th, but never to 0 or 1; the mean is one exactly.
    """
    keep = min(max(round(256 * (1 - rate)), 1), 255)
    size = mask.numel()
    words = torch.empty(-(-size // 8), dtype=torch.int64, device=mask.device)
    # the full range: by default the top bit stays 0, and every eighth byte is small
    words.random_(-(2**63), None, generator=generator)
    draws = words.view(torch.uint8)[:size].view(mask.shape)
    return mask.copy_(draws).lt_(keep).mul_(256 / keep)
