"""Laws of the corruptions of labels and targets."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from skrobust import corruption
from skrobust.corruption import (
    linadv,
    maximum,
    mixture,
    pairflip,
    signflip,
    symmetric,
    target_shuffle,
    uninoise,
)

N = 57
LABELS = [symmetric, pairflip]
TARGETS = [linadv, signflip, uninoise, target_shuffle, maximum, mixture]


def zoo():
    """Every corruption with every kind of y it is for."""
    rng = np.random.RandomState(7)
    codes = rng.permutation(np.arange(N) % 4)
    labels = {
        "int": codes,
        "str": np.array(["d", "bb", "aaa", "c"])[codes],
        "object": np.array(["d", "bb", "aaa", "c"], dtype=object)[codes],
        "bool": codes > 1,
        "float": codes.astype(float),
        "negative": codes * 5 - 7,
    }
    targets = {
        "1d": rng.normal(size=N),
        "column": rng.normal(size=(N, 1)),
        "2d": rng.normal(size=(N, 3)),
        "float32": rng.normal(size=N).astype(np.float32),
        "int": rng.permutation(N) + 1,
    }
    for functions, kinds in ((LABELS, labels), (TARGETS, targets)):
        for f in functions:
            for kind, y in kinds.items():
                yield pytest.param(f, y, id=f"{f.__name__}-{kind}")


every = pytest.mark.parametrize("f, y", list(zoo()))
X = np.random.RandomState(1).normal(size=(N, 5))


def test_the_module_lists_all_corruptions():
    assert sorted(corruption.__all__) == sorted(f.__name__ for f in LABELS + TARGETS)


@every
@pytest.mark.parametrize("rate", [0, 0.01, 0.1, 1 / 3, 0.5, 0.95, 1])
def test_exactly_the_stated_number_of_rows(f, y, rate):
    corrupted, mask = f(y, rate, X=X, random_state=0)
    assert mask.shape == (N,) and mask.dtype == bool
    assert mask.sum() == round(rate * N)
    assert corrupted.shape == y.shape
    np.testing.assert_array_equal(corrupted[~mask], y[~mask])


@every
def test_corrupted_rows_differ(f, y):
    corrupted, mask = f(y, 0.5, X=X, random_state=0)
    changed = (corrupted != y).reshape(N, -1).any(axis=1)
    # All targets of the zoo differ, so only the maximum can stay what it was.
    unchanged_allowed = 1 if f is maximum else 0
    assert (mask & ~changed).sum() <= unchanged_allowed


@every
def test_input_is_left_alone_and_a_copy_returned(f, y):
    before = y.copy()
    y.flags.writeable = False
    try:
        for rate in (0, 0.5):
            corrupted, _ = f(y, rate, X=X, random_state=0)
            assert not np.shares_memory(corrupted, y)
            corrupted[0] = corrupted[-1]
    finally:
        y.flags.writeable = True
    np.testing.assert_array_equal(y, before)


@every
def test_dtype(f, y):
    corrupted, _ = f(y, 0.5, X=X, random_state=0)
    expected = np.float64 if f in TARGETS and y.dtype.kind == "i" else y.dtype
    assert corrupted.dtype == expected


@every
def test_an_integer_seed_decides_all(f, y):
    state = np.random.get_state()[1].copy()
    first, mask = f(y, 0.4, X=X, random_state=3)
    again, mask_again = f(y, 0.4, X=X, random_state=3)
    by_instance, _ = f(y, 0.4, X=X, random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(mask, mask_again)
    np.testing.assert_array_equal(first, by_instance)
    assert (f(y, 0.4, X=X, random_state=4)[1] != mask).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@every
def test_a_higher_rate_adds_rows(f, y):
    masks = [f(y, rate, X=X, random_state=0)[1] for rate in (0.1, 0.3, 0.6, 1)]
    for low, high in zip(masks, masks[1:], strict=False):
        assert (high | ~low).all()


@every
def test_every_row_is_as_likely(f, y):
    counts = np.zeros(N)
    for seed in range(150):
        counts += f(y, 0.25, X=X, random_state=seed)[1]
    share = round(0.25 * N) / N
    z = (counts - 150 * share) / np.sqrt(150 * share * (1 - share))
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize("f", LABELS + TARGETS)
@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan, "0.5", True, None])
def test_bad_rate(f, rate):
    y = np.arange(N) % 3
    with pytest.raises(ValueError, match=f"'rate' parameter of {f.__name__}"):
        f(y, rate, X=X)


@pytest.mark.parametrize("f", LABELS + TARGETS)
def test_lists_and_halves(f):
    # 0.5 * 5 rows: a tie of rounding, which goes to the even number.
    y = [0, 1, 1, 2, 0]
    _, mask = f(y, 0.5, X=X[:5].tolist(), random_state=0)
    assert mask.sum() == 2


def test_symmetric_draws_each_other_label_as_often():
    y = np.repeat(np.arange(4), 3000)
    corrupted, _ = symmetric(y, 1.0, random_state=0)
    table = np.histogram2d(y, corrupted, bins=(4, 4))[0]
    assert (np.diag(table) == 0).all()
    others = table[~np.eye(4, dtype=bool)]
    assert np.abs(others - 1000).max() < 4.5 * np.sqrt(3000 * 2 / 9)


@pytest.mark.parametrize("f", LABELS)
def test_two_classes_swap(f):
    y = np.array(["no", "yes", "yes"])
    np.testing.assert_array_equal(f(y, 1, random_state=0)[0], ["yes", "no", "no"])


def test_pairflip_is_a_cycle():
    y = np.array(["c", "a", "b", "a", "d"])
    once, _ = pairflip(y, 1)
    np.testing.assert_array_equal(once, ["d", "b", "c", "b", "a"])
    for _ in range(3):
        once, _ = pairflip(once, 1)
    np.testing.assert_array_equal(once, y)


@pytest.mark.parametrize("f", LABELS)
def test_what_is_not_labels_is_refused(f):
    with pytest.raises(ValueError, match="2 classes"):
        f([1, 1, 1], 0.5)
    np.testing.assert_array_equal(f([1, 1, 1], 0.0)[0], [1, 1, 1])
    with pytest.raises(ValueError, match="Unknown label type"):
        f([0.5, 1.25, 3.1], 0.5)
    with pytest.raises(ValueError, match=f"{f.__name__}.* target_shuffle"):
        f([0.5, 1.25, 3.1], 0.5)
    with pytest.raises(ValueError, match="Unknown label type: unknown"):
        f(pd.Series([1, "a", 2]), 0.5)
    with pytest.raises(ValueError, match="1d array"):
        f(np.eye(3), 0.5)
    with pytest.raises(ValueError, match="0 sample"):
        f([], 0.5)
    for hole in (None, np.nan, pd.NA, pd.NaT):
        with pytest.raises(ValueError, match="y contains NaN"):
            f(pd.Series(["a", hole, "b"], dtype=object), 1.0)


@pytest.mark.parametrize("f", TARGETS)
def test_what_is_not_targets_is_refused(f):
    with pytest.raises(ValueError, match="NaN"):
        f([0.0, np.nan], 0.5, X=X[:2])
    with pytest.raises(ValueError, match="0 sample"):
        f([], 0.5, X=X[:0])
    with pytest.raises(ValueError, match="dim 3"):
        f(np.zeros((2, 2, 2)), 0.5, X=X[:2])


@pytest.mark.parametrize("f", [linadv, mixture])
def test_features_are_required_and_checked(f):
    y = np.zeros(4)
    with pytest.raises(ValueError, match=f"'X' parameter of {f.__name__}"):
        f(y, 0.5)
    f(y, 0.0, **({} if f is mixture else {"X": X[:4]}))
    with pytest.raises(ValueError, match="inconsistent"):
        f(y, 0.5, X=X)
    with pytest.raises(ValueError, match="NaN"):
        f(y, 0.5, X=np.full((4, 1), np.nan))


@pytest.mark.parametrize("n_outputs", [None, 1, 3])
def test_linadv_is_linear_and_forgets_the_targets(n_outputs):
    shape = (N,) if n_outputs is None else (N, n_outputs)
    y = np.random.RandomState(0).normal(size=shape)
    corrupted, mask = linadv(y, 0.5, X=X, random_state=0)
    W = np.linalg.lstsq(X[mask], corrupted[mask], rcond=None)[0]
    np.testing.assert_allclose(X[mask] @ W, corrupted[mask], atol=1e-10)
    other, _ = linadv(y + 100, 0.5, X=X, random_state=0)
    np.testing.assert_array_equal(other[mask], corrupted[mask])
    if n_outputs == 3:
        assert np.linalg.matrix_rank(W) == 3  # each output has its own wrong map


def test_linadv_map_is_normal_with_the_scale():
    y = np.zeros((200, 50))
    W, _ = linadv(y, 1.0, X=np.eye(200), random_state=0)
    assert abs(W.mean()) < 0.05
    assert abs(W.std() - 1) < 0.03
    tenfold, _ = linadv(y, 1.0, X=np.eye(200), random_state=0, scale=10)
    np.testing.assert_allclose(tenfold, 10 * W)


@pytest.mark.parametrize("scale", [0, -1, np.inf, "1", True])
def test_linadv_bad_scale(scale):
    with pytest.raises(ValueError, match="'scale' parameter of linadv"):
        linadv(X[:, 0], 0.5, X=X, scale=scale)


@pytest.mark.parametrize(
    "f, settings",
    [
        (linadv, {"X": 1e30 * X, "scale": 1e10}),
        (mixture, {"X": 1e30 * X, "corruptions": [partial(linadv, scale=1e10)]}),
        (uninoise, {"low": 1e50, "high": 2e50}),
    ],
)
def test_targets_never_turn_infinite(f, settings):
    y = np.zeros(len(X))
    assert np.isfinite(f(y, 0.5, random_state=0, **settings)[0]).all()
    with pytest.raises(ValueError, match="too large for dtype.'float32'"):
        f(y.astype(np.float32), 0.5, random_state=0, **settings)
    with pytest.raises(ValueError, match="too large for dtype.'float64'"):
        linadv(y, 0.5, X=1e300 * X, random_state=0, scale=1e10)


def test_signflip_twice_is_nothing():
    once, mask = signflip(X, 0.5, random_state=0)
    np.testing.assert_array_equal(once[mask], -X[mask])
    np.testing.assert_array_equal(signflip(once, 0.5, random_state=0)[0], X)


@pytest.mark.parametrize("low, high", [(-5, 5), (2.0, 2.5)])
def test_uninoise_is_uniform(low, high):
    y = np.full((4000, 2), 1e6)
    drawn, _ = uninoise(y, 1.0, random_state=0, low=low, high=high)
    u = np.sort((drawn - low) / (high - low), axis=0)
    assert u.min() >= 0 and u.max() <= 1
    empirical = (np.arange(4000) + 0.5) / 4000
    assert np.abs(u - empirical[:, None]).max() < 1.95 / np.sqrt(4000)  # KS, p = .001
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.06


def test_uninoise_default_range_is_the_papers():
    drawn, _ = uninoise(np.zeros(4000), 1.0, random_state=0)
    assert -5 <= drawn.min() < -4.9 and 4.9 < drawn.max() <= 5


@pytest.mark.parametrize(
    "low, high", [(1, 1), (2, 1), (0, np.inf), (np.nan, 1), (-1e308, 1e308)]
)
def test_uninoise_bad_range(low, high):
    with pytest.raises(ValueError, match="parameter of uninoise"):
        uninoise([0.0, 1.0], 0.5, low=low, high=high)


@pytest.mark.parametrize("rate", [2 / N, 0.3, 1])
@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_one_output_targets_are_exchanged_without_fixed_points(rate, shape):
    y = np.arange(N, dtype=float).reshape(shape)
    for seed in range(20):
        corrupted, mask = target_shuffle(y, rate, random_state=seed)
        assert (corrupted[mask] != y[mask]).all()
        np.testing.assert_array_equal(np.sort(corrupted, axis=0), y)


def test_a_single_row_takes_the_target_of_any_other():
    y = np.arange(5.0)
    taken = set()
    for seed in range(60):
        corrupted, mask = target_shuffle(y, 0.2, random_state=seed)
        assert mask.sum() == 1 and corrupted[mask] != y[mask]
        taken.add((mask.argmax(), corrupted[mask].item()))
    assert len(taken) > 12  # of 20 pairs
    with pytest.raises(ValueError, match="n_samples = 1"):
        target_shuffle([1.0], 1.0)


@pytest.mark.parametrize("n_outputs", [2, 3, 10])
def test_outputs_change_place_the_same_way_in_all_rows(n_outputs):
    y = np.arange(N * n_outputs, dtype=float).reshape(N, n_outputs)
    seen = set()
    for seed in range(20):
        corrupted, mask = target_shuffle(y, 0.5, random_state=seed)
        source = (corrupted - y[:, :1])[mask].astype(int)
        assert (source == source[0]).all()
        assert sorted(source[0]) == list(range(n_outputs))
        assert (source[0] != np.arange(n_outputs)).all()
        seen.add(tuple(source[0]))
    assert len(seen) == {2: 1, 3: 2, 10: 20}[n_outputs]


def test_maximum_is_that_of_each_output_over_all_rows():
    for seed in range(5):
        corrupted, mask = maximum(X, 0.1, random_state=seed)
        np.testing.assert_array_equal(corrupted[mask], np.tile(X.max(axis=0), (6, 1)))


def constant(y, rate, *, X=None, random_state=None, value):
    return np.full_like(y, value), np.ones(len(y), dtype=bool)


@pytest.mark.parametrize("rate", [0, 1 / N, 2 / N, 0.3, 0.5, 1])
@pytest.mark.parametrize("shape", [(N,), (N, 2)])
def test_mixture_splits_evenly(rate, shape):
    kinds = [partial(constant, value=v) for v in (1, 2, 3)]
    y = np.zeros(shape)
    corrupted, mask = mixture(y, rate, random_state=0, corruptions=kinds)
    counts = np.bincount(corrupted.reshape(N, -1)[:, 0].astype(int), minlength=4)
    assert counts[0] == N - mask.sum()
    assert counts[1:].max() - counts[1:].min() <= 1
    assert (np.diff(counts[1:]) <= 0).all()


def test_mixture_rows_are_each_explained_by_one_corruption():
    y = np.random.RandomState(0).normal(size=N) + 20
    corrupted, mask = mixture(y, 48 / N, X=X, random_state=0)
    flipped = corrupted == -y
    exchanged = np.isin(corrupted, y) & mask
    rest = mask & ~flipped & ~exchanged  # linadv and uninoise
    assert flipped.sum() == 12 and exchanged.sum() == 12 and rest.sum() == 24
    drawn = corrupted[rest]
    W = np.linalg.lstsq(X[rest], drawn, rcond=None)[0]
    assert np.linalg.norm(drawn - X[rest] @ W) > 1  # not linadv alone


def test_mixture_deals_corruptions_whatever_the_place_of_a_row():
    y = np.arange(1.0, 401)
    corrupted, _ = mixture(y, 1.0, random_state=0, corruptions=(maximum, signflip))
    flipped = corrupted < 0
    assert flipped.sum() == 200
    assert flipped[:200].mean() == pytest.approx(0.5, abs=0.15)


def test_mixture_takes_any_corruption_and_needs_no_features_then():
    y = np.arange(1.0, 11.0)
    corrupted, mask = mixture(y, 0.4, random_state=0, corruptions=[maximum, signflip])
    assert (corrupted[mask] == 10).sum() == 2
    assert (corrupted[mask] < 0).sum() == 2


@pytest.mark.parametrize("bad", [(), None, signflip, [3], ["signflip"], "signflip"])
def test_what_is_no_list_of_corruptions_is_refused(bad):
    with pytest.raises(ValueError, match="'corruptions' parameter of mixture"):
        mixture(np.arange(10.0), 0.4, corruptions=bad)


def test_data_frames():
    pd = pytest.importorskip("pandas")
    y = pd.Series(["a", "b", "a", "b"], index=[5, 5, 7, 9])
    corrupted, mask = pairflip(y, 0.5, random_state=0)
    assert (corrupted[mask] != y.to_numpy()[mask]).all()
    frame = pd.DataFrame(X)
    by_frame, _ = linadv(frame[0], 0.5, X=frame, random_state=0)
    by_array, _ = linadv(X[:, 0], 0.5, X=X, random_state=0)
    np.testing.assert_array_equal(by_frame, by_array)


@pytest.mark.parametrize("dtype", ["Int64", "Float32", "boolean"])
@pytest.mark.parametrize(
    "corrupt", [corruption.signflip, corruption.uninoise, corruption.target_shuffle]
)
def test_targets_may_be_of_pandas_own_types(corrupt, dtype):
    y = pd.Series(np.arange(12) % 2, dtype=dtype)
    wrong, mask = corrupt(y, 0.5, random_state=0)
    plain, same = corrupt(y.to_numpy(dtype=float), 0.5, random_state=0)
    np.testing.assert_array_equal(mask, same)
    np.testing.assert_allclose(wrong, plain)
