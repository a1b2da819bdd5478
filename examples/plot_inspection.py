"""
Looking at a fit
================

Five displays show what training did, whom it distrusted, and what hangs on `epsilon`.
Each computes its numbers, draws them, and keeps them.
"""

# %%
# Two moons with five percent of outliers in one spot: closer together than any other
# rows, so training on everything would learn them well.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import GridSearchCV, train_test_split

from skrobust import NetOutlierDetector, PRLClassifier
from skrobust.corruption import pairflip
from skrobust.inspection import (
    KeptRowsDisplay,
    ScoreContourDisplay,
    ScoreHistogramDisplay,
    SensitivityDisplay,
    TrainingCurveDisplay,
)
from skrobust.metrics import make_robust_scorer
from skrobust.rules import Ramp, Trim
from skrobust.steps import Reweight

rng = np.random.default_rng(0)
X = make_moons(950, noise=0.08, random_state=0)[0]
X = np.vstack([X, rng.normal([2.2, 1.8], 0.05, size=(50, 2))]).astype("float32")
odd = np.arange(1000) >= 950

detector = NetOutlierDetector(
    steps=(Reweight(Trim(Ramp(0.1, 10))),),
    code_size=1,
    contamination=0.05,
    random_state=0,
)
detector.fit(X)

# %%
# The loss by epoch; the score of the training rows, with the threshold that
# ``contamination`` has set; the rows that training kept and those it trimmed; and the
# score over the plane, whose dashed line is the same threshold.
fig, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
TrainingCurveDisplay.from_estimator(detector, ax=axes[0, 0])
ScoreHistogramDisplay.from_estimator(detector, X, outlier_mask=odd, ax=axes[0, 1])
axes[0, 1].set_yscale("log")
KeptRowsDisplay.from_estimator(detector, X, ax=axes[1, 0])
ScoreContourDisplay.from_estimator(detector, X, ax=axes[1, 1])
axes[1, 1].scatter(*X[::4].T, s=3, color="white")
axes[1, 1].set(xlabel="x0", ylabel="x1")

# %%
# Classifiers and regressors train and trim as well. Images have 64 columns here, and
# are drawn on two principal components of the rows that were kept.
images, digit = load_digits(return_X_y=True)
labels, wrong = pairflip(digit, 0.2, random_state=0)
model = PRLClassifier(
    epsilon=0.2, hidden_layer_sizes=(64, 64), max_iter=40, random_state=0
)
images, X_val, labels, y_val = train_test_split(images, labels, random_state=0)
model.fit(images, labels, X_val=X_val, y_val=y_val)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
TrainingCurveDisplay.from_estimator(model, ax=axes[0])
KeptRowsDisplay.from_estimator(model, images, ax=axes[1])

# %%
# What hangs on `epsilon`: a search over it, judged by a score that withstands wrong
# labels. The dotted line is what the search chose; a fifth of the labels is wrong.
search = GridSearchCV(
    model,
    {"epsilon": [0.0, 0.1, 0.2, 0.3, 0.4]},
    scoring=make_robust_scorer(),
    cv=3,
)
SensitivityDisplay.from_search(search.fit(images, labels))
plt.show()
