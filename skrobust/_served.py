"""A fitted estimator as one plain torch module, for export and serving."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class ServedNet(nn.Module):
    """Scaling, networks and what makes predictions of their mean outputs.

    Parameters
    ----------
    networks : list of Module
    inputs : tuple of (mean, scale) or None
        Arrays of shape (n_features,); None: inputs are not scaled.
    bound : float
        Scaled inputs are clipped to plus or minus this.
    targets : tuple of (center, scale) or None
        Arrays of shape (n_outputs,); None: the outputs are logits of classes.
    """

    def __init__(
        self, networks: list[nn.Module], inputs: Any, bound: float, targets: Any
    ):
        super().__init__()
        # copies: whatever becomes of them, the estimator stays as it is
        self.networks = nn.ModuleList(copy.deepcopy(n).cpu().eval() for n in networks)
        self.bound, self.scales, self.classifies = (
            bound,
            inputs is not None,
            not targets,
        )
        self._keep("input", inputs)
        self._keep("target", targets)

    def _keep(self, name: str, pair: Any) -> None:
        # double precision: mean and value may be large and near to each other
        for part, array in zip(("center", "scale"), pair or (0.0, 1.0), strict=True):
            tensor = torch.as_tensor(array, dtype=torch.float64, device="cpu").clone()
            self.register_buffer(f"{name}_{part}", tensor)

    def _scaled(self, x: Tensor) -> Tensor:
        if self.scales:
            x = (x.double() - self.input_center) / self.input_scale
        dtype = next(self.networks.parameters()).dtype
        return x.clamp(-self.bound, self.bound).to(dtype)

    def _outputs(self, x: Tensor) -> Tensor:
        """Return what each network makes of scaled rows, (K, n, n_outputs)."""
        outputs = [network(x).reshape(len(x), -1) for network in self.networks]
        return torch.stack(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to probabilities of classes, or to targets.

        Parameters
        ----------
        x : Tensor of shape (n, ...)

        Returns
        -------
        Tensor of shape (n, n_classes) or (n, n_outputs)
        """
        mean = self._outputs(self._scaled(x)).double().mean(0)
        if self.classifies:
            return mean.softmax(-1)
        return mean * self.target_scale + self.target_center


class ServedScores(ServedNet):
    """Scaling, networks that rebuild rows, and the score of a detector."""

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to scores: minus the mean squared error of a scaled row.

        Parameters
        ----------
        x : Tensor of shape (n, ...)

        Returns
        -------
        Tensor of shape (n,)
        """
        x = self._scaled(x)
        errors = self._outputs(x).double() - x.flatten(1).double()
        return -errors.square().mean(-1).mean(0)
