"""Choice of rows."""

from __future__ import annotations

from typing import Any

from ..criteria import Prediction
from ..rules import Disagreement, SmallestLoss
from ..steps import Reweight
from ._common import PRL, TASKS, Net, net, prl, recipe


def _by_loss(owner: str, task: str, epsilon: float, **params: Any) -> PRL:
    if task == "classification":  # these are as they were published
        params = {"by_label": False, "ramp": 10} | params
    return prl(owner, task, epsilon, score="loss", **params)


@recipe(*TASKS)
def min_sgd(task: str = "classification", **params: Any) -> Net:
    """Follow, in every batch, only the row with the smallest loss (Min-SGD).

    Parameters
    ----------
    {task}
    {net}

    References
    ----------
    V. Shah, X. Wu and S. Sanghavi, "Choosing the Sample with Lowest Loss makes SGD
    Robust", 2020.

    Examples
    --------
    >>> from skrobust.recipes import min_sgd
    >>> min_sgd().steps[0].rule
    SmallestLoss()
    """
    return net("min_sgd", task, steps=(Reweight(SmallestLoss()),), **params)


@recipe("classification")
def decouple(task: str = "classification", **params: Any) -> Net:
    """Train two networks on the rows whose class they predict differently.

    ``inlier_mask_`` then shows those rows, which is no judgement of their labels.

    Parameters
    ----------
    {classification}
    {net}

    References
    ----------
    E. Malach and S. Shalev-Shwartz, "Decoupling 'when to update' from 'how to
    update'", 2017.

    Examples
    --------
    >>> from skrobust.recipes import decouple
    >>> decouple().n_networks
    2
    """
    step = Reweight(Disagreement(), Prediction())
    return net("decouple", task, steps=(step,), n_networks=2, **params)


@recipe(*TASKS)
def self_paced(
    task: str = "classification", epsilon: float = 0.2, **params: Any
) -> PRL:
    """Leave out the rows with the largest losses (SPL, the trimmed loss).

    Parameters
    ----------
    {task}
    {epsilon}
    {prl}

    References
    ----------
    M. P. Kumar, B. Packer and D. Koller, "Self-Paced Learning for Latent Variable
    Models", 2010, in the form of the PRL paper and B. Liu's dissertation: a fraction
    and not a threshold.

    Examples
    --------
    >>> from skrobust.recipes import self_paced
    >>> self_paced(epsilon=0.3)
    PRLClassifier(by_label=False, epsilon=0.3, ramp=10, score='loss')
    """
    return _by_loss("self_paced", task, epsilon, **params)


@recipe(*TASKS)
def co_teaching(
    task: str = "classification", epsilon: float = 0.2, **params: Any
) -> PRL:
    """Let two networks choose rows of small loss for each other.

    The papers use it for classification only.

    Parameters
    ----------
    {task}
    {epsilon}
    {prl}

    References
    ----------
    B. Han et al., "Co-teaching: Robust Training of Deep Neural Networks with
    Extremely Noisy Labels", 2018.

    Examples
    --------
    >>> from skrobust.recipes import co_teaching
    >>> co_teaching()
    PRLClassifier(by_label=False, co_training=True, ramp=10, score='loss')
    """
    return _by_loss("co_teaching", task, epsilon, co_training=True, **params)


@recipe(*TASKS)
def prl_l(task: str = "classification", epsilon: float = 0.2, **params: Any) -> PRL:
    """Leave out the rows whose loss pulls hardest at the output (PRL(L)).

    Parameters
    ----------
    {task}
    {epsilon}
    {prl}

    References
    ----------
    The PRL paper, Algorithm 3; B. Liu's dissertation, Algorithm 4 (both named in
    `skrobust.recipes`).

    Examples
    --------
    >>> from skrobust.recipes import prl_l
    >>> prl_l()
    PRLClassifier()
    """
    return prl("prl_l", task, epsilon, **params)


@recipe(*TASKS)
def prl_g(task: str = "classification", epsilon: float = 0.2, **params: Any) -> PRL:
    """Leave out the rows with the longest gradients by all weights (PRL(G)).

    Parameters
    ----------
    {task}
    {epsilon}
    {prl}

    References
    ----------
    The PRL paper, Algorithm 2; B. Liu's dissertation, Algorithm 3 (both named in
    `skrobust.recipes`).

    Examples
    --------
    >>> from skrobust.recipes import prl_g
    >>> prl_g("regression", 0.1)
    PRLRegressor(epsilon=0.1, score='gradient')
    """
    return prl("prl_g", task, epsilon, score="gradient", **params)


@recipe(*TASKS)
def co_prl(task: str = "classification", epsilon: float = 0.2, **params: Any) -> PRL:
    """Let two networks choose rows for each other by PRL(L)'s score (Co-PRL(L)).

    Parameters
    ----------
    {task}
    {epsilon}
    {prl}

    References
    ----------
    The PRL paper, Algorithm 4; B. Liu's dissertation, Algorithm 5 (both named in
    `skrobust.recipes`).

    Examples
    --------
    >>> from skrobust.recipes import co_prl
    >>> co_prl()
    PRLClassifier(co_training=True)
    """
    return prl("co_prl", task, epsilon, co_training=True, **params)
