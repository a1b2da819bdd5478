"""One training step of ours against a bare torch loop, on the CPU in float32."""

from __future__ import annotations

import torch
from _bare import bare_loop
from _harness import compare, describe, one_thread, report
from _ours import METHODS, PLAYERS, our_loop

SHAPES = ((10, 32, 64), (50, 64, 128), (50, 256, 128), (100, 512, 512))
N_CLASSES = 10


def main() -> None:
    one_thread()
    describe()
    for d, width, batch_size in SHAPES:
        steps = 20 if width > 300 else 40
        n = batch_size * steps
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(n, d, generator=generator)
        y = torch.randint(N_CLASSES, (n,), generator=generator)
        sizes = d, width, N_CLASSES
        cases = {"bare loop": bare_loop(sizes, batch_size, x, y)}
        for name, method in METHODS.items():
            k = PLAYERS.get(name, 1)
            cases[name] = our_loop(sizes, batch_size, x, y, method, k, turns=k > 1)
        title = f"step {d}-{width}-{width}, batch {batch_size}"
        report(title, compare(cases, "bare loop"), "bare loop", steps)
        report(title, compare(cases, "plain"), "plain", steps)


if __name__ == "__main__":
    main()
