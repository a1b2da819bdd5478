"""Losses: how far outputs are from targets, row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._batch import Batch
from .._softmax import log_softmax, softmax
from .._words import is_number, require
from ._base import Loss


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Soft-max cross entropy of class logits.

    Targets are class probabilities of shape (n, n_classes) or (K, n, n_classes):
    one-hot for labels.

    Examples
    --------
    >>> import torch
    >>> from skrobust.criteria import CrossEntropy
    >>> output = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
    >>> target = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> CrossEntropy().value(output, target)
    tensor([[0.1269, 2.1269]])
    """

    def value(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        return (target * log_softmax(output)).sum(-1).neg_()

    def gradient(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        return softmax(output).sub_(target)


@dataclass(frozen=True)
class BootstrapCrossEntropy(Loss):
    """Cross entropy with labels mixed with what the network itself predicts.

    Parameters
    ----------
    amount : float, default=0.05
        Share of the prediction: 0.05 for the soft form and 0.2 for the hard one are
        the values of the source.
    hard : bool, default=False
        Mix in the predicted class. Otherwise the predicted probabilities, which are
        then differentiated too: held fixed they would only shorten the gradient.

    References
    ----------
    S. Reed et al., "Training Deep Neural Networks on Noisy Labels with
    Bootstrapping", 2014, equations 6 (soft) and 7 (hard).
    """

    amount: float = 0.05
    hard: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        ok = is_number(self.amount) and 0 <= self.amount <= 1
        require(self, "amount", ok, "a number in the range [0, 1]")

    def value(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        log_p = log_softmax(output)
        if self.hard:
            predicted = (output == output.amax(-1, keepdim=True)).to(output.dtype)
        else:
            predicted = log_p.exp()
        mixed = (1 - self.amount) * target + self.amount * predicted
        return -(mixed * log_p).sum(-1)


@dataclass(frozen=True)
class SquaredError(Loss):
    """Squared difference of output and target, averaged over the outputs.

    Examples
    --------
    >>> import torch
    >>> from skrobust.criteria import SquaredError
    >>> SquaredError().value(torch.tensor([[[0.0], [3.0]]]), torch.zeros(2, 1))
    tensor([[0., 9.]])
    """

    def value(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        return (output - target).square().mean(-1)

    def gradient(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        return (output - target).mul_(2 / output.shape[-1])


@dataclass(frozen=True)
class AbsoluteError(Loss):
    """Absolute difference of output and target, averaged over the outputs.

    Examples
    --------
    >>> import torch
    >>> from skrobust.criteria import AbsoluteError
    >>> AbsoluteError().value(torch.tensor([[[0.0], [3.0]]]), torch.zeros(2, 1))
    tensor([[0., 3.]])
    """

    def value(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        return (output - target).abs().mean(-1)

    def gradient(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        return (output - target).sign_().div_(output.shape[-1])


@dataclass(frozen=True)
class Huber(Loss):
    """Squared error near the target, absolute error beyond ``delta``.

    Parameters
    ----------
    delta : float or torch.Tensor, default=1.345
        Where the two meet, in the units of the target as the network sees it (the
        estimators scale targets robustly to unit spread). With 1.345 a linear model
        keeps 95 % efficiency under normal errors. A tensor (n_networks, 1, 1) has one
        for each network of a stack.

    Examples
    --------
    >>> import torch
    >>> from skrobust.criteria import Huber
    >>> Huber(1.0).value(torch.tensor([[[0.5], [3.0]]]), torch.zeros(2, 1))
    tensor([[0.2500, 5.0000]])
    """

    delta: Any = 1.345

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if isinstance(self.delta, Tensor):
            ok = bool((self.delta > 0).all())
        else:
            ok = is_number(self.delta) and self.delta > 0
        require(self, "delta", ok, "a number in the range (0, inf)")

    def value(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        r = (output - target).abs()
        inner = r.clamp(max=self.delta)
        return (inner * (2 * r - inner)).mean(-1)

    def gradient(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        pull = (output - target).clamp_(-self.delta, self.delta)
        return pull.mul_(2 / output.shape[-1])


@dataclass(frozen=True)
class NegativeLogLikelihood(Loss):
    """For a network whose single output is the log density of its input."""

    def value(self, output: Tensor, target: Any) -> Tensor:  # noqa: D102
        return -output.squeeze(-1)

    def gradient(self, output: Tensor, target: Any) -> Tensor:  # noqa: D102
        return torch.full_like(output, -1)


@dataclass(frozen=True)
class ReconstructionError(SquaredError):
    """Squared error between a network's output and its own input, averaged."""

    def target(self, batch: Batch) -> Tensor:  # noqa: D102
        return batch.x.flatten(1)


@dataclass(frozen=True)
class VariationalError(ReconstructionError):
    """Squared error of a variational autoencoder plus what its code tells too much.

    Outputs are the reconstruction, then the means and the log variances of the code.
    With d features this is ``2 / d`` times the negative evidence lower bound of unit
    normal noise, up to a constant: mean squared error plus ``2 / d`` times the
    divergence of the code's distribution from the standard normal one.

    References
    ----------
    D. Kingma and M. Welling, "Auto-Encoding Variational Bayes", 2014, equation 10.
    """

    def value(self, output: Tensor, target: Tensor) -> Tensor:  # noqa: D102
        d = target.shape[-1]
        mean, log_variance = output[..., d:].chunk(2, -1)
        excess = mean.square() + log_variance.exp() - log_variance - 1
        return super().value(output[..., :d], target) + excess.sum(-1) / d

    gradient = Loss.gradient


@dataclass(frozen=True)
class _FromFunction(Loss):
    function: Callable[[Tensor, Any], Tensor]

    def value(self, output: Tensor, target: Any) -> Tensor:
        values = self.function(output, target)
        if values.shape != output.shape[:-1]:
            raise ValueError(
                "The function given as 'criterion' must return one loss a row, of "
                f"shape {tuple(output.shape[:-1])}. Got {tuple(values.shape)} instead."
            )
        return values


LOSSES: dict[str, Loss] = {
    "cross_entropy": CrossEntropy(),
    "squared_error": SquaredError(),
    "absolute_error": AbsoluteError(),
    "huber": Huber(),
    "negative_log_likelihood": NegativeLogLikelihood(),
    "reconstruction_error": ReconstructionError(),
}


def as_loss(criterion: str | Loss | Callable[[Tensor, Any], Tensor]) -> Loss:
    """Turn a name, a loss or a function of (output, target) into a loss.

    Parameters
    ----------
    criterion : str, Loss or callable
        A name such as 'huber', a loss, or a function that takes outputs of shape
        (K, n, n_outputs) and targets and returns (K, n).

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> from skrobust.criteria import as_loss
    >>> as_loss("huber")
    Huber(delta=1.345)
    """
    if isinstance(criterion, Loss):
        return criterion
    if isinstance(criterion, str) and criterion in LOSSES:
        return LOSSES[criterion]
    if callable(criterion) and not isinstance(criterion, type):
        return _FromFunction(criterion)
    raise ValueError(
        f"The 'criterion' parameter must be one of {sorted(LOSSES)}, a Loss or a "
        f"callable. Got {criterion!r} instead."
    )
