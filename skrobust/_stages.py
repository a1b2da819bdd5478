"""The estimators of two stages, and which metadata goes to which."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import has_fit_parameter

from ._base import NetBase

Array = NDArray[Any]


class Stages(BaseEstimator):
    """An estimator of two others, in place of each of which None may stand."""

    estimator: Any
    final_estimator: Any
    cv: Any
    _y_options: dict[str, Any]  # of `validate_data`

    def _default(self) -> Any:
        """Return the first stage in place of None."""
        raise NotImplementedError

    def _plain(self) -> type:
        """Return the class that trains a network plainly."""
        raise NotImplementedError

    def _stages(self) -> tuple[Any, Any]:
        """Return the estimators of both stages, in place of which None may stand."""
        first, final = self.estimator, self.final_estimator
        routed = get_config().get("enable_metadata_routing", False)
        if first is None:
            first = self._default()
            first = first.set_fit_request(sample_weight=True) if routed else first
        if final is None:
            final = _plain_twin(first, self._plain())
            if final is not first and routed:
                final = final.set_fit_request(sample_weight=True)
        return first, final

    def get_metadata_routing(self) -> Any:
        """Say which metadata goes to which estimator.

        Returns
        -------
        MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        first, final = self._stages()
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        router.add(estimator=first, method_mapping=to_fit)
        router.add(final_estimator=final, method_mapping=to_fit)
        if hasattr(self.cv, "get_metadata_routing"):
            to_split = MethodMapping().add(caller="fit", callee="split")
            router.add(splitter=self.cv, method_mapping=to_split)
        return router

    def _route(self, given: dict[str, Array], fit_params: Any) -> Any:
        """Return what `fit` hands to the fits of both stages and to the splitter."""
        if get_config().get("enable_metadata_routing", False):
            routed = process_routing(self, "fit", **given, **fit_params)
            return Bunch(
                estimator=routed.estimator,
                final_estimator=routed.final_estimator,
                splitter=routed.get("splitter", Bunch(split={})),
            )
        if fit_params:
            raise ValueError(
                f"[{', '.join(sorted(fit_params))}] are not passed on by "
                f"{type(self).__name__}.fit unless metadata routing is enabled, by "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        for stage in self._stages():
            if given and not has_fit_parameter(stage, "sample_weight"):
                raise TypeError(
                    f"Underlying estimator {type(stage).__name__} does not support "
                    "sample weights."
                )
        return Bunch(
            estimator=Bunch(fit=given),
            final_estimator=Bunch(fit=given),
            splitter=Bunch(split={}),
        )

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn, as its two stages are."""
        tags = super().__sklearn_tags__()
        stages = [get_tags(stage) for stage in self._stages()]
        for name in ("sparse", "allow_nan", "three_d_array", "string", "categorical"):
            able = all(getattr(stage.input_tags, name) for stage in stages)
            setattr(tags.input_tags, name, able)
        tags.non_deterministic = any(stage.non_deterministic for stage in stages)
        for name in ("multi_output", "single_output"):
            able = all(getattr(stage.target_tags, name) for stage in stages)
            setattr(tags.target_tags, name, able)
        # the stages may take several outputs where labels are judged one by one
        tags.target_tags.multi_output &= self._y_options.get("multi_output", False)
        return tags


def _plain_twin(estimator: Any, plain: type) -> Any:
    """Return the same network trained plainly; without a network, the same again.

    What was set carries over. What was not, such as a schedule that suits the first
    stage, is as plain training has it.
    """
    if not isinstance(estimator, NetBase):
        return estimator
    usual = inspect.signature(type(estimator)).parameters
    settings = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if value is not usual[name].default
        and not np.array_equal(value, usual[name].default)
    }
    known = set(inspect.signature(plain).parameters) - {"steps", "n_networks"}
    carried = {name: settings[name] for name in known & set(settings)}
    if carried.get("solver") == "lstsq":  # even weights make it ordinary least squares
        return type(estimator)(eta=0, **carried)
    return plain(**carried)


def final_has(method: str) -> Any:
    """Say whether the final estimator, fitted or to be, has a method."""

    def check(self: Any) -> bool:
        final = getattr(self, "final_estimator_", None) or self._stages()[1]
        getattr(final, method)  # says itself what it lacks
        return True

    return check
