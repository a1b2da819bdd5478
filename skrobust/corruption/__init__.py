"""Corruptions of labels and targets, as the experiments on robust learning use them.

Every function has the one signature ``f(y, rate, *, X=None, random_state=None)`` and
returns ``(y_corrupted, mask)``, so that a benchmark can loop over them:

- labels: :func:`symmetric`, :func:`pairflip`;
- regression targets: :func:`linadv`, :func:`signflip`, :func:`uninoise`,
  :func:`target_shuffle`, :func:`maximum`, :func:`mixture`.

Exactly ``round(rate * n)`` rows are corrupted (the nearest integer, a tie goes to the
even one), drawn without replacement. With one integer seed the rows of a lower rate
are among the rows of a higher one, so that a curve over rates compares like with like.
The input is never modified.

The corruptions of regression targets were designed for targets that are standardised
(mean 0, variance 1 for each output). On raw targets `signflip` and `uninoise` may be
far too easy or too hard to spot: standardise first.
"""

from ._labels import pairflip, symmetric
from ._targets import linadv, maximum, mixture, signflip, target_shuffle, uninoise

__all__ = [
    "linadv",
    "maximum",
    "mixture",
    "pairflip",
    "signflip",
    "symmetric",
    "target_shuffle",
    "uninoise",
]
