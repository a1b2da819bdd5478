"""Linear models solved in closed form, as a stack."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._stack import MLPStack


class LinearStack(MLPStack):
    """K linear models whose gradient leads to the weighted least-squares solution.

    For squared errors only. The vector written to ``grad`` is the way back from that
    solution, so one step of size 1 arrives there, as Newton's does. Where the
    solution is not unique it is the shortest one.
    """

    def backward(self, tape: Any, gradient: Tensor, weights: Tensor) -> None:
        """Write parameters minus solution; see `Stack.backward`."""
        x, output = tape.inputs[0], tape.output
        targets = output - gradient * (output.shape[-1] / 2)
        scale = weights.expand(output.shape[:2]).sqrt().unsqueeze(-1)
        rows = torch.cat([x, torch.ones_like(x[..., :1])], -1)
        sides = [(t * scale).double().cpu().numpy() for t in (rows, targets)]
        for k in range(self.n_networks):
            found = np.linalg.lstsq(sides[0][k], sides[1][k], rcond=None)[0]
            solution = torch.as_tensor(found, device="cpu").to(output)
            torch.sub(self._W[0][k], solution[:-1].mT, out=self._gW[0][k])
            torch.sub(self._b[0][k], solution[-1:], out=self._gb[0][k])
