"""Laws of the scaling at the border: repeated rows, breakdown, equivariance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import MinMaxScaler

from skrobust._scaling import (
    CLIP,
    FAR,
    BendingScaler,
    InputScaler,
    TargetScaler,
    weighted_quantile,
)
from skrobust._units import UnitScaler

rng = np.random.default_rng(0)


def ones(n):
    return np.ones(n)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_weighted_quantile_is_the_quantile_of_repeated_rows(seed, ties):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(12, 3)).round(0 if ties else 9)
    times = rng.integers(0, 5, 12)
    q = np.sqrt(np.linspace(0.001, 0.999, 21))  # never on a boundary of rows
    weighted = weighted_quantile(values, q, times)
    repeated = np.repeat(values, times, axis=0)
    kept = times > 0
    assert_array_equal(weighted, weighted_quantile(values[kept], q, times[kept]))
    expected = np.quantile(repeated, q, axis=0, method="inverted_cdf")
    assert_array_equal(weighted, expected)


@pytest.mark.parametrize("n", [2, 3, 10, 49])
def test_weighted_quantile_takes_the_value_that_reaches_the_mass(n):
    """On a boundary the lower of two values, whatever rounding says."""
    values = np.arange(n, dtype=float)[:, None]
    found = weighted_quantile(values, np.arange(1, n + 1) / n, np.full(n, 0.1))
    assert_array_equal(found, values)


def test_weighted_quantile_does_not_care_about_the_unit_of_weights():
    values, weights = rng.normal(size=(30, 2)), rng.random(30)
    q = [0.1, 0.5, 0.9]
    expected = weighted_quantile(values, q, weights)
    for unit in (1e-6, 0.1, 3.0, 1e9):
        assert_array_equal(weighted_quantile(values, q, unit * weights), expected)


def test_weighted_quantile_never_invents_a_value():
    values = rng.normal(size=(30, 2))
    for column, found in zip(
        values.T, weighted_quantile(values, [0, 0.3, 1], ones(30)).T, strict=True
    ):
        assert np.isin(found, column).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_quantile_keeps_the_dtype_and_the_input(dtype):
    values = rng.normal(size=(9, 1)).astype(dtype)
    before = values.copy()
    assert weighted_quantile(values, 0.5, ones(9)).dtype == dtype
    assert_array_equal(values, before)


# -- inputs ----------------------------------------------------------------------


def test_input_scaler_of_clean_rows_is_mean_and_deviation():
    X = np.random.default_rng(1).uniform(size=(200, 4)) * [1, 10, 1e-3, 1e6] + 5
    scaler = InputScaler.fit(X, ones(200))
    assert_allclose(scaler.mean, X.mean(0))
    assert_allclose(scaler.scale, X.std(0))
    Z = scaler.transform(X)
    assert_allclose(Z.mean(0), 0, atol=1e-9)
    assert_allclose(Z.std(0), 1)


def test_input_scaler_weight_is_repetition():
    rng = np.random.default_rng(2)
    X, times = rng.normal(size=(40, 3)), rng.integers(1, 5, 40)
    X[0] = 1e9
    weighted = InputScaler.fit(X, times.astype(float))
    repeated = np.repeat(X, times, axis=0)
    expected = InputScaler.fit(repeated, ones(len(repeated)))
    assert_allclose(weighted.mean, expected.mean, rtol=1e-12)
    assert_allclose(weighted.variance, expected.variance, rtol=1e-12)
    assert weighted.mass == expected.mass


def test_input_scaler_merges_parts_to_the_whole():
    rng = np.random.default_rng(3)
    X, w = rng.uniform(size=(90, 3)), rng.random(90) + 0.1
    whole = InputScaler.fit(X, w)
    merged = InputScaler.fit(X[:10], w[:10])
    for part in (slice(10, 50), slice(50, 90)):
        merged = merged.merge(InputScaler.fit(X[part], w[part]))
    assert_allclose(merged.mean, whole.mean)
    assert_allclose(merged.variance, whole.variance)
    assert merged.mass == pytest.approx(whole.mass)


@pytest.mark.parametrize("gross", [1e3, 1e30, 1e300, -1e300])
def test_gross_inputs_move_nothing(gross):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 3))
    clean = InputScaler.fit(X, ones(300))
    bad = X.copy()
    bad[:25, 0] = gross
    scaler = InputScaler.fit(bad, ones(300))
    # wherever the gross values lie, they count as values on a fence
    limit = InputScaler.fit(np.clip(bad, -1e6, 1e6), ones(300))
    if abs(gross) > 1e6:
        assert_allclose(scaler.mean, limit.mean)
        assert_allclose(scaler.variance, limit.variance)
    assert (np.abs(scaler.mean - clean.mean) < 0.8).all()
    assert (scaler.scale < 3 * clean.scale).all()
    assert (scaler.scale > clean.scale / 3).all()
    Z = scaler.transform(bad)
    assert np.isfinite(Z).all() and np.abs(Z).max() <= CLIP
    assert Z[25:, 0].std() > 0.3  # the clean rows are still told apart


@pytest.mark.parametrize("value", [0.0, 5.0, 1e300, -1e-300])
def test_a_constant_input_stays_finite_and_constant(value):
    X = np.full((20, 2), value)
    Z = InputScaler.fit(X, ones(20)).transform(X)
    assert np.isfinite(Z).all()
    assert np.ptp(Z) == 0


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e150])
def test_input_scaling_does_not_care_about_units(scale):
    X = np.random.default_rng(5).normal(size=(100, 2))
    expected = InputScaler.fit(X, ones(100)).transform(X)
    got = InputScaler.fit(scale * X, ones(100)).transform(scale * X)
    if 1e-150 < scale < 1e150:  # where squares are numbers
        assert_allclose(got, expected, rtol=1e-6)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("second", [slice(None, None, 2), slice(4000, None)])
def test_tables_of_two_kinds_in_any_order_are_scaled_like_shuffled_ones(second):
    """A large table's fences come from some of its rows, not all of a kind."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 1))
    X[second] += 1000
    scaler = InputScaler.fit(X, ones(8000))
    assert scaler.mean[0] == pytest.approx(500, rel=0.01)
    assert scaler.scale[0] == pytest.approx(500, rel=0.01)
    first = X[X[:, 0] < 500]
    assert len(first) == 4000 and np.ptp(scaler.transform(first)) > 0


@pytest.mark.parametrize("scale", [1e160, 1e300])
def test_numbers_whose_squares_are_none_are_scaled_to_numbers(scale):
    X = scale * np.random.default_rng(0).normal(size=(50, 2))
    scaler = InputScaler.fit(X, ones(50))
    assert np.isfinite(scaler.transform(X)).all() and np.isfinite(scaler.scale).all()


def test_a_single_row_can_be_scaled():
    X = np.array([[3.0, -2.0]])
    assert_array_equal(InputScaler.fit(X, ones(1)).transform(X), [[0.0, 0.0]])


def test_inputs_of_any_precision_are_left_alone():
    for dtype in (np.float32, np.float64):
        X = np.random.default_rng(6).normal(size=(50, 2)).astype(dtype)
        before = X.copy()
        InputScaler.fit(X, ones(50)).transform(X)
        assert_array_equal(X, before)


def test_a_rare_indicator_keeps_its_spread():
    """Fences would make a column that is mostly zero constant."""
    X = np.zeros((100, 1))
    X[:5] = 1.0
    Z = InputScaler.fit(X, ones(100)).transform(X)
    assert np.ptp(Z) > 1


def test_the_fences_of_a_mostly_zero_column_come_from_the_other_values():
    x = np.zeros((500, 1))
    x[:40, 0] = np.random.default_rng(0).lognormal(sigma=1.5, size=40)
    median = np.quantile(x[:40], 0.5, method="inverted_cdf")
    inside = np.clip(x, 0, 5 * 1.4826 * median)
    scaler = InputScaler.fit(x, ones(500))
    assert_allclose([scaler.mean[0], scaler.scale[0]], [inside.mean(), inside.std()])


def test_bent_numbers_of_any_size_unbend_to_numbers():
    X = np.random.default_rng(0).normal(size=(50, 1))
    scaler = BendingScaler.fit(X, ones(50))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = scaler.inverse_transform(np.array([[-1e6], [1e6]]))
    assert np.isfinite(far).all() and far[0, 0] < 0 < far[1, 0]


# -- targets ---------------------------------------------------------------------


def fit_targets(y, weights=None):
    y = np.asarray(y, dtype=float).reshape(len(y), -1)
    return TargetScaler.fit(y, ones(len(y)) if weights is None else weights)


@pytest.mark.parametrize("a", [0.5, 3.0, 1e12, -2.0, -1e6])
@pytest.mark.parametrize("b", [0.0, -7.0, 1e5])
def test_target_scaler_follows_affine_maps(a, b):
    y = np.random.default_rng(7).normal(size=51)  # odd: the median is one value
    before, after = fit_targets(y), fit_targets(a * y + b)
    assert_allclose(after.center, a * before.center + b, rtol=1e-9)
    assert_allclose(after.scale, abs(a) * before.scale, rtol=1e-9)


def test_target_scaler_weight_is_repetition():
    rng = np.random.default_rng(8)
    y, times = rng.normal(size=(30, 2)), rng.integers(1, 5, 30)
    weighted = fit_targets(y, times.astype(float))
    repeated = fit_targets(np.repeat(y, times, axis=0))
    assert_array_equal(weighted.center, repeated.center)
    assert_array_equal(weighted.scale, repeated.scale)


@pytest.mark.parametrize("gross", [1e3, 1e30, 1e300, -1e308])
def test_target_scaler_withstands_forty_percent(gross):
    y = np.random.default_rng(9).normal(size=200)
    clean = fit_targets(y)
    bad = y.copy()
    bad[:80] = gross
    found = fit_targets(bad)
    assert abs(found.center - clean.center) < 3 * clean.scale
    assert 0.2 < found.scale / clean.scale < 5
    # how far the gross values lie plays no part
    bad[:80] = np.sign(gross) * 1e2
    assert_allclose(found.center, fit_targets(bad).center)
    assert_allclose(found.scale, fit_targets(bad).scale)


@pytest.mark.parametrize("huge", [1e300, 1e308])
def test_huge_targets_come_back_as_they_were(huge):
    y = huge * np.random.default_rng(10).uniform(-1, 1, size=(60, 1))
    scaler = fit_targets(y)
    z = scaler.transform(y)
    assert np.isfinite(z).all()
    assert_allclose(scaler.inverse_transform(z), y)


def test_a_gross_target_is_held_where_squares_are_finite():
    y = np.r_[np.random.default_rng(11).normal(size=50), 1e300][:, None]
    z = fit_targets(y).transform(y)
    assert z[-1, 0] == FAR
    assert np.isfinite(z**2).all()


@pytest.mark.parametrize("value", [0.0, -3.0, 1e300])
def test_a_constant_target_is_scaled_by_one(value):
    scaler = fit_targets(np.full(10, value))
    assert scaler.center == value and scaler.scale == 1
    assert_array_equal(scaler.inverse_transform(np.zeros((3, 1))), value)


@pytest.mark.parametrize("other", [1.0, 1e300])
def test_mostly_equal_targets_have_a_scale(other):
    y = np.zeros(50)
    y[:10] = other
    scaler = fit_targets(y)
    assert np.isfinite(scaler.scale).all() and (scaler.scale > 0).all()
    # the deviation of those that differ: one alike is .67 of it away
    assert_allclose(scaler.transform(y[:, None])[:10], 1 / 1.4826)


def test_targets_are_scaled_column_by_column():
    y = np.random.default_rng(12).normal(size=(40, 2)) * [1, 100]
    both = fit_targets(y)
    for j in range(2):
        alone = fit_targets(y[:, j])
        assert both.center[j] == alone.center and both.scale[j] == alone.scale


@pytest.mark.parametrize("gross", [1e3, 1e8, 1e300])
def test_gross_values_among_the_few_that_differ_move_no_scale(gross):
    """A zero-inflated target, and a rare indicator among the inputs."""
    rng = np.random.default_rng(12)
    y = np.where(rng.random(400) < 0.6, 0.0, np.exp(rng.normal(size=400)))[:, None]
    clean = fit_targets(y)
    y[::20] = gross
    assert fit_targets(y).scale == pytest.approx(clean.scale, rel=0.5)
    X = (rng.random((400, 1)) < 0.08).astype(float)
    clean = InputScaler.fit(X, ones(400))
    X[0] = gross
    assert InputScaler.fit(X, ones(400)).scale == pytest.approx(clean.scale, rel=0.7)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("gross", [1e6, 1e300])
def test_a_small_part_cannot_move_what_many_rows_say(n, gross):
    rng = np.random.default_rng(13)
    scaler = InputScaler.fit(rng.normal(size=(1000, 2)), ones(1000))
    part = rng.normal(size=(n, 2))
    part[0] = gross
    moved = scaler.update(part, ones(n))
    assert_allclose(moved.mean, scaler.mean, atol=0.02)
    assert_allclose(moved.scale, scaler.scale, rtol=0.1)
    assert moved.mass == 1000 + n


@pytest.mark.parametrize("share", [0.03, 0.1, 0.15, 0.2])
@pytest.mark.parametrize("code", [-999.0, 1e6])
def test_a_code_for_missing_values_hides_no_others(share, code):
    rng = np.random.default_rng(14)
    X = rng.normal(size=(1000, 1))
    X[rng.random(1000) < share] = code
    scaler = InputScaler.fit(X, ones(1000))
    assert 0.8 < scaler.scale[0] < 5 and abs(scaler.mean[0]) < 2.5


def test_beside_codes_fences_lie_where_those_of_normal_data_would():
    x = np.random.default_rng(0).normal(size=(2000, 1))
    x[::5] = 1e6
    first, third = np.quantile(x, [0.25, 0.75], method="inverted_cdf")
    reach = 4.25 * (third - first)  # 6.4 deviations from the middle
    scaler = InputScaler.fit(x, ones(2000))
    inside = np.clip(x, first - reach, third + reach)
    assert_allclose([scaler.mean[0], scaler.scale[0]], [inside.mean(), inside.std()])


@pytest.mark.parametrize("draw", ["standard_cauchy", "standard_exponential"])
def test_heavy_tails_are_no_codes(draw):
    x = getattr(np.random.default_rng(15), draw)(4000)
    low, first, third, high = np.quantile(x, [0.1, 0.25, 0.75, 0.9])
    assert high - low < 20 * (third - first)
    scaler = InputScaler.fit(x[:, None], ones(4000))
    inside = np.clip(x, low - 2 * (high - low), high + 2 * (high - low))
    assert scaler.scale[0] == pytest.approx(inside.std(), rel=0.02)


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_gross_targets_do_not_set_the_scale_of_rare_ones(share):
    """Most targets that are not zero may be gross."""
    rng = np.random.default_rng(0)
    y = np.where(np.arange(1000) % 10 == 0, rng.lognormal(size=1000), 0.0)
    y[np.arange(1000) % 100 < 100 * share] = 1e4
    scaler = TargetScaler.fit(y[:, None], np.ones(1000))
    assert scaler.center == 0 and 0.1 < scaler.scale < 10


# -- columns in one unit ------------------------------------------------------------


def pixels(n=400, d=12, top=16):
    """Columns from 0 to ``top``, some of which are seldom other than 0."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, top + 1, (n, d)).astype(float)
    X[0], X[1] = 0, top
    X[:, 0] *= rng.random(n) < 0.02  # seldom lit
    X[:, 1] = 3 * (rng.random(n) < 0.05)  # and never brightly
    X[:, 2] = 0  # never
    return X


def test_columns_in_one_unit_share_one_scale_and_keep_their_means():
    X = np.hstack([pixels(), np.random.default_rng(1).normal(7, 1e3, size=(400, 2))])
    scaler, own = UnitScaler.fit(X, ones(400)), InputScaler.fit(X, ones(400))
    assert scaler.shared.tolist() == [True] * 12 + [False] * 2
    varying = [0, 1, *range(3, 12)]
    expected = np.sqrt(own.variance[varying].mean())
    assert_allclose(scaler.scale[:12], expected)
    assert_array_equal(scaler.scale[12:], own.scale[12:])
    assert_array_equal(scaler.mean, own.mean)
    assert (scaler.scale[[0, 1]] > [2 * own.scale[0], 8 * own.scale[1]]).all()


@pytest.mark.parametrize(
    "X",
    [
        np.random.default_rng(2).normal(size=(200, 6)),
        np.random.default_rng(2).uniform(size=(200, 6)),
        np.hstack([pixels(200, 4), np.random.default_rng(2).normal(size=(200, 4))]),
        np.zeros((200, 3)),
        np.arange(200.0)[:, None],
    ],
)
def test_without_a_unit_of_most_columns_scales_are_their_own(X):
    scaler, own = UnitScaler.fit(X, ones(200)), InputScaler.fit(X, ones(200))
    assert_allclose(scaler.scale, own.scale, rtol=1e-14)


def test_a_column_inside_the_range_that_shares_no_end_is_not_of_the_unit():
    X = np.hstack([pixels(), np.linspace(1, 15, 400)[:, None]])
    assert not UnitScaler.fit(X, ones(400)).shared[-1]


@pytest.mark.parametrize("scale", [1 / 16, 1 / 255, 1e-30, 1e30, 3.7, -0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_unit_is_found_whatever_it_is_called(scale, dtype):
    X = pixels()
    expected = UnitScaler.fit(X, ones(400)).transform(X)
    scaled = MinMaxScaler((0, 5)).fit_transform(X).astype(dtype)
    assert UnitScaler.fit(scaled, ones(400)).shared[3:].all()
    X = (scale * X).astype(dtype)
    got = UnitScaler.fit(X, ones(400)).transform(X)
    assert_allclose(got, np.sign(scale) * expected, rtol=1e-4, atol=1e-5)


def test_gross_pixels_do_not_hide_the_unit():
    X = pixels()
    clean = UnitScaler.fit(X, ones(400))
    X[np.random.default_rng(3).random(X.shape) < 0.03] = -9999
    found = UnitScaler.fit(X, ones(400))
    seen = found.shared  # where more is gross than lit nobody can tell
    assert seen[3:].all()
    assert (found.scale < 2 * clean.scale)[seen].all()
    assert (found.scale > clean.scale / 2)[seen].all()


def test_unit_scaler_weight_is_repetition_and_parts_merge_to_the_whole():
    X, times = pixels(), np.random.default_rng(4).integers(1, 4, 400)
    weighted = UnitScaler.fit(X, times.astype(float))
    repeated = UnitScaler.fit(np.repeat(X, times, axis=0), ones(times.sum()))
    assert_allclose(weighted.scale, repeated.scale)
    whole, merged = UnitScaler.fit(X, ones(400)), UnitScaler.fit(X[:150], ones(150))
    for part in (X[150:151], X[151:300], X[300:]):
        merged = merged.merge(UnitScaler.fit(part, ones(len(part))))
    assert_array_equal(merged.shared, whole.shared)
    assert_array_equal(merged.low, whole.low)
    # a column of many zeros has its fences from few values
    assert_allclose(merged.scale[3:], whole.scale[3:], rtol=0.02)


def test_the_largest_numbers_share_a_scale():
    X = np.where(pixels() > 8, 1e308, -1e308)
    Z = UnitScaler.fit(X, ones(400)).transform(X)
    assert np.isfinite(Z).all()
