"""Deep learning from corrupted data, with scikit-learn's interface."""

from ._classifier import NetClassifier
from ._mom import MoMClassifier, MoMRegressor
from ._mr import MRClassifier, MRRegressor
from ._net_detector import NetOutlierDetector
from ._prl import PRLClassifier, PRLRegressor
from ._rca import RCAOutlierDetector
from ._realnvp import RobustRealNVPDetector
from ._refit import RejectRefitRegressor
from ._refit_classes import RejectRefitClassifier
from ._regressor import NetRegressor
from ._relu import ReLUDistributionEstimator

__version__ = "0.1.0"

__all__ = [
    "MRClassifier",
    "MRRegressor",
    "MoMClassifier",
    "MoMRegressor",
    "NetClassifier",
    "NetOutlierDetector",
    "NetRegressor",
    "PRLClassifier",
    "PRLRegressor",
    "RCAOutlierDetector",
    "ReLUDistributionEstimator",
    "RejectRefitClassifier",
    "RejectRefitRegressor",
    "RobustRealNVPDetector",
]
