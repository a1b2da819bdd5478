"""Detectors on the ODDS sets: chapters 2 and 3 of B. Liu's dissertation, with peers.

The dissertation is "Robust Learning of Deep Neural Networks under Data Corruption",
2022. Random split of 60 % to 40 %, contaminated training, everything fitted on the
training part alone, one default for all sets. Area under the ROC curve (AUC) and
average precision on the 40 %, seeds 5 to 9, which nobody used to choose a default.

    python benchmarks/tables_odds.py                     # everything, several hours
    python benchmarks/tables_odds.py --study main --methods classical --seeds 5 6
    python benchmarks/tables_odds.py --sets vowels thyroid --methods IForest
    python benchmarks/tables_odds.py --report            # tables and figures only

Each fit is written to benchmarks/results/odds.csv when it ends, and a cell that is
there is not run again, so a run may be stopped and taken up at any time. ``--report``
makes odds.md (Tables 2.1, 2.2, 2.3 and 3.1) and the figures 2.3, 2.4 and 3.4 to 3.6
from what is there. Two studies are ours: rare classes of other tables, and codes for
missing values taken for numbers.

It needs the data home (environment variable SKROBUST_DATA), and for most peers PyOD
(``pip install -e ".[peers]"``); without it those methods are left out.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _harness import one_thread
from _odds_data import IMAGES, SETS, TABLES, prepare
from _odds_methods import GROUPS, METHODS
from _odds_report import report
from sklearn.metrics import average_precision_score, roc_auc_score

RESULTS = Path(__file__).parent / "results"
FIELDS = (
    "study set setting method seed auc average_precision epsilon "
    "n_train n_test n_outliers seconds"
).split()


class Cell(NamedTuple):
    """One fit: what is done to the data, on which set, by whom."""

    study: str
    set: str
    setting: float
    method: str
    seed: int

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from other cells, as it is stored."""
        return tuple(map(str, self))


def settings(study: str) -> tuple[float, ...]:
    """Return what a study varies."""
    return {
        "main": (0.0,),
        "missing": (0.1, 0.2, 0.3, 0.4, 0.5),  # share of values lost
        "epsilon": (-0.1, -0.05, 0.05, 0.1),  # added to the true ratio
        "images_epsilon": (0.05, 0.075, 0.1, 0.125, 0.15, 0.2),  # told; true is 0.1
        "images_ratio": (0.1, 0.2, 0.3, 0.4),  # true
        "classes": (0, 1),  # which classes are fine
        "codes": (0.01, 0.03),  # share of the training part's values
    }[study]


ASKED = {  # groups that take part in a study
    "main": ("classical", "rca", "flows", "many", "deep"),
    "missing": ("missing",),
    "epsilon": ("told",),
    "images_epsilon": ("robust",),
    "images_ratio": ("images",),
    "classes": ("classes",),
    "codes": ("codes",),
}
STUDIES = tuple(ASKED)
ON = {"images_epsilon": IMAGES, "images_ratio": IMAGES, "classes": TABLES}  # else SETS


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Go through what is asked for: a method on all sets and seeds, then the next."""
    for study in options.study or STUDIES:
        names = options.sets or ON.get(study, SETS)
        wanted = options.methods or ASKED[study]
        methods = [m for w in wanted for m in GROUPS.get(w, (w,))]
        for seed in options.seeds:
            for method in dict.fromkeys(methods):
                for name in names:
                    for setting in settings(study):
                        yield Cell(study, name, setting, method, seed)


def run(cell: Cell) -> dict[str, object]:
    """Fit one detector and score the test part; CPU seconds."""
    data = prepare(cell.study, cell.set, cell.setting, cell.seed)
    start = time.process_time()
    score = METHODS[cell.method](data.train, data.epsilon, cell.seed)
    found = np.nan_to_num(score(data.test), posinf=1e300, neginf=-1e300)
    seconds = time.process_time() - start
    either = 0 < data.odd.sum() < len(data.odd)
    return cell._asdict() | {
        "auc": round(roc_auc_score(data.odd, found), 5) if either else "",
        "average_precision": (
            round(average_precision_score(data.odd, found), 5) if either else ""
        ),
        "epsilon": round(data.epsilon, 5),
        "n_train": len(data.train),
        "n_test": len(data.test),
        "n_outliers": int(data.odd.sum()),
        "seconds": round(seconds, 3),
    }


def run_missing(asked: list[Cell], store: Path) -> None:
    """Run the cells that the store lacks, and append each to it."""
    fresh = not store.exists()
    with store.open("a+", newline="") as file:
        file.seek(0)
        done = {tuple(row[k] for k in Cell._fields) for row in csv.DictReader(file)}
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        left = [cell for cell in asked if cell.key not in done]
        print(f"{len(asked) - len(left)} cells are there, {len(left)} to run")
        absent: set[str] = set()
        for cell in left:
            if cell.method in absent:
                continue
            try:
                row = run(cell)
            except ModuleNotFoundError as error:
                absent.add(cell.method)
                print(f"{cell.method} is left out: {error}")
                continue
            writer.writerow(row)
            file.flush()
            print(*cell, row["auc"], f"{row['seconds']} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", choices=STUDIES, nargs="+")
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5, 10))
    parser.add_argument("--methods", nargs="+", help=f"names, or {', '.join(GROUPS)}")
    parser.add_argument("--report", action="store_true", help="only make the tables")
    parser.add_argument("--store", type=Path, default=RESULTS / "odds.csv")
    options = parser.parse_args()
    one_thread()
    warnings.simplefilter("ignore")
    if not options.report:
        run_missing(list(cells(options)), options.store)
    report(options.store)
