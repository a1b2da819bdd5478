"""Paired ratios: candidates and a base take turns in one process.

Machines differ and are busy, so a time by itself says little. Here every round runs
all candidates once, in a rotated order, and each time is divided by the base's of the
same round; the median of those ratios is the result, their quartiles its spread.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

Case = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """Time of a candidate over that of the base: median and quartiles over rounds."""

    median: float
    low: float
    high: float
    seconds: float  # median time of the candidate itself

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def compare(
    cases: Mapping[str, Case],
    base: str,
    *,
    rounds: int = 11,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Ratio]:
    """Time the cases in turns.

    Parameters
    ----------
    cases : dict of callables
        Each does the same amount of work whenever it is called; the first call of
        each is a warm-up and is not timed.
    base : str
        The name of the case to divide by.
    rounds : int, default=11
    clock : callable, default=time.process_time
        CPU time, which other programs on the machine disturb least. Work on a GPU
        needs a clock that waits for it.
    """
    for case in cases.values():
        case()
    names = list(cases)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            begin = clock()
            cases[name]()
            times[name].append(clock() - begin)
    below = np.array(times[base])
    found = {}
    for name in names:
        low, median, high = np.percentile(times[name] / below, [25, 50, 75])
        found[name] = Ratio(median, low, high, float(np.median(times[name])))
    return found


def one_thread() -> None:
    """Let torch and, where threadpoolctl is there, NumPy use one thread."""
    torch.set_num_threads(1)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(1)


def describe(*, cuda: bool = False) -> None:
    """Print on what, and how busy a machine, the figures were taken."""
    name = torch.cuda.get_device_name() if cuda else platform.processor()
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(
        f"{name or platform.machine()}, {os.cpu_count()} cores, load {load} "
        f"(1, 5, 15 min); torch {torch.__version__}, {torch.get_num_threads()} thread"
    )


def report(title: str, ratios: Mapping[str, Ratio], base: str, unit: float) -> None:
    """Print a table; ``unit`` is how many steps or epochs one call makes."""
    print(f"\n{title}: {ratios[base].seconds / unit * 1e6:.0f} us for {base} (= 1)")
    for name, ratio in ratios.items():
        if name != base:
            print(f"  {name:<24} {ratio}", flush=True)
