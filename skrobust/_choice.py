"""Settings that the data choose: half of the rows judge what the other half taught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ._batch import Rows
from ._blocks import count_rows
from ._border import DRAWS, ORDER, make_generator
from ._compat import Silence
from ._hooks import epochs_of
from ._keys import row_keys
from ._progress import Progress, Watch, run_epochs
from ._train import Recipe
from .steps import Context, Step

Array = NDArray[Any]

FEWEST = 30  # rows, below which held-out ones decide nothing
# epochs, or steps where rows are few: which candidate is ahead then is seldom another
# later, but before networks know the rows they have, all are alike
PILOT, PILOT_STEPS = 30, 300


class Choosing:
    """Mixin of estimators some of whose settings may be 'auto'.

    An estimator says what is tried, what steps settings lead to (`_steps_with`) and
    how near outputs come to targets (`_nearness`). The settings are tried if the first
    of them is 'auto'; another one that is 'auto' alone is what it usually is.
    """

    _usual: ClassVar[dict[str, float]]  # by setting, for where nothing can be tried
    _tried: ClassVar[tuple[tuple[float, ...], ...]]  # in that order, the safest first
    _margin: ClassVar[float] = 2.0  # standard errors that a safer one may be behind
    _by_heart: ClassVar[float] = float("inf")  # nearness that only learned rows have

    def _steps_with(self, settled: dict[str, Any]) -> tuple[Step, ...]:
        """Return the steps; a setting is a number or a tensor (n_networks, 1)."""
        raise NotImplementedError

    def _usually(self, given: dict[str, Any]) -> dict[str, float]:
        """Return what settings are where nothing is tried."""
        return self._usual

    def _sound(self, found: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Whether each candidate may be picked (K,); the first one always may.

        ``found`` (K, n) is how near each came to the rows' targets, which have shares
        of the mass.
        """
        return torch.ones(len(found), dtype=torch.bool)

    def _nearness(self, outputs: torch.Tensor, targets: Any) -> torch.Tensor:
        """How near outputs are to targets (n, n_outputs), (K, n), higher is nearer."""
        raise NotImplementedError

    def _steps(self) -> tuple[Step, ...]:
        settled = {n: getattr(self, f"{n}_", usual) for n, usual in self._usual.items()}
        return self._steps_with(settled)

    def _settle(
        self, rows: Rows, progress: Progress, recipe: Recipe, X: Array, partial: bool
    ) -> Recipe:
        """Settle on what is 'auto' before training starts."""
        given = {name: getattr(self, name) for name in self._usual}
        auto = [name for name, value in given.items() if isinstance(value, str)]
        usual = self._usually(given)
        settled = given | {name: usual[name] for name in auto}
        if progress.n_epochs:  # a fit that goes on keeps to what it chose
            settled |= {name: getattr(self, f"{name}_") for name in auto}
        elif next(iter(given)) in auto and not partial:
            half = halves(X, rows.weights, progress.seed)
            if count_rows(rows.weights) >= FEWEST and 0 < half.sum() < len(half):
                settled |= self._choose(auto, half, rows, progress, recipe)
        for name, value in settled.items():
            setattr(self, f"{name}_", value)
        return replace(recipe, steps=self._bound(self._steps()))

    def _choose(
        self,
        names: list[str],
        half: torch.Tensor,
        rows: Rows,
        progress: Progress,
        recipe: Recipe,
    ) -> dict[str, float]:
        """Train with each candidate on one half of the rows; ask the other, and back.

        The leading setting is the smallest of those that are not behind the best by
        more than the margin, the others the best that go with it. But where plain
        training learns rows by heart there is no margin: it is then what to distrust.
        """
        open_to = [list(self._usual).index(name) for name in names]
        tried = list(dict.fromkeys(tuple(t[i] for i in open_to) for t in self._tried))
        columns = progress.stack.theta.new_tensor(tried).T[..., None]  # each (K, 1)
        candidates = dict(zip(names, columns, strict=True))
        mass = rows.weights.double().sum()
        shown, shares, learned = [], [], 0.0
        for held in (half, ~half):
            known, unseen = rows.part(~held), rows.part(held)
            # as many steps an epoch as the fit will take, which has all rows
            size = -(-recipe.batch_size * known.n // rows.n)
            pilot = replace(recipe, batch_size=size)
            stack = self._pilot(candidates, known, progress, pilot)
            shown.append(self._near(stack, unseen))
            shares.append(unseen.weights.double() / mass)
            seen = self._near(stack, known) @ known.weights.double() / mass
            learned += float(seen[0] - shown[-1][0] @ shares[-1])
        found, share = torch.cat(shown, -1), torch.cat(shares)
        margin = 0.0 if learned > self._by_heart else self._margin
        sound = self._sound(found, share).nonzero()[:, 0].to(found.device)
        n_rows, leading = count_rows(rows.weights), columns[0, :, 0]
        best = pick(found[sound], share, n_rows, leading[sound], margin)
        return dict(zip(names, tried[int(sound[best])], strict=True))

    def _near(self, stack: Any, rows: Rows) -> torch.Tensor:
        """How near each network's outputs are to the rows' targets, (K, n)."""
        with stack.mode():
            parts = [self._nearness(stack.predict(b.x), b.y) for b in rows.blocks(1024)]
        return torch.cat(parts, -1).double()

    def _pilot(
        self,
        candidates: dict[str, torch.Tensor],
        rows: Rows,
        progress: Progress,
        recipe: Recipe,
    ) -> Any:
        """Train networks with each candidate, side by side, from equal weights.

        From equal weights and by equal batches they differ by their settings alone.
        """
        like, seed = progress.stack.theta, progress.seed
        n_networks = len(next(iter(candidates.values())))
        design = {**progress.design, "n_networks": n_networks}
        stack = self._build(design, seed, like.dtype, like.device)
        stack.theta.view(n_networks, -1)[1:] = stack.theta.view(n_networks, -1)[:1]
        stack.generator = make_generator(seed, like.device, DRAWS)
        order = make_generator(seed, stream=ORDER)
        given = {name: getattr(self, name) for name in self._usual}
        steps = self._bound(self._steps_with(given | candidates))
        n_epochs = epochs_of(PILOT_STEPS, rows.n_batches(recipe.batch_size), PILOT)
        if self.max_iter != "auto":
            n_epochs = min(self.max_iter, n_epochs)
        watch = Watch(
            n_epochs=n_epochs,
            tol=self.tol,
            patience=self.n_iter_no_change,
            validate=None,
            callbacks=Silence(),
            tell={},
            attributes=dict,
            verbose=False,
        )
        pilot = Progress(stack, self._optimizer(stack), None, design, order, seed)
        context = Context(self._loss(), 0, stack.generator)
        run_epochs(rows, pilot, replace(recipe, steps=steps), context, watch)
        return stack


def pick(
    found: torch.Tensor,
    share: torch.Tensor,
    n_rows: int,
    leading: torch.Tensor,
    margin: float,
) -> int:
    """Return the best candidate of the smallest leading setting within the margin.

    ``found`` (K, n) are nearnesses, of which only the order within a row counts;
    rows have shares of all mass, and the margin is in standard errors.
    """
    ahead = ((found - found[:1]).sign() * share).sum(-1)
    behind = (found[ahead.argmax()] - found).sign().double()
    gap = (behind * share).sum(-1)
    error = (((behind - gap[:, None]).square() * share).sum(-1) / float(n_rows)).sqrt()
    smallest = leading[gap <= margin * error].min()
    return int(ahead.masked_fill(leading != smallest, -torch.inf).argmax())


def halves(X: Array, weights: torch.Tensor, seed: int) -> torch.Tensor:
    """Mask of the rows that hold half of the mass.

    The order is that of salted keys, so equal rows stay on one side, and a row of
    weight two is dealt with like two rows.
    """
    keys = row_keys(X.reshape(len(X), -1), np.random.RandomState(seed % 2**32))
    order = np.argsort(keys, kind="stable")
    mass = np.cumsum(weights.double().cpu().numpy()[order])
    last = keys[order[np.searchsorted(mass, mass[-1] / 2)]]
    return torch.as_tensor(keys < last, device=weights.device)
