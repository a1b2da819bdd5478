"""Laws of the rules: what any of them does to the weights of rows."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import torch

from skrobust import criteria, rules, steps
from skrobust.rules import (
    Cap,
    Disagreement,
    Exchange,
    LossMixture,
    MedianOfMeans,
    MultiplicativeWeights,
    NearMedian,
    Phases,
    Ramp,
    SelfPaced,
    SmallestLoss,
    Trim,
    at_epoch,
    chain,
)

K, N = 3, 12
RULES = [
    Trim(0.3),
    Trim(Ramp(0.4, 4)),
    Trim(0.0),
    Trim(0.3, reach=1.1),
    Trim(0.3, spare=1.2),
    Trim(0.3, 1.3, Ramp(1.2, 4)),
    SelfPaced(0.5),
    SmallestLoss(),
    Disagreement(),
    Cap(0.5),
    Exchange(),
    chain(Trim(0.3), Exchange()),
    chain(Trim(0.2), Cap(0.5)),
    NearMedian(1.5),
    Phases(MedianOfMeans(3), Trim(0.3), 5),
    Phases(MedianOfMeans(3), Trim(0.3), 1),
    MedianOfMeans(1),
    MedianOfMeans(3),
    MedianOfMeans(0.5, 0.3),
    MedianOfMeans(5, 3),
    MedianOfMeans(50),
    LossMixture(warm_up=0),
    MultiplicativeWeights(2.0),
    MultiplicativeWeights(Ramp(3.0, 4), max_weight=1.5),
]
# rules that judge each network by its own scores alone
SEPARATE = [r for r in RULES if "Exchange" not in repr(r) and r != Disagreement()]


def draw(seed=0, k=K, n=N):
    rng = torch.Generator().manual_seed(seed)
    scores = torch.rand(k, n, generator=rng, dtype=torch.float64)
    weights = torch.rand(1, n, generator=rng, dtype=torch.float64) + 0.1
    return scores, weights


def apply(rule, scores, weights, epoch=2):
    return rule(scores, weights, epoch=epoch)


@pytest.mark.parametrize(
    "rule", RULES, ids=lambda a: re.sub(" at 0x[0-9a-f]+", "", repr(a))
)
class TestEveryRule:
    def test_gives_weights_of_the_shape_of_the_scores(self, rule):
        scores, weights = draw()
        assert apply(rule, scores, weights).shape == scores.shape
        assert apply(rule, scores, weights.expand(K, N)).shape == scores.shape

    def test_never_adds_weight_and_never_turns_negative(self, rule):
        scores, weights = draw()
        after = apply(rule, scores, weights)
        assert (after >= 0).all()
        if getattr(rule, "updates", False):  # moves weight from row to row
            after, weights = after.sum(-1), weights.sum(-1)
        assert (after <= weights + 1e-12).all()

    @pytest.mark.parametrize("n", [N, N - 1])
    @pytest.mark.parametrize("weight", [1.0, 2.0, 0.5])
    def test_one_number_for_all_rows_is_that_number_for_each(self, rule, weight, n):
        # training hands over equal weights as one number, which rules may make use of
        scores = draw(n=n)[0]
        shared = torch.full((1, 1), weight, dtype=torch.float64).expand(1, n)
        each = apply(rule, scores, shared.contiguous())
        torch.testing.assert_close(apply(rule, scores, shared), each)

    def test_leaves_its_arguments_alone(self, rule):
        scores, weights = draw()
        before = scores.clone(), weights.clone()
        apply(rule, scores, weights)
        assert torch.equal(scores, before[0])
        assert torch.equal(weights, before[1])

    def test_a_row_without_weight_stays_without(self, rule):
        scores, weights = draw()
        weights[0, [1, 5]] = 0
        assert (apply(rule, scores, weights)[:, [1, 5]] == 0).all()

    @pytest.mark.parametrize("score", [0.0, 0.5, torch.inf])
    @pytest.mark.parametrize("equal", [True, False])
    def test_a_row_without_weight_moves_no_other(self, rule, score, equal):
        scores, weights = draw()
        weights = torch.ones_like(weights) if equal else weights
        more = torch.cat([scores, torch.full((K, 1), score, dtype=torch.float64)], -1)
        longer = torch.cat([weights, torch.zeros(1, 1, dtype=torch.float64)], -1)
        after = apply(rule, more, longer)
        torch.testing.assert_close(after[:, :-1], apply(rule, scores, weights))
        assert (after[:, -1] == 0).all()

    def test_infinite_scores_leave_finite_weights(self, rule):
        scores, weights = draw()
        scores[:, 3] = torch.inf
        assert torch.isfinite(apply(rule, scores, weights)).all()

    def test_follows_the_rows_when_they_are_reordered(self, rule):
        if getattr(rule, "by_order", False):
            pytest.skip("says that it looks at the order")
        scores, weights = draw()
        order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
        moved = apply(rule, scores[:, order], weights[:, order])
        torch.testing.assert_close(moved, apply(rule, scores, weights)[:, order])

    def test_weight_three_acts_like_three_rows(self, rule):
        scores, weights = draw()
        times = torch.tensor([1, 3, 2, 1, 1, 4, 1, 1, 2, 1, 1, 1])
        repeated = apply(
            rule,
            scores.repeat_interleave(times, -1),
            torch.ones(1, int(times.sum()), dtype=torch.float64),
        )
        rows = torch.arange(N).repeat_interleave(times).repeat(K, 1)
        summed = torch.zeros(K, N, dtype=torch.float64).scatter_add(-1, rows, repeated)
        weighted = apply(rule, scores, times.double()[None])
        torch.testing.assert_close(weighted, summed)

    def test_scales_with_the_weights(self, rule):
        scores, weights = draw()
        once, tenfold = apply(rule, scores, weights), apply(rule, scores, 10 * weights)
        torch.testing.assert_close(tenfold, 10 * once)

    def test_is_a_value(self, rule):
        assert pickle.loads(pickle.dumps(rule)) == rule
        assert hash(rule) == hash(pickle.loads(pickle.dumps(rule)))
        with pytest.raises(AttributeError):
            rule.epsilon = 0.5


@pytest.mark.parametrize(
    "rule", SEPARATE, ids=lambda a: re.sub(" at 0x[0-9a-f]+", "", repr(a))
)
def test_networks_are_judged_apart(rule):
    scores, weights = draw()
    alone = [apply(rule, scores[k : k + 1], weights) for k in range(K)]
    torch.testing.assert_close(apply(rule, scores, weights), torch.cat(alone))


@pytest.mark.parametrize(
    "rule", SEPARATE, ids=lambda a: re.sub(" at 0x[0-9a-f]+", "", repr(a))
)
def test_leading_axes_are_free(rule):
    """A grid of settings is one more axis in front."""
    grid = torch.stack([draw(seed)[0] for seed in range(4)])
    weights = draw()[1]
    looped = torch.stack([apply(rule, scores, weights) for scores in grid])
    torch.testing.assert_close(apply(rule, grid, weights), looped)


def test_trim_takes_one_epsilon_a_grid_point():
    scores, weights = draw()
    epsilons = torch.tensor([0.0, 0.25, 0.6], dtype=torch.float64)
    grid = apply(Trim(epsilons[:, None, None]), scores.expand(3, K, N), weights)
    for part, epsilon in zip(grid, epsilons.tolist(), strict=True):
        torch.testing.assert_close(part, apply(Trim(epsilon), scores, weights))


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.25, 0.5, 0.77, 0.99])
def test_trim_keeps_exactly_its_share_of_the_mass(epsilon):
    scores, weights = draw()
    kept = apply(Trim(epsilon), scores, weights).sum(-1)
    expected = (1 - epsilon) * weights.sum(-1)
    torch.testing.assert_close(kept, expected.expand(K))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_trim_drops_what_is_out_of_reach_however_rows_are_counted(dtype):
    scores = torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0, 50.0, 60.0, 70.0]], dtype=dtype)
    one = torch.ones(1, 1, dtype=dtype)
    # 85 % of six kept rows end with the one that scores 50; of four with 4
    for epsilon, reach, n_kept in [
        (0.25, 2.0, 6), (0.5, 2.0, 4), (0.5, 1.1, 4), (0.375, 4.0, 5), (0.375, 1.0, 5),
        (0.25, 1.0, 6), (0.3, 4.0, 5),
    ]:  # fmt: skip
        rule = Trim(epsilon, reach)
        for weights in (one.expand(1, 8), torch.ones(1, 8, dtype=dtype), one / 7):
            kept = apply(rule, scores, weights).sum() / weights.flatten()[0]
            assert kept.item() == pytest.approx(n_kept, rel=1e-6)
    crowd = torch.tensor([[1.0] * 9 + [3.0, 50.0, 60.0]], dtype=dtype)
    for weights in (one.expand(1, 12), torch.ones(1, 12, dtype=dtype)):
        assert apply(Trim(0.1, 4.0), crowd, weights).tolist() == [[1.0] * 10 + [0, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_trim_spares_what_is_near_however_rows_are_counted(dtype):
    scores = torch.tensor([[9.0, 1.0, 2.0, 3.0, 4.0, 50.0, 60.0, torch.inf]])
    one = torch.ones(1, 1, dtype=dtype)
    # 85 % of four kept rows end with the one that scores 4
    for reach, spare, kept in [
        (None, 0.0, 4), (None, 1.0, 4), (None, 2.25, 5), (None, 2.2, 4),
        (None, 12.5, 6), (None, 1e300, 7), (2.0, 12.5, 4), (2.25, 12.5, 5),
        (None, lambda epoch: 12.5, 6), (None, one * 2.25, 5),
    ]:  # fmt: skip
        rule, expected = Trim(0.5, reach, spare), torch.zeros(8, dtype=dtype)
        expected[[1, 2, 3, 4, 0, 5, 6][:kept]] = 1
        for weights in (one.expand(1, 8), torch.ones(1, 8, dtype=dtype), one / 7):
            after = apply(rule, scores.to(dtype), weights)
            torch.testing.assert_close(after[0], expected * weights[0, 0])


def test_trim_spares_whole_rows_and_drops_none_for_it():
    scores, weights = draw()
    for spare in (0.5, 1.0, 1.2, 3.0):
        plain = apply(Trim(0.37), scores, weights)
        after = apply(Trim(0.37, spare=spare), scores, weights)
        assert ((after == plain) | (after == weights)).all()
        assert (after >= plain).all()
    assert (after > plain).any()


def test_trim_splits_at_most_one_row():
    scores, weights = draw()
    after = apply(Trim(0.37), scores, weights)
    share = after / weights
    split = (share > 1e-9) & (share < 1 - 1e-9)
    assert (split.sum(-1) <= 1).all()
    # everything kept ranks below everything dropped
    for s, part in zip(scores, share, strict=True):
        assert s[part > 1e-9].max() <= s[part < 1 - 1e-9].min()


def test_trim_drops_infinite_scores_first():
    scores, weights = draw()
    scores[:, [2, 7]] = torch.inf
    weights = torch.ones_like(weights)
    assert (apply(Trim(2 / N), scores, weights)[:, [2, 7]] == 0).all()


def test_trim_depends_on_ranks_only():
    scores, weights = draw()
    same = apply(Trim(0.3), (50 * scores).exp(), weights)
    torch.testing.assert_close(same, apply(Trim(0.3), scores, weights))


def test_trim_keeps_first_rows_among_equals():
    kept = Trim(0.5)(torch.zeros(1, 4), torch.ones(1, 4), epoch=0)
    assert kept.tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_trim_stays_in_its_dtype(dtype):
    scores, weights = (t.to(dtype) for t in draw())
    assert apply(Trim(0.3), scores, weights).dtype == dtype


def test_smallest_loss_keeps_the_best_row_that_has_weight():
    scores, weights = draw()
    best = scores.argmin(-1)
    weights[0, best[0]] = 0
    after = apply(SmallestLoss(), scores, weights)
    assert ((after > 0).sum(-1) == 1).all()
    among = scores.masked_fill(weights == 0, torch.inf)
    assert torch.equal(after.argmax(-1), among.argmin(-1))


def test_self_paced_threshold_is_a_threshold():
    scores, weights = draw()
    after = apply(SelfPaced(0.4), scores, weights)
    assert torch.equal(after > 0, scores < 0.4)


def test_self_paced_keeps_everything_as_its_threshold_grows():
    scores, weights = draw()
    rule = SelfPaced(lambda epoch: float(epoch))
    kept = [(rule(scores, weights, epoch=e) > 0).sum() for e in range(3)]
    assert kept[0] == 0 and kept[2] == K * N


def test_disagreement_keeps_rows_on_which_networks_differ():
    votes = torch.tensor([[0.0, 1, 2, 1], [0, 1, 1, 1], [0, 1, 2, 0]])
    after = apply(Disagreement(), votes, torch.ones(1, 4))
    assert after.tolist() == [[0, 0, 1, 1]] * 3


def test_disagreement_of_one_network_keeps_nothing():
    scores, weights = draw(k=1)
    assert not apply(Disagreement(), scores, weights).any()


def test_cap_limits_what_a_row_can_pull():
    scores, weights = draw()
    after = apply(Cap(0.3), scores, weights)
    assert (after * scores <= 0.3 * weights + 1e-12).all()
    small = scores <= 0.3
    torch.testing.assert_close(after[small], weights.expand(K, N)[small])


def test_cap_survives_scores_of_zero():
    after = Cap(1.0)(torch.zeros(1, 3), torch.ones(1, 3), epoch=0)
    assert after.tolist() == [[1, 1, 1]]


def test_exchange_permutes_networks_and_comes_round():
    scores, weights = draw()
    chosen = apply(Trim(0.3), scores, weights)
    moved = chosen
    for _ in range(K):
        moved = apply(Exchange(), scores, moved)
    assert torch.equal(moved, chosen)
    once = apply(Exchange(), scores, chosen)
    for k in range(K):
        assert torch.equal(once[k], chosen[(k + 1) % K])


def test_no_network_learns_from_its_own_choice_after_exchange():
    """The weights of network k do not react to the scores of network k."""
    scores, weights = draw()
    rule = chain(Trim(0.3), Exchange())
    before = apply(rule, scores, weights)
    for k in range(K):
        changed = scores.clone()
        changed[k] = changed[k].flip(-1)
        assert torch.equal(apply(rule, changed, weights)[k], before[k])
        assert not torch.equal(apply(rule, changed, weights), before)


def test_chain_is_one_rule_after_the_other_in_any_bracketing():
    scores, weights = draw()
    a, b, c = Trim(0.2), Cap(0.4), Exchange()
    by_hand = apply(c, scores, apply(b, scores, apply(a, scores, weights)))
    for rule in (chain(a, b, c), chain(chain(a, b), c), chain(a, chain(b, c))):
        assert torch.equal(apply(rule, scores, weights), by_hand)


def test_phases_follow_each_other():
    scores, weights = draw()
    first, then = MedianOfMeans(3), Trim(0.3)
    rule = Phases(first, then, 2)
    for epoch in range(4):
        expected = apply(first if epoch < 2 else then, scores, weights, epoch)
        assert torch.equal(apply(rule, scores, weights, epoch), expected)
    assert rule.by_order
    assert not Phases(then, Cap(0.5)).by_order
    assert chain(then, first).by_order
    assert not chain(then, Cap(0.5)).by_order


@pytest.mark.parametrize("n_epochs", [0, 1, 4, 10])
def test_ramp_rises_to_its_end_in_time_and_stays(n_epochs):
    values = [Ramp(0.3, n_epochs)(epoch) for epoch in range(15)]
    assert values == sorted(values)
    assert min(values) > 0
    assert values.count(0.3) == 15 - max(n_epochs - 1, 0)


def test_a_schedule_is_asked_every_epoch():
    asked = []
    scores, weights = draw()
    rule = Trim(lambda epoch: asked.append(epoch) or 0.1 * epoch)
    masses = [rule(scores, weights, epoch=e).sum() for e in (0, 3, 6)]
    assert asked == [0, 3, 6]
    assert masses[0] > masses[1] > masses[2]
    assert at_epoch(0.5, 3) == 0.5


# -- median of means -------------------------------------------------------------


def blocks_kept(rule, scores, weights=None):
    """Which rows keep weight."""
    scores = torch.as_tensor(scores, dtype=torch.float64)[None]
    weights = torch.ones_like(scores) if weights is None else weights
    return apply(rule, scores, weights)[0] > 0


@pytest.mark.parametrize("n", [1, 2, 7, 12, 75])
@pytest.mark.parametrize("b", [2, 5, 7, 12, 40, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("equal", [True, False])
def test_blocks_are_neighbours_and_equal_to_one_row(n, b, equal):
    """Whichever block the scores make the median, its size is about n / b."""
    count = max(1, min(round(b * n) if isinstance(b, float) else b, n))
    weights = torch.ones(1, n, dtype=torch.float64)
    # weights a hair apart are cut by the general way
    weights = weights if equal else weights + 1e-11 * torch.arange(n)
    for seed in range(5):
        scores = draw(seed, 1, n)[0][0]
        rows = blocks_kept(MedianOfMeans(b), scores, weights).nonzero()[:, 0]
        assert len(rows) in (n // count, -(-n // count))
        assert int(rows[-1] - rows[0]) == len(rows) - 1


def test_the_block_kept_is_the_median_one():
    """The DeepMoM paper, equation 6: the largest mean that is not above the median."""
    for seed in range(20):
        scores = draw(seed, 1, 12)[0]
        for b in (2, 3, 4, 6, 12):
            kept = apply(MedianOfMeans(b), scores, torch.ones(1, 12))
            means = scores.view(b, -1).mean(1)
            mean = float((kept * scores).sum() / kept.sum())
            assert mean == pytest.approx(float(means.sort().values[(b - 1) // 2]))


@pytest.mark.parametrize(
    ("b", "central", "expected"),
    [(6, 1, 1), (6, 3, 3), (6, 5, 5), (5, 5, 5), (10, 0.4, 3), (12, 1.0, 11)],
)
def test_central_blocks_surround_the_median(b, central, expected):
    scores = torch.randperm(b, generator=torch.Generator().manual_seed(0))
    kept = scores[blocks_kept(MedianOfMeans(b, central), scores)]
    assert len(kept) == expected
    assert int(kept.max() - kept.min()) == expected - 1
    assert abs(float(kept.double().mean()) - (b - 1) // 2) <= 0.5


def test_one_block_is_everything_and_changes_nothing():
    scores, weights = draw()
    assert torch.equal(apply(MedianOfMeans(1), scores, weights), weights.expand(K, N))


@pytest.mark.parametrize("bad", [torch.inf, 1e300])
@pytest.mark.parametrize("equal", [True, False])
def test_bad_rows_cannot_be_kept_while_most_blocks_hold_none(bad, equal):
    weights = torch.ones(1, 15, dtype=torch.float64)
    weights = weights if equal else weights + 1e-11 * torch.arange(15)
    for seed in range(10):
        scores = draw(seed, 1, 15)[0][0]
        wrong = torch.randperm(15, generator=torch.Generator().manual_seed(seed))[:2]
        scores[wrong] = bad
        assert not blocks_kept(MedianOfMeans(5), scores, weights)[wrong].any()
        scores, wrong = draw(seed, 1, 15)[0][0], torch.arange(6)  # two whole blocks
        scores[wrong] = bad
        assert not blocks_kept(MedianOfMeans(5), scores, weights)[wrong].any()


def test_rows_of_other_blocks_do_not_matter_one_by_one():
    """Reordering rows within their blocks, or blocks, leaves the choice alone."""
    scores = draw(3, 1, 12)[0][0]
    rule, rng = MedianOfMeans(4), torch.Generator().manual_seed(0)
    chosen = scores[blocks_kept(rule, scores)]
    blocks = scores.view(4, 3)[torch.randperm(4, generator=rng)]
    order = torch.rand(4, 3, generator=rng).argsort(1)
    moved = blocks.gather(1, order).flatten()
    assert torch.equal(
        moved[blocks_kept(rule, moved)].sort().values, chosen.sort().values
    )


def test_one_heavy_row_is_many_blocks():
    weights = torch.zeros(1, 5, dtype=torch.float64)
    weights[0, 2] = 9
    scores = torch.tensor([[torch.inf, 1, 2, 3, 4]], dtype=torch.float64)
    kept = apply(MedianOfMeans(3), scores, weights)
    assert kept.tolist() == [[0, 0, 3, 0, 0]]


def test_rows_of_many_repetitions_make_larger_blocks_and_not_more():
    scores = draw(k=1, n=10)[0]
    weights = torch.full((1, 10), 1000.0, dtype=torch.float64)
    kept = apply(MedianOfMeans(0.5), scores, weights)
    # a block is half a row of up to 16 repetitions
    assert kept.sum() == 10_000 / (0.5 * 16 * 10)


@pytest.mark.parametrize("factor", [1.0, 5.0])
def test_rows_near_the_median_are_kept(factor):
    scores, weights = draw(n=101)
    kept = apply(NearMedian(factor), scores, torch.ones(1, 101)) > 0
    median = scores.median(-1, keepdim=True).values
    assert torch.equal(kept, scores <= factor * median)
    assert apply(NearMedian(factor), torch.zeros(1, 4), torch.ones(1, 4)).all()


# -- multiplicative weights ---------------------------------------------------------
def test_multiplicative_weights_follow_their_formula():
    scores, weights = draw()
    etas = [0.3, 0.0, 1.7]
    rule = MultiplicativeWeights(lambda epoch: etas[epoch])
    after, lost = weights, torch.zeros_like(scores)
    for epoch, eta in enumerate(etas):
        losses = draw(seed=epoch)[0]
        after, lost = rule(losses, after, epoch=epoch), lost + eta * losses
    expected = weights * torch.exp(-lost)
    expected *= weights.sum() / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(after, expected)


def test_multiplicative_weights_take_one_step_size_a_network():
    scores, weights = draw()
    etas = [0.0, 0.5, 20.0]
    each = MultiplicativeWeights(torch.tensor(etas)[:, None])
    alone = [
        apply(MultiplicativeWeights(eta), scores[k : k + 1], weights)
        for k, eta in enumerate(etas)
    ]
    torch.testing.assert_close(apply(each, scores, weights), torch.cat(alone))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.0, 1e4, 1e300])
def test_only_differences_of_scores_count(dtype, level):
    level = min(level, torch.finfo(dtype).max / 10)
    scores = torch.tensor([[0.0, 1.0, 1e5]], dtype=dtype)
    after = MultiplicativeWeights(1.0)(scores + level, torch.ones(1, 3), epoch=0)
    assert torch.isfinite(after).all()
    assert after.sum() == pytest.approx(3)
    if level < 1e5:
        assert (after[0, 1] / after[0, 0]).item() == pytest.approx(0.36788, rel=1e-2)
        assert after[0, 2] == 0


def test_when_all_rows_are_hopeless_nothing_changes():
    scores, weights = draw()
    after = apply(MultiplicativeWeights(1.0), scores * torch.inf, weights)
    torch.testing.assert_close(after, weights.expand(K, N))


@pytest.mark.parametrize("limit", [1.0, 1.2, 2.0, 100.0])
def test_no_row_grows_beyond_the_limit(limit):
    own = draw()[1]
    free, capped = own, own
    for seed in range(5):
        scores = 3 * draw(seed)[0]
        free = MultiplicativeWeights(1.0)(scores, free, epoch=0, own=own)
        rule = MultiplicativeWeights(1.0, limit)
        before, capped = capped, rule(scores, capped, epoch=0, own=own)
    assert (capped <= limit * own * (1 + 1e-9)).all()
    torch.testing.assert_close(capped.sum(-1), own.sum().expand(K))
    if limit == 100:
        torch.testing.assert_close(capped, free)
    # the rows that are not at their limit keep their proportions
    step = before * torch.exp(-scores)
    below = capped < limit * own * (1 - 1e-9)
    for k in range(K):
        ratio = (capped / step)[k, below[k]]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))


def test_no_weight_is_lost_where_one_row_has_nearly_all():
    scores = torch.tensor([[0.0, 30.0, 60.0], [0.0, 80.0, 160.0]]).double()
    rule = MultiplicativeWeights(1.0, max_weight=2.0)
    after = rule(scores, torch.ones(1, 3).double(), epoch=0)
    left = torch.exp(-(scores[:, 2] - scores[:, 1]))  # of the second row by the third
    expected = torch.stack([2 + 0 * left, 1 - left, left], -1)
    torch.testing.assert_close(after, expected, rtol=1e-9, atol=1e-40)


# -- the mixture of losses ------------------------------------------------------------
def test_the_mixture_tells_two_groups_apart():
    rng = torch.Generator().manual_seed(0)
    low = 0.3 * torch.rand(1, 300, generator=rng, dtype=torch.float64)
    high = 2 + torch.rand(1, 100, generator=rng, dtype=torch.float64)
    chance = LossMixture(0)(torch.cat([low, high], -1), torch.ones(1, 400), epoch=0)
    assert (chance[:, :300] > 0.5).all() and chance[:, :300].mean() > 0.9
    assert (chance[:, 300:] < 0.5).all() and chance[:, 300:].mean() < 0.1


def test_the_mixture_counts_the_groups():
    # half of the higher group looks as if it were of the lower one
    rng = np.random.default_rng(0)
    scores = np.r_[rng.beta(2, 4, 3600), rng.beta(4, 2, 400)]
    chance = LossMixture(0, n_iter=200)(
        torch.as_tensor(scores)[None], torch.ones(1, 4000), epoch=0
    )
    assert chance.mean() == pytest.approx(0.9, abs=0.08)


def test_the_mixture_takes_infinite_scores_for_high_ones():
    scores = draw(n=40)[0]
    scores[:, :4] = torch.inf
    weights = torch.ones(1, 40, dtype=torch.float64)
    chance = apply(LossMixture(0), scores, weights)
    assert (chance[:, :4] < 0.5).all() and (chance[:, 4:] > 0.5).all()


def test_the_mixture_waits():
    scores, weights = draw()
    rule = LossMixture(warm_up=3)
    torch.testing.assert_close(rule(scores, weights, epoch=2), weights.expand(K, N))
    assert not torch.equal(rule(scores, weights, epoch=3), weights.expand(K, N))


ALIKE = [[0.7] * 10, [1.0] * 10, [0.0] * 5, [1.0] * 99 + [9.0], [np.inf] * 4, [3.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "scores", [*ALIKE, [0.1 + 1e-9 * i for i in range(9)]], ids=len
)
def test_the_mixture_leaves_scores_alone_that_are_all_alike(scores, dtype):
    scores = torch.tensor([scores], dtype=dtype)
    weights = torch.linspace(0.5, 2, scores.shape[-1], dtype=dtype)[None]
    assert torch.equal(LossMixture(0)(scores, weights, epoch=0), weights)


@pytest.mark.parametrize("times", [1, 2, 7])
def test_the_mixture_is_the_same_in_both_precisions_and_for_repeated_rows(times):
    for seed in range(50):
        scores = (2 * draw(seed, 2, 19)[0]).round().float()  # many of them equal
        ones = torch.ones(1, 19)
        expected = apply(LossMixture(0), scores, ones)
        exact = apply(LossMixture(0), scores.double(), times * ones.double())
        torch.testing.assert_close(exact.float(), times * expected)
        repeated = apply(LossMixture(0), scores.repeat(1, times), ones.repeat(1, times))
        torch.testing.assert_close(repeated, expected.repeat(1, times))


@pytest.mark.parametrize("eta", [-0.1, float("nan"), float("inf")])
def test_a_schedule_of_step_sizes_is_held_to_their_range(eta):
    scores = torch.ones(1, 3)
    rule = MultiplicativeWeights(lambda epoch: eta if epoch else 0.1)
    rule(scores, scores, epoch=0)
    with pytest.raises(ValueError, match="in epoch 1; it must be in"):
        rule(scores, scores, epoch=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.Trim(1.5),
        lambda: rules.Trim(-0.5),
        lambda: rules.Trim(float("nan")),
        lambda: rules.Trim("a lot"),
        lambda: rules.Trim(0.2, reach=0.5),
        lambda: rules.Trim(0.2, spare=-0.5),
        lambda: rules.Cap(-1.0),
        lambda: rules.MedianOfMeans(0),
        lambda: rules.MedianOfMeans(1.5),
        lambda: rules.MedianOfMeans(3, 0),
        lambda: rules.NearMedian(-1.0),
        lambda: rules.SelfPaced(float("nan")),
        lambda: rules.Ramp(0.2, -1),
        lambda: rules.LossMixture(n_iter=0),
        lambda: steps.Reweight(rules.Trim(), every=-1),
        lambda: steps.Reweight(rules.Trim(), every=0),
        lambda: steps.Mixup(0),
        lambda: steps.SmoothLabels(2.0),
        lambda: steps.SmoothLabels(-0.5),
        lambda: steps.Jitter(-0.1),
        lambda: criteria.Huber(-1.0),
        lambda: criteria.BootstrapCrossEntropy(1.5),
    ],
)
def test_impossible_fields_are_refused_where_they_are_written(make):
    with pytest.raises(ValueError, match="parameter of .* must be .* Got .* instead"):
        make()


def test_schedules_and_tensors_are_fields_too():
    half = torch.tensor([[0.5], [0.0]])
    for value in (half, lambda epoch: 0.1, rules.Ramp(0.2), np.float32(0.2)):
        assert rules.Trim(value).epsilon is value
        assert steps.SmoothLabels(value).amount is value
    assert rules.Cap(torch.inf).limit == torch.inf


@pytest.mark.parametrize(
    "make",
    [
        lambda rule: rules.chain(Trim(0.2), rule),
        lambda rule: rules.Phases(rule, Trim(0.2)),
        lambda rule: rules.Phases(Trim(0.2), rule),
    ],
)
def test_updates_are_no_part_of_another_rule(make):
    make(Trim(0.1))
    with pytest.raises(ValueError, match="rules that judge afresh"):
        make(MultiplicativeWeights(0.1))


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (lambda e: Trim(e), 1.0),
        (lambda e: Trim(e), -0.1),
        (lambda e: rules.Cap(e), -1.0),
        (lambda e: rules.NearMedian(e), -1.0),
        (lambda e: MultiplicativeWeights(0.1, e), 0.5),
        (lambda e: MultiplicativeWeights(e), -1.0),
    ],
)
def test_schedules_are_held_to_the_range_of_numbers(rule, bad):
    scores = torch.rand(1, 5)
    with pytest.raises(ValueError, match="in epoch 3; it must be in"):
        rule(lambda epoch: bad)(scores, torch.ones(1, 5), epoch=3)
    with pytest.raises(ValueError, match="parameter of"):
        rule(bad)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.Phases(Trim(0.1), Trim(0.2), -1),
        lambda: rules.Exchange(0),
        lambda: rules.Cap(0.0),
        lambda: MultiplicativeWeights("a"),
    ],
)
def test_impossible_fields_are_refused(make):
    with pytest.raises(ValueError, match="parameter of"):
        make()


@pytest.mark.parametrize("bad", [None, [0.1], "much", True, {}])
@pytest.mark.parametrize(
    "make, name",
    [
        (Trim, "epsilon"),
        (lambda bad: Trim(0.1, reach=bad or [2.0]), "reach"),
        (lambda bad: Trim(0.1, spare=bad or [2.0]), "spare"),
        (Cap, "limit"),
        (SelfPaced, "threshold"),
        (NearMedian, "factor"),
        (lambda bad: NearMedian(5.0, bad), "floor"),
        (MedianOfMeans, "n_blocks"),
        (lambda bad: MedianOfMeans(3, bad), "n_central"),
        (MultiplicativeWeights, "eta"),
        (lambda bad: MultiplicativeWeights(0.1, bad or [2.0]), "max_weight"),
        (LossMixture, "warm_up"),
        (lambda bad: LossMixture(0, bad), "n_iter"),
        (Ramp, "end"),
        (lambda bad: Ramp(0.1, bad), "n_epochs"),
        (lambda bad: Exchange(bad or [2]), "group_size"),
        (lambda bad: Phases(Trim(0.1), Trim(0.2), bad), "n_epochs"),
        (lambda bad: Phases(bad, Trim(0.2)), "first"),
        (lambda bad: Phases(Trim(0.2), bad), "then"),
        (lambda bad: Phases(Trim(0.2), Trim), "then"),
        (chain, "rules"),
        (lambda bad: chain(), "rules"),
        (lambda bad: rules.Chain(bad), "rules"),
        (lambda bad: rules.Chain(Trim(0.1)), "rules"),
        (lambda bad: rules.Chain(()), "rules"),
    ],
)
def test_what_no_field_can_be_is_refused_where_it_is_written(make, name, bad):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of .* must be"):
        make(bad)


def test_thresholds_of_scores_below_zero_are_thresholds():
    scores = torch.tensor([[-3.0, -1.0, 2.0]])  # of densities, say
    assert SelfPaced(-1)(scores, torch.ones(1, 3), epoch=0).tolist() == [[1, 0, 0]]
