"""Laws of the generators: what is drawn, what is corrupted, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from skrobust.datasets import make_signs, make_spirals, make_teacher_regression

TEACHER = {"n_samples": 200, "n_features": 7, "n_hidden_layers": 2, "width": 9}
CASES = [
    (make_teacher_regression, {**TEACHER, "corruption": "outputs"}),
    (make_teacher_regression, {**TEACHER, "corruption": "inputs"}),
    (make_spirals, {"n_samples": 203, "corruption": "labels"}),
    (make_spirals, {"n_samples": 203, "corruption": "inputs", "shuffle": False}),
    (make_signs, {"n_samples": 60, "task": "classification"}),
    (make_signs, {"n_samples": 60, "task": "regression", "shift": 2}),
    (make_signs, {"n_samples": 60, "task": "regression", "shift": 0.5}),
]
MAKERS = (make_teacher_regression, make_spirals, make_signs)
IDS = [f"{f.__name__}-{i}" for i, (f, _) in enumerate(CASES)]


@pytest.mark.parametrize("make, options", CASES, ids=IDS)
def test_one_seed_is_one_draw(make, options):
    first = make(**options, contamination=0.3, random_state=5)
    second = make(**options, contamination=0.3, random_state=5)
    other = make(**options, contamination=0.3, random_state=6)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("make, options", CASES, ids=IDS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1.0])
def test_exactly_the_masked_rows_differ_from_the_clean_draw(make, options, share):
    X, y, truth, corrupted = make(**options, contamination=share, random_state=1)
    X0, y0, truth0, none = make(**options, contamination=0.0, random_state=1)
    np.testing.assert_array_equal(truth, truth0)
    assert corrupted.sum() == round(share * len(X)) and not none.any()
    np.testing.assert_array_equal((X != X0).any(1) | (y != y0), corrupted)


@pytest.mark.parametrize("make, options", CASES, ids=IDS)
def test_more_contamination_adds_rows_and_drops_none(make, options):
    few = make(**options, contamination=0.1, random_state=2)
    many = make(**options, contamination=0.3, random_state=2)
    assert (few[3] <= many[3]).all()
    np.testing.assert_array_equal(few[1][few[3]], many[1][few[3]])
    np.testing.assert_array_equal(few[0][few[3]], many[0][few[3]])


@pytest.mark.parametrize("size", [(1000, 5, 50), (300, 10, 20)])
def test_the_teacher_is_as_the_paper_says(size):
    n, depth, width = size
    X, y, truth, _ = make_teacher_regression(
        n, n_hidden_layers=depth, width=width, random_state=0
    )
    assert X.shape == (n, 50) and y.shape == truth.shape == (n,)
    np.testing.assert_allclose(np.square(X).sum(0), 1)
    assert stats.kstest(X.ravel() * np.sqrt(n), "norm").pvalue > 0.01
    noise = y - truth
    assert stats.kstest(noise / noise.std(), "norm").pvalue > 0.01
    assert np.isclose(truth.var() / noise.var(), 10)


def test_corrupted_outputs_lie_three_to_five_maxima_away():
    _, y, truth, wrong = make_teacher_regression(
        5000, 3, n_hidden_layers=1, width=5, contamination=0.5, random_state=0
    )
    away = (y - truth)[wrong] / abs(truth).max()
    assert away.min() >= 3 and away.max() <= 5
    assert stats.kstest(away, "uniform", args=(3, 2)).pvalue > 0.01


@pytest.mark.parametrize("df", [1, 10])
def test_heavy_tailed_noise_is_everywhere_and_of_the_stated_law(df):
    X, y, truth, wrong = make_teacher_regression(
        4000, 3, corruption="noise", df=df, random_state=0
    )
    assert wrong.all()
    assert stats.kstest(y - truth, "t", args=(df,)).pvalue > 0.01


@pytest.mark.parametrize("make", [make_teacher_regression, make_spirals])
def test_corrupted_inputs_move_by_a_standard_normal(make):
    X, y, truth, wrong = make(
        4000, corruption="inputs", contamination=0.5, random_state=3
    )
    X0, y0, *_ = make(4000, random_state=3)
    np.testing.assert_array_equal(y, y0)
    moved = (X - X0)[wrong].ravel()
    assert stats.kstest(moved, "norm").pvalue > 0.01


def test_spirals_have_even_arms_of_the_stated_shape():
    X, y, truth, _ = make_spirals(1000, noise=0.0, shuffle=False)
    assert X.max() == 1 and (np.bincount(truth) == 200).all()
    np.testing.assert_array_equal(y, truth)
    radius = np.hypot(*X.T)
    scale = radius[0] / 0.05
    for arm in range(5):
        rows = np.flatnonzero(truth == arm)
        step = 0.95 / 200 * scale
        np.testing.assert_allclose(np.diff(radius[rows]), step, rtol=1e-6)
        angle = np.unwrap(np.arctan2(*X[rows].T))
        np.testing.assert_allclose(np.diff(angle), 3.7 / 200, rtol=1e-6)
        start = 3.7 * arm
        assert np.isclose(np.exp(1j * angle[0]), np.exp(1j * start))


def test_scaling_turns_no_spiral_round():
    for seed in range(30):  # of which some lie left below
        X = make_spirals(1, noise=3.0, random_state=seed)[0][0]
        angle = 3.0 * np.random.RandomState(seed).standard_normal()
        assert (np.sign(X) == np.sign([np.sin(angle), np.cos(angle)])).all()


def test_wrong_spiral_labels_are_spread_over_the_other_arms():
    _, y, truth, wrong = make_spirals(5000, contamination=0.8, random_state=0)
    step = ((y - truth) % 5)[wrong]
    assert stats.chisquare(np.bincount(step, minlength=5)[1:]).pvalue > 0.01


def test_signs_are_the_theorems_examples():
    X, y, truth, wrong = make_signs(task="classification", random_state=0)
    np.testing.assert_array_equal(X[:, 0], truth)
    np.testing.assert_array_equal(y, np.where(wrong, -truth, truth))
    assert set(X[:, 0]) == {-1, 1} and wrong.sum() == 5 and y.dtype.kind == "i"
    _, y, truth, wrong = make_signs(60, shift=2, random_state=0)
    np.testing.assert_array_equal(y, np.where(wrong, -truth, truth))
    _, y, truth, wrong = make_signs(60, shift=0.5, random_state=0)
    assert set(np.round((y - truth)[wrong], 9)) == {-0.5, 0.5}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("make", [make_teacher_regression, make_spirals, make_signs])
def test_tiny_draws_are_finite(make, n):
    for share in (0.0, 1.0):
        X, y, truth, wrong = make(n, contamination=share, random_state=0)
        assert len(X) == len(y) == len(truth) == len(wrong) == n
        assert np.isfinite(X).all() and np.isfinite(y).all()
        assert wrong.sum() == share * n


@pytest.mark.parametrize(
    "make, options",
    [
        (make_teacher_regression, {"n_samples": 0}),
        (make_teacher_regression, {"n_hidden_layers": 1.5}),
        (make_teacher_regression, {"width": True}),
        (make_teacher_regression, {"signal_to_noise": 0}),
        (make_teacher_regression, {"df": -1}),
        (make_teacher_regression, {"corruption": "labels"}),
        (make_teacher_regression, {"contamination": 1.1}),
        (make_spirals, {"n_classes": 1}),
        (make_spirals, {"noise": -0.1}),
        (make_spirals, {"corruption": "outputs"}),
        (make_spirals, {"contamination": float("nan")}),
        (make_signs, {"task": "clustering"}),
        (make_signs, {"shift": "2"}),
        (make_signs, {"task": np.array(["a", "b"])}),
        (make_spirals, {"noise": np.array([1, 2])}),
        (make_spirals, {"noise": False}),
        (make_signs, {"contamination": np.array([0.1, 0.2])}),
        *[(f, {"contamination": b}) for f in MAKERS for b in (False, True, None)],
    ],
)
def test_impossible_settings_are_refused_by_name(make, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}' parameter of {make.__name__}"):
        make(**options)
