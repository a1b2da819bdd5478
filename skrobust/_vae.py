"""A variational autoencoder as one module, for the loss `criteria.VariationalError`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ._nets import ACTIVATIONS


class VariationalAutoencoder(nn.Module):
    """Map rows (n, d) to rebuilt rows, means and log variances of the code.

    The output is (n, d + 2 * code_size). In training the decoder sees a draw of the
    code, in evaluation its mean.

    Parameters
    ----------
    hidden : sequence of int
        Units of the encoder, first to last; the decoder mirrors them.
    """

    def __init__(
        self, n_features: int, hidden: Sequence[int], code_size: int, activation: str
    ):
        super().__init__()
        act = ACTIVATIONS[activation].module
        sizes = (n_features, *hidden)
        there = [m for i, o in pairwise(sizes) for m in (nn.Linear(i, o), act())]
        back = (code_size, *hidden[::-1])
        again = [m for i, o in pairwise(back) for m in (nn.Linear(i, o), act())]
        self.encoder = nn.Sequential(*there, nn.Linear(sizes[-1], 2 * code_size))
        self.decoder = nn.Sequential(*again, nn.Linear(back[-1], n_features))

    def forward(self, x: Tensor) -> Tensor:
        code = self.encoder(x)
        mean, log_variance = code.chunk(2, -1)
        # bounded, so that no row makes its variance overflow
        log_variance = 10 * torch.tanh(log_variance / 10)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return torch.cat([self.decoder(z), mean, log_variance], -1)
