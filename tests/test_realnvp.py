"""The flow detector: a density in the units of X that bad rows do not bend."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrobust import RobustRealNVPDetector

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 10, "batch_size": 32}
RNG = np.random.default_rng(0)
X2 = RNG.normal(size=(150, 2)) * [3.0, 0.01] + [100.0, -5.0]


def small(**params):
    return RobustRealNVPDetector(**{"random_state": 0, **SMALL, **params})


OPTIONS = [
    {},
    {"epsilon": 0.0, "lipschitz": None, "noise": 0.0},
    {"lipschitz": 1.0, "spectral": "rescale"},
    {"standardize": False},
    {"dequantize": "auto", "learning_rate": "cosine", "solver": "sgd"},
]
options = pytest.mark.parametrize("params", OPTIONS)


@options
def test_there_and_back(params):
    model = small(**params).fit(X2)
    assert_allclose(model.inverse_transform(model.transform(X2)), X2, rtol=1e-9)
    Z = RNG.normal(size=(20, 2))
    assert_allclose(model.transform(model.inverse_transform(Z)), Z, atol=1e-6)


def test_there_and_back_for_rows_of_any_size():
    model = small().fit(X2)
    far = np.array([[1e3, 0.0], [-1e30, 1e30], [1e200, 1.0], [100.0, -1e-30]])
    back = model.inverse_transform(model.transform(far))
    assert_allclose(back, far, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_the_density_integrates_to_one_in_the_units_of_x(scale):
    x = scale * np.r_[RNG.normal(size=99), 12.0][:, None]
    model = small().fit(x)
    grid = scale * np.linspace(-150, 150, 60001)[:, None]
    mass = np.exp(model.score_samples(grid)).sum() * (grid[1, 0] - grid[0, 0])
    assert abs(mass - 1) < 0.01


def test_the_density_of_two_columns_integrates_to_one():
    model = small(max_iter=30).fit(X2)
    u, v = np.linspace(-60, 60, 700), np.linspace(-0.2, 0.2, 700)
    grid = np.stack(np.meshgrid(u + 100, v - 5), -1).reshape(-1, 2)
    cell = (u[1] - u[0]) * (v[1] - v[0])
    assert abs(np.exp(model.score_samples(grid)).sum() * cell - 1) < 0.01


def test_densities_follow_the_units():
    """Log densities of rows in other units differ by the log of the unit alone."""
    a, b = small().fit(X2), small().fit(X2 * [1024.0, 0.25] + [3.0, 0.0])
    moved = b.score_samples(X2 * [1024.0, 0.25] + [3.0, 0.0])
    assert_allclose(moved + np.log(256.0), a.score_samples(X2), rtol=1e-3, atol=1e-3)


def test_latent_rows_tell_the_density():
    """Change of variables, with the derivative taken by differences."""
    model, h = small().fit(X2), 1e-6
    for row in X2[:5]:
        steps = h * np.diag([3.0, 0.01])
        sides = model.transform(np.r_[row + steps, row - steps])
        jacobian = (sides[:2] - sides[2:]) / (2 * h * np.array([[3.0], [0.01]]))
        z = model.transform(row[None])[0]
        expected = (
            -0.5 * z @ z - np.log(2 * np.pi) + np.log(abs(np.linalg.det(jacobian)))
        )
        assert_allclose(model.score_samples(row[None])[0], expected, rtol=1e-4)


def test_samples_come_from_the_density():
    X = make_moons(1000, noise=0.1, random_state=0)[0]
    model = RobustRealNVPDetector(epsilon=0, max_iter=60, random_state=0).fit(X)
    drawn = model.sample(4000, random_state=0)
    assert drawn.shape == (4000, 2) and np.isfinite(drawn).all()
    # the mean log density of a density's own samples is minus its entropy
    u = np.linspace(-4, 5, 400)
    grid = np.stack(np.meshgrid(u, u), -1).reshape(-1, 2)
    log_p = model.score_samples(grid)
    cell = (u[1] - u[0]) ** 2
    assert (
        abs((np.exp(log_p) * log_p).sum() * cell - model.score_samples(drawn).mean())
        < 0.1
    )
    assert_array_equal(drawn, model.sample(4000, random_state=0))
    assert np.ptp(model.sample(50), axis=0).min() > 0


def test_bad_rows_of_any_size_score_lower_the_farther_they_are():
    model = small(max_iter=50).fit(X2)
    far = 10.0 ** np.array([3, 6, 12, 30])
    rows = np.c_[far, np.full(4, -5.0)]
    scores = model.score_samples(np.r_[X2[:1], rows, -rows])
    assert np.isfinite(scores).all()
    assert (np.diff(scores[:5]) < 0).all() and (np.diff(scores[5:]) < 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "X",
    [
        np.zeros((20, 3)),
        np.repeat(RNG.normal(size=(3, 4)), 10, axis=0),
        np.c_[RNG.normal(size=30), np.full(30, 7.0), np.r_[np.zeros(29), 1]],
        np.r_[RNG.normal(size=(30, 2)), [[1e30, 0], [0, -1e30]]],
        RNG.normal(size=(5, 3)),
        RNG.normal(size=(2, 1)),
        RNG.normal(size=(40, 1)),
        RNG.normal(size=(1, 3)),
        1e-30 * RNG.normal(size=(30, 2)),
        RNG.normal(size=(6, 40)),
    ],
    ids=lambda X: str(X.shape),
)
@pytest.mark.parametrize("params", OPTIONS[:3])
def test_odd_data_give_numbers(X, dtype, params):
    model = small(**params).fit(X.astype(dtype))
    for numbers in (
        model.score_samples(X),
        model.transform(X),
        model.sample(5, random_state=0),
        model.sample_weight_,
        model.loss_curve_,
    ):
        assert np.isfinite(numbers).all()


def test_nothing_but_the_trimmed_share_is_left_out():
    model = small(epsilon=0.2, contamination=0.05).fit(X2)
    assert_allclose(model.sample_weight_.sum(), 0.8 * len(X2))
    worst = np.argsort(model.score_samples(X2))[:29]
    assert not model.inlier_mask_[worst].any()
    assert (model.predict(X2) == -1).sum() == 7


@pytest.mark.parametrize(
    "epsilon, contamination, left_out",
    [
        (None, 0.02, 0.1),
        (None, 0.1, 0.1),
        (None, 0.2, 0.3),
        (None, 0.4, 0.5),
        (None, "auto", 0.1),
        (None, 0, 0),
        (0.0, 0.3, 0),
    ],
)
def test_training_leaves_out_more_than_there_is_unless_told_otherwise(
    epsilon, contamination, left_out
):
    model = small(epsilon=epsilon, contamination=contamination).fit(X2)
    assert_allclose(1 - model.sample_weight_.mean(), left_out, atol=1e-12)


@pytest.mark.parametrize("ramp", [0.0, 0.5, 1.0])
def test_the_left_out_share_grows_over_a_part_of_the_epochs(ramp):
    model = small(epsilon=0.3, ramp=ramp).fit(X2)
    rule = model._steps_within(20, 1)[-1].rule
    scores = torch.rand(1, 1000, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(1, 1000)
    left = [1 - float(rule(scores, weights, epoch=e).mean()) for e in range(20)]
    assert np.diff(left).min() >= -1e-6 and left[-1] == pytest.approx(0.3)
    assert sum(share < 0.299 for share in left) == max(0, ramp * 20 - 1)


@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_is_kept_after_short_training(d, dtype):
    X = np.random.default_rng(d).normal(size=(100, d)).astype(dtype)
    for spectral, bound in (("rescale", 1.0), ("cap", 0.3)):
        params = {"max_iter": 2, "learning_rate_init": 0.1, "lipschitz": bound}
        model = small(spectral=spectral, **params).fit(X)
        plan, norms = model._stack._plan, []
        for layer in model._stack.layers[:-1]:
            norms.append(np.linalg.norm(layer.double(), 2, axis=(-2, -1)))
        for step, w in zip(plan, model._stack.layers[-1].double(), strict=True):
            read = w.unflatten(1, (2, -1))[:, :, : step.moved].flatten(1, 2)
            norms.append(np.linalg.norm(read, 2, axis=(-2, -1)))
        assert max(n.max() for n in norms) == pytest.approx(bound, rel=1e-5)
        if spectral == "rescale":
            assert min(n.min() for n in norms) == pytest.approx(bound, rel=1e-5)


def test_without_trimming_and_bound_it_is_maximum_likelihood():
    """One column: the flow is a normal density, and its best one is known."""
    x = np.random.default_rng(3).normal(7.0, 2.0, size=(400, 1))
    model = RobustRealNVPDetector(
        epsilon=0, lipschitz=None, noise=0, max_iter=300, learning_rate_init=1e-2
    )
    scores = model.set_params(random_state=0).fit(x).score_samples(x)
    best = -0.5 * np.log(2 * np.pi * x.var()) - 0.5
    assert abs(scores.mean() - best) < 0.01


def test_dequantizing_keeps_a_discrete_column_from_swallowing_the_density():
    rng = np.random.default_rng(5)
    X = np.c_[rng.integers(0, 2, 400), rng.normal(size=400)]
    params = {"epsilon": 0, "lipschitz": None, "noise": 0.0, "random_state": 0}
    params |= {"learning_rate_init": 3e-3, "max_iter": 60}
    spiky = RobustRealNVPDetector(**params).fit(X)
    # a fair coin has probability 1/2, and its dequantized density is 1/2 as well
    honest = RobustRealNVPDetector(dequantize=[0], **params).fit(X)
    entropy = np.log(2) + 0.5 * np.log(2 * np.pi * np.e)
    assert spiky.score_samples(X).mean() > -entropy + 0.5
    assert abs(honest.score_samples(X).mean() + entropy) < 0.3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_rounding_is_no_grid(dtype, standardize, unit):
    column = np.tile([0.1 * 3, 0.3, 0.6, 0.9, 0.0, 0.0], 10)
    column[::7] += 1e-7 if dtype == np.float32 else 1e-16
    X = (unit * np.c_[column, column, RNG.normal(size=60)]).astype(dtype)
    X[0, 0] = 1e20  # one gross value does not hide the others' grid
    model = small(dequantize=[0, 1], standardize=standardize).fit(X)
    scale = model._scaler.scale if standardize else np.ones(3)
    assert_allclose(model._grid * scale, [0.3 * unit, 0.3 * unit, 0], rtol=1e-5)


def test_a_column_without_a_grid_is_not_dequantized():
    column = np.where(np.arange(60) % 2, 0.3, 0.1 * 3)
    assert small(dequantize=[0]).fit(np.c_[column, X2[:60]])._grid is None


@pytest.mark.parametrize("none", [[], (), np.array([]), np.zeros(2, bool), None])
def test_no_column_need_be_discrete(none):
    scores = small(dequantize=none).fit(X2).score_samples(X2)
    assert_array_equal(scores, small().fit(X2).score_samples(X2))


def test_a_dequantizing_flow_is_stored_without_code():
    io = pytest.importorskip("skops.io")
    X = np.c_[RNG.integers(0, 5, 60), RNG.normal(size=60)]
    model = small(dequantize=[0]).fit(X)
    stored = io.dumps(model)
    back = io.loads(stored, trusted=io.get_untrusted_types(data=stored))
    assert_array_equal(back.score_samples(X), model.score_samples(X))
    assert "torch" not in {type(v).__module__ for v in model.__getstate__().values()}


@pytest.mark.parametrize("columns", [[0], np.array([True, False]), "auto"])
def test_discrete_columns_may_be_named_in_three_ways(columns):
    X = np.c_[RNG.integers(0, 5, 60), RNG.normal(size=60)]
    scores = small(dequantize=columns).fit(X).score_samples(X)
    assert_array_equal(scores, small(dequantize=[0]).fit(X).score_samples(X))
    assert not np.array_equal(scores, small().fit(X).score_samples(X))


@options
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_and_repetitions_are_equal_to_the_bit(params, dtype):
    X = X2.astype(dtype)
    model = small(**params).fit(X)
    scores, Z = model.score_samples(X), model.transform(X)
    assert model._stack.theta.numpy().dtype == dtype
    for other in (pickle.loads(pickle.dumps(model)), clone(model).fit(X)):
        assert_array_equal(other.score_samples(X), scores)
        assert_array_equal(other.transform(X), Z)
    assert not np.array_equal(small(random_state=1, **params).fit(X).transform(X), Z)


@options
def test_a_weight_is_a_repetition_and_zero_is_absence(params):
    X, rng = X2[:30], np.random.default_rng(1)
    weights = rng.integers(0, 4, 30)
    params = {"batch_size": 256, **params}
    weighted = small(**params).fit(X, sample_weight=weights)
    repeated = small(**params).fit(np.repeat(X, weights, axis=0)[::-1])
    assert_allclose(weighted.score_samples(X2), repeated.score_samples(X2), rtol=1e-6)


def n_steps(n, **params):
    X = np.random.default_rng(0).normal(size=(n, 2))
    model = small(batch_size=32, max_iter="auto", **params).fit(X)
    return model.n_iter_ * -(-n // 32)


def test_small_sets_train_for_fewer_steps_and_large_ones_for_some_epochs():
    counts = [n_steps(n) for n in (5, 64, 200, 400, 1300)]
    assert counts == sorted(counts)
    assert counts[0] == counts[1] < counts[2] < counts[3]
    assert counts[-1] >= 10 * 1300 / 32


@pytest.mark.parametrize("max_iter", [3, 60])
def test_epochs_that_are_asked_for_are_trained(max_iter):
    assert small(max_iter=max_iter).fit(X2[:40]).n_iter_ == max_iter


@pytest.mark.parametrize("batch_size", [64, 256])
def test_rows_given_twice_do_not_train_for_longer(batch_size):
    model, X = small(max_iter="auto", batch_size=batch_size), X2[:100]
    twice = clone(model).fit(np.repeat(X, 2, axis=0))
    weighted = clone(model).fit(X, sample_weight=np.full(100, 2.0))
    assert weighted.n_iter_ == twice.n_iter_
    steps = [model.fit(X).n_iter_ * -(-100 // batch_size)]
    steps.append(twice.n_iter_ * -(-200 // batch_size))
    # but for the rest of an epoch
    assert steps[1] < max(steps[0], 10 * -(-200 // batch_size)) + 200 / batch_size


@pytest.mark.parametrize("unit", [1 / 150, 0.99])
def test_the_noise_does_not_know_the_unit_of_the_weights(unit):
    plain = small(epsilon=0, n_iter_no_change=1000).fit(X2)
    other = clone(plain).fit(X2, sample_weight=np.full(len(X2), unit))
    assert other._noise == plain._noise
    twice = clone(plain).fit(X2, sample_weight=np.full(len(X2), 2))
    assert twice._noise == clone(plain).fit(np.repeat(X2, 2, axis=0))._noise


@pytest.mark.parametrize("how", ["warm", "partial"])
def test_training_goes_on(how):
    parts = small(max_iter=3, warm_start=True, ramp=0.0).fit(X2[:32])
    n, before = parts.n_iter_, parts.score_samples(X2[:32]).mean()
    for _ in range(20):
        parts = parts.partial_fit(X2[:32]) if how == "partial" else parts.fit(X2[:32])
    assert parts.n_iter_ > n
    assert parts.score_samples(X2[:32]).mean() > before


@pytest.mark.parametrize(
    "params, words",
    [
        ({"epsilon": 1.0}, "'epsilon' parameter of RobustRealNVPDetector must be"),
        ({"lipschitz": 0.0}, "'lipschitz' parameter"),
        ({"spectral": "norm"}, "'spectral' parameter"),
        ({"noise": -1.0}, "'noise' parameter"),
        ({"noise": "some"}, "'noise' parameter"),
        ({"ramp": 1.5}, "'ramp' parameter"),
        ({"n_couplings": 1}, "'n_couplings' parameter"),
        ({"max_iter": "many"}, "'max_iter' parameter"),
        ({"dequantize": [5]}, "'dequantize' parameter"),
        ({"dequantize": "all"}, "'dequantize' parameter"),
        ({"dequantize": [[True, False]]}, "'dequantize' parameter"),
        ({"dequantize": [[0], [0, 1]]}, "'dequantize' parameter"),
    ],
)
def test_impossible_settings_are_refused(params, words):
    with pytest.raises(ValueError, match=words):
        small(**params).fit(X2)


def test_latent_points_of_the_wrong_width_are_refused():
    with pytest.raises(ValueError, match="X has 3 features, but RobustRealNVPDetector"):
        small().fit(X2).inverse_transform(np.zeros((2, 3)))


def test_works_in_a_pipeline_a_search_and_with_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X2, columns=["a", "b"])
    y = np.where(np.arange(len(X2)) % 15 == 0, -1, 1)
    pipeline = make_pipeline(StandardScaler(), small())
    assert pipeline.fit(frame).score_samples(frame).shape == (len(X2),)
    assert_array_equal(pipeline.fit_predict(frame), pipeline.fit(frame).predict(frame))
    search = GridSearchCV(small(), {"epsilon": [0.0, 0.1]}, scoring="roc_auc", cv=2)
    assert search.fit(frame, y).best_score_ >= 0
    assert list(small().fit(frame).feature_names_in_) == ["a", "b"]


# -- what the source shows -----------------------------------------------------------


@pytest.fixture(scope="module")
def moons():
    """Two moons with five percent of clustered rows (section 3.5.1, figure 3.3)."""
    rng = np.random.default_rng(0)
    clean, _ = make_moons(4000, noise=0.1, random_state=0)
    X = np.r_[clean, rng.normal(2.5, 0.05, size=(210, 2))]
    fresh, _ = make_moons(1000, noise=0.1, random_state=1)
    return clean, X, fresh, rng.normal(2.5, 0.05, size=(500, 2))


def auc_and_density(X, fresh, odd, **params):
    model = RobustRealNVPDetector(random_state=0, max_iter=25, **params).fit(X)
    inside, outside = model.score_samples(fresh), model.score_samples(odd)
    y = np.r_[np.ones(len(fresh)), np.zeros(len(odd))]
    return roc_auc_score(y, np.r_[inside, outside]), inside.mean()


def test_a_dense_cluster_fools_realnvp_and_not_the_robust_one(moons):
    clean, X, *judges = moons
    plain = {"epsilon": 0, "lipschitz": None}
    _, best = auc_and_density(clean, *judges, **plain)
    fooled, _ = auc_and_density(X, *judges, **plain)
    auc, density = auc_and_density(X, *judges)
    assert auc >= 0.995 and fooled < 0.95
    assert abs(density - best) < 0.2


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_a_dense_cluster_is_not_learned_where_more_is_left_out_than_it_has(share):
    """Denser than anything else, it would be the likeliest part once learned."""
    rng = np.random.default_rng(0)
    X, n = rng.normal(size=(2000, 10)), round(2000 * share)
    X[:n] = rng.normal(size=(n, 10)) * 0.3 + 2
    model = RobustRealNVPDetector(contamination=share, random_state=0).fit(X)
    assert roc_auc_score(np.arange(2000) < n, -model.score_samples(X)) > 0.99


def test_a_few_rows_are_not_learned_by_heart():
    rng = np.random.default_rng(0)
    X, fresh = rng.normal(size=(2, 60, 10))
    model = RobustRealNVPDetector(contamination=0, random_state=0)
    gaps = []
    for max_iter in ("auto", 400):  # one batch an epoch
        model.set_params(max_iter=max_iter).fit(X)
        gaps.append((model.score_samples(X) - model.score_samples(fresh)).mean())
    assert gaps[0] < 0.5 * gaps[1]
