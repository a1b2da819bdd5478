"""Laws of the collaborative autoencoders: separate networks, selection, passes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

from skrobust import NetOutlierDetector, RCAOutlierDetector
from skrobust._batch import Batch
from skrobust._dropout import fill_mask_
from skrobust._ensemble import mean_over_passes
from skrobust._stack import MLPStack
from skrobust._vae import VariationalAutoencoder
from skrobust.criteria import ReconstructionError, VariationalError
from skrobust.rules import Exchange

SMALL = {"hidden_layer_sizes": (8,), "code_size": 2, "max_iter": 8, "random_state": 0}
N = 120


def data(seed=0):
    """Rows on a plane, of which the first tenth is not."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(
        size=(N, 5)
    )
    X[:12] = 3 * rng.normal(size=(12, 5))
    return X, np.where(np.arange(N) < 12, -1, 1)


X, LABELS = data()


def rca(**params):
    return RCAOutlierDetector(**{**SMALL, **params})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -- masks and passes ------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_mask_keeps_at_its_rate_at_every_byte_and_has_mean_one(rate, dtype):
    mask = fill_mask_(torch.empty(40_000, 8, dtype=dtype), rate, generator())
    kept = (mask > 0).double().mean(0)  # one share for each byte of a random word
    assert (kept - (1 - rate)).abs().max() < 0.002 + 5 * 0.5 / 40_000**0.5
    assert mask.double().mean() == pytest.approx(1, abs=0.02)
    assert len(mask.unique()) == 2
    again = fill_mask_(torch.empty_like(mask), rate, generator())
    assert torch.equal(mask, again)
    assert not torch.equal(mask, fill_mask_(again, rate, generator(1)))


def test_masks_of_any_size_are_filled():
    for n in (1, 7, 8, 9):
        assert set(fill_mask_(torch.full((n,), 7.0), 0.5, generator()).tolist()) <= {
            0,
            2,
        }


def linear_stack(rate, k=2):
    stack = MLPStack(
        (3, 6, 3), k, activation="identity", dropout=rate, generator=generator()
    )
    return stack, torch.randn(9, 3, generator=generator(1), dtype=torch.float64)


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_the_mean_over_passes_is_that_of_dropout(rate):
    stack, x = linear_stack(rate)
    errors = ReconstructionError()
    n = 4000
    found = mean_over_passes(
        stack, x, lambda o, x: errors.value(o, x), n, seed=0, block=4
    )
    # dropout is noise of known variance in the last layer's input
    plain = errors.value(stack.predict(x), x)
    hidden = torch.baddbmm(stack._b[0], x.expand(2, *x.shape), stack._Wt[0])
    more = (hidden**2 @ stack._Wt[1] ** 2).mean(-1) * rate / (1 - rate)
    assert_allclose(found, plain + more, rtol=12 / n**0.5)
    assert not np.allclose(found, plain, rtol=0.05)


def test_passes_thin_networks_apart_and_leave_the_stack_alone():
    stack, x = linear_stack(0.5)
    before = stack.predict(x)
    thin = stack.thinned(generator())
    assert torch.equal(stack.predict(x), before)
    assert not torch.equal(thin.predict(x), before)
    hidden = (thin._Wt[1] != 0).any(-1)  # which units feed anything
    assert not torch.equal(hidden[0], hidden[1])


def test_scores_do_not_depend_on_the_rows_beside():
    model = rca(n_passes=5).fit(X)
    scores, features = model.score_samples(X), model.feature_scores(X)
    assert_array_equal(model.score_samples(X), scores)
    order = np.random.default_rng(0).permutation(N)
    assert_allclose(model.score_samples(X[order]), scores[order], rtol=1e-10)
    alone = [model.score_samples(row[None])[0] for row in X[:5]]
    assert_allclose(alone, scores[:5], rtol=1e-10)
    assert_allclose(features.mean(1), -scores, rtol=1e-10)


def test_scores_average_over_the_networks():
    model = rca(n_passes=0, n_networks=3).fit(X)
    z = torch.tensor(model._scaler.transform(X))
    with torch.no_grad():
        each = [((m(z) - z) ** 2).mean(1) for m in model._stack.modules()]
    assert_allclose(model.score_samples(X), -torch.stack(each).mean(0), rtol=1e-10)


# -- selection and exchange --------------------------------------------------------


def test_networks_are_separate():
    stack, x = linear_stack(0.0, k=3)
    batch = Batch(x, None, torch.ones(3, 9, dtype=x.dtype))
    gradient = batch.gradient(stack, ReconstructionError(), training=True)
    weights = torch.tensor([[0.0], [1.0], [0.0]], dtype=x.dtype).expand(3, 9)
    stack.backward(batch.tape(stack, training=True), gradient, weights)
    first, second, third = stack.network_grads()
    assert all((g != 0).any() for g in second)
    assert not any((g != 0).any() for g in first + third)


def test_every_network_learns_and_none_is_a_copy():
    one, more = rca(max_iter=1).fit(X), rca(max_iter=8).fit(X)
    for before, after in zip(one._stack._W, more._stack._W, strict=True):
        assert ((before != after).flatten(1).any(1)).all()
        assert not torch.equal(after[0], after[1])


@pytest.mark.parametrize("group", [1, 2, 3, 6])
def test_exchange_stays_within_its_group_and_loses_nothing(group):
    weights = torch.rand(6, 10, generator=generator())
    moved = Exchange(group)(weights, weights, epoch=0)
    for start in range(0, 6, group):
        part = slice(start, start + group)
        assert torch.equal(
            moved[part], Exchange()(weights[part], weights[part], epoch=0)
        )
    assert torch.equal(Exchange(6)(weights, weights, epoch=0), weights.roll(-1, 0))


@pytest.mark.parametrize("ramp", [0.0, 0.5, 1.0])
def test_the_left_out_share_grows_over_a_part_of_the_epochs(ramp):
    model, n_epochs = rca(epsilon=0.3, ramp=ramp), 20
    (step,) = model._steps_within(n_epochs, 1)
    scores, weights = torch.rand(2, 1000, generator=generator()), torch.ones(1, 1000)
    left = [1 - float(step.rule(scores, weights, epoch=e).mean()) for e in range(20)]
    assert np.diff(left).min() >= -1e-6 and left[-1] == pytest.approx(0.3)
    assert sum(share < 0.299 for share in left) == max(0, ramp * n_epochs - 1)


def test_a_network_learns_from_what_the_other_chose():
    model = rca(epsilon=0.3, ramp=0.0)
    (step,) = model._steps_within(10, 1)
    scores = torch.stack([torch.arange(10.0), -torch.arange(10.0)])
    kept = step.rule(scores, torch.ones(1, 10), epoch=0) > 0.5
    assert kept[1].nonzero()[:, 0].tolist() == list(range(7))
    assert kept[0].nonzero()[:, 0].tolist() == list(range(3, 10))


def test_networks_that_go_on_keep_their_groups():
    model = rca(epsilon=0.3, ramp=0.0, capacities=(0.5, 0.0)).fit(X)
    (step,) = model.set_params(n_networks=3)._steps_within(10, 1)
    scores = torch.rand(4, 10, generator=generator())
    kept = step.rule(scores, torch.ones(1, 10), epoch=0)
    own = scores.argsort(-1).argsort(-1) < 7
    assert torch.equal(kept > 0.5, own[[1, 0, 3, 2]])


def test_planted_outliers_are_distrusted():
    model = rca(dropout=0.2, max_iter=60, batch_size=32, hidden_layer_sizes=64).fit(X)
    assert (model.predict(X)[:12] == -1).mean() > 0.7
    assert model.sample_weight_[:12].mean() < 0.3 < model.sample_weight_[12:].mean()


# -- ablations and options -----------------------------------------------------------


def test_one_network_without_choice_and_dropout_is_a_plain_autoencoder():
    plain = {"n_networks": 1, "dropout": 0.0, "alpha": 0.0, "batch_size": 32}
    shared = {**SMALL, **plain, "n_iter_no_change": None}
    ours = RCAOutlierDetector(epsilon=0, **shared).fit(X)
    base = NetOutlierDetector(**shared).fit(X)
    assert_array_equal(ours._stack.theta, base._stack.theta)
    assert_allclose(ours.score_samples(X), base.score_samples(X), rtol=1e-12)
    assert (ours.sample_weight_ == 1).all()


@pytest.mark.parametrize(
    "hidden, sizes", [((), (2,)), (5, (5, 2)), ((6, 5), (6, 5, 2, 5))]
)
def test_dropout_spares_the_layer_before_the_output(hidden, sizes):
    model = rca(hidden_layer_sizes=hidden, code_size=2, dropout=0.5).fit(X)
    assert model._stack._dropped_sizes == sizes


def test_epsilon_follows_contamination_unless_it_is_given():
    same = rca(contamination=0.25).fit(X), rca(epsilon=0.25).fit(X)
    assert_array_equal(*(m.score_samples(X) for m in same))
    same = rca(contamination="auto").fit(X), rca(contamination=0.1).fit(X)
    assert_array_equal(*(m.score_samples(X) for m in same))
    clean = rca(contamination=0).fit(X)
    assert (clean.sample_weight_ == 1).all() and (clean.predict(X) == 1).all()


def test_capacities_add_up_standardised_losses():
    model = rca(capacities=(0.5, 0.0), n_networks=2, n_passes=3).fit(X)
    assert model._stack.n_networks == 4
    losses = model._losses(X)
    assert len(losses) == 3  # with passes, of which one group without them too
    middle = {"q": 0.5, "axis": 1, "keepdims": True, "method": "inverted_cdf"}
    away = losses - np.quantile(losses, **middle)
    scores = -(away / (1.4826 * np.quantile(abs(away), **middle))).sum(0)
    assert_allclose(model.score_samples(X), scores, rtol=1e-6)
    gaps = model.feature_scores(X).mean(1) + model.score_samples(X)
    assert_allclose(gaps, gaps[0], rtol=1e-8)
    # networks without dropout are the same in each pass
    again = clone(model).set_params(n_passes=0).fit(X)._losses(X)
    assert_allclose(again, losses[[2, 1]], rtol=1e-10)
    assert not np.allclose(again[0], losses[0])


@pytest.mark.parametrize("network", ["autoencoder", "vae"])
def test_networks_by_name_train_and_score(network):
    model = rca(network=network, max_iter=40).fit(X)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.score_samples(X[12:]).mean() > model.score_samples(X[:12]).mean()
    assert model.feature_scores(X).shape == X.shape


def test_the_variational_error_is_the_evidence_bound():
    rng = generator(3)
    x = torch.randn(6, 4, generator=rng, dtype=torch.float64)
    output = torch.randn(2, 6, 4 + 2 * 3, generator=rng, dtype=torch.float64)
    rebuilt, mean, log_variance = output.split([4, 3, 3], -1)
    code = torch.distributions.Normal(mean, (log_variance / 2).exp())
    unit = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    excess = torch.distributions.kl_divergence(code, unit).sum(-1)
    bound = -torch.distributions.Normal(rebuilt, 1.0).log_prob(x).sum(-1) + excess
    constant = 0.5 * 4 * np.log(2 * np.pi)
    assert_allclose(VariationalError().value(output, x), (bound - constant) * 2 / 4)
    module = VariationalAutoencoder(4, (5,), 3, "tanh").double().eval()
    assert torch.equal(module(x), module(x))
    assert not torch.equal(module.train()(x), module(x))


class Own(nn.Module):
    """A user's network for images, with dropout and batch statistics."""

    def __init__(self, row, n_outputs):
        super().__init__()
        size = int(np.prod(row))
        self.hidden = nn.Sequential(
            nn.Flatten(), nn.Linear(size, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)
        )
        self.out = nn.Linear(6, n_outputs)

    def forward(self, x):
        return self.out(self.hidden(x))


def test_a_network_of_ones_own_takes_part_with_its_dropout():
    images = np.random.default_rng(0).normal(size=(60, 3, 4))
    model = rca(network=Own, n_passes=4).fit(images)
    scores = model.score_samples(images)
    assert_allclose(model.score_samples(images[::-1])[::-1], scores, rtol=1e-8)
    assert model.feature_scores(images).shape == images.shape
    plain = clone(model).set_params(n_passes=0).fit(images)
    assert not np.allclose(plain.score_samples(images), scores)
    noisy = clone(model).set_params(n_passes=100).fit(images)
    # noise adds to squared errors, on average
    assert noisy.score_samples(images).mean() < plain.score_samples(images).mean()


def test_the_column_that_did_it_is_named():
    rows = X[12:].copy()
    rows[5, 3] += 15
    model = rca(max_iter=40).fit(rows)
    assert model.score_samples(rows).argmin() == 5
    assert model.feature_scores(rows)[5].argmax() == 3


# -- missing values --------------------------------------------------------------------


def holes(seed=0):
    rows = X.copy()
    rows[np.random.default_rng(seed).random(rows.shape) < 0.2] = np.nan
    return rows


@pytest.mark.parametrize("imputer", ["mean", "median", KNNImputer(n_neighbors=3)])
def test_imputing_inside_is_imputing_before(imputer):
    rows = holes()
    with pytest.raises(ValueError, match="NaN"):
        rca().fit(rows)
    model = rca(imputer=imputer).fit(rows)
    before = SimpleImputer(strategy=imputer) if isinstance(imputer, str) else imputer
    piped = make_pipeline(clone(before), rca()).fit(rows)
    assert_allclose(model.score_samples(rows), piped.score_samples(rows), rtol=1e-12)
    assert np.isfinite(model.feature_scores(rows)).all()
    assert np.isfinite(model.score_samples(np.full((2, 5), np.nan))).all()
    assert model.__sklearn_tags__().input_tags.allow_nan
    assert not rca().__sklearn_tags__().input_tags.allow_nan
    with pytest.raises(ValueError, match="infinity"):
        model.score_samples(np.full((2, 5), np.inf))


def test_rows_that_do_not_count_do_not_fill_holes():
    rows, weights = holes(), np.ones(N)
    weights[:40] = 0
    model = rca(imputer="mean").fit(rows, sample_weight=weights)
    rest = rca(imputer="mean").fit(rows[40:])
    assert_allclose(model.score_samples(rows), rest.score_samples(rows), rtol=1e-8)


@pytest.mark.parametrize("imputer", ["mean", "median", KNNImputer(n_neighbors=3)])
def test_a_weight_repeats_its_row_for_the_imputer(imputer):
    rows, weights = holes(), np.random.default_rng(1).integers(0, 5, N)
    params = {"imputer": imputer, "batch_size": 512}
    weighted = rca(**params).fit(rows, sample_weight=weights)
    repeated = rca(**params).fit(np.repeat(rows, weights, axis=0))
    found = weighted._imputer.transform(rows)
    assert_allclose(found, repeated._imputer.transform(rows), rtol=1e-12)
    assert_allclose(
        weighted.score_samples(rows), repeated.score_samples(rows), rtol=1e-6
    )


@pytest.mark.parametrize("weights", [np.full(N, 0.1), np.r_[1e15, np.ones(N - 1)]])
def test_weights_that_cannot_repeat_rows_leave_the_imputer_alone(weights):
    rows = holes()
    model = rca(imputer="mean").fit(rows, sample_weight=weights)
    assert_allclose(model._imputer.statistics_, np.nanmean(rows, axis=0))


def test_the_fitted_imputer_decides_on_missing_values():
    rows = holes()
    whole = rca().fit(X).set_params(imputer="mean")
    with pytest.raises(ValueError, match="NaN"):
        whole.score_samples(rows)
    filling = rca(imputer="mean").fit(rows)
    scores = filling.score_samples(rows)
    assert_array_equal(filling.set_params(imputer=None).score_samples(rows), scores)


def test_training_that_goes_on_keeps_what_fills_holes():
    rows = holes()
    model = rca(imputer="mean").partial_fit(rows)
    filled = model._imputer.statistics_
    assert_array_equal(model.partial_fit(rows[:20])._imputer.statistics_, filled)
    model = rca(imputer="mean", warm_start=True).fit(rows)
    assert_array_equal(model.fit(rows[:20])._imputer.statistics_, filled)


def test_an_empty_column_is_filled_and_a_careless_imputer_refused():
    rows = holes()
    rows[:, 0] = np.nan
    assert np.isfinite(rca(imputer="mean").fit(rows).score_samples(rows)).all()
    with pytest.raises(ValueError, match="keep the columns"):
        rca(imputer=SimpleImputer()).fit(rows)


def test_an_imputer_that_leaves_holes_is_refused():
    with pytest.raises(ValueError, match="must fill every missing value"):
        rca(imputer=FunctionTransformer()).fit(holes())


# -- settings ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"epsilon": 1.0}, "'epsilon' parameter"),
        ({"epsilon": -0.1}, "'epsilon' parameter"),
        ({"ramp": 1.5}, "'ramp' parameter"),
        ({"n_passes": -1}, "'n_passes' parameter"),
        ({"n_networks": 0}, "'n_networks' parameter"),
        ({"code_size": 0}, "'code_size' parameter"),
        ({"network": "gan"}, "'network' parameter"),
        ({"network": nn.Linear(5, 5)}, "must be a factory"),
        ({"imputer": "mode"}, "'imputer' parameter"),
        ({"capacities": (0.5, 1.0)}, "'capacities' parameter"),
        ({"capacities": (0.5,), "network": "vae"}, "'capacities' parameter"),
        ({"max_iter": None}, "'max_iter' parameter"),
        ({"calibration_fraction": 1.0}, "'calibration_fraction' parameter"),
    ],
)
def test_impossible_settings_are_refused_by_name(params, words):
    with pytest.raises(ValueError, match=words):
        rca(**params).fit(X)


@pytest.mark.parametrize(
    ("n", "epochs"), [(20, 90), (128, 90), (1000, 75), (10000, 10)]
)
def test_training_is_shorter_for_few_rows(n, epochs):
    rows = np.arange(n, dtype=float)[:, None]
    assert RCAOutlierDetector()._epochs(rows, None, -(-n // 128)) == epochs
    assert RCAOutlierDetector(max_iter=7)._epochs(rows, None, 1) == 7


def test_it_works_in_a_pipeline_and_a_search():
    pipe = make_pipeline(StandardScaler(), rca(n_passes=2))
    grid, folds = {"rcaoutlierdetector__epsilon": [0.0, 0.2]}, StratifiedKFold(2)
    search = GridSearchCV(pipe, grid, scoring="roc_auc", cv=folds)
    search.fit(X, LABELS)
    assert search.best_score_ > 0.6
    assert search.predict(X).shape == (N,)


def test_an_imputer_fills_rows_of_any_shape():
    class Same(torch.nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.outer = torch.nn.Linear(n_outputs, n_outputs)

        def forward(self, x):
            return self.outer(x.flatten(1))

    cubes = np.random.default_rng(0).normal(size=(60, 2, 2))
    cubes[::7, 0, 1] = np.nan
    model = RCAOutlierDetector(network=Same, imputer="mean", max_iter=2).fit(cubes)
    assert np.isfinite(model.score_samples(cubes)).all()
    with pytest.raises(ValueError, match="rows of shape"):
        model.score_samples(cubes[:, :, :1].repeat(3, axis=2))


@pytest.mark.parametrize("batch_size", ["auto", 0.25])
def test_epochs_follow_different_rows_not_how_often_they_are_given(batch_size):
    X = np.random.default_rng(0).normal(size=(60, 3))
    size = {} if batch_size == "auto" else {"batch_size": batch_size}
    once = RCAOutlierDetector(random_state=0, dtype="float64", **size)
    often = clone(once).fit(np.repeat(X, 3, 0))
    once.fit(X, sample_weight=np.full(60, 3))
    assert once.n_iter_ == often.n_iter_
    assert_allclose(once.score_samples(X), often.score_samples(X), rtol=1e-6)


def test_a_threshold_is_finite_whatever_the_scores():
    X = np.random.default_rng(0).normal(size=(50, 3)) * 1e3
    wild = {"solver": "sgd", "max_iter": 3, "dtype": "float32", "random_state": 0}
    detector = RCAOutlierDetector(standardize=False, learning_rate_init=1e3, **wild)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        detector.fit(X)
    assert np.isfinite(detector.offset_)
    assert np.isfinite(detector.decision_function(X)).all()


def test_images_may_be_rebuilt_as_images():
    X = np.random.default_rng(0).normal(size=(30, 1, 4, 4)).astype(np.float32)

    def images(shape, n_outputs):
        return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 1))

    def pixels(shape, n_outputs):
        return nn.Sequential(images(shape, n_outputs), nn.Flatten())

    few = {"max_iter": 2, "random_state": 0}
    scores = [
        NetOutlierDetector(network=network, **few).fit(X).score_samples(X)
        for network in (images, pixels)
    ]
    assert_allclose(*scores, rtol=1e-6)
