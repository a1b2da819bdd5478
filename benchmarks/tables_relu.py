"""Regenerate the source's Figures 1 and 2 and Table 1, next to this package's solvers.

    python benchmarks/tables_relu.py --quick     about a minute
    python benchmarks/tables_relu.py --full      the whole grid, ten draws a point
    python benchmarks/tables_relu.py --figures   with PNG figures (needs matplotlib)

Writes ``relu.csv`` (every fit) and ``relu.md`` (means with 95 % bands) to ``--out``.
The tables in ``benchmarks/results`` are those of ``--full --draws 3 --figures``.
Seeds start at 100; the defaults were chosen on seeds below 20.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from skrobust import ReLUDistributionEstimator
from skrobust.datasets import make_relu_distribution

PRINTED = dict(angle="paper")
# name: (options, sees only the clean rows)
METHODS = {
    "GD without filter": (dict(solver="gd", filter=None, **PRINTED), False),
    "GD median": (dict(solver="gd", filter="median", **PRINTED), False),
    "GD trimmed mean": (dict(solver="gd", filter="trimmed_mean", **PRINTED), False),
    "GD oracle": (dict(solver="gd", filter=None, **PRINTED), True),
    "SGD without filter": (dict(solver="sgd", filter=None, **PRINTED), False),
    "SGD median": (dict(solver="sgd", filter="median", **PRINTED), False),
    "SGD trimmed mean": (dict(solver="sgd", filter="trimmed_mean", **PRINTED), False),
    "SGD oracle": (dict(solver="sgd", filter=None, **PRINTED), True),
    "Newton median": (dict(solver="newton", **PRINTED), False),
    "Newton median, corrected angle": (dict(solver="newton"), False),
    "Newton oracle": (dict(solver="newton", filter=None, **PRINTED), True),
    "likelihood (default)": (dict(), False),
    "likelihood oracle": (dict(), True),
}
KINDS = {
    "rows N(5, 1)": dict(),
    "rows N(2, 1)": dict(outliers=(2.0, 1.0)),
    "constant rows 2": dict(outliers=2.0),
    "constant rows 5": dict(outliers=5.0),
    "zero rows": dict(outliers=0.0),
    "one coordinate N(5, 1)": dict(where="coordinate"),
    "one coordinate 20": dict(where="coordinate", outliers=20.0),
    "entries N(5, 1)": dict(where="entries"),
    "entries 2": dict(where="entries", outliers=2.0),
    "one coordinate N(2, 1), not identifiable": dict(
        where="coordinate", outliers=(2.0, 1.0)
    ),
    "rows abs(5 Cauchy)": dict(
        outliers=lambda rng, shape: np.abs(5 * rng.standard_cauchy(shape))
    ),
}
QUICK = dict(p=(0.8, 0.9, 0.95, 1.0), n=(5000,), d=(10,), kinds=(0.8,), draws=2)
FULL = dict(
    p=(0.8, 0.85, 0.9, 0.95, 1.0),
    n=(5000, 10000, 50000, 100000, 200000),
    d=(10, 15, 20),
    kinds=(0.8, 0.9, 0.95, 1.0),
    draws=10,
)


def errors(model, W, b):
    """Return the source's two relative errors."""
    size = (W**2).sum()
    return (
        np.linalg.norm(model.covariance_ - W @ W.T) / size,
        np.linalg.norm(model.bias_ - b) / np.sqrt(size),
    )


def one_fit(options, oracle, p, n, d, seed, data):
    """Draw, fit, and measure."""
    X, W, b, clean = make_relu_distribution(
        n, d, contamination=1 - p, random_state=seed, **data
    )
    if oracle:
        X = X[clean]
    options = dict(contamination=min(1 - p, 0.49), **options)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ReLUDistributionEstimator(**options).fit(X)
    return (*errors(model, W, b), time.perf_counter() - start)


def run(grid, log):
    """Fit every method at every point of the figures, and the default on all kinds."""
    points = {("p", p): (p, 20000, 5) for p in grid["p"]}
    points |= {("n", n): (0.95, n, 5) for n in grid["n"]}
    points |= {("d", d): (0.95, 20000, d) for d in grid["d"]}
    rows = []
    for (axis, value), (p, n, d) in points.items():
        for name, (options, oracle) in METHODS.items():
            for seed in range(100, 100 + grid["draws"]):
                found = one_fit(options, oracle, p, n, d, seed, {})
                rows.append(("figures", axis, value, name, seed, *found))
        log(f"{axis} = {value}")
    name = "likelihood (default)"
    for kind, data in KINDS.items():
        for p in grid["kinds"]:
            for seed in range(100, 100 + max(1, grid["draws"] // 2)):
                found = one_fit({}, False, p, 20000, 5, seed, data)
                rows.append((kind, "p", p, name, seed, *found))
        log(kind)
    return rows


def summary(rows):
    """Mean and half-width of the 95 % band for every point."""
    groups = defaultdict(list)
    for part, axis, value, name, _seed, *found in rows:
        groups[part, axis, value, name].append(found)
    out = {}
    for key, found in groups.items():
        found = np.array(found)
        half = np.full(3, np.nan)
        if len(found) > 2:  # two draws say nothing of the spread
            quantile = student.ppf(0.975, len(found) - 1)
            half = quantile * found.std(axis=0, ddof=1) / np.sqrt(len(found))
        out[key] = found.mean(axis=0), half
    return out


def markdown(stats, draws):
    """Write the figures, the table of times and the kinds of outliers as tables."""
    lines = [f"Relative errors of Sigma / b, {draws} draws (+- 95 % band).", ""]
    for axis, fixed in (("p", "n 20000, d 5"), ("n", "p .95, d 5"), ("d", "p .95")):
        values = sorted({k[2] for k in stats if k[0] == "figures" and k[1] == axis})
        if axis != "p" and ("figures", "p", 0.95, "GD oracle") in stats:
            lines += [f"(the point n 20000, d 5 is p = 0.95 above; {fixed})", ""]
        lines += ["| method | " + " | ".join(f"{axis} = {v}" for v in values) + " |"]
        lines += ["|---" * (len(values) + 1) + "|"]
        for name in METHODS:
            cells = [_cell(stats["figures", axis, v, name]) for v in values]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["Seconds a fit, p = 0.95, n = 20000, d = 5 (the source's Table 1).", ""]
    lines += ["| method | seconds |", "|---|---|"]
    for name in METHODS:
        lines.append(f"| {name} | {stats['figures', 'p', 0.95, name][0][2]:.3f} |")
    levels = sorted({k[2] for k in stats if k[0] in KINDS})
    lines += ["", "The default on other outliers, n = 20000, d = 5.", ""]
    lines += ["| outliers | " + " | ".join(f"p = {v}" for v in levels) + " |"]
    lines += ["|---" * (len(levels) + 1) + "|"]
    for kind in KINDS:
        cells = [_cell(stats[kind, "p", v, "likelihood (default)"]) for v in levels]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(found):
    mean, half = found
    parts = []
    for m, h in zip(mean[:2], half[:2], strict=True):
        parts.append(f"{m:.4f}" + ("" if np.isnan(h) else f" +- {h:.4f}"))
    return " / ".join(parts)


def figures(stats, out):
    """Draw both figures, bands shaded."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ours = ["Newton median, corrected angle", "likelihood (default)"]
    sets = {
        "figure1": ["GD without filter", "GD median", "GD trimmed mean", "GD oracle"],
        "figure2": ["SGD median", "GD median", "SGD oracle", "GD oracle"],
    }
    for title, names in sets.items():
        fig, axes = plt.subplots(2, 3, figsize=(12, 7))
        for column, axis in enumerate("pnd"):
            values = {k[2] for k in stats if k[0] == "figures" and k[1] == axis}
            shared = {"n": 20000, "d": 5}.get(axis)
            values = sorted(values | ({shared} if shared else set()))
            for name in names + ours:
                keys = [
                    ("p", 0.95) if v == shared and axis != "p" else (axis, v)
                    for v in values
                ]
                found = [stats["figures", *key, name] for key in keys]
                for row, label in enumerate(("Sigma", "b")):
                    mean = np.array([f[0][row] for f in found])
                    half = np.nan_to_num(np.array([f[1][row] for f in found]))
                    ax = axes[row, column]
                    ax.plot(values, mean, label=name)
                    ax.fill_between(
                        values, np.maximum(mean - half, 1e-4), mean + half, alpha=0.15
                    )
                    ax.set(xlabel=axis, ylabel=f"error of {label}", yscale="log")
        axes[0, 0].legend(fontsize=6)
        fig.tight_layout()
        fig.savefig(out / f"{title}.png", dpi=120)
        plt.close(fig)


def main():
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="a minute (the default)")
    mode.add_argument("--full", action="store_true", help="the whole grid")
    parser.add_argument("--draws", type=int, help="draws a point")
    parser.add_argument("--figures", action="store_true", help="draw PNG figures too")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    grid = dict(FULL if args.full else QUICK)
    if args.draws:
        grid["draws"] = args.draws
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    def log(text):
        print(f"{time.perf_counter() - start:7.1f} s  {text}", flush=True)

    rows = run(grid, log)
    with open(args.out / "relu.csv", "w", newline="") as file:
        writer = csv.writer(file)
        header = "part axis value method seed error_sigma error_b seconds"
        writer.writerow(header.split())
        writer.writerows(rows)
    stats = summary(rows)
    text = markdown(stats, grid["draws"])
    (args.out / "relu.md").write_text(text)
    if args.figures:
        figures(stats, args.out)
    print(text)


if __name__ == "__main__":
    main()
