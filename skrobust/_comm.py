"""The one place that talks to other processes.

Without a process group every function is the identity. With one, scores are gathered
before a rule sees them and gradients are summed after it, so that N processes with
a part of the rows each compute what one process with all rows would.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def alone() -> bool:
    """Whether this process works by itself."""
    return not (dist.is_available() and dist.is_initialized())


def add_up(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    if not alone():
        dist.all_reduce(tensor)
    return tensor


def gather(tensor: Tensor) -> tuple[Tensor, slice]:
    """Join tensors (..., n) along their last axis; also where this process' part is.

    The processes may hold different numbers of rows.
    """
    if alone():
        return tensor, slice(None)
    sizes = [torch.zeros(1, dtype=torch.long, device=tensor.device) for _ in _ranks()]
    dist.all_gather(sizes, torch.tensor([tensor.shape[-1]], device=tensor.device))
    lengths = [int(s) for s in sizes]
    padded = torch.nn.functional.pad(tensor, (0, max(lengths) - tensor.shape[-1]))
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded.contiguous())
    start = sum(lengths[: dist.get_rank()])
    whole = torch.cat([p[..., :n] for p, n in zip(parts, lengths, strict=True)], -1)
    return whole, slice(start, start + lengths[dist.get_rank()])


def _ranks() -> range:
    return range(dist.get_world_size())
