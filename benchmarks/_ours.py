"""Our training loop as the benchmarks time it, without the estimators around it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skrobust._batch import Rows
from skrobust._optim import Adam
from skrobust._stack import MLPStack
from skrobust._train import Recipe, drawn, train_epoch
from skrobust.criteria import CrossEntropy, GradientNorm, LossIncrement, LossLayer
from skrobust.rules import MedianOfMeans, MultiplicativeWeights, Ramp, Trim
from skrobust.steps import Context, Reweight, ReweightByLabel

_LOSS, _TRIM = CrossEntropy(), Trim(Ramp(0.2, 10))

METHODS = {
    "plain": (),
    "loss trimming": (Reweight(_TRIM),),
    "PRL(L)": (Reweight(_TRIM, LossLayer(_LOSS)),),
    "PRL(L), by label": (ReweightByLabel(_TRIM, LossLayer(_LOSS)),),
    "PRL(G)": (Reweight(_TRIM, GradientNorm(_LOSS)),),
    "MoM": (Reweight(MedianOfMeans(8)),),
    "MoM, two players": (Reweight(MedianOfMeans(8), LossIncrement(_LOSS)),),
    "MR": (Reweight(MultiplicativeWeights(0.1), every=1),),
}
PLAYERS = {"MoM, two players": 2}  # networks that take turns


def new_stack(sizes: tuple[int, int, int], n_networks: int, like: Tensor) -> MLPStack:
    """Return K networks with two hidden layers, equal on every device."""
    d, width, out = sizes
    return MLPStack(
        (d, width, width, out),
        n_networks,
        generator=torch.Generator().manual_seed(0),
        dtype=like.dtype,
        device=like.device,
    )


def our_loop(
    sizes: tuple[int, int, int],
    batch_size: int,
    x: Tensor,
    y: Tensor,
    steps: tuple[Reweight, ...],
    n_networks: int = 1,
    stack: MLPStack | None = None,
    turns: bool = False,
) -> Callable[[], float]:
    """Return a function that trains K networks for one epoch."""
    stack = new_stack(sizes, n_networks, x) if stack is None else stack
    optimizer = Adam(stack.theta)
    rows = Rows(x, y, x.new_ones(len(x)), sizes[-1])
    recipe = Recipe(steps, batch_size, lambda epoch: 1e-3, alpha=1e-4, turns=turns)
    order = torch.Generator().manual_seed(0)
    context = Context(_LOSS, 20, torch.Generator(x.device).manual_seed(0))

    def epoch() -> float:
        batches = drawn(stack, rows, recipe, context, order)
        return train_epoch(stack, batches, optimizer, recipe, context)

    return epoch
