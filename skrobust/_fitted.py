"""A fitted network: asked for its outputs, described, stored and loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _border
from ._building import to_tensor
from ._compat import CallbackSupportMixin
from ._scaling import CLIP, FAR, InputScaler
from ._served import ServedNet

Array = NDArray[Any]


class FittedNet(CallbackSupportMixin, BaseEstimator):
    """The part of `NetBase` that needs no training."""

    def _check_new(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        X = _border.to_numpy(X)
        X = validate_data(self, X, **self._X_options(), reset=False)
        _border.require_row_shape(X, self._stack_design.get("row_shape"))
        return X

    def _outputs(self, X: ArrayLike) -> Array:
        """Return the outputs of each network for X, float64 (K, n, n_outputs)."""
        return self._apply(self._check_new(X), self._stack, self._scaler)

    def _apply(
        self,
        X: Array,
        stack: Any,
        scaler: InputScaler | None,
        read: Callable[[Any, torch.Tensor], torch.Tensor] | None = None,
    ) -> Array:
        """Return a stack's outputs, or what ``read(outputs, inputs)`` makes of them."""
        blocks = []
        block = stack.block
        with _border.few_threads(stack.theta.numel() * block):
            for start in range(0, len(X), block):
                x = to_tensor(X[start : start + block], scaler, stack)
                out = stack.predict(x)
                out = out if read is None else read(out, x)
                blocks.append(out.double().cpu().numpy())
        return np.concatenate(blocks, axis=1)

    def _served(self, targets: Any, kind: type[ServedNet] = ServedNet) -> ServedNet:
        check_is_fitted(self)
        scaler = self._scaler
        inputs = None if scaler is None else (scaler.mean, scaler.scale)
        bound = FAR if scaler is None else CLIP
        return kind(self._stack.modules(), inputs, bound, targets).eval()

    def __sklearn_is_fitted__(self) -> bool:
        """Whether a fit has ended."""
        return hasattr(self, "_stack")

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = callable(self.network)
        return tags

    # -- persistence -------------------------------------------------------------
    def __getstate__(self) -> dict[str, Any]:
        """Return a state of NumPy arrays, so that it loads on any machine."""
        state = dict(super().__getstate__())
        if "_stack" in state:
            stack = state.pop("_stack")
            state["_stack_state"] = stack.state()
            state["_stack_dtype"] = str(stack.theta.dtype).removeprefix("torch.")
            scaler = state["_scaler"]
            state["_scaler"] = None if scaler is None else dict(vars(scaler))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the networks from a stored state."""
        state = dict(state)
        arrays, dtype = state.pop("_stack_state", None), state.pop("_stack_dtype", "")
        super().__setstate__(state)
        if arrays is None:
            return
        if self._scaler is not None:
            self._scaler = self._input_scaler(**self._scaler)
        try:
            device = _border.pick_device(self.device)
        except ValueError:  # fitted on a device that this machine does not have
            device = torch.device("cpu")
        kind = getattr(torch, dtype)
        self._stack = self._build(self._stack_design, 0, kind, device)
        self._stack.load(arrays)
