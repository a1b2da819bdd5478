"""scikit-learn's own checks, with no expected failure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import skrobust

ESTIMATORS = [
    skrobust.NetClassifier(),
    skrobust.NetRegressor(),
    skrobust.NetOutlierDetector(),
    skrobust.PRLClassifier(),
    skrobust.PRLRegressor(),
    skrobust.PRLClassifier(score="gradient", co_training=True),
    skrobust.PRLRegressor(score="gradient", co_training=True),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_check(estimator, check):
    check(estimator)
