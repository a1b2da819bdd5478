"""Samples of the simulations in the papers, with the corruptions studied there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from ._words import is_count, is_number, parameter_error

Array = NDArray[Any]
Draw = tuple[Array, Array, Array, Array]
RandomState = int | np.random.RandomState | None


def make_teacher_regression(
    n_samples: int = 1000,
    n_features: int = 50,
    *,
    n_hidden_layers: int = 5,
    width: int = 50,
    signal_to_noise: float = 10.0,
    corruption: str = "outputs",
    contamination: float = 0.0,
    df: float = 1.0,
    random_state: RandomState = None,
) -> Draw:
    """Draw outputs of a random ReLU network, some rows of which are corrupted.

    Inputs are standard normal with columns scaled to length one. Weights and biases
    of the network are uniform on [-1, 1]. The noise is normal.

    One seed draws the same inputs, network and noise whatever the corruption, and a
    higher `contamination` adds corrupted rows to those of a lower one. So a second
    call with ``contamination=0.0`` gives the clean version of the same data.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows. The source trains on the first half and tests on the second.
    n_features : int, default=50
        Number of inputs.
    n_hidden_layers : int, default=5
        Hidden layers of the network.
    width : int, default=50
        Units in each of them. Tables 3 to 5 of the source have (n_samples,
        n_hidden_layers, width) of (1000, 5, 50), (1600, 10, 20) and (2000, 7, 30).
    signal_to_noise : float, default=10.0
        Variance of the network's outputs over that of the noise, exact in the
        sample. The source says ratio and not of what.
    corruption : {'outputs', 'noise', 'inputs'}, default='outputs'
        What is wrong. 'outputs': the noise of some rows is uniform between three and
        five times the largest absolute output of the network. 'noise': that of every
        row is drawn from a t distribution, unscaled. 'inputs': standard normal values
        are added to the inputs of some rows, after their output was computed; they
        are about ``sqrt(n_samples)`` times as large as the inputs.
    contamination : float, default=0.0
        Share of corrupted rows, in [0, 1]; exact up to rounding. 'noise' does not
        use it.
    df : float, default=1.0
        Degrees of freedom of the t distribution of 'noise'; 1 is Cauchy's, and the
        source also uses 10.
    random_state : int, RandomState instance or None, default=None
        Source of all draws.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Inputs as the learner sees them.
    y : ndarray of shape (n_samples,)
        Outputs as the learner sees them.
    truth : ndarray of shape (n_samples,)
        Outputs of the network for the uncorrupted inputs, without noise.
    corrupted : ndarray of shape (n_samples,), dtype bool
        Which rows were corrupted: all with 'noise'.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    S.-T. Huang and J. Lederer, "DeepMoM: Robust Deep Learning With Median-of-Means",
    2022, section 5.2.

    Examples
    --------
    >>> from skrobust.datasets import make_teacher_regression
    >>> X, y, truth, corrupted = make_teacher_regression(
    ...     200, contamination=0.25, random_state=0
    ... )
    >>> X.shape, int(corrupted.sum())
    ((200, 50), 50)
    >>> bool((y - truth)[corrupted].min() > 2.9 * abs(truth).max())
    True
    """
    name = "make_teacher_regression"
    counts = {"n_samples": n_samples, "n_features": n_features, "width": width}
    _require_counts(name, 1, n_hidden_layers=n_hidden_layers, **counts)
    _require(
        name,
        signal_to_noise=(signal_to_noise, _is_positive(signal_to_noise), "positive"),
        df=(df, _is_positive(df), "positive"),
        corruption=_among(corruption, ("outputs", "noise", "inputs")),
        contamination=_share(contamination),
    )
    rng = check_random_state(random_state)
    X = rng.standard_normal((n_samples, n_features))
    X /= np.linalg.norm(X, axis=0)
    truth = _teach(X, (n_features, *[width] * n_hidden_layers, 1), rng)
    noise = rng.standard_normal(n_samples)
    noise *= truth.std() / max(noise.std(), 1e-300) / np.sqrt(signal_to_noise)
    corrupted = _pick(n_samples, 1.0 if corruption == "noise" else contamination, rng)
    # drawn for every row, so that the rows' share does not change the draws
    if corruption == "noise":
        noise = rng.standard_t(df, n_samples)
    if corruption == "outputs":
        gross = rng.uniform(3, 5, n_samples) * np.abs(truth).max()
        noise[corrupted] = gross[corrupted]
    if corruption == "inputs":
        X[corrupted] += rng.standard_normal(X.shape)[corrupted]
    return X, truth + noise, truth, corrupted


def _teach(X: Array, sizes: Sequence[int], rng: np.random.RandomState) -> Array:
    """Run X through a random network; one that is constant on X is drawn again."""
    for _ in range(100):
        values = X
        for layer, shape in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            values = np.maximum(values, 0) if layer else values
            values = values @ rng.uniform(-1, 1, shape) + rng.uniform(-1, 1, shape[1])
        if len(X) == 1 or np.ptp(values) > 0:
            break
    return values[:, 0]


def make_spirals(
    n_samples: int = 1000,
    *,
    n_classes: int = 5,
    noise: float = 0.25,
    corruption: str = "labels",
    contamination: float = 0.0,
    shuffle: bool = True,
    random_state: RandomState = None,
) -> Draw:
    """Draw points on the arms of a spiral, some rows of which are corrupted.

    Along arm j = 0, 1, ... radius and angle grow evenly, from 0.05 to 1 and from
    3.7 j to 3.7 (j + 1); the angle has normal noise. All is then divided by the largest
    coordinate, so that it is 1. One seed draws the same points whatever the
    corruption, and ``contamination=0.0`` gives the clean version of the same data.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows, dealt to the arms as evenly as can be.
    n_classes : int, default=5
        Number of arms.
    noise : float, default=0.25
        Standard deviation of the angle, in radians. The source's notation leaves open
        whether 0.25 is this or the variance; with the latter neighbouring arms
        would overlap more than the accuracies that it reports allow.
    corruption : {'labels', 'inputs'}, default='labels'
        What is wrong: 'labels' gives rows the label of another arm, 'inputs' adds
        standard normal values to their coordinates.
    contamination : float, default=0.0
        Share of corrupted rows, in [0, 1]; exact up to rounding.
    shuffle : bool, default=True
        Whether to shuffle the rows, which are sorted by arm otherwise.
    random_state : int, RandomState instance or None, default=None
        Source of all draws.

    Returns
    -------
    X : ndarray of shape (n_samples, 2)
        Points as the learner sees them.
    y : ndarray of shape (n_samples,)
        Labels as the learner sees them.
    truth : ndarray of shape (n_samples,)
        Uncorrupted labels.
    corrupted : ndarray of shape (n_samples,), dtype bool
        Which rows were corrupted.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    S.-T. Huang and J. Lederer, "DeepMoM: Robust Deep Learning With Median-of-Means",
    2022, section 5.3.

    Examples
    --------
    >>> from skrobust.datasets import make_spirals
    >>> X, y, truth, corrupted = make_spirals(100, contamination=0.1, random_state=0)
    >>> X.shape, int((y != truth).sum())
    ((100, 2), 10)
    """
    name = "make_spirals"
    _require_counts(name, 1, n_samples=n_samples)
    _require_counts(name, 2, n_classes=n_classes)
    _require(
        name,
        noise=(noise, _is_zero(noise) or _is_positive(noise), "at least 0"),
        corruption=_among(corruption, ("labels", "inputs")),
        contamination=_share(contamination),
    )
    rng = check_random_state(random_state)
    truth = np.sort(np.arange(n_samples) % n_classes)
    first = np.searchsorted(truth, truth)
    along = (np.arange(n_samples) - first) / np.bincount(truth)[truth]
    angle = 3.7 * (truth + along) + noise * rng.standard_normal(n_samples)
    X = (0.05 + 0.95 * along)[:, None] * np.column_stack([np.sin(angle), np.cos(angle)])
    X /= np.abs(X).max() if X.max() <= 0 else X.max()
    order = rng.permutation(n_samples)
    if shuffle:
        X, truth = X[order], truth[order]
    y, corrupted = truth.copy(), _pick(n_samples, contamination, rng)
    if corruption == "labels":
        other = truth + rng.randint(1, n_classes, n_samples)
        y[corrupted] = (other % n_classes)[corrupted]
    else:
        X[corrupted] += rng.standard_normal(X.shape)[corrupted]
    return X, y, truth, corrupted


def make_signs(
    n_samples: int = 15,
    *,
    task: str = "regression",
    contamination: float = 1 / 3,
    shift: float = 1.0,
    random_state: RandomState = None,
) -> Draw:
    """Draw the one-dimensional examples that MR is analysed on.

    Inputs are +-1 with equal probability and targets equal them, so the true slope
    through the origin is 1. Corrupted rows have the other label, or a target that is
    off by +-`shift`.

    Parameters
    ----------
    n_samples : int, default=15
        Number of rows.
    task : {'regression', 'classification'}, default='regression'
        'classification' flips the labels of the corrupted rows (Lemmas 5 to 7 and
        Theorem 8 of the source), 'regression' shifts their targets (Theorem 9).
    contamination : float, default=1/3
        Share of corrupted rows, in [0, 1]; exact up to rounding. The theorems need
        less than a half.
    shift : float, default=1.0
        Distance of a corrupted target of a regression from its true value. With 2
        all shifts point to the other label, so that this is label flipping;
        otherwise their direction is drawn.
    random_state : int, RandomState instance or None, default=None
        Source of all draws.

    Returns
    -------
    X : ndarray of shape (n_samples, 1)
        Inputs, -1 or 1.
    y : ndarray of shape (n_samples,)
        Targets as the learner sees them; int labels for 'classification'.
    truth : ndarray of shape (n_samples,)
        Uncorrupted targets.
    corrupted : ndarray of shape (n_samples,), dtype bool
        Which rows were corrupted.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    N. Bar, T. Koren and R. Giryes, "Multiplicative Reweighting for Robust Neural
    Network Optimization", section 4.2.

    Examples
    --------
    >>> from skrobust.datasets import make_signs
    >>> X, y, truth, corrupted = make_signs(random_state=0)
    >>> bool((abs(y - truth) == corrupted).all())
    True
    """
    name = "make_signs"
    _require_counts(name, 1, n_samples=n_samples)
    _require(
        name,
        task=_among(task, ("regression", "classification")),
        contamination=_share(contamination),
        shift=(shift, _is_positive(shift), "positive"),
    )
    rng = check_random_state(random_state)
    truth = 2 * rng.randint(2, size=n_samples) - 1
    corrupted = _pick(n_samples, contamination, rng)
    X = truth[:, None].astype(float)
    if task == "classification":
        return X, np.where(corrupted, -truth, truth), truth, corrupted
    sign = -truth if shift == 2 else 2 * rng.randint(2, size=n_samples) - 1
    return X, truth + shift * sign * corrupted, truth.astype(float), corrupted


def _pick(n_samples: int, share: float, rng: np.random.RandomState) -> Array:
    """Mask of rows drawn at random; a higher share adds rows and drops none."""
    rows = rng.permutation(n_samples)[: round(share * n_samples)]
    return np.isin(np.arange(n_samples), rows)


Check = tuple[Any, bool, str]


def _is_positive(value: Any) -> bool:
    return is_number(value) and 0 < float(value) < np.inf


def _is_zero(value: Any) -> bool:
    return is_number(value) and float(value) == 0


def _share(value: Any) -> Check:
    ok = _is_zero(value) or (_is_positive(value) and value <= 1)
    return value, ok, "a float in the range [0, 1]"


def _among(value: Any, options: Sequence[str]) -> Check:
    ok = isinstance(value, str) and value in options
    return value, ok, f"a str among {list(options)}"


def _require_counts(owner: str, low: int, **values: Any) -> None:
    for name, value in values.items():
        expected = f"an int in the range [{low}, inf)"
        _require(owner, **{name: (value, is_count(value, low), expected)})


def _require(owner: str, **checks: Check) -> None:
    for name, (value, ok, expected) in checks.items():
        if not ok:
            raise parameter_error(name, owner, expected, value)
