"""Laws of the displays: what is drawn equals the numbers, and nothing else is drawn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

from skrobust import (
    NetOutlierDetector,
    PRLClassifier,
    PRLRegressor,
    RCAOutlierDetector,
    ReLUDistributionEstimator,
)
from skrobust.inspection import (
    KeptRowsDisplay,
    ScoreContourDisplay,
    ScoreHistogramDisplay,
    SensitivityDisplay,
    TrainingCurveDisplay,
)
from skrobust.rules import Trim
from skrobust.steps import Reweight

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


rng = np.random.default_rng(0)
X = np.r_[rng.normal(size=(57, 4)), rng.normal(9, 1, size=(3, 4))]
odd = np.arange(60) >= 57
y_class = (X[:, 0] > 0).astype(int)
small = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0}


@pytest.fixture(scope="module")
def detector():
    steps = (Reweight(Trim(0.1)),)
    return NetOutlierDetector(steps, contamination=0.05, **small).fit(X)


@pytest.fixture(scope="module")
def flat():  # two columns
    return NetOutlierDetector(code_size=1, **small).fit(X[:, :2])


# -- the protocol ------------------------------------------------------------------
def every_display(detector, flat, ax=None):
    net = PRLClassifier(**small)
    yield TrainingCurveDisplay.from_estimator(detector, ax=ax)
    yield ScoreHistogramDisplay.from_estimator(detector, X, ax=ax)
    yield KeptRowsDisplay.from_estimator(detector, X, ax=ax)
    yield ScoreContourDisplay.from_estimator(flat, X[:, :2], ax=ax)
    yield SensitivityDisplay.from_estimator(
        net, X, y_class, param_range=[0.0, 0.2], cv=2, ax=ax
    )


def test_displays_draw_on_the_axes_given_and_again_elsewhere(detector, flat):
    _, ax = plt.subplots()
    for display in every_display(detector, flat, ax):
        assert display.ax_ is ax and display.figure_ is ax.figure
        assert display.plot() is display
        assert display.ax_ is not ax and display.figure_ is display.ax_.figure
    for display in every_display(detector, flat):
        assert display.ax_ is not ax


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: make_pipeline(e)])
def test_unfitted_estimators_are_refused_before_a_figure_is_made(wrap):
    model = wrap(NetOutlierDetector())
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(model)
    with pytest.raises(NotFittedError):
        ScoreHistogramDisplay.from_estimator(model, X)
    with pytest.raises(NotFittedError):
        KeptRowsDisplay.from_estimator(model, X)
    with pytest.raises(NotFittedError):
        ScoreContourDisplay.from_estimator(model, X[:, :2])
    with pytest.raises(NotFittedError):
        SensitivityDisplay.from_search(GridSearchCV(model, {}))
    assert not plt.get_fignums()


def test_estimators_that_lack_the_numbers_are_refused_in_clear_words():
    line = LinearRegression().fit(X, y_class)
    with pytest.raises(ValueError, match="LinearRegression has no loss_curve_"):
        TrainingCurveDisplay.from_estimator(line)
    with pytest.raises(ValueError, match="LinearRegression has no inlier_mask_"):
        KeptRowsDisplay.from_estimator(line, X)
    with pytest.raises(ValueError, match="has no score_samples"):
        ScoreHistogramDisplay.from_estimator(line, X)
    with pytest.raises(ValueError, match="has no score_samples"):
        ScoreContourDisplay.from_estimator(
            LinearRegression().fit(X[:, :2], y_class), X[:, :2]
        )
    assert not plt.get_fignums()


def test_importing_the_displays_does_not_import_matplotlib_and_it_is_asked_for():
    code = (
        "import sys, skrobust.inspection as i\n"
        "assert not [m for m in sys.modules if m.startswith('matplotlib')]\n"
        "sys.modules['matplotlib'] = None\n"
        "try:\n"
        "    i.ScoreHistogramDisplay.from_predictions([1.0, 2.0])\n"
        "except ImportError as error:\n"
        "    assert 'from_predictions requires matplotlib' in str(error), error\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("kind", [bool, int, float, object, list])
def test_masks_may_hold_booleans_or_zeros_and_ones(kind):
    mask = odd.tolist() if kind is list else odd.astype(kind)
    shown = ScoreHistogramDisplay.from_predictions(X[:, 0], outlier_mask=mask)
    assert shown.outlier_counts.sum() == odd.sum()
    shown = KeptRowsDisplay.from_predictions(X, mask)
    assert (shown.inlier_mask == odd).all() and shown.inlier_mask.dtype == bool


@pytest.mark.parametrize(
    "mask", [np.where(odd, -1, 1), odd + 0.5, np.where(odd, np.nan, 1), odd.astype(str)]
)
def test_labels_are_not_taken_for_a_mask(mask):
    ask = r"must hold booleans, or 0 and 1 only.* 'predict\(X\) == {}'"
    with pytest.raises(ValueError, match=f"outlier_mask {ask.format(-1)}"):
        ScoreHistogramDisplay.from_predictions(X[:, 0], outlier_mask=mask)
    with pytest.raises(ValueError, match=f"inlier_mask {ask.format(1)}"):
        KeptRowsDisplay.from_predictions(X, mask)
    with pytest.raises(ValueError, match=f"inlier_mask {ask.format(1)}"):
        KeptRowsDisplay(points=X[:, :2], inlier_mask=mask)
    assert not plt.get_fignums()


def test_a_threshold_may_be_kept_in_an_array_of_one():
    model = OneClassSVM(nu=0.1).fit(X[:, :2])
    assert np.shape(model.offset_) == (1,)
    level = model.offset_[0]
    shown = ScoreContourDisplay.from_estimator(model, X[:, :2], grid_resolution=9)
    assert shown.threshold == level and shown.threshold_.levels == [level]
    shown = ScoreHistogramDisplay.from_estimator(model, X[:, :2])
    assert shown.threshold == level and np.ndim(shown.threshold) == 0
    assert np.ravel(shown.threshold_line_.get_xdata()[0]) == level
    with pytest.raises(ValueError, match=r"a single number, got shape \(2,\)"):
        ScoreHistogramDisplay.from_predictions(X[:, 0], threshold=[0.0, 1.0])


def named(ax):
    """All that is written in the legend and above the drawing."""
    legend = ax.get_legend()
    written = [text.get_text() for text in legend.get_texts()] if legend else []
    return [*written, ax.get_title()]


def named_displays(detector, flat):
    yield TrainingCurveDisplay.from_estimator(detector, name="ours")
    yield ScoreHistogramDisplay.from_estimator(detector, X, name="ours")
    scores = X[:, 0]
    yield ScoreHistogramDisplay.from_predictions(scores, name="ours")
    yield ScoreHistogramDisplay.from_predictions(scores, outlier_mask=odd, name="ours")
    yield KeptRowsDisplay.from_estimator(detector, X, name="ours")
    yield KeptRowsDisplay.from_predictions(X, ~odd, name="ours")
    yield ScoreContourDisplay.from_estimator(
        flat, X[:, :2], grid_resolution=5, name="ours"
    )
    net, grid = PRLClassifier(**small), [0.0, 0.2]
    yield SensitivityDisplay.from_estimator(
        net, X, y_class, param_range=grid, cv=2, name="ours"
    )
    search = GridSearchCV(net, {"epsilon": grid}, cv=2).fit(X, y_class)
    yield SensitivityDisplay.from_search(search, name="ours")


def test_displays_are_named_and_may_have_another_name_in_each_drawing(detector, flat):
    for display in named_displays(detector, flat):
        assert display.name == "ours"
        assert any("ours" in text for text in named(display.ax_)), display
        other = named(display.plot(name="theirs").ax_)
        assert any("theirs" in text for text in other), display
        assert not any("ours" in text for text in other), display
        assert display.name == "ours"
        plt.close("all")
    for display in every_display(detector, flat):
        known = type(display) is TrainingCurveDisplay
        assert display.name == ("NetOutlierDetector" if known else None)
        assert not any("None" in text for text in named(display.ax_)), display


@pytest.mark.parametrize("bins", [2.5, "auto", 0, -3, [3], [2, 1], [[1, 2]], None])
def test_what_makes_no_bins_is_refused_by_name(bins):
    with pytest.raises((TypeError, ValueError), match="bins"):
        ScoreHistogramDisplay.from_predictions(X[:, 0], bins=bins)
    assert not plt.get_fignums()


def test_what_makes_no_contours_is_refused_by_name(flat):
    whole = ScoreContourDisplay.from_estimator
    for bad in (0, 1, 2.5, "many", None, [1.0], [2.0, 1.0], [0.0, np.nan]):
        plt.close("all")
        with pytest.raises((TypeError, ValueError), match="levels"):
            whole(flat, X[:, :2], levels=bad)
        display = whole(flat, X[:, :2], grid_resolution=2, levels=2)
        with pytest.raises((TypeError, ValueError), match="levels"):
            display.plot(levels=bad)
        assert len(plt.get_fignums()) == 1
    for bad in (0, 1, 2.5, "fine", None):
        with pytest.raises((TypeError, ValueError), match="grid_resolution"):
            whole(flat, X[:, :2], grid_resolution=bad)


def test_a_threshold_that_is_no_number_is_refused_by_name():
    with pytest.raises(ValueError, match="threshold must be a number, got NaN"):
        ScoreHistogramDisplay.from_predictions(X[:, 0], threshold=np.nan)


# -- training curve ----------------------------------------------------------------
@pytest.mark.parametrize("Net", [PRLClassifier, PRLRegressor])
def test_the_curve_is_the_loss_of_each_epoch(Net):
    target = y_class if Net is PRLClassifier else X[:, 1]
    model = Net(early_stopping=True, **small).fit(X, target)
    display = TrainingCurveDisplay.from_estimator(model)
    epochs, losses = display.line_.get_data()
    assert list(epochs) == list(range(1, model.n_iter_ + 1))
    assert list(losses) == model.loss_curve_
    epochs, scores = display.validation_line_.get_data()
    assert list(epochs) == list(range(1, model.n_iter_ + 1))
    assert list(scores) == model.validation_scores_
    again = model.set_params(warm_start=True).fit(X, target)
    line = TrainingCurveDisplay.from_estimator(again).validation_line_
    assert line.get_xdata()[-1] == again.n_iter_ == len(again.loss_curve_)


def test_without_held_out_rows_there_is_one_axis(detector):
    display = TrainingCurveDisplay.from_estimator(detector)
    assert display.validation_ax_ is None and len(display.figure_.axes) == 1


def test_scores_of_the_last_epochs_stand_at_the_last_epochs():
    curves = {"loss_curve": [5, 4, 3, 2, 1], "validation_scores": [0.1, 0.2]}
    line = TrainingCurveDisplay(**curves).plot().validation_line_
    assert line.get_xdata().tolist() == [4, 5]


def test_pipelines_and_searches_show_their_model(detector):
    pipe = make_pipeline(StandardScaler(), PRLClassifier(**small)).fit(X, y_class)
    search = GridSearchCV(pipe, {"prlclassifier__epsilon": [0.1]}, cv=2)
    search.fit(X, y_class)
    for model, inner in ((pipe, pipe[-1]), (search, search.best_estimator_[-1])):
        losses = TrainingCurveDisplay.from_estimator(model).line_.get_ydata()
        assert list(losses) == inner.loss_curve_
        display = KeptRowsDisplay.from_estimator(model, X)
        assert (display.inlier_mask == inner.inlier_mask_).all()


# -- histogram ---------------------------------------------------------------------
@pytest.mark.parametrize("model", [IsolationForest(), EllipticEnvelope(), None])
def test_the_histogram_counts_every_row_once_and_shows_the_threshold(model, detector):
    model = detector if model is None else model.fit(X)
    display = ScoreHistogramDisplay.from_estimator(model, X, outlier_mask=odd)
    assert display.counts.sum() == 57 and display.outlier_counts.sum() == 3
    for stairs, counts in (
        (display.stairs_, display.counts),
        (display.outlier_stairs_, display.outlier_counts),
    ):
        values, edges, _ = stairs.get_data()
        assert (values == counts).all() and (edges == display.edges).all()
    assert display.threshold_line_.get_xdata()[0] == model.offset_
    assert display.edges[0] <= model.offset_ <= display.edges[-1]


def test_edges_of_ones_own_give_numpys_histogram():
    scores = rng.normal(size=100)
    edges = np.linspace(-5, 5, 8)
    display = ScoreHistogramDisplay.from_predictions(scores, bins=edges)
    assert (display.counts == np.histogram(scores, edges)[0]).all()
    assert display.threshold_line_ is None and display.outlier_counts is None


@pytest.mark.parametrize("wild", [-1e300, -np.inf, 1e12])
def test_a_wild_score_is_counted_and_does_not_flatten_the_rest(wild):
    scores = np.append(np.linspace(0, 1, 99), wild)
    display = ScoreHistogramDisplay.from_predictions(scores)
    assert display.counts.sum() == 100
    assert np.isfinite(display.edges).all() and (display.counts > 0).sum() > 3


@pytest.mark.parametrize("scores", [[1.0], [2.0, 2.0, 2.0]])
def test_equal_scores_make_a_histogram_too(scores):
    display = ScoreHistogramDisplay.from_predictions(scores, threshold=0.0)
    assert display.counts.sum() == len(scores)


@pytest.mark.parametrize("far", [-np.finfo(float).max, -np.inf, np.inf])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_scores_beyond_all_measure_are_counted_and_leave_the_rest_in_sight(share, far):
    scores = np.linspace(0, 1, 100)
    rest = scores[int(100 * share) :].copy()
    scores[: int(100 * share)] = far
    with np.errstate(all="raise"):
        display = ScoreHistogramDisplay.from_predictions(scores, threshold=far)
        display.figure_.canvas.draw()
    assert display.counts.sum() == 100 and np.isfinite(display.edges).all()
    display = ScoreHistogramDisplay.from_predictions(scores)
    if len(rest):
        assert np.ptp(display.edges) <= 13 * np.ptp(rest)


@pytest.mark.parametrize("value", [0.0, -1e15, 1e15, 1e200])
@pytest.mark.parametrize("steps", [0, 1])
def test_scores_that_hardly_differ_make_bins_that_do(value, steps):
    scores = value + steps * np.spacing(value) * np.arange(10)
    display = ScoreHistogramDisplay.from_predictions(scores)
    assert display.counts.sum() == 10 and (np.diff(display.edges) > 0).all()


def test_scores_that_cannot_be_drawn_are_refused_in_clear_words():
    with pytest.raises(ValueError, match="minimum of 1 is required by ScoreHistogram"):
        ScoreHistogramDisplay.from_predictions([])
    with pytest.raises(ValueError, match="Input scores contains NaN"):
        ScoreHistogramDisplay.from_predictions([0.0, np.nan])


# -- kept rows ---------------------------------------------------------------------
def test_clouds_are_the_two_sides_of_the_mask(detector):
    display = KeptRowsDisplay.from_estimator(detector, X)
    mask = detector.inlier_mask_
    assert 0 < mask.sum() < len(X)
    assert (display.kept_.get_offsets() == display.points[mask]).all()
    assert (display.trimmed_.get_offsets() == display.points[~mask]).all()


def test_two_columns_are_drawn_as_they_are(flat):
    display = KeptRowsDisplay.from_estimator(flat, X[:, :2])
    assert (display.points == X[:, :2]).all()
    display = KeptRowsDisplay.from_predictions(X[:, :1], ~odd)
    assert (display.points == np.c_[np.arange(60), X[:, 0]]).all()


def test_trimmed_rows_do_not_turn_the_plane():
    Z = rng.normal(size=(60, 3)) * [3.0, 2.0, 0.1]
    Z[:, 2] += Z[:, 0]
    far = Z.copy()
    far[odd] = [0, 1e6, -1e6]
    near = KeptRowsDisplay.from_predictions(Z, ~odd)
    moved = KeptRowsDisplay.from_predictions(far, ~odd)
    assert np.allclose(near.points[~odd], moved.points[~odd])
    whole = KeptRowsDisplay.from_predictions(Z[:, ::-1], ~odd)
    assert np.allclose(abs(whole.points), abs(near.points))  # whatever the order


@pytest.mark.parametrize("mask", [np.zeros(60, bool), np.arange(60) == 0])
def test_a_mask_that_leaves_nothing_to_learn_the_plane_from(mask):
    display = KeptRowsDisplay.from_predictions(X, mask)
    assert np.isfinite(display.points).all()


@pytest.mark.parametrize("n_columns", [1, 2, 5])
@pytest.mark.parametrize("rows", [[True], [False], [True] * 3])
def test_rows_without_spread_are_drawn(n_columns, rows):
    display = KeptRowsDisplay.from_predictions(np.ones((len(rows), n_columns)), rows)
    assert np.isfinite(display.points).all() and len(display.points) == len(rows)
    assert "nan" not in display.ax_.get_xlabel()


@pytest.mark.parametrize("huge", [1e200, -1e308, np.float32(3e38)])
@pytest.mark.parametrize("n_columns", [1, 2, 5])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.filterwarnings("ignore:invalid value")  # check_array adds all values up
def test_huge_values_do_not_overflow(huge, n_columns, keep):
    rows = rng.normal(size=(60, n_columns)).astype(np.result_type(huge))
    rows[:2] = [[huge], [-huge]]
    mask = np.arange(60) >= (0 if keep else 2)
    display = KeptRowsDisplay.from_predictions(rows, mask)
    with np.errstate(over="raise", invalid="raise"):
        display.figure_.canvas.draw()
    assert np.isfinite(display.points).all()


def test_other_rows_than_the_training_rows_are_refused(detector):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        KeptRowsDisplay.from_estimator(detector, X[:-1])


def holes(rows, seed=0):
    return np.where(np.random.default_rng(seed).random(rows.shape) < 0.2, np.nan, rows)


@pytest.mark.parametrize("n_columns", [1, 2, 4])
def test_missing_values_are_drawn_at_the_mean_of_the_kept_rows(n_columns):
    rows, before = holes(X[:, :n_columns]), holes(X[:, :n_columns])
    model = RCAOutlierDetector(imputer="mean", code_size=1, **small).fit(rows)
    display = KeptRowsDisplay.from_estimator(model, rows)
    kept = model.inlier_mask_
    filled = np.where(np.isnan(rows), np.nanmean(rows[kept], axis=0), rows)
    whole = KeptRowsDisplay.from_estimator(model, filled)
    assert np.allclose(display.points, whole.points)
    assert np.array_equal(rows, before, equal_nan=True)
    with pytest.raises(ValueError, match="infinity"):
        KeptRowsDisplay.from_estimator(model, np.full_like(rows, np.inf))


@pytest.mark.parametrize("mask", [np.zeros(60, bool), np.arange(60) < 5])
def test_a_column_with_nothing_to_average_is_drawn_all_the_same(mask):
    rows = X.copy()
    rows[mask | (np.arange(60) < 30), 1] = np.nan
    assert np.isfinite(KeptRowsDisplay.from_predictions(rows, mask).points).all()


# -- contours ----------------------------------------------------------------------
def test_contours_are_the_scores_on_a_grid_around_the_rows(flat):
    display = ScoreContourDisplay.from_estimator(flat, X[:, :2], grid_resolution=7)
    points = np.c_[display.xx0.ravel(), display.xx1.ravel()]
    assert (points.min(0) < X[:, :2].min(0)).all()
    assert (points.max(0) > X[:, :2].max(0)).all()
    assert np.allclose(display.response.ravel(), flat.score_samples(points))
    assert display.threshold_.levels == [flat.offset_]


def test_contours_of_integers_are_scored_where_they_are_drawn(flat):
    whole = np.arange(6).reshape(3, 2)
    display = ScoreContourDisplay.from_estimator(flat, whole, grid_resolution=7)
    points = np.c_[display.xx0.ravel(), display.xx1.ravel()]
    assert np.allclose(display.response.ravel(), flat.score_samples(points))


@pytest.mark.parametrize("wrap", ["alone", "pipeline", "search"])
def test_contours_stay_where_the_estimator_takes_numbers(wrap):
    rows = np.maximum(X[:, :2], 0)
    model = ReLUDistributionEstimator(max_iter=5)
    if wrap == "pipeline":
        model = make_pipeline("passthrough", model)
    if wrap == "search":
        model = GridSearchCV(model, {"max_iter": [5]}, cv=2)
    display = ScoreContourDisplay.from_estimator(
        model.fit(rows), rows, grid_resolution=9
    )
    assert display.xx0.min() == display.xx1.min() == 0
    assert (display.xx0.max() > rows[:, 0].max()) and np.isfinite(
        display.response
    ).all()
    logs = make_pipeline(FunctionTransformer(np.exp), ReLUDistributionEstimator())
    display = ScoreContourDisplay.from_estimator(logs.fit(-rows), -rows)
    assert display.xx0.min() < -rows[:, 0].max()  # what the rows meet first decides


def test_contours_know_frames_by_their_names(flat):
    for library in ("pandas", "polars"):
        frame = pytest.importorskip(library).DataFrame({"a": X[:, 0], "b": X[:, 1]})
        model = NetOutlierDetector(code_size=1, **small).fit(frame)
        display = ScoreContourDisplay.from_estimator(model, frame, grid_resolution=5)
        assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("a", "b")
        plain = ScoreContourDisplay.from_estimator(flat, X[:, :2], grid_resolution=5)
        assert np.allclose(display.response, plain.response)


def test_contours_leave_missing_values_out():
    rows = holes(X[:, :2])
    model = RCAOutlierDetector(imputer="median", code_size=1, **small).fit(rows)
    display = ScoreContourDisplay.from_estimator(model, rows, grid_resolution=5)
    for grid, column in ((display.xx0, rows[:, 0]), (display.xx1, rows[:, 1])):
        assert grid.min() < np.nanmin(column) <= np.nanmax(column) < grid.max()
    assert np.isfinite(display.response).all()
    rows[:, 0] = np.nan
    display = ScoreContourDisplay.from_estimator(model, rows, grid_resolution=5)
    assert np.isfinite(display.response).all() and np.isnan(rows[:, 0]).all()


def test_contours_of_more_than_two_columns_are_refused(detector):
    with pytest.raises(ValueError, match="two columns, got 4"):
        ScoreContourDisplay.from_estimator(detector, X)


def test_a_flat_score_has_contours():
    same = IsolationForest(random_state=0).fit(np.zeros((20, 2)))
    display = ScoreContourDisplay.from_estimator(same, np.zeros((20, 2)))
    assert np.isfinite(display.response).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_scores_beyond_all_measure_leave_contours_of_the_rest(share):
    axis = np.arange(10.0)
    xx0, xx1 = np.meshgrid(axis, axis)
    response = np.where(
        xx1 < 10 * share, -np.finfo(float).max, xx0 + 1e17 * (share > 0)
    )
    display = ScoreContourDisplay(
        xx0=xx0, xx1=xx1, response=response, threshold=response.max()
    )
    with np.errstate(all="raise"):
        levels = display.plot().surface_.levels
        display.figure_.canvas.draw()
    assert np.isfinite(levels).all() and (np.diff(levels) > 0).all()
    if share < 1:
        assert levels[0] >= xx0.min() and levels[-1] <= 2e17


def test_levels_are_spread_over_the_upper_nine_tenths():
    xx0, xx1 = np.meshgrid(np.linspace(-3, 3, 40), np.linspace(-3, 3, 40))
    score = -np.exp(xx0**2 + xx1**2)  # densities fall without end
    display = ScoreContourDisplay(xx0=xx0, xx1=xx1, response=score).plot(levels=7)
    expected = np.linspace(np.quantile(score, 0.1), score.max(), 7)
    np.testing.assert_allclose(display.surface_.levels, expected)


# -- sensitivity -------------------------------------------------------------------
GRID = [0.0, 0.1, 0.3]


def test_the_line_is_the_mean_held_out_score_of_refits():
    cv = KFold(3, shuffle=True, random_state=0)
    model = PRLClassifier(**small)
    display = SensitivityDisplay.from_estimator(
        model, X, y_class, param_range=GRID, cv=cv
    )
    for value, mean, spread, at in zip(
        GRID, display.means, display.spreads, display.line_.get_xdata(), strict=True
    ):
        one = cross_val_score(model.set_params(epsilon=value), X, y_class, cv=cv)
        assert at == value
        assert np.isclose(one.mean(), mean) and np.isclose(one.std(), spread)
    assert (display.line_.get_ydata() == display.means).all()
    search = GridSearchCV(model, {"epsilon": GRID[::-1]}, cv=cv).fit(X, y_class)
    found = SensitivityDisplay.from_search(search)
    assert np.allclose(found.scores, display.scores)
    chosen = found.chosen_line_.get_xdata()[0]
    assert chosen == search.best_params_["epsilon"]
    assert np.isclose(found.means[GRID.index(chosen)], search.best_score_)


def test_with_more_parameters_each_value_stands_with_its_best():
    grid = {"epsilon": GRID, "hidden_layer_sizes": [(2,), (8,)]}
    search = GridSearchCV(PRLClassifier(**small), grid, cv=2).fit(X, y_class)
    display = SensitivityDisplay.from_search(search)
    table = search.cv_results_["mean_test_score"].reshape(len(GRID), 2)
    assert np.allclose(display.means, table.max(1))


def test_a_value_stands_with_the_last_step_of_a_halving_search():
    noise = np.random.default_rng(3).integers(0, 2, 60)
    grid = {"epsilon": [*GRID, 0.2], "hidden_layer_sizes": [(2,), (8,)]}
    search = HalvingGridSearchCV(
        PRLClassifier(**small), grid, min_resources=8, factor=2, cv=2, random_state=0
    ).fit(X, noise)
    table = search.cv_results_
    values = np.asarray(table["param_epsilon"], dtype=float)
    display = SensitivityDisplay.from_search(search)
    lucky = False
    for value, mean in zip(display.param_range, display.means, strict=True):
        known = np.flatnonzero(values == value)
        last = known[table["iter"][known] == table["iter"][known].max()]
        assert np.isclose(mean, table["mean_test_score"][last].max())
        lucky |= table["mean_test_score"][known].max() > mean + 1e-9
    assert lucky  # else the test would show nothing
    assert np.isclose(display.means[display.chosen], search.best_score_)


def test_a_fit_that_failed_does_not_stand_for_a_value():
    search = GridSearchCV(PRLClassifier(**small), {"epsilon": [0.1]}, cv=2)
    search.fit(X, y_class)
    scores = {f"split{i}_test_score": np.array([np.nan, 0.5, 0.7]) for i in range(2)}
    search.cv_results_ = {**scores, "param_epsilon": np.array([0.1, 0.1, 0.3])}
    search.best_index_ = 2
    assert list(SensitivityDisplay.from_search(search).means) == [0.5, 0.7]


def test_grids_that_leave_the_parameter_out_do_not_count():
    grid = [{"epsilon": GRID}, {"hidden_layer_sizes": [(2,)]}]
    search = GridSearchCV(PRLClassifier(**small), grid, cv=2).fit(X, y_class)
    display = SensitivityDisplay.from_search(search, param_name="epsilon")
    assert list(display.param_range) == sorted(GRID)


def test_detectors_are_judged_by_labels_they_do_not_see():
    signs = np.where(np.arange(60) % 20 < 19, 1, -1)
    Z = X[:57][np.arange(60) % 57] + 9.0 * (signs == -1)[:, None]
    display = SensitivityDisplay.from_estimator(
        NetOutlierDetector(**small),
        Z,
        signs,
        param_name="code_size",
        param_range=[1, 2],
        scoring="roc_auc",
        cv=KFold(2, shuffle=True, random_state=1),
    )
    assert (display.means > 0.9).all()
    assert display.ax_.get_ylabel() == "roc auc"


def test_values_that_are_not_numbers_are_named():
    display = SensitivityDisplay(
        param_range=["auto", 0.1, None], scores=np.eye(3), param_name="contamination"
    ).plot()
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert ticks == ["auto", "0.1", "None"]
    assert list(display.line_.get_xdata()) == [0, 1, 2]


def test_a_search_over_something_else_is_refused():
    search = GridSearchCV(PRLClassifier(**small), {"alpha": [0.0]}, cv=2)
    search.fit(X, y_class)
    with pytest.raises(ValueError, match="did not record 'epsilon'"):
        SensitivityDisplay.from_search(search)
    with pytest.raises(ValueError, match="a score 'accuracy'"):
        SensitivityDisplay.from_search(search, metric="accuracy", param_name="alpha")


def test_options_may_name_what_displays_set_themselves():
    scores = np.arange(20.0)
    shown = ScoreHistogramDisplay.from_predictions(
        scores, outlier_mask=scores < 3, label="mine", color="C2"
    )
    assert shown.stairs_.get_label() == shown.outlier_stairs_.get_label() == "mine"
    shown = KeptRowsDisplay.from_predictions(X, np.arange(len(X)) > 3, c="k", s=3)
    assert (shown.kept_.get_facecolor()[0, :3] == 0).all()


def test_a_search_may_try_lists():
    grid = {"hidden_layer_sizes": [[4], [8]]}
    search = GridSearchCV(PRLClassifier(**small), grid, cv=2).fit(X, y_class)
    found = SensitivityDisplay.from_search(search, param_name="hidden_layer_sizes")
    assert found.param_range == [[4], [8]]
    best = search.best_params_["hidden_layer_sizes"]
    assert found.param_range[found.chosen] == best


def test_no_value_is_chosen_where_nobody_chose():
    scores = [[0.1, 0.2], [0.3, 0.4]]
    found = SensitivityDisplay(param_range=[None, 3.0], scores=scores).plot()
    assert found.chosen_line_ is None
