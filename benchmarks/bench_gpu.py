"""One training step on a CUDA GPU against a bare torch loop there, in float32.

Also checks that fits on the CPU and on the GPU agree in float64. scikit-learn may be
missing: the machine rooms that are timed here do without it.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch
from _bare import bare_loop
from _harness import compare, describe, report

if importlib.util.find_spec("sklearn") is None:
    print("scikit-learn is not installed: only the machine rooms are loaded.")
    package = types.ModuleType("skrobust")  # `import skrobust` needs scikit-learn
    package.__path__ = [str(Path(__file__).resolve().parents[1] / "skrobust")]
    sys.modules["skrobust"] = package

from _ours import METHODS, new_stack, our_loop

SHAPES = ((50, 64, 128), (50, 256, 128), (100, 512, 512))
STACKED = (2, 8, 32)
N_CLASSES, STEPS, AGREEMENT = 10, 40, 1e-6


def clock() -> float:
    """Wall time once the GPU has done all it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def draw(n: int, d: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, dtype=dtype)
    return x, torch.randint(N_CLASSES, (n,), generator=generator)


def time_steps(device: torch.device) -> None:
    for d, width, batch_size in SHAPES:
        x, y = (t.to(device) for t in draw(batch_size * STEPS, d, torch.float32))
        sizes = d, width, N_CLASSES
        cases: dict[str, Callable[[], float]] = {
            "bare loop": bare_loop(sizes, batch_size, x, y)
        }
        for name, method in METHODS.items():
            cases[name] = our_loop(sizes, batch_size, x, y, method)
        for k in STACKED:
            method = METHODS["PRL(G)"]
            cases[f"PRL(G), {k} networks"] = our_loop(
                sizes, batch_size, x, y, method, n_networks=k
            )
        ratios = compare(cases, "bare loop", clock=clock)
        title = f"GPU step {d}-{width}-{width}, batch {batch_size}"
        report(title, ratios, "bare loop", STEPS)


def check_agreement(device: torch.device) -> bool:
    """Whether fits on the CPU and on the device predict the same, in float64."""
    print("\nLargest difference of outputs between CPU and GPU after 5 epochs, float64")
    sizes, fine = (20, 64, N_CLASSES), True
    x, y = draw(1000, 20, torch.float64)
    for name, method in METHODS.items():
        outputs = []
        for place in (torch.device("cpu"), device):
            there = x.to(place)
            stack = new_stack(sizes, 2, there)
            epoch = our_loop(sizes, 128, there, y.to(place), method, 2, stack)
            for _ in range(5):
                epoch()
            outputs.append(stack.predict(there).cpu())
        gap = float((outputs[0] - outputs[1]).abs().max())
        fine = fine and gap <= AGREEMENT
        print(f"  {name:<24} {gap:.1e}{'' if gap <= AGREEMENT else '  TOO LARGE'}")
    return fine


def main() -> int:
    if not torch.cuda.is_available():
        print("bench_gpu: torch finds no CUDA GPU here, nothing to do.")
        return 0
    device = torch.device("cuda")
    describe(cuda=True)
    time_steps(device)
    return 0 if check_agreement(device) else 1


if __name__ == "__main__":
    sys.exit(main())
