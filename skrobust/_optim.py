"""Adam and SGD on one flat parameter vector.

The fused kernels are called directly: building an optimizer of ``torch.optim`` would
import the compiler, which costs more than many a whole fit.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # the values of the Adam paper


class _FlatOptimizer:
    """What optimizers of one flat vector share: parts, and what they remember."""

    parted: ClassVar[tuple[str, ...]]  # tensors of one number a parameter
    whole: ClassVar[tuple[str, ...]] = ()  # others
    first = True  # of equal parts: they step in turns, and one counts for all

    def networks(self, n: int) -> list[Any]:
        """Return optimizers of n equal parts, in the same memory."""
        parts: list[Any] = vars(self).get("_parts", [])
        if len(parts) != n:
            self._parts = parts = [copy.copy(self) for _ in range(n)]
            for k, part in enumerate(parts):
                part.first = k == 0
                for name in self.parted:
                    setattr(part, name, getattr(self, name).chunk(n)[k])
        return parts

    def memory(self) -> list[Tensor]:
        """Return what a step changes, apart from the parameters."""
        return [getattr(self, name) for name in (*self.parted, *self.whole)]

    def state(self) -> dict[str, Any]:
        """Return what is remembered as NumPy arrays."""
        names = (*self.parted, *self.whole)
        return {name: getattr(self, name).cpu().numpy().copy() for name in names}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        for name, array in state.items():
            getattr(self, name).copy_(torch.tensor(array))


class Adam(_FlatOptimizer):
    """Adam with the moments of Kingma and Ba (2015)."""

    parted = ("mean", "square")
    whole = ("count",)

    def __init__(self, theta: Tensor):
        self.mean, self.square = torch.zeros_like(theta), torch.zeros_like(theta)
        # the fused kernel wants its step count as a float32 tensor on the device
        self.count = torch.zeros((), dtype=torch.float32, device=theta.device)
        self.one = torch.ones_like(self.count)  # adding a Python number costs more
        try:
            # a private operation: not on every device, perhaps not in every version
            few = [t[:1].clone() for t in (theta, theta, self.mean, self.square)]
            self._fused_step(*few, self.one.clone(), 0.0)
            self.fused = True
        except (AttributeError, NotImplementedError, RuntimeError, TypeError):
            self.fused = False

    def step(self, theta: Tensor, grad: Tensor, lr: float) -> None:
        """Move ``theta`` in place."""
        if self.first:
            self.count.add_(self.one)
        if self.fused:
            self._fused_step(theta, grad, self.mean, self.square, self.count, lr)
        else:
            self._plain_step(theta, grad, lr)

    @staticmethod
    def _fused_step(
        theta: Tensor,
        grad: Tensor,
        mean: Tensor,
        square: Tensor,
        count: Tensor,
        lr: float,
    ) -> None:
        torch._fused_adam_(
            [theta],
            [grad],
            [mean],
            [square],
            [],
            [count],
            lr=lr,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )

    def _plain_step(self, theta: Tensor, grad: Tensor, lr: float) -> None:
        self.mean.lerp_(grad, 1 - BETA1)
        self.square.mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
        t = float(self.count)
        size = self.square.sqrt().div_((1 - BETA2**t) ** 0.5).add_(EPS)
        theta.addcdiv_(self.mean, size, value=-lr / (1 - BETA1**t))


class SGD(_FlatOptimizer):
    """Gradient descent with classical or Nesterov momentum."""

    parted = ("velocity",)

    def __init__(self, theta: Tensor, momentum: float = 0.9, nesterov: bool = True):
        self.velocity = torch.zeros_like(theta)
        self.momentum, self.nesterov = momentum, nesterov

    def step(self, theta: Tensor, grad: Tensor, lr: float) -> None:
        """Move ``theta`` in place."""
        self.velocity.mul_(self.momentum).add_(grad)
        if self.nesterov:
            theta.add_(grad, alpha=-lr).add_(self.velocity, alpha=-lr * self.momentum)
        else:
            theta.add_(self.velocity, alpha=-lr)


class SpectralNorm:
    """Keep the spectral norm of weight matrices where it should be, step by step.

    Wraps an optimizer and rescales matrices after each of its steps. Norms come from
    one power iteration a step: the matrices hardly change in between.

    Parameters
    ----------
    optimizer : Adam or SGD
    matrices : list of Tensor of shape (..., n_out, n_in)
        Views of the parameters.
    norm : float
    exact : bool
        Whether every matrix gets this norm; otherwise only larger ones are shrunk.
    """

    def __init__(
        self, optimizer: Any, matrices: list[Tensor], norm: float, *, exact: bool
    ):
        self.optimizer, self.norm, self.exact = optimizer, norm, exact
        self.matrices = [m.flatten(0, -3) for m in matrices]
        # an even start meets every direction that matters soon enough
        # as rows: a batched product with columns takes several times as long
        self.left = [m.new_ones(len(m), 1, m.shape[1]) for m in self.matrices]
        for _ in range(_FIRST_ITERATIONS):
            self._iterate()
        self._rescale()

    def step(self, theta: Tensor, grad: Tensor, lr: float) -> None:
        """Move ``theta`` in place and bring the norms back."""
        self.optimizer.step(theta, grad, lr)
        self._rescale()

    def _iterate(self) -> list[Tensor]:
        norms = []
        for matrix, left in zip(self.matrices, self.left, strict=True):
            right = torch.bmm(left, matrix)
            right.div_(torch.linalg.vector_norm(right, dim=2, keepdim=True) + _TINY)
            torch.bmm(right, matrix.mT, out=left)
            norm = torch.linalg.vector_norm(left, dim=2, keepdim=True).add_(_TINY)
            left.div_(norm)
            norms.append(norm)
        return norms

    def _rescale(self) -> None:
        for matrix, norm in zip(self.matrices, self._iterate(), strict=True):
            scale = self.norm / norm
            matrix.mul_(scale if self.exact else scale.clamp_(max=1))

    def memory(self) -> list[Tensor]:
        """Return what a step changes, apart from the parameters."""
        return [*self.optimizer.memory(), *self.left]

    def state(self) -> dict[str, Any]:
        """Return the wrapped optimizer's state and singular vectors as arrays."""
        vectors = {f"left{i}": v.cpu().numpy().copy() for i, v in enumerate(self.left)}
        return {**self.optimizer.state(), **vectors}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        rest = {k: v for k, v in state.items() if not k.startswith("left")}
        self.optimizer.load(rest)
        for i, vector in enumerate(self.left):
            vector.copy_(torch.tensor(state[f"left{i}"]))


_FIRST_ITERATIONS, _TINY = 30, 1e-30
