"""Criteria: one number a row, to descend or to rank by.

A *loss* compares outputs with targets and can be descended. A *score* is anything
that gives one number a row; every loss is one. Called with a stack of K networks and
a batch of n rows, both return a tensor of shape (K, n), computed in evaluation mode.

Notes
-----
"The PRL paper" is "Provable Robust Learning for Deep Neural Networks under Agnostic
Corrupted Supervision"; "the DeepMoM paper" is S.-T. Huang and J. Lederer, "DeepMoM:
Robust Deep Learning With Median-of-Means", 2022.
"""

from ._base import Loss, Score
from ._losses import (
    AbsoluteError,
    BootstrapCrossEntropy,
    CrossEntropy,
    Huber,
    NegativeLogLikelihood,
    ReconstructionError,
    SquaredError,
    VariationalError,
    as_loss,
)
from ._scores import GradientNorm, LossIncrement, LossLayer, Prediction

__all__ = [
    "AbsoluteError",
    "BootstrapCrossEntropy",
    "CrossEntropy",
    "GradientNorm",
    "Huber",
    "Loss",
    "LossIncrement",
    "LossLayer",
    "NegativeLogLikelihood",
    "Prediction",
    "ReconstructionError",
    "Score",
    "SquaredError",
    "VariationalError",
    "as_loss",
]
