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
from typing import Any

from ._changes import label_smoothing, loss_mixture, mixup, random_weighting
from ._choices import (
    co_prl,
    co_teaching,
    decouple,
    min_sgd,
    prl_g,
    prl_l,
    self_paced,
)
from ._common import PRL, TASKS_OF, Net, check_task
from ._losses import (
    absolute_deviation,
    bootstrap,
    huber,
    norm_clip,
    row_clip,
    standard,
)

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

BASELINES: dict[str, Callable[..., Net | PRL]] = {
    recipe.__name__: recipe
    for recipe in (
        standard,
        norm_clip,
        row_clip,
        huber,
        absolute_deviation,
        bootstrap,
        mixup,
        label_smoothing,
        random_weighting,
        loss_mixture,
        min_sgd,
        decouple,
        self_paced,
        co_teaching,
        prl_l,
        prl_g,
        co_prl,
    )
}


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
    check_task("make_baselines", task)
    made = {}
    for name, recipe in BASELINES.items():
        if task in TASKS_OF[name]:
            has_epsilon = "epsilon" in inspect.signature(recipe).parameters
            own = {"epsilon": epsilon} if has_epsilon else {}
            # not as arguments: a recipe's own may have the same name
            made[name] = recipe(task, **own).set_params(**params)
    return made
