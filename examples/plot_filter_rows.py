"""
A detector as a filter of rows
==============================

Rows that look like no others can be mistakes: a misplaced decimal point, a sensor that
failed. The introduction of the dissertation behind `RCAOutlierDetector` removes 5 % of
the training rows by the local outlier factor before a linear regression that predicts
the phosphorus in lakes. Here is the same with other detectors. A filter is a few lines
around any regressor.
"""

# %%
# Lakes of the United States: total phosphorus from chlorophyll, water clarity and
# twenty columns on the lake and its surroundings. Where the data home lacks them, the
# progression of diabetes takes their place, which scikit-learn ships.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_validate
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrobust import RCAOutlierDetector, RobustRealNVPDetector
from skrobust.datasets import fetch_regression

try:
    X, y = fetch_regression("lagos_tp", return_X_y=True, download_if_missing=False)
    what = "phosphorus in lakes"
except OSError:
    X, y = load_diabetes(return_X_y=True)
    what = "progression of diabetes"
X, y = X.astype("float32"), y.astype("float32")


# %%
# The filter. The detector sees the target as one more column, since a mistake in the
# target is what hurts a regression most. New rows are predicted whatever they are like.
class Filtered(RegressorMixin, BaseEstimator):
    """Fit a regressor to the rows that a detector calls inliers."""

    def __init__(self, regressor, detector=None):
        self.regressor = regressor
        self.detector = detector

    def fit(self, X, y):
        """Find outliers, then learn from the rest."""
        self.kept_ = np.ones(len(y), dtype=bool)
        if self.detector is not None:
            rows = np.column_stack([X, y])
            self.kept_ = clone(self.detector).fit_predict(rows) == 1
        self.regressor_ = clone(self.regressor).fit(X[self.kept_], y[self.kept_])
        return self

    def predict(self, X):
        """Predict by the regressor."""
        return self.regressor_.predict(X)


SHARE = 0.05
detectors = {
    "no filter": None,
    "LOF": make_pipeline(StandardScaler(), LocalOutlierFactor(contamination=SHARE)),
    "isolation forest": IsolationForest(contamination=SHARE, random_state=0),
    "RCA": RCAOutlierDetector(SHARE, random_state=0),
    "RobustRealNVP": RobustRealNVPDetector(contamination=SHARE, random_state=0),
}

# %%
# Judged on rows of which none is filtered, in the folds of a cross-validation. The
# coefficient of determination is ruled by a few extreme lakes, which are real: they
# are in the test folds as well. The median error tells how well an ordinary lake is
# predicted.
scoring = {"R2": "r2", "median error": "neg_median_absolute_error"}
folds = KFold(5, shuffle=True, random_state=0)
found = {
    name: cross_validate(
        Filtered(LinearRegression(), detector), X, y, cv=folds, scoring=scoring
    )
    for name, detector in detectors.items()
}
print(f"{what}: {len(X)} rows, {SHARE:.0%} of the training rows removed")
for name, scores in found.items():
    r2, error = scores["test_R2"].mean(), -scores["test_median error"].mean()
    print(f"{name:<18} R2 {r2:.3f}   median error {error:.2f}")

# %%
# The same by fold, beside no filter. On lakes, LOF, RCA and the flow lower the median
# error by about a sixth, in every fold, and are level with one another; the isolation
# forest hardly helps. By R2 nobody gains more than a hair, and the isolation forest
# loses. The dissertation reports a step from 0.78 to 0.82, with more lakes and other
# predictors, which our file does not have. On the progression of diabetes, a set
# without gross mistakes, no filter helps.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for ax, (label, sign) in zip(axes, {"R2": 1, "median error": -1}.items(), strict=True):
    plain = sign * found["no filter"][f"test_{label}"]
    gains = [sign * s[f"test_{label}"] - plain for s in list(found.values())[1:]]
    ax.axhline(0, color="gray", linewidth=1)
    for i, gain in enumerate(gains):
        ax.plot([i] * len(gain), gain, "o", alpha=0.6)
    ax.set_xticks(range(len(gains)), list(found)[1:])
    ax.set(title=f"{label}, change by the filter", ylabel="a dot a fold")
plt.show()
