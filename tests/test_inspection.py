"""Laws of the displays: what is drawn equals the numbers, and nothing else is drawn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrobust import (
    NetOutlierDetector,
    PRLClassifier,
    PRLRegressor,
    RCAOutlierDetector,
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
