"""The border: weights, devices, precision, seeds, and the setting of threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from skrobust import NetClassifier, NetRegressor, _border
from skrobust._border import (
    check_weights,
    draw_seed,
    few_threads,
    make_generator,
    pick_device,
    pick_dtype,
    stream_seed,
    target_keys,
    to_numpy,
)

CPU = torch.device("cpu")


# -- weights ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [[1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3]), torch.tensor([1, 2, 3])]
)
def test_weights_of_any_kind_become_float64(given):
    weights = check_weights(given, 3)
    assert weights.dtype == np.float64
    assert weights.tolist() == [1, 2, 3]


def test_no_weights_are_ones_and_a_number_is_for_everybody():
    assert check_weights(None, 3).tolist() == [1, 1, 1]
    assert check_weights(2.5, 2).tolist() == [2.5, 2.5]


@pytest.mark.parametrize(
    "bad, words",
    [
        ([1, 2], r"sample_weight.shape == \(2,\), expected \(3,\)!"),
        ([[1, 2, 3]], "Sample weights must be 1D array or scalar, got 2D array"),
        ([1, np.nan, 1], "sample_weight contains NaN or infinity"),
        ([1, np.inf, 1], "sample_weight contains NaN or infinity"),
        ([1, -1, 1], "Negative values in data passed to `sample_weight`"),
        ([0, 0, 0], "Sample weights must contain at least one non-zero number"),
        (0.0, "at least one non-zero number"),
        (["a", "b", "c"], "could not convert string to float"),
    ],
)
def test_bad_weights_are_refused_in_scikit_learns_words(bad, words):
    with pytest.raises(ValueError, match=words):
        check_weights(bad, 3)


def test_checked_weights_are_not_the_callers_own():
    given = np.array([1.0, 2.0])
    before = given.copy()
    NetRegressor(max_iter=1).fit([[0.0], [1.0]], [0.0, 1.0], sample_weight=given)
    assert np.array_equal(given, before)


def test_tensors_come_over_and_everything_else_stays():
    t = torch.arange(3.0, requires_grad=True)
    assert np.array_equal(to_numpy(t), [0, 1, 2])
    for other in ([1, 2], None, "x", np.ones(2)):
        assert to_numpy(other) is other


def test_rows_are_equal_whose_targets_differ_in_the_last_digits():
    X, target = np.zeros((5, 2)), 0.1 * np.arange(5.0)
    near = target_keys(X, target + 1e-12)  # as scaled targets may
    assert np.array_equal(near, target_keys(X, target))
    assert (target_keys(X, target + 1e-3) != near).all()


# -- devices and precision -------------------------------------------------------


def test_auto_is_the_best_device_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    # Apple's MPS lacks double precision
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize("given", ["cpu", CPU])
def test_a_named_device_is_taken(given):
    assert pick_device(given) == CPU


@pytest.mark.parametrize("bad", ["cuda:99", "abacus", "", None, 3.5, "meta"])
def test_a_device_that_cannot_be_used_is_refused(bad):
    with pytest.raises(ValueError, match="'device' parameter must be 'auto' or a dev"):
        pick_device(bad)


@pytest.mark.parametrize(
    "dtype, like, expected",
    [
        ("auto", np.float64, torch.float64),
        ("auto", np.float32, torch.float32),
        ("float32", np.float64, torch.float32),
        ("float64", np.float32, torch.float64),
    ],
)
def test_precision_follows_the_data_unless_told(dtype, like, expected):
    assert pick_dtype(dtype, np.dtype(like)) == expected


@pytest.mark.parametrize("bad", ["float16", "double", None, torch.float32])
def test_other_precisions_are_refused(bad):
    with pytest.raises(ValueError, match="'dtype' parameter must be a str among"):
        pick_dtype(bad, np.dtype(float))


# -- seeds and generators --------------------------------------------------------


def test_streams_of_a_seed_differ_also_in_what_torch_looks_at():
    # a CPU generator takes the last 32 bits of its seed and drops the others
    seeds = [stream_seed(seed, k) % 2**32 for seed in (0, 1) for k in range(6)]
    assert len(set(seeds)) == len(seeds)
    drawn = [torch.rand((), generator=make_generator(5, stream=k)) for k in range(4)]
    assert len(set(map(float, drawn))) == 4
    assert make_generator(5, stream=0).initial_seed() == 5


def test_seeds_come_from_random_state_alone():
    assert draw_seed(3) == draw_seed(3) != draw_seed(4)
    state = np.random.RandomState(0)
    assert draw_seed(state) != draw_seed(state)
    assert 0 <= draw_seed(None) < 2**31


def test_generators_are_ours():
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, second = (torch.rand(4, generator=make_generator(5)) for _ in range(2))
    draw_seed(0)
    assert torch.equal(first, second)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)


# -- threads ---------------------------------------------------------------------


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_small_work_runs_on_one_thread_and_large_work_as_set(three_threads):
    with few_threads(1.0):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with few_threads(float(2**40)):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 3


def test_threads_come_back_after_an_exception(three_threads):
    with pytest.raises(KeyError), few_threads(1.0):
        raise KeyError
    assert torch.get_num_threads() == 3
    assert _border._thread_users == 0


def test_threads_come_back_after_nested_use(three_threads):
    with few_threads(1.0):
        with few_threads(1.0):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def overlap(first_to_go):
    """Two threads use `few_threads` at once; the counts each has afterwards."""
    inside, left = threading.Barrier(2, timeout=20), threading.Event()
    counts = {}

    def work(name):
        with few_threads(1.0):
            inside.wait()
            assert torch.get_num_threads() == 1
            if name != first_to_go:
                left.wait(20)
        counts[name] = torch.get_num_threads()
        left.set()

    other = threading.Thread(target=work, args=("other",))
    other.start()
    work("main")
    other.join()
    return counts


@pytest.mark.parametrize("first_to_go", ["main", "other"])
def test_threads_come_back_for_everyone_who_worked_at_once(three_threads, first_to_go):
    assert overlap(first_to_go) == {"main": 3, "other": 3}
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [3]
    assert torch.get_num_threads() == 3


def test_fits_at_once_leave_the_setting(three_threads):
    X = np.random.default_rng(0).normal(size=(40, 3))

    def fit(seed):
        NetClassifier(max_iter=3 + seed, hidden_layer_sizes=(4,)).fit(X, X[:, 0] > 0)

    workers = [threading.Thread(target=fit, args=(s,)) for s in range(4)]
    for worker in workers:
        worker.start()
    fit(1)
    for worker in workers:
        worker.join()
    assert torch.get_num_threads() == 3


def test_a_failing_fit_leaves_the_setting(three_threads):
    def broken(output, target):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        NetRegressor(criterion=broken).fit(np.eye(5), np.arange(5.0))
    assert torch.get_num_threads() == 3


def test_weights_whose_sum_is_no_number_are_refused():
    with pytest.raises(ValueError, match="sum of sample_weight is too large"):
        check_weights(np.full(9, 1e308), 9)
