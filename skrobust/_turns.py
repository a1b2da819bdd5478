"""Networks that train one after the other, seen as one stack."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _TeamTape:
    __slots__ = ("output", "parts")

    def __init__(self, parts: list[Any]):
        self.parts = parts
        self.output = torch.cat([tape.output for tape in parts])


class Team:
    """The networks of a stack on one batch, each with a tape of its own.

    Scores see them together, while each is moved by itself. After a move only that
    network runs again.
    """

    def __init__(self, stack: Any):
        self.players = stack.networks()
        self.n_networks, self.has_modes = len(self.players), stack.has_modes
        self._x: Tensor | None = None
        self._tapes: dict[int, Any] = {}

    def forward(self, x: Tensor, *, training: bool) -> _TeamTape:
        """Run the networks that moved since the last time."""
        if x is not self._x:
            self._x, self._tapes = x, {}
        for k, player in enumerate(self.players):
            if k not in self._tapes:
                self._tapes[k] = player.forward(x, training=training)
        return _TeamTape([self._tapes[k] for k in range(self.n_networks)])

    def gradient_norms(self, tape: _TeamTape, gradient: Tensor) -> Tensor:
        """Norm of each row's gradient over all parameters of a network, (K, n)."""
        parts = zip(self.players, tape.parts, gradient.split(1), strict=True)
        return torch.cat([p.gradient_norms(t, g) for p, t, g in parts])

    def moved(self, k: int) -> None:
        """Forget what network k made of the batch."""
        self._tapes.pop(k, None)
