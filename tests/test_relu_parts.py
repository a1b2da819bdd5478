"""Laws of the pieces: censored laws, joint density, blocks, orders, generator."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm, trim_mean, truncnorm

from skrobust._relu.blocks import block_size, summarise_columns
from skrobust._relu.censored import bivariate_cdf, censored_margins, mills
from skrobust._relu.joint import log_density
from skrobust._relu.moments import (
    _hessian,
    has_interior,
    make_box,
    solve_descent,
    solve_newton,
    truncated_moments,
)
from skrobust._relu.pairs import PairData, censored_correlations
from skrobust._relu.rowmodel import RowData
from skrobust._relu.rows import collapse_rows, row_order
from skrobust._relu.score import composite_log_density
from skrobust.datasets import make_relu_distribution


def test_mills_ratio_far_out():
    t = np.array([-1e8, -40.0, 0.0, 3.0, 60.0])
    value = mills(t)
    assert_allclose(value[[0, 1]], -t[[0, 1]], rtol=1e-3)
    assert_allclose(value[3], norm.pdf(3) / norm.cdf(3))
    assert value[4] == 0.0


@pytest.mark.parametrize("rho", [-0.99, -0.5, 0.0, 0.3, 0.9, 0.999])
def test_bivariate_cdf(rho):
    for h, k in [(0.0, 0.0), (-1.0, 0.5), (-2.0, -3.0), (1.0, 1.1)]:
        truth = multivariate_normal.cdf([h, k], [0, 0], [[1, rho], [rho, 1]])
        assert_allclose(bivariate_cdf(h, k, rho), truth, atol=2e-7)


def test_censored_margin_is_a_maximum():
    rng = np.random.RandomState(0)
    X = np.maximum(rng.standard_normal((500, 3)) * [1, 2, 0.1] + [0.2, 3, 0.05], 0)
    sums = (X == 0).sum(0), (X > 0).sum(0), X.sum(0), (X**2).sum(0)
    mean, scale = censored_margins(*(s.astype(float) for s in sums))

    def value(m, s):
        return np.where(X > 0, norm.logpdf(X, m, s), norm.logcdf(-m / s)).sum(0)

    best = value(mean, scale)
    for dm in (-0.01, 0.0, 0.01):
        for ds in (0.99, 1.0, 1.01):
            assert (value(mean + dm * scale, ds * scale) <= best + 1e-9).all()


def test_negative_mean_is_held_at_zero():
    x = np.maximum(np.random.RandomState(0).standard_normal(2000) - 1.0, 0.0)
    sums = [[(x == 0).sum()], [(x > 0).sum()], [x.sum()], [(x**2).sum()]]
    sums = np.array(sums, dtype=float)
    mean, scale = censored_margins(*sums)
    free, _ = censored_margins(*sums, nonnegative=False)
    assert mean[0] == 0.0 and abs(free[0] + 1.0) < 0.2
    assert_allclose(scale[0] ** 2, (x**2).sum() / (x > 0).sum())


def test_pairs_recover_every_correlation():
    rng = np.random.RandomState(0)
    A = rng.standard_normal((4, 4))
    S = A @ A.T
    scale, b = np.sqrt(np.diag(S)), np.array([0.0, 0.5, 1.0, 3.0])
    X = np.maximum(rng.standard_normal((60000, 4)) @ A.T + b, 0.0)
    bins = np.minimum((X / scale * 20).astype(int), 250)
    for tile in (48, 3):
        data = PairData(X, bins, b, scale, np.ones(len(X)))
        R = censored_correlations(data, tile=tile)
        assert_allclose(R, S / np.outer(scale, scale), atol=0.015)
        assert_array_equal(R, R.T)


def test_joint_density_is_exact_where_it_claims_to_be():
    b, scale = np.array([0.2, 1.0, 0.0]), np.array([1.0, 2.0, 0.5])
    X = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.3], [0.5, 2.0, 1.0]])
    margins = np.where(X > 0, norm.logpdf(X, b, scale), norm.logcdf(-b / scale))
    assert_allclose(log_density(X, b, np.diag(scale**2)), margins.sum(1))
    S = np.array([[1.0, 0.7, 0.2], [0.7, 2.0, -0.3], [0.2, -0.3, 0.5]])
    full = multivariate_normal.logpdf(X[2], b, S)
    assert_allclose(log_density(X[2:], b, S), full)
    known = np.array([[True, False, True]])
    part = multivariate_normal.logpdf(
        X[2, [0, 2]], b[[0, 2]], S[np.ix_([0, 2], [0, 2])]
    )
    assert_allclose(log_density(X[2:], b, S, known), part)


def test_joint_density_of_zeros_is_within_percents():
    S = np.full((5, 5), 0.6) + 0.4 * np.eye(5)
    b = np.array([0.0, 1.5, 0.3, 0.0, 0.8])
    truth = multivariate_normal.cdf(np.zeros(5), b, S)
    assert_allclose(np.exp(log_density(np.zeros((1, 5)), b, S)), truth, rtol=0.03)


def test_composite_density_of_a_pair_sums_to_one():
    b, S = np.array([0.3, 0.6]), np.array([[1.0, 0.5], [0.5, 2.0]])

    def at(x, y):
        return np.exp(composite_log_density(np.array([[x, y]]), b, S))[0]

    grid = np.concatenate(
        [np.linspace(0, 8, 161)[1:] - 0.025, np.geomspace(8, 4e4, 60)]
    )
    step = np.concatenate([np.full(160, 0.05), np.diff(np.geomspace(8, 4e4, 60)), [0]])
    pairs = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    inner = np.exp(composite_log_density(pairs, b, S)).reshape(len(grid), -1)
    total = step @ inner @ step + at(0.0, 0.0)
    total += quad(lambda x: at(x, 0.0), 0, 50)[0] + quad(lambda x: at(0.0, x), 0, 50)[0]
    assert abs(total - 1.0) < 0.01


def test_truncated_moments_and_curvature():
    v = np.array([[1.0, 0.4, 2.5], [0.0, -1.5, 2.0]])
    mean, second = truncated_moments(v)
    sigma = 1 / np.sqrt(v[0])
    mu = v[1] * sigma**2
    law = truncnorm(-mu / sigma, np.inf, mu, sigma)
    assert_allclose(mean, law.mean())
    assert_allclose(second, law.var() + law.mean() ** 2)
    a, b, c = _hessian(v)
    assert_allclose(c, law.var())
    assert_allclose(b, -0.5 * (law.moment(3) - law.mean() * second), rtol=1e-6)
    assert_allclose(a, 0.25 * (law.moment(4) - second**2), rtol=1e-6)


def test_newton_inverts_the_moments_and_respects_the_box():
    v = np.array([[0.5, 1.0, 2.9], [-2.0, 0.0, 2.9]])
    moments = np.stack(truncated_moments(v))
    box = make_box(3.0, np.ones(3))
    found, n_iter, converged = solve_newton(moments, box, n_steps=100, tol=1e-12)
    assert converged and n_iter < 30
    assert_allclose(found, v, atol=1e-8)
    assert has_interior(moments).all()
    heavy = np.array([[1.0], [5.0]])
    assert not has_interior(heavy).any()
    low, high = make_box(3.0, np.ones(1))
    found, _, converged = solve_newton(heavy, (low, high), n_steps=200, tol=1e-10)
    assert converged and (found >= low).all() and (found <= high).all()
    assert ((found == low) | (found == high)).any()


def test_descent_converges_only_where_every_column_does():
    v = np.array([[1.0, 0.8], [0.5, 2.0]])
    moments, box = np.stack(truncated_moments(v)), make_box(2.0, np.ones(2))
    options = dict(tol=1e-6, learning_rate="constant")
    # the second column stands still after its three steps, far from its limit
    n_steps = np.array([20_000, 3])
    found, _, converged = solve_descent(moments, box, n_steps=n_steps, **options)
    assert not converged and abs(found - v)[1, 1] > 0.01
    found, _, converged = solve_descent(moments, box, n_steps=20_000, **options)
    assert converged
    assert_allclose(found, v, atol=0.01)


def test_most_blocks_of_the_chosen_size_are_clean():
    for share in (0.01, 0.095, 0.18, 0.33, 0.49):
        size = block_size(share)
        assert (1 - share) ** size > 0.5
        assert (1 - share) ** size >= 2 / 3 or size == 1
        assert (1 - share) ** (size + 1) < 2 / 3 or size == 1000
    with pytest.raises(ValueError, match="No block is small enough"):
        block_size(0.5)


@pytest.mark.parametrize("filter", ["median", "trimmed_mean", None])
def test_blocks_treat_weights_as_repetitions(filter):
    rng = np.random.RandomState(0)
    X = np.abs(rng.standard_normal((97, 2)))
    weights = rng.randint(1, 4, 97)
    rows = np.repeat(X, weights, axis=0)
    options = dict(filter=filter, trim=0.2)
    blocks = np.array([7, 11])
    one = summarise_columns(X, np.arange(97), weights * 1.0, blocks, **options)
    order = np.arange(len(rows))
    two = summarise_columns(rows, order, np.ones(len(rows)), blocks, **options)
    assert_allclose(one.moments, two.moments, rtol=1e-12)
    assert_allclose(one.scale, two.scale)


def test_unfiltered_blocks_are_means():
    X = np.abs(np.random.RandomState(0).standard_normal((50, 1)))
    found = summarise_columns(
        X, np.arange(50), np.ones(50), np.array([5]), filter=None, trim=0.0
    )
    assert_allclose(found.moments[0] * found.scale, X.mean(0))
    assert_allclose(found.moments[1] * found.scale**2, (X**2).mean(0))


def test_trimmed_blocks_are_trimmed_means():
    x = np.random.RandomState(0).rand(40, 1) + 1
    x[::9] = 1e6
    options = dict(filter="trimmed_mean", trim=0.25)
    found = summarise_columns(x, np.arange(40), np.ones(40), np.array([40]), **options)
    expected = [trim_mean(values[:, 0], 0.25) for values in (x, x * x)]
    assert_allclose(found.moments[:, 0] * found.scale[0] ** [1, 2], expected)


def test_collapsed_rows_are_the_same_rows_in_any_order():
    rng = np.random.RandomState(0)
    X = rng.randint(0, 3, (60, 2)) * 1.0
    X[0] = -0.0
    weights = rng.randint(1, 4, 60) * 1.0
    rows, totals, inverse = collapse_rows(X, weights, np.random.RandomState(5))
    assert_array_equal(rows[inverse], X)
    assert len(np.unique(rows, axis=0)) == len(rows) == len(np.unique(X, axis=0))
    assert totals.sum() == weights.sum()
    shuffle = rng.permutation(60)
    again = collapse_rows(X[shuffle], weights[shuffle], np.random.RandomState(5))
    assert_array_equal(again[0], rows)
    assert_array_equal(again[1], totals)


@pytest.mark.parametrize("place", [0, 600, 3999])
@pytest.mark.parametrize("weigh", [lambda rng, n: np.ones(n), lambda r, n: r.rand(n)])
def test_rows_have_the_share_in_a_sample_that_they_have_among_all(weigh, place):
    rng = np.random.RandomState(0)
    X = rng.standard_exponential((4000, 2))
    weights = weigh(rng, 4000)
    X[place], weights[place] = 0.0, 300.0
    data = RowData.prepare(X, weights)
    for n in (500, 1000, 3999):
        sample = data.sample(n)
        total = sample.weights.sum()
        empty = ~sample.X.any(axis=1)
        assert_allclose(total, weights.sum() * n / 4000, rtol=0.03)
        share = sample.weights[empty].sum() / total
        assert_allclose(share, 300.0 / weights.sum(), rtol=0.03)
        assert_allclose(
            sample.weights @ sample.X / total, weights @ X / weights.sum(), rtol=0.15
        )
    assert data.sample(4000) is data.sample(9000) is data


def test_row_order_looks_random_and_depends_on_the_salt():
    X = np.arange(4000.0)[:, None]
    one, two = (row_order(X, np.random.RandomState(s)) for s in (0, 1))
    assert abs(np.corrcoef(one, np.arange(4000))[0, 1]) < 0.1
    assert (one == two).mean() < 0.01


def test_generator():
    X, W, b, clean = make_relu_distribution(5000, 4, contamination=0.1, random_state=0)
    assert_allclose(W.T @ W, np.eye(4), atol=1e-12)
    assert (b >= 0).all() and (X >= 0).all()
    assert abs(clean.mean() - 0.9) < 0.02
    assert X[~clean].mean() > 4.5 > 1.5 > X[clean].mean()
    low, W, _, _ = make_relu_distribution(100, 4, n_components=2, random_state=0)
    assert W.shape == (4, 2)
    entries = make_relu_distribution(2000, 4, where="entries", random_state=0)[3]
    assert entries.shape == (2000, 4)
    X, _, _, clean = make_relu_distribution(
        500, 3, where="coordinate", outliers=9.0, random_state=0
    )
    assert_array_equal(X[:, 0] == 9.0, ~clean)
    with pytest.raises(ValueError, match="The 'where' parameter"):
        make_relu_distribution(10, where="here")
    with pytest.raises(ValueError, match="The 'contamination' parameter"):
        make_relu_distribution(10, contamination=1.0)
