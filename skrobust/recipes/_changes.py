"""Other rows, targets or weights."""

from __future__ import annotations

from typing import Any

from ..rules import LossMixture
from ..steps import Mixup, RandomWeights, Relabel, Reweight, SmoothLabels
from ._common import TASKS, Net, net, recipe


@recipe(*TASKS)
def mixup(task: str = "classification", *, alpha: float = 1.0, **params: Any) -> Net:
    """Train on convex combinations of pairs of rows and of their targets.

    Parameters
    ----------
    {task}
    alpha : float, default=1.0
        Shares are drawn from Beta(alpha, alpha). The MR paper takes 1 with the solver
        'sgd' and 0.5 with 'adam'.
    {net}

    References
    ----------
    H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.

    Examples
    --------
    >>> from skrobust.recipes import mixup
    >>> mixup(alpha=0.5)
    NetClassifier(steps=(Mixup(alpha=0.5),))
    """
    return net("mixup", task, steps=(Mixup(alpha),), **params)


@recipe("classification")
def label_smoothing(
    task: str = "classification", *, amount: float = 0.1, **params: Any
) -> Net:
    """Move a share of each label to all classes evenly.

    Parameters
    ----------
    {classification}
    amount : float, default=0.1
        The share, in [0, 1).
    {net}

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
    2016, section 7.

    Examples
    --------
    >>> from skrobust.recipes import label_smoothing
    >>> label_smoothing()
    NetClassifier(steps=(SmoothLabels(amount=0.1),))
    """
    return net("label_smoothing", task, steps=(SmoothLabels(amount),), **params)


@recipe(*TASKS)
def random_weighting(task: str = "classification", **params: Any) -> Net:
    """Give rows random weights, anew in every step: no method, but a control.

    Parameters
    ----------
    {task}
    {net}

    References
    ----------
    M. Ren et al., "Learning to Reweight Examples for Robust Deep Learning", 2018.

    Examples
    --------
    >>> from skrobust.recipes import random_weighting
    >>> random_weighting()
    NetClassifier(steps=(RandomWeights(),))
    """
    return net("random_weighting", task, steps=(RandomWeights(),), **params)


@recipe("classification")
def loss_mixture(
    task: str = "classification",
    *,
    warm_up: int = 20,
    alpha: float = 32.0,
    **params: Any,
) -> Net:
    """Relabel rows by how likely their loss is of the higher of two groups (M-DYR-H).

    After every epoch two beta distributions are fitted to all losses. As far as a
    row's loss seems to be of the higher one, its label gives way to the class that
    the network predicts; then rows are mixed. The source's penalty against classes
    that nobody predicts is left out.

    Parameters
    ----------
    {classification}
    warm_up : int, default=20
        Epochs before the first labels give way. The source takes 105 of 300.
    alpha : float, default=32.0
        Of the mixup, as in `mixup`; 0: none. The source's 32 mixes half and half
        nearly always.
    {net}

    References
    ----------
    E. Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", 2019,
    sections 3.1 to 3.3.

    Examples
    --------
    >>> from skrobust.recipes import loss_mixture
    >>> loss_mixture(warm_up=5).steps[0].rule
    LossMixture(warm_up=5, n_iter=10)
    """
    steps = (Reweight(LossMixture(warm_up), every=1), Relabel())
    if alpha:
        steps = (*steps, Mixup(alpha))
    return net("loss_mixture", task, steps=steps, **params)
