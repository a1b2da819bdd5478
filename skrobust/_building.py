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
from ._vae import VariationalAutoencoder

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
            dropout_layers=design["dropout_layers"],
            generator=_border.make_generator(seed),
            dtype=dtype,
            device=device,
        )
    shape, n_outputs = design["row_shape"], design["sizes"][-1]

    def factory() -> torch.nn.Module:
        if design["network"] == "vae":
            d, *hidden, _ = design["sizes"]
            code_size = (n_outputs - d) // 2
            return VariationalAutoencoder(d, hidden, code_size, design["activation"])
        return design["network"](shape[0] if len(shape) == 1 else shape, n_outputs)

    modules = build_modules(factory, design["n_networks"], seed)
    stack = ModuleStack(modules, dtype=dtype, device=device)
    example = torch.zeros((2, *shape), dtype=dtype, device=device)
    out = stack.predict(example)
    if out.ndim > 3 and out[0, 0].numel() == n_outputs:  # images, say, not their pixels
        flat = [torch.nn.Sequential(m, torch.nn.Flatten()) for m in modules]
        return ModuleStack(flat, dtype=dtype, device=device)
    if out.shape[1:] != (2, n_outputs):
        raise ValueError(
            f"The module built by 'network' must map {tuple(example.shape)} to "
            f"{(2, n_outputs)}. It gave {tuple(out.shape[1:])} instead."
        )
    return stack


def to_tensor(X: Array, scaler: InputScaler | None, stack: Any) -> torch.Tensor:
    """Scale rows and move them to the stack."""
    # unscaled values beyond 1e12 would overflow inside the network
    X = np.clip(X, -FAR, FAR) if scaler is None else scaler.transform(X)
    return torch.tensor(X, dtype=stack.theta.dtype, device=stack.theta.device)


def merge_equal_rows(
    X: Array, target: Array | None, weights: Array
) -> tuple[Array, Array | None, Array, Array]:
    """Return distinct rows in one order, their total weights, and each row's place.

    The order depends on the rows' values alone.
    """
    columns = [X.reshape(len(X), -1)]
    if target is not None:
        columns.append(target.reshape(len(X), -1))
    _, first, place = np.unique(
        np.hstack(columns), axis=0, return_index=True, return_inverse=True
    )
    place = place.reshape(-1)
    total = np.bincount(place, weights, len(first))
    return X[first], None if target is None else target[first], total, place
