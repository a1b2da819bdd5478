"""How every network of the house is fitted, in one call or in parts."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import replace
from functools import partial as partial_of
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data

from . import _border
from ._batch import BLOCK, Rows
from ._building import merge_equal_rows, to_tensor
from ._compat import Silence
from ._fitted import FittedNet
from ._holdout import HoldOut, rows_at
from ._hooks import DECAY, IN_MEMORY, Call
from ._optim import SGD, Adam
from ._progress import Progress, Watch, run_epochs
from ._train import Recipe, posterior, reweighting
from ._words import DOC_LINK
from .steps import Context, Reweight

Array = NDArray[Any]

# what a fit says of its rows
_OF_ROWS = (
    "validation_scores_",
    "best_validation_score_",
    "sample_weight_",
    "inlier_mask_",
)


class NetBase(HoldOut, FittedNet):
    """Common ground of the bases; not an estimator by itself."""

    _doc_link_module, _doc_link_template = "skrobust", DOC_LINK

    # -- fitting -----------------------------------------------------------------
    def _fit(self, X: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        """Fit, or leave the estimator as it was if anything goes wrong."""
        with _border.whole_or_not(self):
            self._fit_or_fail(X, y, sample_weight, **options)
        return self

    def _fit_or_fail(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any = None,
        y_val: Any = None,
        classes: Any = None,
        partial: bool = False,
    ) -> None:
        """Fit; may leave the estimator half done where something fails."""
        self._check_params()
        resume = self.__sklearn_is_fitted__() and (partial or self.warm_start)
        X, y = self._check_arrays(X, y, reset=not resume)
        given = _border.check_weights(sample_weight, len(X))
        X, weights = self._prepare(X, given, resume)
        used = np.flatnonzero(weights)
        metadata = {} if sample_weight is None else {"sample_weight": given}
        tell = {"estimator": self, "X": X, "y": y, "metadata": metadata}
        X, y, w = rows_at(used, X, y, weights)
        about = self._learn_targets(X, y, w, Call(resume, partial, classes))
        w = w * self._class_weights(y, w, about)
        X, y, w, used = rows_at(np.flatnonzero(w), X, y, w, used)
        target = self._encode(y, about)
        val = self._given_validation(X_val, y_val, X.shape[1:], about)
        progress = self._begin(X, w, about["n_outputs_"], resume, partial)
        if val is None and not partial and getattr(self, "early_stopping", False):
            data = X, target, w, used
            val, (X, target, w, used) = self._hold_out(data, progress, resume)
        context = Context(self._loss(), progress.n_epochs, progress.stack.generator)
        context.lengths = [] if self._by_change() else None
        size, n_parts = self._batches(X, target, w)
        n_batches = n_parts or -(-len(X) // size)
        n_epochs = self._epochs(X, target, n_batches)
        recipe = self._recipe(progress.n_epochs, n_epochs, size, n_batches)
        recipe.n_parts = n_parts
        if partial:
            n_epochs = _one_epoch(recipe, progress.n_epochs)
        watch = self._watch(tell, progress, val, n_epochs, partial)
        total, place = w, np.arange(len(w))
        if progress.stack.has_modes and self._keeps_repeats(recipe, X):
            # equal rows share what is drawn for them, like one of their weight
            X, target, total, place = merge_equal_rows(X, target, w)
        watch.attributes = lambda: self._so_far(progress, about, tell["X"], given)
        if resume and val is not None:  # else they would belong to other epochs
            progress.scores = list(getattr(self, "validation_scores_", []))
        self._forget_fit()
        if not resume:
            watch.restart = lambda: self._restart(progress, recipe)
        with _border.few_threads(progress.stack.theta.numel() * recipe.batch_size):
            rows = self._rows(X, target, total, progress, recipe)
            recipe = self._settle(rows, progress, recipe, X, partial)
            mark = self._recall(rows, recipe, (X, target, total), resume)
            run_epochs(rows, progress, recipe, context, watch)
            final = self._learned(rows, progress, recipe, context, about)
        revised = None if rows.revised is None else rows.revised.cpu().numpy()
        self._revised = mark, revised
        self._keep_weights(used, len(weights), w, (final / total)[place] * w)
        self._finish(tell["X"], given)

    def _forget_fit(self) -> None:
        """Drop what an earlier fit said of its rows."""
        for name in _OF_ROWS:
            vars(self).pop(name, None)

    def _learned(
        self,
        rows: Rows,
        progress: Progress,
        recipe: Recipe,
        context: Context,
        about: dict[str, Any],
    ) -> Array:
        """Keep what was learned; return what final weights the rows have, (n,)."""
        vars(self).update(self._attributes(progress, about))
        self._stack = progress.stack.compact()
        verdict = self._verdict()
        if verdict is not None:
            recipe = replace(recipe, steps=self._bound(verdict))
        final = posterior(self._stack, rows, recipe, context).mean(0)
        if not final.any() and not any(progress.loss_curve):
            nobody = "No row kept any weight in any epoch, so nothing was learned."
            warnings.warn(nobody, ConvergenceWarning, stacklevel=4)
        return final.cpu().double().numpy()

    def _check_arrays(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        X, y = _border.to_numpy(X), _border.to_numpy(y)
        options = {**self._X_options(), **self._y_options(), "reset": reset}
        if y is None and not self._needs_y():
            return validate_data(self, X, **options), None
        return validate_data(self, X, y, **options)

    def _begin(
        self, X: Array, weights: Array, n_outputs: int, resume: bool, partial: bool
    ) -> Progress:
        """Build networks, optimizer and scaling, or take up the fitted ones."""
        scaler = self._scaler if resume else None
        if self.standardize and X.ndim == 2 and (partial or not resume):
            kind = self._input_scaler
            scaler = scaler.update(X, weights) if scaler else kind.fit(X, weights)
        device = _border.pick_device(self.device)
        seed = _border.draw_seed(self.random_state)
        if resume:
            stack, done = self._stack.clone(), self.n_iter_
            design = self._stack_design
            _border.require_row_shape(X, design.get("row_shape"))
            self._check_networks(self._design(X.shape[1:], n_outputs))
            seed += done  # further epochs must not repeat the first ones' draws
        else:
            self._seed = seed
            dtype = _border.pick_dtype(self.dtype, X.dtype)
            design = self._design(X.shape[1:], n_outputs)
            stack = self._build(design, seed, dtype, device)
        optimizer = self._optimizer(stack)
        order = _border.make_generator(seed, stream=_border.ORDER)
        stack.generator = _border.make_generator(
            seed, stack.theta.device, _border.DRAWS
        )
        progress = Progress(stack, optimizer, scaler, design, order, seed)
        if resume:
            if optimizer.state().keys() == self._optimizer_state.keys():
                optimizer.load(self._optimizer_state)  # else it is another solver's
            progress.n_epochs = done
            progress.loss_curve = list(self.loss_curve_)
        return progress

    def _check_networks(self, wanted: dict[str, Any]) -> None:
        """Refuse to go on with networks of another kind than the method now needs.

        Their inner layers may be what they were, whatever parameters say of them now.
        """
        name, known = type(self).__name__, self._stack_design
        number = known.get("n_networks")
        if number != wanted.get("n_networks"):
            raise ValueError(
                f"{name} has {number} fitted networks to go on with, but its "
                f"parameters now ask for {wanted['n_networks']}. Set warm_start=False "
                "to begin anew."
            )
        named = [isinstance(d.get("network"), str) for d in (known, wanted)]
        ends = [d.get("sizes", ())[-1:] for d in (known, wanted)]
        closed = [d.get("closed_form") for d in (known, wanted)]
        if any(a != b for a, b in (named, ends, closed)):
            raise ValueError(
                f"{name} has fitted networks of another kind than its parameters now "
                "ask for. Set warm_start=False to begin anew."
            )

    def _design(self, row_shape: tuple[int, ...], n_outputs: int) -> dict[str, Any]:
        """Say what to build; kept, so that later parameters change no fitted model."""
        return {
            "sizes": self._layers(int(np.prod(row_shape)), n_outputs),
            "n_networks": self._networks(),
            "activation": self.activation,
            "dropout": self.dropout,
            "dropout_layers": None,
            "network": self.network,
            "row_shape": tuple(row_shape),
        }

    def _optimizer(self, stack: Any) -> Any:
        if self.solver == "adam":
            return Adam(stack.theta)
        return SGD(stack.theta, self.momentum, self.nesterovs_momentum)

    def _recipe(self, first: int, n_epochs: int, size: int, n_batches: int) -> Recipe:
        """Say how to train for so many epochs, of which ``first`` is the number."""
        lr = self.learning_rate_init

        def step_size(epoch: int) -> float:
            if self.learning_rate == "constant":
                return lr
            return lr * 0.5 * (1 + np.cos(np.pi * (epoch - first) / n_epochs))

        steps = self._bound(self._steps_within(n_epochs, n_batches))
        clip_norm = self.clip_norm
        if clip_norm == "auto":
            clip_norm = 1.0 if self._clips() else None
        chosen = isinstance(self.weight_decay, str)  # later, by the rows
        decay = DECAY if chosen else self.weight_decay
        return Recipe(steps, size, step_size, self.alpha, decay, clip_norm)

    def _bound(self, steps: tuple[Any, ...]) -> tuple[Any, ...]:
        """Fill in, where a step has no score, the loss that is descended."""
        loss = self._loss()
        return tuple(s.bound(loss) if isinstance(s, Reweight) else s for s in steps)

    def _restart(self, progress: Progress, recipe: Recipe) -> bool:
        """Take new first weights and a tenth of the step size, if that is allowed."""
        if progress.n_restarts >= getattr(self, "max_restarts", 0):
            return False
        progress.n_restarts += 1
        stack, rate = progress.stack, recipe.learning_rate
        theta = stack.theta
        stream = _border.RESTARTS + progress.n_restarts
        seed = _border.stream_seed(progress.seed, stream)
        fresh = self._build(progress.design, seed, theta.dtype, theta.device)
        for old, new in zip(stack.memory(), fresh.memory(), strict=True):
            old.copy_(new)
        progress.optimizer = self._optimizer(stack)
        recipe.learning_rate = lambda epoch: 0.1 * rate(epoch)
        return True

    def _rows(
        self,
        X: Array,
        target: Any,
        weights: Array,
        progress: Progress,
        recipe: Recipe,
    ) -> Rows:
        stack, scaler = progress.stack, progress.scaler
        device, dtype = stack.theta.device, stack.theta.dtype
        x: Any
        if X.nbytes <= IN_MEMORY:
            starts = range(0, len(X), BLOCK)
            parts = [to_tensor(X[i : i + BLOCK], scaler, stack) for i in starts]
            x = torch.cat(parts)
        else:

            def x(index: torch.Tensor) -> torch.Tensor:
                return to_tensor(X[index.numpy()], scaler, stack)

        y = None
        if target is not None:
            y = torch.as_tensor(target, device=device)
            y = y.to(dtype) if y.is_floating_point() else y
        weights = torch.as_tensor(weights, dtype=dtype, device=device)
        if not ((weights > 0) & weights.isfinite()).all():
            raise ValueError(
                f"sample_weight holds numbers too small or too large for {dtype}, in "
                "which X is trained on. Scale the weights, or set dtype='float64'."
            )
        n_classes = 0 if y is None or y.is_floating_point() else stack.n_outputs
        keys = None
        by_order = any(s.by_order for s in reweighting(recipe))
        # equal rows may be merged in X, and make up several batches all the same
        by_order |= recipe.batch_size < len(X) or (recipe.n_parts or 1) > 1
        if by_order and self._keeps_repeats(recipe, X):
            keys = torch.as_tensor(_border.target_keys(X, target))
        return Rows(x, y, weights, n_classes, keys, recipe.n_parts)

    def _keeps_repeats(self, recipe: Recipe, X: Array) -> bool:
        """Whether a row given twice is to act like one of twice the weight."""
        share = recipe.n_parts is not None and X.nbytes <= IN_MEMORY
        return share or len(X) <= recipe.batch_size

    def _recall(
        self, rows: Rows, recipe: Recipe, data: tuple[Any, ...], resume: bool
    ) -> Any:
        """Go on from revised weights if these are the rows they were found for.

        Returns what the rows are known again by.
        """
        if not any(isinstance(s, Reweight) and s.every for s in recipe.steps):
            return None
        arrays = (np.ascontiguousarray(array) for array in data if array is not None)
        mark = [zlib.crc32(array) for array in arrays]
        known, revised = getattr(self, "_revised", (None, None))
        if resume and known == mark and revised is not None:
            rows.revised = torch.as_tensor(revised, device=rows.weights.device)
        return mark

    def _watch(
        self,
        tell: dict[str, Any],
        progress: Progress,
        held_out: Any,
        n_epochs: int,
        partial: bool,
    ) -> Watch:
        patience = self.n_iter_no_change
        if patience is None and held_out is not None:
            patience = max(10, n_epochs // 10)
        return Watch(
            n_epochs=n_epochs,
            tol=self.tol,
            patience=patience,
            validate=held_out and partial_of(self._validated, held_out, progress),
            callbacks=Silence()
            if partial
            else self._init_callback_context(max_subtasks=n_epochs),
            tell=tell,
            verbose=bool(self.verbose),
        )

    def _attributes(self, progress: Progress, about: dict[str, Any]) -> dict[str, Any]:
        found = {
            **about,
            "_stack": progress.stack,
            "_scaler": progress.scaler,
            "_optimizer_state": progress.optimizer.state(),
            "_stack_design": progress.design,
            "_fitted_loss": self._loss(),
            "loss_curve_": list(progress.loss_curve),
            "best_loss_": min(progress.loss_curve, default=np.inf),
            "n_iter_": progress.n_epochs,
        }
        if hasattr(self, "max_restarts"):
            found["n_restarts_"] = progress.n_restarts
        if progress.scores:
            found["validation_scores_"] = list(progress.scores)
            found["best_validation_score_"] = max(progress.scores)
        return found

    def _so_far(
        self, progress: Progress, about: dict[str, Any], X: Array, weights: Array
    ) -> dict[str, Any]:
        """Return what a fit that ended now would leave behind, for callbacks."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        vars(twin).update(self._attributes(progress.frozen(), about))
        twin._finish(X, weights)
        known = vars(self)
        return {k: v for k, v in vars(twin).items() if v is not known.get(k, twin)}

    def _keep_weights(self, used: Array, n: int, prior: Array, final: Array) -> None:
        """Say which training rows were trusted; rows not trained on have weight 0."""
        self.sample_weight_ = np.zeros(n)
        self.sample_weight_[used] = final
        self.inlier_mask_ = np.zeros(n, dtype=bool)
        self.inlier_mask_[used] = final > 0.5 * prior


def _one_epoch(recipe: Recipe, epoch: int) -> int:
    """Keep the step size of an epoch: a stream has no last one to slow down for."""
    rate = recipe.learning_rate(epoch)
    recipe.learning_rate = lambda epoch: rate
    return 1
