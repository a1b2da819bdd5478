"""PRL beside every baseline on real data under the papers' corruptions.

The analogue of Tables 1 and 2 of the PRL paper, "Provable Robust Learning for Deep
Neural Networks under Agnostic Corrupted Supervision" (4.1, 4.2 and 4.5 of B. Liu's
dissertation, 2022), on tables of numbers. Every method gets the same network and the
true corruption rate where it takes one; "oracle" is the plain network trained on the
uncorrupted rows alone, the ceiling. Of regressors some also run as they come, named
with "()", beside an oracle that does. Scores are those of clean test rows after the
last epoch: accuracy in per cent, or R2. "mom()" is `MoMRegressor()`, which is told
nothing of the rate.

    python benchmarks/tables_prl.py                    # everything, some hours
    python benchmarks/tables_prl.py --quick            # a glance, some minutes
    python benchmarks/tables_prl.py --task lakes

It needs the data home (environment variable SKROBUST_DATA) and writes
benchmarks/results/prl_<task>.csv, one row a fit, and .md, the table. With ``--resume``
fits that the file holds are not run again.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skrobust import MoMRegressor, PRLRegressor, corruption
from skrobust.datasets import fetch_classification, fetch_regression
from skrobust.recipes import make_baselines, standard

RESULTS = Path(__file__).parent / "results"

# Defaults were chosen on the sets in CHOSEN_ON; the table says so.
CLASSIFICATION = ("digits", "segmentation", "satimage", "letter", "pendigits")
REGRESSION = ("concrete", "airfoil", "wine_red", "power_plant", "california_housing")
LAKES = ("lagos_tp", "lagos_tn")
CHOSEN_ON = {"digits", "concrete", "airfoil", "wine_red", "california_housing"}

LABEL_NOISE = [("symmetric", r) for r in (0.0, 0.2, 0.4, 0.6)] + [
    ("pairflip", r) for r in (0.2, 0.4)
]
TARGET_NOISE = [
    (name, rate)
    for name in ("linadv", "signflip", "uninoise", "target_shuffle", "mixture")
    for rate in (0.1, 0.2, 0.3, 0.4)
]
LAKE_NOISE = [(n, r) for n in ("maximum", "linadv") for r in (0.05, 0.15, 0.25)]
# Every method trains alike: for so long, in batches of so many rows. Those named with
# "()" do as they come, which for regressors is longer where rows are few.
TRAINING = {
    "classification": {"max_iter": 60},
    "regression": {
        "max_iter": 200,
        "batch_size": 256,
        "learning_rate": "constant",
        "learning_rate_init": 1e-3,
        "n_iter_no_change": 10,
    },
}
AS_THEY_COME = ("prl_l", "prl_g", "co_prl")
CAPS = {"classification": 3000, "regression": 1000, "lakes": 4000}


def load(task: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Load a set, shuffled and cut to its cap; lakes with logarithmic targets."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
    elif task == "classification":
        X, y = fetch_classification(name, return_X_y=True)
    else:
        X, y = fetch_regression(name, return_X_y=True)
    rows = np.random.RandomState(0).permutation(len(X))[: CAPS[task]]
    X, y = X[rows].astype(np.float32), y[rows]
    return X, np.log(y + 1e-3) if task == "lakes" else y


def split(task: str, name: str, seed: int) -> tuple[np.ndarray, ...]:
    """Return train and test rows, numbers standardised by the clean training rows."""
    X, y = load(task, name)
    classes = task == "classification"
    Xt, Xe, yt, ye = train_test_split(
        X, y, test_size=0.33, random_state=seed, stratify=y if classes else None
    )
    if not classes:
        center, scale = yt.mean(), yt.std()
        yt, ye = (yt - center) / scale, (ye - center) / scale
    return Xt, Xe, yt, ye


def one_cell(
    task: str,
    name: str,
    noise: str,
    rate: float,
    seed: int,
    done: frozenset[str],
    asked: frozenset[str],
) -> list[dict]:
    """Fit methods once on one corrupted training set: those asked for, not yet done."""
    warnings.simplefilter("ignore")
    Xt, Xe, yt, ye = split(task, name, seed)
    corrupt = getattr(corruption, noise)
    scaled = StandardScaler().fit_transform(Xt)
    y, wrong = corrupt(yt, rate, X=scaled, random_state=seed)
    kind = "classification" if task == "classification" else "regression"
    common = {"random_state": seed, **TRAINING[kind]}
    methods = {"oracle": standard(kind, **common)}
    methods |= make_baselines(kind, rate, **common)
    if kind == "regression":
        for model in methods.values():
            if isinstance(model, PRLRegressor):  # their own safeguards
                model.set_params(clip_norm=None, reach=None, spare=None)
        as_they_come = make_baselines(kind, rate, random_state=seed)
        methods["oracle()"] = standard(kind, random_state=seed)
        methods |= {f"{name}()": as_they_come[name] for name in AS_THEY_COME}
        methods["mom()"] = MoMRegressor(random_state=seed)
    measure = accuracy_score if kind == "classification" else r2_score
    rows = []
    for method, model in methods.items():
        if method in done or (asked and method not in asked):
            continue
        oracle = method.startswith("oracle")
        clean = ~wrong if oracle else slice(None)
        start = time.perf_counter()
        model.fit(Xt[clean], (yt if oracle else y)[clean])
        seconds = time.perf_counter() - start
        score = measure(ye, model.predict(Xe))
        rows.append(
            {
                "set": name,
                "noise": noise,
                "rate": rate,
                "seed": seed,
                "method": method,
                "score": score * (100 if kind == "classification" else 1),
                "seconds": seconds,
            }
        )
    return rows


def summary(found: pd.DataFrame, task: str) -> str:
    """Write means by corruption, by data set, and what is lost to the oracle by rate.

    The losses compare the same rows, corruptions and seeds, as many as a method has.
    """
    order = list(dict.fromkeys(found["method"]))
    digits = 1 if task == "classification" else 3
    seeds = found.groupby("method")["seed"].nunique()
    counts = ", ".join(
        f"{n} of {' '.join(m for m in order if seeds[m] == n)}"
        for n in sorted(set(seeds), reverse=True)
    )
    alike = "" if seeds.nunique() == 1 else f"Seeds: {counts}.\n"
    parts = [f"# PRL and its baselines: {task} (seeds: {seeds.max()})", "", alike]
    for keys, title in ((["noise", "rate"], "By corruption"), (["set"], "By data set")):
        table = found.pivot_table("score", keys, "method", sort=False)[order]
        parts += [f"## {title} (mean over the rest)", "", to_markdown(table, digits)]
    cells = found.pivot_table("score", ["set", "noise", "rate", "seed"], "method")
    lost = pd.DataFrame(
        {
            name: cells["oracle()" if name.endswith("()") else "oracle"] - cells[name]
            for name in order
            if not name.startswith("oracle")
        }
    )
    lost = lost.groupby("rate").mean()
    parts += ["## Lost to the oracle, by rate", "", to_markdown(lost, digits)]
    chosen = sorted(CHOSEN_ON & set(found["set"]))
    where = ", ".join(chosen) or "none of these"
    return "\n".join([*parts, f"Defaults were chosen on: {where}.", ""])


def to_markdown(table: pd.DataFrame, digits: int) -> str:
    """Format a pivot table."""
    flat = table.reset_index()
    lines = ["| " + " | ".join(map(str, flat.columns)) + " |"]
    lines.append("|" + " --- |" * len(flat.columns))
    for row in flat.itertuples(index=False):
        cells = [f"{v:.{digits}f}" if c in table else f"{v}" for c, v in
                 zip(flat.columns, row, strict=True)]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def run(
    task: str,
    quick: bool,
    jobs: int,
    seeds: int | None,
    resume: bool,
    asked: frozenset[str] = frozenset(),
) -> None:
    """Run one task's cells and write its table; ``resume`` keeps what is stored."""
    sets = {"classification": CLASSIFICATION, "regression": REGRESSION, "lakes": LAKES}
    noise = {
        "classification": LABEL_NOISE,
        "regression": TARGET_NOISE,
        "lakes": LAKE_NOISE,
    }
    seeds = 1 if quick else seeds or (5 if task == "regression" else 3)
    stem = RESULTS / f"prl_{task}{'_quick' if quick else ''}"
    RESULTS.mkdir(exist_ok=True)
    found = pd.DataFrame()
    if resume and stem.with_suffix(".csv").exists():
        found = pd.read_csv(stem.with_suffix(".csv"))
    keys = ["set", "noise", "rate", "seed"]
    known: dict[tuple, set[str]] = {}
    for *cell, method in found[[*keys, "method"]].to_numpy() if len(found) else ():
        known.setdefault(tuple(cell), set()).add(method)
    cells = [
        (task, *cell, frozenset(known.get(cell, ())), asked)
        for cell in (
            (name, *corrupted, seed)
            for seed in range(seeds)
            for name in (sets[task][:2] if quick else sets[task])
            for corrupted in noise[task]
        )
    ]
    work = Parallel(jobs, return_as="generator", verbose=1)
    for rows in work(delayed(one_cell)(*cell) for cell in cells):
        found = pd.concat([found, pd.DataFrame(rows)], ignore_index=True)
        # written as they come, and beside what is there: a stop loses little
        part = stem.with_suffix(".part")
        found.round(5).to_csv(part, index=False)
        part.replace(stem.with_suffix(".csv"))
    stem.with_suffix(".md").write_text(summary(found, task))
    print(summary(found, task))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = ("classification", "lakes", "regression")
    parser.add_argument("--task", choices=tasks, action="append")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, help="default 3, of regression 5")
    parser.add_argument("--method", action="append", help="default all", default=[])
    parser.add_argument(
        "--resume", action="store_true", help="run only what is not stored"
    )
    options = parser.parse_args()
    for task in options.task or tasks:
        asked = frozenset(options.method)
        run(task, options.quick, options.jobs, options.seeds, options.resume, asked)
