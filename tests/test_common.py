"""scikit-learn's own checks, with no expected failure."""

from __future__ import annotations

import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import skrobust

# A check asks for few iterations, and some of its data follow no model at all.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# networks that are checked as they come elsewhere, or which checks cannot make smaller
SMALL = {"hidden_layer_sizes": (64,), "max_iter": 100, "learning_rate_init": 0.003}

# as they come but for epochs: a thousand steps would be waited for in each check
SHORT = {"max_iter": 200}

ESTIMATORS = [
    skrobust.NetClassifier(),
    skrobust.NetRegressor(),
    skrobust.NetOutlierDetector(),
    skrobust.NetOutlierDetector(contamination="auto", calibration_fraction=0.2),
    skrobust.PRLClassifier(),
    skrobust.PRLRegressor(**SHORT),
    skrobust.PRLClassifier(score="gradient", co_training=True),
    skrobust.PRLRegressor(score="gradient", co_training=True, **SMALL),
    skrobust.RCAOutlierDetector(),
    skrobust.RCAOutlierDetector(
        network="vae", imputer="mean", calibration_fraction=0.2, n_networks=3
    ),
    skrobust.RCAOutlierDetector("auto", capacities=(0.5, 0.0), n_passes=2),
    skrobust.RobustRealNVPDetector(),
    skrobust.RobustRealNVPDetector(
        epsilon=0.0, lipschitz=None, contamination="auto", noise=0.0, max_iter=20
    ),
    skrobust.RobustRealNVPDetector(
        spectral="rescale", dequantize="auto", calibration_fraction=0.2, max_iter=20
    ),
    skrobust.RejectRefitRegressor(skrobust.PRLRegressor(0.4, ramp=0, **SMALL)),
    skrobust.RejectRefitClassifier(skrobust.PRLClassifier(**SMALL)),
    skrobust.RejectRefitRegressor(Ridge(), threshold=4.0, max_rejected=0.1),
    skrobust.RejectRefitClassifier(LogisticRegression(), cv=2, threshold=0.0),
    skrobust.MoMClassifier(),
    skrobust.MoMRegressor(**SHORT),
    skrobust.MoMClassifier(selection="increment", n_central=3),
    skrobust.MoMRegressor(selection="increment", n_blocks=7, **SMALL),
    skrobust.MoMRegressor(n_blocks=1.0, n_central=0.4, batch_size=0.5, **SMALL),
    skrobust.MRClassifier(),
    skrobust.MRRegressor(**SHORT),
    skrobust.MRClassifier(0.01, solver="sgd", every=0.5, max_weight=2.0),
    skrobust.MRRegressor(0.01, solver="sgd", criterion="huber", every=2),
    skrobust.MRRegressor(hidden_layer_sizes=(), solver="lstsq"),
    skrobust.ReLUDistributionEstimator(),
    skrobust.ReLUDistributionEstimator(solver="newton"),
    skrobust.ReLUDistributionEstimator(solver="gd", filter="trimmed_mean"),
    skrobust.ReLUDistributionEstimator(solver="sgd", angle="paper"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_check(estimator, check):
    check(estimator)


def few_iterations(estimator):
    names = [n for n in estimator.get_params() if n.split("__")[-1] == "max_iter"]
    return clone(estimator).set_params(**dict.fromkeys(names, 5))


# scikit-learn runs these on its own estimators, not on those of others


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_column_names_are_kept_and_checked(estimator):
    pytest.importorskip("pandas")
    checks.check_dataframe_column_names_consistency(
        type(estimator).__name__, few_iterations(estimator)
    )


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_read_only_rows_are_left_alone(estimator):
    checks.check_inplace_ensure_writeable(
        type(estimator).__name__, few_iterations(estimator)
    )
