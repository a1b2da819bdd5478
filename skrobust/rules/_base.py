"""What a rule is, and what its fields may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

from torch import Tensor

from .._words import is_count, is_number, require

Value = float | Tensor | Callable[[int], Any]


class Rule(Protocol):
    """Maps scores and weights (..., n) to weights (..., n)."""

    def __call__(self, scores: Tensor, weights: Tensor, *, epoch: int) -> Tensor:
        """Return the new weights.

        Parameters
        ----------
        scores : Tensor of shape (..., n)
            Numbers or plus infinity.
        weights : Tensor
            Of a shape that broadcasts against that of the scores.
        epoch : int
            Counted from 0.

        Returns
        -------
        Tensor of shape (..., n)
        """


def require_value(owner: Any, name: str, ok: bool, expected: str) -> None:
    """Refuse what is neither a good number, nor a schedule, nor a tensor.

    What a schedule gives is judged where it is used. A tensor is not judged, as to
    look into one makes the host wait for its device.
    """
    value = getattr(owner, name)
    require(owner, name, ok or callable(value) or isinstance(value, Tensor), expected)


def at_epoch(
    value: Any, epoch: int, low: float | None = None, below: float = math.inf
) -> Any:
    """Return a field's value in an epoch: schedules are called, the rest stays.

    Parameters
    ----------
    value : float, schedule or Tensor
    epoch : int
        Counted from 0.
    low, below : float, default=None and inf
        What a schedule gives must lie in [low, below), unless low is None; a number
        was judged before.

    Returns
    -------
    float or Tensor

    Raises
    ------
    ValueError
        If a schedule gives another number.

    Examples
    --------
    >>> from skrobust.rules import Ramp, at_epoch
    >>> at_epoch(Ramp(0.4, 4), 1), at_epoch(0.4, 1)
    (0.2, 0.4)
    """
    if not callable(value):
        return value
    now = value(epoch)
    if low is not None and isinstance(now, Real) and not low <= float(now) < below:
        raise ValueError(
            f"A schedule gave {now} in epoch {epoch}; it must be in "
            f"[{low:g}, {below:g})."
        )
    return now


@dataclass(frozen=True)
class Ramp:
    """A schedule that rises to ``end`` in ``n_epochs`` epochs and stays.

    Parameters
    ----------
    end : float
        The final value.
    n_epochs : int, default=10
        Epochs until it is reached (Co-teaching's and PRL's T_k). 0: from the start.
    power : float, default=1
        The value grows with this power of the epoch: 1 is linear.

    Examples
    --------
    >>> from skrobust.rules import Ramp
    >>> [Ramp(0.4, 4)(epoch) for epoch in range(5)]
    [0.1, 0.2, 0.30000000000000004, 0.4, 0.4]
    """

    end: float
    n_epochs: int = 10
    power: float = 1

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        ok = is_number(self.end) or isinstance(self.end, Tensor)
        require(self, "end", ok, "a number")
        require(self, "n_epochs", is_count(self.n_epochs, 0), "an int of at least 0")
        ok = is_number(self.power) and 0 < self.power < math.inf
        require(self, "power", ok, "a positive number")

    def __call__(self, epoch: int) -> float:
        """Value in epoch ``epoch`` (the first is 0)."""
        if epoch + 1 >= self.n_epochs:
            return self.end
        return self.end * ((epoch + 1) / self.n_epochs) ** self.power
