"""The base of the step benchmarks: a plain torch loop without frills."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def bare_loop(
    sizes: tuple[int, int, int], batch_size: int, x: Tensor, y: Tensor
) -> Callable[[], float]:
    """Return a function that trains a two-hidden-layer network for one epoch.

    The data lie in memory, are permuted once an epoch and sliced; Adam is fused.
    ``sizes`` are those of input, hidden layers and output.
    """
    d, width, out = sizes
    layers = [nn.Linear(d, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, out)).to(x.device, x.dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loss_of = nn.CrossEntropyLoss()

    def epoch() -> float:
        order = torch.randperm(len(x), device=x.device)
        xs, ys = x.index_select(0, order), y.index_select(0, order)
        total = torch.zeros((), device=x.device)
        for i in range(0, len(x), batch_size):
            optimizer.zero_grad()
            loss = loss_of(model(xs[i : i + batch_size]), ys[i : i + batch_size])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total)

    return epoch
