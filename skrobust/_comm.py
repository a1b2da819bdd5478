"""The one place that talks to other processes.

For a process by itself every function is the identity. In a group, scores are gathered
before a rule sees them and gradients are summed after it, so that N processes with
a part of the rows each compute what one process with all rows would.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class Alone:
    """A process by itself: nothing to gather, nothing to add."""

    def add_up(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """Join tensors (..., n) of all processes along their last axis."""
        return tensor

    def mine(self, tensor: Tensor, n: int) -> Tensor:
        """Return this process' n entries of a gathered tensor."""
        return tensor


class Group(Alone):
    """The processes of an initialized process group; they may differ in rows."""

    def add_up(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        dist.all_reduce(tensor)
        return tensor

    def _lengths(self, n: int, device: torch.device) -> list[int]:
        own = torch.tensor([n], device=device)
        everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, own)
        return [int(length) for length in everyone]

    def gather(self, tensor: Tensor) -> Tensor:
        """Join tensors (..., n) of all processes along their last axis."""
        n = tensor.shape[-1]
        lengths = self._lengths(n, tensor.device)
        padded = torch.nn.functional.pad(tensor, (0, max(lengths) - n)).contiguous()
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return torch.cat([p[..., :k] for p, k in zip(parts, lengths, strict=True)], -1)

    def mine(self, tensor: Tensor, n: int) -> Tensor:
        """Return this process' n entries of a gathered tensor."""
        start = sum(self._lengths(n, tensor.device)[: dist.get_rank()])
        return tensor[..., start : start + n]
