"""Rows cut into blocks of equal mass: the part of median-of-means that counts."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_LATTICE = 2.0**20  # positions are rounded to this part of a row: no slivers

_MANY = 16  # repetitions of each row, on average, beyond which blocks only grow


def n_blocks_of(n_blocks: int | float, n_rows: float) -> int:
    """Return how many blocks ``n_rows`` rows are cut into, at least 1.

    A float is a share of the rows. There are never more blocks than rows.
    """
    wanted = round(n_blocks * n_rows) if isinstance(n_blocks, float) else n_blocks
    return max(1, min(int(wanted), int(n_rows)))


def central(n_central: int | float, n_blocks: int) -> tuple[int, int]:
    """Return the first and last rank of the central blocks, an odd number of them.

    A float is a share of the blocks. The middle is the lower median.
    """
    middle = (n_blocks - 1) // 2
    count = n_central * n_blocks if isinstance(n_central, float) else n_central
    each_side = int((count - 1) // 2) if count > 1 else 0
    return max(middle - each_side, 0), min(middle + each_side, n_blocks - 1)


@lru_cache(maxsize=256)
def _even(n: int, n_blocks: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Block of each of n rows, and rows of each block: equal to one row."""
    cuts = torch.arange(n_blocks + 1, dtype=torch.float64)
    cuts = (cuts * (n / n_blocks)).round().long()
    sizes = cuts.diff()
    return torch.repeat_interleave(sizes), sizes.to(dtype)


def choose_even(
    scores: Tensor, n_blocks: int | float, n_central: int | float
) -> Tensor:
    """Say which of n equal rows lie in the central blocks, a bool tensor (K, n)."""
    n = scores.shape[-1]
    b = n_blocks_of(n_blocks, n)
    block, sizes = _even(n, b, scores.dtype)
    if n % b == 0:
        means = scores.unflatten(-1, (b, n // b)).mean(-1)
    else:
        means = scores.new_zeros(*scores.shape[:-1], b).index_add_(-1, block, scores)
        means.div_(sizes)
    low, high = central(n_central, b)
    if low == high:
        return block == means.kthvalue(low + 1, -1, keepdim=True).indices
    order = means.argsort(dim=-1, stable=True)[..., low : high + 1]
    chosen = torch.zeros_like(means, dtype=torch.bool).scatter_(-1, order, True)
    return chosen.index_select(-1, block)


def choose_weighted(
    scores: Tensor, weights: Tensor, n_blocks: int | float, n_central: int | float
) -> Tensor:
    """Return what of each row's weight lies in the central blocks, (K, n).

    Blocks are cut at multiples of a row: weights that are whole numbers count rows,
    otherwise the mean weight is a row. So a heavy row may belong to several blocks,
    as repeated rows would.
    """
    w = weights.double()
    n = (w > 0).sum(-1, keepdim=True)
    whole = (w == w.round()).all(-1, keepdim=True)
    unit = torch.where(whole, 1.0, w.sum(-1, keepdim=True) / n)
    position = ((w / unit).cumsum(-1) * _LATTICE).round() / _LATTICE
    total = position[..., -1:]
    rows = torch.minimum(total, _MANY * n).flatten().tolist()
    counts = [n_blocks_of(n_blocks, t) for t in rows]
    ends = [central(n_central, b) for b in counts]
    b, low, high = (
        total.new_tensor(v).view_as(total)
        for v in (counts, [e[0] for e in ends], [e[1] for e in ends])
    )
    k = torch.arange(1, max(counts) + 1, device=w.device, dtype=w.dtype)
    cuts = torch.where(k < b, (k * (total / b)).round(), total)
    # pieces that lie in one row and in one block
    stop = torch.cat([position, cuts], -1).sort(-1).values
    start = torch.nn.functional.pad(stop[..., :-1], (1, 0))
    mass = stop - start
    row = torch.searchsorted(position, start, right=True).clamp_(max=w.shape[-1] - 1)
    block = torch.searchsorted(cuts, start, right=True).clamp_(max=len(k) - 1)
    shape = scores.shape[:-1]
    mass, row, block = (t.expand(*shape, -1) for t in (mass, row, block))
    scored = mass * scores.double().gather(-1, row)
    scored = scored.masked_fill(mass == 0, 0.0)  # zero times infinity
    empty = mass.new_zeros(*shape, len(k))
    size = empty.scatter_add(-1, block, mass)
    means = empty.scatter_add(-1, block, scored) / size
    means = means.masked_fill(size == 0, torch.inf)
    rank = means.argsort(dim=-1, stable=True).argsort(-1)
    chosen = (rank >= low) & (rank <= high)
    kept = mass * chosen.gather(-1, block)
    kept = torch.zeros_like(scores, dtype=w.dtype).scatter_add(-1, row, kept)
    return torch.minimum(kept * unit, w).to(weights.dtype)
