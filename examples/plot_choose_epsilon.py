"""
Choosing epsilon without clean labels
=====================================

How many labels are wrong is seldom known. A grid search can find out about it on the
corrupted labels themselves, if its score does not punish a model for the wrong ones.
"""

# %%
# Digits, a quarter of whose labels are replaced by random other ones.
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrobust import PRLClassifier
from skrobust.corruption import symmetric
from skrobust.metrics import make_robust_scorer

RATE = 0.25
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
y, wrong = symmetric(y, RATE, random_state=0)

# %%
# The score is the median of the accuracies of five blocks of validation rows. A network
# that is too small, or trained too briefly, to learn wrong labels by heart would leave
# it little to see.
model = make_pipeline(StandardScaler(), PRLClassifier(max_iter=60, random_state=0))
search = GridSearchCV(
    model,
    {"prlclassifier__epsilon": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]},
    scoring=make_robust_scorer(),
    cv=3,
)
search.fit(X, y)
search.best_params_

# %%
# What the search saw, beside what it could not see: the accuracy on clean labels.
seen = pd.DataFrame(search.cv_results_)
epsilons = seen["param_prlclassifier__epsilon"].astype(float)
unseen = [
    search.best_estimator_.set_params(prlclassifier__epsilon=epsilon)
    .fit(X, y)
    .score(X_test, y_test)
    for epsilon in epsilons
]

fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained", sharex=True)
axes[0].errorbar(epsilons, seen["mean_test_score"], seen["std_test_score"], fmt="o-")
axes[0].set_ylabel("robust score, corrupted labels")
axes[1].plot(epsilons, unseen, "o-", color="C1")
axes[1].set_ylabel("accuracy, clean labels")
for ax in axes:
    ax.axvline(RATE, color="0.7", zorder=0)
    ax.set_xlabel("epsilon (line: share of wrong labels)")
plt.show()
