"""Rows cut into blocks of equal mass: the part of median-of-means that counts."""

from __future__ import annotations

from functools import lru_cache
from numbers import Integral

import torch
from torch import Tensor

_LATTICE = 2.0**20  # positions are rounded to this part of a row: no slivers

_MOST = 2.0**32  # rows that can be counted in parts of the lattice

REPEATS = 16  # repetitions of each row, on average, beyond which blocks only grow


def n_blocks_of(n_blocks: int | float, n_rows: float) -> int:
    """Return how many blocks ``n_rows`` rows are cut into, at least 1.

    A float is a share of the rows. There are never more blocks than rows.
    """
    share = not isinstance(n_blocks, Integral)
    wanted = round(n_blocks * n_rows) if share else n_blocks
    return max(1, min(int(wanted), int(n_rows)))


def central(n_central: int | float, n_blocks: int) -> tuple[int, int]:
    """Return the first and last rank of the central blocks, an odd number of them.

    A float is a share of the blocks. The middle is the lower median.
    """
    middle = (n_blocks - 1) // 2
    share = not isinstance(n_central, Integral)
    count = n_central * n_blocks if share else n_central
    each_side = int((count - 1) // 2) if count > 1 else 0
    return max(middle - each_side, 0), min(middle + each_side, n_blocks - 1)


@lru_cache(maxsize=256)
def _even(n: int, n_blocks: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Block of each of n rows, and rows of each block: equal to one row."""
    cuts = torch.arange(n_blocks + 1, dtype=torch.float64, device="cpu")
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
        # sums rank equal blocks alike, in half the time
        means = scores.reshape(*scores.shape[:-1], b, n // b).sum(-1)
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
    position, unit = _in_rows(w)
    total = position[..., -1:]
    rows = torch.minimum(total, REPEATS * n).flatten().tolist()
    counts = [n_blocks_of(n_blocks, t) for t in rows]
    ends = [central(n_central, b) for b in counts]
    b, low, high = (
        total.new_tensor(v).view_as(total)
        for v in (counts, [e[0] for e in ends], [e[1] for e in ends])
    )
    k = torch.arange(1, max(counts) + 1, device=w.device, dtype=w.dtype)
    cuts = torch.where(k < b, (k * (total / b)).round(), total)
    mass, row, block = _pieces(position, cuts)
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


def cut_evenly(weights: Tensor, n_parts: int) -> list[tuple[Tensor, Tensor]]:
    """Cut n rows, in their order, into parts of equal weight, to one row.

    Cuts are at multiples of a row, as `choose_weighted` counts rows. A heavy row may
    belong to several parts.

    Parameters
    ----------
    weights : Tensor of shape (n,)
        Positive.
    n_parts : int
        At most `count_rows`.

    Returns
    -------
    list of (rows, weights)
        What lies in each part.
    """
    position, unit = _in_rows(weights.double())
    small, larger = divmod(count_rows(weights), n_parts)
    k = torch.arange(1, n_parts + 1, device=weights.device, dtype=torch.float64)
    cuts = k * small + k.clamp(max=larger)
    cuts[-1] = position[-1]
    mass, row, part = _pieces(position, cuts)
    there = mass > 0
    mass, row, part = (mass * unit)[there].to(weights.dtype), row[there], part[there]
    sizes = torch.bincount(part, minlength=n_parts).tolist()
    return list(zip(row.split(sizes), mass.split(sizes), strict=True))


def count_rows(weights: Tensor) -> int:
    """Count n rows of positive weight: weights that are whole numbers count rows."""
    w = weights.double()
    return int(w.sum()) if bool(_count_rows(w)) else len(weights)


def _count_rows(w: Tensor) -> Tensor:
    """Whether weights (..., n) are numbers of rows, (..., 1): whole, and no giants."""
    whole = (w == w.round()).all(-1, keepdim=True)
    return whole & (w.sum(-1, keepdim=True) <= _MOST)


def _in_rows(w: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row ends, counted in rows, and what a row weighs: (..., n), (..., 1).

    Weights that are whole numbers count rows, of others the mean is one row.
    """
    mean = w.sum(-1, keepdim=True) / (w > 0).sum(-1, keepdim=True)
    unit = torch.where(_count_rows(w), 1.0, mean)
    return ((w / unit).cumsum(-1) * _LATTICE).round() / _LATTICE, unit


def _pieces(ends: Tensor, cuts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Length of each piece that lies in one row and in one block, and which these are.

    ``ends`` are where rows end, ``cuts`` where blocks do, both (..., n) and rising.
    """
    stop = torch.cat([ends, cuts], -1).sort(-1).values
    start = torch.nn.functional.pad(stop[..., :-1], (1, 0))
    row = torch.searchsorted(ends, start, right=True).clamp_(max=ends.shape[-1] - 1)
    block = torch.searchsorted(cuts, start, right=True).clamp_(max=cuts.shape[-1] - 1)
    return stop - start, row, block
