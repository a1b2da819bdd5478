"""Stacks from their description, tensors from rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import _border
from ._modules import ModuleStack, build_modules
from ._scaling import FAR, InputScaler
from ._stack import MLPStack

Array = NDArray[Any]


def build_stack(
    design: dict[str, Any], seed: int, dtype: torch.dtype, device: torch.device
) -> Any:
    """Build the networks of a design with fresh weights."""
    if design["network"] is None:
        return MLPStack(
            design["sizes"],
            design["n_networks"],
            activation=design["activation"],
            dropout=design["dropout"],
            generator=_border.make_generator(seed),
            dtype=dtype,
            device=device,
        )
    shape, n_outputs = design["row_shape"], design["sizes"][-1]
    n_features = shape[0] if len(shape) == 1 else shape
    modules = build_modules(
        lambda: design["network"](n_features, n_outputs), design["n_networks"], seed
    )
    stack = ModuleStack(modules, dtype=dtype, device=device)
    example = torch.zeros((2, *shape), dtype=dtype, device=device)
    if (out := stack.predict(example)).shape[1:] != (2, n_outputs):
        raise ValueError(
            f"The module built by 'network' must map {tuple(example.shape)} to "
            f"{(2, n_outputs)}. It gave {tuple(out.shape[1:])} instead."
        )
    return stack


def to_tensor(X: Array, scaler: InputScaler | None, stack: Any) -> torch.Tensor:
    """Scale rows and move them to the stack."""
    # unscaled values beyond 1e12 would overflow inside the network
    X = np.clip(X, -FAR, FAR) if scaler is None else scaler.transform(X)
    return torch.tensor(X, dtype=stack.theta.dtype).to(stack.theta.device)
