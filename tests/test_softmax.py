"""Soft-max by columns against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from skrobust._softmax import LANES, log_softmax, softmax

PAIRS = [(softmax, torch.softmax), (log_softmax, torch.log_softmax)]
SIZES = [1, LANES - 1, LANES, LANES + 1, 130]


def logits(*shape, dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    return 5 * torch.randn(*shape, generator=rng, dtype=dtype)


@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.parametrize("n_classes", [1, 2, 10, LANES - 1, LANES, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_torchs(ours, theirs, n_classes, dtype):
    for n in SIZES:
        for shape in [(n, n_classes), (1, n, n_classes), (3, n, n_classes)]:
            z = logits(*shape, dtype=dtype)
            assert_close(ours(z), theirs(z, -1))
    z = logits(2, 0, n_classes, dtype=dtype)
    assert ours(z).shape == z.shape


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_a_row_is_rounded_alike_whatever_is_beside(ours, theirs):
    for n in SIZES:
        z = logits(2, n, 10)
        together = ours(z)
        for i in range(n):
            assert torch.equal(ours(z[:, i : i + 1])[:, 0], together[:, i])


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_a_row_that_is_no_number_spoils_no_other(ours, theirs):
    z = logits(1, 20, 4)
    z[0, 3, 1], z[0, 5, 2], z[0, 7] = torch.inf, torch.nan, 1e38
    assert_close(ours(z), theirs(z, -1), equal_nan=True)


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_it_can_be_differentiated(ours, theirs):
    z = logits(2, 7, 3, dtype=torch.float64).requires_grad_()
    weights = logits(2, 7, 3, dtype=torch.float64)
    found = [
        torch.autograd.grad((f(z, *axis) * weights).sum(), z)
        for f, axis in [(ours, ()), (theirs, (-1,))]
    ]
    assert_close(*found)
