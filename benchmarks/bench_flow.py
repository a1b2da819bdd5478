"""One training step of our flow against zuko's RealNVP with as many parameters.

CPU, float32, batches of 128, Adam. Both train the plain flow on the same rows; the last
two lines are ours with trimming and with spectral norms on top. Needs ``zuko``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from _harness import compare, describe, one_thread, report

from skrobust._batch import Rows
from skrobust._flow import FlowStack
from skrobust._optim import Adam, SpectralNorm
from skrobust._train import Recipe, train_epoch
from skrobust.criteria import NegativeLogLikelihood
from skrobust.rules import Trim
from skrobust.steps import Context, Reweight

SHAPES = ((6, 64), (20, 64), (20, 256))
N_COUPLINGS, BATCH = 6, 128


def ours(
    x: torch.Tensor, width: int, *, trim: bool = False, lipschitz: float | None = None
) -> tuple[Callable[[], object], int]:
    """Return a function that trains for one epoch, and the number of parameters."""
    stack = FlowStack(
        x.shape[1],
        (width, width),
        n_couplings=N_COUPLINGS,
        activation="relu",
        generator=torch.Generator().manual_seed(0),
        dtype=x.dtype,
    )
    optimizer = Adam(stack.theta)
    if lipschitz is not None:
        optimizer = SpectralNorm(optimizer, stack.layers, lipschitz, exact=False)
    rows = Rows(x, None, x.new_ones(len(x)))
    steps = (Reweight(Trim(0.1)),) if trim else ()
    recipe = Recipe(steps, BATCH, lambda epoch: 3e-4)
    context = Context(NegativeLogLikelihood(), 0, torch.Generator().manual_seed(0))
    order = torch.Generator().manual_seed(0)

    def epoch() -> object:
        return train_epoch(stack, rows.epoch(BATCH, order), optimizer, recipe, context)

    return epoch, stack.theta.numel()


def zukos(x: torch.Tensor, width: int) -> tuple[Callable[[], object], int]:
    """Return the same for zuko, in a plain torch loop."""
    import zuko

    torch.manual_seed(0)
    flow = zuko.flows.RealNVP(
        x.shape[1], transforms=N_COUPLINGS, hidden_features=(width, width)
    )
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-4, fused=True)

    def epoch() -> object:
        order, total = torch.randperm(len(x)), torch.zeros(())
        shuffled = x.index_select(0, order)
        for batch in shuffled.split(BATCH):
            optimizer.zero_grad()
            loss = -flow().log_prob(batch).mean()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total)

    return epoch, sum(p.numel() for p in flow.parameters())


def main() -> None:
    """Print the ratios."""
    one_thread()
    try:
        import zuko  # noqa: F401
    except ImportError:
        print("bench_flow compares with zuko, which is not installed here.")
        return
    describe()
    for d, width in SHAPES:
        n_steps = 10 if width > 100 else 20
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(n_steps * BATCH, d, generator=generator)
        (theirs, n_theirs), (mine, n_mine) = zukos(x, width), ours(x, width)
        cases = {
            "ours": mine,
            "zuko": theirs,
            "ours, trimming": ours(x, width, trim=True)[0],
            "ours, trimming, bounded": ours(x, width, trim=True, lipschitz=3.0)[0],
        }
        title = f"flow {d}-{width}-{width}, {n_mine} parameters (zuko: {n_theirs})"
        report(title, compare(cases, "ours"), "ours", n_steps)


if __name__ == "__main__":
    main()
