"""Settings that the data choose: half of the rows judge what the other half taught."""

from __future__ import annotations

from dataclasses import replace
from textwrap import fill
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ._batch import Rows
from ._blocks import count_rows
from ._border import DRAWS, ORDER, make_generator
from ._compat import Silence
from ._hooks import BATCH, DECAY, IN_MEMORY, Hooks, epochs_of
from ._keys import row_keys
from ._progress import Progress, Watch, run_epochs
from ._train import Recipe
from .steps import Context

Array = NDArray[Any]

FEWEST = 30  # rows, below which held-out ones decide nothing
MOST = 100 * BATCH  # rows, above which a second look at all takes long
# epochs, or steps where rows are few: which candidate is ahead then is seldom another
# later, but before networks know the rows they have, all are alike
PILOT, PILOT_STEPS = 30, 300


class Choice(NamedTuple):
    """Settings that are chosen together.

    Attributes
    ----------
    usual : dict
        Their names, and what they are where nothing can be tried.
    tried : tuple of tuple
        Values of all of them, the safest first.
    margin : float
        Standard errors that a safer one may be behind.
    by_heart : float
        How much nearer networks are to targets that they were shown, from where on
        the margin is nought: plain training is then what to distrust.
    votes : bool
        Whether each row says who is better, whatever by.
    """

    usual: dict[str, float]
    tried: tuple[tuple[float, ...], ...]
    margin: float = 2.0
    by_heart: float = float("inf")
    votes: bool = False


def decay_choice(tried: tuple[float, ...], margin: float) -> Choice:
    """Return the choice of a decay, the weakest first."""
    return Choice({"weight_decay": DECAY}, tuple((d,) for d in tried), margin)


def decay_rule(choice: Choice, cost: str, unless: str = "") -> str:
    """Say for the documentation how a decay is chosen, by the mean of which cost."""
    margin, n_tried = choice.margin, len(choice.tried)
    *others, last = [f"{decay:g}" for (decay,) in choice.tried]
    picked = (
        f"""The weakest is used that has the smallest mean {cost}, to within {margin:g}
        standard error{"s" * (margin != 1)}."""
        if margin
        else f"The one is used that has the smallest mean {cost}."
    )
    text = f"""chosen where ``max_iter`` is 'auto' too and there are {FEWEST} to {MOST}
    rows{unless}; else it is {DECAY:g}. Networks trained with {", ".join(others)} and
    {last} on one half of the rows, for {PILOT} epochs, or {PILOT_STEPS} steps where
    rows are few, predict the other half, and the other way round. {picked} So decay is
    strong where targets are noisy, or labels wrong, and would be learned by heart. The
    choice takes about as long as {PILOT * n_tried} epochs, or {PILOT_STEPS * n_tried}
    steps where rows are few"""
    return fill(" ".join(text.split()), 84, subsequent_indent="    ")


class Choosing(Hooks):
    """Mixin of estimators some of whose settings may be 'auto'.

    An estimator says what is tried (`_choices`), what a recipe becomes by settings
    (`_with`) and how near outputs come to targets (`_nearness`). Settings are tried if
    the first of them is 'auto'; another one that is 'auto' alone is what it usually is.
    A ``weight_decay`` is tried only where nothing is said of how long to train: who
    counts epochs wants no others.
    """

    _choices: ClassVar[tuple[Choice, ...]] = ()  # made one after the other

    def _with(self, recipe: Recipe, settled: dict[str, Any]) -> Recipe:
        """Return a recipe with settings: numbers, or tensors (n_networks, 1)."""
        return replace(recipe, weight_decay=settled["weight_decay"])

    def _usually(self, choice: Choice, given: dict[str, Any]) -> dict[str, float]:
        """Return what settings are where nothing is tried."""
        return choice.usual

    def _worth(self, choice: Choice, X: Array) -> bool:
        """Whether there is enough to gain by trying."""
        if "weight_decay" not in choice.usual:
            return True
        few = len(X) <= MOST and X.nbytes <= IN_MEMORY
        strongest = max(decay for (decay,) in choice.tried)
        small = self.learning_rate_init * strongest < 1  # else nothing would be left
        return few and small and self.max_iter == "auto"

    def _nearness(
        self, choice: Choice, outputs: torch.Tensor, targets: Any
    ) -> torch.Tensor:
        """How near outputs are to targets (n, n_outputs), (K, n), higher is nearer."""
        raise NotImplementedError

    def _merits(
        self, choice: Choice, found: torch.Tensor, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what nearness (K, n) is worth, and who may be picked (K,).

        Rows have shares of all mass. The first candidate always may be picked.
        """
        return found, torch.ones(len(found), dtype=torch.bool)

    def _made(self) -> tuple[Choice, ...]:
        """Return the choices that a fit makes."""
        return self._choices

    def _settle(
        self, rows: Rows, progress: Progress, recipe: Recipe, X: Array, partial: bool
    ) -> Recipe:
        """Settle on what is 'auto' before training starts."""
        half = None
        for choice in self._made():
            given = {name: getattr(self, name) for name in choice.usual}
            auto = [name for name, value in given.items() if isinstance(value, str)]
            usual = self._usually(choice, given)
            settled = given | {name: usual[name] for name in auto}
            leads = next(iter(given)) in auto and not partial
            if progress.n_epochs:  # a fit that goes on keeps to what it chose
                settled |= {name: getattr(self, f"{name}_") for name in auto}
            elif (
                leads and count_rows(rows.weights) >= FEWEST and self._worth(choice, X)
            ):
                half = halves(X, rows.weights, progress.seed) if half is None else half
                if 0 < half.sum() < len(half):
                    found = self._choose(choice, auto, half, rows, progress, recipe)
                    settled |= found
            for name, value in settled.items():
                setattr(self, f"{name}_", value)
            recipe = self._with(recipe, settled)
        return recipe

    def _choose(
        self,
        choice: Choice,
        names: list[str],
        half: torch.Tensor,
        rows: Rows,
        progress: Progress,
        recipe: Recipe,
    ) -> dict[str, float]:
        """Train with each candidate on one half of the rows; ask the other, and back.

        The leading setting is the smallest of those that are not behind the best by
        more than the margin, the others the best that go with it.
        """
        open_to = [list(choice.usual).index(name) for name in names]
        tried = list(dict.fromkeys(tuple(t[i] for i in open_to) for t in choice.tried))
        given = {name: getattr(self, name) for name in choice.usual}
        mass = rows.weights.double().sum()
        shown, shares, learned = [], [], 0.0
        for held in (half, ~half):
            known, unseen = rows.part(~held), rows.part(held)
            # as many steps an epoch as the fit will take, which has all rows
            size = -(-recipe.batch_size * known.n // rows.n)
            pilot = replace(recipe, batch_size=size)
            pilots = [
                self._pilot(self._with(pilot, given | settings), n, known, progress)
                for settings, n in self._trials(names, tried, progress)
            ]
            shown.append(self._near(choice, pilots, unseen))
            shares.append(unseen.weights.double() / mass)
            seen = self._near(choice, pilots, known)[0] @ known.weights.double() / mass
            learned += float(seen - shown[-1][0] @ shares[-1])
        found, share = torch.cat(shown, -1), torch.cat(shares)
        margin = 0.0 if learned > choice.by_heart else choice.margin
        leading = found.new_tensor([t[0] for t in tried])
        merits, sound = self._merits(choice, found, share)
        there = sound.nonzero()[:, 0].to(found.device)
        merits, leading = merits[there], leading[there]
        n_rows = count_rows(rows.weights)
        best = pick(merits, share, n_rows, leading, margin, choice.votes)
        return dict(zip(names, tried[int(there[best])], strict=True))

    def _trials(
        self, names: list[str], tried: list[tuple[float, ...]], progress: Progress
    ) -> list[tuple[dict[str, Any], int]]:
        """Return settings and how many networks train with them.

        Side by side settings are (n_networks, 1).
        """
        if not self._side_by_side():
            return [
                (dict(zip(names, values, strict=True)), self._networks())
                for values in tried
            ]
        columns = progress.stack.theta.new_tensor(tried).T[..., None]
        return [(dict(zip(names, columns, strict=True)), len(tried))]

    def _side_by_side(self) -> bool:
        """Whether candidates are the networks of one stack.

        Networks of a model of several, and steps of the caller's own, may look at all
        networks of a stack, which are then those of one candidate.
        """
        return self._networks() == 1 and not getattr(self, "steps", ())

    def _near(self, choice: Choice, pilots: list[Any], rows: Rows) -> torch.Tensor:
        """How near each candidate's outputs are to the rows' targets, (K, n)."""
        found = []
        for stack in pilots:
            near = []
            with stack.mode():
                for batch in rows.blocks(stack.block):
                    outputs = stack.predict(batch.x)
                    if not self._side_by_side():
                        outputs = outputs.mean(0, keepdim=True)
                    near.append(self._nearness(choice, outputs, batch.y))
            found.append(torch.cat(near, -1))
        return torch.cat(found).double()

    def _pilot(
        self, recipe: Recipe, n_networks: int, rows: Rows, progress: Progress
    ) -> Any:
        """Train networks for a while.

        From equal weights and by equal batches candidates differ by settings alone.
        """
        like, seed = progress.stack.theta, progress.seed
        design = {**progress.design, "n_networks": n_networks}
        stack = self._build(design, seed, like.dtype, like.device)
        if self._side_by_side():
            each = stack.theta.view(n_networks, -1)
            each[1:] = each[:1]
        stack.generator = make_generator(seed, like.device, DRAWS)
        order = make_generator(seed, stream=ORDER)
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
        run_epochs(rows, pilot, recipe, context, watch)
        return stack


def pick(
    merits: torch.Tensor,
    share: torch.Tensor,
    n_rows: int,
    leading: torch.Tensor,
    margin: float,
    votes: bool = False,
) -> int:
    """Return the best candidate of the smallest leading setting within the margin.

    Of merits (K, n) the mean decides, of votes only their order within a row; rows
    have shares of all mass, and the margin is in standard errors.
    """
    by = torch.sign if votes else torch.clone
    ahead = (by(merits - merits[:1]) * share).sum(-1)
    behind = by(merits[ahead.argmax()] - merits)
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
