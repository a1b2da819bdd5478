"""What all recipes share: tasks, documentation, and the estimators they set up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .._classifier import NetClassifier
from .._prl import PRLClassifier, PRLRegressor
from .._regressor import NetRegressor
from .._words import filled_doc, parameter_error

Net = NetClassifier | NetRegressor
PRL = PRLClassifier | PRLRegressor

TASKS = ("classification", "regression")
TASKS_OF: dict[str, tuple[str, ...]] = {}  # of every recipe
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


def recipe(*tasks: str) -> Callable[[_Recipe], _Recipe]:
    """Note the tasks of a recipe, and fill in what docstrings share."""

    def noted(recipe: _Recipe) -> _Recipe:
        recipe.__doc__ = filled_doc(recipe, _SHARED_DOCS)
        TASKS_OF[recipe.__name__] = tasks
        return recipe

    return noted


def check_task(owner: str, task: str) -> None:
    """Refuse a task that a recipe is not made for."""
    known = TASKS_OF.get(owner, TASKS)
    if task not in known:
        raise parameter_error("task", owner, " or ".join(map(repr, known)), task)


def net(owner: str, task: str, **params: Any) -> Net:
    """Make the base estimator of a task."""
    check_task(owner, task)
    return (NetClassifier if task == "classification" else NetRegressor)(**params)


def prl(owner: str, task: str, epsilon: float, **params: Any) -> PRL:
    """Make the estimator of a task that leaves rows out."""
    check_task(owner, task)
    kind = PRLClassifier if task == "classification" else PRLRegressor
    return kind(epsilon, **params)
