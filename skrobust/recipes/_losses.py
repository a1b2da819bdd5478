"""Plain training, its losses, and limits on what a step or a row can do."""

from __future__ import annotations

from typing import Any

from ..criteria import BootstrapCrossEntropy, GradientNorm, Huber
from ..rules import Cap
from ..steps import Reweight
from ._common import TASKS, Net, net, recipe


@recipe(*TASKS)
def standard(task: str = "classification", **params: Any) -> Net:
    """Train plainly on all rows: cross entropy or squared error.

    Parameters
    ----------
    {task}
    {net}

    Examples
    --------
    >>> from skrobust.recipes import standard
    >>> standard("regression")
    NetRegressor()
    """
    return net("standard", task, **params)


@recipe(*TASKS)
def norm_clip(
    task: str = "classification", *, clip_norm: float = 1.0, **params: Any
) -> Net:
    """Scale a batch's gradient back when it is longer than a limit (Normclip).

    Parameters
    ----------
    {task}
    clip_norm : float, default=1.0
        The limit, positive. The papers do not state theirs; 1 is the usual value.
    {net}

    Examples
    --------
    >>> from skrobust.recipes import norm_clip
    >>> norm_clip()
    NetClassifier(clip_norm=1.0)
    """
    return net("norm_clip", task, clip_norm=clip_norm, **params)


@recipe(*TASKS)
def row_clip(task: str = "classification", *, limit: float = 1.0, **params: Any) -> Net:
    """Scale every row's own gradient back to a limit, then average (Ignormclip).

    The papers use it for regression only.

    Parameters
    ----------
    {task}
    limit : float, default=1.0
        Largest norm of a row's gradient, positive. The papers do not state theirs.
    {net}

    Examples
    --------
    >>> from skrobust.recipes import row_clip
    >>> row_clip("regression", limit=0.5).steps[0].rule
    Cap(limit=0.5)
    """
    clip = Reweight(Cap(limit), GradientNorm(), renormalize=False)
    return net("row_clip", task, steps=(clip,), **params)


@recipe("regression")
def huber(task: str = "regression", *, delta: float = 1.345, **params: Any) -> Net:
    """Train with Huber's loss: squared near the target, absolute beyond.

    Parameters
    ----------
    {regression}
    delta : float, default=1.345
        Where the two meet, in units of the robustly scaled targets. The default is
        that of `skrobust.criteria.Huber`; the papers do not state theirs.
    {net}

    References
    ----------
    P. J. Huber, "Robust Estimation of a Location Parameter", 1964.

    Examples
    --------
    >>> from skrobust.recipes import huber
    >>> huber(delta=2.0)
    NetRegressor(criterion=Huber(delta=2.0))
    """
    return net("huber", task, criterion=Huber(delta), **params)


@recipe("regression")
def absolute_deviation(task: str = "regression", **params: Any) -> Net:
    """Train with the absolute error, whose optimum is the conditional median.

    For targets that are moderately wrong: grossly wrong ones, each of which pulls as
    much as any other row, are still learned by heart where rows are few.

    Parameters
    ----------
    {regression}
    {net}

    Examples
    --------
    >>> from skrobust.recipes import absolute_deviation
    >>> absolute_deviation()
    NetRegressor(criterion='absolute_error')
    """
    return net("absolute_deviation", task, criterion="absolute_error", **params)


@recipe("classification")
def bootstrap(
    task: str = "classification",
    *,
    hard: bool = False,
    amount: float | None = None,
    **params: Any,
) -> Net:
    """Mix each label with what the network itself predicts.

    Parameters
    ----------
    {classification}
    hard : bool, default=False
        Mix in the predicted class, and not the predicted probabilities.
    amount : float, default=None
        Share of the prediction, in [0, 1]; None: 0.05 for probabilities and 0.2 for
        the hard form, the values of the source.
    {net}

    References
    ----------
    S. Reed et al., "Training Deep Neural Networks on Noisy Labels with
    Bootstrapping", 2014, equations 6 (soft) and 7 (hard).

    Examples
    --------
    >>> from skrobust.recipes import bootstrap
    >>> bootstrap(hard=True)
    NetClassifier(criterion=BootstrapCrossEntropy(amount=0.2, hard=True))
    """
    if amount is None:
        amount = 0.2 if hard else 0.05
    loss = BootstrapCrossEntropy(amount, hard)
    return net("bootstrap", task, criterion=loss, **params)
