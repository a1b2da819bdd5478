"""The distribution of a one-layer ReLU network, estimated past outliers."""

from .estimator import ReLUDistributionEstimator
from .generator import make_relu_distribution

__all__ = ["ReLUDistributionEstimator", "make_relu_distribution"]
