"""Laws of the steps: what happens to a batch before the gradient."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score
from torch.testing import assert_close

from skrobust import NetRegressor, PRLClassifier
from skrobust._batch import Batch
from skrobust._stack import MLPStack
from skrobust.criteria import (
    CrossEntropy,
    GradientNorm,
    LossIncrement,
    LossLayer,
    Prediction,
)
from skrobust.rules import (
    Cap,
    Disagreement,
    Exchange,
    MedianOfMeans,
    Ramp,
    Trim,
    chain,
)
from skrobust.steps import (
    Context,
    Jitter,
    Mixup,
    RandomWeights,
    Relabel,
    Reweight,
    ReweightByLabel,
    SmoothLabels,
)

F64 = torch.float64
K, N, D, C = 2, 16, 5, 3
STEPS = [
    Reweight(Trim(0.3)),
    Reweight(Trim(Ramp(0.3, 3)), LossLayer(CrossEntropy())),
    Reweight(chain(Trim(0.3), Exchange()), GradientNorm(CrossEntropy())),
    Reweight(Cap(0.5), GradientNorm(CrossEntropy()), renormalize=False),
    Reweight(Disagreement(), Prediction()),
    ReweightByLabel(Trim(0.3), LossLayer(CrossEntropy())),
    SmoothLabels(),
    SmoothLabels(lambda epoch: 0.1 * epoch),
    Mixup(),
]


def scene(seed=0, weights=None, epoch=1):
    rng = torch.Generator().manual_seed(seed)
    stack = MLPStack((D, 6, C), K, generator=rng)
    x = torch.randn(N, D, generator=rng, dtype=F64)
    y = torch.randint(C, (N,), generator=rng)
    y = torch.nn.functional.one_hot(y, C).to(F64)
    if weights is None:
        weights = 0.5 + torch.rand(N, generator=rng, dtype=F64)
    batch = Batch(x, y, weights[None])
    return stack, batch, Context(CrossEntropy(), epoch, rng)


@pytest.mark.parametrize(
    "step", STEPS, ids=lambda a: re.sub(" at 0x[0-9a-f]+", "", repr(a))
)
class TestEveryStep:
    def test_leaves_its_batch_alone(self, step):
        stack, batch, context = scene()
        kept = batch.x.clone(), batch.y.clone(), batch.weights.clone()
        theta = stack.theta.clone()
        after = step(stack, batch, context)
        assert after is not batch
        for old, new in zip(kept, (batch.x, batch.y, batch.weights), strict=True):
            assert torch.equal(old, new)
        assert torch.equal(theta, stack.theta)

    def test_keeps_shapes_dtypes_and_sound_numbers(self, step):
        stack, batch, context = scene()
        after = step(stack, batch, context)
        assert after.x.shape == (N, D)
        assert after.y.shape in {(N, C), (1, N, C), (K, N, C)}
        assert after.weights.shape in {(1, N), (K, N)}
        for tensor in (after.x, after.y, after.weights):
            assert tensor.dtype == F64
            assert torch.isfinite(tensor).all()

    def test_targets_stay_probabilities(self, step):
        stack, batch, context = scene()
        y = step(stack, batch, context).y
        assert (y >= 0).all()
        assert_close(y.sum(-1), torch.ones(y.shape[:-1], dtype=F64))

    def test_adds_no_weight(self, step):
        stack, batch, context = scene()
        total = step(stack, batch, context).weights.sum(-1)
        assert (total <= batch.weights.sum() + 1e-12).all()

    def test_repeats_itself_from_the_same_generator(self, step):
        first, second = (step(*scene()) for _ in range(2))
        for name in ("x", "y", "weights"):
            assert torch.equal(getattr(first, name), getattr(second, name))

    def test_never_touches_the_global_generator(self, step):
        before = torch.get_rng_state()
        step(*scene())
        assert torch.equal(before, torch.get_rng_state())

    def test_is_a_value(self, step):
        if "lambda" not in repr(step):
            assert pickle.loads(pickle.dumps(step)) == step


def test_reweight_is_its_rule_on_its_score():
    stack, batch, context = scene()
    rule = Trim(Ramp(0.4, 5))
    scores = LossLayer(CrossEntropy())(stack, batch)
    expected = rule(scores, batch.weights, epoch=context.epoch)
    after = Reweight(rule, LossLayer(CrossEntropy()))(stack, batch, context)
    assert torch.equal(after.weights, expected)
    assert after.x is batch.x and after.y is batch.y


def test_reweight_without_a_score_takes_the_loss_that_is_descended():
    by_default = Reweight(Trim(0.3))(*scene()).weights
    assert torch.equal(
        by_default, Reweight(Trim(0.3), CrossEntropy())(*scene()).weights
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_row_that_cannot_be_rated_is_the_worst_of_all(value):
    stack, batch, context = scene(weights=torch.ones(N, dtype=F64))

    def score(stack, batch):
        scores = CrossEntropy()(stack, batch).clone()
        scores[:, [3, 9]] = value
        return scores

    after = Reweight(Trim(2 / N), score)(stack, batch, context).weights
    assert (after[:, [3, 9]] == 0).all()
    assert after.sum() == K * (N - 2)


def test_shrinking_rows_keeps_the_divisor_dropping_rows_does_not():
    stack, batch, context = scene()
    shrunk = Reweight(Cap(0.1), renormalize=False)(stack, batch, context)
    assert_close(shrunk.mass.expand(1, 1), batch.weights.sum(-1, keepdim=True))
    assert Reweight(Trim(0.3))(stack, batch, context).mass is None


def test_two_reweights_are_one_after_the_other():
    stack, batch, context = scene()
    first, second = Reweight(Trim(0.2)), Reweight(Cap(0.5))
    both = second(stack, first(stack, batch, context), context)
    chained = Reweight(chain(Trim(0.2), Cap(0.5)))(stack, batch, context)
    assert_close(both.weights, chained.weights)


@pytest.mark.parametrize("kind", [Reweight, ReweightByLabel])
def test_rules_for_all_rows_leave_a_batch_to_the_others(kind):
    stack, batch, context = scene()
    assert kind(Trim(0.3), every=1)(stack, batch, context) is batch


def test_smoothing_nothing_changes_nothing_and_more_moves_towards_even():
    stack, batch, context = scene()
    assert torch.equal(SmoothLabels(0.0)(stack, batch, context).y, batch.y)
    y = SmoothLabels(0.3)(stack, batch, context).y
    assert_close(y, 0.7 * batch.y + 0.1)


def test_a_schedule_of_smoothing_is_held_to_its_range():
    with pytest.raises(ValueError, match="in epoch 3; it must be in"):
        SmoothLabels(lambda epoch: 1.0)(*scene(epoch=3))


def test_smoothing_does_not_hide_new_targets_behind_known_losses():
    """The loss of the changed batch is computed from its own targets."""
    stack, batch, context = scene()
    CrossEntropy()(stack, batch)  # known for the old targets
    after = SmoothLabels(0.5)(stack, batch, context)
    expected = CrossEntropy().value(stack.predict(batch.x), after.y)
    assert_close(CrossEntropy()(stack, after), expected)


def test_mixup_does_not_hide_new_inputs_behind_known_outputs():
    stack, batch, context = scene()
    CrossEntropy()(stack, batch)
    after = Mixup()(stack, batch, context)
    expected = CrossEntropy().value(stack.predict(after.x), after.y)
    assert_close(CrossEntropy()(stack, after), expected)


def test_mixup_mixes_pairs_of_rows_and_keeps_the_total_weight():
    stack, batch, context = scene()
    after = Mixup()(stack, batch, context)
    assert_close(after.weights.sum(), batch.weights.sum())
    # every mixed row lies on a segment between its own row and one other
    seen = set()
    for i in range(N):
        for j in range(N):
            span = batch.x[j] - batch.x[i]
            share = (after.x[i] - batch.x[i]) @ span / span.square().sum().clamp(1e-30)
            point = batch.x[i] + share * span
            if (point - after.x[i]).abs().max() < 1e-9:
                seen.add(i)
                assert -1e-9 <= share <= 1 + 1e-9
                break
    assert seen == set(range(N))


def test_mixing_keeps_the_share_of_weight_that_all_rows_have_left():
    stack, batch, context = scene()
    judged = Batch(batch.x, batch.y, 0.3 * batch.weights, prior=batch.weights)
    mixed = Mixup()(stack, judged, context)
    assert_close(mixed.weights, 0.3 * mixed.prior)


def test_mixup_loss_is_the_weighted_loss_of_both_targets():
    stack, _, context = scene()
    _, batch, twin = scene()
    after = Mixup()(stack, batch, context)
    # the same draws by hand
    shape = torch.ones(2, dtype=F64)
    a, b = torch._standard_gamma(shape, generator=twin.generator)
    other = torch.randperm(N, generator=twin.generator)
    share, (w,), y = a / (a + b), batch.weights, batch.y
    out = stack.predict(after.x)
    loss = CrossEntropy().value
    own, others = loss(out, y), loss(out, y[other])
    expected = (share * w * own + (1 - share) * w[other] * others).sum(-1)
    assert_close((after.weights * loss(out, after.y)).sum(-1), expected)


def test_what_was_computed_stays_known_where_it_still_holds():
    """Ranking rows and descending their loss share one forward pass."""
    stack, batch, context = scene()
    calls = []
    forward = stack.forward
    stack.forward = lambda *args, **kw: calls.append(1) or forward(*args, **kw)
    after = Reweight(Trim(0.3))(stack, batch, context)
    after = Reweight(Cap(0.5), GradientNorm(CrossEntropy()))(stack, after, context)
    after.gradient(stack, CrossEntropy(), training=True)
    assert len(calls) == 1


def test_random_weights_are_the_positive_halves_of_normal_draws():
    stack, batch, context = scene(weights=torch.ones(5000, dtype=F64))
    batch = Batch(torch.zeros(5000, D, dtype=F64), None, batch.weights)
    after = RandomWeights()(stack, batch, context).weights
    assert after.shape == (K, 5000)
    assert (after >= 0).all()
    assert float((after > 0).double().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(after.square().mean()) == pytest.approx(0.5, abs=0.05)
    assert (after[0] != after[1]).any()  # every network has its own
    again = RandomWeights()(stack, batch, context).weights
    assert (again != after).any()  # and every step


def test_random_weights_multiply_what_rows_weigh():
    weights = torch.arange(N, dtype=F64)
    after = RandomWeights()(*scene(weights=weights)).weights
    ones = RandomWeights()(*scene(weights=torch.ones(N, dtype=F64))).weights
    assert_close(after, weights * ones)


def test_relabelling_waits_for_a_judgement():
    stack, batch, context = scene()
    assert Relabel()(stack, batch, context) is batch


def test_relabelling_gives_way_where_weight_was_lost_and_gives_weight_back():
    stack, batch, context = scene()
    own = batch.weights
    trust = torch.linspace(0, 1, N, dtype=F64).expand(K, N)
    judged = Batch(batch.x, batch.y, own * trust, prior=own)
    after = Relabel()(stack, judged, context)
    assert_close(after.weights, own.expand(K, N))
    assert_close(after.y.sum(-1), torch.ones(K, N, dtype=F64))
    guess = stack.predict(batch.x).argmax(-1)
    assert torch.equal(after.y[:, 0].argmax(-1), guess[:, 0])  # nothing was left
    assert_close(after.y[:, -1], batch.y[-1].expand(K, C))  # nothing was lost
    said = batch.y.argmax(-1)
    for k in range(K):
        for i in range(N):
            share = trust[k, i] if said[i] != guess[k, i] else 1.0
            assert float(after.y[k, i, said[i]]) == pytest.approx(float(share))


def test_relabelling_leaves_the_labels_of_rows_that_gained_weight():
    stack, batch, context = scene()
    judged = Batch(batch.x, batch.y, 2 * batch.weights, prior=batch.weights)
    after = Relabel()(stack, judged, context)
    assert_close(after.y, batch.y.expand_as(after.y))


# -- weights by label ------------------------------------------------------------


class Known:
    """A score that is given."""

    def __init__(self, values):
        self.values = torch.as_tensor(values, dtype=torch.float64)[None]

    def __call__(self, stack, batch):
        return self.values


def by_label(scores, labels, epsilon, weights=None, kind=ReweightByLabel):
    n = len(scores)
    weights = torch.ones(n) if weights is None else torch.as_tensor(weights)
    y = torch.nn.functional.one_hot(torch.as_tensor(labels)).double()
    batch = Batch(torch.zeros(n, 1), y, weights.double()[None])
    context = Context(CrossEntropy(), 0, torch.Generator())
    return kind(Trim(epsilon), Known(scores))(None, batch, context).weights[0]


def test_a_hard_label_loses_only_what_is_worse_than_its_mean():
    scores = np.r_[np.arange(12.0), 20 + np.arange(4.0)]  # the rare label is hardest
    labels = np.r_[np.zeros(12, int), np.ones(4, int)]
    plain = by_label(scores, labels, 0.25, kind=Reweight)
    assert plain[12:].sum() == 0  # it would be lost
    left = by_label(scores, labels, 0.25)
    assert left.tolist() == [1.0] * 10 + [0, 0] + [1, 1, 0, 0]
    assert left.sum() == plain.sum() == 12


def test_less_than_the_share_is_left_out_where_no_more_is_worse_than_usual():
    scores, labels = np.r_[np.zeros(9), 1.0], np.zeros(10, int)
    assert by_label(scores, labels, 0.5).tolist() == [1.0] * 9 + [0]
    assert by_label(np.ones(10), labels, 0.5).tolist() == [1.0] * 10
    alone = by_label([1.0, 1.0, 1.0, 5.0], [0, 0, 0, 1], 0.25)
    assert alone.tolist() == [1.0] * 4  # the only row of its label


def test_networks_spare_rows_for_each_other():
    labels = torch.as_tensor([0, 0, 0, 0, 1, 1])
    y = torch.nn.functional.one_hot(labels).double()
    batch = Batch(torch.zeros(6, 1), y, torch.ones(1, 6, dtype=F64))
    scores = torch.tensor([[0.0, 1, 2, 9, 5, 6], [9.0, 2, 1, 0, 6, 5]], dtype=F64)
    known = Known(scores[0])
    known.values = scores
    context = Context(CrossEntropy(), 0, torch.Generator())
    alone = ReweightByLabel(Trim(0.9), known)(None, batch, context).weights
    assert alone.tolist() == [[1, 1, 1, 0, 1, 0], [0, 1, 1, 1, 0, 1]]
    both = ReweightByLabel(chain(Trim(0.9), Exchange()), known)(None, batch, context)
    assert both.weights.tolist() == alone.flip(0).tolist()


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_row_without_a_score_is_never_spared(bad):
    scores, labels = np.r_[np.arange(9.0), bad], np.arange(10) % 2
    assert by_label(scores, labels, 0.1).tolist() == [1.0] * 9 + [0]


@pytest.mark.parametrize("seed", range(5))
def test_means_of_labels_are_those_of_weight(seed):
    rng = np.random.default_rng(seed)
    labels, times = rng.choice(3, 30, p=[0.7, 0.2, 0.1]), rng.integers(1, 4, 30)
    scores = rng.random(30) + labels
    left = by_label(scores, labels, 0.3, times)
    each = by_label(np.repeat(scores, times), np.repeat(labels, times), 0.3)
    ends = np.cumsum(times)
    again = [each[a:b].sum() for a, b in zip(ends - times, ends, strict=True)]
    assert_close(left, torch.stack(again), rtol=1e-12, atol=1e-12)


def test_each_network_may_have_labels_of_its_own():
    stack, batch, context = scene()
    each = Batch(batch.x, batch.y.expand(K, N, C), batch.weights)
    step = ReweightByLabel(Trim(0.7), CrossEntropy())
    one, other = (step(stack, b, context).weights for b in (batch, each))
    assert_close(one, other)


def test_a_rare_class_of_clean_labels_is_learned():
    X, y = make_classification(
        1500,
        10,
        n_informative=6,
        weights=[0.95],
        flip_y=0,
        class_sep=1.5,
        random_state=0,
    )
    X = X.astype(np.float32)
    lost, kept = (
        PRLClassifier(by_label=whether, random_state=0, max_iter=40).fit(X, y)
        for whether in (False, True)
    )
    assert balanced_accuracy_score(y, lost.predict(X)) < 0.6
    assert balanced_accuracy_score(y, kept.predict(X)) > 0.75


def test_a_rule_of_reach_keeps_rows_beside_spared_ones():
    scores = torch.cat([torch.full((1, 36), -torch.inf), torch.rand(1, 4)], -1)
    for weights in (torch.ones(1, 1).expand(1, 40), torch.linspace(0.5, 1, 40)[None]):
        kept = Trim(0.05, reach=6.0)(scores, weights, epoch=0)
        assert_close(kept, Trim(0.05)(scores, weights, epoch=0))
        assert (kept[:, 36:] > 0).sum() >= 2


def test_relabelling_after_mixing_knows_the_mixed_trust():
    stack, batch, context = scene()
    own = batch.weights
    judged = Batch(batch.x, batch.y, 0.3 * own, prior=own)
    mixed = Mixup()(stack, judged, context)
    after = Relabel()(stack, mixed, context)
    guess = stack.predict(mixed.x).argmax(-1)
    guess = torch.nn.functional.one_hot(guess, C).to(F64)
    assert_close(after.y, 0.3 * mixed.y + 0.7 * guess)
    assert_close(after.weights, mixed.weights / 0.3)
    assert_close(after.weights.sum(), own.sum())


def test_jitter_moves_inputs_of_any_shape():
    stack, batch, context = scene()
    cubes = batch.x[:, :4].reshape(N, 2, 2).repeat(2, 1, 1)
    batch = Batch(cubes, None, torch.ones(1, 2 * N))
    moved = Jitter(0.1)(stack, batch, context).x
    assert moved.shape == cubes.shape and (moved != cubes).all()
    assert torch.equal(moved[:N], moved[N:])  # equal rows alike
    noise = (moved - cubes)[:N].flatten(1)
    apart = (noise[:, None] - noise).abs().amax(-1) > 1e-6
    assert apart.double().mean() > 0.8  # and others not


def test_jitter_is_normal_noise_of_the_stated_size():
    stack, _, context = scene()
    x = torch.arange(4000, dtype=F64)[:, None].repeat(1, 3)
    noise = Jitter(0.2)(stack, Batch(x, None, torch.ones(1, 4000)), context).x - x
    assert float(noise.std(0).mean()) == pytest.approx(0.2, rel=0.1)
    assert len(noise.round(decimals=6).unique(dim=0)) > 200


@pytest.mark.parametrize("rule", ["trim", Trim, Ramp(0.2), None])
def test_what_is_no_rule_is_refused(rule):
    with pytest.raises(ValueError, match="'rule' parameter of Reweight"):
        Reweight(rule)


@pytest.mark.parametrize("score", ["loss", LossLayer, Trim(0.2)])
def test_what_is_no_score_is_refused(score):
    with pytest.raises(ValueError, match="'score' parameter of Reweight"):
        Reweight(Trim(0.2), score)


def test_scores_have_a_number_for_each_row():
    X = np.random.RandomState(0).randn(20, 2)
    flat = NetRegressor((Reweight(Trim(0.2), lambda stack, batch: batch.x[:, 0]),))
    with pytest.raises(ValueError, match=r"n_samples = 20.*gave \(20,\) instead"):
        flat.fit(X, X[:, 0])


@pytest.mark.parametrize("rule", [Trim(0.2), Cap(1.0), MedianOfMeans(5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_opinion_serves_all_networks(rule, dtype):
    X = np.random.RandomState(0).randn(40, 2)
    step, few = Reweight(rule, LossIncrement()), {"max_iter": 2, "random_state": 0}
    model = NetRegressor((step,), n_networks=2, dtype=dtype, **few).fit(X, X[:, 0])
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match="2 or more for steps that compare networks"):
        model.set_params(n_networks=1).fit(X, X[:, 0])
    alone = Reweight(Disagreement(), Prediction())
    with pytest.raises(ValueError, match="2 or more for steps that compare networks"):
        NetRegressor((alone,)).fit(X, X[:, 0])
