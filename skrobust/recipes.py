"""Ready compositions: the methods that papers on corrupted labels compare.

Every recipe is called as ``recipe(task, epsilon, **params)`` and returns an unfitted
estimator; ``epsilon`` is there where a method has one, and ``params`` are those of
the estimator. They differ in a line or two, and their representations show which:

- plain training and losses: `standard`, `huber`, `absolute_deviation`, `bootstrap`;
- other rows, targets or weights: `mixup`, `label_smoothing`, `random_weighting`,
  `loss_mixture`;
- limits on what a step or a row can do: `norm_clip`, `row_clip`;
- choice of rows: `min_sgd`, `self_paced`, `decouple`, `co_teaching`, and the
  papers' own `prl_l`, `prl_g` and `co_prl`.

``BASELINES`` maps the names to the recipes, and `make_baselines` makes all that
there are for a task, ready for a loop.

References
----------
These texts compare the methods, for the tasks that each recipe names:

- the PRL paper: "Provable Robust Learning for Deep Neural Networks under Agnostic
  Corrupted Supervision", section 6;
- B. Liu's dissertation: "Robust Learning of Deep Neural Networks under Data
  Corruption", 2022, section 4.4;
- the MR paper: N. Bar, T. Koren and R. Giryes, "Multiplicative Reweighting for Robust
  Neural Network Optimization", 2024, section 5.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ._classifier import NetClassifier
from ._prl import PRLClassifier, PRLRegressor
from ._regressor import NetRegressor
from ._words import filled_doc, parameter_error
from .criteria import BootstrapCrossEntropy, GradientNorm, Huber, Prediction
from .rules import Cap, Disagreement, LossMixture, SmallestLoss
from .steps import Mixup, RandomWeights, Relabel, Reweight, SmoothLabels

__all__ = [
    "BASELINES",
    "absolute_deviation",
    "bootstrap",
    "co_prl",
    "co_teaching",
    "decouple",
    "huber",
    "label_smoothing",
    "loss_mixture",
    "make_baselines",
    "min_sgd",
    "mixup",
    "norm_clip",
    "prl_g",
    "prl_l",
    "random_weighting",
    "row_clip",
    "self_paced",
    "standard",
]

Net = NetClassifier | NetRegressor
PRL = PRLClassifier | PRLRegressor

TASKS = ("classification", "regression")
BASELINES: dict[str, Callable[..., Net | PRL]] = {}
_TASKS: dict[str, tuple[str, ...]] = {}  # of every recipe
_FATE = """
**params : dict
    Passed on to the estimator.

Returns
-------
{}
    Not fitted.

Raises
------
ValueError
    If `task` is not among those above.
"""
_SHARED_DOCS = {
    "task": """
task : {'classification', 'regression'}, default='classification'
    Whether labels or numbers are learned.""",
    "classification": """
task : {'classification'}, default='classification'
    For the common signature: there is no form for regression.""",
    "regression": """
task : {'regression'}, default='regression'
    For the common signature: there is no form for classification.""",
    "epsilon": """
epsilon : float, default=0.2
    Fraction of the training weight to leave out, in [0, 1): the share of wrong
    targets, rather a little more. It is reached over ``ramp`` epochs, a parameter of
    the estimator.""",
    "net": _FATE.format("NetClassifier or NetRegressor"),
    "prl": _FATE.format("PRLClassifier or PRLRegressor"),
}


_Recipe = TypeVar("_Recipe", bound=Callable[..., Any])


def _recipe(*tasks: str) -> Callable[[_Recipe], _Recipe]:
    """List a recipe for these tasks, and fill in what docstrings share."""

    def enlist(recipe: _Recipe) -> _Recipe:
        recipe.__doc__ = filled_doc(recipe, _SHARED_DOCS)
        BASELINES[recipe.__name__], _TASKS[recipe.__name__] = recipe, tasks
        return recipe

    return enlist


def _check_task(owner: str, task: str) -> None:
    known = _TASKS.get(owner, TASKS)
    if task not in known:
        raise parameter_error("task", owner, " or ".join(map(repr, known)), task)


def _net(owner: str, task: str, **params: Any) -> Net:
    _check_task(owner, task)
    return (NetClassifier if task == "classification" else NetRegressor)(**params)


def _prl(owner: str, task: str, epsilon: float, **params: Any) -> PRL:
    _check_task(owner, task)
    kind = PRLClassifier if task == "classification" else PRLRegressor
    return kind(epsilon, **params)


def _by_loss(owner: str, task: str, epsilon: float, **params: Any) -> PRL:
    if task == "classification":  # these are as they were published
        params = {"by_label": False, "ramp": 10} | params
    return _prl(owner, task, epsilon, score="loss", **params)


@_recipe(*TASKS)
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
    return _net("standard", task, **params)


@_recipe(*TASKS)
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
    return _net("norm_clip", task, clip_norm=clip_norm, **params)


@_recipe(*TASKS)
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
    return _net("row_clip", task, steps=(clip,), **params)


@_recipe("regression")
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
    return _net("huber", task, criterion=Huber(delta), **params)


@_recipe("regression")
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
    return _net("absolute_deviation", task, criterion="absolute_error", **params)


@_recipe("classification")
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
    return _net("bootstrap", task, criterion=loss, **params)


@_recipe(*TASKS)
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
    return _net("mixup", task, steps=(Mixup(alpha),), **params)


@_recipe("classification")
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
    return _net("label_smoothing", task, steps=(SmoothLabels(amount),), **params)


@_recipe(*TASKS)
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
    return _net("random_weighting", task, steps=(RandomWeights(),), **params)


@_recipe("classification")
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
    return _net("loss_mixture", task, steps=steps, **params)


@_recipe(*TASKS)
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
    return _net("min_sgd", task, steps=(Reweight(SmallestLoss()),), **params)


@_recipe("classification")
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
    return _net("decouple", task, steps=(step,), n_networks=2, **params)


@_recipe(*TASKS)
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


@_recipe(*TASKS)
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


@_recipe(*TASKS)
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
    return _prl("prl_l", task, epsilon, **params)


@_recipe(*TASKS)
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
    return _prl("prl_g", task, epsilon, score="gradient", **params)


@_recipe(*TASKS)
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
    return _prl("co_prl", task, epsilon, co_training=True, **params)


def make_baselines(
    task: str = "classification", epsilon: float = 0.2, **params: Any
) -> dict[str, Net | PRL]:
    """Make one estimator of every recipe that there is for a task.

    Parameters
    ----------
    task : {'classification', 'regression'}, default='classification'
        Whether labels or numbers are learned.
    epsilon : float, default=0.2
        For the recipes that have one.
    **params : dict
        Parameters of every estimator, such as ``max_iter``.

    Returns
    -------
    dict
        Maps the names of ``BASELINES`` to estimators that are not fitted.

    Raises
    ------
    ValueError
        If `task` is not among those above.

    Examples
    --------
    >>> from skrobust.recipes import make_baselines
    >>> list(make_baselines("regression"))[:4]
    ['standard', 'norm_clip', 'row_clip', 'huber']
    """
    _check_task("make_baselines", task)
    made = {}
    for name, recipe in BASELINES.items():
        if task in _TASKS[name]:
            has_epsilon = "epsilon" in inspect.signature(recipe).parameters
            own = {"epsilon": epsilon} if has_epsilon else {}
            # not as arguments: a recipe's own may have the same name
            made[name] = recipe(task, **own).set_params(**params)
    return made
