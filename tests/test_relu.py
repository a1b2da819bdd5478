"""Laws of the ReLU distribution estimator."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skrobust import ReLUDistributionEstimator
from skrobust._relu.angles import angle_matrix
from skrobust._relu.censored import bivariate_cdf
from skrobust.datasets import make_relu_distribution

SOLVERS = ["likelihood", "newton", "gd", "sgd"]
ROW = np.array([0.0, 3.0, 0.0, 1.0, 0.0])


def errors(model, W, b):
    size = (W**2).sum()
    sigma = np.linalg.norm(model.covariance_ - W @ W.T) / size
    return sigma, np.linalg.norm(model.bias_ - b) / np.sqrt(size)


@pytest.mark.parametrize(
    "outliers",
    [
        dict(),
        dict(outliers=(2.0, 1.0)),
        dict(outliers=2.0),
        dict(outliers=0.0),
        dict(outliers=ROW),
        dict(outliers=1e9),
        dict(where="coordinate"),
        dict(where="coordinate", outliers=20.0),
        dict(where="entries"),
    ],
    ids=str,
)
def test_outliers_cost_little_more_than_the_rows_they_take(outliers):
    X, W, b, clean = make_relu_distribution(
        6000, contamination=0.15, random_state=3, **outliers
    )
    sigma, bias = errors(ReLUDistributionEstimator().fit(X), W, b)
    assert sigma < 0.035
    assert bias < 0.025


@pytest.mark.parametrize("outliers", [(5.0, 1.0), (2.0, 1.0)])
def test_error_falls_with_the_root_of_n(outliers):
    def error(n):
        found = []
        for seed in range(2):
            X, W, b, _ = make_relu_distribution(
                n, contamination=0.1, outliers=outliers, random_state=seed
            )
            found.append(errors(ReLUDistributionEstimator().fit(X), W, b))
        return np.mean(found, axis=0)

    assert (error(6400) < 0.5 * error(400)).all()


def test_clean_data_are_fitted_as_if_there_were_no_protection():
    X, W, b, _ = make_relu_distribution(5000, contamination=0.0, random_state=0)
    model = ReLUDistributionEstimator().fit(X)
    assert model.sample_weight_.mean() > 0.995
    assert errors(model, W, b)[0] < 0.04


def test_outlying_rows_are_named():
    X, _, _, clean = make_relu_distribution(4000, random_state=1, contamination=0.2)
    model = ReLUDistributionEstimator().fit(X)
    assert (model.support_ == clean).mean() > 0.995
    scores = model.outlier_score_samples(X)
    assert np.median(scores[~clean]) > np.quantile(scores[clean], 0.99)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_all_zero_rows_are_found_whatever_the_salt_of_the_row_order(share):
    # more rows than outliers are searched among at first; one stands for all zeros
    X, W, b, _ = make_relu_distribution(
        8000, 3, contamination=share, outliers=0.0, bias=np.ones(3), random_state=21
    )
    for salt in range(4):
        model = ReLUDistributionEstimator(random_state=salt).fit(X)
        assert errors(model, W, b)[0] < 0.03
        assert model.sample_weight_[~X.any(axis=1)].mean() < 0.2


@pytest.mark.parametrize("n_components", [1, 2])
def test_singular_covariance(n_components):
    X, W, b, _ = make_relu_distribution(5000, n_components=n_components, random_state=0)
    model = ReLUDistributionEstimator().fit(X)
    assert errors(model, W, b)[0] < 0.08
    assert model.support_.mean() > 0.9


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_units_of_the_columns_do_not_matter():
    X, _, _, _ = make_relu_distribution(2000, random_state=0)
    unit = np.array([1e-6, 1.0, 1e3, 1e6, 2.0])
    for solver in SOLVERS:
        one = ReLUDistributionEstimator(solver=solver, n_batches=200)
        two = clone(one).fit(X * unit)
        one.fit(X)
        if solver in ("newton", "gd"):
            # Row order is a hash of the values: compare without blocks.
            one.set_params(filter=None).fit(X)
            two.set_params(filter=None).fit(X * unit)
        elif solver == "sgd":
            continue
        assert_allclose(two.bias_ / unit, one.bias_, rtol=0.02, atol=0.02)
        assert_allclose(
            np.diag(two.covariance_), np.diag(one.covariance_) * unit**2, rtol=0.03
        )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", SOLVERS)
def test_order_of_rows_does_not_matter_and_weights_are_repetitions(solver):
    X, _, _, _ = make_relu_distribution(300, 3, random_state=0)
    rng = np.random.RandomState(1)
    weights = rng.randint(0, 4, 300)
    repeated = np.repeat(X, weights, axis=0)
    rng.shuffle(repeated)
    model = ReLUDistributionEstimator(solver=solver)
    one = clone(model).fit(X, sample_weight=weights)
    two = clone(model).fit(repeated)
    assert_allclose(one.covariance_, two.covariance_, rtol=1e-7, atol=1e-9)
    assert_allclose(one.bias_, two.bias_, rtol=1e-7, atol=1e-9)
    assert not one.sample_weight_[weights == 0].any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", SOLVERS)
def test_factor_is_a_factor_and_samples_have_the_law(solver):
    X, _, _, _ = make_relu_distribution(2000, 4, contamination=0.0, random_state=0)
    model = ReLUDistributionEstimator(solver=solver, filter=None).fit(X)
    assert_allclose(model.weights_ @ model.weights_.T, model.covariance_, atol=1e-9)
    assert np.linalg.eigvalsh(model.covariance_).min() > -1e-10
    assert (model.bias_ >= 0).all()
    n = 40000
    drawn = model.sample(n, random_state=0)
    assert drawn.shape == (n, 4) and (drawn >= 0).all()
    scale = np.sqrt(np.diag(model.covariance_))
    ratio = model.bias_ / scale
    mean = model.bias_ * norm.cdf(ratio) + scale * norm.pdf(ratio)
    assert_allclose(drawn.mean(axis=0), mean, atol=0.02 * scale.max())
    rho = (model.covariance_ / np.outer(scale, scale)).clip(-1 + 1e-9, 1 - 1e-9)
    zero = (drawn == 0).astype(float)
    both = bivariate_cdf(-ratio[:, None], -ratio, rho)
    assert_allclose(zero.T @ zero / n, both, atol=0.01)
    assert_array_equal(model.sample(5), model.sample(5))


def test_newton_is_where_descent_converges():
    X, _, _, _ = make_relu_distribution(
        5000, contamination=0.0, bias=np.full(5, 1.0), random_state=0
    )
    options = dict(n_batches=50, angle="paper")
    newton = ReLUDistributionEstimator(solver="newton", **options).fit(X)
    descent = ReLUDistributionEstimator(
        solver="gd", learning_rate="constant", tol=1e-10, **options
    ).fit(X)
    assert newton.n_iter_ < 20 < descent.n_iter_
    assert descent.converged_ and newton.converged_
    assert_allclose(descent.bias_, newton.bias_, atol=1e-6)
    assert_allclose(
        np.diag(descent.covariance_), np.diag(newton.covariance_), atol=1e-6
    )


def test_printed_angle_has_a_floor_and_the_others_less():
    X, W, b, _ = make_relu_distribution(
        40000, contamination=0.05, random_state=0, bias=np.full(5, 0.5)
    )
    ones = np.ones(len(X))
    off = ~np.eye(5, dtype=bool)
    bend = {
        name: np.abs(np.cos(angle_matrix(X, ones, b, name))[off]).mean()
        for name in ("paper", "two_quadrant", "corrected")
    }
    # Outliers above b shift the printed cosine of orthogonal rows to 0.233.
    assert abs(bend["paper"] - 0.233) < 0.03
    assert bend["corrected"] < 0.02 < bend["two_quadrant"] < 0.5 * bend["paper"]


def test_weights_of_exponential_tails_leave_no_interior_solution():
    rng = np.random.RandomState(0)
    X = rng.standard_exponential((2000, 2)) ** 2
    with pytest.warns(ConvergenceWarning, match="no truncated normal law"):
        model = ReLUDistributionEstimator(solver="newton", filter=None).fit(X)
    assert np.isfinite(model.covariance_).all()


def test_blocks_that_cannot_be_small_enough_are_announced():
    X, _, _, _ = make_relu_distribution(500, bias=np.zeros(5), random_state=0)
    model = ReLUDistributionEstimator(solver="newton", contamination=0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.warns(UserWarning, match="no block is small enough"):
            model.fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_without_spread(solver):
    rng = np.random.RandomState(0)
    X = np.maximum(rng.standard_normal((400, 5)) + 0.5, 0.0)
    X[:, 1], X[:, 3] = 0.0, 7.0
    model = ReLUDistributionEstimator(solver=solver).fit(X)
    assert_allclose(model.bias_[[1, 3]], [0.0, 7.0])
    assert_allclose(model.covariance_[[1, 3]], 0.0)
    for values in (model.score_samples(X), model.outlier_score_samples(X)):
        assert np.isfinite(values).all()
    assert_allclose(model.sample(10, random_state=0)[:, [1, 3]], [[0.0, 7.0]] * 10)


def test_all_zero_data():
    model = ReLUDistributionEstimator().fit(np.zeros((10, 3)))
    assert not model.bias_.any() and not model.covariance_.any()
    assert not model.sample(3).any()


def test_column_of_outliers_only_is_a_column_like_another():
    rng = np.random.RandomState(0)
    X = np.maximum(rng.standard_normal((2000, 3)), 0.0)
    X[:, 2] = 5.0 + rng.standard_normal(2000)
    model = ReLUDistributionEstimator().fit(X)
    assert abs(model.bias_[2] - 5.0) < 0.1
    assert abs(model.covariance_[2, 2] - 1.0) < 0.15


def test_refusals_name_their_reason():
    X = np.abs(np.random.RandomState(0).standard_normal((10, 2)))
    with pytest.raises(ValueError, match="Negative values in data.*ReLU is never"):
        ReLUDistributionEstimator().fit(X - 1.0)
    with pytest.raises(ValueError, match="1 sample.*minimum of 2"):
        ReLUDistributionEstimator().fit(X[:1])
    model = ReLUDistributionEstimator().fit(X)
    with pytest.raises(ValueError, match="Negative values"):
        model.score_samples(-X)
    wrong = dict(
        solver="magic",
        filter="mean",
        n_batches=0,
        contamination=0.5,
        trim=-0.1,
        angle="right",
        radius=1.0,
        learning_rate="adaptive",
        max_iter=0,
        tol=-1.0,
    )
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"The '{name}' parameter of ReLU"):
            ReLUDistributionEstimator(**{name: value}).fit(X)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_input_and_global_randomness_are_left_alone(solver, order):
    X = np.asarray(make_relu_distribution(200, 3, random_state=0)[0], order=order)
    before, state = X.copy(), np.random.get_state()[1].copy()
    model = ReLUDistributionEstimator(solver=solver).fit(X)
    model.sample(5), model.score_samples(X), model.outlier_score_samples(X)
    assert_array_equal(X, before)
    assert_array_equal(np.random.get_state()[1], state)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.score_samples(X), model.score_samples(X))


def test_unconverged_fit_says_so():
    X, _, _, _ = make_relu_distribution(
        500, contamination=0.2, outliers=(2.0, 1.0), random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        model = ReLUDistributionEstimator(max_iter=1, tol=0.0).fit(X)
    assert not model.converged_


DESCENTS = [
    dict(),
    dict(tol=1e-6),
    dict(max_iter=3),
    dict(tol=1e-6, max_iter=20_000),
    dict(learning_rate="constant", max_iter=3),
]


@pytest.mark.parametrize("n", [20, 2000])
@pytest.mark.parametrize("options", DESCENTS, ids=str)
def test_descent_has_converged_where_newton_is(options, n):
    rng = np.random.RandomState(0)
    X = np.maximum(rng.standard_normal((n, 2)) + [0.5, 1.0], 0.0)
    newton = ReLUDistributionEstimator(solver="newton", filter=None).fit(X)
    descent = ReLUDistributionEstimator(solver="gd", filter=None, **options)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        descent.fit(X)
    near = np.abs(descent.bias_ - newton.bias_).max() < 0.02
    assert near or not descent.converged_
    # Only the number of steps that the source prints may end elsewhere in silence.
    unsaid = not any("did not converge" in str(one.message) for one in said)
    assert unsaid == (descent.converged_ or not options)


def test_stochastic_steps_are_counted_and_never_said_to_converge():
    X, _, _, _ = make_relu_distribution(500, 2, bias=np.ones(2), random_state=0)
    for options in (dict(), dict(max_iter=10)):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            model = ReLUDistributionEstimator(solver="sgd", **options).fit(X)
        assert not model.converged_


def test_score_is_highest_at_the_truth_and_bounded_in_outliers():
    X, W, b, _ = make_relu_distribution(20000, 3, contamination=0.0, random_state=0)
    model = ReLUDistributionEstimator().fit(X[:10])
    held = {}
    for shift in (-0.3, 0.0, 0.3):
        for grow in (0.7, 1.0, 1.4):
            model.bias_ = np.maximum(b + shift, 0.0)
            model.covariance_ = grow * W @ W.T
            held[shift, grow] = model.score(X)
    assert max(held, key=held.get) == (0.0, 1.0)
    model.bias_, model.covariance_ = b, W @ W.T
    spoiled = X[:100].copy()
    spoiled[:, 0] = 1e6
    assert model.score(spoiled) > -50.0 > -model.outlier_score_samples(spoiled).max()


def test_the_score_counts_a_weight_as_repetition():
    X = np.maximum(np.random.RandomState(0).standard_normal((200, 2)) + 0.5, 0)
    weights = np.random.RandomState(1).randint(0, 4, 200)
    model = ReLUDistributionEstimator(solver="newton").fit(X)
    repeated = model.score(np.repeat(X, weights, axis=0))
    assert_allclose(model.score(X, sample_weight=weights), repeated)


@pytest.mark.parametrize("solver", ["likelihood", "newton", "gd"])
@pytest.mark.parametrize("gross", [1e150, 1e200, 1e300])
def test_rows_whose_squares_are_no_numbers_are_outliers_like_others(solver, gross):
    X = make_relu_distribution(400, 3, random_state=0)[0]
    X[0] = gross
    model = ReLUDistributionEstimator(solver=solver).fit(X)
    for found in (model.covariance_, model.bias_, model.outlier_score_samples(X)):
        assert np.isfinite(found).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert model.outlier_score_samples(X).argmax() == 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_in_very_different_units_are_fitted_or_refused(solver):
    X = make_relu_distribution(400, 3, contamination=0.0, random_state=0)[0]
    unit = np.array([1e-90, 1.0, 1e90])
    model = ReLUDistributionEstimator(solver=solver).fit(X * unit)
    scale = np.sqrt(np.diag(model.covariance_))
    factor = model.weights_ / scale[:, None]
    wanted = model.covariance_ / np.outer(scale, scale)
    assert_allclose(factor @ factor.T, wanted, atol=1e-9)
    rows = [X * unit, model.sample(10), np.full((1, 3), 1e300)]
    for score in (model.score_samples, model.outlier_score_samples):
        assert all(np.isfinite(score(some)).all() for some in rows)
    for unit in ([1e-200, 1.0, 1e200], [1e-200, 1.0, 1.0], [1.0, 1.0, 1e200]):
        with pytest.raises(ValueError, match="too large or too small for their sq"):
            model.fit(X * unit)
    X[:, 1] = 1e200
    with pytest.raises(ValueError, match=r"typical positive entry of columns \[1\]"):
        model.fit(X)


def test_a_weight_may_be_one_number():
    X = make_relu_distribution(100, 3, random_state=0)[0]
    one, none = (
        ReLUDistributionEstimator().fit(X, sample_weight=w) for w in (2.0, None)
    )
    np.testing.assert_allclose(one.covariance_, none.covariance_, rtol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_samples": 0},
        {"n_features": 0},
        {"n_components": 0},
        {"n_components": 9},
        {"where": np.array(["rows", "entries"])},
        {"bias": [-1.0, 0.0, 0.0]},
        {"bias": [1.0]},
        {"bias": [1.0, np.nan, 0.0]},
        {"bias": [1.0, np.inf, 0.0]},
        {"bias": ["a", "b", "c"]},
        {"weights": [1.0, 2.0]},
        {"weights": np.ones((1, 3))},
        {"weights": np.ones((3, 0))},
        {"weights": "a"},
        {"weights": np.diag([1.0, np.nan, 1.0])},
        {"weights": np.diag([1.0, np.inf, 1.0])},
        {"outliers": (1.0, 2.0, 3.0)},
        {"outliers": (1.0,)},
        {"outliers": (1.0, -2.0)},
        {"outliers": ([1.0, 2.0, 3.0], 1.0)},
        {"outliers": [1.0, 2.0]},
        {"outliers": np.ones((10, 3))},
        {"outliers": [1.0, [2.0], 3.0]},
        {"outliers": "5"},
        {"outliers": ("1", "2")},
        {"outliers": np.nan},
        {"outliers": None},
        {"outliers": lambda rng, shape: np.ones((2, 2))},
    ],
)
def test_a_draw_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="parameter of make_relu_distribution must be"):
        make_relu_distribution(**{"n_samples": 10, "n_features": 3, **wrong})


def test_given_weights_say_how_many_columns_there_are():
    X, W, b, _ = make_relu_distribution(10, weights=np.eye(4)[:, :2], random_state=0)
    assert X.shape == (10, 4) and W.shape == (4, 2) and b.shape == (4,)


def test_weights_of_another_size_than_the_rows_are_to_have_are_refused():
    with pytest.raises(ValueError, match="The 'n_features' parameter .* 1, the rows"):
        make_relu_distribution(10, 2, weights=np.ones((1, 2)))
    X, W, _, _ = make_relu_distribution(10, weights=np.ones((2, 3)), random_state=0)
    assert X.shape == (10, 2) and W.shape == (2, 3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_covariance_is_symmetric_to_the_last_bit(solver):
    X = make_relu_distribution(300, 6, random_state=0)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = ReLUDistributionEstimator(solver=solver).fit(X)
    assert_array_equal(model.covariance_, model.covariance_.T)


def test_a_fit_that_fails_leaves_the_last_one_as_it_was():
    X = make_relu_distribution(300, 3, random_state=0)[0]
    model = ReLUDistributionEstimator().fit(X)
    before = model.score_samples(X)
    for wrong in (-X[:, :2], X[:, :2] * 1e120):
        with pytest.raises(ValueError):
            model.fit(wrong)
        assert_array_equal(model.score_samples(X), before)
