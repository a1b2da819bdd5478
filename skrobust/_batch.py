"""Rows on their way through a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ._blocks import count_rows, cut_evenly

Take = Callable[[Tensor, int], Tensor]
BLOCK = 1024  # rows scaled or scored together: small blocks stay in the cache


def _taker(index: Tensor) -> Take:
    """Return a function of (tensor, dim) that takes rows; neighbours as a view."""
    n = len(index)
    ends = index[:: max(n - 1, 1)].tolist() or [0, -1]  # the first and the last
    if ends[-1] - ends[0] == n - 1:
        return lambda tensor, dim: tensor.narrow(dim, ends[0], n)
    return lambda tensor, dim: tensor.index_select(dim, index)


class Batch:
    """Inputs, targets and weights of a few rows, with what was computed from them.

    Attributes
    ----------
    x : Tensor of shape (n, ...)
    y : Tensor of shape (n, n_outputs) or (K, n, n_outputs), or None
        Classes are one-hot.
    weights : Tensor of shape (1, n) or (K, n)
    mass : Tensor of shape (1, 1) or (K, 1), float, or None
        What the weighted sum of losses is divided by; None: the sum of the weights.
    sparse : bool
        Whether few rows have weight, so that it pays to leave out the others.
    prior : Tensor of shape (1, n), or None
        The rows' own weights, where a rule has revised those of all rows; None: no
        rule has. ``prior_mass`` is their sum, where it is known without adding.
    """

    __slots__ = ("_memo", "_prior_mass", "mass", "prior", "sparse", "weights", "x", "y")

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        weights: Tensor,
        mass: Any = None,
        prior: Tensor | None = None,
        prior_mass: float | None = None,
    ):
        self.x, self.y, self.weights, self.mass = x, y, weights, mass
        self.prior, self._prior_mass = prior, prior_mass
        self.sparse = False
        self._memo: dict[Any, Any] = {}

    @property
    def own_mass(self) -> Any:
        """What the rows weigh by themselves, whatever rules say of them."""
        if self.prior is not None:
            return self.prior.sum() if self._prior_mass is None else self._prior_mass
        return self.weights.sum() if self.mass is None else self.mass

    def reweighted(self, weights: Tensor, mass: Any, sparse: bool = False) -> Batch:
        """Return the same rows with other weights; what was computed stays known."""
        batch = Batch(self.x, self.y, weights, mass, self.prior, self._prior_mass)
        batch._memo, batch.sparse = self._memo, sparse
        return batch

    def anew(self) -> Batch:
        """Return the same batch without what was computed from it."""
        return self.replaced(x=self.x)

    def of_network(self, k: int) -> Batch:
        """Return the batch as network k of a `_turns.Team` sees it."""

        def own(t: Any, ndim: int) -> Any:
            split = isinstance(t, Tensor) and t.ndim == ndim and len(t) > 1
            return t[k : k + 1] if split else t

        batch = Batch(self.x, own(self.y, 3), own(self.weights, 2), own(self.mass, 2))
        batch.sparse = self.sparse
        if False in self._memo:
            batch._memo[False] = self._memo[False].parts[k]
        return batch

    def narrowed(self, stack: Any) -> Batch:
        """Return the rows that have weight, where networks share their weights."""
        take = _taker(self.weights[0].nonzero()[:, 0])
        y = None if self.y is None else take(self.y, -2)
        batch = Batch(take(self.x, 0), y, take(self.weights, -1), self.mass)
        if stack.has_modes:  # then it is another forward pass that is descended
            return batch
        for key, known in self._memo.items():
            if isinstance(key, tuple):  # a loss's derivative
                batch._memo[key] = take(known, 1)
            elif (tape := known.narrowed(take)) is not None:
                batch._memo[key] = tape
        return batch

    def replaced(self, *, x: Tensor | None = None, y: Tensor | None = None) -> Batch:
        """Return a batch with other inputs or targets."""
        batch = Batch(
            self.x if x is None else x,
            self.y if y is None else y,
            self.weights,
            self.mass,
            self.prior,
            self._prior_mass,
        )
        batch.sparse = self.sparse
        if x is None:  # the outputs do not depend on the targets
            tapes = {k: v for k, v in self._memo.items() if isinstance(k, bool)}
            batch._memo = tapes
        return batch

    def tape(self, stack: Any, training: bool = False) -> Any:
        """Forward pass of the stack on these rows, run once a mode."""
        mode = training and stack.has_modes
        tape = self._memo.get(mode)
        if tape is None:
            tape = self._memo[mode] = stack.forward(self.x, training=mode)
        return tape

    def gradient(self, stack: Any, loss: Any, training: bool = False) -> Tensor:
        """Differentiate the rows' losses by the output: (K, n, n_outputs)."""
        key = (loss, training and stack.has_modes)
        known = self._memo.get(key)
        if known is None:
            output = self.tape(stack, training).output
            known = self._memo[key] = loss.gradient(output, loss.target(self))
        return known


class Rows:
    """The training rows: all on the device, or read chunk by chunk.

    Parameters
    ----------
    x : Tensor (n, ...) or callable
        A callable takes an index tensor and returns those rows on the device.
    y : Tensor of length n, or None
    weights : Tensor of shape (n,)
    n_classes : int, default=0
        If not 0, ``y`` holds class numbers, made one-hot as batches are drawn.
    keys : Tensor of shape (n,), int64, default=None
        Hashes of the rows. With them rows that all fit one batch are shuffled too.
        Shuffling then does not depend on the order the rows came in and leaves
        repeated rows side by side.
    n_parts : int, default=None
        Batches an epoch, of equal weight, whatever their size. With ``keys`` a weight
        of two then acts like a row given twice. None: as many as the size asks for.
    """

    def __init__(
        self,
        x: Tensor | Callable[[Tensor], Tensor],
        y: Tensor | None,
        weights: Tensor,
        n_classes: int = 0,
        keys: Tensor | None = None,
        n_parts: int | None = None,
    ):
        self.keys = keys
        self.n_parts = n_parts and min(n_parts, count_rows(weights))
        self.x, self.y, self.weights, self.n_classes = x, y, weights, n_classes
        self.n, self.in_memory = len(weights), isinstance(x, Tensor)
        # equal weights make the mass of a batch a plain number, not a sum
        even = bool((weights == weights[0]).all())
        self.unit = float(weights[0]) if even else None
        self.revised = None

    @property
    def revised(self) -> Tensor | None:
        """What a rule that judges all rows made of their weights, (K, n), or None."""
        return self._revised

    @revised.setter
    def revised(self, weights: Tensor | None) -> None:
        self._revised = weights
        # rules may keep more digits than batches need: rounded once, not in each
        self._served = None if weights is None else weights.to(self.weights.dtype)

    def part(self, mask: Tensor) -> Rows:
        """Return some of the rows, with their own weights."""
        there = mask.nonzero()[:, 0]
        x, y, at = self.x, self.y, there.cpu()
        part = x[there] if isinstance(x, Tensor) else lambda index: x(at[index])
        keys = None if self.keys is None else self.keys[at]
        target = None if y is None else y[there]
        own = self.weights[there]
        return Rows(part, target, own, self.n_classes, keys, self.n_parts)

    def _batch(self, index: Tensor, x: Tensor, y: Tensor | None, own: Tensor) -> Batch:
        mass = None if self.unit is None else self.unit * own.shape[-1]
        if self._served is None:
            return Batch(x, y, own, mass)
        weights = self._served.index_select(-1, index.to(own.device))
        return Batch(x, y, weights, None, own, mass)

    def take(self, index: Tensor) -> Batch:
        """Return the rows of ``index`` (on the CPU) as one batch."""
        return self._batch(index, *self._gather(index))

    def _gather(self, index: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Read inputs, targets and own weights of rows."""
        there = index.to(self.weights.device)
        # index_select: several times faster here than x[there]
        x = self.x.index_select(0, there) if self.in_memory else self.x(index)
        y = None if self.y is None else self._targets(self.y.index_select(0, there))
        if self.unit is None:
            weights = self.weights.index_select(0, there)
        else:  # one number for all: rules need not look at each
            weights = self.weights[:1].expand(len(there))
        return x, y, weights[None]

    def _targets(self, y: Tensor) -> Tensor:
        if not self.n_classes:
            return y
        one_hot = self.weights.new_zeros(len(y), self.n_classes)
        return one_hot.scatter_(1, y[:, None], 1)

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield all rows in their own order, ``size`` at a time."""
        for index in torch.arange(self.n, device="cpu").split(size):
            yield self.take(index)

    def _shuffled(self, generator: torch.Generator) -> Tensor:
        """Return the rows in random order, which equal rows share if there are keys."""
        if self.keys is None:
            return torch.randperm(self.n, generator=generator, device="cpu")
        salt = torch.randint(-(2**62), 2**62, (1,), generator=generator, device="cpu")
        # integer products wrap: one round of a hash's finish
        mixed = (self.keys ^ salt) * -7046029254386353131
        mixed = (mixed ^ (mixed >> 29)) * -4658895280553007687
        return (mixed ^ (mixed >> 32)).argsort(stable=True)

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield all rows once, in random order, in batches equal to one row.

        Equal batches leave no small last one, in which a single bad row would weigh
        too much. When everything fits one batch the order is kept and nothing drawn,
        unless there are keys to shuffle by. Weights are those at the moment a batch is
        asked for.
        """
        n_batches = self.n_batches(batch_size)
        if n_batches == 1 and self.keys is None:
            yield self.take(torch.arange(self.n, device="cpu"))
            return
        order = self._shuffled(generator)
        if n_batches == 1:
            yield self.take(order)
            return
        if self.n_parts and self.unit != 1:
            own = self.weights.cpu()[order]
            for at, part in cut_evenly(own, n_batches):
                yield self._piece(order[at], part.to(self.weights.device))
            return
        small, larger = divmod(self.n, n_batches)
        sizes = [small + 1] * larger + [small] * (n_batches - larger)
        done = 0
        while done < n_batches:
            # gather a chunk of batches at once: one indexing, then free slices
            chunk = sizes[done : done + max(1, 65536 // batch_size)]
            done += len(chunk)
            rows, order = order[: sum(chunk)], order[sum(chunk) :]
            x, y, own = self._gather(rows)
            ys = [None] * len(chunk) if y is None else y.split(chunk)
            parts = rows.split(chunk), x.split(chunk), ys, own.split(chunk, 1)
            yield from map(self._batch, *parts)

    def _piece(self, index: Tensor, part: Tensor) -> Batch:
        """Return some rows with a part of their weight each."""
        x, y, own = self._gather(index)
        batch = self._batch(index, x, y, part[None])
        if self.revised is None:
            batch.mass = None
        else:
            batch._prior_mass = None
            batch.weights = batch.weights * (part / own)
        return batch

    def n_batches(self, batch_size: int) -> int:
        """Batches an epoch."""
        return self.n_parts or -(-self.n // batch_size)
