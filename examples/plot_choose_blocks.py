"""
Choosing the number of blocks without clean data
================================================

Median-of-means training cuts every batch into blocks and follows the one in the
middle. More blocks withstand more wrong rows, and on clean data the number hardly
matters. A grid search can choose it on corrupted rows, if its score withstands them
too. With the ordinary score it chooses a network that follows the wrong rows.
"""

# %%
# Progression of diabetes in 442 patients. A quarter of the training targets are wrong:
# typed with a digit too many, say.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split

from skrobust import MoMRegressor
from skrobust.metrics import get_robust_scorer

X, y = load_diabetes(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
wrong = np.random.RandomState(1).permutation(len(y)) < len(y) // 4
y_seen = np.where(wrong, 10 * y, y)

# %%
# One search with two scores, both computed on validation rows of which a quarter are
# wrong: the mean squared error, and a median of means of squared errors.
scoring = {
    "mean": "neg_mean_squared_error",
    "median of means": get_robust_scorer("neg_median_of_means_squared_error"),
}
blocks = [1, 11, 41, 81, 121]
model = MoMRegressor(hidden_layer_sizes=(32, 32), max_iter=150, random_state=0)
search = GridSearchCV(
    model, {"n_blocks": blocks}, scoring=scoring, refit="median of means", cv=3
)
search.fit(X, y_seen)
seen = pd.DataFrame(search.cv_results_)
chosen = {
    name: blocks[int(seen[f"mean_test_{name}"].to_numpy().argmax())] for name in scoring
}
chosen

# %%
# What neither could see: the error on clean test rows.
unseen = [
    float(
        np.mean(
            (model.set_params(n_blocks=b).fit(X, y_seen).predict(X_test) - y_test) ** 2
        )
    )
    for b in blocks
]
dict(zip(blocks, np.round(unseen), strict=True))

# %%
fig, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for ax, name in zip(axes, scoring, strict=False):
    ax.plot(blocks, -seen[f"mean_test_{name}"], "o-")
    ax.set_title(f"{name}, corrupted rows")
axes[2].plot(blocks, unseen, "o-", color="C1")
axes[2].set_title("mean, clean test rows")
for ax, name in zip(axes, [*scoring, None], strict=True):
    for score, color in (("mean", "0.8"), ("median of means", "C2")):
        if name in (score, None):
            ax.axvline(chosen[score], color=color, zorder=0)
    ax.set_yscale("log")
    ax.set_xlabel("n_blocks (line: chosen)")
axes[0].set_ylabel("squared error")
plt.show()
