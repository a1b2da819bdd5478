"""An attribute that is a parameter called ``score`` and the method ``score`` at once.

The papers' methods differ in the score that ranks rows, and scikit-learn's
estimators have a method of that name. Here ``estimator.score`` equals the parameter's
string and can be called with data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class _CallableName(str):
    method: Callable[..., float]
    __name__: str

    def __call__(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score predictions, as scikit-learn's estimators do."""
        return self.method(X, y, sample_weight=sample_weight)


class ScoreName:
    """Descriptor: stores the parameter, answers with a string that can be called.

    Parameters
    ----------
    method : function
        The unbound method, such as ``ClassifierMixin.score``.
    """

    def __init__(self, method: Callable[..., float]):
        self.method = method

    def __get__(self, estimator: Any, owner: type) -> Any:
        """Return the method on the class, the callable name on an estimator."""
        if estimator is None:
            return self.method
        value = vars(estimator).get("score")
        if not isinstance(value, str):
            return value
        name = _CallableName(value)
        name.method = self.method.__get__(estimator, owner)
        name.__name__, name.__doc__ = "score", self.method.__doc__
        return name

    def __set__(self, estimator: Any, value: Any) -> None:
        """Store the parameter as it is given."""
        vars(estimator)["score"] = value


class ScoreParameterMixin:
    """Lets ``get_params`` return the plain parameter, so that clones are exact."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a subclass write a method ``score`` of its own."""
        own = vars(cls).get("score")
        if callable(own):
            cls.score = ScoreName(own)  # type: ignore[attr-defined]
        super().__init_subclass__(**kwargs)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Also those of contained estimators.

        Returns
        -------
        dict
        """
        params = super().get_params(deep)  # type: ignore[misc]
        if "score" in params:
            params["score"] = vars(self)["score"]
        return params
