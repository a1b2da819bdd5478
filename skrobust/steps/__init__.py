"""Steps: what happens to a batch before the weighted gradient step.

A step is called as ``step(stack, batch, context)`` and returns a batch. Estimators
take a tuple of steps; they run in order.
"""

from ._base import Context, Step
from ._change import Jitter, Mixup, Relabel, SmoothLabels
from ._reweight import RandomWeights, Reweight, ReweightByLabel

__all__ = [
    "Context",
    "Jitter",
    "Mixup",
    "RandomWeights",
    "Relabel",
    "Reweight",
    "ReweightByLabel",
    "SmoothLabels",
    "Step",
]
