"""Tables 3 to 6 of the DeepMoM paper, with the methods of this package.

A random ReLU network teaches, or a spiral has five arms; some outputs, labels or
inputs are corrupted, and every method gets the same network, steps and data. Beside
the paper's methods (squared error, absolute deviation, Huber, median of means of
increments) stand medians of block losses, trimming, reject-and-refit and the oracle,
which is plain training on the uncorrupted rows alone.

    python benchmarks/tables_mom.py --quick             # 5 data sets, some hours
    python benchmarks/tables_mom.py                     # 20 data sets, as the paper
    python benchmarks/tables_mom.py --table 3 --quick   # one table

Each fit is written to benchmarks/results/mom.csv as soon as it has ended, and a run
goes on from what that file holds. mom.md is made of it: mean errors against the truth,
over the variance of the truth, and the same as multiples of the median of means on
clean data (the paper's unit) with the paper's figures beside them. "Oracle" rows take
the best number of blocks (trimmed share, Huber threshold) on the test rows, as the
paper does; "cross-validated" ones choose it by a robust score on corrupted folds.

The paper leaves open: its step sizes, what its signal-to-noise ratio divides, and what
n its batches of 0.15 n count. Here: Adam with cosine steps from 0.003 and decoupled
decay of 1, variances, and all rows of a data set (half of them train).
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import KFold

from skrobust import (
    MoMClassifier,
    MoMRegressor,
    NetClassifier,
    NetRegressor,
    PRLClassifier,
    PRLRegressor,
    RejectRefitClassifier,
    RejectRefitRegressor,
)
from skrobust.criteria import Huber
from skrobust.datasets import make_spirals, make_teacher_regression
from skrobust.metrics import median_of_means_accuracy_score, trimmed_absolute_error

RESULTS = Path(__file__).parent / "results"
FIELDS = ["table", "row", "seed", "method", "setting", "error", "chosen_by", "seconds"]

# n_samples, hidden layers, width
SIZES = {3: (1000, 5, 50), 4: (1600, 10, 20), 5: (2000, 7, 30)}
STEPS = {3: 2000, 4: 2000, 5: 2000, 6: 2000}
BLOCKS = (1, 21, 41, 61, 81, 101, 121)
SPIRAL_BLOCKS = (1, 3, 5, 7, 9, 11)
TRIMS = (0.1, 0.2, 0.3, 0.4)
QUANTILES = (0.75, 0.8, 0.85, 0.9, 0.95, 1.0)

# name: options of the generator
OUTPUTS = {
    f"{100 - 100 * c:.0f} %": {"corruption": "outputs", "contamination": c}
    for c in (0.0, 0.05, 0.15, 0.25)
}
NOISE = {f"t{df}": {"corruption": "noise", "df": df} for df in (10, 1)}
INPUTS = {
    f"inputs {100 - 100 * c:.0f} %": {"corruption": "inputs", "contamination": c}
    for c in (0.05, 0.15, 0.25)
}
LABELS = {
    name: {**options, "corruption": "labels"} for name, options in OUTPUTS.items()
}
ROWS = {3: {**OUTPUTS, **NOISE, **INPUTS}, 6: {**LABELS, **INPUTS}}
ROWS |= {4: ROWS[3], 5: ROWS[3]}

# the paper's figures: MoM, AD, Huber, SE in multiples of MoM at 100 %; 6: MoM, SCE
PAPER = {
    3: """1.00 1.58 1.29 1.60  1.22 12.09 7.36 17.42  1.48 26.81 33.69 72.21
          2.47 80.34 68.76 121.58  1.16 1.40 1.34 1.93  1.11 1.38 1.32 1.83
          1.26 1.46 1.77 1.61  1.27 1.38 1.38 1.80  1.37 1.66 1.90 1.75""",
    4: """1.00 2.04 1.71 3.62  1.58 19.85 10.66 31.66  1.73 63.69 70.71 116.85
          2.06 159.17 133.71 229.14  1.05 1.72 1.75 2.83  1.99 2.18 1.81 3.93
          1.63 2.37 1.97 2.70  1.75 2.08 2.53 3.21  1.86 2.22 2.63 3.78""",
    5: """1.00 1.74 1.53 2.05  1.05 14.34 10.84 14.45  1.39 44.80 44.29 44.58
          1.95 78.19 95.02 82.56  0.97 1.58 1.70 2.44  0.99 1.68 1.78 2.05
          1.01 1.60 1.76 1.99  1.07 1.66 1.58 1.87  1.13 1.58 1.38 2.13""",
    6: "95.6 95.6  95.2 94.2  88.0 79.6  85.6 73.2  95.6 95.6  95.6 95.6  93.8 90.2",
}


def paper(table: int) -> pd.DataFrame:
    """Return the paper's figures of a table."""
    names = ["MoM", "SCE"] if table == 6 else ["MoM", "AD", "Huber", "SE"]
    values = np.array(PAPER[table].split(), float).reshape(-1, len(names))
    return pd.DataFrame(values, index=list(ROWS[table]), columns=names)


# -- data ------------------------------------------------------------------------------


def draw(table: int, row: str, seed: int) -> dict[str, Any]:
    """Draw a data set: the first half trains, the clean second half tests."""
    options = {**ROWS[table][row], "random_state": 1000 + seed}
    clean = {**options, "contamination": 0.0}
    if table == 6:
        make, size = make_spirals, {}
    else:
        n, layers, width = SIZES[table]
        make = make_teacher_regression
        size = {"n_samples": n, "n_hidden_layers": layers, "width": width}
        if options["corruption"] == "noise":
            clean["corruption"] = "outputs"  # inputs and truth are the same
    X, y, _, wrong = make(**size, **options)
    X_clean, _, truth, _ = make(**size, **clean)
    half = len(X) // 2
    return {
        "X": X[:half].astype(np.float32),
        "y": y[:half],
        "wrong": wrong[:half],
        "X_test": X_clean[half:].astype(np.float32),
        "truth": truth[half:],
    }


def error(table: int, model: Any, X: Any, truth: Any) -> float:
    """Mean squared error over the variance of the truth, or accuracy in per cent."""
    predicted = model.predict(X)
    if table == 6:
        return 100 * float((predicted == truth).mean())
    return float(np.square(predicted - truth).mean() / truth.var())


# -- methods ---------------------------------------------------------------------------


def common(table: int, n_train: int, seed: int) -> dict[str, Any]:
    """Return the network and the steps that every method gets."""
    hidden = (150, 150) if table == 6 else (SIZES[table][2],) * SIZES[table][1]
    batch = round(0.15 * 2 * n_train)
    epochs = round(STEPS[table] / np.ceil(n_train / batch))
    return {
        "hidden_layer_sizes": hidden,
        "batch_size": batch,
        "max_iter": int(epochs),
        "n_iter_no_change": int(epochs),
        "learning_rate": "cosine",
        "learning_rate_init": 3e-3,
        "random_state": seed,
    }


def methods(table: int, y: np.ndarray, options: dict[str, Any]) -> Iterator[tuple]:
    """Yield the name, the setting and the estimator of every fit on a data set."""
    classes = table == 6
    net, mom, prl, refit = (
        (NetClassifier, MoMClassifier, PRLClassifier, RejectRefitClassifier)
        if classes
        else (NetRegressor, MoMRegressor, PRLRegressor, RejectRefitRegressor)
    )
    seed = options["random_state"]
    yield "oracle", "", net(**options)
    yield "plain", "", net(**options)
    yield "reject-refit", "", refit(mom(**options), random_state=seed)
    yield "MoM default", "", mom(**options)
    for b in SPIRAL_BLOCKS if classes else BLOCKS:
        for rule in ("increment", "loss"):
            yield f"MoM {rule}", b, mom(b, selection=rule, **options)
    for epsilon in TRIMS:
        yield "trimming", epsilon, prl(epsilon, **options)
    if not classes:
        yield "absolute", "", net(criterion="absolute_error", **options)
        size = np.median(np.abs(y - np.median(y))) * 1.4826
        for q in QUANTILES:  # the network sees targets in robust scales
            delta = float(np.quantile(np.abs(y - np.median(y)), q) / size)
            yield "Huber", q, net(criterion=Huber(delta), **options)


def chosen_by(table: int, model: Any, data: dict[str, Any]) -> float:
    """Score a setting on corrupted folds, by a score that withstands them."""
    scores = []
    for inner, outer in KFold(3, shuffle=True, random_state=0).split(data["X"]):
        predicted = model.fit(data["X"][inner], data["y"][inner]).predict(
            data["X"][outer]
        )
        if table == 6:
            score = median_of_means_accuracy_score(data["y"][outer], predicted)
        else:
            score = -trimmed_absolute_error(data["y"][outer], predicted)
        scores.append(score)
    return float(np.mean(scores))


def cell(
    table: int, row: str, seed: int, done: set, cross_validate: bool
) -> Iterator[dict[str, Any]]:
    """Fit every method on one data set that has not been fitted yet."""
    data = draw(table, row, seed)
    options = common(table, len(data["X"]), seed)
    for method, setting, model in methods(table, data["y"], options):
        if (table, row, seed, method, str(setting)) in done:
            continue
        if method == "oracle" and data["wrong"].all():
            continue
        start = time.perf_counter()
        rows = ~data["wrong"] if method == "oracle" else slice(None)
        model.fit(data["X"][rows], data["y"][rows])
        found = error(table, model, data["X_test"], data["truth"])
        seconds = time.perf_counter() - start
        wanted = cross_validate and method.startswith("MoM") and setting != ""
        score = chosen_by(table, model, data) if wanted else ""
        values = (table, row, seed, method, setting, found, score, round(seconds, 2))
        yield dict(zip(FIELDS, values, strict=True))


# -- results ---------------------------------------------------------------------------


def best(found: pd.DataFrame, table: int, by: str) -> pd.DataFrame:
    """Keep the best setting of each method and data set, by its error or its score."""
    higher = by == "chosen_by" or table == 6
    keys = ["row", "seed", "method"]
    ranked = found.sort_values(by, ascending=not higher, kind="stable")
    return ranked.drop_duplicates(keys)


def summarize(found: pd.DataFrame, table: int) -> str:
    """Write one table: mean errors, and beside the paper in the paper's unit."""
    here = found[found["table"] == table]
    if here.empty:
        return ""
    rows = [row for row in ROWS[table] if row in set(here["row"])]
    names = list(dict.fromkeys(here["method"]))
    mean = best(here, table, "error").pivot_table("error", "row", "method", sort=False)
    mean = mean.reindex(index=rows, columns=names)
    scored = here[here["chosen_by"].notna()]
    if len(scored):
        chosen = best(scored, table, "chosen_by")
        chosen = chosen.pivot_table("error", "row", "method", sort=False)
        mean = mean.join(chosen.add_suffix(", cross-validated b"))
    digits = 1 if table == 6 else 3
    seeds = here.groupby("row")["seed"].nunique().reindex(rows)
    what = "Accuracy in per cent" if table == 6 else "Error over the truth's variance"
    parts = [f"## Table {table}", "", f"{what}; best setting on the test rows, "]
    parts[-1] += f"mean over data sets ({seeds.min()} to {seeds.max()} in a row)."
    parts += ["", markdown(mean, digits), ""]
    theirs = paper(table).loc[rows].add_prefix("paper ")
    if table == 6:
        return "\n".join([*parts, "The paper:", "", markdown(theirs, 1), ""])
    unit = mean.loc["100 %", "MoM increment"]
    parts += ["In multiples of median of means (increment) on clean data:", ""]
    return "\n".join([*parts, markdown((mean / unit).join(theirs), 2), ""])


def markdown(table: pd.DataFrame, digits: int) -> str:
    """Format a table."""
    lines = ["| | " + " | ".join(table.columns) + " |"]
    lines.append("|" + " --- |" * (1 + len(table.columns)))
    for name, values in table.iterrows():
        cells = ["" if pd.isna(v) else f"{v:.{digits}f}" for v in values]
        lines.append("| " + " | ".join([str(name), *cells]) + " |")
    return "\n".join(lines)


def report() -> str:
    """Write mom.md from mom.csv and return it."""
    found = pd.read_csv(RESULTS / "mom.csv", dtype={"setting": str})
    head = (
        "# Tables 3 to 6 of the DeepMoM paper\n\nMade by `tables_mom.py`, see there.\n"
    )
    text = "\n".join([head, *(summarize(found, table) for table in (3, 4, 5, 6))])
    (RESULTS / "mom.md").write_text(text)
    return text


def run(options: argparse.Namespace) -> None:
    """Fit what has not been fitted, writing each result as it comes."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "mom.csv"
    done = set()
    if path.exists():
        old = pd.read_csv(path, dtype={"setting": str}, keep_default_na=False)
        done = set(old[FIELDS[:5]].itertuples(index=False, name=None))
    seeds = options.seeds or (5 if options.quick else 20)
    with path.open("a", newline="") as file:
        out = csv.DictWriter(file, FIELDS)
        if not done:
            out.writeheader()
        for seed in range(seeds):
            for table in options.table or (3, 6, 4, 5):
                for row in ROWS[table]:
                    for line in cell(table, row, seed, done, not options.no_cv):
                        out.writerow(line)
                        file.flush()
                report()
    print(report())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=int, choices=(3, 4, 5, 6), action="append")
    parser.add_argument("--quick", action="store_true", help="5 data sets, not 20")
    parser.add_argument("--seeds", type=int, help="another number of data sets")
    parser.add_argument(
        "--no-cv", action="store_true", help="leave out the choice of b"
    )
    run(parser.parse_args())
