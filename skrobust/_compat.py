"""scikit-learn's callbacks (from 1.9) where they exist, and their absence before."""

from __future__ import annotations

from contextlib import nullcontext
from functools import wraps
from typing import Any


class Silence:
    """A callback context without callbacks."""

    def subcontext(self, **kwargs: Any) -> Silence:
        """Return itself."""
        return self

    def propagate_callback_context(self, estimator: Any) -> Any:
        """Hand nothing on."""
        return nullcontext()

    def call_on_fit_task_begin(self, **kwargs: Any) -> None:
        """Tell nobody."""

    def call_on_fit_task_end(self, **kwargs: Any) -> bool:
        """Tell nobody; nobody asks to stop."""
        return False


try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for the mixin: nobody listens."""

        def _init_callback_context(self, **kwargs: Any) -> Silence:
            return Silence()

    def with_callbacks(method: Any) -> Any:  # type: ignore[no-redef]
        """Put a frame around the method, as scikit-learn does: warnings count them."""

        @wraps(method)
        def called(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return called


__all__ = ["CallbackSupportMixin", "Silence", "with_callbacks"]
