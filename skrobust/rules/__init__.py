"""Rules: from scores and weights of rows to new weights.

A rule is a frozen dataclass called as ``rule(scores, weights, epoch=epoch)`` with
tensors of shape (..., n), usually (K, n) for K networks; it returns weights of the
scores' shape. Rules are pure, never loop over networks and never see labels or
networks. Scores are numbers or +inf. Fields that are fractions or thresholds may be a
float, a schedule (a function of the epoch, counted from 0), or a tensor that
broadcasts against (..., 1).

A rule may say three things about itself: ``by_order = True`` if what it does depends
on the order of the rows, ``sparse = True`` if it leaves weight to few of them, and
``updates = True`` if it goes on from the weights that it last returned; it is then
given the rows' own weights as ``own=``.

Notes
-----
"The PRL paper" is "Provable Robust Learning for Deep Neural Networks under Agnostic
Corrupted Supervision"; B. Liu's dissertation is "Robust Learning of Deep Neural
Networks under Data Corruption", 2022.
"""

from ._base import Ramp, Rule, Value, at_epoch
from ._choice import (
    Disagreement,
    MedianOfMeans,
    NearMedian,
    SelfPaced,
    SmallestLoss,
    Trim,
)
from ._combine import Chain, Exchange, Phases, chain
from ._scale import Cap, LossMixture, MultiplicativeWeights

__all__ = [
    "Cap",
    "Chain",
    "Disagreement",
    "Exchange",
    "LossMixture",
    "MedianOfMeans",
    "MultiplicativeWeights",
    "NearMedian",
    "Phases",
    "Ramp",
    "Rule",
    "SelfPaced",
    "SmallestLoss",
    "Trim",
    "Value",
    "at_epoch",
    "chain",
]
