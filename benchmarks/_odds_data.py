"""The ODDS sets, how they are split, and what the studies do to them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from skrobust.datasets import fetch_classification, fetch_outlier

Array = Any

SETS = (
    "glass ionosphere arrhythmia breastw pima vowels letter cardio musk thyroid "
    "optdigits satimage-2 satellite pendigits annthyroid mnist mammography shuttle"
).split()
IMAGES = ("cv_resnet18_cifar10_0", "cv_resnet18_cifar10_4")
TABLES = (
    "letter mnist pendigits satimage segmentation tcga_mirna6 cifar10n_hog "
    "adult eeg_eye_state"
).split()
NO_GLASS = [name for name in SETS if name != "glass"]  # it has four test outliers
TABLE_3_1 = [name for name in SETS if name not in ("breastw", "optdigits")]

CAP = 20_000  # rows of a set, drawn once: only shuttle has more
CODE = -9999.0  # what some tables have for a missing value
FEW = 4000  # rows of a table of classes, drawn for each seed


class Data(NamedTuple):
    """One split. ``epsilon`` is what a method that asks for the ratio is told."""

    train: Array
    test: Array
    odd: Array  # whether a test row is an outlier
    epsilon: float


@lru_cache(maxsize=4)
def load(name: str) -> tuple[Array, Array]:
    """Return rows and labels of a set, cut to `CAP` rows."""
    X, y = fetch_outlier(name, return_X_y=True)
    if len(X) > CAP:
        rows = np.random.RandomState(0).permutation(len(X))[:CAP]
        X, y = X[rows], y[rows]
    return X, y


def prepare(study: str, name: str, setting: float, seed: int) -> Data:
    """Return the split of one cell.

    The split is random and not stratified, 60 % to 40 %, so the training part is
    contaminated at the natural rate. The true ratio is that of the whole set, as in
    the papers.
    """
    X, y = rare_class(name, setting, seed) if study == "classes" else load(name)
    if study.startswith("images"):
        X, y = thin(X, y, setting if study == "images_ratio" else 0.1, seed)
    order = np.random.RandomState(seed).permutation(len(X))
    cut = round(0.6 * len(X))
    train, test, odd = X[order[:cut]], X[order[cut:]], y[order[cut:]] == 1
    epsilon = float(y.mean())
    if study == "missing":
        train, test = knock_out(train, test, setting, seed)
    elif study == "codes":
        hit = np.random.RandomState(2000 + seed).rand(*train.shape) < setting
        train = np.where(hit, CODE, train)
    elif study == "epsilon":
        epsilon = float(np.clip(epsilon + setting, 0, 0.5))
    elif study == "images_epsilon":
        epsilon = setting
    if study.startswith("images"):
        pca = PCA(128, random_state=0).fit(train)
        train, test = pca.transform(train), pca.transform(test)
    return Data(train, test, odd, epsilon)


def rare_class(name: str, setting: float, seed: int) -> tuple[Array, Array]:
    """Return rows of some classes with 5 % from all others, the outliers.

    The fine classes are the first third (``setting=0``) or one in the middle (1).
    """
    X, y = fetch_classification(name, return_X_y=True)
    kinds = np.unique(y)
    some = (
        kinds[: max(1, len(kinds) // 3)] if setting == 0 else [kinds[len(kinds) // 2]]
    )
    order = np.random.RandomState(100 + seed).permutation(len(X))
    fine = np.isin(y[order], some)
    rows = order[fine][: FEW - FEW // 20]
    odd = order[~fine][: len(rows) // 19]
    return np.r_[X[rows], X[odd]], np.repeat([0, 1], [len(rows), len(odd)])


def knock_out(
    train: Array, test: Array, ratio: float, seed: int
) -> tuple[Array, Array]:
    """Lose values at random; fill them by the means of the training part's rest."""
    rng = np.random.RandomState(1000 + seed)
    holes = [np.where(rng.rand(*X.shape) < ratio, np.nan, X) for X in (train, test)]
    means = np.nan_to_num(np.nanmean(holes[0], axis=0))
    first, second = (np.where(np.isnan(X), means, X) for X in holes)
    return first.astype(train.dtype), second.astype(test.dtype)


def thin(X: Array, y: Array, ratio: float, seed: int) -> tuple[Array, Array]:
    """Keep all outliers and as many other rows as give them this ratio."""
    odd = np.flatnonzero(y == 1)
    fine = np.random.RandomState(seed).permutation(np.flatnonzero(y == 0))
    rows = np.sort(np.r_[odd, fine[: round(len(odd) * (1 - ratio) / ratio)]])
    return X[rows], y[rows]
